//! Commits and other objects, by what leads to them.

use super::host::Host;
use super::save::Saver;
use super::{EXAMPLES, Finding, names, with_commas};
use crate::branch::BranchName;
use crate::git::ObjectId;
use crate::guest::losses::{Commit, Object, ObjectKind, Place, PlaceKind};
use crate::sanitize::GuestText;
use crate::ui;

/// Commits that only one kind of source leads to.
#[derive(Debug)]
struct Group<'a> {
    kind: Kind,
    /// How many.
    number: u64,
    /// Each source with its newest commit.
    sources: Vec<(&'a GuestText, &'a ObjectId)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Own,
    Branches,
    Tags,
    Head,
    Refs,
    Reflogs,
}

impl Kind {
    fn of(source: &[u8], branch: &BranchName) -> Self {
        match source {
            b"reflog" | b"reflog tip" => Self::Reflogs,
            b"HEAD" => Self::Head,
            _ if source == branch.full_ref().as_bytes() => Self::Own,
            _ if source.starts_with(b"refs/heads/") => Self::Branches,
            _ if source.starts_with(b"refs/tags/") => Self::Tags,
            _ => Self::Refs,
        }
    }
}

/// Commits of the workspace.
pub(super) fn on_refs(
    host: &Host<'_>,
    saver: &Saver<'_>,
    branch: &BranchName,
    place: &Place,
) -> anyhow::Result<Vec<Finding>> {
    // The stash is counted by its entries; without a reflog it has none.
    let stash = |commit: &&Commit| commit.source.as_bytes() == b"refs/stash";
    let commits = place.commits.told.iter();
    let commits: Vec<&Commit> =
        commits.filter(|commit| place.stashes.told.is_empty() || !stash(commit)).collect();
    // What was replaced there already, as by an amended commit that was pushed again, may be in a
    // reflog here alone.
    let (replaced, current): (Vec<&Commit>, Vec<&Commit>) =
        commits.into_iter().partition(|commit| is_replaced(commit));
    let unkept = host.unkept(current)?.into_iter().chain(host.unlogged(replaced)?);
    let mut groups: Vec<Group<'_>> = Vec::new();
    for commit in unkept {
        let kind = Kind::of(commit.source.as_bytes(), branch);
        let at = groups.iter().position(|group| group.kind == kind).unwrap_or_else(|| {
            groups.push(Group { kind, number: 0, sources: Vec::new() });
            groups.len() - 1
        });
        let group = &mut groups[at];
        group.number += 1;
        let known = match kind {
            // Each is a source of its own.
            Kind::Reflogs => commit.source.as_bytes() != b"reflog tip",
            // They come in the order of their sources' commits.
            _ => group.sources.iter().any(|(source, _)| **source == commit.source),
        };
        if !known {
            group.sources.push((&commit.source, &commit.id));
        }
    }
    let mut found: Vec<Finding> = groups.iter().map(|group| in_group(saver, group)).collect();
    if place.commits.more() > 0 {
        let more = ui::count(place.commits.more(), "more commit");
        found.push(Finding {
            what: "more",
            which: vec![format!("{more} that were not compared")],
            save: saver.all_branches(),
        });
    }
    Ok(found)
}

fn is_replaced(commit: &Commit) -> bool {
    let source = commit.source.as_bytes();
    matches!(source, b"reflog" | b"reflog tip") || source.starts_with(b"refs/rescue/")
}

fn in_group(saver: &Saver<'_>, group: &Group<'_>) -> Finding {
    let commits = ui::count(group.number, "commit");
    let short = |prefix: &[u8], source: &GuestText| {
        let bytes = source.as_bytes();
        GuestText::new(bytes.strip_prefix(prefix).unwrap_or(bytes)).to_string()
    };
    let listed = |one: &str, prefix: &[u8]| {
        let mut pieces = vec![format!("{commits} on")];
        if let [(source, _)] = group.sources.as_slice() {
            let one = one.strip_prefix("1 ").unwrap_or(one);
            pieces.push(format!("{one} {}", short(prefix, source)));
        } else {
            pieces.extend(names(one, &group.sources, |(source, _)| short(prefix, source)));
        }
        pieces
    };
    let ids: Vec<&ObjectId> = group.sources.iter().map(|(_, id)| *id).collect();
    let by_id = || saver.commits(&ids, None);
    let (which, save) = match group.kind {
        Kind::Own => (listed("1 branch", b"refs/heads/"), saver.fetch()),
        Kind::Branches => {
            let branch = |(source, _): &(&GuestText, &ObjectId)| {
                source.as_clean_str().and_then(BranchName::from_full_ref)
            };
            let branches: Option<Vec<BranchName>> = group.sources.iter().map(branch).collect();
            let save = branches.map_or_else(by_id, |branches| saver.branches(&branches));
            (listed("1 branch", b"refs/heads/"), save)
        }
        Kind::Tags => (listed("1 tag", b"refs/tags/"), by_id()),
        Kind::Head => (vec![format!("{commits} on a detached HEAD")], by_id()),
        Kind::Refs => (listed("1 ref", b""), by_id()),
        Kind::Reflogs => {
            let tips: Vec<String> = ids.iter().map(|id| id.short().to_owned()).collect();
            let mut pieces = vec![format!("{commits} in reflogs alone:")];
            pieces.extend(with_commas(tips.into_iter().take(EXAMPLES).collect()));
            (pieces, if ids.is_empty() { saver.shell() } else { by_id() })
        }
    };
    Finding { what: "commits", which, save }
}

/// Commits on refs that a linked worktree has for itself.
pub(super) fn of_worktree(
    host: &Host<'_>,
    saver: &Saver<'_>,
    place: &Place,
) -> anyhow::Result<Option<Finding>> {
    let unkept = host.unkept(place.commits.told.iter().collect())?;
    let number = unkept.len() as u64 + place.commits.more();
    let Some(first) = unkept.first() else { return Ok(None) };
    let which = format!("{} on refs of worktree {}", ui::count(number, "commit"), place.path);
    let ids: Vec<&ObjectId> = if number == 1 {
        vec![&first.id]
    } else {
        unkept.iter().map(|commit| &commit.id).collect()
    };
    Ok(Some(Finding { what: "commits", which: vec![which], save: saver.commits(&ids, None) }))
}

/// How many commits of a repository inside are nowhere here, and those that lead to all of them.
pub(super) fn unkept_inside<'a>(
    host: &Host<'_>,
    place: &'a Place,
) -> anyhow::Result<(u64, Vec<&'a ObjectId>)> {
    let stash = |commit: &&Commit| commit.source.as_bytes() == b"refs/stash";
    let commits = place.commits.told.iter();
    let commits: Vec<&Commit> =
        commits.filter(|commit| place.stashes.told.is_empty() || !stash(commit)).collect();
    let unkept = host.unkept_anywhere(commits)?;
    let number = unkept.len() as u64 + place.commits.more();
    let mut seen = std::collections::HashSet::new();
    let tips = unkept.into_iter().filter(|commit| match commit.source.as_bytes() {
        b"reflog" => false,
        b"reflog tip" => true,
        source => seen.insert(source),
    });
    Ok((number, tips.map(|commit| &commit.id).collect()))
}

pub(super) fn unkept_stashes<'a>(
    host: &Host<'_>,
    place: &'a Place,
) -> anyhow::Result<Vec<&'a ObjectId>> {
    let told = place.stashes.told.iter().collect();
    let unkept =
        if place.kind == PlaceKind::Own { host.unkept(told)? } else { host.unkept_anywhere(told)? };
    Ok(unkept.into_iter().map(|commit| &commit.id).collect())
}

pub(super) fn stashes(
    host: &Host<'_>,
    saver: &Saver<'_>,
    place: &Place,
) -> anyhow::Result<Option<Finding>> {
    let unkept = unkept_stashes(host, place)?;
    if unkept.is_empty() && place.stashes.more() == 0 {
        return Ok(None);
    }
    let message = |id: &&ObjectId| {
        let told = place.stashes.told.iter().find(|stash| stash.id == **id);
        told.map(|stash| stash.source.to_string()).unwrap_or_default()
    };
    let which = names("1 stash", &unkept, message);
    let save = if unkept.is_empty() { saver.shell() } else { saver.commits(&unkept, None) };
    Ok(Some(Finding { what: "stash", which, save }))
}

pub(super) fn unkept_objects<'a>(
    host: &Host<'_>,
    place: &'a Place,
) -> anyhow::Result<Vec<&'a Object>> {
    host.unpointed(place.objects.told.iter().collect())
}

/// Tags with messages, and refs to what is no commit.
pub(super) fn objects(
    host: &Host<'_>,
    saver: &Saver<'_>,
    place: &Place,
) -> anyhow::Result<Vec<Finding>> {
    let unkept = unkept_objects(host, place)?;
    let dir = if place.kind == PlaceKind::Own { None } else { place.path.as_clean_str() };
    let mut found = Vec::new();
    for (kind, what, one) in [
        (ObjectKind::Tag, "tags", "1 tag with a message"),
        (ObjectKind::Blob, "objects", "1 ref to a file"),
        (ObjectKind::Tree, "objects", "1 ref to a directory"),
    ] {
        let these: Vec<&&Object> = unkept.iter().filter(|object| object.kind == kind).collect();
        if these.is_empty() {
            continue;
        }
        let name = |object: &&&Object| {
            let bytes = object.name.as_bytes();
            GuestText::new(bytes.strip_prefix(b"refs/tags/").unwrap_or(bytes)).to_string()
        };
        let ids: Vec<&ObjectId> = these.iter().map(|object| &object.id).collect();
        let save = saver.objects(dir, kind, &ids);
        found.push(Finding { what, which: names(one, &these, name), save });
    }
    if place.objects.more() > 0 {
        let which =
            format!("{} that were not compared", ui::count(place.objects.more(), "more tag"));
        found.push(Finding { what: "more", which: vec![which], save: saver.shell() });
    }
    Ok(found)
}

/// Contents of files that git-lfs keeps beside git.
pub(super) fn lfs(host: &Host<'_>, saver: &Saver<'_>, place: &Place) -> Option<Finding> {
    let missing = host.missing_lfs(place);
    if missing.is_empty() && place.lfs.more() == 0 {
        return None;
    }
    let which = names("1 object of git-lfs", &missing, |name| format!("{}…", &name[..10]));
    Some(Finding { what: "lfs", which, save: saver.lfs(place.lfs_dir.as_ref(), &missing) })
}
