# bash completion for dlock-local(1).

_dlock_local()
{
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} action='' options i
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		up | down | status | logs) action=${COMP_WORDS[i]} ;;
		run) action=run ;;
		--)
			if declare -F _command_offset >/dev/null; then
				_command_offset $((i + 1))
			else
				compopt -o default
				mapfile -t COMPREPLY < <(compgen -c -- "$current")
			fi
			return
			;;
		esac
	done
	[[ $current == '=' ]] && current=
	[[ $previous == '=' ]] && previous=${COMP_WORDS[COMP_CWORD - 2]}
	case $previous in
	-n | --count)
		mapfile -t COMPREPLY < <(compgen -W '1 3 5 7' -- "$current")
		return ;;
	--dir)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -d -- "$current")
		return ;;
	--server)
		mapfile -t COMPREPLY < <(compgen -W 'redis-server valkey-server' -- "$current")
		return ;;
	esac
	case $action in
	'') options='up down status logs run --help --version' ;;
	up) options='--count --dir --server' ;;
	run) options='--count --tcp --server --' ;;
	logs) options='--follow --dir' ;;
	*) options='--dir' ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
}

complete -F _dlock_local dlock-local
