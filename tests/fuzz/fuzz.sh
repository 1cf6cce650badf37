#!/bin/bash
# fuzz.sh [SECONDS [TARGET...]] - each fuzz target with libFuzzer: first its corpus, then for SECONDS new inputs.
#
# A test of `make check` (DLOCK_FUZZ_SECONDS, 5 by default), and what `make fuzz` runs.
# Builds what it needs (make fuzz-programs). What makes a target fail stays in
# tests/fuzz/found in the folder of the build, and how to repeat it is told. Two targets
# run at a time; each makes at least DLOCK_FUZZ_RUNS (1000) runs, however long that takes.
set -u

seconds=${1:-${DLOCK_FUZZ_SECONDS:-5}}
least=${DLOCK_FUZZ_RUNS:-1000}
# make check draws the same inputs each time, so that what fails there has been changed; make fuzz draws new ones.
seed=${DLOCK_FUZZ_SEED:-$(($# > 0 ? RANDOM * 32768 + RANDOM + 1 : 1))}
shift $(($# > 0))
top=${abs_top_srcdir:?started by make}
build=${abs_top_builddir:?started by make}
here=$top/tests/fuzz
found=$build/tests/fuzz/found
# Reports go to the log of each target, from where they are shown.
unset ASAN_OPTIONS LSAN_OPTIONS UBSAN_OPTIONS

work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
trap 'exit 99' INT TERM HUP

# ---- is libFuzzer here? ----

CLANG=${CLANG:-clang}
version=$("$CLANG" -dumpversion 2> /dev/null)
printf '#include <stddef.h>\nint LLVMFuzzerTestOneInput(const char *b, size_t n);\nint LLVMFuzzerTestOneInput(const char *b, size_t n) { return b && n ? 0 : 0; }\n' > "$work/probe.c"
if ! "$CLANG" -fsanitize=fuzzer,address,undefined -o "$work/probe" "$work/probe.c" > /dev/null 2>&1; then
	if [ -z "$version" ]; then
		echo '1..0 # SKIP no clang (Debian packages: clang and libclang-rt-dev of its version)'
	else
		echo "1..0 # SKIP no libFuzzer for clang (Debian package: libclang-rt-${version%%.*}-dev)"
	fi
	exit 0
fi
if ! make -s -C "$build" -j2 fuzz-programs > "$work/make.log" 2>&1; then
	sed 's/^/# /' "$work/make.log"
	echo 'Bail out! the fuzz targets cannot be built'
	exit 1
fi

# ---- one target ----

# The first reason in $work/TARGET.failed, if there is any.
fuzz() {
	local target=$1 log=$work/$1.log name=${1#fuzz_} runs
	local -a options=(-timeout=20 -rss_limit_mb=2048 -max_len=8192 "-seed=$seed" -print_final_stats=1 "-artifact_prefix=$found/$name-")
	[ ! -f "$here/$name.dict" ] || options+=("-dict=$here/$name.dict")
	mkdir -p "$work/$target" "$found"
	if ! "$build/tests/fuzz/libfuzzer/$target" "${options[@]}" -runs=0 "$here/corpus/$name" > "$log" 2>&1; then
		echo 'its corpus does not pass' > "$work/$target.failed"
		return
	fi
	# New inputs go to the first folder: the corpus itself is not touched.
	if ! "$build/tests/fuzz/libfuzzer/$target" "${options[@]}" "-max_total_time=$seconds" "$work/$target" \
		"$here/corpus/$name" > "$log" 2>&1; then
		echo 'an input was found' > "$work/$target.failed"
		return
	fi
	runs=$(runs_of "$log")
	if [ "$runs" -lt "$least" ] && ! "$build/tests/fuzz/libfuzzer/$target" "${options[@]}" "-runs=$((least - runs))" \
		"$work/$target" "$here/corpus/$name" > "$log.more" 2>&1; then
		mv "$log.more" "$log"
		echo 'an input was found' > "$work/$target.failed"
		return
	fi
	[ ! -f "$log.more" ] || runs=$((runs + $(runs_of "$log.more")))
	[ "$runs" -ge "$least" ] || echo "only $runs runs were made" > "$work/$target.failed"
	echo "$runs runs, $(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1) edges" > "$work/$target.said"
}

runs_of() { sed -n 's/^stat::number_of_executed_units: *//p' "$1" | tail -n 1; }

tell() {
	local target=$1 file
	if [ ! -f "$work/$target.failed" ]; then
		echo "# $target: $(cat "$work/$target.said")"
		echo "ok - $target: its corpus, and $seconds s of new inputs"
		return
	fi
	grep -v -E '^(#[0-9]+|INFO:|	)' "$work/$target.log" | tail -n 60 | sed 's/^/# /'
	file=$(sed -n 's/.*Test unit written to //p' "$work/$target.log" | tail -n 1)
	[ -z "$file" ] || echo "# to repeat it: $build/tests/fuzz/libfuzzer/$target $file"
	echo "not ok - $target: $(cat "$work/$target.failed")"
	failed=1
}

# ---- all ----

targets=("$@")
[ ${#targets[@]} -gt 0 ] || read -r -a targets < <(make -s -C "$build" fuzz-targets)
echo "1..${#targets[@]}"
echo "# seed $seed"
[ ${#targets[@]} -gt 0 ] || exit 77
for target in "${targets[@]}"; do
	while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n; done
	fuzz "$target" &
done
wait
failed=0
for target in "${targets[@]}"; do tell "$target"; done
exit $failed
