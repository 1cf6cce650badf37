# mounts.sh - what the tests of dlockfs share. Sourced, never run; sources lib.sh.
# shellcheck shell=bash
#
# Two mounts of one fleet, each with a daemon of its own, stand for two hosts:
# `serve DIRECTORY [OPTION,...]` makes one, in the foreground of a job of this shell.
#
# As root everything happens in a mount namespace of the test's own: whatever it
# mounts, and however it ends, is gone with its last process. Else clean_up() unmounts.
#
# DLOCKFS and FSPROBE name others than those of the build tree.
#
# `ttl` (ms), set before sourcing, is the lease of the mounts; default 3000.

mounts_here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
mounts_build=${abs_top_builddir:-$mounts_here/../..}
PATH=$PATH:/usr/sbin:/sbin
ttl=${ttl:-3000}
is_root=no
[ "$(id -u)" != 0 ] || is_root=yes

if [ -z "${DLOCKFS:-}" ]; then
	DLOCKFS=$mounts_build/fuse/dlockfs
	[ ! -x "$mounts_build/fuse/.libs/dlockfs" ] || DLOCKFS=$mounts_build/fuse/.libs/dlockfs
fi
FSPROBE=${FSPROBE:-$mounts_build/tests/system/fsprobe}

for program in "$DLOCKFS" "$FSPROBE"; do
	if [ ! -x "$program" ]; then
		echo "Bail out! there is no $program"
		exit 1
	fi
done
if [ -z "${DLOCK_SYSTEM_TEST:-}" ]; then
	if [ ! -c /dev/fuse ]; then
		echo "1..0 # SKIP no /dev/fuse"
		exit 0
	fi
	if [ $is_root = no ] && ! type -P fusermount3 >/dev/null; then
		echo "1..0 # SKIP no fusermount3 (fuse)"
		exit 0
	fi
	lib_within=()
	if [ $is_root = yes ] && unshare --mount true 2>/dev/null; then
		lib_within=(env DLS_NAMESPACE=yes unshare --mount --propagation private)
	fi
fi

# shellcheck source=tests/system/lib.sh
. "$mounts_here/lib.sh"

# Whether what is mounted here, wherever it is, is seen by nobody else.
own_namespace=${DLS_NAMESPACE:-no}
unset DLS_NAMESPACE

# On a busy machine a master may answer late; where that is no failure it is waited for.
printf 'node_timeout = 2000\n' >patient.conf
export DLOCK_CONFIG=$work/patient.conf

declare -A daemon=()
with_parent=()
[ -z "$(type -P setpriv)" ] || with_parent=(setpriv --pdeathsig KILL)

# All mounts in the working folder, the last one first; a dead one, too.
mounts_of_ours()
{
	local line
	while read -r _ _ _ _ line _; do
		line=$(printf '%b' "$line")
		case $line in "$work"/*) echo "$line" ;; esac
	done </proc/self/mountinfo | tac
}

lib_unmount()
{
	local point
	mounts_of_ours | while IFS= read -r point; do
		fusermount3 -q -u -z -- "$point" 2>/dev/null || umount -l -- "$point"
	done
	[ $is_root = no ] || chattr -f -i -- "$work"/* 2>/dev/null
}

is_mounted()
{
	mounts_of_ours | grep -q -x -F -e "$1"
}

is_unmounted()
{
	! is_mounted "$1"
}

# serves DIRECTORY PID: whether it answers, or never will.
serves()
{
	gone "$2" || { is_mounted "$1" && stat -f -- "$1" >/dev/null 2>&1; }
}

# serve DIRECTORY [OPTION,...]: its daemon is ${daemon[DIRECTORY]}, its log DIRECTORY.log.
# A failure ends the test: without the mount there is nothing to be told.
serve()
{
	local directory=$1 options=noprotect${2:+,$2}
	case ,${2:-}, in
	*,ttl=* | *,config=*) ;;
	*) options+=,ttl=$ttl ;;
	esac
	[ $is_root = no ] || options+=,allow_other
	[ -d "$directory" ] || mkdir -- "$directory"
	${with_parent[@]+"${with_parent[@]}"} ${under[@]+"${under[@]}"} "$DLOCKFS" -f -o "$options" "$directory" >>"$directory.log" 2>&1 </dev/null &
	daemon[$directory]=$!
	until_true "${serve_limit:-20}" serves "$directory" $! && ! gone $! && return
	echo "Bail out! dlockfs does not serve $directory: $(tail -n 1 "$directory.log")"
	exit 1
}
# A command that the daemon is run below, as valgrind.
under=()

# stop DIRECTORY [SIGNAL]: ends the daemon; its status is in $status.
stop()
{
	kill "-${2:-TERM}" "${daemon[$1]}"
	ended 20 "${daemon[$1]}"
	unset "daemon[$1]"
}

# Both daemons end as they should: with a status that also tells of memory that they
# have lost, where they were built to look for it.
stop_all()
{
	local directory
	for directory in "${!daemon[@]}"; do
		[ $lib_failed -eq 0 ] || tail -n 20 "$directory.log" | awk -v name="${directory##*/}" '{ print "# " name ".log: " $0 }'
		stop "$directory"
		is "the daemon of ${directory##*/} ends well" "$status" 0
		check "and ${directory##*/} is not mounted any more" is_unmounted "$directory"
	done
}

# probe CALL ARGUMENT...: see fsprobe.c. $got is what it printed, in one line. Waiting
# for a job, unlike for a command, lets this shell be ended meanwhile.
probe()
{
	"$FSPROBE" "$@" >out 2>err </dev/null &
	wait $!
	status=$?
	got=$(<out)
	got=${got//$'\n'/ }
	[ "$status" -eq 0 ] || got+=" (status $status)"
}

# gives DESCRIPTION WANTED CALL ARGUMENT...
gives()
{
	local description=$1 wanted=$2
	shift 2
	probe "$@"
	is "$description" "$got" "$wanted"
}

# matches DESCRIPTION PATTERN CALL ARGUMENT...: WANTED is a pattern of the shell's.
matches()
{
	local description=$1 pattern=$2
	shift 2
	probe "$@"
	# shellcheck disable=SC2053 # a pattern is meant
	check "$description" eval '[[ $got == $pattern ]]'
}

# keep CALL ARGUMENT...: a process that makes these calls and then keeps what it has
# open; `told` waits for what it says, `go_on` lets it make the calls behind the next
# `pause`. One at a time; $keeper is its process.
keep()
{
	rm -f keep.in keep.out
	mkfifo keep.in
	: >keep.out
	"$FSPROBE" "$@" pause <keep.in >keep.out 2>err &
	keeper=$!
	exec 7>keep.in
}

# told DESCRIPTION LINES...: that all its lines are these now.
told()
{
	local description=$1
	shift
	until_true 20 has_lines keep.out $#
	is "$description" "$(paste -sd' ' keep.out)" "$*"
}

has_lines()
{
	[ "$(grep -c '' "$1")" -ge "$2" ]
}

go_on()
{
	echo >&7
}

# (Jobs that were started meanwhile keep the other end of the pipe open.)
let_go()
{
	echo >&7
	exec 7>&-
	ended 10 "$keeper"
}

# Whether nobody holds the lock.
is_free()
{
	"$DLOCK" --who "$1" >/dev/null 2>&1
	[ $? -eq 1 ]
}

# Whether a name is there.
lstat_ok()
{
	probe lstat "$1"
	[ "$got" = ok ]
}
