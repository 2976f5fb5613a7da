//! What would be lost with a workspace: what it holds and this repository does not.
//!
//! The guest tells everything that may matter; here it is compared with what the refs of this
//! repository keep, and what can be made anew is left out.

use crate::branch::BranchName;
use crate::git::{ObjectId, Repo};
use crate::guest::workspaces::{Commit, Losses};
use crate::sanitize::GuestText;
use crate::ui;

/// Directories whose content a tool makes anew, where git ignores them. Part of the manual.
pub const REBUILDABLE_DIRS: &[&str] = &[
    "node_modules",
    "target",
    "__pycache__",
    ".venv",
    "venv",
    ".tox",
    ".nox",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".eggs",
    ".gradle",
    ".next",
    ".nuxt",
    ".parcel-cache",
    ".svelte-kit",
    ".turbo",
];
/// Files of that kind, by the end of their names.
pub const REBUILDABLE_FILES: &[&str] =
    &[".pyc", ".pyo", ".o", ".obj", ".class", ".tsbuildinfo", ".DS_Store", "Thumbs.db"];
/// What nobody writes by hand even where git does not ignore it.
const NEVER_WORK: &[&str] = &[".pyc", ".pyo", ".DS_Store", "Thumbs.db"];

/// How many names are given of each kind.
const EXAMPLES: usize = 10;

/// One kind of work that would be lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `2 files that git does not track: a, b`
    pub what: String,
    /// What to type to keep it.
    pub save: String,
}

/// What the refs of this repository do not keep of a workspace. Empty: nothing would be lost.
pub fn findings(repo: &Repo, branch: &BranchName, losses: &Losses) -> anyhow::Result<Vec<Finding>> {
    let mut found = files(branch, &losses.entries);
    found.extend(commits(repo, branch, losses)?);
    found.extend(rest(branch, losses));
    Ok(found)
}

fn finding(what: String, save: String) -> Finding {
    Finding { what, save }
}

/// Uncommitted work, by the letters that `git status` gives it.
fn files(branch: &BranchName, entries: &[GuestText]) -> Vec<Finding> {
    let mut kinds: [Vec<&[u8]>; 5] = Default::default();
    for entry in entries {
        let (letters, path) = entry.as_bytes().split_at(entry.as_bytes().len().min(2));
        let path = path.strip_prefix(b" ").unwrap_or(path);
        let kind = match letters {
            b"??" if ends_with_any(path, NEVER_WORK) => continue,
            b"!!" if is_rebuildable(path) => continue,
            b"??" => 1,
            b"!!" => 2,
            b"HH" => 3,
            b"GL" => 4,
            _ => 0,
        };
        kinds[kind].push(path);
    }
    KINDS
        .iter()
        .zip(kinds)
        .enumerate()
        .filter(|(_, (_, paths))| !paths.is_empty())
        .map(|(kind, (one, paths))| {
            let names = list(paths.iter().map(|path| GuestText::new(*path).to_string()));
            let save = save_file(branch, kind, paths[0]);
            finding(format!("{}:{names}", count(&paths, one)), save)
        })
        .collect()
}

/// What a path of each kind is called, in the order of [`save_file`].
const KINDS: [&str; 5] = [
    "file with changes that are not committed",
    "file that git does not track",
    "file that git ignores",
    "file with changes that git was told not to look for",
    "repository inside with commits of its own",
];

fn save_file(branch: &BranchName, kind: usize, path: &[u8]) -> String {
    let branch = branch.in_shell();
    let connect = format!("git agent-vm connect {branch}");
    match kind {
        0 | 1 => format!("commit them there ({connect}), then: git agent-vm fetch {branch}"),
        3 => format!(
            "{connect} -- git update-index --no-assume-unchanged FILE (or --no-skip-worktree), then commit it"
        ),
        _ => {
            let path = std::str::from_utf8(path)
                .ok()
                .map(|path| path.trim_end_matches('/'))
                .filter(|path| {
                    let plain = |c: char| c.is_alphanumeric() || "._/-".contains(c);
                    !path.starts_with('-') && path.chars().all(plain)
                });
            format!(
                "copy what you need, as in: {connect} -- tar c {} >kept.tar",
                path.unwrap_or("FILE")
            )
        }
    }
}

/// Whether a tool makes an ignored path (a directory ends in `/`) anew.
fn is_rebuildable(path: &[u8]) -> bool {
    let mut components: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
    // The last is a file's name, or empty after a directory's slash.
    components.pop();
    let in_dir = components
        .iter()
        .any(|component| REBUILDABLE_DIRS.iter().any(|name| name.as_bytes() == *component));
    in_dir || ends_with_any(path, REBUILDABLE_FILES)
}

fn ends_with_any(path: &[u8], ends: &[&str]) -> bool {
    ends.iter().any(|end| path.ends_with(end.as_bytes()))
}

/// Commits, by what leads to them.
fn commits(repo: &Repo, branch: &BranchName, losses: &Losses) -> anyhow::Result<Vec<Finding>> {
    let (replaced, current): (Vec<&Commit>, Vec<&Commit>) = losses
        .commits
        .iter()
        // The stash is counted by its entries; without a reflog it has none.
        .filter(|commit| losses.stashes == 0 || commit.source.as_bytes() != b"refs/stash")
        .partition(|commit| is_replaced(commit));
    let ids = |commits: &[&Commit]| -> Vec<ObjectId> {
        commits.iter().map(|commit| commit.id.clone()).collect()
    };
    let mut lost: Vec<(String, u64)> = Vec::new();
    let kept = repo.kept(&ids(&current))?.into_iter();
    // What was replaced there already, as by an amended commit that was pushed again, may be in a
    // reflog here alone.
    let kept = kept.chain(repo.kept_or_logged(&ids(&replaced))?);
    for (commit, kept) in current.into_iter().chain(replaced).zip(kept) {
        if kept {
            continue;
        }
        let source = commit.source.to_string();
        match lost.iter_mut().find(|(known, _)| *known == source) {
            Some((_, number)) => *number += 1,
            None => lost.push((source, 1)),
        }
    }
    let mut found: Vec<Finding> =
        lost.into_iter().map(|(source, number)| on_source(branch, &source, number)).collect();
    let told = losses.commits.len().try_into().unwrap_or(u64::MAX);
    if losses.commit_count > told {
        let more = losses.commit_count - told;
        found.push(finding(
            format!("{more} more commits that were not compared"),
            format!("git agent-vm fetch {}", branch.in_shell()),
        ));
    }
    Ok(found)
}

fn is_replaced(commit: &Commit) -> bool {
    let source = commit.source.as_bytes();
    source == b"reflog" || source.starts_with(b"refs/rescue/")
}

fn on_source(branch: &BranchName, source: &str, number: u64) -> Finding {
    let commits = ui::count(number, "commit");
    let own = source.strip_prefix("refs/heads/") == Some(branch.as_str());
    let branch = branch.in_shell();
    let shell = |name: &str| {
        BranchName::new(name)
            .map_or_else(|_| "NAME".to_owned(), |name| name.in_shell().into_owned())
    };
    let by_name = |name: &str| {
        format!(
            "git agent-vm connect {branch} -- git branch kept {name}, then: git fetch agentvm::{branch} kept"
        )
    };
    let (place, save) = match source.strip_prefix("refs/heads/") {
        Some(name) if own => (format!("on branch {name}"), format!("git agent-vm fetch {branch}")),
        Some(name) => {
            (format!("on branch {name}"), format!("git fetch agentvm::{branch} {}", shell(name)))
        }
        None if source == "HEAD" => ("on a detached HEAD".to_owned(), by_name("HEAD")),
        None if source == "reflog" => (
            "in reflogs alone".to_owned(),
            format!(
                "git agent-vm connect {branch} -- git log -g --all shows them; git branch there keeps one"
            ),
        ),
        None => (format!("on {source}"), by_name(&shell(source))),
    };
    finding(format!("{commits} {place}"), save)
}

fn rest(branch: &BranchName, losses: &Losses) -> Vec<Finding> {
    let branch = branch.in_shell();
    let mut found = Vec::new();
    if losses.stashes > 0 {
        let save = format!(
            "git agent-vm connect {branch} -- git branch kept 'stash@{{0}}', then: git fetch agentvm::{branch} kept"
        );
        found.push(finding(ui::count(losses.stashes, "stash"), save));
    }
    if let Some(operation) = &losses.operation {
        let save = format!("finish it there (git agent-vm connect {branch}), or give it up");
        found.push(finding(format!("a {operation} in progress"), save));
    }
    if !losses.worktrees.is_empty() {
        let names = list(losses.worktrees.iter().map(GuestText::to_string));
        let save = format!(
            "git agent-vm connect {branch} -- git worktree remove DIR, once it is not needed"
        );
        found.push(finding(
            format!("{}:{names}", count(&losses.worktrees, "worktree linked to it")),
            save,
        ));
    }
    if !losses.processes.is_empty() {
        let names = list(losses.processes.iter().map(GuestText::to_string));
        found.push(finding(
            format!("{}:{names}", count(&losses.processes, "process at work in it")),
            "wait for its end, or end it there".to_owned(),
        ));
    }
    found
}

fn count<T>(items: &[T], one: &str) -> String {
    ui::count(items.len().try_into().unwrap_or(u64::MAX), one)
}

/// Names to stand after a colon: one on the same line, more on lines of their own.
fn list(names: impl ExactSizeIterator<Item = String>) -> String {
    let number = names.len();
    let mut text = String::new();
    for name in names.take(EXAMPLES) {
        text.push_str(if number == 1 { " " } else { "\n    " });
        text.push_str(&name);
    }
    if number > EXAMPLES {
        text.push_str(&format!("\n    and {} more", number - EXAMPLES));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(entries: &[&str]) -> Vec<String> {
        let entries: Vec<GuestText> =
            entries.iter().map(|entry| GuestText::new(entry.as_bytes())).collect();
        let branch = BranchName::new("feature").unwrap();
        files(&branch, &entries).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn what_a_tool_makes_anew_does_not_count() {
        for path in [
            "!! node_modules/",
            "!! web/node_modules/left-pad/index.js",
            "!! target/",
            "!! a/b/__pycache__/",
            "!! x.pyc",
            "!! .DS_Store",
            "?? pkg/__pycache__/x.pyc",
        ] {
            assert_eq!(found(&[path]), Vec::<String>::new(), "{path}");
        }
    }

    #[test]
    fn everything_else_counts() {
        for path in [
            "!! .env",
            "!! my-target/",
            "!! target",
            "!! notes/target.txt",
            "?? target/a.rs",
            "?? node_modules/x",
            " M src/a.o",
            "HH x.pyc",
            "GL node_modules/sub",
            "?",
            "",
        ] {
            assert_eq!(found(&[path]).len(), 1, "{path}");
        }
    }

    #[test]
    fn names_are_listed_up_to_a_few_and_clean() {
        let entries: Vec<String> = (0..12).map(|n| format!("?? f{n}\x1b[m")).collect();
        let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
        let what = &found(&entries)[0];
        assert!(what.starts_with("12 files that git does not track:\n    f0\\x1b[m\n    f1"));
        assert!(what.ends_with("\n    f9\\x1b[m\n    and 2 more"), "{what}");
        assert_eq!(found(&["?? a"]), ["1 file that git does not track: a"]);
    }

    #[test]
    fn each_kind_of_work_has_its_line() {
        let losses = Losses {
            stashes: 1,
            operation: Some(GuestText::new(&b"rebase"[..])),
            worktrees: vec![GuestText::new(&b"/home/agent/x"[..])],
            processes: vec![GuestText::new(&b"12 sleep 100"[..])],
            ..Losses::default()
        };
        let branch = BranchName::new("feature").unwrap();
        let what: Vec<String> =
            rest(&branch, &losses).into_iter().map(|finding| finding.what).collect();
        assert_eq!(
            what,
            [
                "1 stash",
                "a rebase in progress",
                "1 worktree linked to it: /home/agent/x",
                "1 process at work in it: 12 sleep 100",
            ]
        );
    }
}
