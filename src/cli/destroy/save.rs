//! `destroy --force`: everything in the VM that may be nowhere else, to this machine.

use std::time::Duration;

use crate::access;
use crate::cli::common::{Here, losses_call, losses_in};
use crate::config::Config;
use crate::error::Error;
use crate::git::Repo;
use crate::guest::trash::{Savable, SavableKind};
use crate::guest::workspaces::Target;
use crate::guest::{Call, Guest};
use crate::loss::{self, Address};
use crate::saved::Saving;
use crate::ui::{self, Progress};
use crate::vm::Need;
use crate::workspace::WorkspaceName;

/// Measuring a big workspace in an emulated guest.
const PATIENCE: Duration = Duration::from_secs(900);

/// Saves it, whole, or fails. `prepare` is called when it is known that there is room, before the
/// first byte is read.
pub(super) fn everything(
    repo: Option<Repo>,
    config: Config,
    prepare: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let vm = config.vm.clone();
    let (guest, all) = list(&config)?;
    let here = repo.map(|repo| Here { repo, config });
    let mut unsaved = Vec::new();
    for savable in all {
        if !is_here_already(here.as_ref(), &guest, &savable)? {
            unsaved.push(savable);
        }
    }
    let bytes = unsaved.iter().map(|savable| savable.bytes).sum();
    let saving = (!unsaved.is_empty()).then(|| Saving::begin(&vm, bytes)).transpose()?;
    prepare()?;
    let Some(mut saving) = saving else {
        check_for_changes(&guest)?;
        ui::note(&format!("there is nothing to save in the {}", guest.describe()));
        return Ok(());
    };
    let count = unsaved.len();
    for (index, savable) in unsaved.iter().enumerate() {
        let shown = format!("{} ({} of {count})", describe(savable), index + 1);
        saving.add(&guest, savable, &shown)?;
    }
    check_for_changes(&guest)?;
    let place = saving.finish()?;
    // Storing it takes its time.
    check_for_changes(&guest)?;
    ui::note(&format!(
        "saved {} of the {} in {}; git agent-vm restore lists them",
        ui::count(count as u64, "thing"),
        guest.describe(),
        place.display()
    ));
    Ok(())
}

fn list(config: &Config) -> anyhow::Result<(Guest, Vec<Savable>)> {
    let _progress = Progress::start("looking what is in the VM");
    // The clock that tells changes by their time has to be set right before.
    access::ask(config, Need::Start, &Call::new("hello"), &[])?;
    let (guest, mut session) = access::open(config, Need::Start, &Call::new("list-for-saving"))?;
    session.set_patience(PATIENCE);
    session.send(&[])?;
    let all = Savable::parse_all(session.fields()?)
        .ok_or_else(|| anyhow::anyhow!("the guest's answer makes no sense"))?;
    Ok((guest, all))
}

/// Whether the repository here has all that is in a workspace of its own. What cannot be compared is
/// saved.
fn is_here_already(here: Option<&Here>, guest: &Guest, savable: &Savable) -> anyhow::Result<bool> {
    let Some(here) = here.filter(|_| savable.kind == SavableKind::Workspace) else {
        return Ok(false);
    };
    let owner = &savable.owner;
    let name = owner.name.as_clean_str().map(WorkspaceName::new).and_then(Result::ok);
    let (Some(name), Some(branch), true) = (name, owner.branch(), owner.is_of(here.id()?.as_ref()))
    else {
        return Ok(false);
    };
    let found = guest
        .open(&losses_call(&Target::named(&name)))
        .map_err(|error| guest.explain(error))
        .and_then(|session| losses_in(session, &here.tips_for_guest()?))
        .and_then(|losses| loss::findings(&here.repo, &branch, &Address::Branch, &losses));
    Ok(found.is_ok_and(|found| found.is_empty()))
}

/// What an agent that is still at work has done since the VM was looked into.
fn check_for_changes(guest: &Guest) -> anyhow::Result<()> {
    let call = Call::new("changed-since");
    let mut session = guest.open(&call).map_err(|error| guest.explain(error))?;
    session.set_patience(PATIENCE);
    let (mut changed, mut processes) = (Vec::new(), Vec::new());
    for field in session.fields()? {
        match field.key.as_str() {
            "changed" => changed.push(field.value.to_string()),
            "process" => processes.push(field.value.to_string()),
            _ => {}
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    let mut error = Error::would_lose_work(format!(
        "something changed there meanwhile: {}",
        changed.join(", ")
    ));
    for process in processes.iter().take(5) {
        error = error.hint(format!("at work there: process {process}"));
    }
    Err(error.hint("end what works there, then git agent-vm destroy --force again").into())
}

fn describe(savable: &Savable) -> String {
    let name = &savable.owner.name;
    match savable.kind {
        SavableKind::Workspace => format!("workspace {name}"),
        SavableKind::Trash => format!("{name} of the trash"),
        SavableKind::Other => format!("~/workspace/{name}"),
    }
}
