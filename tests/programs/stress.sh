#!/bin/bash
# Locks of files in flock mode under load: other people's programs that were made to
# find fault with them, and the cases of ranges.c, against a local file system.
# shellcheck disable=SC2034 # mode is read by lib.sh

mode=flock
# shellcheck source=tests/programs/lib.sh
. "$(dirname -- "$0")/lib.sh"

seconds=${DLOCK_TEST_SECONDS:-3}

# ---------------------------------------------------------------- ranges.c

RANGES=${RANGES:-$lib_build/tests/programs/ranges}

# Its cases are told as cases of this test. A folder in memory is what they are compared
# to, if there is one.
ranges()
{
	local title=$1 line
	shift
	lib_wanted "$title" || return 0
	if [ ! -x "$RANGES" ]; then
		lib_tell ok "$title # SKIP ranges was not built"
		return
	fi
	timeout -k 5 200 "$RANGES" "$@" >ranges.out 2>&1 </dev/null || echo "not ok - it ended with status $?" >>ranges.out
	while IFS= read -r line; do
		case $line in
		"ok "* | "not ok "*) lib_tell "${line%%ok *}ok" "$title: ${line#*- }" ;;
		1..*) ;;
		"# "*) printf '%s\n' "$line" ;;
		*) printf '# %s\n' "$line" ;;
		esac
	done <ranges.out
}
reference=$work
if [ -w /dev/shm ]; then
	reference=$(mktemp -d /dev/shm/dlp-XXXXXX) || exit 1
	lib_folders+=("$reference")
fi
seed=${DLOCK_TEST_SEED:-$((RANDOM * 32768 + RANDOM))}
ranges "as in a local file system" -s "$seed" -n "${DLOCK_TEST_STEPS:-500}" "$reference" "$A"
[ -n "$local_reference" ] || ranges "two hosts" -r "$A" "$B"

# ---------------------------------------------------------------- stress-ng

# It makes a folder and its files in there by itself, takes and gives locks of them with
# several processes, and looks with --verify whether each was as it should be.
stress_ng()
{
	step "flock, lockf, lockofd and locka in A" stress_in "$A"
	! grep -q -i -E 'fail|error|unsuccessful' out || bad "stress-ng complains"
	step "and in both" stress_both
	! grep -q -i -E 'fail|error|unsuccessful' out || bad "stress-ng complains"
}
stress_in()
{
	stress-ng --temp-path "$1" --flock 2 --lockf 2 --lockofd 2 --locka 2 --verify --timeout "$seconds" --metrics-brief
}
stress_both()
{
	local first status=0
	stress_in "$A" &
	first=$!
	stress_in "$B" || status=$?
	wait $first && return $status
}
program "stress-ng: flock, lockf, lockofd, locka" stress_ng stress-ng

# ---------------------------------------------------------------- ping_pong

# Of N processes each has one of N + 1 bytes locked at any time, and goes around by
# taking the next one before it gives up the last. On one mount they go on beside each
# other. A mount with a byte locked has the whole file, for the other one; so those on
# the other mount wait until these have ended, and only then go on.
ping_pong_()
{
	local file=$name.data pids=() first
	ping "$A" a.1 && ping "$A" a.2 || bad "no ping_pong"
	within 10 going a.1 && within 10 going a.2 || bad_ping "does not go on in A"
	log "two processes go on in A: $(rate a.1) and $(rate a.2) locks a second"
	first=("${pids[@]}")
	pids=()
	# Locally these would just join in.
	if [ -n "$local_reference" ]; then
		kill_pings "${first[@]}"
		return 0
	fi
	ping "$B" b.1 && ping "$B" b.2 || bad "no ping_pong"
	nap 2
	! going b.1 && ! going b.2 || bad_ping "goes on in B although A has a byte"
	log "two wait in B"
	kill_pings "${first[@]}"
	within 20 going b.1 && within 10 going b.2 || bad_ping "does not go on in B"
	log "they go on when those in A have ended: $(rate b.1) and $(rate b.2) locks a second"
	kill_pings "${pids[@]}"
}
kill_pings()
{
	{ kill -TERM "$@"; wait "$@"; } 2>/dev/null
	return 0
}
# It tells the rate once a second, on one line.
ping()
{
	ping_pong "${ping_options[@]}" "$1/$file" 3 >"ping.$2" 2>&1 </dev/null 3>&- &
	pids+=($!)
}
rate() { tr '\r' '\n' <"ping.$1" | sed -n 's/^ *\([0-9]\{1,\}\) locks\/sec.*/\1/p' | tail -n 1; }
going() { [ "$(rate "$1")" -gt 0 ] 2>/dev/null && ! grep -q -i 'error\|fail\|data increment = [^1-3]' "ping.$1"; }
bad_ping() { cat ping.* >out; bad "$1"; }

ping_options=()
program "ping_pong" ping_pong_ ping_pong
ping_options=(-c)
program "ping_pong -c: it looks at the others' locks" ping_pong_ ping_pong
ping_options=(-rw)
program "ping_pong -rw: what is written under the lock" ping_pong_ ping_pong
plan
