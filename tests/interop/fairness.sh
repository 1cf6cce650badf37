#!/bin/bash
#
# Proves, in TAP, what becomes of a plain Redlock client (fairness.py, Python's standard library) and libdlock that
# want the same lock on the same five masters, as OTHER REDLOCK CLIENTS in libdlock(7) tells it: who is first, who
# waits, and that they always exclude each other. Order is judged, and no time but that nothing hangs: what has to be
# soon is so by counting what the masters were asked.

# shellcheck disable=SC2317 # check() and its like call the functions
set -u

here=$(cd -- "${0%/*}" && pwd)
source_root=${abs_top_srcdir:-$here/../..}
# shellcheck source=tests/interop/lib.sh
. "$here/lib.sh"

# Started by itself below: the servers are dlock-local's.
if [ "${1:-}" != inside ]; then
	need_dlock
	type -P python3 >/dev/null || skip_all "no python3"
	# Keys of the same name, which is how other clients share with us.
	export DLOCK_PREFIX=''
	exec bash "$source_root/tools/dlock-local" run --tcp -n 5 -- bash "$here/${0##*/}" inside
fi

begin
log=$work/log
export log
# On a machine that is busy no master is given up.
export DLOCK_NODE_TIMEOUT=3000

foreign() { python3 -B "$here/fairness.py" "$@"; }

# In the background, without the holder's standard input, which would not end else.
waiters=()
in_background()
{
	"$@" 8>&- </dev/null &
	waiters+=($!)
}

# line_up NAME PLACE: a dlock, which writes PLACE to the log; back when all masters know that it waits.
line_up()
{
	# shellcheck disable=SC2016 # for the shell under the lock
	in_background dlock -w 60 "$1" sh -c 'echo "$0" >>"$log"; sleep 0.05' "$2"
	eventually foreign queue "$1" "$2"
}

# set_on NAME HOW COUNT: so many foreign clients that want NAME, refused at first.
set_on()
{
	local i
	for ((i = 1; i <= $3; i++)); do
		: >"$work/refused.$i"
		in_background foreign "$2" "$1" "$log" >"$work/refused.$i"
	done
	for ((i = 1; i <= $3; i++)); do
		eventually grep -q refused "$work/refused.$i" || return
	done
}

all_end()
{
	local pid failed=0
	for pid in "${waiters[@]}"; do
		wait "$pid" || failed=1
	done
	waiters=()
	[ "$failed" -eq 0 ]
}

log_is() { [ "$(paste -sd ' ' "$log")" = "$1" ] || { cat "$log" >"$work/output"; false; }; }

# queues NAME: somebody does, on some master.
queues() { ! foreign queue "$1" 0; }

# asked_since COUNT MORE: the masters have run so many more scripts.
asked_since() { [ "$(foreign asked)" -ge $(($1 + $2)) ]; }

# ---------------------------------------------------------------- given back by libdlock

# It is never free while some of ours wait, however often the others ask.
: >"$log"
start_holder dlock turns sh -c 'echo held; cat'
for place in 1 2 3 4 5 6; do
	check "dlock holds: waiter $place queues" line_up turns "$place"
done
check "  a foreign client that never pauses is refused" set_on turns greedy 1
check "  and two that ask every 200 ms" set_on turns patient 2
end_holder
check "dlock gave it back: all came to their end" all_end
check "  those that queued first and in order, then the foreign" log_is "1 2 3 4 5 6 foreign foreign foreign"

# ---------------------------------------------------------------- held by a foreign client

# Ours ask about every 50 ms then, and hardly ever else: 40 times would take half a minute.
: >"$log"
start_holder foreign again coming 20
check "a foreign client holds: dlock waits" line_up coming 1
before=$(foreign asked)
check "  and asks each master many times a second" eventually asked_since "$before" $((40 * 5))
check "  but does not get it" log_is ""
end_holder
check "given back and taken again at once, 20 times: both came to their end" all_end
check "  the foreign client came before the waiter (at its first try $(tail -n 1 "$work/holder") times)" \
	[ "$(tail -n 1 "$work/holder")" -gt 0 ]
check "  the waiter got it afterwards" log_is "1"

start_holder dlock coming sh -c 'echo held; cat'
check "dlock holds: dlock waits" line_up coming 1
before=$(foreign asked)
sleep 3
check "  and asks rarely" status_is 1 asked_since "$before" $((30 * 5))
end_holder
check "  it came to its end" all_end

# Whoever of ours finds it free first, the oldest gets it.
: >"$log"
start_holder foreign hold leaving 120000
for place in 1 2 3 4 5; do
	check "a foreign client holds: waiter $place queues" line_up leaving "$place"
done
end_holder
check "given back: all came to their end" all_end
check "  in the order in which they came" log_is "1 2 3 4 5"

# ---------------------------------------------------------------- nobody gives it back

free_ms=$(foreign die dying 3000)
got_ms=$(dlock -w 60 dying date +%s%3N)
check "a foreign client died: dlock gets the lock (it ended at $free_ms, got at ${got_ms:-never})" [ -n "$got_ms" ]
check "  and not before it has ended" [ "${got_ms:-0}" -ge "$free_ms" ]

: >"$log"
DLOCK_TTL=1000 start_holder dlock dying sh -c 'echo held; exec cat'
check "dlock holds: dlock waits" line_up dying 1
check "  and a foreign client" set_on dying patient 1
kill_holder
check "dlock died: both get it" all_end
check "  whoever was first" [ "$(sort "$log" | paste -sd ' ')" = "1 foreign" ]

# ---------------------------------------------------------------- nobody has a majority

# Ours gives back what it has, to whoever has no ticket.
: >"$log"
start_holder foreign split parted
# shellcheck disable=SC2016 # for the shell under the lock
check "two foreign clients have three masters: dlock waits" in_background dlock -w 60 parted sh -c 'echo 1 >>"$log"'
check "  and queues" eventually queues parted
echo now >&8
check "  and leaves the other two to them" eventually grep -q got "$work/holder"
check "  it does not get it" log_is ""
end_holder
check "  and gets it afterwards" all_end

# ---------------------------------------------------------------- all at once

# Each adds to one file under the lock; what one overwrites of another is lost.
echo 0 >"$work/counter"
export work
dlock_count()
{
	local i
	for ((i = 0; i < 40; i++)); do
		# shellcheck disable=SC2016 # for the shell under the lock
		dlock -w 60 counter sh -c 'n=$(cat "$work/counter"); sleep 0.002; echo $((n + 1)) >"$work/counter"' || return
	done
}
foreign_count() { foreign count counter "$work/counter" 10; }
count_together dlock_count dlock_count foreign_count foreign_count
check "two of ours without a pause, two foreign: all came to their end" [ "$failed" -eq 0 ]
check "  and nothing was lost" [ "$(cat "$work/counter")" -eq 100 ]

finish
