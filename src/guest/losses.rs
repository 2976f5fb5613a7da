//! What a workspace holds that may exist nowhere else (verb `losses`), read strictly.
//!
//! Every word is the VM's: numbers and ids are checked, names are [`GuestText`], and what is
//! missing was not learned, which is never "nothing to lose".

use crate::git::ObjectId;
use crate::guest::wire::Field;
use crate::guest::workspaces::{non_empty, number, split_at_space};
use crate::sanitize::GuestText;

/// All that was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Losses {
    /// The directory's name below `~/workspace`.
    pub name: GuestText,
    /// Processes that work in it or write there: number and command line.
    pub processes: Vec<GuestText>,
    /// Its work trees and repositories, the workspace itself first.
    pub places: Vec<Place>,
    /// Repositories inside that were not looked into, since there are too many.
    pub more_places: u64,
    /// Directories that cannot be read, in words.
    pub unread: Vec<GuestText>,
}

/// What a place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceKind {
    /// The workspace itself.
    Own,
    /// A worktree that is linked to it; it has no commits of its own.
    Linked,
    /// A repository below a work tree.
    Nested,
    /// A work tree below another, whose git directory is elsewhere: a submodule.
    Module,
    /// The git directory of a submodule, without work tree.
    Bare,
}

/// A work tree, a repository, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What it is.
    pub kind: PlaceKind,
    /// `.`, a path below the workspace, or an absolute one.
    pub path: GuestText,
    /// The full name of the ref that is checked out; `None` is a detached HEAD.
    pub checked_out: Option<GuestText>,
    /// `merge`, `rebase`, …
    pub operation: Option<GuestText>,
    /// `XY path` as `git status --porcelain=v1 -z` has it; `HH path`: changed, but git was told
    /// not to look; `GF path`: files in the place of a submodule that is not there.
    pub entries: Listed<GuestText>,
    /// What untracked and ignored entries take on the disk, in KiB, by their paths.
    pub sizes: Vec<(u64, GuestText)>,
    /// Whether the agent's git ignores more than is ignored here.
    pub excludes: bool,
    /// Commits that the host's refs do not reach, as far as the VM knows.
    pub commits: Listed<Commit>,
    /// The entries of the stash, the latest first.
    pub stashes: Listed<Commit>,
    /// What refs point to that is no commit: tags with messages, and odd things.
    pub objects: Listed<Object>,
    /// Where the objects of git-lfs are.
    pub lfs_dir: Option<GuestText>,
    /// Their names, SHA-256 in hex.
    pub lfs: Listed<GuestText>,
    /// Why it could not be looked into; the rest means nothing then.
    pub failed: Option<GuestText>,
}

/// The first 20000 of something, and how many there are in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// Those that were told.
    pub told: Vec<T>,
    /// `None` was not learned.
    pub count: Option<u64>,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { told: Vec::new(), count: None }
    }
}

impl<T> Listed<T> {
    /// How many there are that were not told.
    #[must_use]
    pub fn more(&self) -> u64 {
        let told = self.told.len().try_into().unwrap_or(u64::MAX);
        self.count.unwrap_or(0).saturating_sub(told)
    }
}

/// A commit in a workspace and what leads to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub id: ObjectId,
    /// A full ref name, `HEAD`, `worktree` (a ref that a linked worktree has for itself), `reflog`,
    /// `reflog tip` (no other one in the reflogs leads to it); of a stash, its message.
    pub source: GuestText,
}

/// An object that a ref points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its id.
    pub id: ObjectId,
    /// What it is.
    pub kind: ObjectKind,
    /// The full ref name.
    pub name: GuestText,
}

/// What an object is that is no commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// An annotated tag.
    Tag,
    /// A file.
    Blob,
    /// A directory.
    Tree,
}

impl Losses {
    /// Reads the fields of `losses`. `None` where one that must be there is missing or makes no sense.
    #[must_use]
    pub fn parse(fields: Vec<Field>) -> Option<Self> {
        let mut losses = Self::default();
        for Field { key, value } in fields {
            match (key.as_str(), losses.places.last_mut()) {
                ("workspace", _) => losses.name = value,
                ("process", _) => losses.processes.push(value),
                ("place", _) => losses.places.push(Place::new(&value)?),
                ("more_places", _) => losses.more_places = number(&value)?,
                ("unread", _) => losses.unread.push(value),
                (key, Some(place)) => place.set(key, value)?,
                _ => {}
            }
        }
        let first = losses.places.first()?;
        let whole = first.kind == PlaceKind::Own && losses.places.iter().all(Place::is_whole);
        whole.then_some(losses)
    }
}

impl Place {
    fn new(value: &GuestText) -> Option<Self> {
        let (kind, path) = split_at_space(value.as_bytes())?;
        let kind = match kind {
            b"own" => PlaceKind::Own,
            b"linked" => PlaceKind::Linked,
            b"nested" => PlaceKind::Nested,
            b"module" => PlaceKind::Module,
            b"bare" => PlaceKind::Bare,
            _ => return None,
        };
        Some(Self::at(kind, path))
    }

    /// One of which nothing is known yet.
    #[must_use]
    pub fn at(kind: PlaceKind, path: &[u8]) -> Self {
        Self {
            kind,
            path: GuestText::new(path),
            checked_out: None,
            operation: None,
            entries: Listed::default(),
            sizes: Vec::new(),
            excludes: false,
            commits: Listed::default(),
            stashes: Listed::default(),
            objects: Listed::default(),
            lfs_dir: None,
            lfs: Listed::default(),
            failed: None,
        }
    }

    fn set(&mut self, key: &str, value: GuestText) -> Option<()> {
        match key {
            "checked_out" => self.checked_out = non_empty(value),
            "operation" => self.operation = non_empty(value),
            "entry" => self.entries.told.push(value),
            "entry_count" => self.entries.count = Some(number(&value)?),
            "size" => {
                let (size, path) = split_at_space(value.as_bytes())?;
                self.sizes.push((number(&GuestText::new(size))?, GuestText::new(path)));
            }
            "excludes" => self.excludes = true,
            "commit" => self.commits.told.push(commit(&value)?),
            "commit_count" => self.commits.count = Some(number(&value)?),
            "stash" => self.stashes.told.push(commit(&value)?),
            "stash_count" => self.stashes.count = Some(number(&value)?),
            "object" => self.objects.told.push(object(&value)?),
            "object_count" => self.objects.count = Some(number(&value)?),
            "lfs_dir" => self.lfs_dir = Some(value),
            "lfs" => self.lfs.told.push(lfs_name(value)?),
            "lfs_count" => self.lfs.count = Some(number(&value)?),
            "failed" => self.failed = Some(value),
            _ => {}
        }
        Some(())
    }

    /// Whether all was said that belongs to its kind.
    fn is_whole(&self) -> bool {
        let files = self.kind == PlaceKind::Bare || self.entries.count.is_some();
        let rest = [self.stashes.count, self.objects.count, self.lfs.count];
        let repository = self.kind == PlaceKind::Linked || rest.iter().all(Option::is_some);
        match self.failed {
            // The workspace itself fails as a whole.
            Some(_) => self.kind != PlaceKind::Own,
            None => files && self.commits.count.is_some() && repository,
        }
    }
}

fn id(bytes: &[u8]) -> Option<ObjectId> {
    ObjectId::new(std::str::from_utf8(bytes).ok()?)
}

fn commit(value: &GuestText) -> Option<Commit> {
    let (commit, source) = split_at_space(value.as_bytes())?;
    Some(Commit { id: id(commit)?, source: GuestText::new(source) })
}

fn object(value: &GuestText) -> Option<Object> {
    let (object, rest) = split_at_space(value.as_bytes())?;
    let (kind, name) = split_at_space(rest)?;
    let kind = match kind {
        b"tag" => ObjectKind::Tag,
        b"blob" => ObjectKind::Blob,
        b"tree" => ObjectKind::Tree,
        _ => return None,
    };
    Some(Object { id: id(object)?, kind, name: GuestText::new(name) })
}

/// It becomes part of a path on the host.
fn lfs_name(value: GuestText) -> Option<GuestText> {
    let hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    (value.as_bytes().len() == 64 && value.as_bytes().iter().all(hex)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789012345678901234567890123456789";

    fn parse(pairs: &[(&str, &str)]) -> Option<Losses> {
        let field = |(key, value): &(&str, &str)| Field {
            key: (*key).to_owned(),
            value: GuestText::new(value.as_bytes()),
        };
        Losses::parse(pairs.iter().map(field).collect())
    }

    const WHOLE: [(&str, &str); 7] = [
        ("workspace", "a"),
        ("place", "own ."),
        ("entry_count", "0"),
        ("commit_count", "0"),
        ("stash_count", "0"),
        ("object_count", "0"),
        ("lfs_count", "0"),
    ];

    #[test]
    fn an_answer_with_anything_missing_is_none() {
        assert!(parse(&WHOLE).is_some());
        for missing in 1..WHOLE.len() {
            let mut fields = WHOLE.to_vec();
            fields.remove(missing);
            assert_eq!(parse(&fields), None, "{missing}");
        }
    }

    #[test]
    fn nonsense_is_none() {
        for bad in [
            ("commit", "zzz refs/heads/x"),
            ("commit", ID),
            ("stash", "1 2"),
            ("object", &format!("{ID} commit refs/tags/x")),
            ("entry_count", "-1"),
            ("size", "x path"),
            ("lfs", "../../../../etc/passwd"),
            ("place", "other x"),
            ("more_places", ""),
            ("failed", "the workspace itself fails as a whole"),
        ] {
            let mut fields = WHOLE.to_vec();
            fields.push(bad);
            assert_eq!(parse(&fields), None, "{bad:?}");
        }
    }

    #[test]
    fn each_kind_of_place_has_its_own_measure() {
        let with = |more: &[(&str, &str)]| parse(&[&WHOLE[..], more].concat()).is_some();
        assert!(with(&[("place", "linked /x"), ("entry_count", "0"), ("commit_count", "0")]));
        assert!(!with(&[("place", "nested sub"), ("entry_count", "0"), ("commit_count", "0")]));
        assert!(with(&[("place", "nested sub"), ("failed", "it is broken")]));
        let bare = [
            ("place", "bare .git/modules/x"),
            ("commit_count", "0"),
            ("stash_count", "0"),
            ("object_count", "0"),
            ("lfs_count", "0"),
        ];
        assert!(with(&bare));
    }
}
