//! `git agent-vm provision`: bring what the VM was set up with up to date.

use std::process::ExitCode;

use crate::config::{Config, ProviderKind, UnknownKeys};
use crate::error::Error;
use crate::git::Repo;
use crate::handover::Unset;
use crate::provision::{Name, Outcome, Plan, Wanted};
use crate::ui;
use crate::vm::{self, IfAbsent, Resources};

/// Set the VM up with what has changed in common/
///
/// start does the same; this says what came of each stage. A stage whose input is as it was when the
/// VM last ran it is skipped, one that failed or was cut off goes on. What was taken out of a list
/// stays in the VM. A VM that does not run is started.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  git agent-vm provision
  git agent-vm provision --force npm python    newer versions of what is not pinned")]
pub(super) struct Args {
    /// Only these stages, in their own order
    #[arg(value_name = "STAGE")]
    stages: Vec<Name>,
    /// Run stages again that have not changed
    #[arg(short, long)]
    force: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(Repo::discover()?.as_ref(), UnknownKeys::Refuse)?;
    let provider = vm::provider(&config)?;
    let describe = provider.describe();
    if config.provider != ProviderKind::Lima {
        return Err(Error::usage(format!(
            "cannot set up the {describe}: with agentvm.provider=ssh the host is run by others"
        ))
        .into());
    }
    // What is wrong in common/ is said before anything starts.
    let plan = Plan::load(&config, Unset::Goes)?;
    let wanted = Wanted { names: &args.stages, force: args.force };
    plan.check(wanted)?;
    provider.start(Resources::default(), IfAbsent::Fail)?;
    let endpoint = vm::endpoint(provider.as_ref())?;
    for (name, outcome) in plan.apply(&config, &endpoint, &describe, wanted)? {
        let word = name.word();
        match outcome {
            Outcome::Unchanged => ui::note(&format!("{word}: unchanged")),
            Outcome::Present => ui::note(&format!("{word}: all is there")),
            // Said when it was over.
            Outcome::Done | Outcome::Skipped(_) => {}
        }
    }
    Ok(ExitCode::SUCCESS)
}
