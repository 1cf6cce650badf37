# lib.sh - what the tests of the dlock command share. Sourced, never run.
#
# Sourcing it starts the test anew inside a quorum of its own (dlock-local run),
# with DLOCK_SERVERS set, in an empty working folder. Everything that a test
# starts is ended with it: the servers by dlock-local, the rest by clean_up.
#
# DLOCK_BIN (the dlock to test) and DLOCK_LOCAL (the script) name others than
# those of the build tree. `masters`, set before sourcing, is the number of
# masters; default 5. `lib_within`, an array, is a command that the whole test is run
# below; `lib_unmount`, a function, is called after everything has been ended and
# before the working folder is removed.
#
# Every step has a limit of its own: a test that waits for ever tells nothing.

set -u

lib_here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
lib_build=${abs_top_builddir:-$lib_here/../..}
DLOCK_LOCAL=${DLOCK_LOCAL:-$lib_here/../../tools/dlock-local}

# libtool's wrapper of an uninstalled program is a script that takes longer to
# start than the program: the program is run itself, with the library named.
if [ -n "${DLOCK_BIN:-}" ]; then
	DLOCK=$DLOCK_BIN
elif [ -x "$lib_build/tools/.libs/dlock" ]; then
	DLOCK=$lib_build/tools/.libs/dlock
	export LD_LIBRARY_PATH=$lib_build/libdlock/.libs${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
else
	DLOCK=$lib_build/tools/dlock
fi

if [ ! -x "$DLOCK" ]; then
	echo "Bail out! there is no dlock to test at $DLOCK"
	exit 1
fi

if [ -z "${DLOCK_SYSTEM_TEST:-}" ]; then
	if ! type -P redis-server >/dev/null && ! type -P valkey-server >/dev/null; then
		echo "1..0 # SKIP neither redis-server nor valkey-server was found"
		exit 0
	fi
	unset DLOCK_SERVERS DLOCK_TTL DLOCK_PREFIX DLOCK_CONFIG DLOCK_LOCAL_DIR DLOCK_NAME DLOCK_TOKEN
	PATH=$(dirname -- "$DLOCK"):$PATH DLOCK_SYSTEM_TEST=1 \
		exec timeout -k 10 "${DLOCK_TEST_TIMEOUT:-280}" ${lib_within[@]+"${lib_within[@]}"} \
		"$DLOCK_LOCAL" run -n "${masters:-5}" -- bash "$0" "$@"
fi
unset DLOCK_SYSTEM_TEST

work=$(mktemp -d "${TMPDIR:-/tmp}/dls-XXXXXX") || exit 1
cd "$work" || exit 1
lib_tests=0
lib_failed=0
lib_names=0
servers_dir=${DLOCK_SERVERS%%,*}
servers_dir=$(dirname -- "${servers_dir#unix:}")

# Only what this test has started: its own jobs, then what carries its folder.
clean_up()
{
	local pid file
	resume_masters 1 2 3 4 5 6 7 2>/dev/null
	for pid in $(jobs -p); do
		kill -KILL "$pid" 2>/dev/null
	done
	for file in $(grep -lsaF "DLS_WORK=$work" /proc/[0-9]*/environ 2>/dev/null); do
		pid=${file#/proc/}
		pid=${pid%%/*}
		[ "$pid" = $$ ] || [ "$pid" = "$BASHPID" ] || kill -KILL "$pid" 2>/dev/null
	done
	wait 2>/dev/null
	cd /
	! declare -F lib_unmount >/dev/null || lib_unmount
	rm -rf --one-file-system -- "$work"
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP
# This shell itself does not carry the mark: its environment in /proc is older.
export DLS_WORK=$work

# check DESCRIPTION COMMAND...: one test, that COMMAND succeeds.
check()
{
	local description=$1
	shift
	lib_tests=$((lib_tests + 1))
	if "$@"; then
		echo "ok $lib_tests - $description"
		return 0
	fi
	lib_failed=$((lib_failed + 1))
	echo "not ok $lib_tests - $description"
	echo "# failed: $*"
	# (Unlike sed, awk ends the line in whose midst it is cut off.)
	[ ! -s out ] || head -c 3000 out | awk '{ print "# out: " $0 }'
	[ ! -s err ] || head -c 3000 err | awk '{ print "# err: " $0 }'
	return 0
}

# is DESCRIPTION GOT WANTED
is()
{
	check "$1" [ "$2" = "$3" ]
}

skip()
{
	lib_tests=$((lib_tests + 1))
	echo "ok $lib_tests - $1 # SKIP $2"
}

plan()
{
	echo "1..$lib_tests"
	exit 0
}

# A name that no other step uses.
new_name()
{
	lib_names=$((lib_names + 1))
	name=$(basename -- "$0" .sh).$$.$lib_names
}

# limited SECONDS COMMAND...: its output in `out` and `err`, its status in $status.
limited()
{
	local seconds=$1
	shift
	timeout -k 5 "$seconds" "$@" >out 2>err </dev/null
	status=$?
}

now_ms()
{
	local now=$EPOCHREALTIME
	now=${now/[.,]/}
	echo "${now%???}"
}

# until_true SECONDS COMMAND...: waits for it to succeed.
until_true()
{
	local end=$(($(now_ms) + $1 * 1000))
	shift
	until "$@"; do
		[ "$(now_ms)" -lt "$end" ] || return 1
		sleep 0.02
	done
}

gone()
{
	local state
	state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null)
	[ -z "$state" ] || [ "$state" = Z ]
}

# ended SECONDS PID: waits for a job of this shell, its status in $status; a job
# that does not end in time is killed and has the status "late".
ended()
{
	if until_true "$1" gone "$2"; then
		wait "$2" 2>/dev/null
		status=$?
	else
		kill -KILL "$2"
		wait "$2" 2>/dev/null
		status=late
	fi
}

has_line()
{
	grep -q -e "$1" -- "$2"
}

# hold NAME: a holder in the background until release_holder; $holder is its pid.
hold()
{
	rm -f held
	mkfifo release.$$ 2>/dev/null
	"$DLOCK" "${@:2}" "$1" sh -c 'echo >held; read line <release.'$$ </dev/null &
	holder=$!
	until_true 20 [ -e held ]
}

release_holder()
{
	timeout 5 sh -c "echo >release.$$"
	ended 10 "$holder"
	rm -f held
}

master_pid()
{
	cat "$servers_dir/$1/pid" 2>/dev/null
}

stop_masters()
{
	local i
	for i; do
		kill -STOP "$(master_pid "$i")"
	done
}

resume_masters()
{
	local i pid
	for i; do
		pid=$(master_pid "$i")
		[ -z "$pid" ] || kill -CONT "$pid"
	done
}

# As after a crash of their machines.
kill_masters()
{
	local i pid
	for i; do
		pid=$(master_pid "$i")
		kill -KILL "$pid"
		until_true 5 gone "$pid"
	done
}

# With what they had on their disks. They end with this test's jobs.
restart_masters()
{
	local i server
	server=$(type -P redis-server) || server=$(type -P valkey-server)
	for i; do
		"$server" "$servers_dir/$i/server.conf" >/dev/null 2>&1 </dev/null &
	done
	for i; do
		until_true 20 master_answers "$i"
	done
}

# ask_master I COMMAND...: the reply to one command, as redis-cli prints it.
ask_master()
{
	local client
	client=$(type -P redis-cli) || client=$(type -P valkey-cli)
	timeout 5 "$client" -s "$servers_dir/$1.sock" "${@:2}"
}

master_answers()
{
	[ "$(ask_master "$1" ping 2>/dev/null)" = PONG ]
}

# What the masters hold besides their own books: locks, what travels with them, queues.
keys_left()
{
	local i
	for i in 1 2 3 4 5 6 7; do
		[ ! -e "$servers_dir/$i.sock" ] || ask_master "$i" --scan
	done | grep -v -x -E 'dlock!(fence|epoch|cluster|quarantine)' | sort | uniq -c
}

# In `err`, for who looks why they are still there.
no_keys_left()
{
	keys_left >err
	[ ! -s err ]
}
