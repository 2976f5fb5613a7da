//! Work that is not committed.

use std::collections::{HashMap, HashSet};

use super::rebuildable::is_of_no_account;
use super::save::{Committing, Saver, word};
use super::{EXAMPLES, Finding, with_commas};
use crate::guest::losses::{Losses, Place, PlaceKind};
use crate::sanitize::GuestText;
use crate::ui;

/// Names of this many KiB and more are given with their sizes.
const BIG: u64 = 1024;

/// The entries of one kind.
type Paths<'a> = Vec<&'a [u8]>;

#[derive(Debug, Default)]
struct Kinds<'a> {
    /// Changed or staged.
    changed: Paths<'a>,
    untracked: Paths<'a>,
    ignored: Paths<'a>,
    /// Changed, but git was told not to look.
    unseen: Paths<'a>,
    /// Files in the place of a submodule that is not there.
    behind_links: Paths<'a>,
    /// Whether something is staged that differs from the file.
    staged: bool,
}

impl<'a> Kinds<'a> {
    fn of(place: &'a Place, known: &HashSet<&[u8]>) -> Self {
        let mut kinds = Self::default();
        for entry in &place.entries.told {
            let (letters, path) = entry.as_bytes().split_at(entry.as_bytes().len().min(2));
            let path = path.strip_prefix(b" ").unwrap_or(path);
            if is_of_no_account(letters, path)
                || (letters == b"??" && known.contains(path.strip_suffix(b"/").unwrap_or(path)))
            {
                continue;
            }
            match letters {
                b"??" => kinds.untracked.push(path),
                b"!!" => kinds.ignored.push(path),
                b"HH" => kinds.unseen.push(path),
                b"GF" => kinds.behind_links.push(path),
                _ => {
                    kinds.staged |= !letters.contains(&b' ') && !letters.contains(&b'U');
                    kinds.changed.push(path);
                }
            }
        }
        kinds
    }
}

/// How many entries of a place count.
pub(super) fn count(place: &Place) -> u64 {
    let kinds = Kinds::of(place, &HashSet::new());
    let all =
        [&kinds.changed, &kinds.untracked, &kinds.ignored, &kinds.unseen, &kinds.behind_links];
    all.iter().map(|paths| paths.len() as u64).sum::<u64>() + place.entries.more()
}

/// Files of the workspace, or of a worktree that is linked to it.
pub(super) fn findings(saver: &Saver<'_>, place: &Place, losses: &Losses) -> Vec<Finding> {
    // Repositories inside are looked at by themselves.
    let inside = losses.places.iter().filter(|inside| inside.kind != PlaceKind::Own);
    let inside: Vec<Vec<u8>> =
        inside.filter_map(|inside| below(place, inside.path.as_bytes())).collect();
    let kinds = Kinds::of(place, &inside.iter().map(Vec::as_slice).collect());
    let dir = (place.kind != PlaceKind::Own).then(|| place.path.as_clean_str().unwrap_or("?"));
    let addressable = dir.is_none_or(|dir| word(dir.as_bytes()).is_some() && dir != "?");
    let save = |command: &dyn Fn() -> String| {
        if addressable { command() } else { saver.shell() }
    };
    let how = Committing {
        checked_out: place.checked_out.as_ref(),
        staged: kinds.staged,
        excludes: place.excludes,
    };
    let mut found = Vec::new();
    let mut add = |what, one: &str, paths: &Paths<'_>, save: String| {
        if !paths.is_empty() {
            found.push(Finding { what, which: which(place, one, paths), save });
        }
    };
    let all = || match place.kind {
        // Its commits are found by the next look.
        PlaceKind::Module => saver.script(dir, "git add -A && git commit -qnm kept"),
        _ => saver.commit_all(dir, &how),
    };
    let unseen = || saver.commit_unseen(dir, place.checked_out.as_ref(), &kinds.unseen);
    add("unseen", "file", &kinds.unseen, save(&unseen));
    for path in &kinds.behind_links {
        let path = dir.map_or_else(
            || GuestText::new(*path),
            |dir| GuestText::new([dir.as_bytes(), b"/", path].concat()),
        );
        add(
            "untracked",
            "submodule's place",
            &vec![path.as_bytes()],
            saver.archive_directories(&[&path]),
        );
    }
    if !kinds.ignored.is_empty() {
        add("ignored", "file", &kinds.ignored, save(&|| saver.archive(dir, &kinds.ignored)));
    }
    add("changed", "file", &kinds.changed, save(&all));
    add("untracked", "file", &kinds.untracked, save(&all));
    if place.entries.more() > 0 {
        let which = vec![format!(
            "{} that were not compared",
            ui::count(place.entries.more(), "more file")
        )];
        found.push(Finding { what: "more", which, save: save(&all) });
    }
    found
}

/// The path of something inside, from a place.
fn below(place: &Place, path: &[u8]) -> Option<Vec<u8>> {
    match place.kind {
        PlaceKind::Own => Some(path.to_vec()),
        _ => path.strip_prefix(place.path.as_bytes())?.strip_prefix(b"/").map(<[u8]>::to_vec),
    }
}

/// How many there are, how big, and the biggest of them.
fn which(place: &Place, one: &str, paths: &Paths<'_>) -> Vec<String> {
    let sizes: HashMap<&[u8], u64> =
        place.sizes.iter().map(|(size, path)| (path.as_bytes(), *size)).collect();
    let size = |path: &[u8]| sizes.get(path).copied().unwrap_or_default();
    let sum = paths.iter().map(|path| size(path)).fold(0, u64::saturating_add);
    let shown = |kib: u64| ui::size(kib.saturating_mul(1024));
    let mut head = ui::count(paths.len() as u64, one);
    match place.kind {
        PlaceKind::Linked => head.push_str(&format!(" in worktree {}", place.path)),
        PlaceKind::Module => head.push_str(&format!(" in submodule {}", place.path)),
        _ => {}
    }
    if sum >= BIG {
        head.push_str(&format!(", {}", shown(sum)));
    }
    let mut paths: Vec<&[u8]> = paths.clone();
    // The biggest first; the others as git sorts them.
    paths.sort_by_key(|path| std::cmp::Reverse(Some(size(path)).filter(|size| *size >= BIG)));
    let name = |path: &&[u8]| match size(path) {
        size if size >= BIG && paths.len() > 1 => {
            format!("{} ({})", GuestText::new(*path), shown(size))
        }
        _ => GuestText::new(*path).to_string(),
    };
    let mut pieces = vec![head + ":"];
    pieces.extend(with_commas(paths.iter().take(EXAMPLES).map(name).collect()));
    if paths.len() > EXAMPLES {
        pieces.push(format!("and {} more", paths.len() - EXAMPLES));
    }
    pieces
}

/// A merge, rebase or the like: what it has done is among the files, and it can be left as it is.
pub(super) fn operation(saver: &Saver<'_>, place: &Place) -> Option<Finding> {
    let operation = place.operation.as_ref()?.as_clean_str().unwrap_or("merge").to_owned();
    let dir = (place.kind != PlaceKind::Own).then(|| place.path.as_clean_str()).flatten();
    let command = match operation.as_str() {
        "bisect" => "git bisect reset".to_owned(),
        "merge" | "rebase" | "am" | "cherry-pick" | "revert" => format!("git {operation} --quit"),
        _ => return Some(stopped(&operation, saver.shell())),
    };
    Some(stopped(&operation, saver.run(dir, &command)))
}

fn stopped(operation: &str, save: String) -> Finding {
    Finding { what: "unfinished", which: vec![format!("a {operation} in progress")], save }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::branch::BranchName;
    use crate::loss::Address;

    fn place(entries: &[&str]) -> Place {
        let mut place = Place::at(PlaceKind::Own, b".");
        place.checked_out = Some(GuestText::new(&b"refs/heads/feature"[..]));
        place.entries.told = entries.iter().map(|entry| GuestText::new(entry.as_bytes())).collect();
        place.entries.count = Some(entries.len() as u64);
        place
    }

    fn found(place: Place) -> Vec<(&'static str, String, String)> {
        let branch = BranchName::new("feature").unwrap();
        let name = GuestText::new(&b"app-feature"[..]);
        let saver = Saver::new(&branch, &Address::Branch, &name);
        let losses = Losses { places: vec![place], ..Losses::default() };
        let found = findings(&saver, &losses.places[0], &losses).into_iter();
        found.map(|found| (found.what, found.which.join(" "), found.save)).collect()
    }

    #[test]
    fn whatever_cannot_be_read_counts_as_changed() {
        for entry in ["?", "", "XY"] {
            assert_eq!(found(place(&[entry]))[0].0, "changed", "{entry:?}");
        }
    }

    #[test]
    fn big_files_come_first_and_with_their_sizes() {
        let mut place = place(&["!! a.log", "!! big.bin", "!! small.bin"]);
        place.sizes = vec![
            (4, GuestText::new(&b"a.log"[..])),
            (3 << 20, GuestText::new(&b"big.bin"[..])),
            (2048, GuestText::new(&b"small.bin"[..])),
        ];
        let which = &found(place)[0].1;
        assert_eq!(which, "3 files, 3.00 GiB: big.bin (3.00 GiB), small.bin (2.00 MiB), a.log");
    }

    #[test]
    fn what_was_not_told_counts() {
        let mut place = place(&["?? a"]);
        place.entries.count = Some(5);
        assert_eq!(found(place)[1].1, "4 more files that were not compared");
    }

    #[test]
    fn what_is_staged_is_committed_before_the_file_itself() {
        let script = |entry| found(place(&[entry]))[0].2.clone();
        assert!(script("MM a").contains("git commit -qnm staged; git add -A"));
        assert!(script("AD a").contains("git commit -qnm staged; git add -A"));
        for entry in ["M  a", " M a", "?? a", "UU a"] {
            assert!(!script(entry).contains("staged"), "{entry}");
        }
    }

    #[test]
    fn a_name_that_cannot_be_typed_is_no_part_of_a_command() {
        let (_, which, save) = &found(place(&["!! a\x1b[m"]))[0];
        assert_eq!(which, "1 file: a\\x1b[m");
        assert!(save.contains("ls-files -oiz"), "{save}");
    }
}
