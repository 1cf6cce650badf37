#!/bin/bash
# Locks by creating a name, of the libraries of Python, Perl and node.

mode=create
# shellcheck source=tests/programs/lib.sh
. "$(dirname -- "$0")/lib.sh"

# ---------------------------------------------------------------- Python

# A module of Debian's that is not there is told as skipped.
# shellcheck disable=SC2154 # module and kind come with the call of program
python_kind()
{
	"$PYTHON" -c "import $module" 2>/dev/null || unable "no python3-$module"
	library_idiom "$PYTHON" "$lib_here/locks.py" "$kind"
}
module=filelock kind=filelock:soft program "python3-filelock: SoftFileLock" python_kind "$PYTHON"
module=lockfile
kind=lockfile:mkdir program "python3-lockfile: MkdirLockFile" python_kind "$PYTHON"
kind=lockfile:link program "python3-lockfile: LinkLockFile" python_kind "$PYTHON"
kind=lockfile:symlink program "python3-lockfile: SymlinkLockFile" python_kind "$PYTHON"
kind=lockfile:pid program "python3-lockfile: PIDLockFile" python_kind "$PYTHON"

# ---------------------------------------------------------------- Perl

nfslock()
{
	perl -MFile::NFSLock -e 1 2>/dev/null || unable "no libfile-nfslock-perl"
	library_idiom perl "$lib_here/locks.pl" nfslock
}
program "File::NFSLock" nfslock perl

# It relies on being refused to write to a file of mode 0444, which root is not: on
# any file system. So root does without that one right here.
lockfile_simple()
{
	perl -MLockFile::Simple -e 1 2>/dev/null || unable "no liblockfile-simple-perl"
	local -a wrap=()
	[ "$(id -u)" != 0 ] || wrap=(setpriv --bounding-set=-dac_override)
	library_idiom "${wrap[@]}" perl "$lib_here/locks.pl" "$kind"
}
kind=simple program "LockFile::Simple" lockfile_simple perl
kind=simple-nfs program "LockFile::Simple -nfs" lockfile_simple perl

# ---------------------------------------------------------------- node

# shellcheck disable=SC2154 # package and version come with the call of program
npm_package()
{
	npm_modules "$package@$version"
	library_idiom node "$lib_here/locks.cjs" "$package"
}
package=proper-lockfile version=4 program "npm proper-lockfile" npm_package node npm
package=lockfile version=1 program "npm lockfile" npm_package node npm

# Its lock is kept fresh by its own timer, every second here, and by nobody else.
proper_lockfile_fresh()
{
	npm_modules proper-lockfile@4
	lib_program=(node "$lib_here/locks.cjs" proper-lockfile)
	lib_hold "$A"
	local first last
	first=$(stat -c %.3Y "$A/$name.lock")
	nap 3.5
	last=$(stat -c %.3Y "$A/$name.lock")
	[ "$first" != "$last" ] || bad "its time stays at $first"
	refused "refused in B, though older than its limit" 1 '^held$' "${lib_program[@]}" try "$B/$name"
	lib_let_go
}
package=proper-lockfile program "npm proper-lockfile keeps its lock for longer than its limit" proper_lockfile_fresh node npm
plan
