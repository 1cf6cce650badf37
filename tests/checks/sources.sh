#!/bin/bash
# Conventions of the sources that no compiler holds anybody to.
. "$(dirname "$0")/common"

# --- every file is part of the build ---------------------------------------------------

missing=
for file in libdlock/*.[ch] libdlock/core/*.[ch] fuse/*.[ch] tools/*.[ch] tests/unit/*.c tests/integration/*.c tests/sim/*.[ch] tests/fuzz/*.[ch] tests/fuzz/*.sh tests/system/*.c tests/system/*.sh tests/programs/*.c tests/programs/*.sh tests/checks/*.sh tests/model/*.sh tests/model/*.pml tests/torture/* bench/*.[ch] bench/peers/*.* man/*.[1-9]; do
	[ -e "$file" ] || continue
	case $file in libdlock/script_data.h) continue ;; esac
	folder=${file%%/*}
	case $file in tests/fuzz/*) folder=tests/fuzz ;; esac
	# Test programs stand in the lists without their suffix.
	entry=${file#"$folder"/}
	grep -q -E "^[[:space:]]+%D%/${entry//./\\.}( |\$)" "$folder/Makemodule.am" ||
		grep -q -E "^[[:space:]]+%D%/${entry%.c}( |\$)" "$folder/Makemodule.am" || missing+="$file "
done
empty "every source, test and page is named in its Makemodule.am" "$missing"

# --- functions fit a screen --------------------------------------------------------------

# A function begins with { in the first column and ends with } there.
# shellcheck disable=SC2046 # a list
found=$(awk '
	FNR == 1 { start = 0 }
	/^[a-zA-Z_].*[(]/ { name = $0 }
	/^[{]/ { start = FNR }
	/^[}]/ { if (start && FNR - start - 1 > 70) print FILENAME ":" start ": " FNR - start - 1 " lines: " name; start = 0 }
	' $(c_sources))
empty "no function has more than 70 lines" "$found"

# --- every file says what it is ------------------------------------------------------------

missing=
for file in libdlock/*.[ch] libdlock/core/*.[ch] fuse/*.[ch] tools/*.[ch] bench/*.[ch]; do
	[ -e "$file" ] && [ "$file" != libdlock/script_data.h ] || continue
	head -n 3 "$file" | grep -q -F "$(basename "$file") - " || missing+="$file "
done
empty "every source begins by saying what it is for" "$missing"

# shellcheck disable=SC2046
found=$(grep -n -E '[[:space:]]+$' $(c_sources) | head)
empty "no white space at the ends of lines" "$found"

# --- hosts ------------------------------------------------------------------------------------

# Nothing here may fetch from anywhere but where the machine's own apt does.
found=$(grep -rnIE '(https?|ftp)://[a-z0-9.-]*(debian|ubuntu|npmjs|pypi|python|github|gitlab|crates|docker|golang|redis|valkey)[a-z0-9.-]*' \
	--exclude-dir=.git --exclude-dir=build --exclude-dir=build-aux --exclude-dir=autom4te.cache --exclude='*.log' \
	--exclude='*.trs' --exclude=configure --exclude=aclocal.m4 --exclude='l*.m4' --exclude=sources.sh \
	scripts .ci tests tools configure.ac Makefile.am autogen.sh m4 2>/dev/null)
empty "no mirror or registry is named" "$found"
end
