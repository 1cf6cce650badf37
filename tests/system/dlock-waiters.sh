#!/bin/bash
#
# dlock behind dlock: who waits is served in order, by who ends; who gives up, by
# its time-out or by a signal, is not waited for.

. "$(dirname -- "$0")/lib.sh"

# On a machine that is busy no master is given up: who ends can't give its place back there.
export DLOCK_NODE_TIMEOUT=3000

# waiting NAME COUNT: whether so many wait for NAME, as each of the masters tells.
waiting()
{
	local i
	for i in 1 2 3 4 5; do
		[ "$(ask_master "$i" zcard "dlock!queue:dlock:$1")" = "$2" ] || return 1
	done
}

# line_up NAME PLACE [OPTION VALUE]... COMMAND...: waits in the background, behind all that do; $pid is its pid.
line_up()
{
	local name=$1 place=$2 options=()
	shift 2
	while [ "${1#-}" != "$1" ]; do
		options+=("$1" "$2")
		shift 2
	done
	"$DLOCK" ${options[@]+"${options[@]}"} "$name" "$@" >>out 2>>err </dev/null &
	pid=$!
	until_true 20 waiting "$name" "$place"
}

# In the order in which they came.
new_name
: >served
hold "$name"
pids=
for i in 1 2 3 4 5; do
	check "waiter $i is in the queues of all masters" line_up "$name" "$i" sh -c "echo $i >>served"
	pids="$pids $pid"
done
check "nobody is served before the holder ends" [ ! -s served ]
release_holder
for pid in $pids; do
	ended 20 "$pid"
	is "a waiter ends well" "$status" 0
done
is "five waiters are served in the order in which they came" "$(tr '\n' ' ' <served)" "1 2 3 4 5 "
check "and nobody is left in the queues" until_true 20 waiting "$name" 0

# Readers together: each ends only when it has seen all three.
new_name
rm -f reads.*
hold "$name"
pids=
for i in 1 2 3; do
	"$DLOCK" -s "$name" sh -c "echo >reads.$i; for t in $(seq -s ' ' 400); do [ -e reads.1 ] && [ -e reads.2 ] && [ -e reads.3 ] && exit 0; sleep 0.05; done; exit 1" \
		>>out 2>>err </dev/null &
	pids="$pids $!"
	check "reader $i waits" until_true 20 waiting "$name" "$i"
done
release_holder
for pid in $pids; do
	ended 30 "$pid"
	is "a reader holds it together with the others" "$status" 0
done

# The time is over: status 1, as flock(1), and no place is left while the holder goes on.
new_name
hold "$name"
check "-w: it waits" line_up "$name" 1 -w 3 touch ran
ended 20 "$pid"
is "-w: status 1" "$status" 1
check "-w: the command did not run" [ ! -e ran ]
check "-w: no place is left" until_true 20 waiting "$name" 0
limited 20 "$DLOCK" -n "$name" touch ran
is "-n: status 1" "$status" 1
check "-n: does not queue" waiting "$name" 0

# A signal: likewise, and who is behind it is served.
for signal in INT TERM KILL; do
	(exec env --default-signal=INT,TERM "$DLOCK" "$name" touch ran) >>out 2>>err </dev/null &
	leaver=$!
	check "SIG$signal: it waits" until_true 20 waiting "$name" 1
	check "SIG$signal: another waits behind it" line_up "$name" 2 sh -c "echo $signal >>behind"
	kill -"$signal" "$leaver"
	ended 10 "$leaver"
	is "SIG$signal: 128+n" "$status" $((128 + $(kill -l "$signal")))
	[ "$signal" = KILL ] || check "SIG$signal: leaves no place" until_true 20 waiting "$name" 1
	release_holder
	ended 20 "$pid"
	is "SIG$signal: who was behind is served" "$status" 0
	hold "$name"
done
check "who was ended by a signal did not run its command" [ ! -e ran ]
is "those behind did" "$(tr '\n' ' ' <behind)" "INT TERM KILL "
release_holder

# Ctrl-C on a terminal, which goes to the whole group.
if type -P script >/dev/null; then
	new_name
	rm -f ran result
	hold "$name"
	{
		until_true 20 waiting "$name" 1
		printf '\003'
		until_true 20 [ -e result ]
	} | DLOCK=$DLOCK name=$name timeout -k 5 50 script -qec 'trap : INT; "$DLOCK" "$name" touch ran; echo "status $?" >result' /dev/null >out 2>err
	is "Ctrl-C while it waits: 130" "$(cat result 2>/dev/null)" "status 130"
	check "Ctrl-C: the command did not run" [ ! -e ran ]
	check "Ctrl-C: no place is left" until_true 20 waiting "$name" 0
	release_holder
	is "Ctrl-C: the holder was not disturbed" "$status" 0
else
	skip "Ctrl-C on a terminal" "script(1) was not found"
fi

check "no key is left on any master" until_true 20 no_keys_left
plan
