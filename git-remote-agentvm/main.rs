//! `git-remote-agentvm`: started by git for `agentvm::` addresses. See [`git_agent_vm::remote`].

use std::process::ExitCode;

fn main() -> ExitCode {
    git_agent_vm::remote::main()
}
