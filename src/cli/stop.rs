//! `git agent-vm stop`: stop the VM; all that is in it stays.

use std::process::ExitCode;

use crate::config::{Config, UnknownKeys};
use crate::git::Repo;
use crate::mount::{InUse, Mount};
use crate::vm;

/// Stop the VM; all that is in it stays
///
/// The mount is taken down first. While a process here uses it, the process is named and nothing is
/// stopped.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(Repo::discover()?.as_ref(), UnknownKeys::Refuse)?;
    let provider = vm::provider(&config)?;
    if provider.has_lifecycle() {
        let doing = format!("stop the {}", provider.describe());
        Mount::new(&config)?.take_down_before(InUse::Refuse, &doing)?;
    }
    provider.stop()?;
    Ok(ExitCode::SUCCESS)
}
