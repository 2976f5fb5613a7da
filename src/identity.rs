//! Which repository on this machine is which.
//!
//! A repository has a random id in the configuration that its worktrees share. A copy of the
//! directory carries the id with it; records of where each id lives, one in the state directory and
//! one in the repository, tell a copy, which gets a new id, from a repository that was moved, which
//! keeps its own. Where they cannot, the user is asked: never the wrong workspace.

use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::git::Repo;
use crate::sanitize;
use crate::state::{self, Lock};
use crate::ui;

/// The id of a repository: 32 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct RepoId(String);

impl RepoId {
    /// Checks the digits.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let good = text.len() == 32 && crate::hash::is_hex(text);
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

impl<'de> serde::Deserialize<'de> for RepoId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::new(&text).ok_or_else(|| serde::de::Error::custom("it is no id of ours"))
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
        Owner::Unsure(other) => return Err(unsure(&id, repo, &other)),
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
            Owner::Unsure(other) => return Err(unsure(&id, repo, &other)),
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
    /// Both records say that the id is this directory's.
    Us,
    /// It was this directory's elsewhere, or there is a record of it in one place only.
    Moved,
    /// A record names another directory, which still has the id.
    Copy(PathBuf),
    /// The records name directories that are no more, of another inode than this one: it was moved
    /// from another file system, or is a copy of one that was moved.
    Unsure(PathBuf),
    /// Nothing is recorded, as where the id was set by hand.
    Unknown,
}

/// Which directory an id was given to. Written in two places: in the state directory by id, and in
/// the repository itself, where a copy takes it along, and so is known for one by itself.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    inode: String,
    dir: PathBuf,
}

impl Place {
    /// Where this repository is now.
    fn of(repo: &Repo) -> anyhow::Result<Self> {
        let dir = repo.common_dir().to_owned();
        Ok(Self { inode: inode_of(&dir)?, dir })
    }

    /// What a record says; `None` if there is none, or one that makes no sense.
    fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Self::parse(&bytes)),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(anyhow::anyhow!("cannot read {}: {error}", path.display())),
        }
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let at = bytes.iter().position(|&byte| byte == b'\n')?;
        let inode = std::str::from_utf8(&bytes[..at]).ok()?;
        let numbers = inode.split_once(':')?;
        let is_number = |text: &str| text.parse::<u64>().is_ok();
        let dir = PathBuf::from(std::ffi::OsStr::from_bytes(&bytes[at + 1..]));
        (is_number(numbers.0) && is_number(numbers.1) && dir.is_absolute())
            .then(|| Self { inode: inode.to_owned(), dir })
    }

    fn bytes(&self) -> Vec<u8> {
        [self.inode.as_bytes(), b"\n", self.dir.as_os_str().as_bytes()].concat()
    }

    /// Whether this is the directory itself, under whatever name.
    fn is(&self, other: &Self) -> bool {
        self.inode == other.inode
    }
}

fn owner(id: &RepoId, repo: &Repo) -> anyhow::Result<Owner> {
    let here = Place::of(repo)?;
    let recorded = Place::read(&record_of(id)?)?;
    if let Some(place) = &recorded
        && place.is(&here)
    {
        let noted = Place::read(&note_in(repo))?;
        let us = *place == here && noted.as_ref() == Some(&here);
        return Ok(if us { Owner::Us } else { Owner::Moved });
    }
    let noted = Place::read(&note_in(repo))?;
    let others = || recorded.iter().chain(&noted).filter(|place| place.dir != here.dir);
    for other in others().filter(|place| !place.is(&here)) {
        match still_has(&other.dir, id) {
            Some(true) => return Ok(Owner::Copy(other.dir.clone())),
            Some(false) => {}
            None => return Ok(Owner::Unsure(other.dir.clone())),
        }
    }
    let known_here = |place: &Place| place.is(&here) || place.dir == here.dir;
    if recorded.iter().chain(&noted).any(known_here) {
        return Ok(Owner::Moved);
    }
    Ok(match others().next() {
        Some(other) => Owner::Unsure(other.dir.clone()),
        None => Owner::Unknown,
    })
}

/// Whether a directory has the id in its configuration; `None` where that cannot be seen.
fn still_has(common_dir: &Path, id: &RepoId) -> Option<bool> {
    match std::fs::read(common_dir.join("config")) {
        Ok(config) => Some(String::from_utf8_lossy(&config).contains(id.as_str())),
        Err(error) if is_absence(&error) => Some(false),
        Err(_) => None,
    }
}

fn is_absence(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

fn unsure(id: &RepoId, repo: &Repo, other: &Path) -> anyhow::Error {
    let record = record_of(id).map(|path| sanitize::shell_path(&path)).unwrap_or_default();
    Error::failed(format!(
        "this repository has the id of {}, which is not seen there any more: it was moved here, or is a copy",
        other.display()
    ))
    .hint(format!(
        "if it was moved here, it keeps its workspaces: rm -f {record} {}",
        sanitize::shell_path(&note_in(repo))
    ))
    .hint("if it is a copy, it gets workspaces of its own: git config --unset agentvm.id")
    .into()
}

/// Notes on both sides whose the id is; the one in the repository first, for without it the other says
/// nothing wrong.
fn record(id: &RepoId, repo: &Repo) -> anyhow::Result<()> {
    let place = Place::of(repo)?;
    write_note(&note_in(repo), &place.bytes())?;
    state::write_private(&record_of(id)?, &place.bytes())
}

/// Not private, and open to a group that shares the repository, as its configuration is.
fn write_note(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    fs_err::write(&beside, bytes)?;
    fs_err::rename(&beside, path)?;
    Ok(())
}

/// The record in the repository.
fn note_in(repo: &Repo) -> PathBuf {
    repo.common_dir().join("agentvm-place")
}

/// The record in the state directory.
fn record_of(id: &RepoId) -> anyhow::Result<PathBuf> {
    Ok(records()?.join(id.as_str()))
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
