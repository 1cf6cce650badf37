#!/bin/bash
# The public header compiles alone, in every language that it is for, without a word;
# so does each example.
. "$(dirname "$0")/common"

# alone WHAT COMPILER OPTION...
alone() {
	local what=$1 compiler=$2 said
	shift 2
	if ! command -v "${compiler%% *}" > /dev/null; then
		omit "$what" "no $compiler here"
		return
	fi
	# shellcheck disable=SC2086 # CC may carry options
	if said=$($compiler "$@" -Wall -Wextra -Werror -I include -fsyntax-only "$scratch/alone.$extension" 2>&1) && [ -z "$said" ]; then
		good "$what"
	else
		bad "$what" "$said"
	fi
}

printf '#include <dlock.h>\n#include <dlock.h>\nint main(void) { return dlock_version() == NULL; }\n' | tee "$scratch/alone.c" > "$scratch/alone.cc"
extension=c
alone "dlock.h compiles alone as C11, pedantically" "$cc" -std=c11 -pedantic
alone "dlock.h compiles alone as C99" "$cc" -std=c99 -pedantic
alone "dlock.h compiles alone as GNU C" "$cc" -std=gnu17
extension=cc
alone "dlock.h compiles alone as C++11, pedantically" g++ -std=c++11 -pedantic
alone "dlock.h compiles alone as C++20" g++ -std=c++20 -pedantic

for example in examples/*.c; do
	[ -e "$example" ] || continue
	# shellcheck disable=SC2086
	if said=$($cc -std=gnu11 -Wall -Wextra -Werror -I include -fsyntax-only "$example" 2>&1); then
		good "$example compiles without a warning"
	else
		bad "$example compiles without a warning" "$said"
	fi
done
end
