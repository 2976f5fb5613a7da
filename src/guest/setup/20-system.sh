# What tells programs and people where they are: a marker, and paths. The input is the VM's name.

write() {
    cat >"$1.new" || fail "cannot write $1 in the VM"
    chmod 0644 "$1.new"
    mv -f "$1.new" "$1"
}

apply() {
    receive
    read -r name <"$input"
    write /etc/agent-environment <<END
# This is a virtual machine that git-agent-vm made for coding agents. Whoever
# works in it may do as they like: sudo asks for no password, and nothing here
# reaches the host. What is committed in ~/workspace is fetched there by git.
AGENT_ENVIRONMENT=git-agent-vm
AGENT_VM=$name
END
    write /etc/profile.d/agentvm-paths.sh <<'END'
# Where tools put programs. Made by git-agent-vm.
for agentvm_dir in /usr/local/go/bin "$HOME/.cargo/bin" "$HOME/go/bin" "$HOME/.local/bin"; do
    case :$PATH: in
    *":$agentvm_dir:"*) ;;
    *) PATH=$agentvm_dir:$PATH ;;
    esac
done
unset agentvm_dir
export PATH
END
    result=installed
}
