# bash completion for dlockfs(8). Needs no helper of the bash-completion package.

# The last option of the list $1 that is being typed, as mode=flock,on_loss=SIG: the
# answers are lists that begin with what stands before it.
_dlockfs_mount_options()
{
	local before='' last=$1
	local -a answers=()
	if [[ $1 == *,* ]]; then
		before=${1%,*},
		last=${1##*,}
	fi
	case $last in
	mode=*) answers=(mode=create mode=flock) ;;
	on_loss=*) answers=(on_loss=SIGTERM on_loss=SIGINT on_loss=SIGHUP on_loss=SIGKILL on_loss=SIGUSR1 on_loss=SIGUSR2
		on_loss=none) ;;
	quarantine=*) answers=(quarantine=auto quarantine=off) ;;
	quorum_timeout=*) answers=(quorum_timeout=forever) ;;
	config=* | password_file=* | tls_ca=* | tls_cert=* | tls_key=*)
		compopt -o filenames -o nospace
		mapfile -t answers < <(compgen -f -P "${last%%=*}=" -- "${last#*=}") ;;
	*=*) ;;
	*)
		compopt -o nospace
		answers=(mode= on_loss= op_timeout= scratch= config= noprotect servers= ttl= prefix= node_timeout=
			quorum_timeout= quarantine= max_ttl= lock_delay= password_file= tls_ca= tls_cert= tls_key=
			allow_other ro nosuid nodev noexec) ;;
	esac
	for last in "${answers[@]}"; do
		last=$before$last
		[[ $last == "$1"* ]] && COMPREPLY+=("$last")
	done
}

_dlockfs()
{
	local current=${COMP_WORDS[COMP_CWORD]} line=${COMP_LINE:0:COMP_POINT} list i
	COMPREPLY=()
	# readline splits a list into words at each =; the whole of it follows the last blank.
	for ((i = COMP_CWORD; i > 1; i--)); do
		[[ ${COMP_WORDS[i]} == '=' || ${COMP_WORDS[i - 1]} == '=' ]] || break
	done
	if [[ ${COMP_WORDS[i - 1]} == -o ]]; then
		list=${line##*[[:space:]]}
		_dlockfs_mount_options "$list"
		# Only what readline takes for the last word is replaced.
		if [[ $COMP_WORDBREAKS == *=* && $list == *=* ]]; then
			COMPREPLY=("${COMPREPLY[@]#"${list%=*}="}")
		fi
	elif [[ $current == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W '-f --foreground -d --debug -o -h --help -V --version' -- "$current")
	else
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -d -- "$current")
	fi
}

complete -F _dlockfs dlockfs
