//! `git agent-vm destroy`: deletes the VM with all that is in it, unless work would be lost.

use std::process::ExitCode;

use crate::access;
use crate::cli::common::Here;
use crate::cli::verdict::Verdict;
use crate::cli::{clean, clean_all};
use crate::config::{Config, UnknownKeys};
use crate::error::{Error, Kind};
use crate::git::Repo;
use crate::guest::Call;
use crate::guest::workspaces::Listing;
use crate::identity;
use crate::loss;
use crate::mount::{InUse, Mount};
use crate::sanitize::GuestText;
use crate::ui::{self, Progress};
use crate::vm::{self, Need, Provider, State};
use crate::workspace::WorkspaceName;

mod discard;
mod save;

/// Delete the VM and everything in it
///
/// Refuses, with a list and exit code 3, while anything in the VM is nowhere else: work in a
/// workspace of this repository (see git agent-vm clean --help), a workspace of another repository,
/// which can only be compared there, the trash, other files beside the workspaces. A stopped VM is
/// started to look. With --force all that is saved to this machine first, whole, and is found by git
/// agent-vm restore; where saving fails, nothing is deleted. The mount is taken down first; a process
/// here that uses it is named, and nothing is deleted. With --force or --discard it meets errors
/// instead.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is saved is one packed file of each workspace, with ignored files, stashes, reflogs and linked
worktrees, in ~/.local/state/git-agent-vm/saved. It is never unpacked on this machine, so that no hook
and no setting in it has any effect here.")]
pub(super) struct Args {
    /// Save to this machine what is nowhere else, then delete
    #[arg(short, long)]
    force: bool,
    /// Delete without saving or looking, once the VM's name is typed, here or on the terminal
    #[arg(long, value_name = "VM", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    discard: Option<String>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let repo = Repo::discover()?;
    let config = Config::load(repo.as_ref(), UnknownKeys::Refuse)?;
    let provider = vm::provider(&config)?;
    let describe = provider.describe();
    if provider.has_lifecycle() {
        let state = provider.status()?.state;
        if state == State::Absent {
            return Err(Error::not_found(format!("there is no {describe}")).into());
        }
        let mount = Mount::new(&config)?;
        let deleting = format!("delete the {describe}");
        if let Some(typed) = &args.discard {
            discard::confirm(
                provider.as_ref(),
                &config,
                Some(typed.as_str()).filter(|typed| !typed.is_empty()),
            )?;
            mount.take_down_before(InUse::End, &deleting)?;
        } else if args.force {
            check_that_it_starts(provider.as_ref(), &state)?;
            // What a program here writes into the mount from now on would not be saved.
            save::everything(repo, config, || mount.take_down_before(InUse::End, &deleting))
                .map_err(|error| cannot_save(&describe, &error))?;
        } else {
            check(provider.as_ref(), &state, repo, config)?;
            mount.take_down_before(InUse::Refuse, &deleting)?;
        }
    }
    {
        let _progress =
            provider.has_lifecycle().then(|| Progress::start(&format!("deleting the {describe}")));
        provider.delete()?;
    }
    ui::note(&format!("deleted the {describe}"));
    Ok(ExitCode::SUCCESS)
}

const AGAIN: &str =
    "git agent-vm destroy --force saves all of it to this machine, then deletes the VM";
const DISCARD: &str = "git agent-vm destroy --discard deletes it without saving, for good";

/// Refuses where the VM can be neither looked into nor saved.
fn check_that_it_starts(provider: &dyn Provider, state: &State) -> anyhow::Result<()> {
    let State::Broken(damage) = state else { return Ok(()) };
    let describe = provider.describe();
    if damage.for_good {
        let error = Error::would_lose_work(format!(
            "what the {describe} holds can be neither learned nor saved: it is broken: {damage}"
        ));
        return Err(damage.hints.iter().fold(error, Error::hint).hint(DISCARD).into());
    }
    ui::note(&format!("the {describe} is broken; trying to start it, to save what it holds"));
    Ok(())
}

/// Nothing is deleted then. What could be tried comes with the error.
fn cannot_save(describe: &str, error: &anyhow::Error) -> anyhow::Error {
    let kind = match crate::error::kind_of(error) {
        Kind::Failed => Kind::WouldLoseWork,
        kind => kind,
    };
    let hints = error.downcast_ref::<Error>().map(Error::hints).unwrap_or_default();
    let what = format!("cannot save what the {describe} holds, so it stays: {error:#}");
    hints.iter().fold(Error::new(kind, what), Error::hint).hint(DISCARD).into()
}

/// Refuses if anything in the VM may be nowhere else.
fn check(
    provider: &dyn Provider,
    state: &State,
    repo: Option<Repo>,
    config: Config,
) -> anyhow::Result<()> {
    let describe = provider.describe();
    if let State::Broken(damage) = state {
        let error = Error::would_lose_work(format!(
            "what the {describe} holds cannot be learned: it is broken: {damage}"
        ));
        let again = if damage.for_good { DISCARD } else { AGAIN };
        return Err(damage.hints.iter().fold(error, Error::hint).hint(again).into());
    }
    if *state == State::Stopped {
        ui::note(&format!("the {describe} is stopped; starting it to look what it holds"));
    }
    let verdict = contents(repo, config).map_err(|error| {
        let kind = match crate::error::kind_of(&error) {
            Kind::Failed => Kind::WouldLoseWork,
            kind => kind,
        };
        Error::new(kind, format!("what the {describe} holds cannot be learned: {error:#}"))
            .hint(AGAIN)
    })?;
    if verdict.is_empty() {
        return Ok(());
    }
    Err(verdict.refusal().hint(AGAIN).into())
}

/// What speaks against deleting the VM.
fn contents(repo: Option<Repo>, config: Config) -> anyhow::Result<Verdict> {
    let (guest, fields) = access::ask(&config, Need::Start, &Call::new("list"), &[])?;
    let listing = Listing::parse(fields);
    let id = match &repo {
        Some(repo) => identity::known(repo, config.id.as_deref())?,
        None => None,
    };
    let looked = match repo {
        Some(repo) => clean_all::look_into_all(&Here { repo, config }, &guest, &listing)?,
        None => Vec::new(),
    };
    let mut verdict = clean::verdict(&looked);
    for owner in listing.workspaces.iter().filter(|owner| !owner.is_of(id.as_ref())) {
        let save = "in that repository: git agent-vm clean-all".to_owned();
        let why = "a workspace of another repository, which cannot be compared from here";
        verdict.add_other(&owner.name, why, save);
    }
    for name in &listing.others {
        verdict.add_other(name, "no workspace, and may be nowhere else", loss::save_beside(name));
    }
    for name in &listing.trash {
        let ours = name.as_clean_str().filter(|name| WorkspaceName::new(name).is_ok());
        let save = format!("git agent-vm restore {}", ours.unwrap_or_default());
        let name = GuestText::new([b".trash/", name.as_bytes()].concat());
        verdict.add_other(&name, "is in the trash; to bring it back:", save.trim_end().to_owned());
    }
    Ok(verdict)
}
