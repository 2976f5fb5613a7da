//! `git agent-vm push BRANCH`: `git push agentvm::BRANCH`, with the branch made where there is none.

use std::process::ExitCode;

use crate::branch::BranchName;
use crate::cli::common::{Here, git_exit, in_shell};
use crate::error::Error;
use crate::git::{ObjectId, Repo};
use crate::process::Exit;
use crate::remote::lfs;
use crate::ui;
use crate::vm::Need;
use crate::wip::carry::carry;
use crate::wip::local::Local;

/// Send a branch to its workspace
///
/// The same as `git push agentvm::BRANCH`, whatever is checked out, with two additions: a VM that
/// does not exist or does not run is made or started without asking, and a branch that neither this
/// repository nor the VM has begins at HEAD.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  git agent-vm push feature         make or update the workspace of branch feature
  git agent-vm push -n feature      only say what would be sent
  git agent-vm push --wip feature   with the files of the branch here that are not committed

A workspace with changes that are not committed, or with commits that are not here, refuses.
Then: git agent-vm fetch BRANCH, or commit there (git agent-vm connect BRANCH).")]
pub(super) struct Args {
    /// The branch to send
    branch: BranchName,
    /// Replace commits of the workspace that are not in the branch (they stay under refs/rescue there)
    #[arg(short, long)]
    force: bool,
    /// Say what would be sent, and send nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Carry what is not committed here (changed and untracked files) along, all or nothing
    #[arg(long)]
    wip: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let here = Here::load()?;
    let branch = &args.branch;
    let tip = here.repo.branch_tip(branch)?;
    if tip.is_none() {
        head(&here.repo, branch)?;
    }
    let wip = if args.wip { Some(files_here(&here.repo, branch, tip.as_ref())?) } else { None };
    let need = if args.dry_run { Need::Start } else { Need::Create };
    let (_, found) = here.find(need, branch, None)?;
    match (tip, found) {
        (Some(_), _) => {}
        (None, Some(found)) => return Err(only_in_vm(branch, &found.name.to_string()).into()),
        (None, None) if args.dry_run => {
            ui::note(&format!("would make branch '{branch}' at HEAD and a workspace for it"));
            return Ok(ExitCode::SUCCESS);
        }
        (None, None) => make_branch(&here.repo, branch)?,
    }
    let flags = [(args.force, "--force"), (args.dry_run, "--dry-run")];
    let flags: Vec<&str> =
        flags.into_iter().filter_map(|(set, flag)| set.then_some(flag)).collect();
    let exit = send(&here.repo, branch, &flags)?;
    if exit == Exit::Code(1) && !args.force {
        ui::hint(&format!(
            "git agent-vm fetch {} brings what the workspace has and this repository has not",
            branch.in_shell()
        ));
    }
    match wip {
        Some(local) if exit.success() => carry_files(here, branch, &local, args.dry_run),
        _ => Ok(git_exit(exit)),
    }
}

/// What is not committed in this worktree, which must have the branch checked out.
fn files_here(repo: &Repo, branch: &BranchName, tip: Option<&ObjectId>) -> anyhow::Result<Local> {
    let word = branch.in_shell();
    let (Some(dir), Some(tip)) = (repo.checked_out_at(branch)?, tip) else {
        return Err(Error::failed(format!(
            "branch '{branch}' is not checked out, so there are no files of it to carry"
        ))
        .hint(format!("git switch {word}"))
        .into());
    };
    if repo.work_dir() != Some(dir.as_path()) {
        return Err(Error::failed(format!(
            "branch '{branch}' is checked out in {}, and its files are there",
            dir.display()
        ))
        .hint(format!("git -C {} agent-vm push --wip {word}", in_shell(&dir)))
        .into());
    }
    let local = Local::take(repo, tip)?;
    for path in &local.nested {
        ui::warning(&format!("{path} is a repository of its own; what is in it stays here"));
    }
    Ok(local)
}

/// Carries the files into the workspace, which has the branch's commits by now.
fn carry_files(
    here: Here,
    branch: &BranchName,
    local: &Local,
    dry_run: bool,
) -> anyhow::Result<ExitCode> {
    let files = ui::count(local.files, "file");
    if local.commit.is_none() {
        ui::note("all files here are committed; there is nothing more to carry");
    } else if dry_run {
        ui::note(&format!("would carry {files} that are not committed"));
    } else {
        let (here, target) = here.after_push(branch)?;
        let workspace = carry(&here.config, &target, local)?;
        ui::note(&format!(
            "carried {files} to workspace '{workspace}', as changes that are not committed there"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// `git push` of a branch to its workspace, on the user's terminal.
pub(super) fn send(repo: &Repo, branch: &BranchName, flags: &[&str]) -> anyhow::Result<Exit> {
    let full = branch.full_ref();
    // Objects of git-lfs and of submodules do not go to a workspace; the helper says so. Told to send
    // submodules first, git would publish their commits to their own servers.
    let mut git = repo.git_for_user().env(lfs::SKIP, "1").no_stdin().arg("push").args(flags);
    git = git.arg("--recurse-submodules=no");
    if ui::is_quiet() {
        git = git.arg("--quiet");
    }
    git.arg(format!("agentvm::{branch}"))
        .arg(format!("{full}:{full}"))
        .interactive()
        .map_err(crate::git::program_error)
}

/// Makes a branch at HEAD.
pub(super) fn make_branch(repo: &Repo, branch: &BranchName) -> anyhow::Result<()> {
    let head = head(repo, branch)?;
    repo.run(&["branch", "--no-track", branch.as_str(), head.as_str()])?;
    ui::note(&format!("made branch '{branch}' at HEAD ({})", head.short()));
    Ok(())
}

/// Where a new branch would begin.
pub(super) fn head(repo: &Repo, branch: &BranchName) -> anyhow::Result<ObjectId> {
    repo.ref_tip("HEAD")?.ok_or_else(|| {
        Error::failed(format!(
            "there is no branch '{branch}', and it cannot be made: this repository has no commit yet"
        ))
        .hint("commit something first, as in: git commit --allow-empty -m 'First commit'")
        .into()
    })
}

fn only_in_vm(branch: &BranchName, workspace: &str) -> Error {
    let word = branch.in_shell();
    Error::failed(format!(
        "there is no branch '{branch}' here to push; the VM has one, in workspace '{workspace}'"
    ))
    .hint(format!("git agent-vm fetch {word} brings it here"))
}
