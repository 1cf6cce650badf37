#!/bin/bash
#
# Signals: to dlock while it waits, to dlock while the command runs, from a
# terminal to both; the lock is free afterwards in each case.

. "$(dirname -- "$0")/lib.sh"

is_free()
{
	timeout -k 5 20 "$DLOCK" -n "$1" true
}

# A shell lets its background jobs ignore SIGINT and SIGQUIT: undo that.
plainly()
{
	exec env --default-signal=INT,QUIT,HUP,TERM,USR1,USR2 "$@"
}

number_of()
{
	kill -l "$1"
}

# While the command runs: it gets the signal, its status is dlock's.
for signal in TERM INT HUP QUIT USR1 USR2; do
	new_name
	rm -f ready got
	(plainly "$DLOCK" "$name" bash -c "trap 'echo $signal >>got; exit 9' $signal; echo >ready; while :; do sleep 0.02; done") 2>err &
	pid=$!
	until_true 20 [ -e ready ]
	kill -"$signal" "$pid"
	ended 10 "$pid"
	is "SIG$signal to dlock: the command's own status" "$status" 9
	is "SIG$signal reaches the command, once" "$(cat got 2>/dev/null)" "$signal"
	check "SIG$signal: the lock is free afterwards" is_free "$name"
done

# The command has no handler: it dies of the signal, and so does dlock.
for signal in TERM INT HUP USR1; do
	new_name
	rm -f ready
	(plainly "$DLOCK" "$name" sh -c 'echo >ready; exec sleep 30') 2>err &
	pid=$!
	until_true 20 [ -e ready ]
	kill -"$signal" "$pid"
	ended 10 "$pid"
	is "SIG$signal without a handler: 128+n" "$status" $((128 + $(number_of "$signal")))
	check "SIG$signal without a handler: the lock is free afterwards" is_free "$name"
done

# The command ends well in spite of the signal: then that is the status.
new_name
rm -f ready
(plainly "$DLOCK" "$name" bash -c 'trap : TERM; echo >ready; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.05; done; exit 0') 2>err &
pid=$!
until_true 20 [ -e ready ]
kill -TERM "$pid"
ended 10 "$pid"
is "a command that survives the signal ends with its own status" "$status" 0

# A signal that dlock was told to ignore.
new_name
rm -f ready
(trap '' TERM; exec "$DLOCK" "$name" sh -c 'echo >ready; sleep 1; exit 3') 2>err &
pid=$!
until_true 20 [ -e ready ]
kill -TERM "$pid"
ended 10 "$pid"
is "an ignored signal is ignored" "$status" 3

# The command itself is killed by someone else.
new_name
limited 20 "$DLOCK" "$name" sh -c 'kill -KILL $$'
is "a command that is killed: 137" "$status" 137
check "and the lock is free" is_free "$name"

# While waiting: dlock dies of the signal, and leaves no trace on the masters.
new_name
hold "$name"
for signal in TERM INT HUP QUIT; do
	(plainly "$DLOCK" "$name" touch "ran.$signal") 2>err &
	pid=$!
	sleep 0.3
	start=$(now_ms)
	kill -"$signal" "$pid"
	ended 10 "$pid"
	took=$(($(now_ms) - start))
	is "SIG$signal while waiting: 128+n" "$status" $((128 + $(number_of "$signal")))
	check "SIG$signal while waiting: at once ($took ms)" [ "$took" -lt 5000 ]
	check "SIG$signal while waiting: the command did not run" [ ! -e "ran.$signal" ]
done
release_holder
is "the holder was not disturbed" "$status" 0
check "the lock is free when the holder has ended, whoever waited" is_free "$name"

# Stopped and continued while holding, well within the lease.
new_name
rm -f ready
"$DLOCK" "$name" sh -c 'echo >ready; sleep 1; exit 6' 2>err &
pid=$!
until_true 20 [ -e ready ]
kill -STOP "$pid"
sleep 0.3
kill -CONT "$pid"
ended 10 "$pid"
is "a short stop of dlock does no harm" "$status" 6

# A terminal: Ctrl-C goes to the whole group, so dlock must not send it twice.
if type -P script >/dev/null; then
	new_name
	rm -f ready got
	cat >job <<-END
		trap 'echo INT >>got' INT
		echo >ready
		for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 0.1; done
		exit 4
	END
	{
		until_true 20 [ -e ready ]
		sleep 0.3
		printf '\003'
		sleep 3
	} | DLOCK=$DLOCK name=$name timeout -k 5 30 script -qec 'trap : INT; "$DLOCK" "$name" bash job; echo "status $?" >result' /dev/null >out 2>err
	is "Ctrl-C reaches the command once" "$(cat got 2>/dev/null)" "INT"
	is "Ctrl-C: the command's own status" "$(cat result 2>/dev/null)" "status 4"
	check "Ctrl-C: the lock is free afterwards" is_free "$name"
else
	skip "Ctrl-C on a terminal" "script(1) was not found"
fi

plan
