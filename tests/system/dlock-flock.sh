#!/bin/bash
#
# dlock beside the real flock(1): the same arguments, the same exit status; and
# what flock(1) promises about waiting, sharing and what the command inherits.

. "$(dirname -- "$0")/lib.sh"

# same ARGUMENTS...: both are given the same; a name for one, a file for the other.
same()
{
	local theirs ours
	timeout -k 5 20 flock "$@" >flock.out 2>flock.err </dev/null
	theirs=$?
	limited 20 "$DLOCK" "$@"
	ours=$status
	is "status $theirs as flock(1): $*" "$ours" "$theirs"
}

if type -P flock >/dev/null; then
	same
	same -x
	same --
	same f
	same f -c
	same f -c a b
	same f --command
	same f --command 'exit 3'
	same f -c 'exit 4'
	same -c true f
	same f true
	same -- f true
	same f false
	same f sh -c 'exit 77'
	same f sh -c 'exit 255'
	same f sh -c 'kill -TERM $$'
	same f sh -c 'kill -KILL $$'
	same f sh -c 'kill -HUP $$'
	same f ''
	same f no-such-command
	same f /tmp
	same f /etc/passwd
	same f -x true
	same f -- true
	same '' true
	same -s f true
	same -e f true
	same -x f true
	same -sxn f true
	same -u f true
	same -u
	same -o f true
	same -n f true
	same -nw 5 f true
	same -w 5 f true
	same -w .5 f true
	same -w 0 f true
	same -w 1e3 f true
	same -w 0x10 f true
	same -w 1e15 f true
	same -w 0.0000001 f true
	same -w ' 1' f true
	same -w '' f true
	same -w x f true
	same -w 1x f true
	same -w 1.x f true
	same -w . f true
	same -w -1 f true
	same -w nan f true
	same -w inf f true
	same -w 1e19 f true
	same -w 99999999999999999999 f true
	same -w
	same -E 0 f true
	same -E 255 f true
	same -E 256 f true
	same -E -1 f true
	same -E x f true
	same -E 5x f true
	same -E '' f true
	same -E 0x10 f true
	same -E ' 5' f true
	same -E 99999999999 f true
	same --shared f true
	same --exclusive f true
	same --unlock f true
	same --nonblock f true
	same --nonblocking f true
	same --nb f true
	same --timeout 1 f true
	same --timeout=1 f true
	same --wait 1 f true
	same --conflict-exit-code 9 f true
	same --close f true
	same --verbose f true
	same --no-fork --close f true
	same --s f true
	same --w 1 f true
	same --t 1 f true
	same --co 5 f true
	same --conf 5 f true
	same --c f true
	same --n f true
	same --no-such-option f true
	same -z f true
	same '-?'
	same --help
	same -h
	same --version
	same -V
else
	skip "the exit statuses of flock(1)" "flock(1) was not found"
fi

# What flock(1) writes when a message is asked for, with another program's name.
new_name
limited 20 "$DLOCK" --verbose "$name" true
check "--verbose tells how long the lock took" has_line '^dlock: getting lock took [0-9]*\.[0-9]\{6\} seconds$' out
check "--verbose tells what is executed" has_line '^dlock: executing true$' out
limited 20 sh -c '"$@" >/dev/full' sh "$DLOCK" --verbose "$name" true
is "output that cannot be written is an error, as for flock(1)" "$status" 1

# Conflict, with every way to say it.
new_name
hold "$name"
limited 20 "$DLOCK" -n "$name" echo never
is "-n while held: status 1" "$status" 1
is "-n while held: the command does not run" "$(cat out)" ""
is "-n while held: silent" "$(cat err)" ""
limited 20 "$DLOCK" --nonblock --conflict-exit-code 123 "$name" echo never
is "-n -E 123 while held" "$status" 123
limited 20 "$DLOCK" -w 0 -E 7 "$name" echo never
is "-w 0 is a try" "$status" 7
limited 20 "$DLOCK" --verbose -n "$name" echo never
check "-n --verbose says so" has_line '^dlock: failed to get lock$' err
start=$(now_ms)
limited 20 "$DLOCK" --verbose -w 0.7 -E 9 "$name" echo never
took=$(($(now_ms) - start))
is "-w while held: the conflict status" "$status" 9
check "-w waits its fraction of a second ($took ms)" [ "$took" -ge 700 ]
check "-w does not wait much longer ($took ms)" [ "$took" -lt 8000 ]
check "-w --verbose says so" has_line '^dlock: timeout while waiting to get lock$' err
limited 20 "$DLOCK" -n -s -E 5 "$name" echo never
is "a shared lock is refused beside an exclusive one" "$status" 5
limited 20 "$DLOCK" -u "$name" echo ran
is "-u runs the command although the lock is held" "$status:$(cat out)" "0:ran"
limited 20 "$DLOCK" -n "$name.other" true
is "another name is free" "$status" 0
release_holder
limited 20 "$DLOCK" -n "$name" true
is "free when the holder has ended" "$status" 0

# flock(1)'s own test: a shared holder for a while, others beside it.
new_name
start=$(now_ms)
"$DLOCK" --shared "$name" sh -c 'echo >held; sleep 8' &
first=$!
until_true 10 [ -e held ]
limited 20 "$DLOCK" --nonblock --conflict-exit-code 123 "$name" echo never
is "non-block: refused beside a shared lock" "$status" 123
limited 20 "$DLOCK" --shared "$name" echo shared
is "shared: two readers" "$status:$(cat out)" "0:shared"
limited 20 "$DLOCK" --nonblock --exclusive --conflict-exit-code 123 "$name" echo never
is "exclusive: refused beside a shared lock" "$status" 123
limited 30 "$DLOCK" --timeout 20 --conflict-exit-code 5 "$name" echo after
took=$(($(now_ms) - start))
is "timeout: got when the reader has ended" "$status:$(cat out)" "0:after"
check "time-check: not before the reader has ended ($took ms)" [ "$took" -ge 8000 ]
check "time-check: soon after the reader has ended ($took ms)" [ "$took" -lt 18000 ]
ended 10 "$first"
is "the reader ends well" "$status" 0
rm -f held

# The command and what it is given.
new_name
limited 20 env SHELL=/bin/echo "$DLOCK" "$name" -c 'a  b'
is "-c uses SHELL" "$(cat out)" "-c a  b"
limited 20 env SHELL= "$DLOCK" "$name" -c 'echo "$0 runs"'
is "-c with an empty SHELL uses /bin/sh" "$(cat out)" "/bin/sh runs"
limited 20 env -u SHELL "$DLOCK" "$name" -c 'echo $((6 * 7))'
is "-c without SHELL uses /bin/sh" "$(cat out)" "42"
limited 20 env SHELL=/no/such/shell "$DLOCK" "$name" -c true
is "-c with a SHELL that is not there" "$status" 69
limited 20 "$DLOCK" "$name" sh -c 'printf "%s\n" "$@"' sh 'a b' '' -n --list '*'
is "arguments reach the command untouched" "$(cat out)" "$(printf '%s\n' 'a b' '' -n --list '*')"
echo input >in
timeout 20 "$DLOCK" "$name" cat <in >out 2>err
is "standard input reaches the command" "$(cat out)" "input"
limited 20 "$DLOCK" "$name" sh -c 'echo "$DLOCK_NAME"'
is "DLOCK_NAME in the environment" "$(cat out)" "$name"
limited 20 "$DLOCK" "$name" sh -c 'echo "$DLOCK_TOKEN"'
first=$(cat out)
limited 20 "$DLOCK" "$name" sh -c 'echo "$DLOCK_TOKEN"'
second=$(cat out)
check "DLOCK_TOKEN is a number that grows ($first, $second)" [ "$first" -gt 0 -a "$second" -gt "$first" ]
limited 20 env DLOCK_TOKEN=5 DLOCK_NAME=old "$DLOCK" "$name" sh -c 'env | grep -c -E "^DLOCK_(NAME|TOKEN)="'
is "the environment has each variable once" "$(cat out)" "2"
mkdir config.d && echo "servers = $DLOCK_SERVERS" >config.d/other.conf
limited 20 env -u DLOCK_SERVERS "$DLOCK" --config config.d/other.conf "$name" sh -c 'echo "${DLOCK_CONFIG-unset}"'
is "--config is not handed on to the command" "$status:$(cat out)" "0:unset"
limited 20 sh -c 'ls /proc/self/fd >before; "$@"' sh "$DLOCK" "$name" sh -c 'ls /proc/self/fd'
is "the command inherits no descriptor of dlock's" "$(wc -l <out)" "$(wc -l <before)"
# The C library keeps signals 32 and 33 for itself, and sets them when a thread
# starts: what a caller has done to those is not kept by any program with threads.
standard_signals() {
	local name mask
	while read -r name mask; do
		printf '%s %x\n' "$name" $((0x$mask & ~0x180000000))
	done <"$1"
}
limited 20 grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status
cp out signals.before
limited 20 "$DLOCK" "$name" grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status
is "the command has the signal mask and dispositions of its caller" "$(standard_signals out)" "$(standard_signals signals.before)"
limited 20 sh -c 'trap "" TERM USR1; exec "$@"' sh "$DLOCK" "$name" grep -E '^SigIgn' /proc/self/status
limited 20 sh -c 'trap "" TERM USR1; exec grep -E "^SigIgn" /proc/self/status; true'
cp out ignored.before
limited 20 sh -c 'trap "" TERM USR1; exec "$@"' sh "$DLOCK" "$name" grep -E '^SigIgn' /proc/self/status
is "ignored signals stay ignored" "$(standard_signals out)" "$(standard_signals ignored.before)"
limited 20 sh -c 'ps -o pgid= -p $$; exec "$@"' sh "$DLOCK" "$name" sh -c 'ps -o pgid= -p $$'
is "the command is in dlock's process group" "$(sed -n 1p out | tr -d ' ')" "$(sed -n 2p out | tr -d ' ')"

# What stays behind does not keep the lock: told in the manual as a difference.
new_name
start=$(now_ms)
limited 20 "$DLOCK" "$name" sh -c 'sleep 6 >/dev/null 2>&1 &'
limited 20 "$DLOCK" -n "$name" true
took=$(($(now_ms) - start))
is "a process left in the background does not keep the lock" "$status" 0
check "and is not waited for ($took ms)" [ "$took" -lt 5500 ]

# Nothing of dlock's is left when it has ended.
new_name
limited 20 "$DLOCK" "$name" true
is "no process stays" "$(pgrep -f "dlock .*$name")" ""
limited 20 sh -c '"$@" 0<&- 1>&- 2>&-' sh "$DLOCK" "$name" true
is "works with all standard streams closed" "$status" 0

# What only dlock refuses.
limited 20 "$DLOCK" 9
is "a descriptor's number without a command: status 64" "$status" 64
check "and what can serve instead is told" has_line 'dlock NAME -c' err
check "a mount too" has_line 'mount in flock mode' err
limited 20 "$DLOCK" name
is "a name without a command: status 64" "$status" 64
limited 20 "$DLOCK" -F name true
is "-F: status 64" "$status" 64
check "-F: the reason is told" has_line 'no-fork is refused' err
limited 20 "$DLOCK" --ttl 5 name true
is "a ttl out of range: status 64" "$status" 64
check "the option that was wrong is named" has_line 'ttl' err
limited 20 "$DLOCK" --on-loss=panic name true
is "--on-loss with a wrong value: status 64" "$status" 64
limited 20 "$DLOCK" --json name true
is "--json without something to look at: status 64" "$status" 64
limited 20 "$DLOCK" --yes name true
is "--yes without a question: status 64" "$status" 64
limited 20 "$DLOCK" --max-ttl 20000 name true
is "--max-ttl without --init: status 64" "$status" 64
limited 20 "$DLOCK" --list --who name
is "--list and --who together: status 64" "$status" 64
limited 20 "$DLOCK" --list name
is "--list with an argument: status 64" "$status" 64
limited 20 "$DLOCK" -n --list
is "--list with an option of the lock: status 64" "$status" 64

plan
