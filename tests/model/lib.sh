# lib.sh - runs the model in one configuration, or broken by one mutant; sourced by the tests of this folder.
# shellcheck shell=bash
#
# Each test tells one case a configuration, with its size; one a probe (a point that must be reached,
# or the model shows nothing); one a mutant, which must be caught, and by the property that is named.
. "$(dirname "${BASH_SOURCE[0]}")/../checks/common"

model=$top/tests/model/${model:-lock.pml}
memory_mib=2900
depth=3000000

# Why nothing can be checked here, if so.
lacking() {
	if ! command -v spin > /dev/null; then
		echo "spin is not installed"
	elif [ -n "${DLOCK_TEST_VALGRIND:-}" ]; then
		echo "valgrind would watch the model checker, which has no code of ours"
	fi
}
why_not=$(lacking)

# verifier FOLDER CC_FLAGS FLAG...: the verifier for the model so configured; says what went wrong.
# (-o3: statements that were merged would not be told apart.) POR would find nothing to leave out here (all is shared), and the compression costs more than it saves.
verifier() {
	local folder=$1 cc_flags=$2
	shift 2
	mkdir -p "$folder"
	(cd "$folder" && spin -o3 -a "$@" "$model") > "$folder/spin.log" 2>&1 || { cat "$folder/spin.log"; return 1; }
	# shellcheck disable=SC2086 # both are lists
	(cd "$folder" && $cc $cc_flags -w -DSAFETY -DNOFAIR -DNOREDUCE -DPRINTF -DVECTORSZ=1024 -DMEMLIM=$memory_mib -o pan pan.c) \
		> "$folder/cc.log" 2>&1 || { cat "$folder/cc.log"; return 1; }
}

# -E: a client that stops anywhere is no error.
search() { (cd "$1" && ./pan -E -m$depth > pan.log 2>&1); }

# What keeps a search from having been exhaustive and without an error.
shortcomings() {
	grep -E 'max search depth too small|Search not completed|violated|out of memory|MEMLIM|exceed|aborting' "$1/pan.log" | sed 's/assertion //'
	grep -q 'errors: 0' "$1/pan.log" || echo "no word of 0 errors: $(tail -n 1 "$1/pan.log")"
}

# configuration NAME WHAT FLAG...: all that can happen in it, and none of it breaks a property.
# `optimize`: where the search is short, optimizing takes longer.
optimize=${optimize:--O2}
configuration() {
	local name=$1 what=$2 folder=$scratch/$1 began=$SECONDS found states
	shift 2
	if [ -n "$why_not" ]; then omit "$name: $what" "$why_not"; return; fi
	if ! found=$(verifier "$folder" "$optimize" "$@"); then bad "$name: $what: can't be built" "$found"; return; fi
	search "$folder"
	found=$(shortcomings "$folder")
	states=$(awk '/states, stored/ { print $1 }' "$folder/pan.log")
	empty "$name: $what ($* : $states states, $((SECONDS - began)) s)" "$found"
}

# probe NAME PROBE WHAT: the point was reached in this configuration. queue.pml says so itself. Of lock.pml pan lists
# the statements that it has not reached; a probe may stand at several places, of which one is enough.
probe() {
	local name=$1 number text all missed
	if [ -n "$why_not" ]; then omit "$name: $3" "$why_not"; return; fi
	number=$(awk -v probe="PROBE_$2" '$1 == "#define" && $2 == probe { print $3 }' "$model")
	text="probed = ${number:-none}"
	all=$(grep -c -F "[$text]" "$scratch/$name/pan.m" 2>/dev/null)
	missed=$(grep -c -F "\"$text\"" "$scratch/$name/pan.log" 2>/dev/null)
	if { [ "${all:-0}" -gt "${missed:-0}" ] || grep -q "reached $number\$" "$scratch/$name/pan.log"; } && grep -q 'errors: 0' "$scratch/$name/pan.log"; then
		good "$name: $3"
	else
		bad "$name: $3: never happens" "$text stands at ${all:-0} places, not reached: ${missed:-0}"
	fi
}

# How pan writes the conditions that these properties are; queue.pml gives them their names.
conditions() {
	local property
	for property; do
		case $property in
		exclusion) echo 'violated exclusion|state\[\(1-c\)\]' ;;
		order) echo 'violated order|newest|before\[' ;;
		zombie) echo 'violated zombie|executed\[' ;;
		proof) echo 'overtaken_before' ;;
		*) echo "violated $property" ;;
		esac
	done | paste -sd'|'
}

# mutant MUTANT PROPERTIES WHAT FLAG...: one rule is broken, and that is seen: one of these properties is.
# `direction`: most are found sooner when the search tries the last first.
direction="-DREVERSE -DT_REVERSE"
mutant() {
	local mutant=$1 properties=$2 what=$3 folder=$scratch/mutant-$1 found
	shift 3
	what="mutant $mutant ($what) is caught: ${properties// / or }"
	if [ -n "$why_not" ]; then omit "$what" "$why_not"; return; fi
	if ! grep -q "MUTANT_$mutant\\b" "$model"; then bad "$what: there is no such mutant"; return; fi
	if ! found=$(verifier "$folder" "-O1 $direction" -DMUTANT_"$mutant" "$@"); then bad "$what: can't be built" "$found"; return; fi
	search "$folder"
	found=$(grep 'assertion violated' "$folder/pan.log")
	# shellcheck disable=SC2086 # a list
	if [[ $found =~ $(conditions $properties) ]]; then
		good "$what"
	elif [ -n "$found" ]; then
		bad "$what, but: ${found#*violated}"
	else
		bad "$what: survives" "$(grep -E 'errors|states, stored|Warning|pan:' "$folder/pan.log")"
	fi
	rm -rf "$folder"
}
