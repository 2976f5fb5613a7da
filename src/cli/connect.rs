//! `git agent-vm connect [BRANCH] [-- CMD…]`: a shell or a command in the VM.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::os::unix::ffi::OsStrExt as _;
use std::process::ExitCode;

use crate::access;
use crate::branch::BranchName;
use crate::cli::common::Here;
use crate::cli::{mount, push};
use crate::config::{Config, UnknownKeys};
use crate::environment::Names;
use crate::error::{self, Error};
use crate::git::{ObjectId, Repo};
use crate::guest::workspaces::{Found, Target};
use crate::guest::{Call, Guest};
use crate::handover;
use crate::remote::push::identity_for;
use crate::ssh::Tty;
use crate::trash;
use crate::ui;
use crate::vm::Need;

/// What tells a script that its command did not run, or that its end is not known, as with docker.
pub(super) const NOT_RUN: u8 = 125;

/// Open a shell in a branch's workspace, or run a command there
///
/// The branch is pushed first, so that the workspace has what is here. Where that cannot be, because
/// of work in the workspace that is not here yet, the shell opens all the same, with a warning. A
/// branch that neither this repository nor the VM has begins at HEAD. Without BRANCH the shell opens
/// in ~/workspace, which holds all workspaces. The VM is made or started where needed. The variables
/// that common/packages/envvars.txt names go along where they are set here.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  git agent-vm connect feature                       a shell in the workspace
  git agent-vm connect feature -- make test          a command; its exit code is ours
  git agent-vm connect feature -- sh -c 'a | b'      a line for a shell
  git agent-vm connect feature -- tar c . >a.tar     bytes pass exactly
  git agent-vm connect -- df -h                      in ~/workspace

Exit codes with a command: its own; 128 and the number of the signal that ended it; 125 where it
could not be started, its end is not known, or a file had no room for what it printed.")]
pub(super) struct Args {
    /// The branch whose workspace is meant
    branch: Option<BranchName>,
    /// Give the command no standard input
    #[arg(short = 'n')]
    no_input: bool,
    /// The command and its arguments, taken exactly as they are
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match connect(args) {
        // A command's own codes and ours must not meet.
        Err(error) if !args.command.is_empty() => {
            let _ = error::report(&error);
            Ok(ExitCode::from(NOT_RUN))
        }
        outcome => outcome,
    }
}

fn connect(args: &Args) -> anyhow::Result<ExitCode> {
    let place = match &args.branch {
        Some(branch) => in_workspace(branch)?,
        None => in_vm()?,
    };
    let guest = &place.guest;
    handover::refresh(&place.config, guest, handover::ROOT);
    mount::automatically(&place.config, guest);
    let token = place.names.values().map(|values| guest.keep_environment(&values)).transpose()?;
    let mut call = place.target.call("run").arg(token.unwrap_or_default());
    call = call.arg(&place.identity.0).arg(&place.identity.1);
    for word in &args.command {
        call = call.arg(word.as_bytes());
    }
    let on_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let tty = if on_terminal && !args.no_input { Tty::Yes } else { Tty::No };
    let Some(code) = guest.run_command(&call, tty, !args.no_input)? else {
        return Err(Error::failed(format!("lost the {}", guest.describe())).into());
    };
    if code == 127 && is_shell_line(&args.command) {
        ui::hint(
            "the command is one word with spaces in it; for a line with arguments or pipes: -- sh -c 'LINE'",
        );
    }
    Ok(ExitCode::from(code))
}

/// Where the command is to run, and what goes along with it.
struct Place {
    config: Config,
    guest: Guest,
    target: Target,
    /// The variables that may travel.
    names: Names,
    /// Name and address for commits made there; empty outside a workspace.
    identity: (String, String),
}

fn in_vm() -> anyhow::Result<Place> {
    let config = Config::load(Repo::discover()?.as_ref(), UnknownKeys::Refuse)?;
    let names = Names::load(&config)?;
    let call = Call::new("hello").arg("disk");
    let (guest, fields) = access::ask(&config, Need::Create, &call, &[])?;
    let left = trash::make_room(&guest, &config, &fields);
    trash::warn_of_room(&guest, &config, left);
    let identity = (String::new(), String::new());
    Ok(Place { config, guest, target: Target::all(), names, identity })
}

/// Has the workspace there and as new as it can be.
fn in_workspace(branch: &BranchName) -> anyhow::Result<Place> {
    let here = Here::load()?;
    // What is wrong in the list is said before anything is made.
    let names = Names::load(&here.config)?;
    let word = branch.in_shell();
    let tip = here.repo.branch_tip(branch)?;
    if tip.is_none() && here.id()?.is_none() {
        push::head(&here.repo, branch)?;
    }
    let call = here.find_call(branch, tip.as_ref())?.arg("disk");
    let (guest, fields) = here.ask_showing(Need::Create, &call)?;
    let left = trash::make_room(&guest, &here.config, &fields);
    let found = Found::parse(fields);
    let pushed = match (&tip, &found) {
        (None, Some(_)) => {
            ui::hint(&format!(
                "there is no branch '{branch}' here yet; git agent-vm fetch {word} makes it"
            ));
            false
        }
        (Some(tip), Some(found)) => bring_up_to_date(&here.repo, branch, tip, found)?,
        (_, None) => {
            if tip.is_none() {
                push::make_branch(&here.repo, branch)?;
            }
            if !send(&here.repo, branch)? {
                return Err(
                    Error::failed(format!("cannot make the workspace of '{branch}'")).into()
                );
            }
            ui::note(&format!("made the workspace of '{branch}'"));
            true
        }
    };
    if !pushed {
        trash::warn_of_room(&guest, &here.config, left);
    }
    let (here, target) = here.after_push(branch)?;
    if here.config.enrolment(branch).is_none() && here.repo.branch_tip(branch)?.is_some() {
        here.repo.enrol(branch)?;
    }
    let identity = identity_for(&here.config);
    Ok(Place { config: here.config, guest, target, names, identity })
}

/// Pushes if that can help, and goes on either way: whoever connects may be about to put it right.
/// Says whether it tried; a push tells of a full disk itself.
fn bring_up_to_date(
    repo: &Repo,
    branch: &BranchName,
    tip: &ObjectId,
    found: &Found,
) -> anyhow::Result<bool> {
    let word = branch.in_shell();
    if found.contains {
        if found.tip.as_ref() != Some(tip) {
            ui::warning(&format!("the workspace has commits that branch '{branch}' here lacks"));
            ui::hint(&format!("git agent-vm fetch {word} brings them"));
        }
        return Ok(false);
    }
    let fast_forward = match &found.tip {
        None => true,
        Some(theirs) => repo.is_ancestor(theirs, tip)?,
    };
    if !fast_forward {
        ui::warning(&format!(
            "the workspace and branch '{branch}' here have gone different ways; nothing is pushed"
        ));
        ui::hint(&format!("git agent-vm fetch {word} brings the workspace's commits"));
        return Ok(false);
    }
    if send(repo, branch)? {
        ui::note(&format!("brought the workspace of '{branch}' up to date"));
    } else {
        ui::warning(&format!(
            "the workspace is left as it is, without the newest commits of '{branch}'"
        ));
    }
    Ok(true)
}

/// Pushes without git's report, which is not what was asked for; progress is shown where it would be.
fn send(repo: &Repo, branch: &BranchName) -> anyhow::Result<bool> {
    let progress = std::io::stderr().is_terminal() && !ui::is_quiet();
    let flags: &[&str] = if progress { &["--quiet", "--progress"] } else { &["--quiet"] };
    Ok(push::send(repo, branch, flags)?.success())
}

fn is_shell_line(command: &[OsString]) -> bool {
    matches!(command, [word] if word.as_bytes().contains(&b' '))
}
