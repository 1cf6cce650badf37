#!/bin/bash
# The manual, the header and the command's own help say the same names.
. "$(dirname "$0")/common"

missing=
while read -r function; do
	[ -e "man/$function.3" ] || missing+="$function "
done < <(public_functions)
empty "every public function has a page or an alias in section 3" "$missing"

# An alias must lead to a page that names the function among its own.
wrong=
for page in man/dlock_*.3; do
	name=$(basename "$page" .3)
	target=$page
	if to=$(sed -n -E 's/^\.so (man3\/)?//p' "$page") && [ -n "$to" ]; then
		target=man/$to
		[ -e "$target" ] || { wrong+="$page leads to $to, which is not there
"; continue; }
	fi
	grep -q -F "$name" "$target" || sed 's/\\-/-/g; s/\\_/_/g' "$target" | grep -q -F "$name" || wrong+="$target does not name $name
"
done
empty "every alias leads to a page that names it" "$wrong"

unknown=
for page in man/dlock_*.3; do
	name=$(basename "$page" .3)
	grep -q "^\.so" "$page" || continue
	public_functions | grep -q -x "$name" || unknown+="$name "
done
empty "no alias for a function that is not there" "$unknown"

# The options that a page (mdoc) explains: each item of a list with its names on one
# line, or all the names; and those of --help, as words.
items_of_page() {
	sed 's/\\-/-/g' "$1" | awk '/^\.It .*Fl / {
		names = ""
		for (i = 2; i < NF; i++)
			if ($i == "Fl") names = names " -" $(i + 1)
		print names
	}'
}
options_of_page() {
	items_of_page "$1" | tr -s ' ' '\n' | grep -E '^(--[a-z-]+|-[a-zA-Z])$' | LC_ALL=C sort -u
}
options_of_help() {
	"$@" 2>/dev/null | grep -v '^ *mount ' | grep -o -E '(^|[ ,|[(])--?[a-zA-Z][a-zA-Z-]*' | tr -d ' ,|[(' |
		grep -E '^(--[a-z-]+|-[a-zA-Z])$' | LC_ALL=C sort -u
}

# compare COMMAND PROGRAM PAGE
compare() {
	options_of_help "$2" --help > "$scratch/help"
	options_of_page "$3" > "$scratch/page"
	if [ ! -s "$scratch/help" ]; then
		bad "$1 --help names options" "it names none"
		return
	fi
	empty "$3 has every option of $1 --help" "$(LC_ALL=C comm -23 "$scratch/help" "$scratch/page")"
	empty "$1 --help has every option of $3" "$(items_of_page "$3" | while read -r -a names; do
		# An option with several names is told by one of them at least.
		printf '%s\n' "${names[@]}" | grep -q -x -F -f "$scratch/help" || echo "${names[*]}"
	done)"
}

for command in dlock dlock-local; do
	program=$built/tools/$command
	[ -x "$program" ] || program=$top/tools/$command
	compare $command "$program" man/$command.1
done

# What may follow -o: in --help the words that begin a line below "Mount options:", as
# far as they end with = or a comma; on the page the items of OPTIONS that begin with Cm.
mount_options_of_help() {
	"$1" --help 2>/dev/null | awk '/^Mount options:/ { on = 1; next } /^$/ { on = 0 } on && /^  [a-z]/ {
		for (i = 1; i <= NF; i++) {
			name = $i
			sub(/[=,].*/, "", name)
			print name
			if ($i !~ /[=,]$/) break
		}
	}' | LC_ALL=C sort -u
}
mount_options_of_page() {
	awk '/^\.Sh / { on = $2 == "OPTIONS" }
		/^\.It Xo/ { several = 1; next }
		/^\.Xc/ { several = 0 }
		on && several && /^\.Cm / { print $2 }
		on && /^\.It Cm / {
			print $3
			for (i = 4; i < NF; i++) if ($i == ",") print $(i + 1)
		}' man/dlockfs.8 | LC_ALL=C sort -u
}

dlockfs=$built/fuse/dlockfs
[ -x "$dlockfs" ] || dlockfs=$top/fuse/dlockfs
if [ -x "$dlockfs" ]; then
	compare dlockfs "$dlockfs" man/dlockfs.8
	mount_options_of_help "$dlockfs" > "$scratch/help"
	mount_options_of_page > "$scratch/page"
	[ "$(wc -l < "$scratch/help")" -gt 10 ] && good "dlockfs --help names mount options" ||
		bad "dlockfs --help names mount options" "$(cat "$scratch/help")"
	empty "man/dlockfs.8 has every mount option of --help" "$(LC_ALL=C comm -23 "$scratch/help" "$scratch/page")"
	empty "dlockfs --help has every mount option of man/dlockfs.8" "$(LC_ALL=C comm -13 "$scratch/help" "$scratch/page")"
	# shellcheck disable=SC2016 # for that shell
	"$BASH" -c '. completions/dlockfs.bash
		compopt() { :; }
		_dlockfs_mount_options ""
		printf "%s\n" "${COMPREPLY[@]%=}"' | LC_ALL=C sort -u > "$scratch/offered"
	empty "completions/dlockfs.bash offers every mount option of --help" "$(LC_ALL=C comm -23 "$scratch/help" "$scratch/offered")"
	sed -n -E "s/^[[:space:]]+'([a-z_]+)\[.*/\1/p" completions/_dlockfs | LC_ALL=C sort -u > "$scratch/offered"
	empty "completions/_dlockfs offers every mount option of --help" "$(LC_ALL=C comm -23 "$scratch/help" "$scratch/offered")"
else
	omit "dlockfs --help and man/dlockfs.8 have the same options" "dlockfs was not built"
fi
missing=
for option in $(sed -n -E 's/^    OPTION\("([^"=]*)=?".*/\1/p' fuse/options.c); do
	case $option in
	x-|X-|*time) continue ;; # told as "x-..." and as "options on access times"
	-*) option=$(printf '%s' "$option" | sed -E 's/^-+//') ;;
	esac
	sed 's/\\-/-/g' man/dlockfs.8 | grep -q -w -F -e "$option" || missing+="$option "
done
empty "man/dlockfs.8 names every option that fuse/options.c knows" "$missing"

# Every key of the settings is in dlock.conf(5).
missing=
for key in servers ttl prefix node_timeout quorum_timeout quarantine max_ttl lock_delay password_file tls_ca tls_cert tls_key; do
	sed 's/\\-/-/g; s/\\_/_/g; s/\\f.//g' man/dlock.conf.5 | grep -q -w -F "$key" || missing+="$key "
done
empty "dlock.conf(5) explains every key" "$missing"

if command -v man > /dev/null && command -v groff > /dev/null; then
	for page in man/*.[1-9]; do
		grep -q '^\.so' "$page" && continue
		said=$(LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 > /dev/null)
		empty "$page is formatted without a warning" "$said"
	done
else
	omit "the pages are formatted without a warning" "no man or groff here"
fi
end
