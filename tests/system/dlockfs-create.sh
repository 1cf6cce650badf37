#!/bin/bash
#
# The create mode of dlockfs: a name exists while its lock is held. A and B are two
# mounts of one fleet and stand for two hosts; whatever makes, finds, changes or
# removes a name is done from both, and ends with exactly the errno that it should.

ttl=6000
. "$(dirname -- "$0")/mounts.sh"

A=$work/A
B=$work/B
umask 022
# Nothing here is about time.
patient=op_timeout=10000
serve "$A" $patient
serve "$B" $patient

nobody=65534:65534

# ---------------------------------------------------------------- making a name

# every PATH: in `every` all ways to make it.
every()
{
	# shellcheck disable=SC2054 # commas are fsprobe's
	every=(open "$1" wronly,creat,excl open "$1" rdonly,creat,excl mkdir "$1" symlink target "$1"
		mknod "$1" file mknod "$1" fifo mknod "$1" socket bind "$1")
}
# bind(2) has its own word for it.
every_held="EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST EADDRINUSE"

# made KIND TYPE REMOVE CALL ARGUMENT...: with @ for the path.
made()
{
	local kind=$1 type=$2 remove=$3
	shift 3
	new_name
	gives "$kind: made in A" ok "${@//@/$A/$name}"
	every "$A/$name"
	gives "$kind: nothing takes it in A" "$every_held" "${every[@]}"
	every "$B/$name"
	gives "$kind: nothing takes it in B" "$every_held" "${every[@]}"
	is "$kind: so it is in A" "$(stat -c %F "$A/$name")" "$type"
	is "$kind: and in B" "$(stat -c %F "$B/$name")" "$type"
	gives "$kind: B may not remove it" EBUSY "$remove" "$B/$name"
	gives "$kind: A may" ok "$remove" "$A/$name"
	gives "$kind: gone from both" "ENOENT ENOENT" lstat "$A/$name" lstat "$B/$name"
	gives "$kind: made in B" ok "${@//@/$B/$name}"
	every "$A/$name"
	gives "$kind: nothing takes B's in A" "$every_held" "${every[@]}"
	gives "$kind: removed in B" ok "$remove" "$B/$name"
	gives "$kind: both may take it again, by turns" "ok ok ok" "${@//@/$A/$name}" "$remove" "$A/$name" "${@//@/$B/$name}"
	gives "$kind: and removed again" ok "$remove" "$B/$name"
}

made "open O_EXCL" "regular empty file" unlink open @ wronly,creat,excl
made "mkdir" "directory" rmdir mkdir @
made "symlink" "symbolic link" unlink symlink target @
made "mknod of a file" "regular empty file" unlink mknod @ file
made "mkfifo" "fifo" unlink mknod @ fifo
made "mknod of a socket" "socket" unlink mknod @ socket
made "bind" "socket" unlink bind @
made "open O_CREAT" "regular empty file" unlink open @ wronly,creat

new_name
gives "devices are refused" "EPERM EPERM" mknod "$A/$name" char mknod "$A/$name" block
gives "and nothing was taken by that" "ENOENT ENOENT ok" lstat "$A/$name" lstat "$B/$name" mkdir "$B/$name"
gives "a slash at the end of a directory's name" "EEXIST ok ok" mkdir "$A/$name/" rmdir "$B/$name/" mkdir "$A/$name/"
gives "the wrong way to remove: a directory" "EISDIR EISDIR" unlink "$A/$name" unlink "$B/$name"
gives "and removed" ok rmdir "$A/$name"
gives "the wrong way to remove: a file" "ok ENOTDIR ENOTDIR ok" open "$A/$name" wronly,creat,excl \
	rmdir "$A/$name" rmdir "$B/$name" unlink "$A/$name"
gives "removing what is not there" "ENOENT ENOENT ENOENT" unlink "$A/$name" rmdir "$A/$name" unlink "$B/$name"

# race CALL ARGUMENT...: six times on each mount; @ is the path, % one of the process's
# own beside it, NOW the moment at which all begin. What the last calls said is in race.A
# and race.B.
race()
{
	local i directory start argument racers=()
	local -a arguments
	start=$(($(now_ms) + 400))
	rm -f race.*
	for i in 1 2 3 4 5 6; do
		for directory in A B; do
			arguments=()
			for argument; do
				argument=${argument//@/$work/$directory/$name}
				argument=${argument//%/$work/$directory/$name.own.$directory.$i}
				arguments+=("${argument//NOW/$start}")
			done
			"$FSPROBE" "${arguments[@]}" >"race.$directory.$i" 2>&1 &
			racers+=($!)
		done
	done
	wait "${racers[@]}"
	tail -q -n 1 race.A.* >race.A
	tail -q -n 1 race.B.* >race.B
}

# How often each line comes in the files.
counted()
{
	cat "$@" | sort | uniq -c | tr -s ' \n' ' '
}

# To all others it is held.
one_wins()
{
	local description=$1
	shift
	new_name
	race "$@"
	is "$description: one of twelve wins, the others get EEXIST" "$(counted race.A race.B)" " 11 EEXIST 1 ok "
}

one_wins "open O_EXCL" at NOW open @ wronly,creat,excl
for _ in 1 2 3; do
	one_wins mkdir at NOW mkdir @
done
one_wins symlink at NOW symlink target @
one_wins mknod at NOW mknod @ fifo
one_wins link open % wronly,creat,excl at NOW link % @
is "  one of their own files has two links" "$(stat -c %h "$A/$name".own.A.* "$B/$name".own.B.* >links; counted links)" " 11 1 1 2 "
one_wins "rename" open % wronly,creat,excl at NOW rename % @ noreplace
is "  one of their own files is gone" "$(find "$A" -mindepth 1 -name "$name.own.*" -printf x | wc -c)" 11
new_name
race at NOW open @ wronly,creat
is "open O_CREAT: no winner on two mounts" "$(grep -l -x ok race.A race.B | wc -l)" 1
is "open O_CREAT: to the other mount it is held" "$(cat race.A race.B | sort -u | grep -v -x -E 'EEXIST|EBUSY')" ok

# ---------------------------------------------------------------- touch

# touches STATUS FILE [OPTION...]
touches()
{
	local wanted=$1 file=$2
	shift 2
	limited 20 touch "$@" "$file"
	is "touch $* ${file#"$work/"}: status $wanted" "$status" "$wanted"
}

new_name
touches 0 "$A/$name"
touches 1 "$A/$name"
check "touch says why" has_line 'File exists' err
touches 1 "$B/$name"
check "touch says why in B" has_line 'File exists' err
touches 1 "$A/$name" -d 2001-01-01
touches 0 "$A/$name" -c -d @1000000000.5
is "touch -c refreshes what is one's own" "$(stat -c %.9Y "$A/$name")" 1000000000.500000000
touches 1 "$B/$name" -c
gives "the open is refused, and so is the utimens that comes next" "EEXIST EEXIST" \
	open "$A/$name" wronly,creat,nonblock,noctty utimens "$A/$name" now
gives "in B, too" "EEXIST EEXIST" open "$B/$name" wronly,creat,nonblock,noctty utimens "$B/$name" now
gives "utimens by path alone is the owner's refresh" ok utimens "$A/$name" 1000000007.000000009
is "and does what it says" "$(stat -c %.9Y "$A/$name")" 1000000007.000000009
gives "in B it is foreign" EBUSY utimens "$B/$name" now
gives "removed" ok unlink "$A/$name"
touches 0 "$B/$name" -d @999999999.125
is "a touch that takes it sets the time" "$(stat -c %.9Y "$B/$name")" 999999999.125000000
touches 1 "$A/$name"
gives "removed in B" ok unlink "$B/$name"
gives "touch -c makes nothing" "ENOENT ENOENT" utimens "$A/$name" now utimens "$B/$name" now
gives "a directory is no less held" "ok EEXIST" mkdir "$A/$name" open "$A/$name" wronly,creat,nonblock,noctty,excl
touches 1 "$B/$name"
gives "removed, too" ok rmdir "$A/$name"

# All wait at one fifo until somebody opens the other end.
new_name
mkfifo gate
touchers=()
for ((i = 0; i < 50; i++)); do
	for directory in "$A" "$B"; do
		(: <gate; exec touch "$directory/$name" 2>/dev/null) &
		touchers+=($!)
	done
done
sleep 0.3
: >gate
won=0
for pid in "${touchers[@]}"; do
	wait "$pid" && won=$((won + 1))
done
is "one hundred touches at once: exactly one wins" $won 1

# ---------------------------------------------------------------- open

new_name
gives "O_CREAT without O_EXCL takes what is free" "ok ok ok ok" open "$A/$name.1" wronly,creat \
	open "$A/$name.2" rdonly,creat open "$A/$name.3" rdwr,creat,trunc open "$A/$name.4" wronly,creat,append
for i in 1 2 3 4; do
	gives "as B sees" EEXIST mkdir "$B/$name.$i"
done
gives "O_CREAT of one's own opens it" "ok ok ok ok" open "$A/$name.1" wronly,creat open "$A/$name.1" rdonly,creat \
	open "$A/$name.1" rdwr,creat open "$A/$name.1" wronly,creat,trunc
gives "open of one's own" "ok ok ok ok" open "$A/$name.1" rdonly open "$A/$name.1" wronly open "$A/$name.1" rdwr,trunc \
	open "$A/$name.1" wronly,append
gives "open of a foreign one to read" "ok ok ok" open "$B/$name.1" rdonly open "$B/$name.1" rdonly,creat \
	open "$B/$name.1" rdonly,nonblock
gives "open of a foreign one to write" "EBUSY EBUSY EBUSY EBUSY EBUSY" open "$B/$name.1" wronly open "$B/$name.1" rdwr \
	open "$B/$name.1" wronly,creat open "$B/$name.1" rdwr,creat open "$B/$name.1" wronly,append
gives "open of a foreign one to empty it" "EBUSY EBUSY EBUSY" open "$B/$name.1" wronly,trunc \
	open "$B/$name.1" rdonly,trunc open "$B/$name.1" wronly,creat,trunc
gives "truncate of a foreign one" EBUSY truncate "$B/$name.1" 0
gives "open of what is not there" "ENOENT ENOENT" open "$A/$name.9" rdonly open "$B/$name.9" wronly
gives "open O_DIRECTORY" "ENOTDIR ENOTDIR ok ok ok" open "$A/$name.1" rdonly,directory open "$B/$name.1" rdonly,directory \
	mkdir "$A/$name.d" open "$A/$name.d" rdonly,directory open "$B/$name.d" rdonly,directory
gives "a directory can't be opened to write" "EISDIR EISDIR" open "$A/$name.d" wronly open "$B/$name.d" rdwr
gives "O_TMPFILE" "EOPNOTSUPP EOPNOTSUPP" open "$A" rdwr,tmpfile open "$A/$name.d" rdwr,tmpfile

# ---------------------------------------------------------------- what is in a file

new_name
gives "written, and read again" "ok ok ok hello" open "$A/$name" rdwr,creat,excl write hello seek 0 read 100
gives "B reads it after close" "ok hello" open "$B/$name" rdonly read 100
is "B sees the size" "$(stat -c %s "$B/$name")" 5
gives "to be written at its end" "ok ok" open "$A/$name" wronly,append write -world
gives "as B sees" "ok hello-world" open "$B/$name" rdonly read 100
keep open "$A/$name" rdwr,trunc write first fsync pause write second close pause
told "written and synchronised" ok ok ok
gives "B sees it after fsync, while it is still open" "ok first" open "$B/$name" rdonly read 100
go_on
told "written further, and closed" ok ok ok ok ok ok
gives "B sees it after close" "ok firstsecond" open "$B/$name" rdonly read 100
let_go
gives "truncate, shorter and longer" "ok ok ok fir" truncate "$A/$name" 3 truncate "$A/$name" 6 open "$A/$name" rdonly read 3
gives "as B sees it" "ok fir" open "$B/$name" rdonly read 3
is "and its size" "$(stat -c %s "$B/$name")" 6
is "made longer by zeros" "$(od -An -tx1 "$B/$name")" " 66 69 72 00 00 00"
gives "ftruncate" "ok ok 1 links, 2 bytes" open "$A/$name" rdwr ftruncate 2 fstat
is "as B sees its size" "$(stat -c %s "$B/$name")" 2
gives "written with a hole" "ok ok ok" open "$A/$name" wronly,trunc seek 4 write x
is "a hole is zeros" "$(od -An -tx1 "$B/$name")" " 00 00 00 00 78"
gives "4 KiB fit" "ok ok" open "$A/$name" wronly,trunc fill 4096
is "and are seen in B" "$(wc -c <"$B/$name")" 4096
gives "one byte more does not" "ok ok EFBIG" open "$A/$name" wronly seek 4096 write x
gives "nor at once" "ok EFBIG" open "$A/$name" wronly,trunc fill 4097
probe open "$A/$name" wronly seek 4090 fill 7
check "nor across the limit, beyond what fits" [ "$got" = "ok ok EFBIG" -o "$got" = "ok ok 6 of 7" ]
gives "nor by truncate" "EFBIG ok EFBIG ok" truncate "$A/$name" 4097 open "$A/$name" wronly ftruncate 1000000 ftruncate 4096
gives "nor far away" "ok ok EFBIG" open "$A/$name" wronly seek 1000000000000 write x
is "what was refused has changed nothing" "$(wc -c <"$B/$name")" 4096
gives "the shell's own way to write" ok unlink "$A/$name"
(echo shell >"$A/$name") 2>err
is "  works on a name that is free" "$?" 0
(set -C; echo more >"$A/$name") 2>err
is "  with noclobber not on one's own" "$?" 1
(echo more >>"$B/$name") 2>err
is "  and not on a foreign one" "$?" 1
is "  so that it holds what was written" "$(cat "$A/$name" "$B/$name")" $'shell\nshell'
# An open file shows a reader in B what it was when it was opened, and what it is when it is opened anew.
keep open "$B/$name" rdonly pause read 100
told "B has it open" ok
gives "written by the owner while B has it open" "ok ok" open "$A/$name" wronly,trunc write owner
go_on
until_true 10 has_lines keep.out 2
check "and reads what it was or what it is" grep -q -x -E 'shell|owner' keep.out
let_go
gives "and what it is now" "ok owner" open "$B/$name" rdonly read 100
keep open "$B/$name" rdonly read 100 pause seek 0 read 100 fstat
told "open in B" ok owner
gives "removed by the owner meanwhile" ok unlink "$A/$name"
go_on
told "the reader in B is not disturbed" ok owner ok ok owner "0 links, 5 bytes"
let_go
keep open "$A/$name" rdwr,creat,excl pause write still seek 0 read 100 fsync fstat
told "made anew" ok
gives "the owner removes what it has open" ok unlink "$A/$name"
go_on
told "and goes on with it, as with every file without a name" ok ok ok ok still ok "0 links, 5 bytes"
let_go
gives "the name is free meanwhile" "ok ok" mkdir "$B/$name" rmdir "$B/$name"

# ---------------------------------------------------------------- stat

# What a name is, in a form that must be the same on both mounts.
what()
{
	stat -c '%F %f %u %g %i %h %s' "$1"
}

new_name
is "the root: open to all, each removing his own" "$(stat -c '%F %a' "$A")" "directory 1777"
gives "one of each kind" "ok ok ok ok ok ok ok" umask 0 open "$A/$name.file" wronly,creat,excl mkdir "$A/$name.dir" \
	symlink somewhere "$A/$name.symlink" mknod "$A/$name.fifo" fifo mknod "$A/$name.socket" socket mknod "$A/$name.node" file
for kind in file dir symlink fifo socket node; do
	is "the $kind is the same on both mounts" "$(what "$A/$name.$kind")" "$(what "$B/$name.$kind")"
done
is "permissions of a file" "$(stat -c %a "$A/$name.file" "$B/$name.file" | paste -sd' ')" "666 666"
is "permissions of a directory" "$(stat -c %a "$A/$name.dir" "$B/$name.dir" | paste -sd' ')" "777 777"
gives "with the umask" "ok ok ok" umask 027 mkdir "$A/$name.027" open "$A/$name.file027" wronly,creat,excl
is "  permissions" "$(stat -c %a "$A/$name.027" "$B/$name.027" "$A/$name.file027" "$B/$name.file027" | paste -sd' ')" "750 750 640 640"
is "a symbolic link is as long as its target" "$(stat -c %s "$A/$name.symlink" "$B/$name.symlink" | paste -sd' ')" "9 9"
if [ $is_root = yes ]; then
	gives "made by another user" "ok ok ok ok" in "$A" as $nobody mkdir "$name.nobody" open "$name.nobody.file" wronly,creat,excl
	is "  it is his on both mounts" "$(stat -c %u:%g "$A/$name.nobody" "$B/$name.nobody" "$B/$name.nobody.file" | sort -u)" $nobody
else
	skip "made by another user" "only root can become one"
fi

# Inode numbers: also those that a directory tells of what is in it.
gives "many names in A" ok mkdirs "$A/$name.ino.A" 100
gives "many names in B" ok mkdirs "$B/$name.ino.B" 100
find "$A" -mindepth 1 -maxdepth 1 -name "$name.ino.*" -printf '%i %f\n' | sort >inodes.A
find "$B" -mindepth 1 -maxdepth 1 -name "$name.ino.*" -printf '%i %f\n' | sort >inodes.B
is "two hundred inode numbers" "$(cut -d' ' -f1 inodes.A | sort -u | grep -c '')" 200
check "are the same on both mounts" cmp inodes.A inodes.B
# shellcheck disable=SC2012 # what ls does is the question
is "and what the directory says, as ls -i takes it" "$(ls -i -1 "$A" | sed 's/^ *//' | grep -F "$name.ino." | sort | cmp - inodes.A 2>&1)" ""
is "none is 0 or 1, or has 64 bits" "$(cut -d' ' -f1 inodes.A | awk '$1 < 2 || length($1) > 19 || (length($1) == 19 && $1 "" > "9223372036854775807")')" ""
check "they are spread over 63 bits" [ "$(cut -d' ' -f1 inodes.A | awk 'length($1) >= 18' | grep -c '')" -gt 100 ]
gives "given back" "ok ok" rmdirs "$A/$name.ino.A" 100 rmdirs "$B/$name.ino.B" 100
first=$(stat -c %i "$A/$name.dir")
gives "taken anew" "ok ok" rmdir "$A/$name.dir" mkdir "$A/$name.dir"
check "a name that is taken anew is another file" [ "$first" != "$(stat -c %i "$A/$name.dir")" ]

# age FILE: how long ago it was modified, in ms.
age()
{
	local time
	time=$(stat -c %.3Y "$1")
	echo $(($(now_ms) - ${time/./}))
}
is_between()
{
	check "$1 ($2)" [ "$2" -ge "$3" -a "$2" -le "$4" ]
}
renewed_since()
{
	[ "$(stat -c %.9Y "$1")" != "$2" ]
}
new_name
gives "a new name" ok mkdir "$A/$name"
is_between "was modified when it was made" "$(age "$A/$name")" 0 20000
gives "its time is set" ok utimens "$A/$name" 1.000000001
is "exactly as the owner says" "$(stat -c '%.9Y' "$A/$name")" 1.000000001
is_between "to another host it is as fresh as its lease" "$(age "$B/$name")" -50 $((ttl + 1000))
before=$(stat -c %.9Y "$B/$name")
check "and is renewed there with the lease" until_true 20 renewed_since "$B/$name" "$before"
is_between "so that it is fresh again" "$(age "$B/$name")" -50 $((ttl + 1000))
is "which leaves the owner's time alone" "$(stat -c '%.9Y' "$A/$name")" 1.000000001
gives "times by an open directory" "ok ok" open "$A/$name" rdonly,directory futimens 1234567890.987654321
is "are exact, too" "$(stat -c '%.9Y' "$A/$name")" 1234567890.987654321
check "test -nt takes a foreign name for new" [ "$B/$name" -nt "$A/$name" ]

# ---------------------------------------------------------------- symbolic links

new_name
long=$(printf '%4000s' '' | tr ' ' x)
for target in host.example:1234 "" 'with spaces, "quotes" and ünïcode' ../elsewhere/x "$long"; do
	rm -f "$A/$name"
	if [ -z "$target" ]; then
		gives "an empty target is refused" ENOENT symlink "" "$A/$name"
		continue
	fi
	gives "a symbolic link" ok symlink "$target" "$A/$name"
	gives "is read on both mounts" "$target $target" readlink "$A/$name" readlink "$B/$name"
done
rm -f "$A/$name"
gives "readlink of what is none" "ok EINVAL EINVAL" mkdir "$A/$name" readlink "$A/$name" readlink "$B/$name"
gives "a link is followed inside a mount" "ok ok" symlink "$name.t" "$A/$name.l" open "$A/$name.l" wronly,creat
gives "to what was made by that" "ok ok" stat "$B/$name.t" stat "$B/$name.l"
gives "but not by O_EXCL or O_NOFOLLOW" "EEXIST ELOOP ELOOP" open "$A/$name.l" wronly,creat,excl open "$A/$name.l" rdonly,nofollow \
	open "$B/$name.l" rdonly,nofollow

# ---------------------------------------------------------------- link

new_name
gives "a file" "ok ok" open "$A/$name.a" wronly,creat,excl write text
gives "link takes the second name" ok link "$A/$name.a" "$A/$name.b"
is "one file, on both mounts" "$(stat -c %i "$A/$name.a" "$A/$name.b" "$B/$name.a" "$B/$name.b" | sort -u | wc -l)" 1
is "with two links, on both mounts" "$(stat -c %h "$A/$name.a" "$A/$name.b" "$B/$name.a" "$B/$name.b" | sort -u)" 2
is "and one device" "$(stat -c %d "$A/$name.a" "$A/$name.b" | sort -u | wc -l)" 1
gives "whose content is one" "ok ok" open "$A/$name.b" wronly,append write -more
gives "in A" "ok text-more" open "$A/$name.a" rdonly read 100
gives "in B by either name" "ok text-more ok text-more" open "$B/$name.a" rdonly read 100 open "$B/$name.b" rdonly read 100
gives "it is held" "EEXIST EEXIST" mkdir "$A/$name.b" mkdir "$B/$name.b"
gives "B holds another name" ok open "$B/$name.c" wronly,creat,excl
gives "link to a name that is held" "EEXIST EEXIST EEXIST" link "$A/$name.a" "$A/$name.b" link "$A/$name.a" "$A/$name.c" \
	link "$B/$name.c" "$B/$name.a"
gives "link to a foreign file" EBUSY link "$B/$name.a" "$B/$name.d"
gives "link to a foreign file, onto what is held" EEXIST link "$B/$name.a" "$B/$name.c"
gives "link to what is not there" "ENOENT ENOENT" link "$A/$name.none" "$A/$name.d" link "$B/$name.none" "$B/$name.d"
gives "nothing was taken by these" "ENOENT ENOENT" lstat "$A/$name.d" lstat "$B/$name.d"
gives "link to a directory" "ok EPERM EPERM" mkdir "$A/$name.dir" link "$A/$name.dir" "$A/$name.e" link "$B/$name.dir" "$B/$name.e"
gives "link to a symbolic link" "ok ok" symlink "$name.a" "$A/$name.l" link "$A/$name.l" "$A/$name.l2"
is "is one, too" "$(stat -c '%F %h' "$B/$name.l2")" "symbolic link 2"
gives "the first name goes" ok unlink "$A/$name.a"
gives "and is free" "ENOENT ok ok" lstat "$B/$name.a" mkdir "$B/$name.a" rmdir "$B/$name.a"
is "the second one lives on with one link" "$(stat -c %h "$A/$name.b" "$B/$name.b" | paste -sd' ')" "1 1"
gives "and with its content" "ok text-more" open "$B/$name.b" rdonly read 100
gives "ten names of one file" "ok ok ok ok ok ok ok ok ok" link "$A/$name.b" "$A/$name.1" link "$A/$name.b" "$A/$name.2" \
	link "$A/$name.b" "$A/$name.3" link "$A/$name.b" "$A/$name.4" link "$A/$name.b" "$A/$name.5" link "$A/$name.b" "$A/$name.6" \
	link "$A/$name.b" "$A/$name.7" link "$A/$name.b" "$A/$name.8" link "$A/$name.b" "$A/$name.9"
is "are ten links, as B sees" "$(stat -c %h "$B/$name.b" "$B/$name.9" | paste -sd' ')" "10 10"
# ---------------------------------------------------------------- rename

new_name
gives "a file of A's, one of B's" "ok ok ok" open "$A/$name.a" wronly,creat,excl write text open "$B/$name.f" wronly,creat,excl
before=$(stat -c %i "$A/$name.a")
gives "rename takes the new name" ok rename "$A/$name.a" "$A/$name.b" plain
gives "and gives the old one back" "ENOENT ENOENT ok ok" lstat "$A/$name.a" lstat "$B/$name.a" mkdir "$B/$name.a" rmdir "$B/$name.a"
gives "the new one is held, and has the content" "EEXIST ok text" mkdir "$B/$name.b" open "$B/$name.b" rdonly read 100
is "it is the same file" "$(stat -c '%i %h' "$A/$name.b" "$B/$name.b" | sort -u)" "$before 1"
gives "onto one's own: replaced" "ok ok ok" open "$A/$name.c" wronly,creat,excl write old rename "$A/$name.b" "$A/$name.c" plain
gives "  by what it was, in both" "ok text ok text" open "$A/$name.c" rdonly read 100 open "$B/$name.c" rdonly read 100
gives "  and the old name is free" "ENOENT ok ok" lstat "$A/$name.b" mkdir "$B/$name.b" rmdir "$B/$name.b"
is "  the same file still" "$(stat -c '%i %h' "$A/$name.c" "$B/$name.c" | sort -u)" "$before 1"
gives "onto a foreign one" "EBUSY ok" rename "$A/$name.c" "$A/$name.f" plain lstat "$A/$name.c"
gives "a foreign one" "EBUSY EBUSY" rename "$B/$name.c" "$B/$name.g" plain rename "$B/$name.c" "$B/$name.f" plain
gives "  has not moved" "ok ENOENT ENOENT" lstat "$B/$name.c" lstat "$A/$name.g" lstat "$B/$name.g"
gives "what is not there" "ENOENT ENOENT" rename "$A/$name.none" "$A/$name.g" plain rename "$B/$name.none" "$B/$name.g" plain
gives "NOREPLACE onto what is there" "EEXIST ok EEXIST EEXIST" rename "$A/$name.c" "$A/$name.f" noreplace \
	open "$A/$name.d" wronly,creat,excl rename "$A/$name.c" "$A/$name.d" noreplace rename "$B/$name.f" "$B/$name.c" noreplace
gives "NOREPLACE onto what is free" "ok ENOENT ok" rename "$A/$name.c" "$A/$name.e" noreplace lstat "$B/$name.c" lstat "$B/$name.e"
gives "EXCHANGE" "EINVAL EINVAL" rename "$A/$name.d" "$A/$name.e" exchange rename "$A/$name.d" "$A/$name.f" exchange
gives "WHITEOUT" EINVAL rename "$A/$name.d" "$A/$name.w" whiteout
gives "onto itself" "ok ok" rename "$A/$name.e" "$A/$name.e" plain lstat "$B/$name.e"
gives "one name of a file onto the other" "ok ok ok ok" link "$A/$name.e" "$A/$name.e2" rename "$A/$name.e" "$A/$name.e2" plain \
	lstat "$A/$name.e" lstat "$A/$name.e2"
is "  changes nothing" "$(stat -c %h "$B/$name.e" "$B/$name.e2" | paste -sd' ')" "2 2"
gives "one name of two elsewhere" "ok ENOENT" rename "$A/$name.e2" "$A/$name.e3" plain lstat "$A/$name.e2"
is "  is still one of two" "$(stat -c %h "$A/$name.e" "$A/$name.e3" "$B/$name.e3" | paste -sd' ')" "2 2 2"
gives "out of the mount, and into it" "EXDEV EXDEV" rename "$A/$name.e" "$work/outside" plain rename "$work/gate" "$A/$name.gate" plain
gives "a symbolic link" "ok ok there ENOENT" symlink there "$A/$name.l" rename "$A/$name.l" "$A/$name.l2" plain \
	readlink "$B/$name.l2" lstat "$B/$name.l"
keep open "$A/$name.e" rdwr pause write open fsync
told "a file is open" ok
gives "and renamed" ok rename "$A/$name.e" "$A/$name.h" plain
go_on
told "stays the same to who has it open" ok ok ok ok
let_go
gives "as B sees" "ok open" open "$B/$name.h" rdonly read 100

gives "directories" "ok ok ok ok ok ok" mkdir "$A/$name.dir" open "$A/$name.dir/one" wronly,creat write 1 \
	open "$A/$name.dir/two" wronly,creat write 22 mkdir "$A/$name.empty"
before=$(stat -c %i "$A/$name.dir" "$A/$name.dir/one" | paste -sd' ')
gives "a directory to another name" ok rename "$A/$name.dir" "$A/$name.dir2" plain
gives "  brings its children" "2 2 ok 1 ok 22" list "$A/$name.dir2" list "$B/$name.dir2" open "$A/$name.dir2/one" rdonly read 9 \
	open "$B/$name.dir2/two" rdonly read 9
is "  which are the same" "$(stat -c %i "$A/$name.dir2" "$A/$name.dir2/one" | paste -sd' ')" "$before"
is "  in B as well" "$(stat -c %i "$B/$name.dir2" "$B/$name.dir2/one" | paste -sd' ')" "$before"
gives "  and gives the old name back" "ENOENT ENOENT ok ok" lstat "$A/$name.dir" lstat "$B/$name.dir" mkdir "$B/$name.dir" rmdir "$B/$name.dir"
gives "  it can be written to as before" "ok ok ok ok 333" open "$A/$name.dir2/three" wronly,creat,excl write 333 fsync \
	open "$B/$name.dir2/three" rdonly read 9
gives "a directory over a file" ENOTDIR rename "$A/$name.dir2" "$A/$name.d" plain
gives "a file over a directory" EISDIR rename "$A/$name.d" "$A/$name.empty" plain
gives "a directory over one that is not empty" ENOTEMPTY rename "$A/$name.empty" "$A/$name.dir2" plain
gives "a directory over an empty one" "ok ENOENT 3 3" rename "$A/$name.dir2" "$A/$name.empty" plain lstat "$A/$name.dir2" \
	list "$A/$name.empty" list "$B/$name.empty"
gives "a directory over a foreign one" "ok EBUSY 3" mkdir "$B/$name.foreign" rename "$A/$name.empty" "$A/$name.foreign" plain \
	list "$A/$name.empty"
gives "a directory into itself" EINVAL rename "$A/$name.empty" "$A/$name.empty/x" plain
# ---------------------------------------------------------------- inside a directory

new_name
d=$name
gives "a directory, and a file in it" "ok ok ok ok" mkdir "$A/$d" open "$A/$d/file" wronly,creat,excl write inside fsync
gives "is read in B" "ok ok inside 1" lstat "$B/$d/file" open "$B/$d/file" rdonly read 100 list "$B/$d"
is "is the same file there" "$(what "$A/$d/file")" "$(what "$B/$d/file")"
gives "made once" "EEXIST EEXIST" open "$A/$d/file" wronly,creat,excl open "$B/$d/file" wronly,creat,excl
gives "no locks in there" "EPERM EPERM EPERM EPERM EPERM EPERM" mkdir "$A/$d/x" symlink x "$A/$d/x" mknod "$A/$d/x" fifo \
	mknod "$A/$d/x" socket bind "$A/$d/x" mknod "$A/$d/x" char
gives "no links in there, into it, or out of it" "EPERM ok EPERM EXDEV" link "$A/$d/file" "$A/$d/other" open "$A/$d.o" wronly,creat,excl \
	link "$A/$d.o" "$A/$d/other" link "$A/$d/file" "$A/$d.other"
gives "no renaming into it, or out of it" "EXDEV EXDEV" rename "$A/$d.o" "$A/$d/other" plain rename "$A/$d/file" "$A/$d.other" plain
gives "nothing came of all that" "1 1 ENOENT" list "$A/$d" list "$B/$d" lstat "$B/$d.other"
gives "changed" "ok ok" open "$A/$d/file" wronly,trunc write changed
gives "as B sees" "ok changed" open "$B/$d/file" rdonly read 100
gives "permissions, times" "ok ok" chmod "$A/$d/file" 604 utimens "$A/$d/file" 1000000000.000000007
is "as B sees: exactly, since a file in there has no lease of its own" "$(stat -c '%a %.9Y' "$B/$d/file")" "604 1000000000.000000007"
gives "4 KiB and no more" "ok ok EFBIG EFBIG" open "$A/$d/file" wronly,trunc fill 4096 write x truncate "$A/$d/file" 4097
gives "sixty-four of them" "ok 64 64" creats "$A/$d/f" 63 list "$A/$d" list "$B/$d"
gives "and no more" "ENOSPC ENOSPC 64" open "$A/$d/more" wronly,creat,excl mknod "$A/$d/more" file list "$B/$d"
: >content
for ((i = 1; i <= 63; i++)); do
	printf '%4096s' $i | tee "$A/$d/f$i" >>content
done
is "all of them full" "$(for ((i = 1; i <= 63; i++)); do cat "$B/$d/f$i"; done | cmp - content 2>&1)" ""
gives "one goes" "ok 63 63" unlink "$A/$d/f63" list "$A/$d" list "$B/$d"
gives "one comes" "ok ok" open "$A/$d/.last one" rdwr,creat write last
gives "as B sees" "ENOENT ok last" lstat "$B/$d/f63" open "$B/$d/.last one" rdonly read 9
gives "renamed" "ok ENOENT ENOENT ok last" rename "$A/$d/.last one" "$A/$d/renamed" plain lstat "$A/$d/.last one" \
	lstat "$B/$d/.last one" open "$B/$d/renamed" rdonly read 9
gives "renamed over another" "ok 63 ok last" rename "$A/$d/renamed" "$A/$d/f1" plain list "$B/$d" open "$B/$d/f1" rdonly read 9
gives "renamed: NOREPLACE, EXCHANGE, what is not there" "EEXIST ok EINVAL ENOENT" rename "$A/$d/f1" "$A/$d/f2" noreplace \
	rename "$A/$d/f1" "$A/$d/f63" noreplace rename "$A/$d/f63" "$A/$d/f2" exchange rename "$A/$d/none" "$A/$d/f2" plain
gives "removed what is not there" "ENOENT ENOENT ENOTDIR" unlink "$A/$d/none" rmdir "$A/$d/none" rmdir "$A/$d/f2"
gives "of another host's everything is refused" "EBUSY EBUSY EBUSY EBUSY EBUSY EBUSY EBUSY EBUSY" open "$B/$d/new" wronly,creat,excl \
	open "$B/$d/f2" wronly open "$B/$d/f2" rdwr,creat,trunc unlink "$B/$d/f2" rename "$B/$d/f2" "$B/$d/new" plain \
	truncate "$B/$d/f2" 0 chmod "$B/$d/f2" 600 utimens "$B/$d/f2" now
gives "of the directory itself, too" "EBUSY EBUSY EBUSY" rmdir "$B/$d" chmod "$B/$d" 700 rename "$B/$d" "$B/$d.b" plain
gives "what holds files stays" "ENOTEMPTY EISDIR" rmdir "$A/$d" unlink "$A/$d"
check "rm -r" rm -r "$A/$d"
gives "is the end of it" "ENOENT ENOENT ENOENT ok ok" lstat "$A/$d" lstat "$B/$d" lstat "$B/$d/f2" mkdir "$B/$d" rmdir "$B/$d"
new_name
keep mkdir "$A/$name" open "$A/$name/f" rdwr,creat write kept fsync pause seek 0 read 9 fstat
told "a file that is open" ok ok ok ok
gives "goes with its directory" "ok ok ENOENT" unlink "$A/$name/f" rmdir "$A/$name" lstat "$B/$name"
go_on
told "and is still there to who has it open" ok ok ok ok ok ok kept "0 links, 4 bytes"
let_go
new_name
byte255=$(printf '%255s' '' | tr ' ' n)
gives "names of 255 bytes in a directory" "ok ok ok" mkdir "$A/$name" open "$A/$name/$byte255" wronly,creat,excl lstat "$B/$name/$byte255"
gives "and not of 256" "ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG" open "$A/$name/n$byte255" wronly,creat,excl lstat "$B/$name/n$byte255" \
	rename "$A/$name/$byte255" "$A/$name/n$byte255" plain

# ---------------------------------------------------------------- readdir

new_name
before=$(find "$A" -mindepth 1 -maxdepth 1 | grep -c '')
gives "nothing is missing in B" "$before" list "$B"
gives "a thousand names of two mounts" "ok ok" mkdirs "$A/$name.A" 500 creats "$B/$name.B" 500
gives "are in both" "$((before + 1000)) $((before + 1000))" list "$A" list "$B"
find "$A" -mindepth 1 -maxdepth 1 -printf '%y %f\n' | sort >list.A
find "$B" -mindepth 1 -maxdepth 1 -printf '%y %f\n' | sort >list.B
check "the same ones, with the same types" cmp list.A list.B
is "every one" "$(grep -c -x -E "d ${name}[.]A[0-9]+|f ${name}[.]B[0-9]+" list.A)" 1000
check "each mount removes its own" find "$A" -maxdepth 1 -name "$name.A*" -delete
check "also while it reads them" find "$B" -maxdepth 1 -name "$name.B*" -delete
gives "all are gone" "$before $before" list "$A" list "$B"

new_name
hold "$name.dlock"
shown=$(ls -a "$A")
check "what dlock holds is listed" grep -q -x -F "$name.dlock" <<<"$shown"
gives "and found, in both" "ok ok" lstat "$A/$name.dlock" lstat "$B/$name.dlock"
release_holder
gives "no longer" "ENOENT ENOENT $before" lstat "$A/$name.dlock" lstat "$B/$name.dlock" list "$A"
hold "$name/with/slashes"
gives "a name with a slash is not shown" "$before ENOENT" list "$A" lstat "$A/$name"
release_holder
hold "x$byte255"
gives "a name of 256 bytes is not shown" "$before ENAMETOOLONG" list "$A" lstat "$A/x$byte255"
release_holder
hold "$byte255"
gives "one of 255 is" "$((before + 1)) ok" list "$A" lstat "$A/$byte255"
release_holder
hold ..
gives ".. is not, and is what it always was" "$before $before ok" list "$A" list "$B" lstat "$A/.."
release_holder
hold "$name" -s
"$DLOCK" -s "$name" sh -c 'echo >held2; read line <release2' &
mkfifo release2
until_true 20 [ -e held2 ]
gives "two readers of one lock are one name" "$((before + 1)) ok EEXIST EBUSY" list "$A" lstat "$A/$name" mkdir "$A/$name" unlink "$B/$name"
echo >release2
release_holder
until_true 20 is_free "$name"

# ---------------------------------------------------------------- locks on files

new_name
gives "a file" "ok ok" open "$A/$name" wronly,creat,excl write x
for directory in A B; do
	gives "flock in $directory is refused, not local" "ok ENOSYS ENOSYS ENOSYS ENOSYS" open "$work/$directory/$name" rdonly \
		flock ex,nb flock sh,nb flock ex flock sh
	gives "so are byte ranges" "ok ENOSYS ENOSYS ENOSYS ENOSYS" open "$work/$directory/$name" rdonly setlk read setlkw read \
		getlk read ofd_setlk read
done
gives "and those to write" "ok ENOSYS ENOSYS ENOSYS ENOSYS" open "$A/$name" rdwr setlk write setlkw write getlk write ofd_setlk write
gives "and what is no lock at all" "ok ok 1 links, 1 bytes" open "$A/$name" rdwr fsync fstat

# ---------------------------------------------------------------- attributes

new_name
gives "a file, a directory, a link" "ok ok ok" open "$A/$name.f" wronly,creat,excl mkdir "$A/$name.d" symlink x "$A/$name.l"
gives "chmod of one's own" "ok ok ok ok" chmod "$A/$name.f" 4751 chmod "$A/$name.d" 1700 open "$A/$name.f" rdonly fchmod 640
is "as both see" "$(stat -c %a "$A/$name.f" "$B/$name.f" "$A/$name.d" "$B/$name.d" | paste -sd' ')" "640 640 1700 1700"
gives "chmod of a foreign one" "EBUSY EBUSY" chmod "$B/$name.f" 600 chmod "$B/$name.d" 700
gives "utimens of one's own" "ok ok ok" utimens "$A/$name.f" 2.000000003 utimens "$A/$name.d" 4.000000005 utimens "$A/$name.l" 6.000000007
is "as it was set" "$(stat -c %.9Y "$A/$name.f" "$A/$name.d" "$A/$name.l" | paste -sd' ')" "2.000000003 4.000000005 6.000000007"
gives "utimens of a foreign one" "EBUSY EBUSY EBUSY" utimens "$B/$name.f" now utimens "$B/$name.d" 1 utimens "$B/$name.l" 1
gives "attributes of what is not there" "ENOENT ENOENT ENOENT" chmod "$A/$name.x" 600 utimens "$B/$name.x" now truncate "$A/$name.x" 0
if [ $is_root = yes ]; then
	gives "chown of one's own" "ok ok" chown "$A/$name.f" 1234:2345 chown "$A/$name.l" 3456:4567
	is "as both see" "$(stat -c %u:%g "$A/$name.f" "$B/$name.f" "$B/$name.l" | paste -sd' ')" "1234:2345 1234:2345 3456:4567"
	gives "chown of a foreign one" "EBUSY EBUSY" chown "$B/$name.f" 1:1 chown "$B/$name.d" 1:1
	gives "a file in a directory" "ok ok" open "$A/$name.d/f" wronly,creat,excl chown "$A/$name.d/f" 77:88
	is "as both see" "$(stat -c %u:%g "$A/$name.d/f" "$B/$name.d/f" | paste -sd' ')" "77:88 77:88"
	gives "a directory that gives its group away" "ok ok ok" mkdir "$A/$name.g" chown "$A/$name.g" 0:4321 chmod "$A/$name.g" 2775
	gives "to what is made in it" "ok ok" open "$A/$name.g/f" wronly,creat,excl mknod "$A/$name.g/n" file
	is "as both see" "$(stat -c %g "$A/$name.g/f" "$B/$name.g/f" "$B/$name.g/n" | sort -u)" 4321
	gives "the root may do so, too" "ok ok ok ok ok" chown "$A" 0:4321 chmod "$A" 3777 mkdir "$A/$name.h" open "$A/$name.i" wronly,creat \
		symlink x "$A/$name.j"
	is "as both see" "$(stat -c %g "$A/$name.h" "$A/$name.i" "$B/$name.h" "$B/$name.i" "$B/$name.j" | sort -u)" 4321
	is "and a directory goes on with it" "$(stat -c %a "$A/$name.h" "$B/$name.h" | sort -u)" 2755
	gives "back" "ok ok" chown "$A" 0:0 chmod "$A" 1777

	# Whose it is. The working directory is reached by root alone; what is in it counts.
	new_name
	gives "a file of root's, one of nobody's" "ok ok ok ok ok ok" open "$A/$name.r" wronly,creat,excl mkdir "$A/$name.rd" in "$A" as $nobody \
		open "$name.n" wronly,creat,excl mkdir "$name.nd"
	gives "removed by who may not" "ok ok EPERM EPERM EPERM" in "$A" as $nobody unlink "$name.r" rmdir "$name.rd" rename "$name.r" "$name.x" plain
	gives "replaced by who may not" "ok ok EPERM" in "$A" as $nobody rename "$name.n" "$name.r" plain
	gives "written, changed by who may not" "ok ok EACCES ok EPERM EPERM EACCES" in "$A" as $nobody open "$name.r" wronly open "$name.r" rdonly \
		chmod "$name.r" 777 chown "$name.r" $nobody truncate "$name.r" 0
	gives "a file in there by who may not" "ok ok EACCES" in "$A" as $nobody open "$name.rd/x" wronly,creat
	gives "read by who may not" "ok ok ok EACCES" chmod "$A/$name.r" 600 in "$A" as $nobody open "$name.r" rdonly
	gives "in B" "ok ok EACCES" in "$B" as $nobody open "$name.r" rdonly
	gives "a foreign one of his own is busy" "ok ok EBUSY EBUSY EBUSY" in "$B" as $nobody unlink "$name.n" rmdir "$name.nd" open "$name.n" wronly
	gives "a foreign one of another's is refused" "ok ok EPERM" in "$B" as $nobody unlink "$name.r"
	gives "his own he removes" "ok ok ok ok" in "$A" as $nobody unlink "$name.n" rmdir "$name.nd"
	gives "another one of his" "ok ok ok" in "$A" as $nobody mkdir "$name.n"
	gives "root removes everybody's" "ok ok ok" rmdir "$A/$name.n" rmdir "$A/$name.rd" unlink "$A/$name.r"
	gives "as B sees" "ENOENT ENOENT ENOENT" lstat "$B/$name.r" lstat "$B/$name.rd" lstat "$B/$name.n"
else
	skip "owners and groups" "only root can give things away"
fi

new_name
gives "fsync of a directory" "ok ok ok ok ok" open "$A" rdonly,directory fsync mkdir "$A/$name" open "$A/$name" rdonly,directory fsync
gives "statfs" "type 65735546, names of 255 bytes" statfs "$A"
gives "statfs in there" "type 65735546, names of 255 bytes" statfs "$B/$name"
check "df" df "$A"

# ---------------------------------------------------------------- names

new_name
long=$name$(printf '%255s' '' | tr ' ' l)
long=${long:0:255}
every "$A/$long"
# Without bind: the address of a socket is shorter than that.
gives "a name of 255 bytes" "ok ok EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST ok" mkdir "$A/$long" lstat "$B/$long" \
	"${every[@]:0:${#every[@]}-2}" rmdir "$A/$long"
every "$A/x$long"
gives "one of 256 is refused" "ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG" \
	"${every[@]:0:${#every[@]}-2}"
gives "wherever it is asked for" "ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG" lstat "$B/x$long" unlink "$A/x$long" \
	rmdir "$A/x$long" open "$A/x$long" rdonly open "$A/x$long" wronly,creat
gives "also as a new name" "ok ENAMETOOLONG ENAMETOOLONG ok" open "$A/$name" wronly,creat,excl link "$A/$name" "$A/x$long" \
	rename "$A/$name" "$A/x$long" plain lstat "$A/$name"

names=(
	'a name with spaces' ' ' ' leading' 'trailing ' $'new\nline' $'\n' $'tab\tulator' '*' '?' '[a-z]*' '.hidden' '...' '..x'
	'-' '-n' '--help' '~' '$HOME' '%s%n' '100%' "it's" 'say "so"' 'back\slash' '`id`' ';' '&' '|' '<>' '(' '#' '!' '!bang'
	'a:b' 'a=b' '@' ',' '{a,b}' $'\x01\x7f' $'caf\xc3\xa9' $'cafe\xcc\x81' $'\xe2\x82\xac' $'\xf0\x9f\x94\x92' $'\xff\xfe' $'\xc3' $'\xed\xa0\x80'
	'dlock!' 'dlock!fence' 'dlock!queue:x' 'dlock:x' 'dlock:' 'x}' '{x}' 'CON' 'lost+found' 'null'
)
before=$(find "$A" -mindepth 1 -maxdepth 1 -printf x | wc -c)
failed=
for odd in "${names[@]}"; do
	probe open "$A/$odd" wronly,creat,excl write content
	made=$got
	probe open "$B/$odd" rdonly read 100 mkdir "$B/$odd" open "$A/$odd" wronly,creat,excl trylock "$odd"
	[ "$made/$got" = "ok ok/ok content EEXIST EEXIST EAGAIN" ] || failed+="$(printf %q "$odd"): $made/$got; "
done
is "names of every kind" "$failed" ""
find "$B" -mindepth 1 -maxdepth 1 -printf '%f\0' | sort -z >list.B
printf '%s\0' "${names[@]}" | sort -z >wanted
is "are listed as they are" "$(sort -z -m list.B wanted | uniq -z -d | tr '\0' '\n' | cmp - <(tr '\0' '\n' <wanted) 2>&1)" ""
is "and nothing else" "$(tr -dc '\0' <list.B | wc -c)" $((before + ${#names[@]}))
failed=
for odd in "${names[@]}"; do
	probe lstat "$B/$odd" unlink "$A/$odd" lstat "$B/$odd" trylock "$odd"
	[ "$got" = "ok ok ENOENT ok" ] || failed+="$(printf %q "$odd"): $got; "
done
is "and free when they are removed" "$failed" ""
# Only where no prefix is before it is a name in the way of the masters' own keys.
serve "$work/C" $patient,prefix=
gives "reserved names where there is no prefix" "EINVAL EINVAL EINVAL ok EINVAL" mkdir "$work/C/dlock!fence" \
	open "$work/C/dlock!x" wronly,creat,excl symlink x "$work/C/dlock!" mkdir "$work/C/$name" rename "$work/C/$name" "$work/C/dlock!y" plain
check "are not found either" eval '! ls -d "$work/C/dlock!fence" 2>/dev/null'
is "what is held is listed, and nothing of the masters' own" "$(find "$work/C" -mindepth 1 -maxdepth 1 -not -name 'dlock:*' -printf '%f')" "$name"
gives "another prefix is another fleet" "ENOENT ok" lstat "$A/$name.none" mkdir "$A/$name.c"
gives "seen with its key's full name without one" ok lstat "$work/C/dlock:$name.c"
stop "$work/C"
is "the mount without a prefix ends well" "$status" 0

# ---------------------------------------------------------------- extended attributes

# who NAME FIELD: a number that dlock tells of its holder.
who()
{
	"$DLOCK" --who "$1" --json | sed -n "s/.*\"$2\": \"\\{0,1\\}\\([^,\"]*\\).*/\\1/p" | tail -n 1
}

new_name
gives "a file and a directory" "ok ok" open "$A/$name.f" wronly,creat,excl mkdir "$A/$name.d"
for kind in f d; do
	token=$(who "$name.$kind" token)
	check "dlock knows a token" [ "$token" -gt 0 ]
	gives "the token of one's own, and of a foreign one" "$token $token" getxattr "$A/$name.$kind" user.dlock.token \
		getxattr "$B/$name.$kind" user.dlock.token
	holder_text="$(who "$name.$kind" host)/${daemon[$A]}/dlockfs"
	gives "the holder" "$holder_text $holder_text" getxattr "$A/$name.$kind" user.dlock.holder getxattr "$B/$name.$kind" user.dlock.holder
	probe getxattr "$A/$name.$kind" user.dlock.ttl_ms getxattr "$B/$name.$kind" user.dlock.ttl_ms
	for left in $got; do
		is_between "how long the lease is good yet" "$left" 1 "$ttl"
	done
	gives "their names" "user.dlock.token user.dlock.holder user.dlock.ttl_ms" listxattr "$B/$name.$kind"
	gives "there are no others" "ENODATA ENODATA" getxattr "$A/$name.$kind" user.dlock.other getxattr "$B/$name.$kind" user.other
	gives "and none can be set" "EOPNOTSUPP EOPNOTSUPP" setxattr "$A/$name.$kind" user.dlock.token 1 setxattr "$A/$name.$kind" user.mine 1
done
gives "a file in a directory has none of its own" "ok ENODATA" open "$A/$name.d/f" wronly,creat,excl getxattr "$A/$name.d/f" user.dlock.token
gives "the root has none" ENODATA getxattr "$A" user.dlock.token
if type -P getfattr >/dev/null; then
	is "getfattr" "$(getfattr --absolute-names --only-values -n user.dlock.token "$B/$name.d")" "$token"
	is "getfattr -d" "$(getfattr --absolute-names -d "$B/$name.d" | grep -c '^user[.]dlock[.]')" 3
else
	skip "getfattr" "getfattr was not found"
fi
gives "taken again" "ok ok ok" unlink "$A/$name.d/f" rmdir "$A/$name.d" mkdir "$B/$name.d"
check "its token is greater" [ "$(who "$name.d" token)" -gt "$token" ]
gives "as both see" "$(who "$name.d" token) $(who "$name.d" token)" getxattr "$A/$name.d" user.dlock.token getxattr "$B/$name.d" user.dlock.token
hold "$name.h"
gives "what dlock holds tells the same" "$(who "$name.h" token) $(who "$name.h" host)/$holder/dlock" \
	getxattr "$A/$name.h" user.dlock.token getxattr "$B/$name.h" user.dlock.holder
release_holder

# ---------------------------------------------------------------- other doors

new_name
gives "made in A" ok mkdir "$A/$name"
limited 20 "$DLOCK" -n "$name" true
is "dlock finds it held" "$status" 1
gives "the library, too" EAGAIN trylock "$name"
limited 20 "$DLOCK" -n -s "$name" true
is "also to share it" "$status" 1
"$DLOCK" -w 30 "$name" sh -c 'echo >taken; read line <release3' 2>err &
waiter=$!
mkfifo release3
sleep 0.5
check "dlock waits for it" [ ! -e taken ]
gives "removed in A" ok rmdir "$A/$name"
check "and dlock has it" until_true 10 [ -e taken ]
every "$A/$name"
gives "nothing takes it in A" "$every_held" "${every[@]}"
touches 1 "$B/$name"
gives "nor is it to be removed" "EBUSY EBUSY" unlink "$A/$name" unlink "$B/$name"
# To a user it is a file of root's that he may not write to, and so not link to either.
refusals=("EBUSY EBUSY" "EBUSY EBUSY EBUSY EBUSY EBUSY")
[ $is_root = yes ] || refusals=("EBUSY EPERM" "EACCES EACCES EACCES EPERM EACCES")
gives "moved" "${refusals[0]}" rename "$A/$name" "$A/$name.x" plain link "$A/$name" "$A/$name.x"
gives "or replaced" "ok EBUSY EEXIST EEXIST" open "$A/$name.f" wronly,creat,excl rename "$A/$name.f" "$A/$name" plain \
	rename "$A/$name.f" "$A/$name" noreplace link "$A/$name.f" "$A/$name"
gives "changed" "${refusals[1]}" open "$A/$name" wronly open "$A/$name" rdwr,creat truncate "$A/$name" 0 chmod "$A/$name" 777 \
	utimens "$A/$name" now
gives "it can be read, and nothing is in it" "ok  ok" open "$A/$name" rdonly read 9 open "$B/$name" rdonly,creat read 9
is_between "and is fresh" "$(age "$A/$name")" -50 11000
is "one file on both mounts" "$(what "$A/$name")" "$(what "$B/$name")"
echo >release3
ended 10 "$waiter"
is "dlock ends" "$status" 0
gives "and gives it back to who comes" "ENOENT ok ok" lstat "$B/$name" mkdir "$A/$name" rmdir "$A/$name"

new_name
keep trylock "$name"
told "a program holds it by the library" ok
gives "it is held in both" "EEXIST EEXIST EEXIST" mkdir "$A/$name" open "$B/$name" wronly,creat,excl symlink x "$B/$name"
is "and is dlock's neighbour" "$(who "$name" pid)" "$keeper"
let_go
gives "free when it has ended" "ENOENT ok" lstat "$A/$name" mkdir "$B/$name"
gives "held for the library now" EAGAIN trylock "$name"
gives "free again" "ok ok" rmdir "$B/$name" trylock "$name"

# One register behind all the doors: who is inside finds nobody else there.
new_name
: >inside
rounds=15
enter()
{
	[ ! -s inside ] || echo "$1 meets $(cat inside)" >>met
	echo "$1" >inside
	echo x >>entered
	[ "$(cat inside)" = "$1" ] || echo "$1 was met" >>met
	: >inside
}
# (Not `set -C`: bash leaves O_EXCL out when it has just seen a directory there.)
by_file()
{
	local i
	for ((i = 0; i < rounds; i++)); do
		until [ "$("$FSPROBE" open "$1/$name" wronly,creat,excl)" = ok ]; do sleep 0.01; done
		enter "$1.$BASHPID"
		rm "$1/$name" || echo "$1: not removed" >>met
	done
}
by_directory()
{
	local i
	for ((i = 0; i < rounds; i++)); do
		until mkdir "$1/$name" 2>/dev/null; do sleep 0.01; done
		enter "$1.$BASHPID"
		rmdir "$1/$name" || echo "$1: not removed" >>met
	done
}
by_dlock()
{
	local i
	for ((i = 0; i < rounds; i++)); do
		"$DLOCK" -w 60 "$name" bash -c "$(declare -f enter); enter dlock.$BASHPID" || echo "dlock: status $?" >>met
	done
}
rm -f met entered
everybody=()
for work_of in "by_file $A" "by_file $B" "by_directory $A" "by_directory $B" by_dlock by_dlock; do
	$work_of &
	everybody+=($!)
done
wait "${everybody[@]}"
is "six who come by files, directories and dlock never meet" "$(cat met 2>/dev/null)" ""
is "and each has come in as often as it wanted" "$(grep -c '' entered)" $((6 * rounds))

# ---------------------------------------------------------------- a lease that is lost

is_lost()
{
	[ "$(stat -c %F "$A/$name" 2>/dev/null)" != "$1" ]
}

new_name
keep open "$A/$name" rdwr,creat,excl write hello fsync pause seek 0 read 5 write x ftruncate 0 fsync close
told "a file that is open" ok ok ok
limited 20 "$DLOCK" --break "$name" --yes
is "its lock is broken" "$status" 0
gives "it is free for B at once" ok mkdir "$B/$name"
check "A notices" until_true $((ttl / 1000 + 10)) is_lost "regular file"
is "and shows who has it now" "$(what "$A/$name")" "$(what "$B/$name")"
gives "which is foreign" "EBUSY EEXIST" rmdir "$A/$name" mkdir "$A/$name"
check "there is a line about it" has_line "\"$name\".*lost" "$A.log"
go_on
told "who has it open is told with every call" ok ok ok ok ok EIO EIO EIO EIO EIO
let_go
gives "B's has nothing to do with that" ok rmdir "$B/$name"
gives "and the name can be taken again" "ok ok" mkdir "$A/$name" rmdir "$A/$name"

new_name
keep mkdir "$A/$name" open "$A/$name/f" rdwr,creat,excl write hello in "$A/$name" pause seek 0 read 5 write x fsync \
	open g wronly,creat,excl open f rdonly list .
told "a directory that somebody is in" ok ok ok ok
limited 20 "$DLOCK" --break "$name" --yes
is "its lock is broken" "$status" 0
check "the name vanishes" until_true $((ttl / 1000 + 10)) is_lost directory
gives "from both" "ENOENT ENOENT ENOENT" lstat "$A/$name" lstat "$B/$name" lstat "$A/$name/f"
check "there is a line about it" has_line "\"$name\".*lost" "$A.log"
gives "B takes it" "ok ok ok" mkdir "$B/$name" open "$B/$name/f" wronly,creat,excl write other
go_on
until_true 10 has_lines keep.out 12
is "its files are gone for who was in there" "$(sed -n '7,9p' keep.out | paste -sd' ')" "EIO EIO EIO"
check "and nothing can be made there" eval '! sed -n "10,12p" keep.out | grep -q -x ok'
let_go
gives "B has its own" "ok other" open "$B/$name/f" rdonly read 9

new_name
gives "two names of one file" "ok ok ok" open "$A/$name.a" wronly,creat,excl write both link "$A/$name.a" "$A/$name.b"
limited 20 "$DLOCK" --break "$name.a" --yes
name=$name.a
check "one is lost" until_true $((ttl / 1000 + 10)) is_lost "regular file"
gives "the other lives on" "ENOENT ok both" lstat "$A/$name" open "$B/${name%.a}.b" rdonly read 9
is "with one link" "$(stat -c %h "$A/${name%.a}.b" "$B/${name%.a}.b" | paste -sd' ')" "1 1"

# ---------------------------------------------------------------- a name that has changed hands

# Who was told that a name is not there, or of another's, and removes it without having
# seen what came meanwhile: within a second, in which this machine must come to it.
hands_over_meanwhile()
{
	local try from_ms
	for ((try = 0; try < 10; try++)); do
		new_name
		[ "$1" = absent ] || "$FSPROBE" mkdir "$A/$name" >/dev/null
		from_ms=$(now_ms)
		keep lstat "$A/$name" pause rmdir "$A/$name" lstat "$A/$name" rmdir "$A/$name"
		until_true 20 has_lines keep.out 1
		[ "$1" = absent ] || "$FSPROBE" rmdir "$A/$name" >/dev/null
		"$FSPROBE" mkdir "$A/$name" >/dev/null
		go_on
		until_true 20 has_lines keep.out 5
		let_go
		[ $(($(now_ms) - from_ms)) -ge 900 ] || break
	done
}
hands_over_meanwhile absent
is "who was told that it is not there can't mean it; who has seen it can" "$(paste -sd' ' keep.out)" "ENOENT ok ENOENT ok ok ok"
hands_over_meanwhile another
is "nor can who was told of an earlier holder" "$(paste -sd' ' keep.out)" "ok ok ENOENT ok ok ok"

stop_all
plan
