//! `git agent-vm mount`: all workspaces as files of this machine.

use std::process::ExitCode;

use crate::access;
use crate::config::{Config, Mounting, UnknownKeys};
use crate::error::Error;
use crate::git::Repo;
use crate::guest::{Call, Guest};
use crate::mount::{Mount, State};
use crate::state;
use crate::ui;
use crate::vm::Need;

/// Mount all workspaces at ~/.agent-vm-mounts/workspace
///
/// By sshfs, for editors and other programs of this machine. start and connect do so too, unless
/// agentvm.mount is false. Nothing in the mount is executed, no link leads out of it, and nobody
/// owns its files, so that git on this machine refuses the repositories in it: use git in the VM,
/// or fetch. A mount that is dead is made anew. A stopped VM is started.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Let nothing be written through it (also: agentvm.mount=ro)
    #[arg(long)]
    read_only: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(Repo::discover()?.as_ref(), UnknownKeys::Refuse)?;
    let mount = Mount::new(&config)?;
    check_trust(&config, &mount)?;
    let read_only = args.read_only || config.mount == Mounting::ReadOnly;
    // Whoever has the mount need not wait for the VM to say so.
    let there = mount.state()?;
    let enough = matches!(there, State::Mounted { read_only: is } if is || !args.read_only);
    let made = if enough {
        false
    } else {
        let (guest, _) = access::ask(&config, Need::Start, &Call::new("hello"), &[])?;
        mount.mount(&guest, read_only)?
    };
    let path = mount.path().display();
    if made {
        forget_warning();
        ui::note(&format!("mounted the workspaces at {path}"));
    } else {
        ui::note(&format!("the workspaces are mounted already at {path}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Mounts for a verb that is about something else: what goes wrong is a warning, given once.
pub(super) fn automatically(config: &Config, guest: &Guest) {
    if config.mount == Mounting::No {
        return;
    }
    let outcome = Mount::new(config).and_then(|mount| {
        check_trust(config, &mount)?;
        if matches!(mount.state()?, State::Mounted { .. }) {
            return Ok(());
        }
        if mount.mount(guest, config.mount == Mounting::ReadOnly)? {
            forget_warning();
            ui::note(&format!("mounted the workspaces at {}", mount.path().display()));
        }
        Ok(())
    });
    if let Err(error) = outcome
        && is_news(&format!("{error:#}"))
    {
        ui::warning(&format!("the workspaces are not mounted on this machine: {error:#}"));
        for hint in error.downcast_ref::<Error>().map(Error::hints).unwrap_or_default() {
            ui::hint(hint);
        }
        ui::hint("without a mount: git config --global agentvm.mount false");
    }
}

/// Refuses where git was told to trust repositories of any owner: the mount's would be among them.
fn check_trust(config: &Config, mount: &Mount) -> anyhow::Result<()> {
    let Some(trusted) = config.trusted.iter().find(|trusted| trusted.reaches(mount.path())) else {
        return Ok(());
    };
    let what = format!(
        "safe.directory={} in {} makes git trust repositories of any owner, those in the VM too: git or an editor that looks into the mount would run on this machine what the VM has put into their configuration",
        trusted.value, trusted.origin
    );
    let mut error = Error::failed(what).hint(format!(
        "take it away: git config --global --unset-all safe.directory '{}'",
        trusted.value.replace('*', r"\*").replace('\'', r"'\''")
    ));
    if matches!(mount.state()?, State::Mounted { .. }) {
        error = error.hint("the workspaces are mounted now; git agent-vm unmount ends that");
    }
    Err(error.into())
}

/// Whether this was not what was warned of last.
fn is_news(text: &str) -> bool {
    let Ok(path) = warned() else { return true };
    if std::fs::read(&path).is_ok_and(|last| last == text.as_bytes()) {
        return false;
    }
    // Where it can't be remembered, it is said again.
    state::write_private(&path, text.as_bytes()).ok();
    true
}

fn forget_warning() {
    if let Ok(path) = warned() {
        std::fs::remove_file(path).ok();
    }
}

fn warned() -> anyhow::Result<std::path::PathBuf> {
    Ok(state::private_dir(&state::root()?.join("mount"))?.join("warned"))
}
