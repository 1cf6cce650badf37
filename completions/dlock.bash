# bash completion for dlock(1). Needs no helper of the bash-completion package.

# The names that are held now; nothing when the masters do not answer in time.
_dlock_held_names()
{
	timeout 2 dlock --list --json 2>/dev/null </dev/null |
		sed -n 's/^ *{"name": "\([^"\\]*\)",.*/\1/p' | sort -u
}

# Words of $1 that begin with $2, one a line, quoted for the command line.
_dlock_offer_lines()
{
	local line
	while IFS= read -r line; do
		[[ $line == "$2"* ]] && printf '%q\n' "$line"
	done <<<"$1"
}

# The first word that is neither an option nor an option's argument: the lock's
# name. Its index in COMP_WORDS is printed; nothing when it is still to come.
_dlock_name_index()
{
	local i
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-w | -E | --timeout | --wait | --conflict-exit-code | --servers | --config | \
			--ttl | --prefix | --on-loss | --max-ttl | --interval | --who | --break)
			# readline splits --option=value into three words.
			[[ ${COMP_WORDS[i + 1]-} == '=' ]] && ((i++))
			((i++))
			;;
		=) ((i++)) ;;
		--)
			((i + 1 < COMP_CWORD)) && echo $((i + 1))
			return
			;;
		-*) ;;
		*)
			echo "$i"
			return
			;;
		esac
	done
}

_dlock()
{
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} name
	COMPREPLY=()
	name=$(_dlock_name_index)
	# All that is no option of --watch is one name more.
	if [[ -n $name && " ${COMP_WORDS[*]:0:name} " != *' --watch '* ]]; then
		if [[ $previous == -c || $previous == --command ]] && ((COMP_CWORD == name + 2)); then
			mapfile -t COMPREPLY < <(compgen -c -- "$current")
		elif ((COMP_CWORD == name + 1)); then
			mapfile -t COMPREPLY < <(compgen -W '-c' -- "$current"; compgen -c -- "$current")
		elif declare -F _command_offset >/dev/null; then
			_command_offset $((name + 1))
		else
			compopt -o default
		fi
		return
	fi
	[[ $current == '=' ]] && current=
	[[ $previous == '=' ]] && previous=${COMP_WORDS[COMP_CWORD - 2]}
	case $previous in
	-w | --timeout | --wait | -E | --conflict-exit-code | --servers | --ttl | --prefix | --max-ttl | \
		--interval)
		return ;;
	--config)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		return ;;
	--on-loss)
		mapfile -t COMPREPLY < <(compgen -W 'stop ignore' -- "$current")
		return ;;
	--who | --break)
		mapfile -t COMPREPLY < <(_dlock_offer_lines "$(_dlock_held_names)" "$current")
		return ;;
	esac
	if [[ $current == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W '--shared --exclusive --unlock --nonblock --timeout
			--conflict-exit-code --close --verbose --help --version --list --who --watch --break --doctor
			--interval --init --json --yes --servers --config --ttl --prefix --on-loss --max-ttl' -- "$current")
	else
		mapfile -t COMPREPLY < <(_dlock_offer_lines "$(_dlock_held_names)" "$current")
	fi
}

complete -F _dlock dlock
