#!/bin/bash
# Eight processes on each of two mounts count in one file under one lock: by each of the
# idioms that a shell has at hand, nothing is lost, and nobody is told anything but that
# the lock is held. Then all of these at the same time under one and the same name: a
# name in a mount in create mode, the flock of a file of that name in one in flock mode,
# and the dlock command are one lock.
#
# Each counts DLOCK_TOGETHER_TIMES times: 100 in `make check-programs`, 5 otherwise.
# shellcheck disable=SC2034 # held and says are read by lib.sh

mode=both
DLOCK_TEST_PROCESSES=${DLOCK_TOGETHER_PROCESSES:-8}
DLOCK_TEST_TIMES=${DLOCK_TOGETHER_TIMES:-5}
# shellcheck source=tests/programs/lib.sh
. "$(dirname -- "$0")/lib.sh"

# ---------------------------------------------------------------- the idioms

# take_IDIOM DIRECTORY and give_IDIOM DIRECTORY; a lock has the same name in all.
take_mkdir() { mkdir "$1/$name.lock"; }
give_mkdir() { rmdir "$1/$name.lock"; }

take_noclobber() { (set -C && echo "$BASHPID" >"$1/$name.lock"); }
give_noclobber() { rm "$1/$name.lock"; }

take_symlink() { ln -s -T "/nobody/$BASHPID" "$1/$name.lock"; }
give_symlink() { rm "$1/$name.lock"; }

# A file of one's own is made first, under a name that nobody else uses.
take_link()
{
	local status=0
	[ -e "$1/$name.$BASHPID" ] || echo "$BASHPID" >"$1/$name.$BASHPID" || return 2
	ln -T "$1/$name.$BASHPID" "$1/$name.lock" || status=$?
	return $status
}
give_link() { rm "$1/$name.lock"; }

take_touch() { touch "$1/$name.lock"; }
give_touch() { rm "$1/$name.lock"; }

take_dotlockfile() { dotlockfile -l -r 0 "$1/$name.lock"; }
give_dotlockfile() { dotlockfile -u "$1/$name.lock"; }

# What each says when the lock is held.
held_by()
{
	case $1 in
	noclobber) held=1 says='cannot overwrite existing file|File exists' ;;
	dotlockfile) held=4 says='' ;;
	*) held=1 says='File exists|[Bb]usy' ;;
	esac
}

# by_name IDIOM DIRECTORY: one process that counts.
by_name()
{
	local status=0 held says
	held_by "$1"
	eval "take() { take_$1 \"\$1\"; }; give() { give_$1 \"\$1\"; }"
	lib_count_creation "$2" || status=$?
	rm -f -- "$2/$name.$BASHPID"
	return $status
}

by_soft_filelock() { "$PYTHON" "$lib_here/locks.py" filelock:soft count "$1/$name" "$case_dir" "$times"; }
by_filelock() { "$PYTHON" "$lib_here/locks.py" filelock:unix count "$1/$name" "$case_dir" "$times"; }

by_flock()
{
	within_lock() { flock "$1/$name.lock" "${@:2}"; }
	lib_count_command "$1"
}

# The lock's own name, without any mount.
by_dlock()
{
	within_lock() { dlock "$name.lock" "${@:2}"; }
	lib_count_command nowhere
}

# ---------------------------------------------------------------- one by one

by_this_name() { by_name "$idiom" "$1"; }
together() { count_together by_this_name; }
idiom='mkdir' program "together: mkdir" together
idiom='noclobber' program "together: set -C" together
idiom='symlink' program "together: ln -s" together
idiom='link' program "together: ln" together

touch_()
{
	[ -z "$local_reference" ] || unable "touch is a lock on the mount only"
	together
}
idiom='touch' program "together: touch" touch_
idiom='dotlockfile' program "together: dotlockfile" together dotlockfile

need_filelock() { "$PYTHON" -c 'import filelock' 2>/dev/null || unable "no python3-filelock"; }

soft_filelock() { need_filelock && count_together by_soft_filelock; }
program "together: python3-filelock, SoftFileLock" soft_filelock "$PYTHON"

flock_() { count_together by_flock "$flock_A" "$flock_B"; }
program "together: flock" flock_ flock

filelock() { need_filelock && count_together by_filelock "$flock_A" "$flock_B"; }
program "together: python3-filelock, FileLock" filelock "$PYTHON"

# ---------------------------------------------------------------- all at once

# all IDIOM...: processes on all four mounts, and without a mount, under one name. In
# flock mode its file is there before: what the others make of the name is not in its
# way then, only its lock.
all()
{
	local directory
	[ -z "$local_reference" ] || unable "these are one lock on the mount only"
	: >"$flock_A/$name.lock" && : >"$flock_B/$name.lock" || bad "no files"
	begin_count
	for directory in "$A" "$B"; do
		for idiom; do
			counting by_name "$idiom" "$directory"
		done
		[ "$1" = mkdir ] || ! "$PYTHON" -c 'import filelock' 2>/dev/null || counting by_soft_filelock "$directory"
	done
	for directory in "$flock_A" "$flock_B"; do
		counting by_flock "$directory"
		! "$PYTHON" -c 'import filelock' 2>/dev/null || counting by_filelock "$directory"
	done
	! type -P dlock >/dev/null || counting by_dlock
	end_count
}

# Those that make files, and those that can be told about something else there.
all_files()
{
	local idioms=(noclobber link)
	# A lock without a name in a mount is shown as root's file: touch says so to others.
	[ "$(id -u)" != 0 ] || idioms+=(touch)
	! usable dotlockfile || idioms+=(dotlockfile)
	all "${idioms[@]}"
}
program "together: all that make a file, flock and dlock, under one name" all_files flock
all_others() { all mkdir symlink link; }
program "together: mkdir, ln -s, ln, flock and dlock, under one name" all_others flock
plan
