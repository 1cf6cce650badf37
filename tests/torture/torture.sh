#!/bin/bash
#
# Proves, in TAP, that nothing is violated while everything goes wrong: a short run of
# torture.py, whose seed is another each day. DLOCK_TORTURE_SECONDS (20) and
# DLOCK_TORTURE_SEED say how long and which. What a run consists of, and how to repeat
# it: docs/torture.md.

set -u
here=$(cd -- "${0%/*}" && pwd)
source_root=${abs_top_srcdir:-$here/../..}
build_root=${abs_top_builddir:-$PWD}
seconds=${DLOCK_TORTURE_SECONDS:-20}
seed=${DLOCK_TORTURE_SEED:-$(date +%Y%m%d)}
tests=0
failures=0
work=$(mktemp -d "${TMPDIR:-/tmp}/dl-torture-test.XXXXXX") || exit 1
child=
trap 'rm -rf -- "$work"' EXIT
trap '[ -z "$child" ] || kill -TERM "$child"; wait; exit 1' INT TERM HUP

# check DESCRIPTION COMMAND...
check()
{
	local description=$1
	shift
	tests=$((tests + 1))
	if "$@"; then
		echo "ok $tests - $description"
	else
		echo "not ok $tests - $description"
		failures=$((failures + 1))
	fi
}

# omitted DESCRIPTION PATTERN WORD: a case that tells whether a part was left out. WORD is
# for DLOCK_TEST_REQUIRE.
omitted()
{
	local reason
	tests=$((tests + 1))
	reason=$(sed -n "s/^  left out: \($2\)/\1/p" "$work/output")
	if [ -n "$reason" ]; then
		echo "ok $tests - $1 # SKIP $3: without ${reason//#/}"
	else
		echo "ok $tests - $1"
	fi
}

if ! type -P python3 >/dev/null; then
	echo "1..0 # SKIP no python3"
	exit 0
fi

# torture SECONDS OPTION...: one run; its status in `status`. In the background, so that a
# signal is heard at once.
torture()
{
	TMPDIR=$work python3 -B "$here/torture.py" --seed "$seed" --build "$build_root" --source "$source_root" \
		--seconds "$@" >"$work/output" 2>&1 </dev/null &
	child=$!
	wait "$child"
	status=$?
	child=
	sed 's/^/# /' "$work/output"
}

torture "$seconds"
if [ $status -eq 77 ]; then
	echo "1..0 # SKIP $(tail -n 1 "$work/output")"
	exit 0
fi

number_of() { sed -n "s/^torture: .*[ :]\([0-9]*\) $1,.*/\1/p" "$work/output" | head -n 1; }
grants=$(number_of grants)
faults=$(number_of faults)
judged=$(sed -n 's/^order: \([0-9]*\) grants judged.*/\1/p' "$work/output")
nothing_left() { [ -z "$(find /proc/[0-9]*/cwd -maxdepth 0 -lname "$work*" 2>/dev/null)" ] && ! grep -q -F " $work/" /proc/self/mounts; }

check "nothing is violated, nothing fails" [ "$status" -eq 0 ]
check "  locks were granted all along" [ "${grants:-0}" -ge $((seconds * 5)) ]
check "  while faults happened" [ "${faults:-0}" -ge "$seconds" ]
check "  and everything was ended" nothing_left
# A shorter run may be one in which a clock was ahead, whose influence outlasts it.
if [ "$seconds" -ge 60 ]; then
	check "  and in the calm between them who waits is served in turn (${judged:-0} grants judged)" [ "${judged:-0}" -ge "$seconds" ]
else
	echo "# ${judged:-0} grants judged for their order"
fi
omitted "networks were cut" "networks.*" namespaces
omitted "mounts took part" "mounts.*" fuse
omitted "redlock 5 took part" "redlock.*" npm
# A longer run proves first that it would find something.
if [ "$seconds" -ge 60 ]; then
	# A storm finds two holders only where it strikes between the right moments: three tries, of other plans.
	for _ in 1 2 3; do
		torture 30 --sabotage
		[ "$status" -ne 0 ] || break
		seed=$((seed + 1))
	done
	check "without quarantine, violations are found" [ "$status" -eq 0 ]
fi
# For whoever looks into it, the history is in the log in full.
if [ "$failures" -gt 0 ]; then
	tail -n 100000 "$work"/dl-torture-*/history/director.log 2>/dev/null | sed 's/^/# /'
	[ -z "${DLOCK_TORTURE_KEEP:-}" ] || cp -r "$work"/dl-torture-* "$DLOCK_TORTURE_KEEP"
fi
echo "1..$tests"
[ "$failures" -eq 0 ]
