#!/bin/bash
# Locks by creating a name, with what every system has: mkdir, touch, ln, ln -s, and
# the shells' `set -C`; and the programs that were made for it.
# shellcheck disable=SC2034 # held and says are read by lib.sh

mode=create
# shellcheck source=tests/programs/lib.sh
. "$(dirname -- "$0")/lib.sh"

# ---------------------------------------------------------------- coreutils

mkdir_()
{
	held=1 says='File exists'
	take() { mkdir "$1/$name"; }
	give() { rmdir "$1/$name"; }
	creation
}
program mkdir mkdir_

ln_s()
{
	held=1 says='File exists'
	take() { ln -s "$HOSTNAME:$BASHPID" "$1/$name"; }
	give() { rm "$1/$name"; }
	creation
	step "taken in A" take "$A"
	[ "$(readlink "$B/$name")" = "$(readlink "$A/$name")" ] || bad "another text in B"
}
program "ln -s" ln_s

# A file of one's own is made first, under a name that nobody else uses.
ln_()
{
	held=1 says='File exists'
	take()
	{
		echo "$BASHPID" >"$1/$name.$BASHPID" || return 2
		local status=0
		ln "$1/$name.$BASHPID" "$1/$name" || status=$?
		rm "$1/$name.$BASHPID" || return 2
		return $status
	}
	give() { rm "$1/$name"; }
	creation
}
program ln ln_

# Not a lock on any other file system: there touch succeeds where the file is.
touch_()
{
	[ -z "$local_reference" ] || unable "touch is a lock on the mount only"
	held=1 says='File exists|[Bb]usy'
	take() { touch "$1/$name"; }
	give() { rm "$1/$name"; }
	creation
}
program touch touch_

# ---------------------------------------------------------------- shells

# `set -C; echo >file`, the oldest of them, in every shell that there is.
noclobber()
{
	says='exist'
	take() { "$shell" -c 'set -C; echo $$ >"$1"' "$shell" "$1/$name"; }
	give() { rm "$1/$name"; }
	creation
}
noclobber_in()
{
	shell=$1 held=$2
	"${@:3}" program "$1: set -C" noclobber "$1"
}
noclobber_in sh 2
noclobber_in bash 1
noclobber_in dash 2
noclobber_in ksh 1 more
noclobber_in mksh 1 more
noclobber_in zsh 1 more

# ---------------------------------------------------------------- made for locking

dotlockfile_()
{
	held=4 says=''
	take() { dotlockfile -l -r 0 "$1/$name.lock"; }
	give() { dotlockfile -u "$1/$name.lock"; }
	creation
	step "taken in A" take "$A"
	step "refreshed in A" dotlockfile -t "$A/$name.lock"
	refused "refused in B after the refresh" 4 '' take "$B"
	step "released in A" give "$A"
	step "runs a command under the lock" dotlockfile -l -r 0 "$B/$name.lock" true
	dotlockfile_pid
}

# With -p it takes a lock for left behind when there is no process of the number in it.
# Another host's number means nothing here: on the mount its lock can't be removed.
dotlockfile_pid()
{
	step "taken in A by a process that ends" sh -c 'dotlockfile -l -p -r 0 "$1"; exit' sh "$A/$name.lock"
	if [ -n "$local_reference" ]; then
		step "taken over" dotlockfile -l -p -r 0 "$B/$name.lock"
	else
		# Its own status for that; it leaves its file of another name then.
		refused "not taken over in B" 8 '' dotlockfile -l -p -r 0 "$B/$name.lock"
		step "what it left is removed in B" rm "$B"/.lk*
		step "taken over in A" dotlockfile -l -p -r 0 "$A/$name.lock"
	fi
	step "released in A" give "$A"
}
program dotlockfile dotlockfile_ dotlockfile

lockfile_progs()
{
	held=4 says='exceeded maximum number of lock attempts'
	take() { lockfile-create -r 0 "$1/$name"; }
	give() { lockfile-remove "$1/$name"; }
	creation
	step "lockfile-create in A" take "$A"
	step "lockfile-check in A" lockfile-check "$A/$name"
	step "lockfile-check in B" lockfile-check "$B/$name"
	step "lockfile-touch -o in A" lockfile-touch -o "$A/$name"
	lockfile-touch "$A/$name" </dev/null >touch.out 2>&1 3>&- &
	nap 0.3
	! lib_gone $! || { cat touch.out >out; bad "lockfile-touch ended"; }
	kill $!
	step "lockfile-remove in A" give "$A"
	refused "lockfile-check in B" 255 '' lockfile-check "$B/$name"
}
program "lockfile-create, -touch, -check, -remove" lockfile_progs lockfile-create

procmail_lockfile()
{
	held=73 says='Sorry, giving up'
	take() { lockfile -r0 "$1/$name.lock"; }
	give() { rm -f "$1/$name.lock"; }
	creation
}
program "procmail's lockfile" procmail_lockfile lockfile

mutt_dotlock_()
{
	held=3 says=''
	# It locks a mailbox that is there: the mailbox itself is here, its lock by name
	# in the mount.
	take() { mutt_dotlock -r 0 "$1/$name"; }
	give() { mutt_dotlock -u "$1/$name"; }
	step "a mailbox in A" mkdir "$A/$name"
	creation
}
program mutt_dotlock mutt_dotlock_ mutt_dotlock
plan
