//! The remote helper: git's protocol on one side, one ssh session on the other.
//!
//! People on stderr, git on stdout: a single stray byte on stdout breaks the protocol, so nothing
//! below prints there but [`protocol`].

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use crate::config::{Config, UnknownKeys};
use crate::error::{self, Error};
use crate::git::Repo;
use crate::ui;

pub mod advertisement;
pub mod answers;
pub mod clashes;
pub mod companions;
pub mod enrolment;
pub mod fetch;
pub mod incoming;
pub mod keep;
pub mod lfs;
pub mod options;
pub mod protocol;
pub mod push;
pub mod relay;
pub mod session;
pub mod submodules;
pub mod url;

/// Runs what git (or, with `--relay`, this program itself) asks for.
#[must_use]
pub fn main() -> ExitCode {
    let args: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    let words: Vec<Option<&str>> = args.iter().map(|arg| arg.to_str()).collect();
    match words.as_slice() {
        [Some("--version" | "-V")] => {
            ui::data(&format!("git-remote-agentvm {}\n", env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
        [Some("--help" | "-h")] => {
            ui::data(concat!(
                "git-remote-agentvm is run by git, for addresses that begin with agentvm::, as in\n",
                "    git push agentvm::BRANCH\n",
                "See git help git-remote-agentvm, and git agent-vm --help.\n"
            ));
            ExitCode::SUCCESS
        }
        // git adds the address that we gave it, which says nothing new.
        [Some("--relay"), Some(socket), ..] => finish(relay::run(socket.as_ref()), 1),
        [Some(remote), Some(address)] => {
            // git gives its remote helpers the directory in GIT_DIR, or none outside a repository.
            finish(serve(remote, address), 128)
        }
        [Some(_), None] => {
            let error = Error::usage("an address of a workspace is UTF-8");
            finish(Err(error.into()), 128)
        }
        _ => {
            let error = Error::usage("git-remote-agentvm is run by git, for agentvm:: addresses")
                .hint("type: git push agentvm::BRANCH")
                .hint("see git agent-vm --help");
            finish(Err(error.into()), 2)
        }
    }
}

fn serve(remote: &str, address: &str) -> anyhow::Result<()> {
    if std::env::var_os(crate::git::NESTED).is_some() {
        hear_git();
        return Err(Error::failed(format!(
            "missing objects cannot be fetched from a workspace (agentvm::{address})"
        ))
        .hint("a workspace is no promisor: see extensions.partialClone in the repository's configuration")
        .into());
    }
    let address = url::Address::parse(address).inspect_err(|_| hear_git())?;
    let prepare = || {
        crate::git::mark_helper();
        let repo = Repo::discover()?;
        let config = Config::load(repo.as_ref(), UnknownKeys::Ignore)?;
        Ok(protocol::Helper::new(remote, address, repo, config))
    };
    protocol::run(prepare, &mut std::io::stdin().lock(), &mut std::io::stdout().lock())
}

/// Waits until git has sent its first line. Were nobody there to take it, git would end by a signal
/// (141 to a shell), and not with its own 128.
fn hear_git() {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        // Whatever comes of it: the error is what counts.
        crate::guest::wire::readable_within(&stdin, Duration::from_secs(5)).ok();
    }
}

fn finish(outcome: anyhow::Result<()>, code: u8) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The message alone: git turns whatever code a helper has into its own 128.
            let _ = error::report(&error);
            ExitCode::from(code)
        }
    }
}
