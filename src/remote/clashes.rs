//! Paths of one tree that a file system may take for one: they differ in case, or in how Unicode
//! writes an accent. Of two such files a checkout leaves one.

use std::collections::BTreeMap;

use unicode_normalization::UnicodeNormalization as _;

use crate::git::Repo;
use crate::sanitize;
use crate::ui;

/// The most that are named.
const NAMED: usize = 5;

/// The paths that clash in the tree of a revision, those that are one together, sorted.
pub fn of(repo: &Repo, revision: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let words = ["ls-tree", "-r", "-t", "-z", "--name-only", "--full-tree", revision];
    let listed = repo.output(&words)?;
    anyhow::ensure!(listed.exit.success(), "git ls-tree: {}", listed.stderr_tail(3));
    let paths = listed.stdout.split(|&byte| byte == 0).filter(|path| !path.is_empty());
    Ok(among(paths.map(|path| String::from_utf8_lossy(path).into_owned())))
}

fn among(paths: impl Iterator<Item = String>) -> Vec<Vec<String>> {
    let mut folded: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in paths {
        folded.entry(fold(&path)).or_default().push(path);
    }
    // Of what is in two directories that clash, the directories tell.
    let mut clashes: Vec<Vec<String>> = Vec::new();
    for (_, together) in folded.into_iter().filter(|(_, together)| together.len() > 1) {
        let below = |outer: &Vec<String>| {
            together.iter().all(|path| outer.iter().any(|dir| path.starts_with(&format!("{dir}/"))))
        };
        if !clashes.iter().any(below) {
            clashes.push(together);
        }
    }
    clashes
}

/// What two names have in common that are one.
fn fold(path: &str) -> String {
    path.nfc().flat_map(char::to_lowercase).nfc().collect()
}

/// Why such a tree is not sent to a workspace whose file system folds.
#[must_use]
pub fn refusal(clashes: &[Vec<String>]) -> String {
    format!("the workspace's file system cannot hold both of: {}", shown(clashes))
}

/// Warns of what came from a workspace, where this machine's file system folds.
pub fn warn_of_fetched(repo: &Repo, revision: &str) -> anyhow::Result<()> {
    let clashes = of(repo, revision)?;
    if !clashes.is_empty() {
        ui::warning(&format!(
            "this repository's file system (core.ignoreCase) cannot hold both of: {}",
            shown(&clashes)
        ));
        ui::hint("rename one of them in the workspace before you check them out");
    }
    Ok(())
}

fn shown(clashes: &[Vec<String>]) -> String {
    let one = |together: &Vec<String>| {
        let names: Vec<_> = together.iter().map(|path| sanitize::text(path)).collect();
        names.join(" and ")
    };
    let shown: Vec<String> = clashes.iter().take(NAMED).map(one).collect();
    match clashes.len().saturating_sub(NAMED) {
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clashes(paths: &[&str]) -> Vec<Vec<String>> {
        among(paths.iter().map(|&path| path.to_owned()))
    }

    #[test]
    fn paths_that_are_one_somewhere_clash() {
        for pair in [
            ["README", "readme"],
            ["a/B", "a/b"],
            ["caf\u{e9}", "cafe\u{301}"],
            ["CAF\u{c9}", "cafe\u{301}"],
            ["\u{c4}", "\u{e4}"],
            ["\u{212b}", "\u{e5}"],
        ] {
            assert_eq!(clashes(&pair), [pair.map(str::to_owned).to_vec()], "{pair:?}");
        }
    }

    #[test]
    fn paths_that_differ_in_more_do_not() {
        assert!(clashes(&["README", "README.md", "a/b", "a", "ab", "e", "\u{e9}"]).is_empty());
    }

    #[test]
    fn directories_stand_for_what_is_in_them() {
        let found = clashes(&["Dir", "Dir/a", "Dir/b", "dir", "dir/a", "x"]);
        assert_eq!(found, [["Dir".to_owned(), "dir".to_owned()]]);
    }

    #[test]
    fn many_are_cut() {
        let many: Vec<Vec<String>> =
            (0..7).map(|n| vec![format!("A{n}"), format!("a{n}")]).collect();
        assert!(shown(&many).ends_with("A4 and a4; and 2 more"));
    }
}
