#!/bin/bash
#
# dlockfs from its command line to its mount and back: what it accepts and refuses, what
# it says, by which status scripts and mount(8) tell, and what it leaves underneath.

. "$(dirname -- "$0")/mounts.sh"

A=$work/A
mkdir "$A"

# dlockfs_says STATUS PATTERN ARGUMENT...: it ends with that status and says that, on
# standard error; nothing is mounted on $A.
dlockfs_says()
{
	local wanted=$1 pattern=$2
	shift 2
	limited 30 "$DLOCKFS" "$@"
	is "dlockfs ${*//"$work/"}: status $wanted" "$status" "$wanted"
	check "  it says why" has_line "$pattern" err
	check "  nothing is mounted" is_unmounted "$A"
}

# The daemons that serve a directory in the background, by their arguments.
daemons_of()
{
	pgrep -f -- "dlockfs .*$1( |\$)"
}
no_daemons_of()
{
	! daemons_of "$1" >/dev/null
}

# works DIRECTORY: as a mount in create mode does.
works()
{
	is_mounted "$1" || return
	new_name
	probe mkdir "$1/$name" mkdir "$1/$name" rmdir "$1/$name"
	[ "$got" = "ok EEXIST ok" ]
}

# unmounted DIRECTORY: by umount(8), and the daemon ends.
unmounted()
{
	limited 20 umount "$1"
	is "umount" "$status" 0
	check "ends its daemon" until_true 10 no_daemons_of "$1"
	check "and the mount" is_unmounted "$1"
}

# ---------------------------------------------------------------- the command line

for option in --help -h; do
	limited 10 "$DLOCKFS" $option
	is "$option: status 0" "$status:$(cat err)" "0:"
	check "$option tells the usage" has_line '^Usage: dlockfs \[options\] MOUNTPOINT$' out
done
for option in mode= op_timeout= on_loss= noprotect config= servers= ttl= --foreground --debug allow_other; do
	check "$option is in it" has_line "$option" out
done
for option in --version -V; do
	limited 10 "$DLOCKFS" $option
	is "$option: status 0" "$status:$(cat err)" "0:"
	check "$option tells a version" has_line '^dlockfs (libdlock) [0-9]*[.][0-9]' out
done
# Neither of them needs a mount point, a master or a right.
(unset DLOCK_SERVERS && DLOCK_SERVERS=nonsense:: limited 10 "$DLOCKFS" --help "$A" -o mode=x; exit "$status")
is "--help comes first" $? 0

dlockfs_says 2 'no mount point.*--help' -f
dlockfs_says 2 'too many arguments: "more"' -f dlock "$A" more
dlockfs_says 2 "argument.*-o" -f "$A" -o

# wrong OPTION WORD...: it is named, and what is accepted.
wrong()
{
	local option=$1 word
	shift
	limited 20 "$DLOCKFS" -f -o "$option" "$A"
	is "-o $option: status 2" "$status" 2
	check "  it is named" has_line "^dlockfs: -o $option: " err
	for word; do
		check "  $word is in it" has_line "$word" err
	done
	is "  in one line" "$(grep -c '' err)" 1
	check "  nothing is mounted" is_unmounted "$A"
}
wrong mode=x create flock
wrong mode= create flock
wrong on_loss=SIGFOO 'signal.*SIGTERM' none
wrong on_loss= signal
wrong on_loss=100000 signal
wrong op_timeout=0 '100 to 10000'
wrong op_timeout=99 '100 to 10000'
wrong op_timeout=10001 '100 to 10000'
wrong op_timeout=abc '100 to 10000'
wrong op_timeout=64444444444444444 '100 to 10000'
wrong op_timeout=500ms '100 to 10000'
wrong op_timeout= '100 to 10000'
wrong scratch=0 '1 to 65536'
wrong scratch=1G '1 to 65536'
wrong ttl=x '100 to 3600000'
wrong ttl=99 '100 to 3600000'
wrong ttl= '100 to 3600000'
wrong servers= 'host:port.*unix:/path'
wrong servers=host:99999 '"host:99999"' 'port'
wrong node_timeout=0 '1 to 600000'
wrong quorum_timeout=x '0 to 86400000.*forever'
wrong quarantine=maybe auto off
wrong max_ttl=1 'number of milliseconds from'
wrong lock_delay=x '0 to 3600000'
wrong prefix=dlock!x reserved
wrong config="$work/none" 'No such file'
wrong password_file="$work/none" "$work/none.*No such file"
wrong auto_unmount 'refused.*crash.*underneath'
wrong subtype=other 'always dlockfs'
for option in mode op_timeout ttl config; do
	dlockfs_says 2 "$option" -f -o $option "$A"
done
for option in nonsense nonsense=7 modes=create; do
	dlockfs_says 2 "$option" -f -o "$option" "$A"
	dlockfs_says 2 "$option" -o "ttl=3000,$option" "$A"
done
dlockfs_says 2 "--nonsense" -f --nonsense "$A"
dlockfs_says 2 "-x" -f -x "$A"
check "of all that nothing has stayed underneath" rmdir "$A"
mkdir "$A"
# What is wrong is told before the masters are asked.
(export DLOCK_SERVERS=unix:/nonexistent && limited 20 "$DLOCKFS" -f -o nonsense "$A"; exit "$status")
is "a wrong option without any master: status 2" $? 2
printf 'node_timeout = 2000\nnonsense = 7\n' >bad.conf
dlockfs_says 2 'bad[.]conf:2.*nonsense' -f -o config="$work/bad.conf" "$A"
DLOCK_CONFIG=$work/bad.conf dlockfs_says 2 'bad[.]conf:2.*nonsense' -f "$A"
DLOCK_TTL=soon dlockfs_says 2 'DLOCK_TTL.*"soon"' -f "$A"

# ---------------------------------------------------------------- the mount point

dlockfs_says 1 "$work/none: No such file" -f "$work/none"
dlockfs_says 1 "none: No such file" none
: >file
dlockfs_says 1 "$work/file: Not a directory" -f -o noprotect "$work/file"
: >"$A/left over"
dlockfs_says 1 'not empty.*"left over".*no locks' -f -o noprotect "$A"
dlockfs_says 1 'not empty.*"left over".*no locks' "$A"
rm "$A/left over"
mkdir "$A/.hidden"
dlockfs_says 1 'not empty.*".hidden"' -o noprotect "$A"
rmdir "$A/.hidden"

# ---------------------------------------------------------------- no quorum

in_vain=unix:$work/none/1,unix:$work/none/2,unix:$work/none/3
for option in -f -o; do
	[ $option = -f ] || option="-o noprotect"
	# shellcheck disable=SC2086 # two words
	DLOCK_SERVERS=$in_vain dlockfs_says 69 '0 of 3 masters vote, and 2 are needed' $option "$A"
	for i in 1 2 3; do
		check "  master $i is named, with its error" has_line "^dlockfs: unix:$work/none/$i: .*No such file" err
	done
done
stop_masters 1 2 3
dlockfs_says 69 'not mounted: [0-2] of 5 masters vote, and 3 are needed' -o noprotect "$A"
for i in 1 2 3; do
	check "  master $i is named" has_line "^dlockfs: unix:$servers_dir/$i.sock: " err
done
resume_masters 1 2 3
stop_masters 4 5
serve "$A"
check "three of five are enough" works "$A"
resume_masters 4 5
stop "$A"
is "it ends well" "$status" 0

# ---------------------------------------------------------------- foreground, background

serve "$A"
check "-f: it serves" works "$A"
check "  and says so" has_line "serving $A in create mode" "$A.log"
stop "$A"
is "  until it is told to end: status 0" "$status" 0
: >"$A.log"
"$DLOCKFS" -d -o noprotect "$A" >debug.log 2>&1 </dev/null &
pid=$!
check "-d: it stays in the foreground" until_true 20 serves "$A" $pid
check "  serves" works "$A"
kill $pid
ended 20 $pid
is "  ends" "$status" 0
check "  and tells every request" has_line 'MKDIR' debug.log

# Whoever reads what it says is not kept waiting by what stays behind.
output=$(timeout -k 5 30 "$DLOCKFS" -o noprotect,ttl=3000 "$A" 2>&1)
is "in the background: status 0, and no word" "$?:$output" "0:"
check "  the mount is there when it returns" is_mounted "$A"
check "  and serves" works "$A"
pid=$(daemons_of "$A")
is "  it is one process" "$(wc -w <<<"$pid")" 1
is "  with nothing of ours" "$(readlink "/proc/$pid/fd/0" "/proc/$pid/fd/1" "/proc/$pid/fd/2" "/proc/$pid/cwd" | paste -sd' ')" \
	"/dev/null /dev/null /dev/null /"
check "  in a session of its own" [ "$(ps -o sid= -p "$pid" | tr -d ' ')" != "$(ps -o sid= -p $$ | tr -d ' ')" ]
kill -TERM "$pid"
check "  it ends when it is told so" until_true 10 gone "$pid"
check "  and so does the mount" is_unmounted "$A"
limited 30 "$DLOCKFS" -o noprotect A
is "a relative mount point: status 0" "$status" 0
check "  is the one that is meant" works "$A"
kill -TERM "$(pgrep -f -- "dlockfs .* A\$")"
check "  and is unmounted" until_true 10 is_unmounted "$A"
odd="$work/with, comma and space"
serve "$odd"
check "an odd name of a mount point" works "$odd"
stop "$odd"
is "  ends well" "$status" 0
if [ $is_root = yes ]; then
	ln -s A link
	limited 30 "$DLOCKFS" -o noprotect "$work/link"
	is "a symbolic link as mount point: status 0" "$status" 0
	check "  it is followed" works "$A"
	kill -TERM "$(pgrep -f -- "dlockfs .*$work/link\$")"
	check "  and the mount is unmounted" until_true 10 is_unmounted "$A"
else
	skip "a symbolic link as mount point" "fusermount3 takes none"
fi

# ---------------------------------------------------------------- options

mount_field()
{
	awk -v point="$A" '$5 == point { for (i = 7; i <= NF; i++) if ($i == "-") print $(i + 1), $(i + 2) }' /proc/self/mountinfo
}
serve "$A" relatime,nodiratime,_netdev,nofail,x-systemd.automount,x-foo,X-bar=1,defaults,noauto,users,strictatime,lazytime
check "what a line of fstab may say is accepted" works "$A"
is "what is mounted" "$(mount_field)" "fuse.dlockfs dlock"
stop "$A"
serve "$A" fsname=fleet.example,subtype=dlockfs,mode=create,ttl=2000,quorum_timeout=forever,lock_delay=0,on_loss=none,scratch=1,op_timeout=1000
is "a name of its own" "$(mount_field)" "fuse.dlockfs fleet.example"
new_name
probe mkdir "$A/$name" getxattr "$A/$name" user.dlock.ttl_ms rmdir "$A/$name"
read -r _ left _ <<<"$got"
check "the lease is what was asked for ($left ms left)" [ "$left" -gt 0 -a "$left" -le 2000 ]
stop "$A"
servers=$DLOCK_SERVERS
escaped=${servers//,/\\,}
(unset DLOCK_SERVERS; serve "$A" "servers=$escaped"; works "$A"; echo "$got" >got; stop "$A"; exit "$status")
is "servers as an option, with commas" "$?:$(cat got)" "0:ok EEXIST ok"
printf 'servers = %s\nnode_timeout = 2000\nttl = 2500\n' "$servers" >good.conf
(unset DLOCK_SERVERS; serve "$A" "config=good.conf"; works "$A"; echo "$got" >got; stop "$A"; exit "$status")
is "a configuration file, by a relative name" "$?:$(cat got)" "0:ok EEXIST ok"
if [ $is_root = yes ]; then
	"$DLOCKFS" -o noprotect,ro "$A"
	gives "ro" "EROFS EROFS ENOENT 0" mkdir "$A/x" open "$A/x" wronly,creat lstat "$A/x" list "$A"
	unmounted "$A"
	"$DLOCKFS" -o noprotect "$A"
	gives "without allow_other nobody else gets in" "ok ok EACCES EACCES" in "$A" as 65534:65534 mkdir x lstat .
	unmounted "$A"
	"$DLOCKFS" -o noprotect,allow_other "$A"
	gives "with it they do" "ok ok ok ok ok" in "$A" as 65534:65534 mkdir x rmdir x lstat .
	unmounted "$A"
fi

# ---------------------------------------------------------------- mount(8)

# It looks for programs where the system has them, whatever PATH and LD_LIBRARY_PATH say.
in_system_path()
{
	mount -t tmpfs -o mode=755 none /usr/local/sbin || return
	printf '#!/bin/sh\nLD_LIBRARY_PATH="%s" exec "%s" "$@"\n' "${LD_LIBRARY_PATH:-}" "$DLOCKFS" >/usr/local/sbin/dlockfs
	chmod 755 /usr/local/sbin/dlockfs
}
if [ "$own_namespace" = no ]; then
	skip "mount -t fuse.dlockfs" "no mount namespace of its own"
elif ! type -P mount.fuse >/dev/null; then
	skip "mount -t fuse.dlockfs" "mount.fuse was not found (fuse)"
elif ! in_system_path; then
	skip "mount -t fuse.dlockfs" "nothing can be mounted on /usr/local/sbin"
else
	limited 30 mount -t fuse.dlockfs dlock "$A" -o noprotect,ttl=3000,allow_other,_netdev,nofail,x-systemd.idle-timeout=7
	is "mount -t fuse.dlockfs: status 0" "$status" 0
	check "  it serves" works "$A"
	is "  under the name that was given" "$(mount_field)" "fuse.dlockfs dlock"
	unmounted "$A"
	for option in mode=x nonsense; do
		limited 30 mount -t fuse.dlockfs dlock "$A" -o noprotect,$option
		check "mount -o $option: fails" [ "$status" -ne 0 ]
		check "  and says why" has_line "$option" err
		check "  nothing is mounted" is_unmounted "$A"
	done
	DLOCK_SERVERS=$in_vain limited 30 mount -t fuse.dlockfs dlock "$A" -o noprotect
	check "mount without a quorum: fails" [ "$status" -ne 0 ]
	check "  and names the masters" has_line "unix:$work/none/2" err
	check "  nothing is mounted" is_unmounted "$A"
	printf 'dlock %s fuse.dlockfs rw,noprotect,ttl=3000,_netdev,nofail,x-systemd.requires=network-online.target 0 0\n' "$A" >fstab
	limited 30 mount -T "$work/fstab" "$A"
	is "by a line of fstab: status 0" "$status" 0
	check "  it serves" works "$A"
	limited 30 mount -T "$work/fstab" -a -t fuse.dlockfs
	is "mount -a when it is there already" "$status:$(mounts_of_ours | grep -c -x -F "$A")" "0:1"
	limited 20 umount "$A"
	is "umount" "$status" 0
	check "  ends it" until_true 10 no_daemons_of "$A"
	limited 30 mount -T "$work/fstab" -a -t fuse.dlockfs
	is "mount -a" "$status:$(mounts_of_ours | grep -c -x -F "$A")" "0:1"
	check "  it serves" works "$A"
	unmounted "$A"
fi

# ---------------------------------------------------------------- what is underneath

# May a directory in there be made immutable, and does that keep root out?
can_protect()
{
	mkdir -p "$1/try" && chattr +i "$1/try" 2>/dev/null && ! mkdir "$1/try/x" 2>/dev/null && chattr -i "$1/try"
}
is_immutable()
{
	[[ $(lsattr -d "$1" | cut -d' ' -f1) == *i* ]]
}
is_mutable()
{
	! is_immutable "$1"
}
protection()
{
	local point=$1/P
	mkdir "$point"
	limited 30 "$DLOCKFS" -o noprotect,ttl=3000 "$point"
	is "$2, -o noprotect: status 0" "$status" 0
	unmounted "$point"
	check "  it is left as it was" is_mutable "$point"
	"$DLOCKFS" -f -o ttl=3000 "$point" >protect.log 2>&1 </dev/null &
	pid=$!
	until_true 20 serves "$point" $pid
	check "$2: it serves" works "$point"
	check "  says what it does with what is underneath, and how to undo it" has_line "$point.*immutable.*chattr -i.*noprotect" protect.log
	kill $pid
	ended 20 $pid
	is "  ends" "$status" 0
	check "  and leaves it immutable" is_immutable "$point"
	gives "  so that nothing is taken there for a lock" "EPERM EPERM EPERM" mkdir "$point/x" open "$point/x" wronly,creat symlink x "$point/x"
	limited 30 "$DLOCKFS" -o ttl=3000 "$point"
	is "  mounted again: status 0" "$status:$(cat err)" "0:"
	check "  it serves" works "$point"
	pid=$(daemons_of "$point")
	kill -KILL "$pid"
	until_true 10 gone "$pid"
	gives "  dead: nothing is taken" "ENOTCONN ENOTCONN" mkdir "$point/x" open "$point/x" wronly,creat
	umount "$point"
	gives "  nor when that is gone" "EPERM EPERM" mkdir "$point/x" open "$point/x" wronly,creat
	chattr -i "$point"
	rmdir "$point"
}
if [ $is_root = no ]; then
	skip "protection" "only root may make a directory immutable"
elif ! type -P chattr >/dev/null; then
	skip "protection" "chattr was not found"
else
	mkdir tmpfs plain ramfs
	if mount -t tmpfs none "$work/tmpfs" 2>/dev/null && can_protect "$work/tmpfs"; then
		protection "$work/tmpfs" tmpfs
	else
		skip "protection on tmpfs" "this kernel's tmpfs has no attributes"
	fi
	if can_protect "$work/plain"; then
		protection "$work/plain" "the disk"
	else
		skip "protection on the disk" "this file system has no attributes"
	fi
	mount -t ramfs none "$work/ramfs" && mkdir "$work/ramfs/R"
	limited 30 "$DLOCKFS" -o ttl=3000 "$work/ramfs/R"
	is "where there are no attributes: status 0" "$status" 0
	check "  it warns" has_line 'could not be made immutable.*looks like a lock.*noprotect' err
	unmounted "$work/ramfs/R"
	limited 30 "$DLOCKFS" -o ttl=3000,noprotect "$work/ramfs/R"
	is "  -o noprotect silences that" "$status:$(cat err)" "0:"
	unmounted "$work/ramfs/R"
	umount "$work/ramfs"
	umount "$work/tmpfs" 2>/dev/null
fi

# ---------------------------------------------------------------- the kernel's time-outs

# Laid over the setting in this test's namespace only: others use the kernel, too.
if [ "$own_namespace" = no ]; then
	skip "a kernel that ends waiting mounts" "no mount namespace of its own"
else
	for setting in default_request_timeout max_request_timeout; do
		if [ ! -e /proc/sys/fs/fuse/$setting ]; then
			skip "fs.fuse.$setting" "this kernel has no such setting"
			continue
		fi
		echo 3600 >setting
		mount --bind setting /proc/sys/fs/fuse/$setting
		dlockfs_says 1 "fs[.]fuse[.]$setting is 3600.*sysctl fs[.]fuse[.]$setting=0" -o noprotect "$A"
		umount /proc/sys/fs/fuse/$setting
	done
	serve "$A"
	check "with 0 it serves" works "$A"
	stop "$A"
fi

# ---------------------------------------------------------------- as a user

cat >user.sh <<'E'
# Run as a user, in a directory of his, with masters of his own.
cd "${0%/*}"
mkdir m
tell() { printf '%s: %s\n' "$1" "${*:2}"; }
run() { timeout -k 5 30 "$@" >out 2>err </dev/null; status=$?; }
got() { fsprobe "$@" | paste -sd' '; }
ends() { for ((i = 0; i < 500; i++)); do pgrep -u "$(id -u)" -f 'dlockfs .*/m$' >/dev/null || return 0; sleep 0.02; done; return 1; }
run dlockfs -o ttl=3000 "$PWD/m"
tell start "$status" "$(grep -c 'could not be made immutable' err)"
tell calls "$(got mkdir m/x mkdir m/x lstat m/x getxattr m/x user.dlock.holder)" | sed 's,[^ ]*/[0-9]*/dlockfs$,holder,'
tell owner "$(stat -c %u:%g m m/x | paste -sd' ')"
dlock -n x true
tell dlock $?
echo >asked; read -r line <answer
run fusermount3 -u "$PWD/m"
tell fusermount3 "$status"
ends
tell ended $?
dlock -n x true
tell dlock $?
run dlockfs -o noprotect "$PWD/m"
tell again "$status" "$(cat err)" "$(got mkdir m/y)"
pkill -TERM -u "$(id -u)" -f 'dlockfs .*/m$'
ends
tell ended $? "$(got list m)" "$(grep -c " $PWD/m " /proc/self/mountinfo)"
run dlockfs -o noprotect "$PWD/m"
pkill -KILL -u "$(id -u)" -f 'dlockfs .*/m$'
ends
tell dead "$(got mkdir m/z list m)"
run dlockfs -o noprotect "$PWD/m"
tell revived "$status" "$(got mkdir m/z rmdir m/z)" "$(grep -c " $PWD/m " /proc/self/mountinfo)"
run fusermount3 -u "$PWD/m"
ends
tell ended $?
run dlockfs -o noprotect,allow_other "$PWD/m"
tell allow_other "$status" "$(grep -c user_allow_other err)" "$(grep -c " $PWD/m " /proc/self/mountinfo)"
mkdir other
chmod 555 other
run dlockfs -o noprotect "$PWD/other"
tell unwritable "$([ "$status" -ne 0 ] && echo refused)" "$(grep -c " $PWD/other " /proc/self/mountinfo)"
E

# user_says DESCRIPTION NAME NUMBER WANTED: the NUMBERth line of that name.
user_says()
{
	is "as a user: $1" "$(sed -n "s/^$2: //p" user.out | sed -n "$3p")" "$4"
}
as_user()
{
	local home=$1 libraries=$1/lib
	mkdir -p "$home/bin" "$libraries"
	cp -- "$DLOCKFS" "$DLOCK" "$FSPROBE" "$DLOCK_LOCAL" "$home/bin"
	cp -L -- "$lib_build"/libdlock/.libs/libdlock.so.* "$libraries" 2>/dev/null
	cp user.sh "$home"
	mkfifo -m 666 "$home/asked" "$home/answer"
	# Where no udev has done it: in this namespace every user may have a mount.
	mknod -m 666 "$home/fuse" c 10 229 && mount --bind "$home/fuse" /dev/fuse
	chown -R 65534:65534 "$home"
	chmod 755 "$home"
	(
		cd / || exit
		export PATH=$home/bin:$PATH LD_LIBRARY_PATH=$libraries TMPDIR=$home HOME=$home
		unset XDG_RUNTIME_DIR XDG_CONFIG_HOME DLOCK_SERVERS DLOCK_CONFIG
		exec timeout -k 5 120 setpriv --reuid=65534 --regid=65534 --clear-groups dlock-local run -n 3 -- bash "$home/user.sh"
	) >user.out 2>user.err </dev/null &
	user=$!
	timeout 60 cat "$home/asked" >/dev/null
	gives "root does not get into a user's mount" EACCES stat "$home/m/x"
	timeout 10 sh -c 'echo >"$1"' sh "$home/answer"
	ended 120 $user
	is "as a user: it comes to its end" "$status:$(cat user.err)" "0:"
	[ "$status" = 0 ] || sed 's/^/# /' user.out user.err
}
if [ $is_root = no ]; then
	skip "as a user" "all of this was done as one"
elif ! type -P fusermount3 >/dev/null; then
	skip "as a user" "fusermount3 was not found (fuse)"
elif [ "$own_namespace" = no ] || [ -z "$(type -P setpriv)" ] || ! mount -t tmpfs -o mode=755 none /mnt; then
	skip "as a user" "no place that a user can reach, and that goes with this test"
else
	as_user /mnt/user
	user_says "it is mounted, with a warning" start 1 "0 1"
	user_says "it serves" calls 1 "ok EEXIST ok holder"
	user_says "all in there is his" owner 1 "65534:65534 65534:65534"
	user_says "it is held" dlock 1 1
	user_says "fusermount3 -u" fusermount3 1 0
	user_says "ends the daemon" ended 1 0
	user_says "and gives everything back" dlock 2 0
	user_says "mounted again" again 1 "0  ok"
	user_says "SIGTERM unmounts it" ended 2 "0 0 0"
	user_says "kill -9 leaves it dead" dead 1 "ENOTCONN ENOTCONN"
	user_says "it is mounted over that" revived 1 "0 ok ok 1"
	user_says "and ends" ended 3 0
	if grep -q '^user_allow_other' /etc/fuse.conf 2>/dev/null; then
		skip "as a user: allow_other" "it is allowed here"
	else
		user_says "allow_other is refused" allow_other 1 "1 1 0"
	fi
	user_says "a directory that is not his to write to" unwritable 1 "refused 0"
	umount /dev/fuse
	umount -l /mnt
fi

# ---------------------------------------------------------------- systemd

unit=$lib_here/../../systemd/dlockfs@.service.in
check "there is a unit" [ -e "$unit" ]
if ! type -P systemd-analyze >/dev/null; then
	skip "systemd-analyze finds nothing wrong with it" "systemd-analyze was not found"
else
	# It names where dlockfs will be, which need not be there yet.
	sed "s|@bindir@/dlockfs|$DLOCKFS|" "$unit" >dlockfs@.service
	limited 30 systemd-analyze verify --man=no "$work/dlockfs@fleet.service"
	is "systemd-analyze finds nothing wrong with it" "$status:$(grep -F dlockfs err)" "0:"
fi

check "no daemon is left" no_daemons_of "$work/.*"
plan
