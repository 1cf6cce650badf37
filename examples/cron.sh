#!/bin/sh
# cron.sh NAME COMMAND... - a job that every machine's cron starts and one does.
#
# Put the same line into the crontab of every machine:
#
#	0 3 * * *  root  /usr/local/bin/cron.sh nightly /usr/local/bin/nightly
#
# The first machine gets the lock and runs COMMAND; the others find it held and
# end with status 0. The lock is kept for KEEP seconds (60) at least, so that a
# machine whose clock is a little behind still finds it held when the job itself
# takes no time.
set -eu

if [ $# -lt 2 ]; then
	echo "usage: $0 NAME COMMAND [ARGUMENT...]" >&2
	exit 64
fi
name=$1
shift
export KEEP="${KEEP:-60}"

# shellcheck disable=SC2016 # expanded by the inner shell
exec dlock -n -E 0 "$name" sh -c '
	sleep "$KEEP" &
	status=0
	"$@" || status=$?
	wait
	exit $status' sh "$@"
