//! Typed callers of the guest program's verbs about the trash and about saving: what it says, read
//! strictly.

use crate::branch::BranchName;
use crate::guest::wire::Field;
use crate::guest::workspaces::{Owner, number};
use crate::sanitize::GuestText;
use crate::workspace::WorkspaceName;

/// One thing in the trash (verb `trash`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// Its name in the trash, and whose workspace it was by its marker, if it was one.
    pub owner: Owner,
    /// Bytes; `None` where they could not be learned.
    pub bytes: Option<u64>,
}

impl Entry {
    /// Reads the fields of `trash`; sorted by name.
    #[must_use]
    pub fn parse_all(fields: Vec<Field>) -> Vec<Self> {
        let mut entries: Vec<Self> = Vec::new();
        for Field { key, value } in fields {
            match (key.as_str(), entries.last_mut()) {
                ("trash", _) => entries
                    .push(Self { owner: Owner { name: value, ..Owner::default() }, bytes: None }),
                ("repo", Some(last)) => last.owner.repo = value,
                ("ref", Some(last)) => last.owner.full_ref = value,
                ("bytes", Some(last)) => last.bytes = number(&value),
                _ => {}
            }
        }
        entries.sort_by(|one, two| one.owner.name.cmp(&two.owner.name));
        entries
    }

    /// Its name, where that is one of ours: only then can it be restored or removed from here.
    #[must_use]
    pub fn name(&self) -> Option<WorkspaceName> {
        self.owner.name.as_clean_str().and_then(|name| WorkspaceName::new(name).ok())
    }

    /// What it was called, and when it came into the trash, by the host's clock, in seconds since
    /// 1970; as far as the name tells.
    #[must_use]
    pub fn origin(&self) -> Option<(WorkspaceName, i64)> {
        self.name().and_then(|name| split_name(&name))
    }

    /// Whether it was a workspace.
    #[must_use]
    pub fn branch(&self) -> Option<BranchName> {
        self.owner.branch()
    }
}

/// `NAME.TIME`, with a `+` for each time that was taken. See `read_entry_name` in the guest program.
#[must_use]
pub fn split_name(name: &WorkspaceName) -> Option<(WorkspaceName, i64)> {
    let (was, time) = name.as_str().trim_end_matches('+').rsplit_once('.')?;
    let digits = time.bytes().all(|byte| byte.is_ascii_digit()) && !time.starts_with('0');
    if !digits || !(9..=11).contains(&time.len()) {
        return None;
    }
    Some((WorkspaceName::new(was).ok()?, time.parse().ok()?))
}

/// What was done with one entry (verb `sweep`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swept {
    /// Removed, since its time was over: its age in seconds, its name.
    Expired(u64, GuestText),
    /// Removed for want of room.
    ForRoom(u64, GuestText),
    /// It could not be removed; name and reason.
    Kept(GuestText),
    /// The disk is still nearly full.
    StillLow,
}

impl Swept {
    /// Reads a field of `sweep`.
    #[must_use]
    pub fn parse(field: Field) -> Option<Self> {
        let Field { key, value } = field;
        match key.as_str() {
            "expired" => aged(&value).map(|(age, name)| Self::Expired(age, name)),
            "low" if value.as_bytes() == b"yes" => Some(Self::StillLow),
            "low" => aged(&value).map(|(age, name)| Self::ForRoom(age, name)),
            "kept" => Some(Self::Kept(value)),
            _ => None,
        }
    }
}

fn aged(value: &GuestText) -> Option<(u64, GuestText)> {
    let (age, name) = value.as_clean_str()?.split_once(' ')?;
    Some((age.parse().ok()?, GuestText::new(name)))
}

/// What came back (verb `restore`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restored {
    /// The directory's name below `~/workspace`, and whose it is now.
    pub owner: Owner,
    /// Linked worktrees that came with it, as directories beside it.
    pub worktrees: Vec<GuestText>,
}

impl Restored {
    /// `None` where it does not say what it is called now.
    #[must_use]
    pub fn parse(fields: Vec<Field>) -> Option<Self> {
        let mut restored = Self::default();
        for Field { key, value } in fields {
            match key.as_str() {
                "workspace" => restored.owner.name = value,
                "repo" => restored.owner.repo = value,
                "ref" => restored.owner.full_ref = value,
                "worktree" => restored.worktrees.push(value),
                _ => {}
            }
        }
        (restored.owner.name != GuestText::default()).then_some(restored)
    }
}

/// Something in the VM that could be saved (verb `list-for-saving`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Savable {
    /// What kind of thing it is.
    pub kind: SavableKind,
    /// Its name below `~/workspace`, or below the trash, and whose it is by its marker.
    pub owner: Owner,
    /// The most bytes that a tar of it has.
    pub bytes: u64,
}

/// What is in `~/workspace`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SavableKind {
    /// A workspace.
    Workspace,
    /// An entry of the trash.
    Trash,
    /// Any other thing.
    Other,
}

impl Savable {
    /// Reads the fields of `list-for-saving`. `None` where one lacks its size.
    #[must_use]
    pub fn parse_all(fields: Vec<Field>) -> Option<Vec<Self>> {
        let mut found: Vec<(SavableKind, Owner, Option<u64>)> = Vec::new();
        for Field { key, value } in fields {
            let kind = match key.as_str() {
                "workspace" => Some(SavableKind::Workspace),
                "trash" => Some(SavableKind::Trash),
                "other" => Some(SavableKind::Other),
                _ => None,
            };
            match (kind, key.as_str(), found.last_mut()) {
                (Some(kind), ..) => {
                    found.push((kind, Owner { name: value, ..Owner::default() }, None));
                }
                (_, "repo", Some(last)) => last.1.repo = value,
                (_, "ref", Some(last)) => last.1.full_ref = value,
                (_, "bytes", Some(last)) => last.2 = number(&value),
                _ => {}
            }
        }
        let whole = |(kind, owner, bytes): (_, _, Option<u64>)| {
            bytes.map(|bytes| Self { kind, owner, bytes })
        };
        found.into_iter().map(whole).collect()
    }

    /// Where it is below `~/workspace`, as the guest has it.
    #[must_use]
    pub fn path(&self) -> Vec<u8> {
        let name = self.owner.name.as_bytes();
        match self.kind {
            SavableKind::Trash => [b".trash/", name].concat(),
            _ => name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(name: &str) -> Option<(String, i64)> {
        let (was, time) = split_name(&WorkspaceName::new(name).unwrap())?;
        Some((was.to_string(), time))
    }

    #[test]
    fn names_in_the_trash_tell_what_they_were_and_when() {
        let time = 1_700_000_000;
        assert_eq!(split("app-feature.1700000000"), Some(("app-feature".into(), time)));
        assert_eq!(split("app-v1.2.1700000000++"), Some(("app-v1.2".into(), time)));
        for other in ["app-feature", "1700000000", "a.0170000000", "a.17", "a.1700000000x", "a.+"] {
            assert_eq!(split(other), None, "{other}");
        }
    }

    #[test]
    fn what_has_no_size_cannot_be_saved() {
        let field = |key: &str, value: &str| Field {
            key: key.to_owned(),
            value: GuestText::new(value.as_bytes()),
        };
        let whole = vec![field("trash", "a.1700000000"), field("bytes", "10")];
        let [one] = &Savable::parse_all(whole.clone()).unwrap()[..] else { panic!() };
        assert_eq!((one.bytes, one.path()), (10, b".trash/a.1700000000".to_vec()));
        assert_eq!(Savable::parse_all(whole[..1].to_vec()), None);
    }
}
