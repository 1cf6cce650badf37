#!/bin/bash
# The corpus of each fuzz target, in this build: whatever compiler and sanitizers it has.
set -u

top=${abs_top_srcdir:?started by make}
build=${abs_top_builddir:?started by make}
read -r -a targets < <(make -s -C "$build" fuzz-targets)
echo "1..${#targets[@]}"
[ ${#targets[@]} -gt 0 ] || exit 1
status=0
for target in "${targets[@]}"; do
	if said=$("$build/tests/fuzz/$target" "$top/tests/fuzz/corpus/${target#fuzz_}" 2>&1); then
		echo "ok - $target: $said"
	else
		tail -n 40 <<< "$said" | sed 's/^/# /'
		echo "not ok - $target"
		status=1
	fi
done
exit $status
