//! git-lfs: its objects are not carried to a workspace, only its pointers.
//!
//! Its pre-push hook runs between `list` and `push`, knows no server for our addresses, and fails in
//! words that lead nowhere. Where it may have been the one that refused, the switch is named.

use crate::git::{ObjectId, Repo};
use crate::remote::protocol::Helper;
use crate::remote::session::Session;
use crate::ui;

/// Tells git-lfs's hook to let a push pass.
pub const SKIP: &str = "GIT_LFS_SKIP_PUSH";

/// git listed for a push and then sent nothing.
pub fn after_no_push(helper: &Helper, session: &Session) -> anyhow::Result<()> {
    let Some(repo) = &helper.repo else { return Ok(()) };
    let Some(tip) = repo.branch_tip(&session.branch)? else { return Ok(()) };
    let there = session.advertisement.tip(&session.branch.full_ref());
    if there != Some(&tip) && has_hook(repo) && has_files(repo, &tip)? {
        ui::hint(&format!(
            "the objects of git-lfs do not go to a workspace; if that is what stops the push: {SKIP}=1 git push …, or git agent-vm push {}",
            session.branch.in_shell()
        ));
    }
    Ok(())
}

/// Something has arrived.
pub fn after_push(repo: &Repo, tip: &ObjectId) -> anyhow::Result<()> {
    if has_hook(repo) && has_files(repo, tip)? {
        ui::warning("files of git-lfs are pointers in the workspace; their contents stay here");
    }
    Ok(())
}

/// Without the hook, nobody here uses git-lfs; asking costs no process.
fn has_hook(repo: &Repo) -> bool {
    std::fs::read_to_string(repo.hook("pre-push"))
        .is_ok_and(|text| text.contains("git lfs pre-push"))
}

fn has_files(repo: &Repo, tip: &ObjectId) -> anyhow::Result<bool> {
    let paths = ":(glob)**/.gitattributes";
    let found = repo.output(&["grep", "-q", "filter=lfs", tip.as_str(), "--", paths])?;
    Ok(found.exit.success())
}
