#!/bin/bash
#
# Proves, in TAP, that redlock 5 of npm and libdlock exclude each other on the same
# five masters, both ways. The packages come from the npm registry that the machine
# is set up for, into a directory of the test's own; where that cannot be, all is
# skipped.

# shellcheck disable=SC2317 # check() and its like call the functions
set -u

here=$(cd -- "${0%/*}" && pwd)
source_root=${abs_top_srcdir:-$here/../..}
packages=(redlock@5.0.0-beta.2 ioredis@5)

# shellcheck source=tests/interop/lib.sh
. "$here/lib.sh"

# Started by itself below: the servers are dlock-local's.
if [ "${1:-}" != inside ]; then
	need_dlock
	type -P node >/dev/null || skip_all "no node, which npm packages need"
	type -P npm >/dev/null || skip_all "no npm"
	# Keys of the same name, which is how other clients share with us.
	export DLOCK_PREFIX=''
	exec bash "$source_root/tools/dlock-local" run --tcp -n 5 -- bash "$here/${0##*/}" inside
fi

begin
# Of these packages nothing is to run at their installation.
timeout 120 npm install --prefix "$work/npm" --prefer-offline --no-audit --no-fund --ignore-scripts \
	"${packages[@]}" >"$work/npm.log" 2>&1 ||
	skip_all "npm could not install ${packages[*]}: $(grep -m 1 'code E' "$work/npm.log")"
export NODE_PATH=$work/npm/node_modules

redlock() { node "$here/redlock5.cjs" "$@"; }

# ---------------------------------------------------------------- one at a time

start_holder redlock hold job 30000
check "redlock holds: dlock -n is refused" status_is 1 dlock -n job true
check "  and a time-out passes" status_is 1 dlock -w 0.3 job true
check "  but another name is free" status_is 0 dlock -n other true
end_holder
check "redlock gave it back" [ "$(tail -n 1 "$work/holder")" = released ]
check "  and dlock gets it" status_is 0 dlock -n job true

start_holder dlock job sh -c 'echo held; cat; echo released'
check "dlock holds: redlock is refused" status_is 1 redlock try job
check "  but another name is free" status_is 0 redlock try other
end_holder
check "dlock gave it back" [ "$(tail -n 1 "$work/holder")" = released ]
check "  and redlock gets it" status_is 0 redlock try job

start_holder dlock -s job sh -c 'echo held; cat'
check "dlock holds shared: redlock is refused" status_is 1 redlock try job
end_holder
check "  and gets it afterwards" status_is 0 redlock try job

# ---------------------------------------------------------------- holders that die

start_holder redlock hold job 3000
kill_holder
check "redlock's holder killed: its lease still holds" status_is 1 dlock -n job true
check "  and dlock gets the lock when that is over" status_is 0 dlock -w 10 job true

DLOCK_TTL=1000 start_holder dlock job sh -c 'echo held; exec cat'
kill_holder
check "dlock's holder killed: redlock gets the lock when the lease is over" \
	eventually status_is 0 redlock try job

# ---------------------------------------------------------------- all at once

# Each adds to one file under the lock; what one overwrites of another is lost.
times=25
echo 0 >"$work/counter"
export work
dlock_count()
{
	local i
	for ((i = 0; i < times; i++)); do
		# shellcheck disable=SC2016 # for the shell under the lock
		dlock -w 60 counter sh -c 'n=$(cat "$work/counter"); sleep 0.002; echo $((n + 1)) >"$work/counter"' ||
			return
		sleep 0.01
	done
}
redlock_count() { redlock count counter "$work/counter" "$times"; }
count_together dlock_count dlock_count redlock_count redlock_count
check "two of each, $times times: all came to their end" [ "$failed" -eq 0 ]
check "  and nothing was lost" [ "$(cat "$work/counter")" -eq $((4 * times)) ]

finish
