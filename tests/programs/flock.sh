#!/bin/bash
# Locks by flock(2) and fcntl(2) over a whole file: programs that run a command under
# their lock, and libraries.
# shellcheck disable=SC2034 # held, says and the like are read by lib.sh

mode=flock
# shellcheck source=tests/programs/lib.sh
. "$(dirname -- "$0")/lib.sh"

# ---------------------------------------------------------------- flock(2)

flock_()
{
	held=1 says='' passes_status=yes
	within_lock() { flock "$1/$name" "${@:2}"; }
	try_lock() { flock -n "$1/$name" "${@:2}"; }
	command_idiom
	holder "$A"
	refused "-E gives the status" 7 '' flock -n -E 7 "$B/$name" true
	refused "-w gives up" 1 '' flock -w 0.2 "$B/$name" true
	refused "shared is refused, too" 1 '' flock -n -s "$B/$name" true
	end_holder
	within_lock() { flock -s "$1/$name" "${@:2}"; }
	holder "$A"
	step "shared in A: shared in B as well" flock -n -s "$B/$name" true
	refused "shared in A: exclusive in B is not" 1 '' flock -n "$B/$name" true
	end_holder
	step "-c" flock -n "$B/$name" -c true
	flock_options
}

flock_options()
{
	within_lock() { flock -F "$1/$name" "${@:2}"; }
	holder "$A"
	refused "-F: it becomes the command, which has the lock" 1 '' flock -n "$B/$name" true
	end_holder
	step "free in B" flock -n "$B/$name" true
	# What the command leaves behind has the lock as well, until that ends; unless -o.
	step "a command that leaves a process" flock -n "$A/$name" sh -c 'sleep 60 >/dev/null 2>&1 & echo $! >left'
	refused "which has the lock in A" 1 '' flock -n "$B/$name" true
	step "which ends" kill "$(cat left)"
	step "free in B" flock -w 10 "$B/$name" true
	step "-o: a command that leaves a process" flock -n -o "$A/$name" sh -c 'sleep 60 >/dev/null 2>&1 & echo $! >left'
	step "which has no lock" flock -n "$B/$name" true
	kill "$(cat left)"
	refused "--verbose" 0 'getting lock took|executing true' flock --verbose "$A/$name" true
}
program "flock" flock_ flock

# The lock of a script that opens the file by itself and locks the descriptor.
flock_descriptor()
{
	held=9 says=''
	within_lock() { (exec 7>"$1/$name" && flock 7 && shift && "$@"); }
	try_lock() { (exec 7>"$1/$name" && flock -n -E 9 7 && shift && "$@"); }
	command_idiom
	exec 7>"$A/$name"
	step "locked by descriptor in A" flock -n 7
	refused "refused in B" 9 '' try_lock "$B" true
	step "unlocked by -u in A" flock -u 7
	step "free in B" try_lock "$B" true
	exec 7>&-
}
program "flock of a descriptor" flock_descriptor flock

chpst_()
{
	held=111 says='unable to lock'
	within_lock() { chpst -l "$1/$name" "${@:2}"; }
	try_lock() { chpst -L "$1/$name" "${@:2}"; }
	command_idiom
}
program "chpst -L" chpst_ chpst

setlock_()
{
	held=111 says='unable to lock'
	within_lock() { setlock "$1/$name" "${@:2}"; }
	try_lock() { setlock -n "$1/$name" "${@:2}"; }
	command_idiom
	holder "$A"
	refused "-x: without a word" 0 '' setlock -nx "$B/$name" touch never-made
	[ ! -e never-made ] || bad "ran the command all the same"
	end_holder
}
program "setlock" setlock_ setlock

# One queue for the fleet: a folder of files, each created by O_EXCL, locked, and only
# then renamed to what others take for a job. A job begins when those before it have
# ended; `nq -t` tells whether they have, `nq -w` waits for it. The file of a job stays
# when it has ended: the job removes it by itself here, as its last step.
nq_()
{
	local a b last
	# shellcheck disable=SC2016 # for the job's shell
	last='; rm "$NQDIR/$NQJOBID"'
	mkfifo release
	step "a job in A" queue "$A" sh -c "echo begin-1 >>$case_dir/log.nq; read -r line <$case_dir/release; echo end-1 >>$case_dir/log.nq$last"
	a=$(cat out)
	within 5 grep -s -q begin-1 log.nq || bad "the job in A does not begin"
	refused "-t in A: not yet" 1 '' queue "$A" -t
	refused "-t in B: not yet" 1 '' queue "$B" -t
	step "a job in B" queue "$B" sh -c "echo begin-2 >>$case_dir/log.nq$last"
	b=$(cat out)
	nap 0.5
	! grep -q begin-2 log.nq || bad "the job in B did not wait"
	[ -e "$A/$b" ] || bad "A does not see the job of B"
	timeout 10 sh -c 'echo >release' || bad "the job in A is not there any more"
	step "-w in A" timeout 20 env NQDIR="$A" nq -w
	step "-w in B" timeout 20 env NQDIR="$B" nq -w
	[ "$(tr '\n' ' ' <log.nq)" = "begin-1 end-1 begin-2 " ] || bad "another order: $(tr '\n' ' ' <log.nq)"
	step "-t in A" queue "$A" -t
	step "-t in B" queue "$B" -t
	[ ! -e "$A/$a" ] && [ ! -e "$B/$b" ] || bad "a job is still there"
	nq_many
}

# Jobs of both hosts, one after the other; each counts, and would find another one inside.
nq_many()
{
	local i directory
	echo >inside
	echo 0 >counter
	for ((i = 0; i < times; i++)); do
		for directory in "$A" "$B"; do
			# shellcheck disable=SC2016 # for the job's shell
			step "a job" queue "$directory" sh -c 'sh "$1" "$2" >>"$2/said" 2>&1; rm "$NQDIR/$NQJOBID"' sh "$lib_here/increment.sh" "$case_dir"
		done
	done
	within 60 queue "$A" -t && within 60 queue "$B" -t || bad "the jobs do not end"
	[ ! -s said ] || { cp said out; bad "a job failed"; }
	[ "$(cat counter)" -eq $((2 * times)) ] || bad "counted to $(cat counter), not $((2 * times))"
	log "2 x $times jobs"
}
queue() { NQDIR=$1 nq "${@:2}"; }
program "nq" nq_ nq

ruby_() { library_idiom ruby "$lib_here/locks.rb" flock; }
program "ruby: File#flock" ruby_ ruby

perl_() { library_idiom perl "$lib_here/locks.pl" flock; }
program "perl: flock" perl_ perl

# shellcheck disable=SC2154 # module and kind come with the call of program
python_kind()
{
	"$PYTHON" -c "import $module" 2>/dev/null || unable "no python3-$module"
	library_idiom "$PYTHON" "$lib_here/locks.py" "$kind"
}
module=filelock kind=filelock:unix program "python3-filelock: FileLock" python_kind "$PYTHON"

# ---------------------------------------------------------------- fcntl(2), the whole file

s6_setlock()
{
	held=1 says='unable to (acquire )?lock'
	within_lock() { s6-setlock "$1/$name" "${@:2}"; }
	try_lock() { s6-setlock -n "$1/$name" "${@:2}"; }
	command_idiom
	holder "$A"
	refused "-t gives up" 1 'timed out' s6-setlock -t 200 "$B/$name" true
	end_holder
	within_lock() { s6-setlock -r "$1/$name" "${@:2}"; }
	holder "$A"
	step "-r in A: -r in B as well" s6-setlock -n -r "$B/$name" true
	refused "-r in A: not without" 1 'unable to lock' s6-setlock -n "$B/$name" true
	end_holder
}
program "s6-setlock" s6_setlock s6-setlock

lckdo_()
{
	held=75 says='is already locked'
	within_lock() { lckdo -w "$1/$name" "${@:2}"; }
	try_lock() { lckdo "$1/$name" "${@:2}"; }
	command_idiom
	holder "$A"
	refused "-W gives up" 75 'is already locked|lockfile' lckdo -w -W 1 "$B/$name" true
	end_holder
}
program "lckdo" lckdo_ lckdo

# After it has the lock it looks whether the file is still the one of that name.
with_lock_ex()
{
	held=255 says='could not acquire lock'
	within_lock() { with-lock-ex -w "$1/$name" "${@:2}"; }
	try_lock() { with-lock-ex -f "$1/$name" "${@:2}"; }
	command_idiom
	holder "$A"
	refused "-q: without a word" 0 '' with-lock-ex -q "$B/$name" touch never-made
	[ ! -e never-made ] || bad "ran the command all the same"
	end_holder
}
program "with-lock-ex" with_lock_ex with-lock-ex

# It always waits, for a second at the least.
runlock_()
{
	held=73 says=''
	within_lock() { runlock -t 60 -f "$1/$name" -- "${@:2}"; }
	try_lock() { runlock -t 1 -f "$1/$name" -- "${@:2}"; }
	command_idiom
}
program "runlock" runlock_ runlock

module=fasteners
kind=fasteners program "python3-fasteners: InterProcessLock" python_kind "$PYTHON"
kind=fasteners-shared program "python3-fasteners: InterProcessReaderWriterLock" python_kind "$PYTHON"

# lockf on the mailbox, and the mailbox' lock beside it by link.
mailbox_()
{
	: >"$A/$name" && : >"$B/$name" || bad "no mailbox"
	library_idiom "$PYTHON" "$lib_here/locks.py" mailbox
	# Another program that only knows of the lock beside it.
	if usable dotlockfile; then
		step "dotlockfile in A" dotlockfile -l -r 0 "$A/$name.lock"
		refused "refused by dotlockfile's lock" 1 '^held$' "${lib_program[@]}" try "$B/$name"
		step "released in A" dotlockfile -u "$A/$name.lock"
	fi
	step "free in B" "${lib_program[@]}" try "$B/$name"
}
program "python3: mailbox" mailbox_ "$PYTHON"
plan
