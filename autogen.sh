#!/bin/sh
# autogen.sh - make ./configure and the Makefile templates from their sources.
#
# Names every tool that is missing at once, each with the Debian package that
# brings it, before autoreconf would stop at the first with a message of its own.
set -eu

cd "$(dirname "$0")"

missing=

# need COMMAND PACKAGE
need() {
	command -v "$1" >/dev/null 2>&1 || missing="$missing
  $1 (Debian package: $2)"
}

need autoconf autoconf
need automake automake
need libtoolize libtool
need pkg-config pkgconf
need m4 m4

# pkg-config's macros are a file of their own: without them configure.ac would
# turn into a shell script with PKG_CHECK_MODULES left in it.
if command -v aclocal >/dev/null 2>&1; then
	found=
	for dir in "$(aclocal --print-ac-dir)" /usr/share/aclocal /usr/local/share/aclocal; do
		[ -f "$dir/pkg.m4" ] && found=yes
	done
	[ -n "$found" ] || missing="$missing
  pkg.m4 (Debian package: pkgconf)"
fi

if [ -n "$missing" ]; then
	printf 'autogen.sh: these are missing:%s\n' "$missing" >&2
	printf 'scripts/install-dependencies installs them all.\n' >&2
	exit 1
fi

autoreconf --install --force
echo "autogen.sh: done. Next: ./configure && make"
