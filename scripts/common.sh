# common.sh - what the scripts of this folder share; sourced, never run.
# shellcheck shell=bash

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034 # for those who source this
jobs=${JOBS:-$(nproc 2>/dev/null || echo 2)}

say() { printf '\n==> %s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# quietly LOG COMMAND...: what the command prints goes to LOG; it is shown if the
# command fails.
quietly() {
	local log=$1
	shift
	mkdir -p "$(dirname "$log")"
	printf '    %s\n' "$*"
	if ! "$@" > "$log" 2>&1 < /dev/null; then
		tail -n 60 "$log" >&2
		die "failed: $* (all of it: $log)"
	fi
}

# The tree to build from, in $source. Automake refuses to build elsewhere what has
# been configured in place, so such a tree is copied; it stays as it is.
prepare_source() {
	source=$top
	if [ -e "$top/config.status" ]; then
		say "This tree has been configured in place; building from a copy in build/source"
		source=$top/build/source
		rm -rf "$source"
		mkdir -p "$source"
		tar -C "$top" --exclude=./build --exclude=./.git -cf - . | tar -C "$source" -xf -
		quietly "$top/build/distclean.log" make -C "$source" distclean
	fi
	if [ ! -x "$source/configure" ] || [ -n "$(find "$source" -path "$source/build" -prune -o \
		\( -name configure.ac -o -name 'Make*.am' -o -name '*.m4' -o -name autogen.sh \) -newer "$source/configure" -print)" ]; then
		quietly "$top/build/autogen.log" "$source/autogen.sh"
	fi
}

# configure_in FOLDER OPTION...: a VPATH build, configured anew only if needed.
configure_in() {
	local folder=$1
	shift
	mkdir -p "$folder"
	if [ -x "$folder/config.status" ] && [ "$folder/config.status" -nt "$source/configure" ] &&
		[ "$(cat "$folder/.configured-with" 2>/dev/null)" = "$source $*" ]; then
		return
	fi
	rm -rf "$folder"
	mkdir -p "$folder"
	(cd "$folder" && quietly "$folder/configure.log" "$source/configure" "$@") || exit
	echo "$source $*" > "$folder/.configured-with"
}
