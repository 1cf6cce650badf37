#!/bin/bash
# Every shell script: parsed, and read by shellcheck where it is there.
. "$(dirname "$0")/common"

scripts=$(grep -lIE --exclude-dir=.git --exclude-dir=build --exclude-dir=build-aux --exclude-dir=autom4te.cache --exclude='*.log' -r -m1 \
	'^#!/bin/(ba)?sh' .ci autogen.sh scripts tools tests libdlock/scripts examples 2>/dev/null |
	while read -r file; do head -n 1 "$file" | grep -q '^#!/bin/' && echo "$file"; done | LC_ALL=C sort)
[ -n "$scripts" ] || bad "there are scripts"

have=yes
command -v shellcheck > /dev/null || have=no
for script in $scripts; do
	case $(head -n 1 "$script") in
	*bash*) parser=bash ;;
	*) parser="sh" ;;
	esac
	if ! said=$($parser -n "$script" 2>&1); then
		bad "$script is understood" "$said"
	elif [ $have = no ]; then
		omit "$script passes shellcheck" "no shellcheck here"
	elif said=$(shellcheck -S warning -x -P SCRIPTDIR -P scripts "$script" 2>&1); then
		good "$script passes shellcheck"
	else
		bad "$script passes shellcheck" "$said"
	fi
done
end
