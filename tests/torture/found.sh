#!/bin/bash
#
# What the torture has found once, step by step on real servers: two counter-examples to the
# design as it was. Each must be refuted.

set -u
here=$(cd -- "${0%/*}" && pwd)
number=0
failures=0

# refuted WHAT PROGRAM
refuted()
{
	number=$((number + 1))
	if python3 -B "$here/$2" "$(type -P dlock)" 2>&1 | sed 's/^/# /' && [ "${PIPESTATUS[0]}" -eq 0 ]; then
		echo "ok $number - $1"
	else
		echo "not ok $number - $1"
		failures=$((failures + 1))
	fi
}

if ! type -P python3 >/dev/null; then
	echo "1..0 # SKIP no python3"
	exit 0
fi
refuted "a durable master that has become another's copy does not vote at once" replica_restarted.py
refuted "a reader's token is above a writer's that a master with an old snapshot has forgotten" stale_fence.py
echo "1..$number"
[ "$failures" -eq 0 ]
