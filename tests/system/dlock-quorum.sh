#!/bin/bash
#
# Masters that stand still or are gone: a minority does not matter, without a
# majority the answer is quick and names each of them.

. "$(dirname -- "$0")/lib.sh"

IFS=, read -r -a addresses <<<"$DLOCK_SERVERS"

# All of the addresses with these numbers are in the one line of `err`.
named()
{
	local i
	[ "$(grep -c '' err)" = 1 ] || return 1
	for i; do
		grep -q -F -- "${addresses[i - 1]}" err || return 1
	done
}

quick_failure()
{
	local start
	start=$(now_ms)
	limited 20 "$DLOCK" -n "$name" touch ran
	took=$(($(now_ms) - start))
	is "$1: status 69" "$status" 69
	check "$1: in under 2 s ($took ms)" [ "$took" -lt 2000 ]
	check "$1: the command did not run" [ ! -e ran ]
}

new_name
limited 20 "$DLOCK" "$name" true
is "all masters: works" "$status" 0

stop_masters 2 4
limited 20 "$DLOCK" "$name" true
is "two of five stand still: works" "$status:$(cat err)" "0:"

stop_masters 5
quick_failure "three of five stand still"
check "three of five stand still: each is named in one line" named 2 4 5
check "the line begins with the lock's name" has_line "^dlock: $name: " err
limited 20 "$DLOCK" -w 0.5 -E 9 "$name" true
is "with -w it is 69 too, not the conflict status" "$status" 69
limited 20 "$DLOCK" --who "$name"
is "--who without a quorum: status 69" "$status" 69
limited 20 "$DLOCK" --list --json
is "--list without a quorum: status 69" "$status" 69
is "--list --json without a quorum: no half answer" "$(cat out)" ""
limited 20 "$DLOCK" --break "$name" --yes
is "--break without a quorum: status 69" "$status" 69
limited 20 "$DLOCK" --doctor
is "--doctor without a quorum: status 1" "$status" 1
check "--doctor without a quorum says so" has_line UNSAFE out

# A waiter that is there when they come back gets the lock without a restart.
env DLOCK_CONFIG=forever.conf true
echo "quorum_timeout = forever" >forever.conf
env DLOCK_CONFIG="$work/forever.conf" "$DLOCK" "$name" touch came 2>err.waiter &
waiter=$!
sleep 1
resume_masters 2 4 5
ended 20 "$waiter"
is "a waiter goes on when they return" "$status" 0
check "and its command has run" [ -e came ]
limited 20 "$DLOCK" -n "$name" true
is "works again when they return" "$status" 0

# Nothing listens at all.
limited 20 env DLOCK_SERVERS=unix:/no/such/1.sock,unix:/no/such/2.sock,unix:/no/such/3.sock "$DLOCK" -n "$name" touch ran
is "no master at all: status 69" "$status" 69
addresses=(unix:/no/such/1.sock unix:/no/such/2.sock unix:/no/such/3.sock)
check "no master at all: each is named in one line" named 1 2 3
start=$(now_ms)
limited 20 env DLOCK_SERVERS=127.0.0.1:1,127.0.0.1:2,127.0.0.1:3 "$DLOCK" "$name" touch ran
took=$(($(now_ms) - start))
is "no master at all, waiting: status 69" "$status" 69
check "no master at all, waiting: after quorum_timeout, not for ever ($took ms)" [ "$took" -lt 9000 ]
check "no command has run without a lock" [ ! -e ran ]

# Settings that cannot be: 78 and the place.
printf 'servers = %s\nttl = soon\n' "$DLOCK_SERVERS" >bad.conf
limited 20 "$DLOCK" --config bad.conf "$name" true
is "a wrong setting: status 78" "$status" 78
check "file, line and key are named" has_line 'bad.conf:2.*ttl' err
limited 20 "$DLOCK" --config no-such.conf "$name" true
is "a configuration file that is not there: status 78" "$status" 78
limited 20 env DLOCK_TTL=x "$DLOCK" "$name" true
is "a wrong variable: status 78" "$status" 78
check "the variable is named" has_line DLOCK_TTL err

plan
