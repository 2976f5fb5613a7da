//! Which repository on this machine is which.
//!
//! A repository has a random id in the configuration that its worktrees share. A copy of the
//! directory carries the id with it; a record of where each id lives tells a copy, which gets a
//! new id, from a repository that was moved, which keeps its own.

use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::git::Repo;
use crate::state::{self, Lock};
use crate::ui;

/// The id of a repository: 32 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct RepoId(String);

impl RepoId {
    /// Checks the digits.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let good = text.len() == 32
            && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        good.then(|| Self(text.to_owned()))
    }

    /// A new one, from the kernel's random source.
    pub fn random() -> anyhow::Result<Self> {
        let mut bytes = [0_u8; 16];
        getrandom::fill(&mut bytes)
            .map_err(|error| anyhow::anyhow!("cannot get random bytes: {error}"))?;
        Ok(Self(crate::hash::hex(&bytes)))
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id that stands in the configuration (`agentvm.id`), if it is ours and no copy's. Changes
/// nothing.
pub fn known(repo: &Repo, configured: Option<&str>) -> anyhow::Result<Option<RepoId>> {
    let Some(id) = configured else { return Ok(None) };
    let id = parse(repo, id)?;
    Ok(match owner(&id, repo)? {
        Owner::Copy(_) => None,
        Owner::Us | Owner::Moved | Owner::Unknown => Some(id),
    })
}

/// An id that a repository was given just now: nothing knows it yet.
///
/// Until it is kept it has no record, and other commands that need an id wait for the lock: so none
/// of them builds on one that is taken back.
#[derive(Debug)]
pub struct Naming {
    id: RepoId,
    _lock: Lock,
}

impl Naming {
    /// Something knows the repository by this id.
    pub fn keep(self, repo: &Repo) -> anyhow::Result<()> {
        record(&self.id, repo)
    }

    /// Nothing was reached: the configuration stays as it was. Where that cannot be, the id is of
    /// use to the next command.
    pub fn take_back(self, repo: &Repo) {
        repo.run(&["config", "--local", "--unset", "agentvm.id"]).ok();
    }
}

/// The repository's id, made where there is none or the one there is a copy's. Where it had none,
/// the caller keeps the new one or takes it back.
pub fn ensure(repo: &Repo, configured: Option<&str>) -> anyhow::Result<(RepoId, Option<Naming>)> {
    if let Some(id) = configured
        && matches!(owner(&parse(repo, id)?, repo)?, Owner::Us)
    {
        return Ok((parse(repo, id)?, None));
    }
    let lock = Lock::take(&records()?.join("lock"), "naming a repository")?;
    // Another command may have been first: read again, under the lock.
    let current = repo.output(&["config", "--local", "--get", "agentvm.id"])?;
    let current = String::from_utf8_lossy(current.stdout.trim_ascii()).into_owned();
    if !current.is_empty() {
        let id = parse(repo, &current)?;
        match owner(&id, repo)? {
            Owner::Us => return Ok((id, None)),
            Owner::Moved | Owner::Unknown => {
                record(&id, repo)?;
                return Ok((id, None));
            }
            Owner::Copy(original) => ui::note(&format!(
                "this repository is a copy of {}: it gets an id and workspaces of its own",
                original.display()
            )),
        }
    }
    let id = RepoId::random()?;
    repo.set_config("agentvm.id", id.as_str())?;
    if current.is_empty() {
        return Ok((id.clone(), Some(Naming { id, _lock: lock })));
    }
    record(&id, repo)?;
    Ok((id, None))
}

fn parse(repo: &Repo, id: &str) -> anyhow::Result<RepoId> {
    RepoId::new(id).ok_or_else(|| {
        Error::usage(format!(
            "agentvm.id in {} is not an id of ours",
            repo.common_dir().join("config").display()
        ))
        .hint("git config --unset agentvm.id gives this repository a new one; its old workspaces stay in the VM")
        .into()
    })
}

enum Owner {
    /// The record says that the id is this directory's.
    Us,
    /// The record names a directory that is no more: this one was moved.
    Moved,
    /// The record names another directory, which still has the id.
    Copy(PathBuf),
    /// Nothing is recorded, as after the loss of the state directory.
    Unknown,
}

fn owner(id: &RepoId, repo: &Repo) -> anyhow::Result<Owner> {
    let path = records()?.join(id.as_str());
    let Ok(bytes) = std::fs::read(&path) else { return Ok(Owner::Unknown) };
    let mut parts = bytes.splitn(2, |&byte| byte == b'\n');
    let inode = parts.next().unwrap_or_default();
    let dir = PathBuf::from(std::ffi::OsStr::from_bytes(parts.next().unwrap_or_default()));
    if inode == inode_of(repo.common_dir())?.as_bytes() {
        return Ok(if dir == repo.common_dir() { Owner::Us } else { Owner::Moved });
    }
    if dir != repo.common_dir() && still_has(&dir, id) {
        return Ok(Owner::Copy(dir));
    }
    Ok(Owner::Moved)
}

fn still_has(common_dir: &Path, id: &RepoId) -> bool {
    let config = std::fs::read(common_dir.join("config")).unwrap_or_default();
    String::from_utf8_lossy(&config).contains(id.as_str())
}

fn record(id: &RepoId, repo: &Repo) -> anyhow::Result<()> {
    let mut bytes = inode_of(repo.common_dir())?.into_bytes();
    bytes.push(b'\n');
    bytes.extend_from_slice(repo.common_dir().as_os_str().as_bytes());
    state::write_private(&records()?.join(id.as_str()), &bytes)
}

/// Device and inode: a move inside a file system keeps them, a copy never has them.
fn inode_of(dir: &Path) -> anyhow::Result<String> {
    let meta = fs_err::metadata(dir)?;
    Ok(format!("{}:{}", meta.dev(), meta.ino()))
}

fn records() -> anyhow::Result<PathBuf> {
    state::private_dir(&state::root()?.join("repositories"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_random_and_checked() {
        let (one, two) = (RepoId::random().unwrap(), RepoId::random().unwrap());
        assert_ne!(one, two);
        assert_eq!(RepoId::new(one.as_str()), Some(one));
        for bad in ["", "12", &"g".repeat(32), &"A".repeat(32), &"a".repeat(33)] {
            assert_eq!(RepoId::new(bad), None);
        }
    }
}
