#!/bin/bash
#
# The checker of the torture's histories: it must accept what is right and refuse what is
# wrong, for the right reason. test_checker.py tells the cases.
#
# DLOCK_TEST_SEED is that of a random run, DLOCK_TEST_RUNS how often each kind of fault is put in (1000).

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd) || exit 1
python=/usr/bin/python3
[ -x $python ] || python=$(type -P python3)
if [ -z "$python" ]; then
	echo "1..0 # SKIP python3 was not found"
	exit 0
fi
# -B: the sources may be read-only.
exec "$python" -B "$here/test_checker.py" small command chance
