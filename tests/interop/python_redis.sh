#!/bin/bash
#
# Proves, in TAP, that the Lock of Python's redis package (Debian: python3-redis),
# which knows one master only, and libdlock with that one master configured exclude
# each other, both ways.

# shellcheck disable=SC2317 # check() and its like call the functions
set -u

here=$(cd -- "${0%/*}" && pwd)
source_root=${abs_top_srcdir:-$here/../..}
# shellcheck source=tests/interop/lib.sh
. "$here/lib.sh"

# Started by itself below: the server is dlock-local's.
if [ "${1:-}" != inside ]; then
	need_dlock
	# Debian's own first: another python3 of the PATH does not see its packages.
	for python in /usr/bin/python3 python3; do
		"$python" -c 'import redis.lock' 2>/dev/null && break
		python=
	done
	[ -n "$python" ] || skip_all "no python3-redis (Debian package python3-redis)"
	export python
	# Keys of the same name, which is how other clients share with us.
	export DLOCK_PREFIX=''
	exec bash "$source_root/tools/dlock-local" run --tcp -n 1 -- bash "$here/${0##*/}" inside
fi

begin
python_lock() { "$python" "$here/python_redis.py" "$@"; }

start_holder python_lock hold job 30
check "redis-py holds: dlock -n is refused" status_is 1 dlock -n job true
check "  but another name is free" status_is 0 dlock -n other true
end_holder
check "redis-py gave it back" [ "$(tail -n 1 "$work/holder")" = released ]
check "  and dlock gets it" status_is 0 dlock -n job true

start_holder dlock job sh -c 'echo held; cat; echo released'
check "dlock holds: redis-py is refused" status_is 1 python_lock try job
check "  but another name is free" status_is 0 python_lock try other
end_holder
check "dlock gave it back" [ "$(tail -n 1 "$work/holder")" = released ]
check "  and redis-py gets it" status_is 0 python_lock try job

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
python_count() { python_lock count counter "$work/counter" "$times"; }
count_together dlock_count dlock_count python_count python_count
check "two of each, $times times: all came to their end" [ "$failed" -eq 0 ]
check "  and nothing was lost" [ "$(cat "$work/counter")" -eq $((4 * times)) ]

finish
