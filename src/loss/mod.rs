//! What would be lost with a workspace: what it holds and this repository does not.
//!
//! The guest tells everything that may matter; here it is compared, by object id, with what the refs
//! of this repository keep, and what can be made anew is left out.

use crate::branch::BranchName;
use crate::git::Repo;
use crate::guest::losses::{Losses, Place, PlaceKind};
use crate::sanitize::GuestText;
use crate::ui;

mod commits;
mod files;
mod host;
pub mod rebuildable;
mod save;
pub mod table;

pub use host::{modules, tips_of_modules};
use save::Saver;
pub use save::{Address, save_beside};

use host::Host;

/// How many names are given of each kind.
const EXAMPLES: usize = 10;

/// How many kinds of work are named of one workspace.
const ROWS: usize = 25;

/// One kind of work that would be lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind, in a word: `untracked`.
    pub what: &'static str,
    /// How much and which, in pieces that stay whole: `2 files:`, `a,`, `b`.
    pub which: Vec<String>,
    /// What to type to keep it.
    pub save: String,
}

/// What the refs of this repository do not keep of a workspace. Empty: nothing would be lost. They
/// stand in the order in which they are best saved.
pub fn findings(
    repo: &Repo,
    branch: &BranchName,
    address: &Address,
    losses: &Losses,
) -> anyhow::Result<Vec<Finding>> {
    let saver = Saver::new(branch, address, &losses.name);
    let host = Host::new(repo);
    let mut found = Vec::new();
    found.extend(all_nested(&host, &saver, losses)?);
    for place in &losses.places {
        if matches!(place.kind, PlaceKind::Module | PlaceKind::Bare) && place.failed.is_none() {
            found.extend(module(&host, &saver, place, losses)?);
        }
    }
    let own = losses.places.iter().filter(|place| !is_inside(place));
    for place in own {
        found.extend(match place.kind {
            PlaceKind::Own => workspace(&host, &saver, branch, place, losses)?,
            _ => linked(&host, &saver, place, losses)?,
        });
    }
    found.extend(rest(&saver, losses));
    if found.len() > ROWS {
        let which = format!(
            "{} of work, named when these are saved",
            ui::count((found.len() - ROWS) as u64, "more kind")
        );
        found.truncate(ROWS);
        found.push(Finding { what: "more", which: vec![which], save: saver.shell() });
    }
    Ok(found)
}

/// Whether it is a repository of its own. A place that could not be looked into is taken for one.
fn is_inside(place: &Place) -> bool {
    place.failed.is_some() || !matches!(place.kind, PlaceKind::Own | PlaceKind::Linked)
}

fn workspace(
    host: &Host<'_>,
    saver: &Saver<'_>,
    branch: &BranchName,
    place: &Place,
    losses: &Losses,
) -> anyhow::Result<Vec<Finding>> {
    let mut found = files::findings(saver, place, losses);
    found.extend(files::operation(saver, place));
    found.extend(commits::on_refs(host, saver, branch, place)?);
    found.extend(commits::stashes(host, saver, place)?);
    found.extend(commits::objects(host, saver, place)?);
    found.extend(commits::lfs(host, saver, place));
    Ok(found)
}

/// A worktree of the workspace: it loses its repository.
fn linked(
    host: &Host<'_>,
    saver: &Saver<'_>,
    place: &Place,
    losses: &Losses,
) -> anyhow::Result<Vec<Finding>> {
    let mut found = files::findings(saver, place, losses);
    found.extend(files::operation(saver, place));
    found.extend(commits::of_worktree(host, saver, place)?);
    // git worktree remove would take what it ignores along, so first things first.
    if found.is_empty() {
        let save = save::word(place.path.as_bytes()).map_or_else(
            || saver.shell(),
            |path| saver.run(None, &format!("git worktree remove {path}")),
        );
        let which = vec![format!("1 linked worktree: {}", place.path)];
        found.push(Finding { what: "worktree", which, save });
    }
    Ok(found)
}

/// What a repository below a work tree holds, in pieces: it is copied as a whole.
fn nested(host: &Host<'_>, place: &Place) -> anyhow::Result<Vec<String>> {
    let mut holds = Vec::new();
    if let Some(why) = &place.failed {
        holds.push(format!("cannot be looked into: {why}"));
    }
    let (commits, _) = commits::unkept_inside(host, place)?;
    let counts = [
        (commits, "commit"),
        (files::count(place), "file"),
        (commits::unkept_stashes(host, place)?.len() as u64 + place.stashes.more(), "stash"),
        (commits::unkept_objects(host, place)?.len() as u64 + place.objects.more(), "tag"),
        (host.missing_lfs(place).len() as u64 + place.lfs.more(), "object of git-lfs"),
    ];
    holds.extend(counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| ui::count(*n, what)));
    if let Some(operation) = &place.operation {
        holds.push(format!("a {operation} in progress"));
    }
    Ok(holds)
}

fn all_nested(
    host: &Host<'_>,
    saver: &Saver<'_>,
    losses: &Losses,
) -> anyhow::Result<Option<Finding>> {
    let mut found = Vec::new();
    for place in &losses.places {
        if place.kind == PlaceKind::Nested || place.failed.is_some() {
            let holds = nested(host, place)?;
            if !holds.is_empty() {
                found.push((&place.path, format!("{} ({})", place.path, holds.join(", "))));
            }
        }
    }
    let paths: Vec<&GuestText> = found.iter().map(|(path, _)| *path).collect();
    Ok((!found.is_empty()).then(|| Finding {
        what: "nested",
        which: names("1 repository", &found, |(_, text)| text.clone()),
        save: saver.archive_directories(&paths),
    }))
}

/// A submodule: what it has goes through the workspace, since its git directory is elsewhere.
fn module(
    host: &Host<'_>,
    saver: &Saver<'_>,
    place: &Place,
    losses: &Losses,
) -> anyhow::Result<Vec<Finding>> {
    let mut found = if place.kind == PlaceKind::Module {
        files::findings(saver, place, losses)
    } else {
        Vec::new()
    };
    found.extend(files::operation(saver, place));
    let (number, mut tips) = commits::unkept_inside(host, place)?;
    let stashes = commits::unkept_stashes(host, place)?;
    tips.extend(&stashes);
    let number = number + stashes.len() as u64;
    if number > 0 {
        let save = place.path.as_clean_str().filter(|_| !tips.is_empty()).map_or_else(
            || saver.shell(),
            |path| saver.commits(&tips, Some(&format!("./{}", path.trim_start_matches("./")))),
        );
        let which = vec![format!("{} in submodule {}", ui::count(number, "commit"), place.path)];
        found.push(Finding { what: "submodule", which, save });
    }
    found.extend(commits::objects(host, saver, place)?);
    found.extend(commits::lfs(host, saver, place));
    Ok(found)
}

/// What keeps the workspace as a whole from going.
fn rest(saver: &Saver<'_>, losses: &Losses) -> Vec<Finding> {
    let mut found = Vec::new();
    if losses.more_places > 0 {
        let which = format!(
            "{} inside that were not looked into",
            ui::count(losses.more_places, "repository")
        );
        found.push(Finding { what: "nested", which: vec![which], save: saver.shell() });
    }
    if !losses.unread.is_empty() {
        let which = names("1 place cannot be read", &losses.unread, GuestText::to_string);
        let save = saver.run(None, "chmod -R u+rwX .");
        found.push(Finding { what: "unreadable", which, save });
    }
    if !losses.processes.is_empty() {
        let which = names("1 process", &losses.processes, GuestText::to_string);
        let number = |process: &GuestText| {
            let text = process.to_string();
            text.split(' ').next().and_then(|number| number.parse::<u32>().ok())
        };
        let numbers: Vec<String> =
            losses.processes.iter().filter_map(number).map(|number| number.to_string()).collect();
        let save = saver.run(None, &format!("kill {}", numbers.join(" ")));
        found.push(Finding { what: "at work", which, save });
    }
    found
}

/// `2 files: a, b`, from `1 file`.
fn names<T>(one: &str, all: &[T], show: impl Fn(&T) -> String) -> Vec<String> {
    let number = all.len().try_into().unwrap_or(u64::MAX);
    let one = one.strip_prefix("1 ").unwrap_or(one);
    let mut pieces = vec![format!("{}:", ui::count(number, one))];
    pieces.extend(with_commas(all.iter().take(EXAMPLES).map(show).collect()));
    if all.len() > EXAMPLES {
        pieces.push(format!("and {} more", all.len() - EXAMPLES));
    }
    pieces
}

fn with_commas(mut pieces: Vec<String>) -> Vec<String> {
    let last = pieces.len().saturating_sub(1);
    pieces[..last].iter_mut().for_each(|piece| piece.push(','));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_listed_up_to_a_few() {
        let all: Vec<String> = (0..12).map(|n| format!("f{n}")).collect();
        let text = names("1 file", &all, String::clone).join(" ");
        assert_eq!(text, "12 files: f0, f1, f2, f3, f4, f5, f6, f7, f8, f9 and 2 more");
        assert_eq!(names("1 file", &all[..1], String::clone).join(" "), "1 file: f0");
    }
}
