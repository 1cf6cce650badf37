#!/bin/bash
# What `make install` lays down serves a program that knows nothing but pkg-config:
# shared and static, from any prefix.
. "$(dirname "$0")/common"

if [ ! -e "$built/Makefile" ] || ! command -v pkg-config > /dev/null; then
	omit "an installed copy can be used" "not a configured tree, or no pkg-config"
	end
	exit
fi

prefix=$scratch/prefix
# The unit's directory may have been given to configure, outside of any prefix.
places=(prefix="$prefix" systemdsystemunitdir="$prefix/lib/systemd/system")
if ! make -C "$built" install-exec install-data "${places[@]}" > "$scratch/log" 2>&1; then
	bad "make install to a prefix of its own" "$(tail -n 20 "$scratch/log")"
	end
	exit
fi
good "make install to a prefix of its own"

# The paths in the .pc file are of the configured prefix; pkg-config moves them.
pc=$(find "$prefix" -name libdlock.pc)
export PKG_CONFIG_PATH=${pc%/*}
moved=(pkg-config --define-variable=prefix="$prefix" --define-variable=exec_prefix="$prefix"
	--define-variable=libdir="$(dirname "$PKG_CONFIG_PATH")" --define-variable=includedir="$prefix/include")
libdir=$(dirname "$PKG_CONFIG_PATH")

[ "$("${moved[@]}" --modversion libdlock)" = "$(sed -n -E 's/^AC_INIT\(\[libdlock\], \[(.*)\]\)/\1/p' configure.ac)" ] &&
	good "pkg-config tells the version" || bad "pkg-config tells the version" "$("${moved[@]}" --modversion libdlock 2>&1)"

cat > "$scratch/user.c" <<'END'
#include <dlock.h>
#include <stdio.h>
int main(void) { puts(dlock_version()); return dlock_open("", 0) != -1; }
END
sanitize=$(sed -n -E 's/^SANITIZE_CFLAGS = //p' "$built/Makefile")
version=$(sed -n -E 's/^PACKAGE_VERSION = //p' "$built/Makefile")

# shellcheck disable=SC2046,SC2086 # options
if $cc $sanitize -o "$scratch/shared" "$scratch/user.c" $("${moved[@]}" --cflags --libs libdlock) > "$scratch/log" 2>&1 &&
	[ "$(LD_LIBRARY_PATH=$libdir "$scratch/shared")" = "$version" ]; then
	good "a program builds with --cflags --libs and runs"
else
	bad "a program builds with --cflags --libs and runs" "$(cat "$scratch/log")"
fi
needed=$(readelf -d "$scratch/shared" | sed -n -E 's/.*NEEDED.*\[(.*)\]/\1/p' | grep -E 'hiredis|cares|ssl|crypto')
empty "it links libdlock only, not what is below it" "$needed"

if [ -e "$libdir/libdlock.a" ]; then
	# Only our own library comes from its archive: not every system has all others so.
	# shellcheck disable=SC2046,SC2086
	if $cc $sanitize -o "$scratch/static" "$scratch/user.c" $("${moved[@]}" --cflags libdlock) "$libdir/libdlock.a" \
		$("${moved[@]}" --static --libs libdlock | sed 's/-ldlock//') > "$scratch/log" 2>&1 &&
		[ "$("$scratch/static")" = "$version" ]; then
		good "a program builds with the static library and --static"
	else
		bad "a program builds with the static library and --static" "$(cat "$scratch/log")"
	fi
else
	omit "a program builds with the static library" "built without it"
fi

# The mount comes with its page, its completions and its unit, or nothing of it does.
mount=(bin/dlockfs share/man/man8/dlockfs.8 share/bash-completion/completions/dlockfs share/zsh/site-functions/_dlockfs)
unit=lib/systemd/system/dlockfs@.service
grep -q -x 'systemdsystemunitdir = no' "$built/Makefile" || mount+=("$unit")
if [ -e "$built/fuse/dlockfs" ]; then
	missing=
	for file in "${mount[@]}"; do
		[ -e "$prefix/$file" ] || missing+="$file "
	done
	empty "dlockfs, its page, completions and unit are there" "$missing"
	bindir=$(make -C "$built" -s --no-print-directory -f - print <<-'END'
		include Makefile
		print: ; @echo $(bindir)
	END
	)
	if ! command -v systemd-analyze > /dev/null || [ ! -e "$prefix/$unit" ]; then
		omit "systemd has nothing to say about the unit" "no systemd-analyze here, or no unit"
	elif ! grep -q "^ExecStart=$bindir/dlockfs " "$prefix/$unit"; then
		bad "the unit starts what is installed" "bindir is $bindir" "$(grep ExecStart "$prefix/$unit")"
	else
		# An instance, with the program where it is now; the manual is not where systemd looks.
		sed "s|$bindir/dlockfs|$prefix/bin/dlockfs|" "$prefix/$unit" > "$scratch/dlockfs@srv-locks.service"
		said=$(systemd-analyze --man=no verify "$scratch/dlockfs@srv-locks.service" 2>&1)
		empty "systemd has nothing to say about the unit" "$said"
	fi
else
	found=
	for file in "${mount[@]}"; do
		[ ! -e "$prefix/$file" ] || found+="$file "
	done
	empty "built without dlockfs, nothing of it is there" "$found"
fi

missing=
for file in bin/dlock bin/dlock-local include/dlock.h share/man/man1/dlock.1 share/man/man3/dlock_open.3 \
	share/man/man5/dlock.conf.5 share/man/man7/libdlock.7; do
	[ -e "$prefix/$file" ] || missing+="$file "
done
empty "commands, header and manual are there" "$missing"

if make -C "$built" uninstall "${places[@]}" > "$scratch/log" 2>&1; then
	empty "make uninstall leaves nothing" "$(find "$prefix" -type f -o -type l)"
else
	bad "make uninstall leaves nothing" "$(tail -n 20 "$scratch/log")"
fi
end
