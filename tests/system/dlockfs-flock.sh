#!/bin/bash
#
# The flock mode of dlockfs: flock(2) and fcntl(2) on files are the fleet's. A and B are
# two mounts of one fleet and stand for two hosts. What takes several processes is
# in flock_cases.py, and what happens by chance in flock_random.py.
#
# DLOCK_STRESS_PERCENT scales what is done often, DLOCK_TEST_SEED is that of a random run.

. "$(dirname -- "$0")/mounts.sh"

PYTHON=/usr/bin/python3
if [ ! -x $PYTHON ]; then
	echo "1..0 # SKIP no $PYTHON"
	exit 0
fi
if ! type -P flock >/dev/null; then
	echo "1..0 # SKIP no flock (util-linux)"
	exit 0
fi
PATH=$(dirname -- "$DLOCK"):$PATH
percent=${DLOCK_STRESS_PERCENT:-100}

# often COUNT: as often as that is to be done here, at least once.
often()
{
	local times=$(($1 * percent / 100))
	echo $((times > 0 ? times : 1))
}

# python FILE ARGUMENT...: its lines are cases of this test; a last one says that all were told.
python()
{
	local line what group=${1%.py}
	[ $group = flock_random ] || group=$2
	timeout -k 5 120 $PYTHON -B "$mounts_here/$1" "${@:2}" >said 2>said.err </dev/null &
	wait $!
	status=$?
	: >out
	: >err
	while IFS= read -r line; do
		what="$group: ${line#*ok - }"
		case $line in
		"ok - "*) check "$what" true ;;
		"not ok - "*) check "$what" false ;;
		end) ;;
		*) echo "# ${line#\# }" ;;
		esac
	done <said
	cp said.err err
	is "$group: was done to its end" "$status:$(tail -n 1 said)" "0:end"
}

A=$work/A
B=$work/B
# Nothing here is about time.
patient=mode=flock,op_timeout=10000
serve "$A" $patient
serve "$B" $patient

for group in modes conversions interruptions ranges ends paths; do
	python flock_cases.py $group "$A" "$B"
done
check "no key is left on the masters" until_true 10 no_keys_left

# ---------------------------------------------------------------- with other means

new_name
hold "$name"
gives "held by dlock: refused in A and B" "ok EAGAIN EAGAIN ok EAGAIN EAGAIN" open "$A/$name" rdwr,creat flock ex,nb flock sh,nb \
	open "$B/$name" rdwr,creat setlk read ofd_setlk write
release_holder
keep open "$A/$name" rdwr flock ex
told "held in A" ok ok
limited 20 "$DLOCK" -n "$name" true
check "is refused to dlock" [ "$status" -ne 0 ]
limited 20 "$DLOCK" --who "$name"
is "which knows it" "$status" 0
let_go
check "given back by exit" until_true 2 is_free "$name"

# ---------------------------------------------------------------- many

descriptors()
{
	# shellcheck disable=SC2012 # numbers
	ls "/proc/${daemon[$1]}/fd" | wc -l
}
# Some are kept for a moment, for the next lock.
as_few_as()
{
	[ "$(descriptors "$1")" -le "$2" ]
}

few_A=$(descriptors "$A")
few_B=$(descriptors "$B")
python flock_cases.py crowd "$A" "$B" "$(often 1000)"
python flock_cases.py rounds "$A" "$B" "$(often 20000)"
python flock_random.py "$A" "$B" 6 "${DLOCK_TEST_SEED:-$RANDOM}"
check "no key is left on the masters" until_true 10 no_keys_left
check "no descriptor is left in A" until_true 20 as_few_as "$A" "$few_A"
check "nor in B" until_true 20 as_few_as "$B" "$few_B"
stop_all

# ---------------------------------------------------------------- no quorum, and a lease that is lost

# A call is answered by op_timeout: 500 ms, as where nobody says otherwise. The lease outlives
# the first group, and not the second.
soon=mode=flock,node_timeout=400,on_loss=SIGTERM
serve "$A" $soon,ttl=10000
serve "$B" $soon,ttl=10000
python flock_cases.py quorum "$A" "$B" "$servers_dir"
stop_all
serve "$A" $soon,ttl=1500
serve "$B" $soon,ttl=1500
python flock_cases.py loss "$A" "$B" "$servers_dir"
check "there is a line about each loss" [ "$(grep -c lost "$A.log")" -ge 2 ]
# (That a token was broken is remembered for as long as somebody might renew it.)
broken_only()
{
	no_keys_left || ! grep -v -q 'dlock!broken:' err
}
check "no other key is left on the masters" until_true 10 broken_only
stop_all
plan
