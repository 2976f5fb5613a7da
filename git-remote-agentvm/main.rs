//! `git-remote-agentvm`: started by git for `agentvm::` URLs.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(2)
}
