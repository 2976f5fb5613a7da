//! `git agent-vm clean-all`: moves all workspaces of this repository to the trash, or none.

use std::process::ExitCode;

use crate::access;
use crate::cli::clean::{self, Looked};
use crate::cli::common::{Here, losses_call};
use crate::error::Error;
use crate::guest::workspaces::{Listing, Target};
use crate::guest::{Call, Guest};
use crate::loss::Address;
use crate::trash;
use crate::ui;
use crate::vm::Need;
use crate::workspace::WorkspaceName;

/// Move all workspaces of this repository to the trash
///
/// Looks into all of them first. If any holds work that is not here, nothing is moved, and the table
/// says what it is; see git agent-vm clean --help. Workspaces of other repositories are not touched.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Move them even if they hold work that is not here
    #[arg(short, long)]
    force: bool,
    /// Only say what they hold that is not here; exit code 3 if there is anything, 0 if not
    #[arg(short = 'n', long, conflicts_with = "force")]
    dry_run: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let here = Here::load()?;
    let (guest, fields) = access::ask(&here.config, Need::Start, &Call::new("list"), &[])?;
    let workspaces = look_into_all(&here, &guest, &Listing::parse(fields))?;
    if workspaces.is_empty() {
        ui::note(&format!("the {} has no workspace of this repository", guest.describe()));
        return Ok(ExitCode::SUCCESS);
    }
    let verdict = clean::verdict(&workspaces);
    if args.dry_run {
        if verdict.is_empty() {
            let number = ui::count(workspaces.len() as u64, "workspace");
            ui::note(&format!("looked into {number}: nothing there is not here, too"));
        }
        return Ok(verdict.answer());
    }
    let again = "git agent-vm clean-all --force does it all the same".to_owned();
    clean::allow(&verdict, args.force, [again])?;
    for workspace in &workspaces {
        clean::discard(&guest, workspace)?;
    }
    trash::sweep(&guest, &here.config);
    Ok(ExitCode::SUCCESS)
}

/// What would be lost with each workspace of this repository.
pub(super) fn look_into_all(
    here: &Here,
    guest: &Guest,
    listing: &Listing,
) -> anyhow::Result<Vec<Looked>> {
    let Some(id) = here.id()? else { return Ok(Vec::new()) };
    let tips = here.tips_for_guest()?;
    let ours = listing.workspaces.iter().filter(|owner| owner.is_of(Some(&id)));
    ours.map(|owner| {
        let branch = owner.branch().ok_or_else(|| {
            Error::would_lose_work(format!(
                "the marker of workspace '{}' names no branch: what it holds cannot be compared",
                owner.name
            ))
        })?;
        // By its name: a copy that the agent made has the same marker.
        let name = owner.name.as_clean_str().map(WorkspaceName::new).and_then(Result::ok);
        let name = name.ok_or_else(|| {
            Error::would_lose_work(format!(
                "workspace '{}' was given a name that is none of ours; rename it in the VM",
                owner.name
            ))
        })?;
        let target = Target::named(&name);
        let copies = listing
            .workspaces
            .iter()
            .filter(|other| other.is_of(Some(&id)) && other.full_ref == owner.full_ref);
        let address = match copies.count() {
            1 => Address::Branch,
            _ => Address::Name(here.config.vm.to_string(), name),
        };
        let session = guest.open(&losses_call(&target)).map_err(|error| guest.explain(error))?;
        clean::look(&here.repo, &branch, target, &address, session, &tips)
    })
    .collect()
}
