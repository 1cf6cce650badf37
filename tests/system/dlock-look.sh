#!/bin/bash
#
# --list, --who, --break, --doctor, --init: for people and as JSON.

. "$(dirname -- "$0")/lib.sh"

# json EXPRESSION: of the JSON in `out`, called `j`.
json()
{
	python3 -c 'import json, sys
j = json.load(open("out", encoding="utf-8"))
print(eval(sys.argv[1]))' "$1" 2>>err
}

has_python=no
type -P python3 >/dev/null && has_python=yes

# is_json DESCRIPTION EXPRESSION WANTED
is_json()
{
	if [ "$has_python" = yes ]; then
		is "$1" "$(json "$2")" "$3"
	else
		skip "$1" "python3 was not found"
	fi
}

limited 20 "$DLOCK" --list
is "--list, nothing held: status 0" "$status" 0
check "--list, nothing held: the head of the table" has_line '^NAME  *MODE  *HOST  *PID  *PROGRAM  *HELD  *TOKEN  *MASTERS  *WAITERS$' out
is "--list, nothing held: no row" "$(grep -c '' out)" 1
limited 20 "$DLOCK" --list --json
is_json "--list --json, nothing held" 'j' "{'locks': []}"

new_name
hold "$name"
limited 20 "$DLOCK" --list
is "--list: one row" "$(grep -c '' out)" 2
check "--list: name, mode and holder" has_line "^$name  *exclusive  *$(hostname | sed 's/[^A-Za-z0-9].*//')[^ ]*  *$holder  " out
limited 20 "$DLOCK" --who "$name"
is "--who: held is status 0" "$status" 0
check "--who: the holder's process" has_line " $holder " out
limited 20 "$DLOCK" --who "$name.free"
is "--who: free is status 1" "$status" 1
is "--who: free" "$(cat out)" "$name.free: free"
limited 20 "$DLOCK" --who "$name" --json
is "--who --json: held is status 0" "$status" 0
is_json "--who --json: held" 'j["held"]' True
is_json "--who --json: the holder's process" 'j["holders"][0]["pid"]' "$holder"
is_json "--who --json: mode" 'j["holders"][0]["mode"]' exclusive
is_json "--who --json: a token" 'j["holders"][0]["token"] > 0' True
is_json "--who --json: how long" '0 <= j["holders"][0]["held_ms"] < 60000' True
is_json "--who --json: a majority" 'j["holders"][0]["masters"] >= j["holders"][0]["quorum"] == 3' True
limited 20 "$DLOCK" --who "$name.free" --json
is "--who --json: free is status 1" "$status" 1
is_json "--who --json: free" 'j["held"], j["holders"]' "(False, [])"
limited 20 sh -c '"$@" >/dev/full' sh "$DLOCK" --list
is "--list: output that cannot be written is status 74" "$status" 74

# Who waits: places as waiters have them, made by hand.
# place NAME MASTERS MODE NUMBER...
place()
{
	local i n
	for i in $2; do
		for n in "${@:4}"; do
			ask_master "$i" ZADD "dlock!queue:dlock:$1" "$n" \
				"$3:30000:dlock!grants-0:$(printf %016x "$n")-0123456789abcdef0123456789abcdef-host${n: -1}/${n: -1}/program" >/dev/null
		done
	done
}
limited 20 "$DLOCK" --who "$name"
is "--who: nobody waits, one row" "$(grep -c '' out)" 2
check "--who: nobody waits is 0" has_line ' 0$' out
limited 20 "$DLOCK" --who "$name" --json
is_json "--who --json: nobody waits" 'j["waiting"], j["waiters"]' "(0, [])"
place "$name" "5 3 1 2 4" X 1700000000000003 1700000000000001
place "$name" "1 2 3 4 5" S 1700000000000002
place "$name" "4 5" X 1700000000000004
limited 20 "$DLOCK" --list
check "--list: how many wait" has_line "^$name .* 3$" out
limited 20 "$DLOCK" --list --json
is_json "--list --json: how many wait" '[l["waiters"] for l in j["locks"]]' '[3]'
limited 20 "$DLOCK" --who "$name"
is "--who: status 0" "$status" 0
is "--who: the holder, then a table of its own" "$(sed -n '2s/ .*//p;3p;4p' out | tr -s ' ' | tr '\n' ';')" \
	"$name;;PLACE MODE HOST PID PROGRAM WAITING MASTERS;"
is "--who: in the order of the queue, without what two of five know" "$(sed -n '5,$p' out | awk '{ print $1, $2, $3, $4, $5 }' | tr '\n' ';')" \
	"1 exclusive host1 1 program;2 shared host2 2 program;3 exclusive host3 3 program;"
check "--who: for how long" has_line '^1  *exclusive .*  [0-9]*d[0-9][0-9]h  *[345]$' out
limited 20 "$DLOCK" --who "$name" --json
is_json "--who --json: how many wait" 'j["waiting"], j["holders"][0]["waiters"]' "(3, 3)"
is_json "--who --json: who waits" '[(w["position"], w["mode"], w["pid"], w["since_us"] % 10) for w in j["waiters"]]' \
	"[(1, 'exclusive', 1, 1), (2, 'shared', 2, 2), (3, 'exclusive', 3, 3)]"
is_json "--who --json: all of it" 'sorted(j["waiters"][0])' \
	"['host', 'masters', 'mode', 'owner', 'pid', 'position', 'program', 'since_us', 'waiting_ms']"
is_json "--who --json: a majority" 'min(w["masters"] for w in j["waiters"]) >= 3' True
is_json "--who --json: for how long" 'j["waiters"][0]["waiting_ms"] > 10**9' True

# Of a name that nobody holds, and of clients that are none of ours.
place "$name.free" "1 2 3 4 5" X 1700000000000001
for i in 1 2 3 4 5; do
	ask_master "$i" ZADD "dlock!queue:dlock:$name.free" 1 $'S:1:channel:0-f-\x1b[2J' 2 junk >/dev/null
done
limited 20 "$DLOCK" --who "$name.free"
is "--who, free but waited for: status 1" "$status" 1
is "--who, free but waited for: it says so" "$(sed -n '1,2p' out | tr '\n' ';')" "$name.free: free;;"
is "--who, free but waited for: who is ours comes first" "$(sed -n '4,$p' out | awk '{ print $1, $2, $3, $4, $5 }' | tr '\n' ';')" \
	"1 exclusive host1 1 program;2 shared - - -;"
limited 20 "$DLOCK" --who "$name.free" --json
is "--who --json, free but waited for: status 1" "$status" 1
is_json "--who --json, free but waited for" 'j["held"], j["holders"], j["waiting"], len(j["waiters"]), j["waiters"][1]["owner"]' \
	"(False, [], 2, 2, '0-f-\\x1b[2J')"

# More than are told.
for i in 1 2 3 4 5; do
	ask_master "$i" EVAL "for i = 1, 2000 do redis.call('ZADD', KEYS[1], i, 'X:1:c:' .. string.format('%016x', i) ..
		'-0123456789abcdef0123456789abcdef-h/' .. i .. '/p') end" 1 "dlock!queue:dlock:$name.many" >/dev/null
done
limited 20 "$DLOCK" --who "$name.many"
is "--who: the first 1,000" "$(sed -n '4,1003p' out | awk '{ print $1, $4 }' | md5sum)" "$(seq 1 1000 | awk '{ print $1, $1 }' | md5sum)"
is "--who: and how many more" "$(tail -n 1 out)" "and 1000 more"
limited 20 "$DLOCK" --who "$name.many" --json
is_json "--who --json: the first 1,000 of 2,000" 'j["waiting"], len(j["waiters"]), j["waiters"][999]["pid"]' "(2000, 1000, 1000)"
for i in 1 2 3 4 5; do
	ask_master "$i" DEL "dlock!queue:dlock:$name" "dlock!queue:dlock:$name.free" "dlock!queue:dlock:$name.many" >/dev/null
done

# --break: never by accident.
limited 20 "$DLOCK" --break "$name"
is "--break without a terminal and --yes: status 64" "$status" 64
limited 20 "$DLOCK" --who "$name"
is "and the lock is still held" "$status" 0
if type -P script >/dev/null; then
	(sleep 1; echo n; sleep 1) | DLOCK=$DLOCK name=$name timeout -k 5 30 script -qec '"$DLOCK" --break "$name"; echo $? >answer' /dev/null >out 2>err
	is "--break, answered with no: status 1" "$(cat answer)" 1
	check "--break asks" has_line 'Break it? \[y/N\]' out
	limited 20 "$DLOCK" --who "$name"
	is "and the lock is still held, too" "$status" 0
	(sleep 1; echo y; sleep 1) | DLOCK=$DLOCK name=$name timeout -k 5 30 script -qec '"$DLOCK" --break "$name"; echo $? >answer' /dev/null >out 2>err
	is "--break, answered with yes: status 0" "$(cat answer)" 0
else
	skip "--break asks" "script(1) was not found"
	limited 20 "$DLOCK" --break "$name" --yes
fi
limited 20 "$DLOCK" --who "$name"
is "after --break the lock is free" "$status" 1
ended 15 "$holder"
is "and the holder's command was stopped" "$status" 75
rm -f held
limited 20 "$DLOCK" --break "$name.free" --yes
is "--break of a free lock: status 0" "$status" 0
check "--break of a free lock says so" has_line 'nobody held it' out

# Shared locks: one row a reader.
new_name
hold "$name" -s
first=$holder
rm -f held
"$DLOCK" -s "$name" sh -c 'echo >held; sleep 20' &
second=$!
until_true 20 [ -e held ]
limited 20 "$DLOCK" --who "$name" --json
is_json "two readers" 'sorted(h["pid"] for h in j["holders"])' "[$(printf '%s\n' "$first" "$second" | sort -n | paste -sd, | sed 's/,/, /')]"
is_json "two readers: mode" '{h["mode"] for h in j["holders"]}' "{'shared'}"
kill -TERM "$second"
ended 10 "$second"
holder=$first
release_holder

# Programs that wait, in the order in which they came.
# waiting NAME PID...: those wait for it, in that order.
waiting()
{
	limited 20 "$DLOCK" --who "$1"
	[ "$(sed '1,/^PLACE/d' out | awk '{ print $4 }' | tr '\n' ' ')" = "${*:2} " ]
}
new_name
hold "$name"
"$DLOCK" "$name" sh -c 'echo >first; sleep 20' &
first=$!
check "one that waits" until_true 20 waiting "$name" "$first"
"$DLOCK" -s "$name" sleep 20 &
second=$!
check "and a second one" until_true 20 waiting "$name" "$first" "$second"
limited 20 "$DLOCK" --list --json
is_json "--list --json: both are counted" '[l["waiters"] for l in j["locks"] if l["pid"] == '"$holder"']' '[2]'
limited 20 "$DLOCK" --who "$name" --json
is_json "--who --json: both, with what they want" '[(w["mode"], w["program"]) for w in j["waiters"]]' "[('exclusive', 'dlock'), ('shared', 'dlock')]"
is_json "--who --json: for how long" 'all(0 <= w["waiting_ms"] < 60000 for w in j["waiters"])' True
release_holder
until_true 20 [ -e first ]
check "the first has it, and waits no more" until_true 20 waiting "$name" "$second"
check "the holder is the first" has_line "^$name  *exclusive .* $first " out
kill -TERM "$first" "$second"
ended 10 "$first"
ended 10 "$second"

# Names that are not for a terminal.
odd=$'tab\there\n"quoted" \\ \xff\xfe \xc3\xa9 \x1b[31m'
hold "$odd"
limited 20 "$DLOCK" --list
is "an odd name takes one row" "$(grep -c '' out)" 2
check "an odd name is escaped" has_line '^tab\\x09here\\x0a"quoted" \\\\ \\xff\\xfe é \\x1b\[31m  ' out
limited 20 "$DLOCK" --list --json
is_json "an odd name is still JSON" 'ascii(j["locks"][0]["name"])' "'tab\\there\\n\"quoted\" \\\\ \\ufffd\\ufffd \\xe9 \\x1b[31m'"
is_json "its bytes are in name_hex" 'bytes.fromhex(j["locks"][0]["name_hex"]).startswith(b"tab\there\n")' True
limited 20 "$DLOCK" --who "$odd"
is "--who finds it" "$status" 0
release_holder

# The doctor.
limited 20 "$DLOCK" --doctor
is "--doctor, all well: status 0" "$status" 0
is "--doctor: a block for each master" "$(grep -c ': voting$' out)" 5
is "--doctor: roles" "$(grep -c '^  role  *master$' out)" 5
check "--doctor: the verdict comes last" [ "$(tail -n 1 out | cut -d: -f1)" = "5 of 5 masters vote, 3 are needed" ]
limited 20 "$DLOCK" --doctor --json
is_json "--doctor --json" 'j["safe"], j["voting"], j["needed"], len(j["masters"])' "(True, 5, 3, 5)"
stop_masters 2
limited 20 "$DLOCK" --doctor
is "--doctor, one stands still: status 0, a majority votes" "$status" 0
is "--doctor, one stands still: it is told" "$(grep -c ': unreached$' out)" 1
check "--doctor, one stands still: with the reason" has_line '^  problem  *[^ ]' out
stop_masters 3 4
limited 20 "$DLOCK" --doctor --json
is "--doctor, three stand still: status 1" "$status" 1
is_json "--doctor --json, three stand still" 'j["safe"], j["voting"] < j["needed"]' "(False, True)"
resume_masters 2 3 4
all_well()
{
	limited 20 "$DLOCK" --doctor && [ "$(grep -c ': voting$' out)" = 5 ]
}
check "--doctor: all well again" until_true 20 all_well

# The same server twice: never two votes.
limited 20 env DLOCK_SERVERS="${DLOCK_SERVERS%,*},${DLOCK_SERVERS%%,*}" "$DLOCK" --doctor
check "--doctor, a master listed twice: not 0" [ "$status" -ne 0 ]
check "--doctor, a master listed twice: told in a sentence" grep -q -i -E 'twice|same server|duplicate|already' out err

# --init on masters that were used.
limited 20 "$DLOCK" --init
is "--init on used masters without --yes: status 64" "$status" 64
limited 20 "$DLOCK" --init --yes
is "--init --yes: status 0" "$status" 0
is "--init --yes: the masters are listed" "$(grep -c ': to be declared new$' out)" 5

plan
