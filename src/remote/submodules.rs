//! Submodules: a push carries the links to their commits and not what is behind them, and so does a
//! fetch. Which ones are empty on the other side is said where they come, with what fills them.

use std::collections::BTreeMap;

use crate::branch::BranchName;
use crate::git::{ObjectId, Repo};
use crate::loss;
use crate::sanitize;
use crate::ui;

/// The most links that are named.
const NAMED: usize = 10;
const NAMED_OF_VM: usize = 3;

/// `branch` has gone from `old` to `new` in the workspace.
pub fn after_push(
    repo: &Repo,
    branch: &BranchName,
    old: Option<&ObjectId>,
    new: &ObjectId,
) -> anyhow::Result<()> {
    // What is not here, as in a partial clone, is not fetched for a hint.
    let Some(links) = repo.new_links(&[(old, new)]) else { return Ok(()) };
    if links.is_empty() {
        return Ok(());
    }
    let links: Vec<String> = links.into_iter().map(|(path, _)| path).collect();
    let listed = Listed::read(repo, new)?;
    let names: Vec<_> = links.iter().map(|path| sanitize::text(path)).collect();
    ui::warning(&format!(
        "the push carries no contents of submodules; the workspace has none of: {}",
        join(&names, NAMED)
    ));
    let word = branch.in_shell();
    let there: Vec<_> = links.iter().map(|path| (path, listed.url(path))).collect();
    if there.iter().any(|(_, url)| url.is_some_and(|url| !is_local(url))) {
        ui::hint(&format!(
            "git agent-vm connect {word} -- git submodule update --init fills them, where the VM reaches their servers"
        ));
    }
    let local: Vec<_> = there
        .iter()
        .filter_map(|(path, url)| url.filter(|url| is_local(url)).map(|url| (path, url)))
        .map(|(path, url)| format!("{} (from {})", sanitize::text(path), sanitize::text(url)))
        .collect();
    if !local.is_empty() {
        ui::hint(&format!(
            "the VM cannot reach the address of: {}; git agent-vm connect {word} -- git config submodule.NAME.url URL gives another, then: git submodule update --init",
            join(&local, NAMED)
        ));
    }
    let unlisted: Vec<_> = there
        .iter()
        .filter(|(_, url)| url.is_none())
        .map(|(path, _)| sanitize::text(path))
        .collect();
    if !unlisted.is_empty() {
        ui::hint(&format!(
            "without an entry in .gitmodules, git knows no server for: {}",
            join(&unlisted, NAMED)
        ));
    }
    Ok(())
}

/// Branches of the workspace of `branch` have come; of each the tip that is known, and the new one.
/// git's own `git add` makes links of repositories that an agent made, and those are nowhere else.
pub fn after_fetch(repo: &Repo, branch: &BranchName, moves: &[(Option<&ObjectId>, &ObjectId)]) {
    // What cannot be told cheaply is not worth a word.
    let mut links = repo.new_links(moves).unwrap_or_default();
    if links.is_empty() {
        return;
    }
    let modules = loss::modules(repo);
    links.retain(|(_, id)| !repo.may_have(id) && !modules.iter().any(|module| module.may_have(id)));
    if links.is_empty() {
        return;
    }
    let mut names: Vec<_> = links.iter().map(|(path, _)| sanitize::text(path)).collect();
    names.dedup();
    ui::warning(&format!(
        "a fetch carries no contents of submodules and of repositories inside; not here: {}",
        join(&names, NAMED_OF_VM)
    ));
    ui::hint(&format!(
        "git submodule update --init brings what is on a server; the rest is in the workspace alone: git agent-vm connect {}",
        branch.in_shell()
    ));
}

fn join(names: &[impl AsRef<str>], most: usize) -> String {
    let shown: Vec<&str> = names.iter().take(most).map(AsRef::as_ref).collect();
    let more = names.len() - shown.len();
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

/// Whether an address leads to this machine: a path, or one relative to where this repository came
/// from, which a workspace does not know.
fn is_local(url: &str) -> bool {
    let scp_like = url.split('/').next().is_some_and(|first| first.contains(':'));
    url.starts_with("file:") || !scp_like
}

/// What `.gitmodules` says: the address of each path.
struct Listed(BTreeMap<String, String>);

impl Listed {
    fn read(repo: &Repo, tip: &ObjectId) -> anyhow::Result<Self> {
        let blob = format!("{tip}:.gitmodules");
        let pattern = r"^submodule\..*\.(path|url)$";
        // It fails where there is no such file, or one that git cannot read: then nothing is listed.
        let said = repo.output(&["config", "-z", "--blob", &blob, "--get-regexp", pattern])?;
        let mut modules: BTreeMap<String, (String, String)> = BTreeMap::new();
        for entry in said.stdout.split(|&byte| byte == 0) {
            let entry = String::from_utf8_lossy(entry);
            let Some((key, value)) = entry.split_once('\n') else { continue };
            if let Some(name) = key.strip_suffix(".path") {
                value.clone_into(&mut modules.entry(name.to_owned()).or_default().0);
            } else if let Some(name) = key.strip_suffix(".url") {
                value.clone_into(&mut modules.entry(name.to_owned()).or_default().1);
            }
        }
        Ok(Self(modules.into_values().collect()))
    }

    fn url(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str).filter(|url| !url.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_only_this_machine_understands() {
        for url in ["../sub", "./sub", "/srv/sub.git", "file:///srv/sub.git", "sub"] {
            assert!(is_local(url), "{url}");
        }
        for url in ["https://example.org/sub", "git@example.org:sub", "ssh://example.org/sub"] {
            assert!(!is_local(url), "{url}");
        }
    }

    #[test]
    fn many_names_are_cut() {
        let names: Vec<String> = (0..12).map(|index| index.to_string()).collect();
        assert_eq!(join(&names, 10), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more");
        assert_eq!(join(&names[..2], 10), "0, 1");
    }
}
