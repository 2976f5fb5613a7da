//! `git agent-vm`: the VM, its workspaces and shells. See [`git_agent_vm::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    git_agent_vm::cli::main()
}
