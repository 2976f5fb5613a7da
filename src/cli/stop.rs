//! `git agent-vm stop`: stop the VM; all that is in it stays.

use std::process::ExitCode;

use crate::config::{Config, UnknownKeys};
use crate::git::Repo;
use crate::vm;

/// Stop the VM; all that is in it stays
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(Repo::discover()?.as_ref(), UnknownKeys::Refuse)?;
    vm::provider(&config)?.stop()?;
    Ok(ExitCode::SUCCESS)
}
