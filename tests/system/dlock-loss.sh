#!/bin/bash
#
# The promise that sets a lease apart from a lock: the command has ended before
# another can hold the lock, whatever happens to dlock.
#
# A command writes the time into a file again and again and ignores SIGTERM, a
# second dlock waits and writes the time when it gets the lock: the last time in
# the one file must lie before the time in the other.

. "$(dirname -- "$0")/lib.sh"

ttl=1500

cat >beat <<'E2'
#!/bin/bash
# The worst of commands: deaf to SIGTERM, with a child in another session.
trap '' TERM HUP INT
setsid bash -c 'trap "" TERM HUP INT; while :; do echo "$EPOCHREALTIME" >>"'"$1"'.child"; sleep 0.01; done' &
echo $$ >"$1.pid"
while :; do
	echo "$EPOCHREALTIME" >>"$1"
	sleep 0.01
done
E2
chmod +x beat

micros()
{
	local time=$1
	echo "${time/[.,]/}"
}

last_beat()
{
	micros "$(cat "$1" "$1.child" | sort -n | tail -n 1)"
}

# start NAME [OPTION...]: dlock ($pid) with `beat` below it, and a waiter ($waiter).
start()
{
	rm -f beats beats.* taken
	"$DLOCK" --ttl $ttl "${@:2}" "$1" ./beat "$work/beats" 2>err &
	pid=$!
	until_true 20 [ -s beats ] && until_true 5 [ -s beats.child ]
	"$DLOCK" --ttl $ttl "$1" bash -c 'echo "$EPOCHREALTIME" >taken' 2>err.waiter &
	waiter=$!
	sleep 0.4
}

no_beater()
{
	! pgrep -f "bash [.]/beat $work/beats" >/dev/null && ! pgrep -f "$work/beats[.]child" >/dev/null
}

# What holds in every case of loss that the masters do not know of.
check_order()
{
	ended 20 "$waiter"
	is "$1: another gets the lock" "$status" 0
	check "$1: the command has ended before that" [ "$(last_beat beats)" -lt "$(micros "$(cat taken 2>/dev/null)")" ]
	check "$1: nothing of the command is left" until_true 1 no_beater
}

# dlock is stopped past its lease.
new_name
start "$name"
kill -STOP "$pid"
check_order "dlock stopped"
kill -CONT "$pid"
ended 10 "$pid"
is "dlock stopped: status 75 when it continues" "$status" 75
is "dlock stopped: one line says why" "$(grep -c '' err)" 1
check "dlock stopped: the line names the lock" has_line "^dlock: $name: the lock was lost (.*): command stopped$" err

# Both dlock and the command are stopped, as Ctrl-Z does it.
new_name
start "$name"
kill -STOP "$pid" "$(cat beats.pid)"
check_order "all stopped"
kill -CONT "$pid"
ended 10 "$pid"
is "all stopped: status 75" "$status" 75

# dlock is killed: nobody gives the lock back, so the lease has to end by itself.
new_name
start "$name"
start_ms=$(now_ms)
kill -KILL "$pid"
ended 5 "$pid"
is "dlock killed: status 137" "$status" 137
check_order "dlock killed"
took=$(($(micros "$(cat taken)") / 1000 - start_ms))
check "dlock killed: the lock is free no later than ttl + 1 s ($took ms)" [ "$took" -le $((ttl + 1000)) ]
check "dlock killed: one line says why" has_line "^dlock: $name: the lock was lost (.*): command stopped$" err

# A well-behaved command is told by SIGTERM first and may clean up.
new_name
rm -f ready cleaned
"$DLOCK" --ttl $ttl "$name" bash -c 'trap "sleep 0.05; echo >cleaned; exit 0" TERM; echo >ready; while :; do sleep 0.02; done' 2>err &
pid=$!
until_true 20 [ -e ready ]
kill -STOP "$pid"
check "a command that handles SIGTERM has time to clean up" until_true 5 [ -e cleaned ]
kill -CONT "$pid"
ended 10 "$pid"
is "its own status 0 does not hide the loss" "$status" 75

# The same for one that was stopped: SIGCONT lets it act.
new_name
rm -f ready cleaned
"$DLOCK" --ttl $ttl "$name" bash -c 'trap "echo >cleaned; exit 0" TERM; echo $$ >ready; while :; do sleep 0.02; done' 2>err &
pid=$!
until_true 20 [ -s ready ]
kill -STOP "$(cat ready)" "$pid"
check "a stopped command is continued to act on SIGTERM" until_true 5 [ -e cleaned ]
kill -CONT "$pid"
ended 10 "$pid"
is "and the status is 75" "$status" 75

# dlock -9 with a command that has just ended well: nothing is stopped or said.
new_name
rm -f ready
"$DLOCK" "$name" sh -c 'echo >ready; sleep 0.2' 2>err &
pid=$!
ended 10 "$pid"
is "an ordinary end is no loss" "$status:$(cat err)" "0:"

# A majority of the masters stands still: the lease cannot be renewed.
new_name
start "$name"
kill -KILL "$waiter"
ended 5 "$waiter"
stop_masters 1 2 3
start_ms=$(now_ms) # no renewal can have been sent and answered after this
ended 10 "$pid"
took=$(($(last_beat beats) / 1000 - start_ms))
resume_masters 1 2 3
is "no quorum for the renewal: status 75" "$status" 75
check "no quorum for the renewal: ended within the lease ($took ms)" [ "$took" -lt "$ttl" ]
check "no quorum for the renewal: nothing of the command is left" until_true 1 no_beater
check "no quorum for the renewal: one line says why" has_line "^dlock: $name: the lock was lost (.*): command stopped$" err
limited 30 "$DLOCK" -w 20 "$name" true
is "works again when they return" "$status" 0

# A minority of them: no loss, the command ends by itself.
new_name
rm -f ready
"$DLOCK" --ttl $ttl "$name" sh -c 'echo >ready; sleep 4; exit 5' 2>err &
pid=$!
until_true 20 [ -e ready ]
stop_masters 1 2
ended 15 "$pid"
resume_masters 1 2
is "two of five masters stopped: the lock lives on" "$status:$(cat err)" "5:"

# An operator takes the lock away.
new_name
start "$name"
kill -KILL "$waiter"
ended 5 "$waiter"
limited 20 "$DLOCK" --break "$name" --yes
is "--break: status 0" "$status" 0
start_ms=$(now_ms)
ended 10 "$pid"
took=$(($(now_ms) - start_ms))
is "a broken lock: status 75" "$status" 75
check "a broken lock: noticed at the next renewal ($took ms)" [ "$took" -lt $((ttl + 3000)) ]
check "a broken lock: nothing of the command is left" until_true 1 no_beater

# The command goes on where that is wanted.
new_name
rm -f ready
"$DLOCK" --ttl $ttl --on-loss=ignore "$name" sh -c 'echo >ready; sleep 3; exit 8' 2>err &
pid=$!
until_true 20 [ -e ready ]
limited 20 "$DLOCK" --break "$name" --yes
ended 10 "$pid"
is "--on-loss=ignore: the command's own status" "$status" 8
check "--on-loss=ignore: the loss is told" has_line "^dlock: $name: the lock was lost" err

# Short leases are no reason to stop a command that is renewed in time.
new_name
limited 20 "$DLOCK" --ttl 400 "$name" sh -c 'sleep 3; exit 2'
is "a lease of 400 ms is renewed" "$status:$(cat err)" "2:"

# Someone kills the watchdog: dlock says so and does its work.
new_name
start "$name"
kill -KILL "$waiter"
ended 5 "$waiter"
pkill -KILL -P "$pid" -x dlock-watchdog
check "a killed watchdog is told" until_true 5 has_line 'the watchdog has ended' err
limited 20 "$DLOCK" --break "$name" --yes
ended 10 "$pid"
is "without a watchdog: status 75 too" "$status" 75
check "without a watchdog: nothing of the command is left" until_true 1 no_beater

plan
