#!/bin/bash
#
# Work that goes wrong without a lock: processes that read, add one and write.
# DLOCK_TEST_PROCESSES and DLOCK_TEST_ROUNDS say how much (8 and 200).

. "$(dirname -- "$0")/lib.sh"

processes=${DLOCK_TEST_PROCESSES:-8}
rounds=${DLOCK_TEST_ROUNDS:-200}
new_name
echo 0 >counter

count_up()
{
	local i
	for ((i = 0; i < rounds; i++)); do
		"$DLOCK" "$name" sh -c 'read n <counter; echo $((n + 1)) >counter; echo "$DLOCK_TOKEN" >>tokens' || return 1
	done
}

pids=()
for ((p = 0; p < processes; p++)); do
	count_up 2>>err &
	pids+=($!)
done
failures=0
for pid in "${pids[@]}"; do
	wait "$pid" || failures=$((failures + 1))
done
is "every dlock has succeeded" "$failures" 0
is "$processes processes, $rounds increments each: none is lost" "$(cat counter)" $((processes * rounds))
check "the tokens were handed out in growing order" sort -n -u -c tokens
is "one token each" "$(wc -l <tokens)" $((processes * rounds))
is "nothing was said" "$(cat err)" ""

# Readers and writers: a writer is never beside anyone.
new_name
cat >enter <<'E2'
#!/bin/bash
mkdir "in/$1.$$" || exit 1
set -- "$1" in/*
if [ "$1" = writer ] && [ $# -gt 2 ]; then echo "$*" >>violations; fi
if [ "$1" = reader ]; then case "$*" in *writer.*) echo "$*" >>violations ;; esac; fi
sleep 0.01
rmdir in/"$1".$$
E2
chmod +x enter
mkdir in
pids=()
for p in 1 2 3 4; do
	for ((i = 0; i < 15; i++)); do "$DLOCK" -x "$name" ./enter writer || exit 1; done 2>>err &
	pids+=($!)
	for ((i = 0; i < 15; i++)); do "$DLOCK" -s "$name" ./enter reader || exit 1; done 2>>err &
	pids+=($!)
done
failures=0
for pid in "${pids[@]}"; do
	wait "$pid" || failures=$((failures + 1))
done
is "readers and writers: all came in" "$failures" 0
check "readers and writers: no writer beside anyone" [ ! -e violations ]

plan
