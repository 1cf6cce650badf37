#!/bin/bash
#
# loop.sh - runs dlock(1) again and again, as scripts do: loop.sh NAME...
#
# What runs under the lock is `worker under`, which uses the register with the token that
# dlock hands to it. Each dlock is a client of its own in the history: TORTURE_PROC and a
# number. TORTURE_WORKER and TORTURE_PID name the worker and the file for the process id
# of the dlock that is running, which the director may kill or stop.

set -u
names=("$@")
number=0
child=
trap 'stopping=yes; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' TERM
stopping=no
RANDOM=${TORTURE_PROC##*.}
export TORTURE_LOG=$TORTURE_PROC

# Sets `now`: CLOCK_BOOTTIME in nanoseconds, rounded down to what the kernel tells there.
boot_time()
{
	read -r now _ </proc/uptime
	now=${now/./}0000000
}

# Whatever a dlock that was killed has left, its watchdog and a command that may only just
# begin, has its environment.
await_end()
{
	# shellcheck disable=SC2062 # files, not a pattern
	while grep -q -s -a -F --file=- /proc/[0-9]*/environ <<<"TORTURE_CALL=$TORTURE_PROC.$number."; do
		sleep 0.01
	done
}

while [ $stopping = no ]; do
	number=$((number + 1))
	name=${names[RANDOM % ${#names[@]}]}
	options=()
	mode=X
	case $((RANDOM % 10)) in
	[0-2]) options+=(-s); mode=S ;;
	esac
	# For a name that is held for long nobody waits without a limit: whose turn it is is chance.
	turn=$((RANDOM % 4))
	case $name in l*) turn=$((RANDOM % 3)) ;; esac
	case $turn in
	0) options+=(-n); patience=nb ;;
	1 | 2) tenths=$((RANDOM % 30)); options+=(-w "$((tenths / 10)).$((tenths % 10))"); patience=${tenths}00 ;;
	*) patience=- ;;
	esac
	hold_us=$((RANDOM % 30000))
	case $name in l*) hold_us=$((RANDOM * 90)) ;; esac
	boot_time
	TORTURE_CALL=$TORTURE_PROC.$number. dlock "${options[@]}" "$name" "$TORTURE_WORKER" under "$TORTURE_PROC.$number" "$mode" "$hold_us" "$now" "$patience" \
		2>>"$TORTURE_PID.errors" &
	child=$!
	echo "$child" >"$TORTURE_PID"
	wait "$child"
	status=$?
	# The signal that ends us has interrupted the wait.
	[ $stopping = no ] || wait "$child" 2>/dev/null
	child=
	# Killed, or stopped for a loss: whatever it had is over by now.
	if [ "$status" -eq 75 ] || [ "$status" -ge 128 ]; then
		await_end
		boot_time
		echo "k $TORTURE_PROC.$number $now $now" >>"$TORTURE_HISTORY/$TORTURE_PROC.log"
	fi
	case $status in
	0 | 1 | 65 | 69 | 75 | 1[2-9][0-9]) ;;
	*) echo "dlock ${options[*]} $name: status $status" >>"$TORTURE_PID.odd" ;;
	esac
	sleep "0.0$((RANDOM % 10))"
done
exit 0
