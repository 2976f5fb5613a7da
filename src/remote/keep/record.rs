//! What a keep-ref's name does not say: which workspace and branch its key stands for, and which tip
//! was seen there last. A small file for each key in `agentvm/seen` of the git directory.
//!
//! Not in a reflog, which git empties after 90 days, nor in git's configuration, where two fetches
//! at once would wait for each other's lock and each costs a process. Without the file work is kept
//! all the same, but has no name, and that a branch was rewritten is not noticed.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use super::NAMESPACE;
use crate::config::Config;
use crate::git::locks::{self, STALE};
use crate::git::{ObjectId, Repo};

/// A branch of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The VM's name.
    pub vm: String,
    /// The workspace's name there.
    pub workspace: String,
    /// The branch, in full.
    pub full_ref: String,
}

impl Source {
    /// A branch of a workspace of the VM that is meant.
    #[must_use]
    pub fn new(config: &Config, workspace: &str, full_ref: &str) -> Self {
        let (workspace, full_ref) = (workspace.to_owned(), full_ref.to_owned());
        Self { vm: config.vm.to_string(), workspace, full_ref }
    }

    /// What stands for it in the names of refs.
    #[must_use]
    pub fn key(&self) -> String {
        crate::hash::short(format!("{}\0{}\0{}", self.vm, self.workspace, self.full_ref), 8)
    }

    /// What its keep-refs begin with.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("{NAMESPACE}{}/", self.key())
    }

    /// The ref that keeps a tip of it.
    #[must_use]
    pub fn keep_ref(&self, tip: &ObjectId) -> String {
        format!("{}{tip}", self.prefix())
    }

    /// The branch without `refs/heads/`.
    #[must_use]
    pub fn branch(&self) -> &str {
        self.full_ref.strip_prefix("refs/heads/").unwrap_or(&self.full_ref)
    }
}

/// The tip that was seen last.
pub(super) fn tip(repo: &Repo, source: &Source) -> Option<ObjectId> {
    let (found, tip) = read(repo, &source.key())?;
    // Two branches of one key would only hide each other's.
    tip.filter(|_| found == *source)
}

/// What a key stands for, and the tip that was seen last.
pub(super) fn read(repo: &Repo, key: &str) -> Option<(Source, Option<ObjectId>)> {
    parse(&std::fs::read_to_string(place(repo).join(key)).ok()?, key)
}

fn parse(text: &str, key: &str) -> Option<(Source, Option<ObjectId>)> {
    let lines: Vec<&str> = text.split('\n').collect();
    let [tip, vm, workspace, full_ref, ""] = lines.as_slice() else { return None };
    let source = Source {
        vm: (*vm).to_owned(),
        workspace: (*workspace).to_owned(),
        full_ref: (*full_ref).to_owned(),
    };
    (source.key() == key).then(|| (source, ObjectId::new(tip)))
}

/// Remembers the tip that was seen last; `None`: nothing is expected there.
pub(super) fn write(repo: &Repo, source: &Source, tip: Option<&ObjectId>) -> anyhow::Result<()> {
    let (dir, key) = (place(repo), source.key());
    put(&dir, &key, &text(source, tip), repo.common_dir())
        .with_context(|| format!("cannot write {}", dir.join(&key).display()))
}

fn text(source: &Source, tip: Option<&ObjectId>) -> String {
    let Source { vm, workspace, full_ref } = source;
    format!("{}\n{vm}\n{workspace}\n{full_ref}\n", tip.map_or("-", ObjectId::as_str))
}

fn put(dir: &Path, key: &str, text: &str, common_dir: &Path) -> std::io::Result<()> {
    make_dir(dir.parent().unwrap_or(dir), common_dir)?;
    make_dir(dir, common_dir)?;
    let lock = dir.join(format!("{key}.lock"));
    let mut file = loop {
        match std::fs::File::create_new(&lock) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => wait_for(&lock),
            outcome => break outcome?,
        }
    };
    file.write_all(text.as_bytes())?;
    std::fs::rename(&lock, dir.join(key))
}

/// Makes a directory of ours; in a repository that several users share, for all of them.
pub(super) fn make_dir(dir: &Path, common_dir: &Path) -> std::io::Result<()> {
    if !dir.exists() {
        std::fs::create_dir_all(dir)?;
        let mode = std::fs::metadata(common_dir.join("refs"))?.permissions();
        std::fs::set_permissions(dir, mode)?;
    }
    Ok(())
}

/// Waits a moment for whoever writes there, and takes away what one that was killed has left.
fn wait_for(lock: &Path) {
    if locks::age(lock).is_some_and(|age| age > STALE) {
        // Another that waits may have done it.
        std::fs::remove_file(lock).ok();
    }
    std::thread::sleep(Duration::from_millis(20));
}

/// Forgets a key.
pub(super) fn forget(repo: &Repo, key: &str) {
    // Where it is gone already, that is as good.
    std::fs::remove_file(place(repo).join(key)).ok();
}

fn place(repo: &Repo) -> PathBuf {
    repo.common_dir().join("agentvm/seen")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(full_ref: &str) -> Source {
        Source { vm: "vm".into(), workspace: "app-x".into(), full_ref: full_ref.into() }
    }

    #[test]
    fn a_file_is_believed_only_under_the_key_of_what_it_says() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("refs")).unwrap();
        let (one, two) = (source("refs/heads/one"), source("refs/heads/two"));
        let place = dir.path().join("agentvm/seen");
        let (id, other) = ("1".repeat(40), "2".repeat(64));
        for (tip, expected) in
            [(&*id, Some(id.clone())), ("-", None), (&*other, Some(other.clone()))]
        {
            let text = text(&one, ObjectId::new(tip).as_ref());
            put(&place, &one.key(), &text, dir.path()).unwrap();
            let (found, tip) =
                parse(&std::fs::read_to_string(place.join(one.key())).unwrap(), &one.key())
                    .unwrap();
            assert_eq!((found, tip), (one.clone(), expected.as_deref().and_then(ObjectId::new)));
        }
        let names = std::fs::read_dir(&place).unwrap().count();
        assert_eq!(names, 1, "nothing else is left there");
        assert_eq!(parse(&text(&two, None), &one.key()), None);
        for bad in ["", "-\nvm\napp-x\n", "-\nvm\napp-x\nrefs/heads/one\nmore\n"] {
            assert_eq!(parse(bad, &one.key()), None, "{bad:?}");
        }
    }
}
