# bash completion of clsess: `clsess complete` says what the last word may be.

_clsess() {
    local answer line
    local words=("${COMP_WORDS[@]:1:COMP_CWORD-1}" "$2")
    # As they are typed, so with their quotes.
    mapfile -t answer < <(clsess complete "${words[@]//[\"\'\\]/}" 2>/dev/null)
    COMPREPLY=()
    case ${answer[0]-} in
    values)
        for line in "${answer[@]:1}"; do
            COMPREPLY+=("${line%%$'\t'*}")
        done
        ;;
    # Nothing of ours: bash itself, which knows how to write them.
    files) compopt -o default ;;
    directories) compopt -o dirnames ;;
    commands) mapfile -t COMPREPLY < <(compgen -c -- "$2") ;;
    esac
}

complete -F _clsess clsess
