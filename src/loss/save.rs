//! What to type to keep something: commands that work when they are pasted into a shell.
//!
//! Names from the VM come in as single quoted words or not at all. Commands in the VM get no standard
//! input, or they would swallow what is pasted after them.

use std::cell::Cell;
use std::path::Path;

use crate::branch::BranchName;
use crate::git::ObjectId;
use crate::guest::losses::ObjectKind;
use crate::sanitize::GuestText;
use crate::workspace::WorkspaceName;

/// The most ids or names in one command; what is left is named by the next look.
const AT_ONCE: usize = 50;

/// How commands speak of a workspace.
#[derive(Debug, Clone)]
pub enum Address {
    /// By its branch.
    Branch,
    /// By its name, where another workspace has the same branch. The first is the VM's.
    Name(String, WorkspaceName),
}

/// Makes the commands for one workspace.
#[derive(Debug)]
pub(super) struct Saver<'a> {
    branch: &'a BranchName,
    address: &'a Address,
    /// Files are named after it.
    workspace: String,
    files: Cell<u32>,
}

impl<'a> Saver<'a> {
    pub(super) fn new(branch: &'a BranchName, address: &'a Address, name: &GuestText) -> Self {
        Self { branch, address, workspace: stem(name), files: Cell::new(0) }
    }

    /// A shell in the workspace: for what no single command can do.
    pub(super) fn shell(&self) -> String {
        match self.address {
            Address::Branch => format!("git agent-vm connect {}", self.branch.in_shell()),
            Address::Name(..) => "git agent-vm connect".to_owned(),
        }
    }

    /// A command in the workspace's directory, or below it. It stands as it is in the user's shell.
    pub(super) fn run(&self, dir: Option<&str>, command: &str) -> String {
        let start = match self.address {
            Address::Branch => format!("git agent-vm connect -n {} --", self.branch.in_shell()),
            Address::Name(..) => "git agent-vm connect -n --".to_owned(),
        };
        let dir = match (self.address, dir) {
            (Address::Branch, dir) => dir.map(str::to_owned),
            (Address::Name(_, name), None) => Some(name.to_string()),
            (Address::Name(..), Some(dir)) if dir.starts_with('/') => Some(dir.to_owned()),
            (Address::Name(_, name), Some(dir)) => Some(format!("{name}/{dir}")),
        };
        match dir {
            None => format!("{start} {command}"),
            Some(dir) => {
                format!("{start} sh -c {}", quoted(&format!("cd {} && {command}", quoted(&dir))))
            }
        }
    }

    /// A line of shell in the workspace's directory, or below it.
    pub(super) fn script(&self, dir: Option<&str>, script: &str) -> String {
        match (self.address, dir) {
            (Address::Branch, None) => self.run(None, &format!("sh -c {}", quoted(script))),
            _ => self.run(dir, script),
        }
    }

    /// Brings the workspace's own branch.
    pub(super) fn fetch(&self) -> String {
        match self.address {
            Address::Branch => format!("git agent-vm fetch {}", self.branch.in_shell()),
            Address::Name(..) => self.fetch_refs(&self.branch.in_shell()),
        }
    }

    /// Brings branches, by words of a command line. What was fetched is kept.
    pub(super) fn fetch_refs(&self, words: &str) -> String {
        match self.address {
            Address::Branch => format!("git fetch agentvm::{} {words}", self.branch.in_shell()),
            Address::Name(vm, name) => format!("git fetch agentvm://{vm}/{name} {words}"),
        }
    }

    /// Brings branches by their names.
    pub(super) fn branches(&self, branches: &[BranchName]) -> String {
        if branches.len() > AT_ONCE {
            return self.all_branches();
        }
        let words: Vec<_> = branches.iter().map(BranchName::in_shell).collect();
        self.fetch_refs(&words.join(" "))
    }

    /// Brings all branches.
    pub(super) fn all_branches(&self) -> String {
        self.fetch_refs("'+refs/heads/*:refs/agentvm/heads/*'")
    }

    /// Brings commits, by branches that are made for it: git fetches by name only. `from`: the
    /// repository inside that has them.
    pub(super) fn commits(&self, ids: &[&ObjectId], from: Option<&str>) -> String {
        let ids = &ids[..ids.len().min(AT_ONCE)];
        let short: Vec<&str> = ids.iter().map(|id| id.short()).collect();
        let names: Vec<String> = short.iter().map(|id| format!("kept/{id}")).collect();
        let make = match (from, short.as_slice()) {
            (Some(from), _) => {
                let refspec = |id: &&ObjectId| format!("{id}:refs/heads/kept/{}", id.short());
                let refspecs: Vec<_> = ids.iter().map(refspec).collect();
                self.run(None, &format!("git fetch -q {} {}", quoted(from), refspecs.join(" ")))
            }
            (None, [id]) => self.run(None, &format!("git branch -f kept/{id} {id}")),
            (None, _) => self.script(
                None,
                &format!("for c in {}; do git branch -f kept/$c $c; done", short.join(" ")),
            ),
        };
        format!("{make} && {}", self.fetch_refs(&names.join(" ")))
    }

    /// Commits whatever is not committed, on what is checked out there, and brings it.
    pub(super) fn commit_all(&self, dir: Option<&str>, how: &Committing<'_>) -> String {
        let add =
            if how.excludes { "git -c core.excludesFile=/dev/null add -A" } else { "git add -A" };
        let first = if how.staged { "git commit -qnm staged; " } else { "" };
        self.commit_by(dir, how.checked_out, &format!("{first}{add} && git commit -qnm kept"))
    }

    /// Commits files that git was told not to look at.
    pub(super) fn commit_unseen(
        &self,
        dir: Option<&str>,
        checked_out: Option<&GuestText>,
        paths: &[&[u8]],
    ) -> String {
        let Some(paths) = words(paths) else { return self.shell() };
        let script = format!(
            "git update-index --no-assume-unchanged -- {paths} && git update-index --no-skip-worktree -- {paths} && git commit -qnm kept -- {paths}"
        );
        self.commit_by(dir, checked_out, &script)
    }

    fn commit_by(&self, dir: Option<&str>, on: Option<&GuestText>, script: &str) -> String {
        let on = on.map(|name| name.as_clean_str().and_then(BranchName::from_full_ref));
        match on {
            Some(Some(on)) if on == *self.branch => {
                format!("{} && {}", self.script(dir, script), self.fetch())
            }
            Some(Some(on)) => {
                format!("{} && {}", self.script(dir, script), self.fetch_refs(&on.in_shell()))
            }
            // A detached HEAD, or a branch with a name that is better not repeated.
            _ => format!(
                "{} && {}",
                self.script(dir, &format!("{script} && git branch -f kept/files HEAD")),
                self.fetch_refs("kept/files")
            ),
        }
    }

    /// Copies paths to a file here and takes them away there.
    pub(super) fn archive(&self, dir: Option<&str>, paths: &[&[u8]]) -> String {
        let file = self.new_file();
        match words(paths).filter(|_| paths.len() <= super::EXAMPLES) {
            Some(paths) => format!(
                "{} >{file} && {}",
                self.run(dir, &format!("tar c {paths}")),
                self.run(dir, &format!("rm -r {paths}"))
            ),
            // By a list that is made there.
            None => format!(
                "{} >{file} && {}",
                self.script(
                    dir,
                    "list=$(git rev-parse --git-path kept-list) && git ls-files -oiz --exclude-standard >$list && tar c --null -T $list"
                ),
                self.script(
                    dir,
                    "xargs -0 rm -f -- <$(git rev-parse --git-path kept-list)"
                )
            ),
        }
    }

    /// Copies what is in directories to a file here and empties them there.
    pub(super) fn archive_directories(&self, paths: &[&GuestText]) -> String {
        let paths: Vec<String> =
            paths.iter().filter_map(|path| word(path.as_bytes())).take(AT_ONCE).collect();
        if paths.is_empty() {
            return self.shell();
        }
        let paths = paths.join(" ");
        format!(
            "{} >{} && {}",
            self.run(None, &format!("tar c {paths}")),
            self.new_file(),
            self.run(None, &format!("find {paths} -mindepth 1 -delete"))
        )
    }

    /// Copies objects that no branch can carry.
    pub(super) fn objects(&self, dir: Option<&str>, kind: ObjectKind, ids: &[&ObjectId]) -> String {
        let ids = &ids[..ids.len().min(AT_ONCE)];
        let (word, place) = match kind {
            ObjectKind::Tag => ("tag", "tags"),
            ObjectKind::Blob => ("blob", "objects"),
            ObjectKind::Tree => return self.tree(dir, ids[0]),
        };
        let one = |id: &str, there: &str| {
            format!(
                "{there} | git hash-object -t {word} -w --stdin && git cat-file -e '{id}^{{}}' && git update-ref refs/agentvm/{place}/{id} {id}"
            )
        };
        let read = |id: &ObjectId| {
            let id = id.as_str();
            one(id, &self.run(dir, &format!("git cat-file {word} {id}")))
        };
        let all: Vec<String> = ids.iter().map(|id| read(id)).collect();
        all.join(" && ")
    }

    fn tree(&self, dir: Option<&str>, id: &ObjectId) -> String {
        let name = format!("kept/{}", id.short());
        let script = format!("git branch -f {name} $(git commit-tree -m kept {id})");
        format!("{} && {}", self.script(dir, &script), self.fetch_refs(&name))
    }

    /// Copies objects of git-lfs, whose names are checked again here.
    pub(super) fn lfs(&self, dir: Option<&GuestText>, names: &[&str]) -> String {
        let Some(dir) = dir.and_then(|dir| word(dir.as_bytes())) else { return self.shell() };
        let read = |name: &&str| {
            let path = format!("{dir}/{}/{}/{name}", &name[..2], &name[2..4]);
            format!("{} | git lfs clean >/dev/null", self.run(None, &format!("cat {path}")))
        };
        let all: Vec<String> = names.iter().take(super::EXAMPLES).map(read).collect();
        all.join(" && ")
    }

    /// A file name that is not taken here.
    fn new_file(&self) -> String {
        let (name, number) = free_file(&self.workspace, self.files.get());
        self.files.set(number);
        name
    }
}

/// What files with things of a workspace begin with: the guest's word only where it is a plain one.
fn stem(name: &GuestText) -> String {
    let name = name.as_clean_str().map(WorkspaceName::new).and_then(Result::ok);
    name.map_or_else(|| "workspace".to_owned(), |name| name.to_string())
}

/// The first name of `STEM.kept-N.tar` with N over `last` that is not taken here, and N.
fn free_file(stem: &str, last: u32) -> (String, u32) {
    let names = (last + 1..).map(|number| (quoted(&format!("{stem}.kept-{number}.tar")), number));
    let mut free = names.skip_while(|(name, _)| Path::new(name.trim_matches('\'')).exists());
    free.next().expect("numbers do not end")
}

/// Copies something that lies beside the workspaces, and takes it away there.
#[must_use]
pub fn save_beside(name: &GuestText) -> String {
    let connect = "git agent-vm connect";
    match word(name.as_bytes()) {
        Some(word) => {
            let (file, _) = free_file(&stem(name), 0);
            format!("{connect} -n -- tar c {word} >{file} && {connect} -n -- rm -r {word}")
        }
        None => connect.to_owned(),
    }
}

/// What matters for a commit of everything.
#[derive(Debug)]
pub(super) struct Committing<'a> {
    /// The full name of what is checked out.
    pub(super) checked_out: Option<&'a GuestText>,
    /// Whether something is staged that differs from the file.
    pub(super) staged: bool,
    /// Whether the agent's git ignores more than we do.
    pub(super) excludes: bool,
}

/// Text as one word of a shell.
pub(super) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._/@%+=:,-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A path of the guest as one word of a shell, if it can be shown as it is.
pub(super) fn word(path: &[u8]) -> Option<String> {
    let text = GuestText::new(path);
    let text = text.as_clean_str()?.trim_end_matches('/');
    let path = if text.starts_with('-') { format!("./{text}") } else { text.to_owned() };
    Some(quoted(&path))
}

fn words(paths: &[&[u8]]) -> Option<String> {
    let words: Option<Vec<String>> = paths.iter().take(AT_ONCE).map(|path| word(path)).collect();
    words.map(|words| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_word_or_none() {
        assert_eq!(word(b"a/b.c").as_deref(), Some("a/b.c"));
        assert_eq!(word(b"dir/").as_deref(), Some("dir"));
        assert_eq!(word(b"-x").as_deref(), Some("./-x"));
        assert_eq!(word(b"a b").as_deref(), Some("'a b'"));
        assert_eq!(word(b"it's $(x)").as_deref(), Some(r"'it'\''s $(x)'"));
        assert_eq!(word(b"~x").as_deref(), Some("'~x'"));
        for bad in [&b"\x1b[m"[..], b"a\nb", b"\xff", "\u{202e}".as_bytes()] {
            assert_eq!(word(bad), None);
        }
    }

    #[test]
    fn a_workspace_is_named_by_its_branch_or_by_its_name() {
        let branch = BranchName::new("fix;x").unwrap();
        let name = GuestText::new(&b"app-x"[..]);
        let saver = Saver::new(&branch, &Address::Branch, &name);
        assert_eq!(saver.run(None, "true"), "git agent-vm connect -n 'fix;x' -- true");
        assert_eq!(
            saver.run(Some("a b"), "true"),
            r"git agent-vm connect -n 'fix;x' -- sh -c 'cd '\''a b'\'' && true'"
        );
        let by_name = Address::Name("vm".into(), WorkspaceName::new("app-x").unwrap());
        let saver = Saver::new(&branch, &by_name, &name);
        assert_eq!(saver.run(None, "true"), "git agent-vm connect -n -- sh -c 'cd app-x && true'");
        assert_eq!(
            saver.run(Some("sub"), "true"),
            "git agent-vm connect -n -- sh -c 'cd app-x/sub && true'"
        );
        assert_eq!(saver.fetch(), "git fetch agentvm://vm/app-x 'fix;x'");
    }
}
