# Completion of git-agent-vm for bash. git's own completion calls
# _git_agent_vm for "git agent-vm". Written by: git agent-vm completions bash

# What may stand after a verb, or before any.
__git_agent_vm_words() {
    case $1 in
@WORDS@
    esac
}

# __git_agent_vm GIT CURRENT PREVIOUS WORD…: WORDs are those before the current
# one. Branch names are data: nothing here may expand them, and what the shell
# would expand is quoted.
__git_agent_vm() {
    local git=$1 cur=$2 prev=$3 verb='' places=0 skip='' word candidate
    shift 3
    for word in "$@"; do
        if [ -n "$skip" ]; then
            [ "$word" = = ] || skip=''
            continue
        fi
        case $verb:$word in
        *:--) return ;;
        @VALUED@) skip=1 ;;
        *:-*) ;;
        *) if [ -z "$verb" ]; then verb=$word; else places=$((places + 1)); fi ;;
        esac
    done
    COMPREPLY=()
    while IFS= read -r candidate; do
        case $candidate in
        "$cur"*) COMPREPLY+=("$(printf %q "$candidate") ") ;;
        esac
    done < <(
        case $verb:$prev in
@VALUES@
        @FREE@) exit ;;
        esac
        case $cur in
        -*) __git_agent_vm_words "$verb" ;;
        *) case $verb:$places in
            :*) __git_agent_vm_words '' ;;
            @BRANCH@)
                {
                    "$git" for-each-ref --format='%(refname:strip=2)' refs/heads
                    # Workspaces that this repository knows of, whether it has the branch or not.
                    "$git" config --name-only --get-regexp '^remote\.agentvm::.*\.push$' |
                        sed 's/^remote\.agentvm:://; s/\.push$//'
                } 2>/dev/null | sort -u ;;
            @TRASH@) "$git" agent-vm restore --names 2>/dev/null ;;
            *) __git_agent_vm_words "$verb" | grep -v '^-' ;;
            esac ;;
        esac
    )
}

_git_agent_vm() {
    # git's completion has set these, and __git knows -C and --git-dir.
    # shellcheck disable=SC2154
    __git_agent_vm __git "$cur" "${words[cword - 1]}" \
        "${words[@]:__git_cmd_idx + 1:cword - __git_cmd_idx - 1}"
}

__git_agent_vm_alone() {
    __git_agent_vm git "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}" \
        "${COMP_WORDS[@]:1:COMP_CWORD - 1}"
}
complete -o bashdefault -o default -o nospace -F __git_agent_vm_alone git-agent-vm
