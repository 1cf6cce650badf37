#!/bin/bash
#
# Tests of dlock-local, in TAP. They start real servers in directories of their
# own and leave none behind. DLOCK_LOCAL names another script than the one of
# the source tree.

set -u

here=$(cd -- "${0%/*}" && pwd)
original=${DLOCK_LOCAL:-$here/../../tools/dlock-local}
unset DLOCK_LOCAL_DIR DLOCK_LOCAL_SERVER DLOCK_SERVERS DLOCK_CONFIG

if ! type -P redis-server >/dev/null && ! type -P valkey-server >/dev/null; then
	case ",${DLOCK_TEST_REQUIRE:-}," in
	*,redis,*) echo "Bail out! neither redis-server nor valkey-server was found"; exit 1 ;;
	esac
	echo "1..0 # SKIP neither redis-server nor valkey-server was found"
	exit 0
fi

# Short, because a unix socket's path has 107 bytes.
work=$(mktemp -d "${DLOCK_TEST_RUN:-/tmp}/dl-XXXXXX") || exit 1
bin=$work/bin
quorum=$work/q

# A dlock beside the script that writes down how it was called, so that these
# tests need no other part of the project.
mkdir "$bin"
cp -- "$original" "$bin/dlock-local"
cat >"$bin/dlock" <<'END'
#!/bin/sh
printf '%s %s\n' "$DLOCK_SERVERS" "$*" >>"$DLOCK_RECORD"
END
chmod +x "$bin/dlock" "$bin/dlock-local"
export DLOCK_RECORD=$work/record
local_quorum=$bin/dlock-local

clean_up()
{
	"$local_quorum" down --dir "$quorum" >/dev/null 2>&1
	rm -rf -- "$work"
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP

tests=0
failures=0

# check DESCRIPTION COMMAND...: one test, that COMMAND succeeds.
check()
{
	local description=$1
	shift
	tests=$((tests + 1))
	if "$@"; then
		echo "ok $tests - $description"
	else
		echo "not ok $tests - $description"
		echo "# failed: $*"
		[ ! -s "$work/out" ] || sed 's/^/# out: /' "$work/out"
		[ ! -s "$work/err" ] || sed 's/^/# err: /' "$work/err"
		failures=$((failures + 1))
	fi
}

# try COMMAND...: runs it; afterwards $rc, $work/out and $work/err tell.
try()
{
	"$@" >"$work/out" 2>"$work/err" </dev/null
	rc=$?
}

says() { grep -q -- "$1" "$work/out"; }
complains() { grep -q -- "$1" "$work/err"; }
is() { [ "$rc" -eq "$1" ]; }
up_count() { "$local_quorum" status --dir "$quorum" | grep -c ': up, '; }
# The processes that were started with a configuration file below $1.
processes_below() { pgrep -f -- "-server $1.*/server.conf" | wc -l; }
none_below() { [ "$(processes_below "$1")" -eq 0 ]; }
count_below() { [ "$(processes_below "$1")" -eq "$2" ]; }
# A process that has ended may stay as a zombie until its parent looks: those
# have no command line.
ended() { ! grep -q . "/proc/$1/cmdline" 2>/dev/null; }
lacks() { [ ! -e "$1" ] && [ ! -L "$1" ]; }
pid_of() { cat -- "$quorum/$1/pid"; }
mode_is() { [ "$(stat -c %a -- "$1")" = "$2" ]; }
ping() { [ "$("$client" -s "$1" ping)" = PONG ]; }
setting_is() { [ "$("$client" -s "$quorum/1.sock" config get "$1" | tail -n 1)" = "$2" ]; }

# eventually COMMAND...: within 10 s.
eventually()
{
	local deadline=$((SECONDS + 10))
	until "$@"; do
		[ "$SECONDS" -lt "$deadline" ] || return 1
		sleep 0.05
	done
}

client=$(type -P redis-cli) || client=$(type -P valkey-cli)

# ---------------------------------------------------------------- usage

usage_is_refused()
{
	local message=$1
	shift
	try "$local_quorum" "$@"
	check "'$*' is refused, naming what is wrong" complains "$message"
	check "  with status 64" is 64
}

usage_is_refused "which action"
usage_is_refused "unknown action 'start'" start
usage_is_refused "unknown option '--wrong'" up --wrong
usage_is_refused "servers '0': accepted is 1 to 31" up -n 0
usage_is_refused "servers '32'" up -n 32
usage_is_refused "servers '3x'" up -n 3x
usage_is_refused "servers ''" up --count=
usage_is_refused "servers '-1'" up -n-1
usage_is_refused 'needs a value' up -n
usage_is_refused '--tcp goes with run, not with up' up --tcp
usage_is_refused '-n goes with up and run, not with down' down -n 3
usage_is_refused '-f goes with logs, not with status' status -f
usage_is_refused '--dir goes with' run --dir "$quorum" true
usage_is_refused "unexpected argument 'more'" up more
usage_is_refused 'which command' run
usage_is_refused 'which command' run -n 3 --

try "$local_quorum" --help
check "--help succeeds" is 0
check "  and tells the usage" says '^Usage: dlock-local up'
try "$local_quorum" --version
check "--version succeeds" is 0
check "  and tells a version" says '[0-9]\.[0-9]'

# ---------------------------------------------------------------- up

try "$local_quorum" status --dir "$quorum"
check "status before up is 3" is 3
try "$local_quorum" logs --dir "$quorum"
check "logs before up is 3" is 3
try "$local_quorum" down --dir "$quorum"
check "down before up succeeds" is 0

try "$local_quorum" up --dir "$quorum"
check "up succeeds" is 0
list=unix:$quorum/1.sock,unix:$quorum/2.sock,unix:$quorum/3.sock,unix:$quorum/4.sock,unix:$quorum/5.sock
check "  and prints what to set" says "export DLOCK_SERVERS=$list\$"
check "  and says what it is for" says 'for one machine'
check "five servers answer" [ "$(up_count)" -eq 5 ]
check "the file of the servers is one line" [ "$(cat "$quorum/servers")" = "$list" ]
check "  that only its owner reads" mode_is "$quorum/servers" 600
check "  as only he enters the directory" mode_is "$quorum" 700
check "the masters were declared new, once" [ "$(cat "$DLOCK_RECORD")" = "$list --init --yes" ]
check "appendonly is on" setting_is appendonly yes
check "appendfsync is always" setting_is appendfsync always
check "no-appendfsync-on-rewrite is no" setting_is no-appendfsync-on-rewrite no
check "nothing is evicted" setting_is maxmemory-policy noeviction
check "no port is open" setting_is port 0
try "$local_quorum" status --dir "$quorum"
check "status is 0" is 0

before=$(pid_of 1)
try "$local_quorum" up --dir "$quorum"
check "up again succeeds" is 0
check "  and says that it is up" says '^Already up: 5 servers'
check "  and started nothing anew" [ "$(pid_of 1)" = "$before" ]
try "$local_quorum" up -n 3 --dir "$quorum"
check "up with another number is refused" is 1
check "  and names both numbers" complains 'has 5 servers, not 3'
DLOCK_LOCAL_DIR=$quorum try "$local_quorum" status
check "DLOCK_LOCAL_DIR stands for --dir" says '^5 of 5'
try "$local_quorum" logs --dir "$quorum"
check "logs shows every log" [ "$(grep -c '^==> ' "$work/out")" -eq 5 ]

# ---------------------------------------------------------------- crashes

"$client" -s "$quorum/2.sock" set kept yes >/dev/null
kill -KILL "$(pid_of 2)"
eventually ended "$(pid_of 2)"
try "$local_quorum" status --dir "$quorum"
check "status with one server killed is 1" is 1
check "  and says which" says '^server 2: down'
: >"$DLOCK_RECORD"
try "$local_quorum" up --dir "$quorum"
check "up starts the missing one" says 'started 1 missing of 5'
check "  with what it had acknowledged" [ "$("$client" -s "$quorum/2.sock" get kept)" = yes ]
check "  and does not declare it new" [ ! -s "$DLOCK_RECORD" ]

kill -STOP "$(pid_of 3)"
try "$local_quorum" status --dir "$quorum"
check "status with one server stopped is 1" is 1
check "  and says which" says '^server 3: does not answer'
kill -CONT "$(pid_of 3)"

# After a crash the number in the file belongs to somebody else.
sleep 300 &
bystander=$!
kill -KILL "$(pid_of 4)"
eventually ended "$(pid_of 4)"
echo "$bystander" >"$quorum/4/pid"
try "$local_quorum" status --dir "$quorum"
check "another's process is not taken for a server" says '^server 4: down'
try "$local_quorum" up --dir "$quorum"
check "  and up starts the server again" [ "$(up_count)" -eq 5 ]
kill -KILL "$(pid_of 4)"
eventually ended "$(pid_of 4)"
echo "$bystander" >"$quorum/4/pid"

kill -STOP "$(pid_of 5)"
stopped=$(pid_of 5)
started_s=$SECONDS
try "$local_quorum" down --dir "$quorum"
check "down succeeds with one server stopped" is 0
check "  within 8 s" [ $((SECONDS - started_s)) -le 8 ]
check "  and ends that one, too" ended "$stopped"
check "  and no process that is not ours" kill -0 "$bystander"
kill "$bystander"
wait "$bystander" 2>/dev/null
check "  and leaves no server" none_below "$quorum"
check "  and no directory" lacks "$quorum"

"$local_quorum" up -n 3 --dir "$quorum" >/dev/null
pkill -KILL -f -- "-server $quorum/./server.conf"
eventually none_below "$quorum"
try "$local_quorum" status --dir "$quorum"
check "status with all servers dead is 3" is 3
try "$local_quorum" up --dir "$quorum"
check "up starts all three again" [ "$(up_count)" -eq 3 ]
# Nothing that they say or do to each other may make one fail.
at_once=()
for what in up down up down up; do
	"$local_quorum" "$what" --dir "$quorum" >>"$work/at_once" 2>&1 &
	at_once+=($!)
done
failed=0
for one in "${at_once[@]}"; do
	wait "$one" || failed=$((failed + 1))
done
check "ups and downs at one time all succeed" [ "$failed" -eq 0 ]
try "$local_quorum" down --dir "$quorum"
check "  and a down after them" is 0
check "  and leave no server" none_below "$quorum"
check "  and no directory" lacks "$quorum"

# ---------------------------------------------------------------- refusals

mkdir "$work/mine"
echo precious >"$work/mine/file"
chmod 755 "$work/mine"
try "$local_quorum" up --dir "$work/mine"
check "a directory with others' files is refused" complains 'holds files that dlock-local did not make'
check "  and its mode is left alone" mode_is "$work/mine" 755
try "$local_quorum" down --dir "$work/mine"
check "  by down, too" [ "$rc" -eq 1 ]
check "  which removes nothing" [ -f "$work/mine/file" ]
ln -s mine "$work/link"
try "$local_quorum" up --dir "$work/link"
check "a symbolic link is refused" complains 'is a symbolic link'
long=$work/$(printf 'x%.0s' $(seq 120))
try "$local_quorum" up --dir "$long"
check "a path too long for a socket is refused with the limit" complains '107'
check "  before anything is made" lacks "$long"
try "$local_quorum" up --dir "$work/a b"
check "a space in the path is refused" complains 'accepted are names without spaces'
try "$local_quorum" up --dir "$work/no/such"
check "a parent that is missing is told" complains 'No such file or directory'

try "$local_quorum" up --server nosuch-server --dir "$quorum"
check "no server program is status 69" is 69
check "  and names the packages" complains 'redis-server and valkey-server'
DLOCK_LOCAL_SERVER=nosuch-server try "$local_quorum" run true
check "DLOCK_LOCAL_SERVER stands for --server" is 69
try "$local_quorum" up --server /bin/false --dir "$quorum"
check "a server that ends at once is status 1" is 1
check "  and the directory is gone" lacks "$quorum"

# The first server is up, the second not yet, however fast the machine is.
real_server=${DLOCK_LOCAL_SERVER:-$(type -P redis-server || type -P valkey-server)}
cat >"$work/slow-server" <<END
#!/bin/sh
case \$1 in
*/1/server.conf) exec $real_server "\$@" ;;
esac
sleep 2
END
chmod +x "$work/slow-server"
"$local_quorum" up --server "$work/slow-server" --dir "$quorum" >/dev/null 2>&1 &
interrupted=$!
check "the first of several servers answers" eventually ping "$quorum/1.sock"
kill -TERM "$interrupted"
wait "$interrupted"
check "up that was interrupted leaves no server" eventually none_below "$quorum"
check "  and no directory" lacks "$quorum"
try "$local_quorum" up -n 1 --dir "$quorum"
check "  and up works then" is 0
"$local_quorum" down --dir "$quorum" >/dev/null

mkdir "$work/runtime"
if [ "$(id -u)" -ne 0 ]; then
	export XDG_RUNTIME_DIR=$work/runtime
	try "$local_quorum" up -n 1
	check "the default is below XDG_RUNTIME_DIR" [ -S "$work/runtime/dlock/1.sock" ]
	check "  which libdlock finds by itself" says 'finds them by itself'
	"$local_quorum" down >/dev/null
	unset XDG_RUNTIME_DIR
	try "$local_quorum" up
	check "without XDG_RUNTIME_DIR it says what to set" complains 'XDG_RUNTIME_DIR is not set'
fi

# A descriptor that a server kept would keep the reader of this pipe waiting.
seconds=$SECONDS
{ "$local_quorum" up -n 1 --dir "$quorum" >/dev/null; } 7>&1 | cat
check "the servers keep no descriptor of the caller" [ $((SECONDS - seconds)) -lt 10 ]
"$local_quorum" down --dir "$quorum" >/dev/null

# ---------------------------------------------------------------- run

export XDG_RUNTIME_DIR=$work/runtime
no_run_left() { [ -z "$(ls -A "$work/runtime")" ] && none_below "$work/runtime"; }

try "$local_quorum" run true
check "run passes on success" is 0
try "$local_quorum" run sh -c 'exit 7'
check "run passes on a status" is 7
# shellcheck disable=SC2016 # for the shell that is run
try "$local_quorum" run sh -c 'kill -KILL $$'
check "run passes on a signal as 128+n" is 137
try "$local_quorum" run nosuch-command
check "run of no command is 127" is 127
check "  and says so" complains "'nosuch-command' was not found"
try "$local_quorum" run "$work/mine/file"
check "run of what is not executable is 126" is 126
check "run leaves nothing behind" no_run_left

: >"$DLOCK_RECORD"
# shellcheck disable=SC2016
try "$local_quorum" run -n 3 -- sh -c 'echo "$DLOCK_SERVERS"; umask'
servers=$(head -n 1 "$work/out")
check "run sets DLOCK_SERVERS to as many as asked for" [ "$(tr ',' '\n' <<<"$servers" | grep -c '^unix:/')" -eq 3 ]
check "  and has declared them new" [ "$(cat "$DLOCK_RECORD")" = "$servers --init --yes" ]
check "  and leaves the umask alone" [ "$(tail -n 1 "$work/out")" = "$(umask)" ]
echo input | "$local_quorum" run -n 1 cat >"$work/out"
check "the command reads our standard input" says '^input$'
# shellcheck disable=SC2016
try "$local_quorum" run -n 1 sh -c 'redis-cli -s "${DLOCK_SERVERS#unix:}" ping || valkey-cli -s "${DLOCK_SERVERS#unix:}" ping'
check "the server answers" says PONG
# shellcheck disable=SC2016
try "$local_quorum" run --tcp -n 9 -- sh -c 'echo "$DLOCK_SERVERS"'
check "--tcp gives nine different ports of the loopback interface" \
	[ "$(tr ',' '\n' <"$work/out" | grep '^127\.0\.0\.1:[0-9]*$' | sort -u | wc -l)" -eq 9 ]
check "  and leaves nothing behind" no_run_left

# All ports but a few are said to be taken: each that is asked for is tried.
sed 's/20000 + SRANDOM % 12000/20000 + SRANDOM % 4/' "$bin/dlock-local" >"$bin/few-ports"
chmod +x "$bin/few-ports"
# shellcheck disable=SC2016
try "$bin/few-ports" run --tcp -n 3 -- sh -c 'echo "$DLOCK_SERVERS"'
check "a port that is taken is replaced by another" is 0
check "  so that all differ" [ "$(tr ',' '\n' <"$work/out" | sort -u | wc -l)" -eq 3 ]

# start_run COMMAND: in the background; sets $runner when COMMAND has begun.
start_run()
{
	rm -f "$work/begun" "$work/signal"
	env --default-signal=INT "$local_quorum" run -n 3 -- bash -c "$1" \
		>"$work/out" 2>"$work/err" </dev/null &
	runner=$!
	eventually [ -e "$work/begun" ]
}

for signal in TERM INT HUP; do
	start_run "trap 'touch $work/signal; exit 9' $signal; touch $work/begun; while :; do sleep 0.05; done"
	kill "-$signal" "$runner"
	wait "$runner"
	rc=$?
	check "SIG$signal reaches the command" [ -e "$work/signal" ]
	check "  whose status is passed on" is 9
	check "  and nothing is left behind" no_run_left
done

start_run "touch $work/begun; exec sleep 300"
kill -TERM "$runner"
wait "$runner"
rc=$?
check "a command that SIGTERM ends gives 143" is 143

start_run "touch $work/begun; echo \$\$ >$work/command; exec sleep 300"
check "three servers run for the command" count_below "$work/runtime" 3
kill -KILL "$runner"
wait "$runner" 2>/dev/null
check "after kill -9 of dlock-local the servers end" eventually none_below "$work/runtime"
check "  the directory goes" eventually no_run_left
check "  and the command ends" eventually ended "$(cat "$work/command")"

# ---------------------------------------------------------------- interruptions

# What is started here carries this mark, so that every process of it is seen.
marked=(env '--default-signal=INT,TERM,HUP' "DLOCK_LOCAL_TEST=$work")
no_process_left() { ! grep -lsaF "DLOCK_LOCAL_TEST=$work" /proc/[0-9]*/environ >"$work/left"; }

# Sets `start_us`, what one start takes here and now: the delays spread over it.
measure_start()
{
	local begin=${EPOCHREALTIME/[.,]/}
	"$local_quorum" run true >/dev/null 2>&1
	start_us=$((${EPOCHREALTIME/[.,]/} - begin))
}

# seconds MICROSECONDS: sets $seconds, as programs take them.
seconds() { printf -v seconds '%d.%06d' $(($1 / 1000000)) $(($1 % 1000000)); }

# interrupt WHOM SIGNAL DELAY_US COMMAND...: `timeout` sends the signal to its process
# group, with WHOM --foreground to the command only. Sets $rc, to that of the command.
# What hangs is killed, has 137, and is one failure.
interrupt()
{
	local whom=$1 signal=$2
	seconds "$3"
	shift 3
	# shellcheck disable=SC2086 # it may be nothing
	"${marked[@]}" timeout $whom --preserve-status -k 10 -s "$signal" "$seconds" "$@" \
		>"$work/out" 2>"$work/err" </dev/null
	rc=$?
}

: >"$work/left"
# wrong DELAY_US WHAT: tells it below the test that fails for it.
wrong()
{
	wrongs=$((wrongs + 1))
	echo "# after $1 us: $2, status $rc, left: $(tr '\n' ' ' <"$work/left")"
}

# interrupted_runs WHOM SIGNAL STATUS: at moments spread over the whole start and a
# little beyond, each time others.
times=0
interrupted_runs()
{
	local i delay_us rounds=6
	wrongs=0
	for ((i = 0; i < rounds; i++)); do
		delay_us=$((start_us * 5 * (6 * i + 1 + times % 6) / (4 * 6 * rounds)))
		interrupt "$1" "$2" "$delay_us" "$local_quorum" run sleep 300
		is "$3" || wrong "$delay_us" "$2 was lost"
		eventually no_process_left || wrong "$delay_us" "$2 left a process"
		no_run_left || wrong "$delay_us" "$2 left a server or a directory"
	done
	times=$((times + 1))
	check "run that SIG$2 interrupts at its start${1:+, it alone,} ends with $3 and leaves nothing" [ "$wrongs" -eq 0 ]
}

# signalled_in PLACE COMMAND...: with a copy that sends itself SIGTERM when it comes to
# the function PLACE, or before the line PLACE=$!, where it has just forked.
signalled_in()
{
	local place=$1
	shift
	sed "/^$place()\$/{n;s/\$/ kill -TERM \$\$;/;}; s/^\t$place=\$!\$/\tkill -TERM \$\$\n&/" \
		"$bin/dlock-local" >"$bin/signalled"
	! cmp -s "$bin/dlock-local" "$bin/signalled" || wrong 0 "there is no $place"
	try "${marked[@]}" timeout -k 10 60 bash "$bin/signalled" "$@"
	is 143 || wrong 0 "it was lost in $place"
	eventually no_process_left || wrong 0 "$place left a process"
}

wrongs=0
for place in find_program choose_private_dir start_watchdog watchdog new_addresses start_all start_server \
	write_conf 'children.*' wait_ready answers is_reply_of init_masters exec_dlock join_addresses \
	write_servers run_command start_runner open_pipe runner; do
	signalled_in "$place" run sleep 300
	no_run_left || wrong 0 "$place left a server or a directory"
done
check "run that is interrupted in any of its parts ends with 143 and leaves nothing" [ "$wrongs" -eq 0 ]

wrongs=0
for place in find_program choose_dir lock_dir make_dir check_dir_ours read_servers start_new stop_servers \
	remove_files new_addresses start_server write_conf 'children.*' wait_ready answers init_masters exec_dlock; do
	signalled_in "$place" up --dir "$quorum"
	none_below "$quorum" || wrong 0 "$place left a server"
	lacks "$quorum" || wrong 0 "$place left a directory"
	rm -rf -- "$quorum"
done
check "up that is interrupted in any of its parts ends with 143 and leaves nothing" [ "$wrongs" -eq 0 ]

measure_start
for whom in '' --foreground; do
	interrupted_runs "$whom" TERM 143
	interrupted_runs "$whom" INT 130
	interrupted_runs "$whom" HUP 129
done

# While it takes down, and just before: then the command may have ended by itself.
wrongs=0
for ((i = 0; i < 8; i++)); do
	delay_us=$((start_us * (6 + i) / 12))
	interrupt '' TERM "$delay_us" "$local_quorum" run true
	is 0 || is 143 || wrong "$delay_us" "it failed"
	eventually no_process_left || wrong "$delay_us" "it left a process"
	no_run_left || wrong "$delay_us" "it left a server or a directory"
done
check "run that is interrupted at its end leaves nothing" [ "$wrongs" -eq 0 ]

# The command ends in the very moment in which we are told to pass the signal on: bash
# may forget that it had such a child, in about every second round.
signal_all()
{
	local expected=$1
	wrongs=0
	for ((i = 0; i < 8; i++)); do
		rm -f -- "$work/begun"
		"${marked[@]}" timeout -k 10 60 "$local_quorum" run -n 1 bash -c "$2" >"$work/out" 2>"$work/err" </dev/null &
		runner=$!
		eventually [ -e "$work/begun" ] || wrong 0 "the command did not begin"
		kill -TERM -- "-$runner"
		wait "$runner" 2>/dev/null
		rc=$?
		is "$expected" || wrong 0 "its end or its status was lost"
		eventually no_process_left || wrong 0 "it left a process"
	done
	[ "$wrongs" -eq 0 ]
}
check "a signal to all processes at once ends run with the command" \
	signal_all 143 "touch $work/begun; exec sleep 300"
check "  whose status is passed on" \
	signal_all 9 "trap 'exit 9' TERM; touch $work/begun; while :; do sleep 0.02; done"

for ((i = 1; i <= 5; i++)); do
	"${marked[@]}" "$local_quorum" run sleep 300 >/dev/null 2>&1 &
	runner=$!
	seconds $((start_us * i / 5))
	sleep "$seconds"
	kill -KILL "$runner"
	wait "$runner" 2>/dev/null
done
check "run that was killed at its start leaves nothing behind" eventually no_run_left
check "  and no process" eventually no_process_left

# Either all is up or nothing, and 0 means up.
interrupted_ups()
{
	local i delay_us rounds=8
	wrongs=0
	for ((i = 0; i < rounds; i++)); do
		delay_us=$((start_us * (i + 1) * 5 / 4 / rounds))
		interrupt "$1" "$2" "$delay_us" "$local_quorum" up --dir "$quorum"
		if is 0; then
			[ "$(up_count)" -eq 5 ] || wrong "$delay_us" "it is not up"
			"$local_quorum" down --dir "$quorum" >/dev/null
		else
			is "$3" || wrong "$delay_us" "$2 was lost"
		fi
		none_below "$quorum" || wrong "$delay_us" "$2 left a server"
		lacks "$quorum" || wrong "$delay_us" "$2 left a directory"
		eventually no_process_left || wrong "$delay_us" "$2 left a process"
		rm -rf -- "$quorum"
	done
	check "up that SIG$2 interrupts${1:+, it alone,} ends with $3 and leaves nothing" [ "$wrongs" -eq 0 ]
}
interrupted_ups '' TERM 143
interrupted_ups --foreground INT 130

all_or_nothing()
{
	if lacks "$quorum"; then
		none_below "$quorum"
	else
		[ "$(up_count)" -eq 5 ]
	fi
}

# Not stopped before it has begun, and not before it has ended.
interrupted_downs()
{
	local i delay_us
	wrongs=0
	for ((i = 0; i < 5; i++)); do
		"$local_quorum" up --dir "$quorum" >/dev/null
		delay_us=$((10000 + start_us * i / 12))
		interrupt "$1" "$2" "$delay_us" "$local_quorum" down --dir "$quorum"
		is 0 || is "$3" || wrong "$delay_us" "it failed"
		all_or_nothing || wrong "$delay_us" "it was broken off"
		"$local_quorum" down --dir "$quorum" >/dev/null
	done
	check "down that SIG$2 interrupts${1:+, it alone,} does all or nothing" [ "$wrongs" -eq 0 ]
}
interrupted_downs '' TERM 143
interrupted_downs --foreground INT 130

# One that was stopped does not end before it is killed: a down in a hurry does not wait.
"$local_quorum" up -n 1 --dir "$quorum" >/dev/null
kill -STOP "$(pid_of 1)"
"$local_quorum" down --dir "$quorum" >/dev/null &
runner=$!
check "down has begun" eventually lacks "$quorum/servers"
kill -TERM "$runner"
wait "$runner"
rc=$?
check "  and, interrupted, ends with 143" is 143
check "  but leaves no server" none_below "$quorum"
check "  and no directory" lacks "$quorum"

echo "1..$tests"
[ "$failures" -eq 0 ]
