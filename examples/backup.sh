#!/bin/sh
# backup.sh SOURCE TARGET - one backup of SOURCE at a time in the whole fleet.
#
# The script runs itself again under the lock, as scripts do with flock(1):
# everything below that line is held. Others give up at once, with status 0:
# that somebody else is at it is no error here. If the lock is lost, dlock
# stops this script before another machine may begin, and exits with 75.
set -eu

if [ $# -ne 2 ]; then
	echo "usage: $0 SOURCE TARGET" >&2
	exit 64
fi
if [ "${DLOCK_NAME:-}" != "backup$1" ]; then
	exec dlock -n -E 0 "backup$1" "$0" "$@"
fi

# The token grows with every holder, so names of backups sort in the order in
# which they were made, whatever the machines' clocks say.
mkdir -p "$2"
target=$2/$(printf '%020d' "$DLOCK_TOKEN").tar.gz
tar -C "$1" -czf "$target.part" .
mv "$target.part" "$target"
echo "$target"
