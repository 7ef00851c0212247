# Without the package bash-completion: the functions of it that are used above.
if ! declare -F _get_comp_words_by_ref >/dev/null 2>&1; then
    # Joins what bash split at "=" and ":", and sets cur, prev, words and cword.
    _get_comp_words_by_ref()
    {
        local i joined=() at=0
        for ((i = 0; i < ${#COMP_WORDS[@]}; i++)); do
            if ((i > 1)) && { [[ ${COMP_WORDS[i]} == [=:]* ]] || [[ ${COMP_WORDS[i-1]} == *[=:] ]]; }; then
                joined[${#joined[@]}-1]+=${COMP_WORDS[i]}
            else
                joined+=("${COMP_WORDS[i]}")
            fi
            ((i == COMP_CWORD)) && at=$((${#joined[@]} - 1))
        done
        words=("${joined[@]}") cword=$at cur=${joined[at]} prev=${joined[at > 0 ? at - 1 : 0]}
    }
fi
if ! declare -F _filedir >/dev/null 2>&1; then
    # Folders, and files of the extensions that are named as "onnx|json".
    _filedir()
    {
        local IFS=$'\n' f
        COMPREPLY+=($(compgen -d -- "$cur"))
        [[ $1 == -d ]] && return
        for f in $(compgen -f -- "$cur"); do
            [[ -d $f ]] || { [[ -n $1 && $f != *.@(${1#@}) ]]; } || COMPREPLY+=("$f")
        done
    }
fi
shopt -s extglob

# Bash starts a new word at "=", and patterns hold characters that it would escape:
# what stands behind the last "=" is completed by itself.
eval "__dnnsplit_get_whole_results() $(declare -f __dnnsplit_get_completion_results | tail -n +2)"
__dnnsplit_get_completion_results()
{
    __dnnsplit_get_whole_results
    local head=${cur%"${cur##*=}"} line lines=
    if [[ -n $head && $COMP_WORDBREAKS == *=* ]]; then
        while IFS= read -r line; do
            lines+=${line#"$head"}$'\n'
        done <<<"$out"
        out=$lines cur=${cur#"$head"}
    fi
}

# Inside quotes bash splits nothing and wants the whole word.
__dnnsplit_complete()
{
    if [[ ${COMP_WORDS[COMP_CWORD]} != [\'\"]* ]]; then
        __start_dnnsplit "$@"
        return
    fi
    local cur prev words cword line
    _get_comp_words_by_ref -n "=:" cur prev words cword
    COMPREPLY=()
    while IFS= read -r line; do
        line=${line%%$'\t'*}
        [[ $line == :* || $line != "${cur#?}"* ]] || COMPREPLY+=("$line")
    done < <("${words[0]}" __complete "${words[@]:1:cword-1}" "${cur#?}" 2>/dev/null)
}
complete -o default -F __dnnsplit_complete dnnsplit
