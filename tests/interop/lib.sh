# lib.sh - what the interop tests share: TAP, and holders in the background.
# shellcheck shell=bash

tests=0
failures=0
holder=

# skip_all REASON: whether that is allowed, run-test decides (DLOCK_TEST_REQUIRE).
skip_all()
{
	echo "1..0 # SKIP $1"
	exit 0
}

need_dlock()
{
	type -P dlock >/dev/null || skip_all "dlock is not in the PATH"
	type -P redis-server >/dev/null || type -P valkey-server >/dev/null ||
		skip_all "no redis server: neither redis-server nor valkey-server was found"
}

# A directory for the test, until its end.
begin()
{
	work=$(mktemp -d "${TMPDIR:-/tmp}/dl-interop.XXXXXX") || exit 1
	trap clean_up EXIT
	trap 'exit 1' INT TERM HUP
}

clean_up()
{
	local pid
	for pid in $(jobs -p); do
		kill -KILL -- "-$pid" 2>/dev/null || kill -KILL "$pid" 2>/dev/null
	done
	rm -rf -- "$work"
}

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
		[ ! -s "$work/output" ] || sed 's/^/# /' "$work/output"
		failures=$((failures + 1))
	fi
}

finish()
{
	echo "1..$tests"
	[ "$failures" -eq 0 ]
	exit
}

# status_is STATUS COMMAND...
status_is()
{
	local wanted=$1 got
	shift
	"$@" >"$work/output" 2>&1 </dev/null
	got=$?
	[ "$got" -eq "$wanted" ] || { echo "status $got" >>"$work/output"; false; }
}

# eventually COMMAND...: within 10 s.
eventually()
{
	local deadline=$((SECONDS + 10))
	until "$@"; do
		[ "$SECONDS" -lt "$deadline" ] || return 1
		sleep 0.1
	done
}

# start_holder COMMAND...: in the background, in a process group of its own, until
# it has printed "held". It ends when its standard input does.
start_holder()
{
	rm -f "$work/pipe"
	mkfifo "$work/pipe"
	: >"$work/holder"
	set -m
	"$@" <"$work/pipe" >"$work/holder" 2>&1 &
	holder=$!
	set +m
	exec 8>"$work/pipe"
	eventually grep -q '^held' "$work/holder" ||
		{ echo "Bail out! the holder '$*' did not start: $(cat "$work/holder")"; exit 1; }
}

end_holder()
{
	exec 8>&-
	wait "$holder"
}

# With all of its processes, so that nobody gives anything back.
kill_holder()
{
	kill -KILL -- "-$holder"
	exec 8>&-
	wait "$holder" 2>/dev/null
}

# count_together FUNCTION...: all at one time; sets $failed.
count_together()
{
	local function pids=()
	failed=0
	for function in "$@"; do
		"$function" >>"$work/output" 2>&1 </dev/null &
		pids+=($!)
	done
	for function in "${pids[@]}"; do
		wait "$function" || failed=$((failed + 1))
	done
}
