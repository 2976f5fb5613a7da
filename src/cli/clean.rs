//! `git agent-vm clean BRANCH`: moves a workspace to the trash, unless work would be lost.

use std::process::ExitCode;

use crate::access;
use crate::branch::BranchName;
use crate::cli::common::{Here, losses_call, losses_in};
use crate::cli::verdict::Verdict;
use crate::error::{self, Error, Kind};
use crate::git::Repo;
use crate::guest::workspaces::{Target, single};
use crate::guest::{Guest, Session};
use crate::loss::{self, Address, Finding};
use crate::trash;
use crate::ui;
use crate::vm::Need;

/// Move a branch's workspace to the trash
///
/// Refuses, with a table and exit code 3, while the workspace holds what is not here: changes, files
/// that git does not track or ignores, commits on any branch or in a reflog, a stash, a tag, an
/// operation in progress, a linked worktree, a repository inside, a running process. Below each stands
/// the command that saves it. Ignored files that a tool makes anew do not count (`node_modules`,
/// `target`, `.venv` and their like; the manual has the list). The trash is in the VM and keeps it for
/// 30 days (agentvm.keepTrash); git agent-vm restore brings it back.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  git agent-vm fetch feature && git agent-vm clean feature
  git agent-vm clean --dry-run feature   what would be lost; moves nothing
  git agent-vm clean --force feature     even with work that is nowhere else; it is in the trash then")]
pub(super) struct Args {
    /// The branch whose workspace is meant; the branch here stays
    branch: BranchName,
    /// Move it even if it holds work that is not here
    #[arg(short, long)]
    force: bool,
    /// Only say what it holds that is not here; exit code 3 if there is anything, 0 if not
    #[arg(short = 'n', long, conflicts_with = "force")]
    dry_run: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let here = Here::load()?;
    let branch = &args.branch;
    let target = here.target(branch)?.ok_or_else(|| absent(branch))?;
    let tips = here.tips_for_guest()?;
    let (guest, session) = access::open(&here.config, Need::Start, &losses_call(&target))?;
    let workspace = look(&here.repo, branch, target, &Address::Branch, session, &tips)?;
    let verdict = verdict(std::slice::from_ref(&workspace));
    if args.dry_run {
        if verdict.is_empty() {
            ui::note(&format!("workspace {} holds nothing that is not here", workspace.name));
        }
        return Ok(verdict.answer());
    }
    let word = branch.in_shell();
    let again = format!("git agent-vm clean --force {word} does it all the same");
    let copy = format!("git agent-vm fetch --wip {word} copies what is not committed");
    let hints = [Some(copy).filter(|_| verdict.has_uncommitted()), Some(again)];
    allow(&verdict, args.force, hints.into_iter().flatten())?;
    discard(&guest, &workspace)?;
    trash::sweep(&guest, &here.config);
    Ok(ExitCode::SUCCESS)
}

/// A workspace and what would be lost with it.
#[derive(Debug)]
pub(super) struct Looked {
    /// What to call it after the word "workspace", safe to show.
    name: String,
    target: Target,
    /// Or why it could not be learned.
    found: Result<Vec<Finding>, anyhow::Error>,
}

/// Compares a workspace with the repository here. Fails only where there is no such workspace.
pub(super) fn look(
    repo: &Repo,
    branch: &BranchName,
    target: Target,
    address: &Address,
    session: Session,
    tips: &str,
) -> anyhow::Result<Looked> {
    let outcome = losses_in(session, tips).and_then(|losses| {
        let found = loss::findings(repo, branch, address, &losses)?;
        Ok((losses.name.to_string(), found))
    });
    match outcome {
        Ok((name, found)) => Ok(Looked { name: format!("'{name}'"), target, found: Ok(found) }),
        Err(error) if error::kind_of(&error) == Kind::NotFound => Err(absent(branch).into()),
        Err(error) => Ok(Looked { name: format!("of '{branch}'"), target, found: Err(error) }),
    }
}

/// Refuses if anything speaks against it; with `force` that is only said. What could not be looked
/// into counts as work.
pub(super) fn allow(
    verdict: &Verdict,
    force: bool,
    hints: impl IntoIterator<Item = String>,
) -> anyhow::Result<()> {
    if verdict.is_empty() {
        return Ok(());
    }
    if force {
        verdict.warn();
        return Ok(());
    }
    Err(hints.into_iter().fold(verdict.refusal(), Error::hint).into())
}

/// What speaks against removing workspaces.
pub(super) fn verdict(workspaces: &[Looked]) -> Verdict {
    let mut verdict = Verdict::default();
    for Looked { name, found, .. } in workspaces {
        match found {
            Ok(found) => {
                for finding in found {
                    verdict.add(name.trim_matches('\''), finding.clone());
                }
            }
            Err(error) => verdict.add_unlearned(name, error),
        }
    }
    verdict
}

/// Moves a workspace to the trash and says where that is.
pub(super) fn discard(guest: &Guest, workspace: &Looked) -> anyhow::Result<()> {
    let fields = guest.ask(&workspace.target.call("discard"), &[])?;
    let place = single(fields, "trash").ok_or_else(|| {
        anyhow::anyhow!("the guest does not say where workspace {} went", workspace.name)
    })?;
    ui::note(&format!(
        "moved workspace {} to the trash of the {}: {place}",
        workspace.name,
        guest.describe()
    ));
    Ok(())
}

fn absent(branch: &BranchName) -> Error {
    Error::not_found(format!("there is no workspace of branch '{branch}' of this repository"))
        .hint("git agent-vm status shows what there is")
}
