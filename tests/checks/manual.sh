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
	"$@" 2>/dev/null | grep -o -E '(^|[ ,|[(])--?[a-zA-Z][a-zA-Z-]*' | tr -d ' ,|[(' |
		grep -E '^(--[a-z-]+|-[a-zA-Z])$' | LC_ALL=C sort -u
}

for command in dlock dlock-local; do
	program=$built/tools/$command
	[ -x "$program" ] || program=$top/tools/$command
	options_of_help "$program" --help > "$scratch/help"
	options_of_page "man/$command.1" > "$scratch/page"
	if [ ! -s "$scratch/help" ]; then
		bad "$command --help names options" "it names none"
		continue
	fi
	empty "man/$command.1 has every option of $command --help" "$(LC_ALL=C comm -23 "$scratch/help" "$scratch/page")"
	empty "$command --help has every option of man/$command.1" "$(items_of_page "man/$command.1" | while read -r -a names; do
		# An option with several names is told by one of them at least.
		printf '%s\n' "${names[@]}" | grep -q -x -F -f "$scratch/help" || echo "${names[*]}"
	done)"
done

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
