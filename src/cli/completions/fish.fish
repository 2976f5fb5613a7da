# Completion of git-agent-vm for fish; it belongs into ~/.config/fish/conf.d.
# Written by: git agent-vm completions fish

# What stands behind "git agent-vm": not every fish passes it on by itself.
function __git_agent_vm_of_git
    set -l words (commandline -opc)
    set -l at (contains -i -- agent-vm $words)
    or return
    set -e words[1..$at]
    complete -C "git-agent-vm "(string join ' ' -- (string escape -- $words) (commandline -ct))
end
complete -c git -f -n 'contains -- agent-vm (commandline -opc)' -a '(__git_agent_vm_of_git)'

complete -c git-agent-vm -f
