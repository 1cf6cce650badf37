#!/bin/bash
# The arrows between the layers: an include never points up, and the pure core asks
# nothing of the outside but memory.
. "$(dirname "$0")/common"

# Own includes of the files $@, as "FILE INCLUDED": quoted ones by their base name,
# and those in <> that are ours or hiredis'.
includes() {
	awk '/^[ \t]*#[ \t]*include[ \t]*["<]/ {
		name = $0
		quoted = name ~ /include[ \t]*"/
		sub(/^[^"<]*["<]/, "", name)
		sub(/[">].*/, "", name)
		if (quoted) { sub(/^.*\//, "", name); print FILENAME, name }
		else print FILENAME, "<" name ">"
	}' "$@"
}

# may WHAT ALLOWED-EXTENDED-PATTERN FILE...: every include of the files matches.
may() {
	local what=$1 allowed=$2
	shift 2
	if [ $# -eq 0 ] || [ ! -e "$1" ]; then
		bad "$what" "there are no such files: $*"
		return
	fi
	empty "$what" "$(includes "$@" | awk -v allowed="^($allowed)$" '$2 !~ allowed')"
}

standard='<(stdbool|stddef|stdint|stdlib|string|limits|errno|inttypes|stdio|stdarg|assert|sys\/file)\.h>'
core_headers=$(cd libdlock/core && echo ./*.h | sed -E 's/\.\///g; s/\./\\./g; s/ /|/g')
# config.h for its limits only: that nothing of it is called, the symbols below tell.
may "the core includes only itself, token.h and config.h" "$standard|$core_headers|token\\.h|config\\.h|build\\.h" libdlock/core/*.[ch] libdlock/token.[ch]

above='(keeper|posix|handle|admin|facade|channel)[a-z_]*\.h|attempt\.h|effect\.h|lease\.h|lock[a-z_]*\.h|quorum\.h'
for file in libdlock/node*.[ch] libdlock/value.[ch] libdlock/script.[ch]; do
	[ -e "$file" ] || continue
	found=$(includes "$file" | awk -v above="^($above)$" '$2 ~ above')
	empty "I/O: $file includes nothing of core, shell or facade" "$found"
done
for module in config options settings servers debug error identity text token; do
	[ -e libdlock/$module.c ] || continue
	found=$(includes libdlock/$module.[ch] | awk -v above="^($above|node[a-z_]*\\\\.h|script\\\\.h)$" '$2 ~ above')
	empty "base: $module includes nothing above it" "$found"
done

found=$(grep -l -E '#[[:space:]]*include[[:space:]]*[<"]hiredis' -r libdlock tools include examples --include='*.[ch]' |
	grep -v -E '^libdlock/(node[a-z_]*|value|script)\.[ch]$')
empty "hiredis is known to node, value and script only" "$found"

found=$(includes tools/*.[ch] | awk '$2 !~ /^</' | while read -r file name; do
	[ -e "tools/$name" ] || [ "$name" = build.h ] || echo "$file includes $name"
done)
empty "the command knows nothing of the inside of the library" "$found"

found=$(includes fuse/*.[ch] | awk '$2 !~ /^</' | while read -r file name; do
	[ -e "fuse/$name" ] || [ "$name" = build.h ] || echo "$file includes $name"
done)
empty "the mount knows nothing of the inside of the library" "$found"

# Symbols that the core's objects want and do not have between themselves.
objects=$(find "$built/libdlock/core" -maxdepth 1 -name '*.o'; ls "$built/libdlock/token.o" 2>/dev/null)
if [ -z "$objects" ]; then
	bad "the core's objects want memory only" "no objects in $built/libdlock/core"
else
	# shellcheck disable=SC2086 # a list
	nm --defined-only $objects | awk 'NF == 3 { print $3 }' | LC_ALL=C sort -u > "$scratch/defined"
	# shellcheck disable=SC2086
	nm -u $objects | awk 'NF == 2 { print $2 }' | LC_ALL=C sort -u > "$scratch/wanted"
	# Memory, pure functions on it (text is memory too), asserts, and what compilers
	# put in by themselves.
	allowed='(malloc|calloc|realloc|reallocarray|free|mem[a-z]+|str(len|nlen|cmp|ncmp|cpy|ncpy|chr|rchr|spn|cspn)|qsort|bsearch|abort'
	allowed+='|v?snprintf|(__isoc[0-9]+_)?(sscanf|strto[a-z]+)|__v?snprintf_chk'
	allowed+='|__assert_fail|__errno_location|__mem[a-z]+_chk|__str[a-z]+_chk|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|__(a|ub|t|l)san_.*|__sanitizer_.*|__tls_get_addr)'
	empty "the core's objects want memory only" \
		"$(LC_ALL=C comm -13 "$scratch/defined" "$scratch/wanted" | grep -v -x -E "$allowed")"
fi
end
