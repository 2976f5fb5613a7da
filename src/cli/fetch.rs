//! `git agent-vm fetch BRANCH`: brings a workspace's commits into the branch of the same name.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::branch::BranchName;
use crate::cli::common::{Here, git_exit, in_shell};
use crate::cli::integrate::{integrate, on_terminal};
use crate::error::Error;
use crate::git::{ObjectId, Repo};
use crate::remote::keep::kept;
use crate::remote::keep::{self, Source};
use crate::remote::protocol::no_workspace;
use crate::ui;
use crate::vm::Need;
use crate::wip::{ref_of, snapshot};

/// Bring a workspace's commits into the branch here
///
/// A branch that is not checked out is made or moved forward. One that is checked out here is merged
/// as `git pull agentvm::BRANCH` would, with hooks switched off: they may be what the agent wrote.
/// One that is checked out in another worktree is never moved. Where both sides have commits of
/// their own, nothing is moved and the command that merges is named.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  git agent-vm fetch feature            then: git log feature
  git agent-vm fetch feature && git merge feature
  git agent-vm fetch --wip feature      then: git show agentvm/wip/feature

Work that is not committed stays in the workspace. git agent-vm diff shows it, and --wip brings a
copy of it, as a commit that refs/agentvm/wip/BRANCH names; no branch moves by that. In the
workspace nothing changes; only a push that was cut off is mended first.")]
pub(super) struct Args {
    /// The branch whose workspace is meant
    branch: BranchName,
    /// Bring what is not committed (changed, staged and untracked files) as refs/agentvm/wip/BRANCH
    #[arg(long)]
    wip: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let here = Here::load()?;
    let branch = &args.branch;
    if args.wip {
        return wip(&here, branch);
    }
    if here.id()?.is_none() {
        return Err(no_workspace(branch).into());
    }
    let need = Need::of_fetch();
    let Some(found) = here.find(need, branch, None)?.1 else {
        return Err(no_workspace(branch).into());
    };
    let repo = &here.repo;
    let full_ref = branch.full_ref();
    let exit = on_terminal(repo, "fetch", [&*format!("agentvm::{branch}"), &full_ref])?;
    if !exit.success() {
        return Ok(git_exit(exit));
    }
    // Not FETCH_HEAD: another fetch may have written it meanwhile.
    let source = Source::new(&here.config, &found.name.to_string(), &full_ref);
    let new =
        keep::last_seen(repo, &source).context("git fetch left no word of what it brought")?;
    // git calls a bare repository the worktree of its HEAD, but no files are there.
    let bare = |dir: &std::path::PathBuf| dir == repo.common_dir();
    let place = repo.checked_out_at(branch)?.filter(|dir| !bare(dir));
    let code = if place.is_some() && place.as_deref() == repo.work_dir() {
        integrate(repo, branch, &new)
    } else {
        advance(repo, branch, &new, place.as_deref())
    }?;
    kept::tidy(repo, &source)?;
    Ok(code)
}

/// Keeps the state of a workspace, whatever is committed there, as a ref here.
fn wip(here: &Here, branch: &BranchName) -> anyhow::Result<ExitCode> {
    let target = here.target(branch)?.ok_or_else(|| no_workspace(branch))?;
    let snapshot = snapshot::take(&here.repo, &here.config, &target, branch)?;
    let is_lacking = snapshot.warn();
    let (workspace, place, name) = (&snapshot.workspace, snapshot.place(), ref_of(branch));
    match (&snapshot.wip, snapshot.state()) {
        (Some(wip), _) => {
            let files = here.repo.count_changed(snapshot.head.as_ref(), wip)?;
            ui::note(&format!(
                "workspace '{workspace}', {place}: {} not committed, kept as {name} ({})",
                ui::count(files, "file"),
                wip.short()
            ));
            let word = branch.in_shell();
            ui::hint(&format!("git agent-vm diff {word} shows what the branch here lacks"));
        }
        (None, Some(head)) => ui::note(&format!(
            "workspace '{workspace}', {place}: all is committed; {name} is its HEAD ({})",
            head.short()
        )),
        (None, None) => {
            ui::note(&format!("workspace '{workspace}' has neither a file nor a commit yet"));
        }
    }
    Ok(if is_lacking { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Moves a branch that is not checked out here forward to what was fetched.
fn advance(
    repo: &Repo,
    branch: &BranchName,
    new: &ObjectId,
    worktree: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let word = branch.in_shell();
    let Some(old) = repo.branch_tip(branch)? else {
        repo.run(&["branch", "--no-track", branch.as_str(), new.as_str()])?;
        ui::note(&format!("made branch '{branch}' at {}", new.short()));
        return Ok(ExitCode::SUCCESS);
    };
    if old == *new {
        ui::note(&format!("branch '{branch}' is up to date"));
    } else if repo.is_ancestor(new, &old)? {
        let ahead = repo.count_commits(&old, std::slice::from_ref(new))?;
        ui::note(&format!(
            "nothing new; branch '{branch}' has {} more",
            ui::count(ahead, "commit")
        ));
        ui::hint(&format!("git agent-vm push {word} sends them to the workspace"));
    } else if let Some(dir) = worktree {
        return Err(Error::failed(format!(
            "branch '{branch}' is checked out in {}, so it is not moved from here",
            dir.display()
        ))
        .hint(format!("git -C {} pull agentvm::{word}", in_shell(dir)))
        .into());
    } else if repo.is_ancestor(&old, new)? {
        // Unlike update-ref, it refuses a branch that a rebase or bisection in a worktree uses.
        repo.run(&["branch", "--no-track", "--force", branch.as_str(), new.as_str()])?;
        let gained = repo.count_commits(new, std::slice::from_ref(&old))?;
        ui::note(&format!(
            "branch '{branch}': {}..{} ({})",
            old.short(),
            new.short(),
            ui::count(gained, "commit")
        ));
    } else {
        return Err(diverged(repo, branch, &old, new)?.into());
    }
    Ok(ExitCode::SUCCESS)
}

fn diverged(
    repo: &Repo,
    branch: &BranchName,
    old: &ObjectId,
    new: &ObjectId,
) -> anyhow::Result<Error> {
    let word = branch.in_shell();
    let ours = repo.count_commits(old, std::slice::from_ref(new))?;
    let theirs = repo.count_commits(new, std::slice::from_ref(old))?;
    Ok(Error::failed(format!(
        "branch '{branch}' and its workspace have gone different ways: {} here, {} there; nothing is moved",
        ui::count(ours, "commit"),
        ui::count(theirs, "commit")
    ))
    .hint(format!("git switch {word} && git pull --no-rebase agentvm::{word} merges them"))
    .hint(format!("git log --oneline --left-right {word}...{} shows them", new.short())))
}
