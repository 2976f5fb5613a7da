//! Keep-refs: what was fetched from a workspace stays on the host, whatever the VM does later.
//!
//! `refs/agentvm/keep/<key>/<id>`, where the key is a hash of workspace and branch, so that a
//! branch's name never becomes a path. Such a ref never moves: its name says what it points to. A kept
//! tip that a newer one contains is dropped. [`record`] has the names, and what was seen last; so a
//! branch that the workspace rewrote is told from one that went on.

use crate::config::Config;
use crate::git::{ObjectId, Repo};
use crate::remote::session::Session;
use crate::ui;

mod changes;
mod dropping;
pub mod kept;
mod moved;
mod record;

use changes::Changes;
pub use record::Source;

/// The namespace of all keep-refs.
pub const NAMESPACE: &str = "refs/agentvm/keep/";

/// Who tells of a branch that has lost what it had. Where a remote has tracking refs, git does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Nobody else.
    ByUs,
    /// `(forced update)`, `[deleted]`.
    ByGit,
}

/// Keeps the tips of a workspace's branches that were fetched just now.
pub fn fetched(
    repo: &Repo,
    config: &Config,
    workspace: &str,
    tips: &[(&str, &ObjectId)],
    told: Told,
) -> anyhow::Result<()> {
    let mut changes = Changes::default();
    let mut seen = Vec::new();
    for &(full_ref, tip) in tips {
        if !repo.may_be_commit(tip) {
            ui::warning(&format!(
                "{full_ref} of workspace '{workspace}' is no commit, and is not kept"
            ));
            continue;
        }
        let source = Source::new(config, workspace, full_ref);
        changes.keep(repo, &source, tip)?;
        seen.push((source, tip));
    }
    changes.apply(repo)?;
    for (source, tip) in seen {
        note(repo, &source, tip, told)?;
    }
    Ok(())
}

/// Looks at the tip that a workspace lists for its own branch, before git decides whether to fetch.
/// One that is here already, git does not ask for.
pub fn listed(repo: &Repo, config: &Config, session: &Session, told: Told) -> anyhow::Result<()> {
    let full_ref = session.branch.full_ref();
    let source = Source::new(config, &session.workspace, &full_ref);
    let Some(tip) = session.advertisement.tip(&full_ref) else {
        return match told {
            Told::ByUs => moved::deleted(repo, &source, &session.branch),
            Told::ByGit => Ok(()),
        };
    };
    let is_at_tip = |name: &str| repo.quick_tip(name).as_ref() == Some(tip);
    let kept = is_at_tip(&full_ref) || is_at_tip(&source.keep_ref(tip));
    if (kept && record::tip(repo, &source).as_ref() == Some(tip))
        || !repo.may_have(tip)
        || !repo.may_be_commit(tip)
    {
        return Ok(());
    }
    if !kept {
        let unkept = repo.output(&["rev-list", "-1", tip.as_str(), "--not", "--all", "--"])?;
        if !unkept.exit.success() {
            // Not here after all.
            return Ok(());
        }
        if !unkept.stdout.is_empty() {
            if !repo.is_connected(std::slice::from_ref(tip))? {
                return Ok(());
            }
            return fetched(repo, config, &session.workspace, &[(&full_ref, tip)], told);
        }
    }
    note(repo, &source, tip, told)
}

/// Remembers that we moved a branch of a workspace ourselves; `None`: removed it.
pub fn pushed(
    repo: &Repo,
    config: &Config,
    workspace: &str,
    full_ref: &str,
    tip: Option<&ObjectId>,
) -> anyhow::Result<()> {
    record::write(repo, &Source::new(config, workspace, full_ref), tip)
}

/// The tip of a branch of a workspace that was seen last.
#[must_use]
pub fn last_seen(repo: &Repo, source: &Source) -> Option<ObjectId> {
    record::tip(repo, source)
}

/// A tip was seen. Where the one before it is not a part of it, that is kept and told.
fn note(repo: &Repo, source: &Source, tip: &ObjectId, told: Told) -> anyhow::Result<()> {
    let last = record::tip(repo, source);
    if last.as_ref() == Some(tip) {
        return Ok(());
    }
    if let Some(last) = last
        && let Some(moved) = moved::between(repo, source, &last, tip)?
        && told == Told::ByUs
    {
        ui::warning(&moved);
    }
    record::write(repo, source, Some(tip))
}
