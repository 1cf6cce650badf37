#!/bin/bash
#
# --watch: the list again and again, on a terminal and elsewhere.

. "$(dirname -- "$0")/lib.sh"

# watch OPTION...: in the background until end_watch; what it says is in `seen` and `said`, $watch is its pid.
watch()
{
	: >seen
	: >said
	"$DLOCK" --watch "$@" >seen 2>said </dev/null &
	watch=$!
}

end_watch()
{
	kill -TERM "$watch"
	ended 10 "$watch"
}

lists()
{
	[ "$(grep -c '^NAME ' seen)" -ge "$1" ]
}

# last_list PATTERN: a line of the last whole list.
last_list()
{
	awk '/^$/ { whole = list; list = ""; next } { list = list $0 "\n" } END { printf "%s", whole }' seen | grep -q -e "$1"
}

not_in_last_list()
{
	! last_list "$1"
}

# Places in the queue of a name on all masters: one a number.
queue()
{
	local i n
	for i in 1 2 3 4 5; do
		for n in "${@:2}"; do
			ask_master "$i" ZADD "dlock!queue:dlock:$1" "$n" \
				"X:30000:dlock!grants-0:$(printf %016x "$n")-0123456789abcdef0123456789abcdef-host$n/$n/program" >/dev/null
		done
	done
}

# ---- not on a terminal ----

watch --interval 0.1
check "lists follow each other" until_true 10 lists 3
is "an empty line between them, nothing else" "$(grep -c -v '^NAME ' seen):$(grep -v '^NAME ' seen | sort -u)" "$(($(grep -c '^NAME ' seen) - 1)):"
new_name
hold "$name"
check "what is held appears" until_true 10 last_list "^$name  *exclusive .* $holder "
"$DLOCK" "$name" true &
waiter=$!
check "and who waits is counted" until_true 20 last_list "^$name .* 1$"
release_holder
ended 20 "$waiter"
check "and goes" until_true 10 not_in_last_list "$name"
check "it is still there" kill -0 "$watch"
end_watch
is "SIGTERM ends it" "$status" 143
is "and it had nothing to say" "$(cat said)" ""

new_name
hold "$name"
queue "$name" 1 2 3
queue "$name.free" 4
watch "$name.free" --interval 0.2 "$name" -- --list
check "names: lists follow each other" until_true 10 lists 2
is "names: as many lines as names, in their order" "$(sed -n '2,/^$/{/./p}' seen | awk '{ print $1, $2, $NF }' | tr '\n' ';')" \
	"$name.free free 1;$name exclusive 3;--list free 0;"
end_watch
release_holder

# About a second.
start=$(now_ms)
watch
until_true 20 lists 3
took=$(($(now_ms) - start))
check "a second between two lists ($took ms for three)" [ "$took" -ge 1900 ]
end_watch

# ---- wrong use ----

for wrong in "--interval 0" "--interval 0.09" "--interval 86401" "--interval nan" "--interval -1" "--interval 1s" "--interval=" \
	--json -n "--who a" --list --yes "-w 1"; do
	# shellcheck disable=SC2086 # words
	limited 5 "$DLOCK" --watch $wrong
	is "--watch $wrong: status 64" "$status" 64
done
limited 5 "$DLOCK" --list --interval 1
is "--interval without --watch: status 64" "$status" 64
limited 5 "$DLOCK" --watch a ""
is "an empty name: status 66" "$status" 66
limited 5 env DLOCK_TTL=soon "$DLOCK" --watch
is "a wrong setting ends it: status 78" "$status" 78
limited 5 "$DLOCK" --wa 0.1 "$name.wait" true
is "--wa is still flock(1)'s --wait" "$status" 0

# ---- when nobody reads any more ----

for trapped in - ''; do
	start=$(now_ms)
	(
		# shellcheck disable=SC2064 # now
		trap "$trapped" PIPE
		"$DLOCK" --watch --interval 60 2>said
		echo $? >answer
	) | head -n 1 >first
	took=$(($(now_ms) - start))
	check "a reader that goes ends it, SIGPIPE '$trapped' ($took ms)" [ "$took" -lt 20000 ]
	is "without a word" "$(cat said)" ""
	is "after the first list" "$(grep -c '^NAME ' first)" 1
	rm -f answer
	(
		# shellcheck disable=SC2064 # now
		trap "$trapped" PIPE
		"$DLOCK" --watch --interval 0.1 2>said
		echo $? >answer
	) | true
	until_true 20 [ -s answer ]
	check "one that was never there, too" grep -q -x -e 0 -e 141 answer
	is "and without a word" "$(cat said)" ""
done
limited 20 sh -c '"$@" >/dev/full' sh "$DLOCK" --watch
is "output that cannot be written is status 74" "$status" 74
limited 20 sh -c '"$@" >&-' sh "$DLOCK" --watch
is "and so is none" "$status" 74

# ---- without a quorum ----

watch --interval 0.1
until_true 10 lists 1
stop_masters 1 2 3
check "no quorum: it says so" until_true 20 has_line '^dlock: no quorum (3 of 5 masters needed): ' said
resume_masters 1 2 3
before=$(grep -c '^NAME ' seen)
check "and goes on when they are back" until_true 20 lists $((before + 2))
end_watch
is "SIGTERM ends it then, too" "$status" 143
check "and there are no empty lines without a list" not_in_last_list '^$'
is "no two empty lines" "$(uniq -d seen | grep -c '^$')" 0

# ---- on a terminal ----

if type -P python3 >/dev/null; then
	MASTERS="$(master_pid 1) $(master_pid 2) $(master_pid 3)" timeout -k 5 150 \
		python3 "$lib_here/watch_terminal.py" "$DLOCK" >cases 2>err </dev/null
	while read -r line; do
		case $line in
		"ok - "*) check "on a terminal: ${line#ok - }" true ;;
		"not ok - "*) check "on a terminal: ${line#not ok - }" false ;;
		"#"*) echo "$line" ;;
		esac
	done <cases
	is "on a terminal: all was tried" "$(tail -n 1 cases):$(cat err)" "end:"
else
	skip "on a terminal" "python3 was not found"
fi

plan
