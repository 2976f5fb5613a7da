//! `git agent-vm image`: prebaked images, from which a new VM starts with everything in it.

use std::process::ExitCode;

use crate::config::{Config, UnknownKeys};
use crate::git::Repo;

mod build;
mod list;
mod remove;

/// Build, list and remove images with everything in them
///
/// An image is Debian 13 with the packages of common/ and of agentvm.extras, installed beforehand:
/// start makes a new VM from the one that fits the settings, and has nothing to download or to
/// install then. VMs that are there keep what they have.
#[derive(Debug, clap::Args)]
#[command(
    disable_help_subcommand = true,
    after_help = "\
Examples:
  git agent-vm image build
  git agent-vm image list --json | jq -r '.images[] | select(.matches) | .path'
  git agent-vm image remove --unused"
)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Build(build::Args),
    List(list::Args),
    Remove(remove::Args),
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let repo = Repo::discover()?;
    let config = Config::load(repo.as_ref(), UnknownKeys::Refuse)?;
    match &args.action {
        Action::Build(args) => build::run(args, &config),
        Action::List(args) => list::run(args, &config),
        Action::Remove(args) => remove::run(args, &config),
    }
}
