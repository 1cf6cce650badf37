#!/bin/bash
#
# What may happen to a mount: its daemon is killed or stopped, the masters are gone or
# silent, a lease is lost, it is told to end or to read its configuration again. Never
# is a call answered as if a lock were held that is not, and never does one hang.

. "$(dirname -- "$0")/mounts.sh"

A=$work/A
B=$work/B
# A call is answered by op_timeout. A machine that has other things to do may take
# longer: this is where it is a failure, and what works is to work there as well. (One
# mount below has the time-outs that everybody has.)
limit_ms=3000
soon=node_timeout=900,op_timeout=1000
is_sanitized=no
! grep -q -a -F __asan_init "$DLOCKFS" || is_sanitized=yes

all_free()
{
	local free
	for free; do
		is_free "$free" || return 1
	done
}

# answers LIMIT_MS ERRNO WORDS...: of a timed call, that it ended with that in time.
slowest=0
answers()
{
	[ "$5" -le "$slowest" ] || slowest=$5
	[ "$4" = "$3" ] && [ "$5" -le "$2" ]
}

# in_time DESCRIPTION ERRNO CALL ARGUMENT...: only the last call counts.
in_time()
{
	local description=$1 wanted=$2
	local -a words
	shift 2
	probe timed "$@"
	read -r -a words <<<"$got"
	check "$description: $wanted (${words[-1]} ms)" answers "$description" "${in_time_ms:-$limit_ms}" "$wanted" "${words[-2]}" "${words[-1]}"
}

# ---------------------------------------------------------------- kill -9 of the daemon

serve "$A" $soon
serve "$B" $soon
new_name
killed=$name
gives "names of A" "ok ok ok ok ok ok" mkdir "$A/$killed.d" open "$A/$killed.d/in" wronly,creat symlink x "$A/$killed.l" \
	open "$A/$killed.f" wronly,creat,excl write text link "$A/$killed.f" "$A/$killed.f2"
keep open "$A/$killed.f" rdwr in "$A" pause write more fsync read 3 close list . open new wronly,creat,excl
told "a program that has one open, and is in there" ok ok
start_ms=$(now_ms)
stop "$A" KILL
is "kill -9 of the daemon" "$status" 137
gives "B does not take what A may still believe to have" "EEXIST EEXIST EEXIST" mkdir "$B/$killed.d" open "$B/$killed.f" wronly,creat,excl \
	symlink y "$B/$killed.l"
gives "in the dead mount nothing succeeds" \
	"ENOTCONN ENOTCONN ENOTCONN ENOTCONN ENOTCONN ENOTCONN ENOTCONN ENOTCONN ENOTCONN ENOTCONN ENOTCONN" \
	mkdir "$A/$killed.new" open "$A/$killed.new" wronly,creat,excl symlink x "$A/$killed.new" lstat "$A/$killed.d" lstat "$A/$killed.none" \
	unlink "$A/$killed.f" rmdir "$A/$killed.d" list "$A" rename "$A/$killed.f" "$A/$killed.g" plain statfs "$A" open "$A" rdonly,directory
go_on
told "nor in what is open there" ok ok ok ENOTCONN ENOTCONN ENOTCONN ENOTCONN ENOTCONN ENOTCONN
let_go
check "the mount is still there, so that nobody works on what is underneath" is_mounted "$A"
check "the lease ends" until_true 20 all_free "$killed.d" "$killed.l" "$killed.f" "$killed.f2"
took=$(($(now_ms) - start_ms))
check "no later than ttl + 1 s ($took ms)" [ $took -le $((ttl + 1000)) ]
gives "then they are B's" "ENOENT ENOENT ok ok ok" lstat "$B/$killed.f" lstat "$B/$killed.f2" mkdir "$B/$killed.d" rmdir "$B/$killed.d" \
	mkdir "$B/$killed.f"
no_keys()
{
	[ "$(keys_left | grep -c -v -F "$killed.f")" = 0 ]
}
check "and nothing is left of A's on the masters" until_true 10 no_keys
serve "$A" $soon
check "a new daemon takes the dead mount away, and says so" has_line 'has died is taken away' "$A.log"
is "there is one mount now" "$(mounts_of_ours | grep -c -x -F -e "$A")" 1
gives "it works" "EEXIST ok ok ok" mkdir "$A/$killed.f" mkdir "$A/$killed.d" lstat "$B/$killed.d" rmdir "$A/$killed.d"
gives "and B's name is B's" "EBUSY ok" rmdir "$A/$killed.f" rmdir "$B/$killed.f"

# The same in flock mode, with somebody who waits on either host.
serve "$work/F" mode=flock,$soon
serve "$work/G" mode=flock,$soon
new_name
gives "a file in each mount" "ok ok" open "$work/F/$name" wronly,creat open "$work/G/$name" wronly,creat
keep open "$work/F/$name" rdwr flock ex pause flock un
told "locked in F" ok ok
"$FSPROBE" open "$work/F/$name" rdwr flock ex flock ex,nb >waits.F 2>&1 </dev/null &
waiter_f=$!
"$FSPROBE" open "$work/G/$name" rdwr flock ex >waits.G 2>&1 </dev/null &
waiter_g=$!
sleep 0.5
check "two wait" eval '! gone $waiter_f && ! gone $waiter_g'
start_ms=$(now_ms)
stop "$work/F" KILL
ended 10 "$waiter_f"
# What the daemon was working on the kernel ends with a word of its own.
is "who waits in the dead mount is told" "$(paste -sd' ' waits.F)" "ok ECONNABORTED ENOTCONN"
ended 20 "$waiter_g"
took=$(($(now_ms) - start_ms))
is "who waits on another host gets it" "$(paste -sd' ' waits.G)" "ok ok"
check "no later than ttl + 1 s ($took ms)" [ $took -le $((ttl + 1000)) ]
go_on
told "who had it is told" ok ok ok ENOTCONN
let_go
gives "and nobody has it now" "ok ok" open "$work/G/$name" rdwr flock ex,nb
keep open "$work/G/$name" rdwr flock ex pause flock un
told "locked in G" ok ok
serve "$work/F" mode=flock,$soon
gives "a new daemon in F finds it locked" "ok EAGAIN" open "$work/F/$name" rdwr,creat flock ex,nb
"$FSPROBE" open "$work/F/$name" rdwr flock ex flock ex,nb >waits.F 2>&1 </dev/null &
waiter_f=$!
sleep 0.5
stop "$work/F" KILL
ended 10 "$waiter_f"
is "a waiter whose daemon is killed is told" "$(paste -sd' ' waits.F)" "ok ECONNABORTED ENOTCONN"
go_on
told "the holder does not care" ok ok ok ok
let_go
start_ms=$(now_ms)
in_time_ms=$((ttl + 1500)) in_time "the dead waiter is in nobody's way" ok open "$work/G/$name" rdwr flock ex
stop "$work/G"
is "the daemon of G ends well" "$status" 0

# ---------------------------------------------------------------- a daemon that is stopped

new_name
keep open "$A/$name" rdwr,creat,excl write mine fsync link "$A/$name" "$A/$name.link" \
	pause seek 0 read 4 write more fsync
told "held in A, by two names" ok ok ok ok
kill -STOP "${daemon[$A]}"
"$FSPROBE" mkdir "$A/$name.x" >stuck 2>&1 </dev/null &
stuck=$!
sleep 0.3
check "a call to a daemon that is stopped waits" eval '! gone $stuck'
kill -KILL $stuck
check "and can be killed" until_true 10 gone $stuck
wait $stuck 2>/dev/null
check "the lease ends" until_true 20 is_free "$name"
gives "B takes it" "ok ok ok" open "$B/$name" wronly,creat,excl write B fsync
kill -CONT "${daemon[$A]}"
go_on
told "who had it open in A is told when it goes on" ok ok ok ok ok ok EIO EIO EIO
let_go
gives "neither name is A's any more" "ENOENT ENOENT" lstat "$A/$name.link" lstat "$B/$name.link"
gives "A shows B's" "ok B EBUSY EEXIST" open "$A/$name" rdonly read 9 unlink "$A/$name" mkdir "$A/$name"
check "there is a line about it" has_line "\"$name\".*lost" "$A.log"
gives "what was killed left nothing" "ENOENT ok ok" lstat "$B/$name.x" mkdir "$A/$name.x" rmdir "$A/$name.x"
gives "B removes its own" "ok ENOENT" unlink "$B/$name" lstat "$A/$name"

# ---------------------------------------------------------------- one of five masters

mixed()
{
	local where=$1 n=$2
	gives "$where: names are made" "ok ok ok ok ok ok" mkdir "$A/$n.d" open "$A/$n.d/in" wronly,creat,excl write in fsync \
		open "$A/$n.f" wronly,creat,excl symlink to "$B/$n.l"
	gives "$where: seen and refused" "EEXIST EEXIST EEXIST EBUSY to" mkdir "$B/$n.d" open "$B/$n.f" rdonly,creat,excl symlink x "$A/$n.l" \
		rmdir "$B/$n.d" readlink "$A/$n.l"
	gives "$where: read, written, moved, linked, listed" "ok in ok ok ok 1" open "$B/$n.d/in" rdonly read 9 truncate "$A/$n.f" 9 \
		rename "$A/$n.f" "$A/$n.g" plain link "$A/$n.g" "$A/$n.h" list "$B/$n.d"
	is "$where: as B lists them" "$(find "$B" -mindepth 1 -name "$n.*" -printf '%f\n' | sort | paste -sd' ')" "$n.d $n.g $n.h $n.l"
	gives "$where: removed" "ok ok ok ok ok" unlink "$A/$n.d/in" rmdir "$A/$n.d" unlink "$A/$n.g" unlink "$A/$n.h" unlink "$B/$n.l"
	gives "$where: gone" "ENOENT ENOENT ENOENT ENOENT" lstat "$B/$n.d" lstat "$B/$n.g" lstat "$A/$n.h" lstat "$A/$n.l"
}

new_name
mixed "five masters" "$name.5"
stop_masters 2
mixed "one stopped" "$name.4"
resume_masters 2
kill_masters 4
mixed "one killed" "$name.3"
stop_masters 1
mixed "one stopped, one killed" "$name.2"
resume_masters 1
restart_masters 4
mixed "all are back" "$name.1"

# ---------------------------------------------------------------- no quorum

stop "$A"
stop "$B"
is "B ends well" "$status" 0
# A lease that outlives this.
serve "$A" ttl=10000,$soon
serve "$B" ttl=10000,$soon
new_name
gives "names of A" "ok ok ok ok ok ok" mkdir "$A/$name.d" open "$A/$name.f" wronly,creat,excl write text open "$A/$name.g" wronly,creat,excl \
	mkdir "$A/$name.e" symlink to "$A/$name.l"
gives "names of B" "ok ok ok ok" mkdir "$B/$name.bd" open "$B/$name.bf" wronly,creat,excl write text symlink to "$B/$name.bl"

# Where nobody says otherwise that is half a second.
serve "$work/D" ttl=10000,node_timeout=500
gives "a name with the usual time-outs" ok open "$work/D/$name.D" wronly,creat,excl

# Between them the leases are renewed.
recover()
{
	resume_masters 1 2 3
	until_true 20 works "$1"
}
works()
{
	probe mkdir "$A/$1" rmdir "$A/$1"
	[ "$got" = "ok ok" ]
}
# Each mount connects again in its own time.
both_work()
{
	works "$1" && probe mkdir "$B/$1" rmdir "$B/$1" && [ "$got" = "ok ok" ]
}

stop_masters 1 2 3
in_time "no quorum: mkdir" ENOLCK mkdir "$A/$name.new"
in_time "no quorum: open O_EXCL" ENOLCK open "$A/$name.new" wronly,creat,excl
in_time "no quorum: symlink" ENOLCK symlink x "$A/$name.new"
in_time "no quorum: mkfifo" ENOLCK mknod "$A/$name.new" fifo
in_time "no quorum: link" ENOLCK link "$A/$name.f" "$A/$name.new"
in_time "no quorum: rename" ENOLCK rename "$A/$name.f" "$A/$name.new" plain
in_time "no quorum: what is one's own is there" ok lstat "$A/$name.f"
in_time "no quorum: and can be read" "text" open "$A/$name.f" rdonly read 9
check "it works again by itself when they answer" recover "$name.x"
gives "what was refused is not there" "ENOENT ENOENT ok ok" lstat "$A/$name.new" lstat "$B/$name.new" mkdir "$B/$name.new" rmdir "$B/$name.new"
is "nothing has become of it" "$(stat -c %h "$A/$name.f")" 1

in_time_ms=1500
stop_masters 1 2 3
in_time "no quorum, usual time-outs: mkdir" ENOLCK mkdir "$work/D/$name.new"
in_time "no quorum, usual time-outs: ls" ENOLCK list "$work/D"
in_time "no quorum, usual time-outs: stat of what is not there" ENOLCK lstat "$work/D/$name.none"
in_time "no quorum, usual time-outs: fsync" ENOLCK open "$work/D/$name.D" wronly write x fsync
unset in_time_ms
resume_masters 1 2 3
removed_in_d()
{
	probe unlink "$work/D/$name.D" lstat "$work/D/$name.D"
	[ "${got#* }" = ENOENT ]
}
check "it works again by itself" until_true 20 removed_in_d
stop "$work/D"
is "D ends well" "$status" 0

stop_masters 1 2 3
in_time "no quorum: stat of what is not there" ENOLCK lstat "$A/$name.none"
in_time "no quorum: stat of a foreign name" ENOLCK lstat "$A/$name.bd"
in_time "no quorum: open of a foreign name" ENOLCK open "$A/$name.bf" rdonly
in_time "no quorum: readlink of a foreign name" ENOLCK readlink "$A/$name.bl"
in_time "no quorum: ls" ENOLCK list "$A"
in_time "no quorum: unlink of a foreign name" ENOLCK unlink "$A/$name.bf"
in_time "no quorum: rename onto a foreign name" ENOLCK rename "$A/$name.f" "$A/$name.bf" plain
check "it works again by itself" recover "$name.x"
gives "and foreign names are there" "ok ok ok text" lstat "$A/$name.bd" lstat "$A/$name.bl" open "$A/$name.bf" rdonly read 9

stop_masters 1 2 3
in_time "no quorum: fsync of what was written" ENOLCK open "$A/$name.f" wronly,append write -more fsync
in_time "no quorum: close of what was written" ENOLCK open "$A/$name.f" wronly,append write -more close
in_time "no quorum: utimens" ENOLCK utimens "$A/$name.f" 1
in_time "no quorum: getfattr" ENOLCK getxattr "$A/$name.f" user.dlock.token
in_time "no quorum: a file in a directory" ENOLCK open "$A/$name.d/in" wronly,creat,excl
in_time "no quorum: statfs" "bytes" statfs "$A"
in_time "no quorum: unlink of one's own is not certain" ENOLCK unlink "$A/$name.g"
in_time "no quorum: nor is rmdir" ENOLCK rmdir "$A/$name.e"
check "it works again by itself" recover "$name.x"
check "what was given back is free then" until_true 15 all_free "$name.g" "$name.e"
gives "and is to be had" "ok ok ok ok" mkdir "$B/$name.g" rmdir "$B/$name.g" mkdir "$A/$name.e" rmdir "$A/$name.e"
check "what was written has arrived" until_true 15 eval '[ "$(cat "$B/$name.f")" = text-more-more ]'

# Whoever comes while others wait is answered as well: those after him wait for the directory.
stop_masters 1 2 3
beside=()
"$FSPROBE" timed mkdir "$A/$name.new1" >beside.mkdir 2>&1 </dev/null &
beside+=($!)
sleep 0.1
"$FSPROBE" timed list "$A" >beside.list 2>&1 </dev/null &
beside+=($!)
"$FSPROBE" timed lstat "$A/$name.none" >beside.absent 2>&1 </dev/null &
beside+=($!)
"$FSPROBE" timed lstat "$A/$name.f" >beside.own 2>&1 </dev/null &
beside+=($!)
"$FSPROBE" timed lstat "$A/$name.bd" >beside.foreign 2>&1 </dev/null &
beside+=($!)
for pid in "${beside[@]}"; do
	ended 20 "$pid"
	is "nobody hangs" "$status" 0
done
for what in mkdir:ENOLCK list:ENOLCK absent:ENOLCK own:ok foreign:ENOLCK; do
	read -r _ said ms < <(paste -sd' ' "beside.${what%:*}")
	is "beside a call that waits: ${what%:*} ($ms ms)" "$said" "${what#*:}"
	check "  in time" [ "$ms" -le $((3 * limit_ms)) ]
done
check "it works again by itself" recover "$name.x"
echo "# the slowest answer without a quorum: $slowest ms"

# Their end instead of their silence: a majority is killed and comes back with what it had on disk.
kill_masters 1 2 3
in_time "masters killed: mkdir" ENOLCK mkdir "$A/$name.new"
in_time "masters killed: stat of what is not there" ENOLCK lstat "$A/$name.none"
in_time "masters killed: ls" ENOLCK list "$A"
in_time "masters killed: one's own" ok lstat "$A/$name.f"
restart_masters 1 2 3
check "it works again by itself when they are back" until_true 20 both_work "$name.x"
gives "what was held is held" "ok EEXIST ok EEXIST" lstat "$A/$name.f" mkdir "$B/$name.f" lstat "$B/$name.bd" mkdir "$A/$name.bd"
gives "and can be given back" "ok ok ok ok ok ok" unlink "$A/$name.f" rmdir "$A/$name.d" unlink "$A/$name.l" rmdir "$B/$name.bd" unlink "$B/$name.bf" \
	unlink "$B/$name.bl"
check "nothing is left on the masters" until_true 10 no_keys_left

# Longer than the lease: the name is lost.
serve "$work/C" ttl=1500,$soon
new_name
keep open "$work/C/$name" rdwr,creat,excl write text fsync pause read 1 write x fsync
told "a name with a short lease" ok ok ok
stop_masters 1 2 3
lost_in_c()
{
	probe lstat "$work/C/$name"
	[ "$got" != ok ]
}
check "without a quorum it is lost" until_true 10 lost_in_c
is "and does not seem to be free" "$got" ENOLCK
go_on
told "who has it open is told" ok ok ok ok EIO EIO EIO
let_go
check "there is a line about it" has_line "\"$name\".*lost" "$work/C.log"
check "it works again by itself" recover "$name.x"
gives "the name is free" "ENOENT ok ok" lstat "$work/C/$name" mkdir "$B/$name" rmdir "$B/$name"
stop "$work/C"
is "C ends well" "$status" 0

# Many at once: who asks the daemon meanwhile, and no master, is not kept waiting.
# DLOCK_TEST_NAMES: more of them.
many=${DLOCK_TEST_NAMES:-1000}
serve "$work/C" node_timeout=5000,op_timeout=10000
new_name
gives "$many names" ok mkdirs "$work/C/$name." "$many"
stop_masters 1 2 3
slowest=0
all_lost()
{
	local -a words
	probe timed statfs "$work/C"
	read -r -a words <<<"$got"
	[ "${words[-1]}" -le "$slowest" ] || slowest=${words[-1]}
	[ "$(grep -c -F "\"$name." "$work/C.log")" -ge "$many" ]
}
check "are lost at once, each with a line" until_true 60 all_lost
check "and nobody waited for that (the slowest answer: $slowest ms)" [ "$slowest" -le $limit_ms ]
check "it works again by itself" recover "$name.x"
gives "and nothing is there" "0 ok ok" list "$work/C" mkdir "$work/C/$name.1" rmdir "$work/C/$name.1"
check "nor on the masters" until_true 15 no_keys_left
stop "$work/C"
is "C ends well" "$status" 0

# ---------------------------------------------------------------- the end of a mount

# filled DIRECTORY: names of all kinds in there, from $name.
filled()
{
	gives "names in ${1##*/}" "ok ok ok ok ok ok ok" mkdirs "$1/$name.d" 20 creats "$1/$name.f" 20 symlink x "$1/$name.l" \
		open "$1/$name.d1/in" wronly,creat,excl write text fsync link "$1/$name.f1" "$1/$name.h"
}

# emptied HOW: A has ended, and all that it had is free.
emptied()
{
	local start_ms took
	start_ms=$(now_ms)
	gives "$1: everything is free for B at once" "0 ok ok ok ok" list "$B" mkdir "$B/$name.d1" rmdir "$B/$name.d1" symlink x "$B/$name.l" unlink "$B/$name.l"
	took=$(($(now_ms) - start_ms))
	check "$1: within a second ($took ms)" [ $took -le 1000 ]
	is "$1: A is no mount any more" "$(mounts_of_ours | grep -c -x -F -e "$A")" 0
	check "$1: no key is left" until_true 3 no_keys_left
}

for signal in TERM INT; do
	new_name
	filled "$A"
	stop "$A" $signal
	is "SIG$signal: the daemon ends well" "$status" 0
	emptied "SIG$signal"
	serve "$A" ttl=10000,$soon
done
unmounts=(umount)
[ $is_root = yes ] || unmounts=()
[ -z "$(type -P fusermount3)" ] || unmounts+=("fusermount3 -u")
for how in "${unmounts[@]}"; do
	new_name
	filled "$A"
	keep open "$A/$name.f2" rdonly pause
	told "a file is open" ok
	limited 20 $how "$A"
	check "$how: refused while it is used" [ "$status" -ne 0 ]
	gives "$how: then it goes on" "ok EEXIST" lstat "$A/$name.l" mkdir "$B/$name.l"
	let_go
	limited 20 $how "$A"
	is "$how: not used any more" "$status" 0
	ended 20 "${daemon[$A]}"
	unset "daemon[$A]"
	is "$how: the daemon ends well" "$status" 0
	emptied "$how"
	serve "$A" ttl=10000,$soon
done

# A program that waits for its answer at the end is told something, and ends.
new_name
gives "held in B" ok mkdir "$B/$name"
keep open "$A/$name.f" rdwr,creat,excl pause write x fsync stat "$A"
told "a file is open" ok
stop "$A"
is "SIGTERM while a file is open: the daemon ends" "$status" 0
gives "its name is free" "ENOENT ok ok" lstat "$B/$name.f" mkdir "$B/$name.f" rmdir "$B/$name.f"
go_on
until_true 10 has_lines keep.out 5
check "who has it open does not believe to have it" eval '! sed -n "3,4p" keep.out | grep -q -x ok'
let_go
serve "$A" ttl=10000,$soon
gives "B's is still held" "ok ok" lstat "$A/$name" rmdir "$B/$name"

# ---------------------------------------------------------------- SIGHUP

stop "$A"
config=$work/dlock.conf
cat >"$config" <<E
ttl = 5000
prefix = one:
node_timeout = 900
E
serve "$A" config="$config"
new_name
gives "by the configuration file" ok mkdir "$A/$name.one"
is "the prefix is that of the file" "$(ask_master 1 exists "one:$name.one")" 1
gives "which is another fleet than B's" "ENOENT ok ok" lstat "$B/$name.one" mkdir "$B/$name.one" rmdir "$B/$name.one"
sed -i 's/one:/dlock:/; s/5000/4000/' "$config"
kill -HUP "${daemon[$A]}"
check "SIGHUP: it says that it has read it" until_true 10 has_line 'was read again' "$A.log"
gives "what is taken now is by the new one" "ok EEXIST" mkdir "$A/$name.two" mkdir "$B/$name.two"
gives "what was taken before is still held by the old one" "ok EEXIST" lstat "$A/$name.one" mkdir "$A/$name.one"
is "on the masters, too" "$(ask_master 1 exists "one:$name.one")" 1
gives "and B's are seen" "ok ok EBUSY ok" mkdir "$B/$name.three" lstat "$A/$name.three" rmdir "$A/$name.three" rmdir "$B/$name.three"
sleep 2
is "old ones are renewed as before" "$(ask_master 1 exists "one:$name.one")" 1
gives "and given back" "ok ENOENT" rmdir "$A/$name.one" lstat "$A/$name.one"
is "on the masters, too" "$(ask_master 1 exists "one:$name.one")" 0
printf 'ttl = 4000\nnonsense = 7\n' >"$config"
kill -HUP "${daemon[$A]}"
check "SIGHUP: a bad file is told, with line and key" until_true 10 has_line "dlock[.]conf:2.*nonsense" "$A.log"
check "and that it stays as it was" until_true 10 has_line 'stays as it was' "$A.log"
gives "which it does" "EEXIST ok EEXIST ok" mkdir "$B/$name.two" mkdir "$A/$name.four" mkdir "$B/$name.four" rmdir "$A/$name.four"
rm "$config"
kill -HUP "${daemon[$A]}"
check "SIGHUP: so is a file that is gone" until_true 10 eval '[ "$(grep -c "stays as it was" "$A.log")" -ge 2 ]'
gives "it goes on all the same" "ok ok" mkdir "$A/$name.five" rmdir "$A/$name.five"
printf 'ttl = 4000\nnode_timeout = 900\n' >"$config"
kill -HUP "${daemon[$A]}"
check "SIGHUP: a good one is taken again" until_true 10 eval '[ "$(grep -c "was read again" "$A.log")" -ge 2 ]'
gives "it goes on" "ok ok ok" mkdir "$A/$name.six" rmdir "$A/$name.six" rmdir "$A/$name.two"
for _ in 1 2 3 4 5 6 7 8 9 10; do
	kill -HUP "${daemon[$A]}"
	probe mkdir "$A/$name.hup" lstat "$B/$name.hup" rmdir "$A/$name.hup" list "$A"
	[ "$got" = "ok ok ok 0" ] || break
done
is "in the midst of calls" "$got" "ok ok ok 0"
stop "$A"
is "the daemon ends well" "$status" 0

# ---------------------------------------------------------------- nothing is left

descriptors()
{
	# shellcheck disable=SC2012 # numbers
	ls "/proc/${daemon[$A]}/fd" | wc -l
}
resident_kib()
{
	sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\).*/\1/p' "/proc/${daemon[$A]}/status"
}
# A sanitizer keeps what was freed for a while, to see whether it is used.
export ASAN_OPTIONS=${ASAN_OPTIONS:-}:quarantine_size_mb=1
# Nothing that is said here is about time.
serve "$A" op_timeout=10000
many=5000
new_name
gives "B's names" ok mkdirs "$B/$name.b" 20
# worn COUNT: what a daemon does all day.
worn()
{
	gives "$1 times mkdir and rmdir" ok cycles "$A/$name.x" "$1"
	gives "files" "ok ok" creats "$A/$name.y" $(($1 / 20)) unlinks "$A/$name.y" $(($1 / 20))
	for ((i = 0; i < $1 / 100; i++)); do
		"$FSPROBE" list "$A" lstat "$A/$name.b7" lstat "$A/$name.none$i" open "$A/$name.z" wronly,creat,excl write text fsync \
			rename "$A/$name.z" "$A/$name.z2" plain link "$A/$name.z2" "$A/$name.z3" unlink "$A/$name.z2" unlink "$A/$name.z3" \
			mkdir "$A/$name.b7" mkdir "$A/$name.d" open "$A/$name.d/in" wronly,creat,excl unlink "$A/$name.d/in" \
			rmdir "$A/$name.d" getxattr "$A/$name.b7" user.dlock.token
	done | sort | uniq -c | tr -s ' \n' ' ' >worn
}
worn $((many / 5))
before=$(descriptors)
before_kib=$(resident_kib)
worn $many
i=$((many / 100))
token=$(grep -o -E '[0-9]{16}' worn | sort -u | wc -l)
is "and all else ended as it should" "$(sed -E 's/ [0-9]+ [0-9]{16}//' worn)" " $i 20 $i EEXIST $i ENOENT $((i * 12)) ok "
is "B's name had one token all the time" "$token" 1
is "no descriptor is left ($before before)" "$(descriptors)" "$before"
grown=$(($(resident_kib) - before_kib))
bound=1024
[ $is_sanitized = no ] || bound=16384
check "memory has grown by $grown KiB, not by more than $bound" [ $grown -le $bound ]
gives "B's names go" ok rmdirs "$B/$name.b" 20
check "no key is left on the masters" until_true 10 no_keys_left
is "and A lists nothing" "$(ls -a "$A" | paste -sd' ')" ". .."
stop_all

# ---------------------------------------------------------------- valgrind

if ! type -P valgrind >/dev/null; then
	skip "under valgrind" "valgrind was not found"
	plan
fi
if [ $is_sanitized = yes ]; then
	skip "under valgrind" "this daemon was built with a sanitizer"
	plan
fi
serve "$B" op_timeout=10000
# shellcheck disable=SC2054 # commas are valgrind's
under=(valgrind -q --leak-check=full --errors-for-leak-kinds=definite,indirect --show-leak-kinds=definite,indirect
	--error-exitcode=99 "--log-file=$work/valgrind.log")
serve_limit=60 serve "$A" op_timeout=10000,ttl=6000
new_name
mixed "under valgrind" "$name"
gives "names" "ok ok ok" mkdirs "$A/$name.d" 10 creats "$A/$name.d1/in" 10 mkdirs "$B/$name.b" 10
gives "refusals" "EEXIST EEXIST EEXIST EBUSY EBUSY ENAMETOOLONG ENOTEMPTY EPERM EFBIG" mkdir "$A/$name.b1" \
	open "$A/$name.b1" wronly,creat,excl symlink x "$A/$name.d1" rmdir "$A/$name.b1" rename "$A/$name.b1" "$A/$name.c" plain \
	mkdir "$A/$(printf '%256s' '' | tr ' ' x)" rmdir "$A/$name.d1" mkdir "$A/$name.d1/x" truncate "$A/$name.d1/in1" 5000
limited 30 touch "$A/$name.t"
limited 30 touch "$A/$name.t"
is "touch" "$status" 1
gives "attributes" "ok ok ENODATA" chmod "$A/$name.t" 600 utimens "$A/$name.t" 5 getxattr "$A/$name.t" user.x
keep open "$A/$name.t" rdwr write x in "$A/$name.d1" pause fsync list .
told "a file is open" ok ok ok
limited 20 "$DLOCK" --break "$name.t" --yes
limited 20 "$DLOCK" --break "$name.d1" --yes
check "a lease is lost" until_true 20 eval '! lstat_ok "$A/$name.t" && ! lstat_ok "$A/$name.d1"'
go_on
until_true 20 has_lines keep.out 6
let_go
kill -HUP "${daemon[$A]}"
gives "after SIGHUP" "ok ok" lstat "$A/$name.b2" mkdir "$A/$name.hup"
stop_masters 1 2 3
gives "without a quorum" "ENOLCK ENOLCK ENOLCK" mkdir "$A/$name.new" lstat "$A/$name.none" list "$A"
resume_masters 1 2 3
check "with one" until_true 20 works "$name.new"
stop "$A"
is "no errors, and nothing is lost" "$status:$(cat valgrind.log)" "0:"
stop_all
plan
