//! `git agent-vm unmount`: takes the mount of the workspaces down.

use std::process::ExitCode;

use crate::config::{Config, UnknownKeys};
use crate::git::Repo;
use crate::mount::{InUse, Mount};
use crate::ui;

/// Unmount the workspaces
///
/// While a process uses the mount, it is named and nothing is done. stop and destroy unmount too;
/// what is in the VM stays as it is.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// End the connection under whatever uses the mount; it meets errors
    #[arg(short, long)]
    force: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(Repo::discover()?.as_ref(), UnknownKeys::Refuse)?;
    let mount = Mount::new(&config)?;
    let in_use = if args.force { InUse::End } else { InUse::Refuse };
    if mount.take_down(in_use)? {
        ui::note(&format!("unmounted {}", mount.path().display()));
    } else {
        ui::note("the workspaces are not mounted");
    }
    Ok(ExitCode::SUCCESS)
}
