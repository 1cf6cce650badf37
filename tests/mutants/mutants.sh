#!/bin/bash
# mutants.sh - a case for each mutant: mutants.py does it all.
type -P python3 >/dev/null || {
	echo "1..0 # SKIP python3 was not found"
	exit 0
}
exec python3 "${abs_top_srcdir:-.}/tests/mutants/mutants.py" --tap
