#!/bin/bash
# What libdlock.so exports, what its map lists and what dlock.h declares are the same.
. "$(dirname "$0")/common"

library=$built/libdlock/.libs/libdlock.so
sed -n -E 's/^\t(dlock_[a-z0-9_]+);$/\1/p' libdlock/libdlock.map | LC_ALL=C sort > "$scratch/map"
public_functions > "$scratch/header"

[ "$(wc -l < "$scratch/header")" -ge 25 ] && good "dlock.h declares functions" ||
	bad "dlock.h declares functions" "found only: $(cat "$scratch/header")"
empty "the map lists what dlock.h declares" "$(diff "$scratch/header" "$scratch/map")"

if [ -e "$library" ]; then
	nm -D --defined-only "$library" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | LC_ALL=C sort > "$scratch/exported"
	# The sanitizers add symbols of their own.
	grep -v -E '^(__?(asan|ubsan|tsan|odr)|_?_?sancov)' "$scratch/exported" > "$scratch/ours"
	empty "libdlock.so exports what the map lists, and nothing else" "$(diff "$scratch/map" "$scratch/ours")"
	soname=$(readelf -d "$library" | sed -n -E 's/.*soname: \[(.*)\].*/\1/p')
	[ "$soname" = libdlock.so.0 ] && good "the soname is libdlock.so.0" || bad "the soname is libdlock.so.0" "$soname"
else
	omit "libdlock.so exports what the map lists" "built without the shared library"
fi
end
