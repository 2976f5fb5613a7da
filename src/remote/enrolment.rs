//! Which branch a push to `agentvm::B` means, when git was not told.
//!
//! Enrolled (`remote.agentvm::B.push` is set), git sends B whatever is checked out. Unenrolled, it
//! sends the branch that is checked out, S, under its own name, which is hardly ever meant.

use crate::branch::BranchName;
use crate::error::Error;
use crate::git::Repo;
use crate::remote::protocol::Helper;
use crate::remote::session::Session;
use crate::remote::url::Address;

/// What is sent in place of what git asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// The ref that git asked about and gets the answer for: `refs/heads/S`.
    pub asked: String,
    /// The refspec that is sent.
    pub spec: String,
    /// The ref that it goes to: `refs/heads/B`.
    pub sent: String,
    /// What to tell the user.
    pub hint: String,
}

/// Decides which branch is meant; `None`: the refspecs mean what they say.
pub fn redirect(
    helper: &Helper,
    session: &Session,
    specs: &[&str],
) -> anyhow::Result<Option<Redirect>> {
    let Address::Branch(branch) = &helper.address else { return Ok(None) };
    let repo = helper.repo()?;
    let Some(sent) = sent_head(specs, repo.head_branch()?.as_ref()) else { return Ok(None) };
    if sent == *branch || !is_undecided(helper, repo, branch)? {
        return Ok(None);
    }
    let plus = if specs[0].starts_with('+') { "+" } else { "" };
    // For the hints: names that can be pasted.
    let (b, s) = (branch.in_shell(), sent.in_shell());
    let full = branch.full_ref();
    let asked = sent.full_ref();
    if repo.branch_tip(branch)?.is_some() {
        return Ok(Some(Redirect {
            asked,
            spec: format!("{plus}{full}:{full}"),
            sent: full,
            hint: format!(
                "agentvm::{branch} sends {branch}, whatever is checked out; to send {sent} there: git push agentvm::{b} {s}:{s}"
            ),
        }));
    }
    if session.created || session.advertisement.tip(&full).is_none() {
        return Ok(Some(Redirect {
            spec: format!("{plus}{asked}:{full}"),
            asked,
            sent: full,
            hint: format!(
                "there is no local branch {branch}: the workspace's {branch} begins at {sent}; git agent-vm fetch {b} makes the local one"
            ),
        }));
    }
    Err(Error::failed(format!(
        "agentvm::{branch} is the workspace of {branch}, there is no local branch {branch}, and {sent} is checked out"
    ))
    .hint(format!("git push agentvm::{b} {s}:{b} sends {sent} as {branch}"))
    .hint(format!("git push agentvm::{s} {s} sends {sent} to a workspace of its own"))
    .hint(format!("git agent-vm fetch {b} brings {branch} here"))
    .into())
}

/// Whether git was given an address, and no setting says what to send there. The address may be
/// short for ours (`url.agentvm::.insteadOf`): git then knows no enrolment by that name.
fn is_undecided(helper: &Helper, repo: &Repo, branch: &BranchName) -> anyhow::Result<bool> {
    if helper.is_by_url() {
        return Ok(helper.config.enrolment(branch).is_none());
    }
    for key in ["url", "pushurl", "push"] {
        let name = format!("remote.{}.{key}", helper.remote);
        if repo.output(&["config", "--get-all", &name])?.exit.success() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The branch that git sends by itself: just the one that is checked out, under its own name.
fn sent_head(specs: &[&str], head: Option<&BranchName>) -> Option<BranchName> {
    let [spec] = specs else { return None };
    let (source, destination) = spec.trim_start_matches('+').split_once(':')?;
    let head = head?;
    (source == destination && destination == head.full_ref()).then(|| head.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_checked_out_branch_alone_is_in_doubt() {
        let head = BranchName::new("main").unwrap();
        let sent = |specs: &[&str]| sent_head(specs, Some(&head));
        assert_eq!(sent(&["refs/heads/main:refs/heads/main"]), Some(head.clone()));
        assert_eq!(sent(&["+refs/heads/main:refs/heads/main"]), Some(head.clone()));
        assert_eq!(sent(&["HEAD:refs/heads/main"]), None);
        assert_eq!(sent(&["refs/heads/main:refs/heads/feature"]), None);
        assert_eq!(sent(&["refs/heads/x:refs/heads/x"]), None);
        assert_eq!(sent(&["refs/heads/main:refs/heads/main", "refs/heads/x:refs/heads/x"]), None);
        assert_eq!(sent_head(&["refs/heads/main:refs/heads/main"], None), None);
    }
}
