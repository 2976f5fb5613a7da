#compdef git-agent-vm
# Completion of git-agent-vm for zsh, where _git calls it for "git agent-vm", too.
# Put it into a directory of $fpath as _git-agent-vm, or source it after compinit.
# Written by: git agent-vm completions zsh

__git_agent_vm_branches() {
    local -a branches
    branches=(${(fu)"$({
        git for-each-ref --format='%(refname:strip=2)' refs/heads
        # Workspaces that this repository knows of, whether it has the branch or not.
        git config --name-only --get-regexp '^remote\.agentvm::.*\.push$' |
            sed 's/^remote\.agentvm:://; s/\.push$//'
    } 2>/dev/null)"})
    compadd -a branches
}

# What is in the trash of a VM that runs, or was saved.
__git_agent_vm_trash() {
    local -a names
    names=(${(f)"$(git agent-vm restore --names 2>/dev/null)"})
    compadd -a names
}

_git-agent-vm() {
    local curcontext=$curcontext state line
    local -a verbs
    typeset -A opt_args
    verbs=(
@VERBS@
    )
    _arguments -C \
@GLOBAL@
        '1: :->verb' '*:: :->rest'
    case $state in
    verb) _describe verb verbs ;;
    rest)
        case $words[1] in
@CASES@
        esac
        ;;
    esac
}

if [[ $funcstack[1] == _git-agent-vm ]]; then
    _git-agent-vm "$@"
else
    compdef _git-agent-vm git-agent-vm
fi
