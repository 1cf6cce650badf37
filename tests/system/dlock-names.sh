#!/bin/bash
#
# Names: every byte but NUL, 1 to 1,024 of them; what is longer or empty gets a
# clear error before anything is locked.

. "$(dirname -- "$0")/lib.sh"

long()
{
	head -c "$1" /dev/zero | tr '\0' n
}

# locks DESCRIPTION NAME: it can be locked, excludes itself, and arrives whole.
locks()
{
	limited 20 env DLOCK="$DLOCK" "$DLOCK" "$2" sh -c 'printf %s "$DLOCK_NAME" >got; "$DLOCK" -n -E 55 "$DLOCK_NAME" true; echo $? >inner'
	is "$1: status 0" "$status:$(cat err)" "0:"
	is "$1: arrives whole" "$(cat got)" "$2"
	is "$1: excludes itself" "$(cat inner)" 55
	rm -f got inner
}

refused()
{
	is "$1: status 66" "$status" 66
	is "$1: one line" "$(grep -c '' err)" 1
	check "$1: what is accepted is told" has_line '1 to 1024' err
	check "$1: the command did not run" [ ! -e ran ]
}

locks "one byte" x
locks "1,024 bytes" "$(long 1024)"
locks "a path" /var/lock/backup
locks "a path that is a directory" /
locks "with spaces" ' a  b '
locks "with a newline" $'a\nb'
locks "with control bytes" $'\001\033[31m\177'
locks "invalid UTF-8" $'\377\376\200a'
locks "Redis' wildcards" '*?[a]{b}'
locks "quotes and a backslash" $'"\'\\'
locks "an exclamation mark" 'a!b'
locks "like an option, after --" x-n
limited 20 "$DLOCK" -- -n true
is "a name that begins with a dash, after --" "$status" 0
check "no file was made for any of them" [ ! -e x ]

limited 20 "$DLOCK" '' touch ran
refused "empty"
limited 20 "$DLOCK" "$(long 1025)" touch ran
refused "1,025 bytes"
limited 20 "$DLOCK" "$(long 100000)" touch ran
refused "100,000 bytes"
limited 20 "$DLOCK" --who "$(long 1025)"
is "--who: 1,025 bytes: status 66" "$status" 66
limited 20 "$DLOCK" --break '' --yes
is "--break: empty: status 66" "$status" 66

# One argument of 1 MiB is more than the kernel passes on: the shell says so.
(limited 20 "$DLOCK" "$(long 1048576)" touch ran; exit "$status") 2>/dev/null
check "1 MiB: refused, and the command did not run" [ $? -ne 0 -a ! -e ran ]

# The library's own keys cannot be reached by a name, even without a prefix.
limited 20 "$DLOCK" --prefix '' 'dlock!fence' touch ran
is "a reserved key: status 66" "$status" 66
check "a reserved key: the command did not run" [ ! -e ran ]

# The two sides of a prefix never meet.
new_name
hold "$name" --prefix one:
limited 20 "$DLOCK" --prefix two: -n "$name" true
is "another prefix is another lock" "$status" 0
limited 20 "$DLOCK" --prefix one: -n "$name" true
is "the same prefix is the same lock" "$status" 1
release_holder

# A name in a message cannot drive the terminal.
limited 20 env DLOCK_SERVERS=unix:/no/such.sock "$DLOCK" -n $'a\nb\033[31m' true
is "a message is one line" "$(grep -c '' err)" 1
check "control bytes of a name are shown as text" has_line '^dlock: a\\x0ab\\x1b\[31m: ' err

plan
