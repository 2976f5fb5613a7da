//! Merging what was fetched into the branch that is checked out, as `git pull` would.
//!
//! `git pull` itself takes whatever stands in `FETCH_HEAD` when it comes to merging, which another
//! fetch (an editor's, say) may have written meanwhile. Here the commit is named.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use crate::branch::BranchName;
use crate::cli::common::git_exit;
use crate::error::Error;
use crate::git::{ObjectId, Repo, program_error};
use crate::process::Exit;
use crate::ui;

/// A git command on the user's terminal, with no hooks: they may be what the agent wrote.
pub(super) fn on_terminal<'a>(
    repo: &Repo,
    verb: &str,
    words: impl IntoIterator<Item = &'a str>,
) -> anyhow::Result<Exit> {
    let mut git = repo.git_for_user();
    // An editor for a message needs the terminal; a script needs its own standard input.
    if !std::io::stdin().is_terminal() {
        git = git.no_stdin();
    }
    git = git.args(["-c", "core.hooksPath=/dev/null", verb]);
    if ui::is_quiet() {
        git = git.arg("--quiet");
    }
    git.args(words).interactive().map_err(program_error)
}

/// Merges `new` into `branch`, which is checked out here, or rebases it, by the settings of
/// `git pull`.
pub(super) fn integrate(
    repo: &Repo,
    branch: &BranchName,
    new: &ObjectId,
) -> anyhow::Result<ExitCode> {
    let fast_forward = setting(repo, "pull.ff")?;
    let rebase = match setting(repo, &format!("branch.{branch}.rebase"))? {
        None => setting(repo, "pull.rebase")?,
        set => set,
    };
    let diverged = match repo.branch_tip(branch)? {
        Some(old) => !repo.contains(&old, new)? && !repo.contains(new, &old)?,
        None => false,
    };
    let only = fast_forward.as_deref() == Some("only");
    if diverged && (only || (fast_forward.is_none() && rebase.is_none())) {
        return Err(told_apart(branch).into());
    }
    let exit = match rebase.as_deref() {
        None | Some("false" | "no" | "off" | "0") => {
            merge(repo, branch, new, fast_forward.as_deref())
        }
        _ if only || !diverged => merge(repo, branch, new, Some("only")),
        Some("merges" | "m") => on_terminal(repo, "rebase", ["--rebase-merges", new.as_str()]),
        Some("interactive" | "i") => on_terminal(repo, "rebase", ["--interactive", new.as_str()]),
        Some(_) => on_terminal(repo, "rebase", [new.as_str()]),
    }?;
    Ok(git_exit(exit))
}

fn merge(
    repo: &Repo,
    branch: &BranchName,
    new: &ObjectId,
    fast_forward: Option<&str>,
) -> anyhow::Result<Exit> {
    let message = format!("Merge branch '{branch}' of agentvm::{branch}");
    let mut words = vec!["-m", message.as_str()];
    match fast_forward {
        Some("only") => words.push("--ff-only"),
        Some("false" | "no" | "off" | "0") => words.push("--no-ff"),
        Some(_) => words.push("--ff"),
        None => {}
    }
    let asked = std::env::var("GIT_MERGE_AUTOEDIT").map_or(true, |value| value != "no");
    if asked && std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        words.push("--edit");
    }
    words.push(new.as_str());
    on_terminal(repo, "merge", words)
}

fn told_apart(branch: &BranchName) -> Error {
    let word = branch.in_shell();
    Error::failed(format!(
        "branch '{branch}' and its workspace have gone different ways; nothing is moved"
    ))
    .hint(format!("to merge: git pull --no-rebase agentvm::{word}"))
    .hint(format!("to replay your commits on top: git pull --rebase agentvm::{word}"))
}

/// A setting of git's, in lower case.
fn setting(repo: &Repo, key: &str) -> anyhow::Result<Option<String>> {
    let output = repo.output(&["config", "--get", key])?;
    let value = String::from_utf8_lossy(output.stdout.trim_ascii()).to_ascii_lowercase();
    Ok(output.exit.success().then_some(value))
}
