//! Typed callers of the guest program's verbs about workspaces: what it says, read strictly.
//!
//! Every word is the VM's: numbers and ids are checked, names are [`GuestText`], and what is
//! missing was not learned.

use crate::branch::BranchName;
use crate::git::ObjectId;
use crate::guest::Call;
use crate::guest::wire::Field;
use crate::identity::RepoId;
use crate::sanitize::GuestText;
use crate::workspace::{Candidates, WorkspaceName};

/// The four words by which the guest program finds a workspace.
#[derive(Debug, Clone)]
pub struct Target {
    id: String,
    full_ref: String,
    plain: String,
    hashed: String,
}

impl Target {
    /// The workspace of a branch of a repository.
    #[must_use]
    pub fn branch(repo_name: &str, id: &RepoId, branch: &BranchName) -> Self {
        let names = Candidates::new(repo_name, id, branch);
        Self {
            id: id.to_string(),
            full_ref: branch.full_ref(),
            plain: names.plain.map(|name| name.to_string()).unwrap_or_default(),
            hashed: names.hashed.to_string(),
        }
    }

    /// A workspace by its name, whatever its marker says.
    #[must_use]
    pub fn named(name: &WorkspaceName) -> Self {
        Self { plain: name.to_string(), ..Self::all() }
    }

    /// No workspace: the directory that holds them all.
    #[must_use]
    pub fn all() -> Self {
        let empty = String::new;
        Self { id: empty(), full_ref: empty(), plain: empty(), hashed: empty() }
    }

    /// A verb about this workspace.
    #[must_use]
    pub fn call(&self, verb: &'static str) -> Call {
        // The comma, which no name has, stands for the ~, which would cost a process to decode.
        let hashed = self.hashed.replace('~', ",");
        Call::new(verb).arg(&self.id).arg(&self.full_ref).arg(&self.plain).arg(hashed)
    }
}

/// Where a workspace is, and how its branch lies to the host's (verb `find`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The directory's name below `~/workspace`.
    pub name: GuestText,
    /// The branch's commit, `None` where it has none yet.
    pub tip: Option<ObjectId>,
    /// Whether the branch contains the commit that was asked about.
    pub contains: bool,
}

impl Found {
    /// `None`: there is no such workspace.
    #[must_use]
    pub fn parse(fields: Vec<Field>) -> Option<Self> {
        let mut found = Self { name: GuestText::default(), tip: None, contains: false };
        for Field { key, value } in fields {
            match key.as_str() {
                "workspace" => found.name = value,
                "tip" => found.tip = object_id(&value),
                "contains" => found.contains = true,
                _ => {}
            }
        }
        (found.name != GuestText::default()).then_some(found)
    }
}

/// Whose a workspace is, by its own marker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owner {
    /// The directory's name below `~/workspace`.
    pub name: GuestText,
    /// The repository's id.
    pub repo: GuestText,
    /// The branch's full ref name.
    pub full_ref: GuestText,
}

impl Owner {
    /// Whether it belongs to the repository with this id.
    #[must_use]
    pub fn is_of(&self, id: Option<&RepoId>) -> bool {
        id.is_some_and(|id| id.as_str().as_bytes() == self.repo.as_bytes())
    }

    /// The branch, where the marker names one.
    #[must_use]
    pub fn branch(&self) -> Option<BranchName> {
        self.full_ref.as_clean_str().and_then(BranchName::from_full_ref)
    }
}

/// Everything in a VM, by name (verb `list`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// The workspaces, sorted by name.
    pub workspaces: Vec<Owner>,
    /// Other things in `~/workspace`.
    pub others: Vec<GuestText>,
    /// What is in the trash.
    pub trash: Vec<GuestText>,
}

impl Listing {
    /// Reads the fields of `list`.
    #[must_use]
    pub fn parse(fields: Vec<Field>) -> Self {
        let mut listing = Self::default();
        for Field { key, value } in fields {
            match (key.as_str(), listing.workspaces.last_mut()) {
                ("workspace", _) => {
                    listing.workspaces.push(Owner { name: value, ..Owner::default() });
                }
                ("repo", Some(last)) => last.repo = value,
                ("ref", Some(last)) => last.full_ref = value,
                ("other", _) => listing.others.push(value),
                ("trash", _) => listing.trash.push(value),
                _ => {}
            }
        }
        listing.workspaces.sort_by(|one, two| one.name.cmp(&two.name));
        listing
    }
}

/// The last commit of what a workspace has checked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastCommit {
    /// Its id.
    pub id: ObjectId,
    /// Its committer's time, in seconds since 1970.
    pub time: i64,
    /// The first line of its message.
    pub subject: GuestText,
}

/// One workspace as it is now (verb `status`). `None` was not learned; `error` says why.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inspection {
    /// Whose it is.
    pub owner: Owner,
    /// The commit that is checked out; the inner `None` is "none yet".
    pub head: Option<Option<ObjectId>>,
    /// The full name of the ref that is checked out; the inner `None` is a detached HEAD.
    pub checked_out: Option<Option<GuestText>>,
    /// The commit of the workspace's own branch.
    pub tip: Option<ObjectId>,
    /// Commits on its branches and HEAD that the host's refs do not reach, as far as it knows; at
    /// most 20000 of them.
    pub unfetched: Vec<ObjectId>,
    /// How many those are in all.
    pub unfetched_count: Option<u64>,
    /// Where the host's commits end below its own branch.
    pub boundary: Vec<ObjectId>,
    /// Whether all about commits was said.
    pub commits_learned: bool,
    /// Paths that differ from the last commit, hidden ones included.
    pub changed: Option<u64>,
    /// Paths that git does not track and does not ignore.
    pub untracked: Option<u64>,
    /// Bytes in ignored files.
    pub ignored_bytes: Option<u64>,
    /// Entries of the stash.
    pub stashes: Option<u64>,
    /// `merge`, `rebase`, …; the inner `None` is "none".
    pub operation: Option<Option<GuestText>>,
    /// The last commit.
    pub last: Option<LastCommit>,
    /// What kept the guest from learning all of it.
    pub error: Option<GuestText>,
}

/// All workspaces and what the guest knows of its machine (verb `status`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    /// Sorted by name.
    pub workspaces: Vec<Inspection>,
    /// Bytes of the file system that holds the workspaces, in all and used.
    pub disk: Option<(u64, u64)>,
    /// The bytes that are left of it, where that is little.
    pub nearly_full: Option<u64>,
    /// Virtual processors.
    pub cpus: Option<u32>,
    /// Bytes.
    pub memory: Option<u64>,
    /// Entries of the trash, and their bytes.
    pub trash: (Option<u64>, Option<u64>),
}

impl Survey {
    /// Reads the fields of `status`.
    #[must_use]
    pub fn parse(fields: Vec<Field>) -> Self {
        let mut survey = Self::default();
        for Field { key, value } in fields {
            match key.as_str() {
                "workspace" => survey.workspaces.push(Inspection {
                    owner: Owner { name: value, ..Owner::default() },
                    ..Inspection::default()
                }),
                "disk" => survey.disk = pair(&value),
                NEARLY_FULL => survey.nearly_full = number(&value),
                "cpus" => survey.cpus = number(&value).and_then(|count| count.try_into().ok()),
                "memory" => survey.memory = number(&value),
                "trash_entries" => survey.trash.0 = number(&value),
                "trash_bytes" => survey.trash.1 = number(&value),
                _ => {
                    if let Some(last) = survey.workspaces.last_mut() {
                        last.set(&key, value);
                    }
                }
            }
        }
        survey.workspaces.sort_by(|one, two| one.owner.name.cmp(&two.owner.name));
        survey
    }
}

impl Inspection {
    fn set(&mut self, key: &str, value: GuestText) {
        match key {
            "repo" => self.owner.repo = value,
            "ref" => self.owner.full_ref = value,
            "head" => self.head = Some(object_id(&value)),
            "checked_out" => self.checked_out = Some(non_empty(value)),
            "tip" => self.tip = object_id(&value),
            "unfetched" => self.unfetched.extend(object_id(&value)),
            "unfetched_count" => self.unfetched_count = number(&value),
            "boundary" => self.boundary.extend(object_id(&value)),
            "commits_learned" => self.commits_learned = true,
            "changed" => self.changed = number(&value),
            "untracked" => self.untracked = number(&value),
            "ignored_bytes" => self.ignored_bytes = number(&value),
            "stashes" => self.stashes = number(&value),
            "operation" => self.operation = Some(non_empty(value)),
            "last" => self.last = last_commit(&value),
            "error" => self.error = Some(value),
            _ => {}
        }
    }
}

/// The field that tells of a disk with little room, and how much is left.
const NEARLY_FULL: &str = "nearly_full";

/// The bytes that are left of the workspaces' disk, if these fields say that it is nearly full.
#[must_use]
pub fn nearly_full(fields: &[Field]) -> Option<u64> {
    fields.iter().find(|field| field.key == NEARLY_FULL).and_then(|field| number(&field.value))
}

/// The one field that a verb answers with.
#[must_use]
pub fn single(fields: Vec<Field>, key: &str) -> Option<GuestText> {
    fields.into_iter().find(|field| field.key == key).map(|field| field.value)
}

pub(super) fn non_empty(value: GuestText) -> Option<GuestText> {
    (!value.as_bytes().is_empty()).then_some(value)
}

pub(super) fn number(value: &GuestText) -> Option<u64> {
    value.as_clean_str()?.parse().ok()
}

fn pair(value: &GuestText) -> Option<(u64, u64)> {
    let (one, two) = value.as_clean_str()?.split_once(' ')?;
    Some((one.parse().ok()?, two.parse().ok()?))
}

pub(super) fn object_id(value: &GuestText) -> Option<ObjectId> {
    ObjectId::new(value.as_clean_str()?)
}

fn last_commit(value: &GuestText) -> Option<LastCommit> {
    let (id, rest) = split_at_space(value.as_bytes())?;
    let (time, subject) = split_at_space(rest)?;
    Some(LastCommit {
        id: ObjectId::new(std::str::from_utf8(id).ok()?)?,
        time: std::str::from_utf8(time).ok()?.parse().ok()?,
        subject: GuestText::new(subject),
    })
}

pub(super) fn split_at_space(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&byte| byte == b' ')?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789012345678901234567890123456789";

    fn fields(pairs: &[(&str, &str)]) -> Vec<Field> {
        pairs
            .iter()
            .map(|(key, value)| Field {
                key: (*key).to_owned(),
                value: GuestText::new(value.as_bytes()),
            })
            .collect()
    }

    #[test]
    fn a_workspace_that_was_not_looked_into_has_no_numbers() {
        let survey = Survey::parse(fields(&[
            ("workspace", "b"),
            ("error", "it takes longer than 1 s"),
            ("workspace", "a"),
            ("changed", "3"),
            ("untracked", "-1"),
            ("head", ""),
            ("last", &format!("{ID} 1700000000 the subject")),
            ("disk", "100 20"),
        ]));
        let [a, b] = &survey.workspaces[..] else { panic!("{survey:?}") };
        assert_eq!((a.changed, a.untracked, &a.head), (Some(3), None, &Some(None)));
        assert_eq!(a.last.as_ref().unwrap().subject.to_string(), "the subject");
        assert_eq!((b.changed, b.stashes, b.unfetched_count), (None, None, None));
        assert_eq!(survey.disk, Some((100, 20)));
    }

    #[test]
    fn no_name_is_no_workspace() {
        assert_eq!(Found::parse(Vec::new()), None);
        let found = Found::parse(fields(&[("workspace", "a"), ("tip", ID), ("contains", "yes")]));
        assert!(found.is_some_and(|found| found.contains && found.tip.is_some()));
    }
}
