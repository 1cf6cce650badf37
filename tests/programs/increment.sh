#!/bin/sh
# increment.sh FOLDER - add one to FOLDER/counter, as `increment` of lib.sh does: for
# programs that run a command under their lock. Fails if anybody else is inside.
set -eu
cd "$1"
read -r inside <inside
[ -z "$inside" ] || { echo "$inside is inside together with $$"; exit 1; }
echo $$ >inside
read -r number <counter
echo $((number + 1)) >counter
read -r inside <inside
[ "$inside" = $$ ] || { echo "$inside came inside to $$"; exit 1; }
echo >inside
