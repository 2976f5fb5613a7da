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

/// Delete the VM and everything in it
///
/// Refuses, with a list and exit code 3, while anything in the VM is nowhere else: work in a
/// workspace of this repository (see git agent-vm clean --help), a workspace of another repository,
/// which can only be compared there, the trash, other files beside the workspaces. A stopped VM is
/// started to look. With --force nothing is looked at, and nothing can be brought back. The mount is
/// taken down first; a process here that uses it is named, and nothing is deleted. With --force it
/// meets errors instead.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Delete without looking: work that is not here is lost for good
    #[arg(short, long)]
    force: bool,
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
        if !args.force {
            check(provider.as_ref(), &state, repo, config.clone())?;
        }
        let in_use = if args.force { InUse::End } else { InUse::Refuse };
        Mount::new(&config)?.take_down_before(in_use, &format!("delete the {describe}"))?;
    }
    {
        let _progress =
            provider.has_lifecycle().then(|| Progress::start(&format!("deleting the {describe}")));
        provider.delete()?;
    }
    ui::note(&format!("deleted the {describe}"));
    Ok(ExitCode::SUCCESS)
}

const AGAIN: &str = "git agent-vm destroy --force deletes it all the same, for good";

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
        return Err(damage.hints.iter().fold(error, Error::hint).hint(AGAIN).into());
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
        let name = GuestText::new([b".trash/", name.as_bytes()].concat());
        let save = "git agent-vm connect -n -- rm -rf .trash".to_owned();
        verdict.add_other(&name, "is in the trash; to empty it:", save);
    }
    Ok(verdict)
}
