#!/bin/bash
# Locks by fcntl(2) and flock(2), and by creating a name, in a mount in flock mode: of
# programs that do something else with their files. Those are scratch files here, of
# each host's own: what the hosts share is the locks.
# shellcheck disable=SC2034 # held, says and the like are read by lib.sh

mode=flock
# shellcheck source=tests/programs/lib.sh
. "$(dirname -- "$0")/lib.sh"

# script COMMAND...: a file for a shell that runs it, for programs with words of their
# own in between.
script()
{
	printf '%q ' "$@" >"$case_dir/script.$BASHPID"
	echo "$case_dir/script.$BASHPID"
}

# polling COMMAND...: until its status is not $held any more.
polling()
{
	local status=$held
	until "$@" >"said.$BASHPID" 2>&1; do
		status=$?
		[ $status -eq "$held" ] || { cat "said.$BASHPID"; return $status; }
		nap 0.01
	done
}

# ---------------------------------------------------------------- sqlite3

# sqlite3_try DIRECTORY SCRIPT [OPTION...]: a transaction that runs a script while it
# has the data base for itself.
sqlite3_try()
{
	sqlite3 -bail "${@:3}" "file:$1/$name.db$vfs" 'BEGIN EXCLUSIVE' ".shell sh $2 || echo failed" 'COMMIT'
}

# sqlite3 of Debian 12 ends with SQLite's own error, 5 being SQLITE_BUSY.
sqlite3_()
{
	held=5 says='database is locked' passes_status=no
	try_lock() { sqlite3_try "$1" "$(script "${@:2}")"; }
	within_lock()
	{
		sqlite3_try "$1" "$(script "${@:2}")" -cmd '.timeout 60000' >"said.$BASHPID" 2>&1 && [ ! -s "said.$BASHPID" ] ||
			{ cat "said.$BASHPID"; return 1; }
	}
	step "a data base in A" sqlite3 "file:$A/$name.db$vfs" 'CREATE TABLE t (n); INSERT INTO t VALUES (1)'
	[ "$A" = "$B" ] || step "a data base in B" sqlite3 "file:$B/$name.db$vfs" 'CREATE TABLE t (n); INSERT INTO t VALUES (2)'
	command_idiom
}

# Bytes of their own for those who read, for the one who is about to write, for the
# one who waits to.
sqlite3_ranges()
{
	vfs=
	sqlite3_
	# One who reads has it together with others who read.
	rm -f pipe
	mkfifo pipe
	sqlite3 "file:$A/$name.db" <pipe >holder.out 2>&1 3>&- &
	holder=$!
	exec 8>pipe
	printf '%s\n' 'BEGIN;' 'SELECT n FROM t;' >&8
	within 10 grep -s -q . holder.out || bad "nothing was read in A"
	log "read in A, and not yet done"
	step "read in B" sqlite3 "file:$B/$name.db" 'SELECT n FROM t'
	refused "not for B alone" 5 'database is locked' sqlite3 -bail "file:$B/$name.db" 'BEGIN EXCLUSIVE'
	refused "not for another of A alone" 5 'database is locked' sqlite3 -bail "file:$A/$name.db" 'BEGIN EXCLUSIVE'
	printf '%s\n' 'COMMIT;' '.quit' >&8
	exec 8>&-
	finished $holder || { cat holder.out >out; bad "the reader ended with status $?"; }
	step "for B alone" sqlite3 -bail "file:$B/$name.db" 'BEGIN EXCLUSIVE' 'UPDATE t SET n = n + 1' 'COMMIT'
}
program "sqlite3: byte ranges" sqlite3_ranges sqlite3

# A directory beside the data base, refreshed by utime.
sqlite3_dotfile()
{
	vfs='?vfs=unix-dotfile' killed=left
	give() { rmdir "$1/$name.db.lock"; }
	sqlite3_
}
program "sqlite3: unix-dotfile" sqlite3_dotfile sqlite3

# ---------------------------------------------------------------- qemu

# Bytes of an image, by open file description, of which it only ever takes shared
# locks; it then asks by F_OFD_GETLK whether it could have had an exclusive one. (Of a
# qcow2 image, that is: it lets several have a raw one at the same time.)
qemu()
{
	qemu_says='Failed to get ("write"|shared "write"|"consistent read"|shared "consistent read") lock|Is another process using the image|^$'
	step "an image in A" qemu-img create -q -f qcow2 "$A/$name.img" 64k
	[ "$A" = "$B" ] || step "an image in B" qemu-img create -q -f qcow2 "$B/$name.img" 64k
	qemu_hold "$A"
	refused "refused in B" 1 "$qemu_says" qemu-img resize -q "$B/$name.img" 128k
	refused "refused in A itself" 1 "$qemu_says" qemu-img resize -q "$A/$name.img" 128k
	refused "reading is refused in B" 1 "$qemu_says" qemu-img info "$B/$name.img"
	step "qemu-img info -U does not ask for it" qemu-img info -U "$B/$name.img"
	qemu_let_go
	step "qemu-img in B" qemu-img resize -q "$B/$name.img" 128k
	qemu_hold "$B"
	refused "refused in A" 1 "$qemu_says" qemu-img resize -q "$A/$name.img" 256k
	{ kill -KILL "$holder"; wait "$holder"; } 2>/dev/null
	exec 8>&-
	within 5 qemu-img resize -q "$A/$name.img" 256k >out 2>&1 || bad "not free after kill -9 of its holder"
	log "killed in B; qemu-img in A"
	# Two of one host that only read have it together.
	qemu_hold "$A" -r
	step "read in A itself" qemu-img check -q "$A/$name.img"
	refused "not written in A itself" 1 "$qemu_says" qemu-img resize -q "$A/$name.img" 512k
	refused "not written in B" 1 "$qemu_says" qemu-img resize -q "$B/$name.img" 512k
	qemu_let_go
	step "written in B" qemu-img resize -q "$B/$name.img" 512k
}
qemu_hold()
{
	rm -f pipe
	mkfifo pipe
	qemu-io "${@:2}" "$1/$name.img" <pipe >holder.out 2>&1 3>&- &
	holder=$!
	exec 8>pipe
	echo 'read 0 512' >&8
	within 15 grep -s -q 'read 512/512' holder.out || { cat holder.out >out; bad "no image in ${1##*/}"; }
	log "open in ${1##*/}"
}
qemu_let_go()
{
	exec 8>&-
	finished $holder || { cat holder.out >out; bad "the holder ended with status $?"; }
	log "closed"
}
more program "qemu: an image's byte ranges" qemu qemu-img qemu-io

# ---------------------------------------------------------------- logrotate

# The state file is locked by flock; the new one is written to another name, and
# renamed to its place. So one that has opened the old file may get that one's lock while
# another has the new file's: it is not fit for counting.
logrotate_()
{
	counts=no held=3 says='is already locked|logrotate does not support parallel execution' passes_status=no
	: >"$A/$name.state" && : >"$B/$name.state" || bad "no state file"
	# What others may open it does not lock.
	chmod 600 "$A/$name.state" "$B/$name.state"
	try_lock()
	{
		local folder=$case_dir/logs.$BASHPID
		mkdir -p "$folder"
		echo line >"$folder/log"
		printf '%s {\n rotate 1\n nomail\n postrotate\n sh %s\n endscript\n}\n' "$folder/log" "$(script "${@:2}")" >"$folder/conf"
		chmod 644 "$folder/conf"
		logrotate -f -s "$1/$name.state" "$folder/conf"
	}
	within_lock() { polling try_lock "$@"; }
	command_idiom
	grep -q '^logrotate state' "$A/$name.state" || bad "no state in A"
	grep -q '^logrotate state' "$B/$name.state" || bad "no state in B"
}
program "logrotate: the lock of the state" logrotate_ logrotate

# ---------------------------------------------------------------- borg

# A repository in each host's mount: the segments are in a folder that both see, by a
# symlink. Its lock is a directory, beside the repository's other files.
borg_()
{
	local file
	held=2 says='Failed to create/acquire the lock .*timeout|Failed to remove lock dir: .*[Bb]usy' killed=stale
	export BORG_BASE_DIR=$case_dir/borg BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes BORG_RELOCATED_REPO_ACCESS_IS_OK=yes
	step "a repository" borg init -e none repository
	# It wants room for one more segment.
	sed -i 's/^max_segment_size = .*/max_segment_size = 5000000/' repository/config
	mv repository/data data
	for file in repository/*; do
		# cp makes its copies by O_EXCL, and so would take a lock.
		cat "$file" >"$A/${file##*/}" && cat "$file" >"$B/${file##*/}" || bad "no copy of the repository"
	done
	step "its segments for both" ln -s "$case_dir/data" "$A/data"
	try_lock() { as_host "$1" borg with-lock "$1" "${@:2}"; }
	within_lock() { as_host "$1" borg --lock-wait 60 with-lock "$1" "${@:2}"; }
	command_idiom
	for file in repository/*; do
		rm -f "$A/${file##*/}" "$B/${file##*/}"
	done
	rm -f "$A/data" "$A"/index.* "$A"/hints.* "$A"/integrity.* "$B"/index.* "$B"/hints.* "$B"/integrity.*
}
more program "borg: the lock of a repository" borg_ borg
plan
