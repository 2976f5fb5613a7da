//! Telling that a workspace's branch has lost commits that it had.

use super::changes::Changes;
use super::record::{self, Source};
use crate::branch::BranchName;
use crate::git::{ObjectId, Repo};
use crate::ui;

/// What to tell of a branch that was at `old` and is at `new`; nothing where it only went on. What it
/// had is kept.
pub(super) fn between(
    repo: &Repo,
    source: &Source,
    old: &ObjectId,
    new: &ObjectId,
) -> anyhow::Result<Option<String>> {
    if !repo.may_have(old) || repo.contains(new, old)? {
        return Ok(None);
    }
    let Some(place) = keep(repo, source, old)? else { return Ok(None) };
    // Where the history here is cut off, it does not tell what is a part of what.
    if repo.is_shallow() {
        return Ok(None);
    }
    let how = if repo.contains(old, new)? { "rewound" } else { "rewritten" };
    let lost = repo.count_commits(old, std::slice::from_ref(new))?;
    Ok(Some(format!(
        "workspace '{}' has {how} branch '{}': it lacks {} that it had before ({})",
        source.workspace,
        source.branch(),
        ui::count(lost, "commit"),
        match place {
            Place::KeepRef => format!("kept as {}", source.keep_ref(old)),
            Place::Elsewhere => format!("up to {}, which a ref here has", old.short()),
        }
    )))
}

/// Tells what is kept of a branch that the workspace has no longer.
pub(super) fn deleted(repo: &Repo, source: &Source, branch: &BranchName) -> anyhow::Result<()> {
    let kept = repo.refs_below(&source.prefix())?;
    let last = record::tip(repo, source).filter(|last| repo.may_have(last));
    let last = match last {
        Some(last) if keep(repo, source, &last)?.is_some() => Some(last),
        _ => kept.into_iter().next_back().map(|(_, id)| id),
    };
    let Some(last) = last else { return Ok(()) };
    let name = source.keep_ref(&last);
    let kept = repo.quick_tip(&name).is_some();
    let name = if kept { name } else { last.short().to_owned() };
    ui::warning(&format!(
        "workspace '{}' has deleted branch '{branch}'; what it had is here as {name}",
        source.workspace
    ));
    let word = branch.in_shell();
    match repo.branch_tip(branch)? {
        None => ui::hint(&format!("git branch {word} {name} brings it back here")),
        Some(tip) if repo.contains(&tip, &last)? => {
            ui::hint(&format!("branch '{branch}' here has all of it"));
        }
        Some(_) => {
            let beside = BranchName::new(&format!("{branch}-kept"))?;
            ui::hint(&format!(
                "git branch {} {name} brings it back beside '{branch}'",
                beside.in_shell()
            ));
        }
    }
    Ok(())
}

/// Where a tip is that was seen before.
#[derive(Debug, Clone, Copy)]
enum Place {
    KeepRef,
    Elsewhere,
}

/// Sees to it that a ref has a tip that was seen before; `None`: not all of it is here any more.
fn keep(repo: &Repo, source: &Source, tip: &ObjectId) -> anyhow::Result<Option<Place>> {
    if repo.quick_tip(&source.keep_ref(tip)).as_ref() == Some(tip) {
        return Ok(Some(Place::KeepRef));
    }
    // One that we pushed.
    if repo.kept(std::slice::from_ref(tip))?[0] {
        return Ok(Some(Place::Elsewhere));
    }
    if !repo.is_connected(std::slice::from_ref(tip))? {
        return Ok(None);
    }
    let mut changes = Changes::default();
    changes.make(source, tip);
    changes.apply(repo)?;
    Ok(Some(Place::KeepRef))
}
