# lib.sh - what the tests of unmodified programs share. Sourced, never run.
# shellcheck shell=bash
#
# A test tells with `mode=create` or `mode=flock`, before it sources this, which
# kind of mount it wants. Sourcing starts the test anew inside a quorum of its own
# (dlock-local run) and mounts two directories, $A and $B, each with a daemon of its
# own: they stand for two hosts. With mode=both, $A and $B are in create mode, and
# $flock_A and $flock_B are two more in flock mode: four hosts, one fleet.
#
# LOCK_DIR_A names a directory that is there already instead of both of them, on a
# local file system: what the tests expect of the mounts is what such a file system
# does.
#
# One program is one case: `program NAME FUNCTION COMMAND...`. FUNCTION runs in a
# shell of its own and says what it does with `step`; the first step that fails ends
# it. COMMAND... are what it needs; it is skipped where one of them is missing.
#
# Environment:
#   DLOCK_TEST_PROGRAMS   "all": also those that `more program` names; else one or
#                         several words: only the cases with one of them in their name
#   DLOCK_TEST_PROCESSES  processes on each mount that count together
#   DLOCK_TEST_TIMES      how often each of them counts
#   DLOCK_TEST_TIMEOUT    seconds for all of it, as tests/run-test knows it
#   DLOCKFS               the daemon, if not that of the build tree
#   DLOCKFS_OPTIONS       further options for it
#
# Nothing that a test starts outlives it, and no mount either.

set -u

lib_here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
lib_build=${abs_top_builddir:-$lib_here/../..}
DLOCK_LOCAL=${DLOCK_LOCAL:-$lib_here/../../tools/dlock-local}
# Debian's own, which finds Debian's modules.
PYTHON=/usr/bin/python3
# dlock-local wants dlock in there.
PATH=$lib_build/tools:$PATH:/usr/sbin:/sbin

skip_all()
{
	echo "1..0 # SKIP $1"
	exit 0
}

# ---------------------------------------------------------------- a quorum of its own

# libtool's wrapper of an uninstalled program is a shell script: it would be in the
# way of signals.
DLOCKFS=${DLOCKFS:-$lib_build/fuse/dlockfs}
lib_libraries=
lib_fuse=$(dirname -- "$DLOCKFS")
if [ -x "$lib_fuse/.libs/dlockfs" ]; then
	DLOCKFS=$lib_fuse/.libs/dlockfs
	lib_libraries=$lib_fuse/../libdlock/.libs
fi

if [ -z "${LOCK_DIR_A:-}" ]; then
	if [ -z "${DLOCK_PROGRAMS_TEST:-}" ]; then
		[ -x "$DLOCKFS" ] || skip_all "dlockfs was not built (no fuse)"
		[ -c /dev/fuse ] || skip_all "no /dev/fuse"
		[ -r /dev/fuse ] && [ -w /dev/fuse ] || skip_all "/dev/fuse is not for this user"
		[ "$(id -u)" = 0 ] || type -P fusermount3 >/dev/null || skip_all "no fusermount3 (fuse)"
		type -P redis-server >/dev/null || type -P valkey-server >/dev/null ||
			skip_all "neither redis-server nor valkey-server was found"
		unset DLOCK_SERVERS DLOCK_TTL DLOCK_PREFIX DLOCK_CONFIG DLOCK_LOCAL_DIR DLOCK_NAME DLOCK_TOKEN
		# Somewhat before run-test ends it all: this one says how far it came.
		DLOCK_PROGRAMS_TEST=1 exec timeout -k 20 "$((${DLOCK_TEST_TIMEOUT:-300} - 20))" \
			"$DLOCK_LOCAL" run -n "${masters:-5}" -- bash "$0" "$@"
	fi
fi
unset DLOCK_PROGRAMS_TEST

work=$(mktemp -d "${TMPDIR:-/tmp}/dlp-XXXXXX") || exit 1
cd "$work" || exit 1
mkdir "$work/home"
# Settings of the user's are not those of the test (but npm's, which name the registry).
lib_home=$HOME
export HOME=$work/home DLP_WORK=$work
lib_tests=0
lib_daemons=()
lib_folders=("$work")

# ---------------------------------------------------------------- the end

# Whatever carries the mark of this test in its environment.
lib_marked()
{
	local file pid
	for file in $(grep -lsaF "DLP_WORK=$work" /proc/[0-9]*/environ 2>/dev/null); do
		pid=${file#/proc/}
		pid=${pid%%/*}
		[ "$pid" = $$ ] || [ "$pid" = "$BASHPID" ] || echo "$pid"
	done
}

lib_gone()
{
	local state
	state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null)
	[ -z "$state" ] || [ "$state" = Z ]
}

lib_is_mounted()
{
	grep -q -F " $1 " /proc/self/mountinfo
}

lib_unmount()
{
	lib_is_mounted "$1" || return 0
	# As a user only fusermount3 may, as root without it umount.
	fusermount3 -q -u -z "$1" 2>/dev/null || umount -l "$1"
}

# The programs first: what waits in the mount ends at once then, and the daemons have
# nothing left to answer. Never `rm -r` through a mount.
clean_up()
{
	local pid directory
	cd /
	for pid in $(lib_marked); do
		case " ${lib_daemons[*]-} " in
		*" $pid "*) ;;
		*) kill -KILL "$pid" 2>/dev/null ;;
		esac
	done
	for pid in ${lib_daemons[@]+"${lib_daemons[@]}"}; do
		kill -TERM "$pid" 2>/dev/null
	done
	for pid in ${lib_daemons[@]+"${lib_daemons[@]}"}; do
		within 5 lib_gone "$pid" || kill -KILL "$pid"
	done
	for directory in A B flock_A flock_B; do
		lib_unmount "$work/$directory"
	done
	wait 2>/dev/null
	rm -rf --one-file-system -- "${lib_folders[@]}"
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP

# within SECONDS COMMAND...: waits for it to succeed.
within()
{
	local end=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000))
	shift
	until "$@"; do
		[ "${EPOCHREALTIME/[.,]/}" -lt "$end" ] || return 1
		nap 0.02
	done
}

# Sleeps without a process: reads what nobody writes.
mkfifo "$work/never"
exec 9<>"$work/never"
nap()
{
	read -r -t "$1" -u 9
	return 0
}

# ---------------------------------------------------------------- the mounts

lib_serves()
{
	lib_gone "$2" || { lib_is_mounted "$1" && stat -f -- "$1" >/dev/null 2>&1; }
}

# The kernel keeps everybody else away from a mount, and counts programs with set-gid,
# like dotlockfile, among those, unless it is told not to; which root may, and others if
# this machine lets them.
lib_private=
[ "$(id -u)" = 0 ] || grep -s -q '^user_allow_other' /etc/fuse.conf || lib_private=yes
[ -z "${LOCK_DIR_A:-}" ] || lib_private=

# lib_mount DIRECTORY MODE
lib_mount()
{
	local directory=$1 options=mode=$2
	# Nothing is underneath that would need protection, and rmdir must work at the end.
	options+=,noprotect
	# Nothing here is about time: on a busy machine answers may be late.
	options+=,node_timeout=2000,op_timeout=10000${DLOCKFS_OPTIONS:+,$DLOCKFS_OPTIONS}
	[ -n "$lib_private" ] || options+=,allow_other
	mkdir -- "$directory"
	LD_LIBRARY_PATH=$lib_libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} \
		"$DLOCKFS" -f -o "$options" "$directory" >"$directory.log" 2>&1 </dev/null 9<&- &
	lib_daemons+=($!)
	within 20 lib_serves "$directory" $! && ! lib_gone $! && return
	echo "Bail out! dlockfs does not serve: $(tail -n 1 "$directory.log")"
	exit 1
}

if [ -n "${LOCK_DIR_A:-}" ]; then
	A=$LOCK_DIR_A B=$LOCK_DIR_A
	flock_A=$A flock_B=$A
	local_reference=yes
else
	A=$work/A B=$work/B
	flock_A=$work/flock_A flock_B=$work/flock_B
	local_reference=
	case $mode in
	both)
		lib_mount "$A" create
		lib_mount "$B" create
		lib_mount "$flock_A" flock
		lib_mount "$flock_B" flock
		;;
	*)
		lib_mount "$A" "$mode"
		lib_mount "$B" "$mode"
		;;
	esac
fi

# as_host DIRECTORY COMMAND...: B is a host of another name, for programs that look
# whether the holder is a process of their own host. Only root can; nobody else sees
# more than one host.
as_host()
{
	if [ -n "$lib_other_host" ] && [ "$1" = "$B" ]; then
		# shellcheck disable=SC2016 # for the shell on that host
		unshare --uts sh -c 'hostname other-host && exec "$@"' sh "${@:2}"
	else
		"${@:2}"
	fi
}
lib_other_host=
[ -n "$local_reference" ] || ! unshare --uts true 2>/dev/null || lib_other_host=yes

# host DIRECTORY: A or B, for what each host has of its own; both are A on a local
# file system.
host()
{
	[ "$1" = "$A" ] && echo A || echo B
}

# ---------------------------------------------------------------- cases and steps

# more program ...: only in the full run.
more()
{
	[ "${DLOCK_TEST_PROGRAMS:-}" = '' ] || "$@"
}

# Whether DLOCK_TEST_PROGRAMS asks for the case $1.
lib_wanted()
{
	local word
	case ${DLOCK_TEST_PROGRAMS:-all} in all) return 0 ;; esac
	for word in $DLOCK_TEST_PROGRAMS; do
		case $1 in *"$word"*) return 0 ;; esac
	done
	return 1
}

lib_tell()
{
	lib_tests=$((lib_tests + 1))
	printf '%s %d - %s\n' "$1" "$lib_tests" "$2"
}

# Whether a program is there and can see the mounts.
usable() { type -P "$1" >/dev/null && { [ -z "$lib_private" ] || [ ! -g "$(type -P "$1")" ]; }; }

# program NAME FUNCTION COMMAND...
program()
{
	local title=$1 function=$2 command status
	shift 2
	lib_wanted "$title" || return 0
	for command; do
		if ! type -P "$command" >/dev/null; then
			lib_tell ok "$title # SKIP no $command"
			return
		elif ! usable "$command"; then
			lib_tell ok "$title # SKIP $command has set-gid, and this mount is for its user alone (not root)"
			return
		fi
	done
	case_dir=$work/case.$((lib_tests + 1))
	mkdir "$case_dir"
	# Names in the mount that no other case uses.
	name=case$((lib_tests + 1))
	(lib_case "$function")
	status=$?
	case $status in
	0) lib_tell ok "$title" ;;
	77) lib_tell ok "$title # SKIP $(cat "$case_dir/skip")" ;;
	*)
		lib_tell "not ok" "$title"
		lib_diagnose
		;;
	esac
}

lib_case()
{
	cd "$case_dir" || exit 1
	# Also what was put into the background by what is in the background.
	trap 'exit 1' INT TERM HUP
	trap lib_end_case EXIT
	exec 3>"$case_dir/log"
	"$1"
	exit
}

lib_end_case()
{
	local pid
	for pid in $(lib_marked); do
		case " ${lib_daemons[*]-} $lib_main " in
		*" $pid "*) ;;
		*) kill -KILL "$pid" 2>/dev/null ;;
		esac
	done
	# What a case that failed has left must not be in the way of the next.
	[ -n "$local_reference" ] || return 0
	rm -rf -- "${A:?}"/*"$name"* "${A:?}"/."$name"*
}
lib_main=$$

lib_diagnose()
{
	local log
	sed 's/^/#   /' "$case_dir/log" | tail -n 60
	for log in "$work"/*.log; do
		[ -s "$log" ] || continue
		printf '#   the end of %s:\n' "${log##*/}"
		tail -n 15 "$log" | sed 's/^/#     /'
	done
	[ -n "$local_reference" ] || timeout 10 ls -la "$A" "$B" 2>&1 | sed 's/^/#     /' | head -n 40
}

log()
{
	printf '%s\n' "$*" >&3
}

# Ends the case.
bad()
{
	log "FAILED: $*"
	[ ! -s out ] || head -c 2000 out >&3
	exit 1
}

unable()
{
	printf '%s\n' "$*" >"$case_dir/skip"
	exit 77
}

# step DESCRIPTION COMMAND...: must succeed; what it prints is in `out`.
step()
{
	local description=$1 status
	shift
	"$@" >out 2>&1 </dev/null 3>&-
	status=$?
	[ "$status" -eq 0 ] || bad "$description: status $status: $*"
	log "$description"
}

# refused DESCRIPTION STATUS PATTERN COMMAND...: must end with STATUS and print the
# extended regular expression PATTERN, and nothing on lines of its own that does not
# fit. An empty PATTERN: nothing is printed.
refused()
{
	local description=$1 wanted=$2 pattern=$3 status
	shift 3
	"$@" >out 2>&1 </dev/null 3>&-
	status=$?
	[ "$status" -eq "$wanted" ] || bad "$description: status $status, not $wanted: $*"
	lib_only "$pattern" out || bad "$description: said something else than '$pattern'"
	[ -z "$pattern" ] || [ -s out ] || bad "$description: does not say '$pattern'"
	log "$description"
}

# Nothing but lines with PATTERN in the file.
lib_only()
{
	if [ -n "$1" ]; then
		! grep -q -v -E -e "$1" -- "$2"
	else
		[ ! -s "$2" ]
	fi
}

# ---------------------------------------------------------------- counting together

# A counter outside of the mounts, in the way of locks.py and its like (which do the
# same): who is inside writes who it is, and must still find itself there at the end.
increment()
{
	local inside number
	read -r inside <"$case_dir/inside"
	[ -z "$inside" ] || { log "FAILED: $inside is inside together with $BASHPID"; return 1; }
	echo "$BASHPID" >"$case_dir/inside"
	read -r number <"$case_dir/counter"
	nap 0.001
	echo $((number + 1)) >"$case_dir/counter"
	read -r inside <"$case_dir/inside"
	[ "$inside" = "$BASHPID" ] || { log "FAILED: $inside came inside to $BASHPID"; return 1; }
	echo >"$case_dir/inside"
}

processes=${DLOCK_TEST_PROCESSES:-3}
times=${DLOCK_TEST_TIMES:-10}

# count_together FUNCTION [DIRECTORY...]: `FUNCTION DIRECTORY` in $processes processes
# on each mount, or on those named, each counting $times times; nothing may be lost, and
# nobody may fail.
count_together()
{
	local i directory function=$1
	shift
	[ $# -gt 0 ] || set -- "$A" "$B"
	begin_count
	for ((i = 0; i < processes; i++)); do
		for directory; do
			counting "$function" "$directory"
		done
	done
	end_count
}

# counting COMMAND...: one more process that counts $times times.
begin_count()
{
	echo >inside
	echo 0 >counter
	rm -f out.*
	lib_counting=()
}

counting()
{
	"$@" </dev/null >"out.${#lib_counting[@]}" 2>&1 &
	lib_counting+=($!)
}

end_count()
{
	local pid failed=0 wanted=$((${#lib_counting[@]} * times)) got
	for pid in "${lib_counting[@]}"; do
		wait "$pid" || failed=$((failed + 1))
	done
	cat out.* >out
	[ $failed -eq 0 ] || bad "$failed of ${#lib_counting[@]} that counted failed"
	read -r got <counter
	[ "$got" -eq "$wanted" ] || bad "counted to $got, not $wanted"
	log "${#lib_counting[@]} processes, $times times each: $got"
}

# ---------------------------------------------------------------- idioms that create a name

# creation: drives an idiom that is two commands. The case has defined
#   take DIRECTORY, give DIRECTORY   obtain without waiting, and give back
#   held                             status of `take` when it is held
#   says                             what it prints then (a pattern; may be empty)
creation()
{
	step "taken in A" take "$A"
	refused "refused in B" "$held" "$says" take "$B"
	refused "refused in A itself" "$held" "$says" take "$A"
	step "released in A" give "$A"
	step "taken in B" take "$B"
	refused "refused in A" "$held" "$says" take "$A"
	step "released in B" give "$B"
	step "taken in A again" take "$A"
	step "released in A again" give "$A"
	count_together lib_count_creation
}

lib_count_creation()
{
	local i status said=said.$BASHPID
	for ((i = 0; i < times; i++)); do
		until take "$1" >"$said" 2>&1; do
			status=$?
			if [ "$status" -ne "$held" ] || ! lib_only "$says" "$said"; then
				log "FAILED: take $1: status $status: $(cat "$said")"
				return 1
			fi
			nap 0.00$((RANDOM % 9 + 1))
		done
		increment || return
		give "$1" || { log "FAILED: give $1: status $?"; return 1; }
	done
}

# ---------------------------------------------------------------- idioms that run a command

# within_lock DIRECTORY COMMAND... waits and runs COMMAND under the lock.
# holder DIRECTORY: one in the background that holds it until end_holder.
holder()
{
	rm -f held release
	mkfifo release
	# shellcheck disable=SC2016 # for the shell under the lock
	within_lock "$1" sh -c 'echo $$ >held; read -r line <release; exit 0' >holder.out 2>&1 </dev/null 3>&- &
	holder=$!
	within 10 [ -s held ] || { cat holder.out >out; bad "no lock in ${1##*/}"; }
	log "held in ${1##*/}"
}

end_holder()
{
	timeout 10 sh -c 'echo >release' || bad "the holder is not there any more"
	finished "$holder" || { cat holder.out >out; bad "the holder ended with status $?"; }
	log "released"
}

# finished PID: a job of this shell ends in time, and well.
finished()
{
	within "${2:-10}" lib_gone "$1" || { log "FAILED: $1 does not end"; return 99; }
	wait "$1"
}

# waiter DIRECTORY: one in the background, told by the file `got` when it is inside.
waiter()
{
	rm -f got
	within_lock "$1" sh -c 'echo >got' >waiter.out 2>&1 </dev/null 3>&- &
	waiter=$!
	nap 0.3
	[ ! -e got ] || bad "inside in ${1##*/} although it is held"
	! lib_gone "$waiter" || { cat waiter.out >out; bad "does not wait in ${1##*/}"; }
	log "waits in ${1##*/}"
}

end_waiter()
{
	finished "$waiter" || { cat waiter.out >out; bad "the waiter ended with status $?"; }
	[ -e got ] || bad "the waiter was not inside"
	log "the waiter got it"
}

# kill_holder: all that the holder has started, at once, so that none can release. The
# shell that waits for them stays, to take them away: a program that looks whether the
# process is alive would still find it otherwise.
kill_holder()
{
	local -a pids
	read -r -a pids < <(lib_tree "$holder")
	step "kill -9 of what holds" kill -KILL "${pids[@]:1}"
	within 5 lib_gone "$holder" || bad "what held does not end"
	wait "$holder" 2>/dev/null
}

# The process and its children, theirs, and so on.
lib_tree()
{
	local file rest pid parent tree=" $1 " more=yes
	while [ -n "$more" ]; do
		more=
		for file in /proc/[0-9]*/stat; do
			{ read -r rest <"$file"; } 2>/dev/null || continue
			pid=${rest%% *}
			# The name in parentheses may be anything.
			read -r _ parent _ <<<"${rest##*) }"
			case $tree in *" $pid "*) continue ;; *" $parent "*) tree+="$pid " more=yes ;; esac
		done
	done
	echo "$tree"
}

# command_idiom: drives an idiom that runs a command under the lock. The case has
# defined
#   within_lock DIRECTORY COMMAND...  waits, then runs COMMAND
#   try_lock DIRECTORY COMMAND...     runs COMMAND, or not, at once
#   held, says                        the latter's status and words when it is held
# and, if the program passes on its command's status, nothing; else passes_status=no;
# counts=no, if it can't promise to be alone even on a local file system.
# When it is killed, the lock goes with it; unless, as what locks by a name,
#   killed=left   it leaves it, and `give DIRECTORY` removes it; with same_host=unsure
#                 the next on the same host may take it for stale, or not
#   killed=stale  it leaves it, and the next on the same host takes it for stale, but
#                 nobody does on another (see as_host)
command_idiom()
{
	holder "$A"
	refused "refused in B" "$held" "$says" try_lock "$B" touch "$case_dir/never-made"
	[ ! -e never-made ] || bad "ran the command all the same"
	waiter "$B"
	end_holder
	end_waiter
	step "taken in B" try_lock "$B" true
	[ "${passes_status:-yes}" = no ] || refused "the command's own status" 3 '' try_lock "$A" sh -c 'exit 3'
	holder "$B"
	refused "refused in A" "$held" "$says" try_lock "$A" true
	refused "refused in B itself" "$held" "$says" try_lock "$B" true
	kill_holder
	case ${killed:-}${local_reference:+ locally} in
	left*)
		[ -z "$lib_other_host" ] && [ "${same_host:-}" = unsure ] ||
			refused "still refused in A" "$held" "$says" try_lock "$A" true
		step "what it left is removed in B" give "$B"
		;;
	"stale locally") step "taken for stale" try_lock "$B" true ;;
	stale)
		[ -z "$lib_other_host" ] || refused "still refused in A" "$held" "$says" try_lock "$A" true
		step "taken for stale in B" try_lock "$B" true
		;;
	esac
	within 5 try_lock "$A" true >out 2>&1 || bad "not free after kill -9 of its holder"
	log "free in A"
	[ "${counts:-yes}" = no ] || count_together lib_count_command
}

lib_count_command()
{
	local i
	for ((i = 0; i < times; i++)); do
		within_lock "$1" sh "$lib_here/increment.sh" "$case_dir" 3>&- || return
	done
}

# ---------------------------------------------------------------- idioms of a library

# library_idiom PROGRAM...: drives PROGRAM try|hold|count NAME ... (see locks.py).
#   try NAME               0 when it was free, 1 and "held" when not
#   hold NAME              waits, prints "held", holds it until its standard input ends
#   count NAME FOLDER N    counts, as `increment` does
library_idiom()
{
	lib_program=("$@")
	step "free in B" "$@" try "$B/$name"
	lib_hold "$A"
	refused "refused in B" 1 '^held$' "$@" try "$B/$name"
	refused "refused in A itself" 1 '^held$' "$@" try "$A/$name"
	lib_wait "$B"
	lib_let_go
	lib_waited
	step "free in A" "$@" try "$A/$name"
	step "free in B" "$@" try "$B/$name"
	count_together lib_count_library
}

lib_count_library()
{
	"${lib_program[@]}" count "$1/$name" "$case_dir" "$times"
}

lib_hold()
{
	rm -f pipe
	mkfifo pipe
	"${lib_program[@]}" hold "$1/$name" <pipe >holder.out 2>&1 3>&- &
	holder=$!
	exec 8>pipe
	within 15 grep -s -q '^held' holder.out || { cat holder.out >out; bad "no lock in ${1##*/}"; }
	log "held in ${1##*/}"
}

lib_let_go()
{
	exec 8>&-
	finished "$holder" || { cat holder.out >out; bad "the holder ended with status $?"; }
	log "released"
}

lib_wait()
{
	"${lib_program[@]}" hold "$1/$name" </dev/null >waiter.out 2>&1 3>&- 8>&- &
	waiter=$!
	nap 0.5
	! lib_gone "$waiter" || { cat waiter.out >out; bad "does not wait in ${1##*/}"; }
	! grep -q '^held' waiter.out || bad "got it in ${1##*/} although it is held"
	log "waits in ${1##*/}"
}

lib_waited()
{
	finished "$waiter" 20 || { cat waiter.out >out; bad "the waiter ended with status $?"; }
	grep -q '^held' waiter.out || bad "the waiter did not get it"
	log "the waiter got it"
}

# npm_modules PACKAGE...: installed once in the build tree, and found by node.
npm_modules()
{
	local folder package
	for package; do
		folder=$lib_build/tests/programs/npm/$package
		if [ ! -e "$folder/installed" ]; then
			mkdir -p "$folder"
			# Of these packages nothing is to run at their installation.
			HOME=$lib_home timeout 120 npm install --prefix "$folder" --prefer-offline --no-audit --no-fund \
				--ignore-scripts "$package" >npm.log 2>&1 </dev/null 3>&- ||
				unable "npm could not install $package: $(grep -m 1 'code E' npm.log)"
			: >"$folder/installed"
		fi
		NODE_PATH=$folder/node_modules${NODE_PATH:+:$NODE_PATH}
	done
	export NODE_PATH
}

plan()
{
	if [ "$lib_tests" -eq 0 ]; then
		echo "1..0 # SKIP no case of this test is asked for (DLOCK_TEST_PROGRAMS)"
	else
		echo "1..$lib_tests"
	fi
	exit 0
}
