#!/bin/bash
# Locks by creating a name, of programs that do something else: version control,
# editors, log rotation, a backup, a data base. Each is led to keep its own lock in
# the mount by its own settings, or by symlinks into it.
# shellcheck disable=SC2034 # held, says and the like are read by lib.sh

mode=create
# shellcheck source=tests/programs/lib.sh
. "$(dirname -- "$0")/lib.sh"

# ---------------------------------------------------------------- git

# Nobody's settings but these.
git_()
{
	env -u GIT_DIR -u GIT_INDEX_FILE GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@localhost \
		GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@localhost "$@"
}

# All that it says when it finds somebody's .lock.
git_says='reference already exists|[.]lock.: File exists|^$|^Another git process|^an editor opened|^are terminated|^may have crashed|^remove the file'

git_repository()
{
	git_ git init -q "$1" || return
	echo text >"$1/file"
	git_ git -C "$1" add file && git_ git -C "$1" commit -q -m "one file"
}

# Each host has a repository of its own, with the refs below refs/fleet in the mount:
# a ref that is only to be created is a lock. It is written to NAME.lock, which is
# created by O_EXCL, and renamed.
git_ref()
{
	held=128 says=$git_says
	step "two repositories" git_repositories
	take() { git_ git -C "$case_dir/$(host "$1")" update-ref "refs/fleet/$name" HEAD 0000000000000000000000000000000000000000; }
	give()
	{
		local status
		# Somebody who tries has NAME.lock for that moment.
		until git_ git -C "$case_dir/$(host "$1")" update-ref -d "refs/fleet/$name"; do
			status=$?
			[ $status -eq 1 ] || return $status
			nap 0.005
		done
	}
	step "taken in A" take "$A"
	step "the other host reads it" git_ git -C "$(host "$B")" rev-parse --verify "refs/fleet/$name"
	[ "$(cat out)" = "$(git_ git -C "$(host "$A")" rev-parse HEAD)" ] || bad "another commit in B"
	step "released in A" give "$A"
	creation
}
git_repositories()
{
	local directory
	for directory in "$A" "$B"; do
		[ ! -e "$(host "$directory")" ] || continue
		git_repository "$(host "$directory")" && ln -s "$directory" "$(host "$directory")/.git/refs/fleet" || return
	done
}
program "git: refs" git_ref git

# The index in the mount, of one repository that both hosts see: for as long as the
# editor of a commit runs, git has index.lock. It becomes the index then, which is
# A's for as long as it exists.
git_index()
{
	step "a repository" git_repository "$case_dir/repository"
	echo more >>repository/file
	step "an index in A" git_index_in "$A" read-tree HEAD
	rm -f held release
	mkfifo release
	git_index_commit "$A" >holder.out 2>&1 </dev/null 3>&- &
	holder=$!
	within 10 [ -s held ] || { cat holder.out >out; bad "no commit in A"; }
	log "a commit in A, in its editor"
	refused "refused in B" 128 "$git_says" git_index_in "$B" add file
	refused "refused in A itself" 128 "$git_says" git_index_in "$A" add file
	end_holder
	[ ! -e "$A/$name.index.lock" ] || bad "index.lock is still there"
	step "B reads the index of A" git_index_in "$B" ls-files
	[ "$(cat out)" = file ] || bad "not the index of A"
	if [ -z "$local_reference" ]; then
		echo more >>repository/file
		refused "the index is A's" 128 'unable to write new index file|Unable to write new index file' git_index_in "$B" add file
		[ ! -e "$B/$name.index.lock" ] || bad "index.lock was left in B"
		step "A removes it" rm "$A/$name.index"
		step "an index in B" git_index_in "$B" read-tree HEAD
		refused "now it is B's" 128 'unable to write new index file|Unable to write new index file' git_index_in "$A" add file
	fi
	step "git add in B" git_index_in "$B" add file
	step "B removes it" rm "$B/$name.index"
}
git_index_in()
{
	git_ GIT_INDEX_FILE="$1/$name.index" git -C "$case_dir/repository" "${@:2}"
}
git_index_commit()
{
	# shellcheck disable=SC2016 # for the editor's shell
	GIT_EDITOR="cd '$case_dir' && echo \$\$ >held && read -r line <release && echo message >" \
		git_index_in "$1" commit -q -o file
}
program "git: the index" git_index git

# ---------------------------------------------------------------- logrotate

# Its state is written to STATE.tmp, created by O_EXCL, and renamed. (Its own lock is
# flock, see flock.sh; here it does without.)
logrotate_()
{
	log_file="$case_dir/some.log"
	printf '%s {\n rotate 9\n missingok\n}\n' "$log_file" >conf
	chmod 644 conf
	rotate() { echo line >"$log_file"; logrotate --skip-state-lock -f -s "$1/$name.state" "$case_dir/conf"; }
	step "rotates in A" rotate "$A"
	step "rotates in A again" rotate "$A"
	[ ! -e "$A/$name.state.tmp" ] || bad "state.tmp was left"
	grep -q -F "\"$log_file\"" "$B/$name.state" || bad "B does not see the state"
	if [ -z "$local_reference" ]; then
		refused "the state is A's: refused in B" 3 'error opening state file .*[Bb]usy' rotate "$B"
	fi
	# One that was broken off while it wrote.
	: >"$A/$name.state.tmp"
	step "A takes its own for left behind" rotate "$A"
	step "A removes its state" rm "$A/$name.state"
	# With one of the other host in the way it does not write; nor does it remove that one.
	: >"$A/$name.state.tmp"
	if [ -z "$local_reference" ]; then
		refused "A has the name for writing: refused in B" 1 'error removing old temporary state file .*busy' rotate "$B"
		[ -e "$A/$name.state.tmp" ] || bad "B has removed what A has"
		step "B removes what it has" rm -f "$B/$name.state"
	fi
	rm "$A/$name.state.tmp"
	step "rotates in B" rotate "$B"
	[ -n "$local_reference" ] || refused "refused in A" 3 'error opening state file .*[Bb]usy' rotate "$A"
	step "B removes its state" rm "$B/$name.state"
}
program "logrotate: the state" logrotate_ logrotate

# ---------------------------------------------------------------- editors

# The swap file of the text, in a folder of the user's choice. What it is asked then
# it reads from standard input: q is to quit. When another was faster, it only says that
# it has no swap file and goes on; so this one quits by itself.
vim_()
{
	vim --version | grep -q '+dialog' || unable "this vim has no dialogs (vim-tiny)"
	held=1 says='^E325: ATTENTION$|^E303: Unable to open swap file$' passes_status=no killed=left
	# It does not count with others: a swap file whose process ends while it is looked at is of no use to vim, which
	# takes the next name then (.swo), or removes what has that name by now, on every file system.
	counts=no same_host=unsure
	echo text >"$name"
	try_lock()
	{
		local script=$case_dir/script.$BASHPID status=0
		printf '%q ' "${@:2}" >"$script"
		echo q | TERM=dumb as_host "$1" vim --not-a-term -u NONE -i NONE --cmd "set directory=$1//" "$case_dir/$name" \
			-c "if swapname('%') == '' | cquit | endif" -c "silent !sh $script >$script.out 2>&1" -c 'qa!' >"$script.vim" 2>&1 || status=$?
		# The rest is what a terminal shows.
		grep -a -o -E 'E325: ATTENTION|E303: Unable to open swap file' "$script.vim"
		[ ! -s "$script.out" ] || { cat "$script.out"; status=99; }
		rm -f "$script.out"
		return $status
	}
	within_lock()
	{
		local status=1
		until try_lock "$@" >"said.$BASHPID"; do
			status=$?
			[ $status -eq 1 ] && [ -s "said.$BASHPID" ] || { cat "said.$BASHPID"; return $status; }
			nap 0.01
		done
	}
	give() { rm -- "$1"/*"%$name.swp"; }
	command_idiom
}
program "vim: swap files" vim_ vim

# The lock of a file that is being edited, a symlink that tells by whom.
emacs_()
{
	emacs --version | grep -q -E '^GNU Emacs (2[89]|[3-9])' || unable "this emacs can't put its locks elsewhere (28 can)"
	held=75 says='locked by .* \(pid [0-9]+\)|Cannot resolve lock conflict in batch mode' killed=stale
	echo text >"$name"
	try_lock() { as_host "$1" emacs -Q --script "$lib_here/locks.el" "$1" "$case_dir/$name" "${@:2}"; }
	within_lock()
	{
		local status=75
		until try_lock "$@" >"said.$BASHPID" 2>&1; do
			status=$?
			[ $status -eq 75 ] || { cat "said.$BASHPID"; return $status; }
			nap 0.01
		done
	}
	command_idiom
}
more program "emacs: file locks" emacs_ emacs

# ---------------------------------------------------------------- Mercurial

hg_()
{
	HGRCPATH='' hg --config extensions.share= --config ui.username=a "$@"
}

# Its own class of locks, as all of Mercurial uses it.
hg_module()
{
	"$PYTHON" -c "import mercurial.lock" 2>/dev/null || unable "no mercurial for $PYTHON"
	library_idiom "$PYTHON" "$lib_here/locks.py" mercurial
}
more program "hg: its locks by themselves" hg_module hg

# A working copy of a shared repository on each host, their .hg being the mount: the
# lock of the working copy is one for both.
hg_working_copy()
{
	local waiter
	step "a repository" hg_ init source
	echo text >source/file
	step "with a commit" hg_ -R source commit -q -A -m "one file"
	# What waits below is a rollback, which is to find nothing to do.
	rm -f source/.hg/undo* source/.hg/store/undo*
	step "shared" hg_ share -q -U source A
	cp -r A/.hg settings
	rm -r A/.hg settings/*cache
	ln -s "$A" A/.hg
	[ "$A" = "$B" ] || { mkdir B; ln -s "$B" B/.hg; }
	step "its settings, in A" cp settings/requires settings/sharedpath "$A"
	hg_hold "$A"
	refused "refused in B" 255 'abort: wlock is already held' hg_in "$B" debuglocks -S
	refused "refused in A itself" 255 'abort: wlock is already held' hg_in "$A" debuglocks -S
	refused "who has it, in B" 1 'lock: *free|wlock: *user .* process [0-9]+' hg_in "$B" debuglocks
	hg_in "$B" rollback --config ui.rollback=1 --config ui.timeout.warn=0 >waiter.out 2>&1 </dev/null 3>&- &
	waiter=$!
	within 10 grep -s -q 'waiting for lock on working directory' waiter.out || { cat waiter.out >out; bad "B does not wait"; }
	log "waits in B"
	hg_let_go
	within 10 lib_gone $waiter || bad "B still waits"
	wait $waiter
	[ $? -eq 1 ] && grep -q 'no rollback information' waiter.out || { cat waiter.out >out; bad "B did not get it"; }
	log "B got it"
	hg_hold "$B"
	refused "refused in A" 255 'abort: wlock is already held' hg_in "$A" debuglocks -S
	hg_let_go
	step "removed in A" rm "$A/requires" "$A/sharedpath"
}
hg_in()
{
	hg_ -R "$case_dir/$(host "$1")" "${@:2}"
}
hg_hold()
{
	rm -f pipe
	mkfifo pipe
	hg_in "$1" debuglocks -S --config ui.interactive=yes <pipe >holder.out 2>&1 3>&- &
	holder=$!
	exec 8>pipe
	within 10 [ -L "$1/wlock" ] || { cat holder.out >out; bad "no lock in ${1##*/}"; }
	log "held in ${1##*/}: $(readlink "$1/wlock")"
}
hg_let_go()
{
	echo y >&8
	exec 8>&-
	finished $holder || { cat holder.out >out; bad "the holder ended with status $?"; }
	log "released"
}
more program "hg: the lock of a working copy" hg_working_copy hg

# ---------------------------------------------------------------- borg

# Its own class of locks: a directory with a file in it, renamed into its place, and a
# list of those who have it.
borg_module()
{
	"$PYTHON" -c "import borg.locking" 2>/dev/null || unable "no borg for $PYTHON"
	library_idiom "$PYTHON" "$lib_here/locks.py" borg
}
more program "borg: its locks by themselves" borg_module borg

# ---------------------------------------------------------------- ccache

# Each host's cache has its parts in the mount, where its lock is; what is cached is
# below, in a folder that all see, by symlinks. (The statistics are A's then, for as long
# as the file is there; ccache takes it quietly that B can't write them.) ccache has its
# lock for a moment only: strace makes that longer.
ccache_()
{
	local digit
	type -P cc >/dev/null || unable "no cc"
	strace -o /dev/null -e trace=none true 2>/dev/null || unable "no strace here (ptrace)"
	ccache_hosts || bad "no cache"
	echo 'int one;' >one.c
	echo 'int two;' >two.c
	ccache_in "$A" strace -f -qq -o strace.out -e trace=symlink -e inject=symlink:delay_exit=1500000 \
		ccache cc -c one.c -o one.o >holder.out 2>&1 3>&- &
	holder=$!
	within 10 [ -L "$A/stats.lock" ] || { cat holder.out strace.out >out; bad "no lock in A"; }
	log "held in A: $(readlink "$A/stats.lock")"
	step "compiled in B" ccache_in "$B" strace -f -qq -o strace.b -e trace=symlink,unlink ccache cc -c two.c -o two.o
	grep -q 'symlink.*stats.lock.*EEXIST' strace.b || { cp strace.b out; bad "B did not meet the lock of A"; }
	grep -q 'symlink.*stats.lock.* = 0' strace.b || { cp strace.b out; bad "B did not get it afterwards"; }
	finished $holder || { cat holder.out >out; bad "compiled in A: status $?"; }
	step "counted in A" ccache_in "$A" ccache --print-stats
	grep -q '^cache_miss' out || bad "nothing was counted"
	[ -s one.o ] && [ -s two.o ] || bad "not compiled"
	rm -- "$A"/[0-9a-f] "$A/stats"
	rm -f -- "$A/CACHEDIR.TAG"
}
ccache_in() { CCACHE_DIR=$case_dir/$(host "$1") CCACHE_NOCPP2=1 "${@:2}"; }
ccache_hosts()
{
	local directory digit
	for directory in "$A" "$B"; do
		mkdir -p "$(host "$directory")"
		for digit in 0 1 2 3 4 5 6 7 8 9 a b c d e f; do
			mkdir -p "objects/$digit"
			ln -sfn "$directory" "$(host "$directory")/$digit"
			[ -e "$directory/$digit" ] || ln -s "$case_dir/objects/$digit" "$directory/$digit" || return
		done
	done
}
more program "ccache: the lock of its statistics" ccache_ ccache strace

# ---------------------------------------------------------------- sqlite3

# The data base itself is in the mount: small enough, and A's for as long as it exists.
sqlite3_dotfile()
{
	data() { sqlite3 -bail -cmd 'PRAGMA journal_mode=memory' "file:$1/$name.db?vfs=unix-dotfile" "${@:2}"; }
	step "a data base in A" data "$A" 'PRAGMA page_size=512' 'CREATE TABLE t (n)' 'INSERT INTO t VALUES (42)'
	step "read in B" data "$B" 'SELECT n FROM t'
	grep -q -x 42 out || bad "something else in B"
	rm -f pipe
	mkfifo pipe
	data "$A" <pipe >holder.out 2>&1 3>&- &
	holder=$!
	exec 8>pipe
	echo 'BEGIN EXCLUSIVE;' >&8
	within 10 [ -d "$A/$name.db.lock" ] || { cat holder.out >out; bad "no lock in A"; }
	log "held in A"
	refused "refused in B" 5 'memory|database is locked' data "$B" 'SELECT n FROM t'
	grep -q 'database is locked' out || bad "not because it is locked"
	refused "refused in A itself" 5 'memory|database is locked' data "$A" 'SELECT n FROM t'
	printf '%s\n' 'UPDATE t SET n = 43;' 'COMMIT;' '.quit' >&8
	exec 8>&-
	finished $holder || { cat holder.out >out; bad "the holder ended with status $?"; }
	log "released"
	step "read in B" data "$B" 'SELECT n FROM t'
	grep -q -x 43 out || bad "something else in B"
	[ -n "$local_reference" ] ||
		refused "written in A only" 8 'memory|attempt to write a readonly database' data "$B" 'UPDATE t SET n = 44'
	step "removed in A" rm "$A/$name.db"
	step "a data base in B" data "$B" 'PRAGMA page_size=512' 'CREATE TABLE t (n)' 'INSERT INTO t VALUES (7)'
	step "read in A" data "$A" 'SELECT n FROM t'
	grep -q -x 7 out || bad "something else in A"
	step "removed in B" rm "$B/$name.db"
}
program "sqlite3: unix-dotfile, the data base in the mount" sqlite3_dotfile sqlite3
plan
