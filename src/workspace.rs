//! The names of workspaces: which directory in the VM belongs to which branch of which repository.
//!
//! A workspace is `~/workspace/<repo>-<branch>`. That name is for people; what a workspace belongs
//! to stands in its marker (repository id and full ref, in its own git configuration). Where the
//! plain name is taken by another, or had to be altered, a hash of the marker is added after `~`,
//! which cannot occur in a ref. So the same pair always finds the same directory, and two pairs
//! never share one.

use std::fmt;

use crate::branch::BranchName;
use crate::error::Error;
use crate::identity::RepoId;
use crate::sanitize;

/// The longest name before the hash, in bytes.
const LONGEST: usize = 200;

/// A directory name below `~/workspace`: 1 to 255 bytes of `[A-Za-z0-9._+@~-]`, not beginning with
/// `-` or `.`. Safe in a path, in a shell and on a terminal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct WorkspaceName(String);

impl WorkspaceName {
    /// Checks a name, as `status` shows it.
    pub fn new(name: &str) -> Result<Self, Error> {
        let good = (1..=255).contains(&name.len())
            && !name.starts_with(['-', '.'])
            && name.bytes().all(|byte| is_kept(byte) || byte == b'~');
        if good {
            return Ok(Self(name.to_owned()));
        }
        Err(Error::usage(format!("'{}' is not the name of a workspace", sanitize::text(name)))
            .hint("git agent-vm status shows the names"))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> serde::Deserialize<'de> for WorkspaceName {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

impl std::str::FromStr for WorkspaceName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::new(name)
    }
}

impl fmt::Display for WorkspaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The two names that the workspace of a branch may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates {
    /// `<repo>-<branch>`, where that needs no altering.
    pub plain: Option<WorkspaceName>,
    /// The same with the hash of the marker.
    pub hashed: WorkspaceName,
}

impl Candidates {
    /// The names for a branch of a repository.
    #[must_use]
    pub fn new(repo_name: &str, id: &RepoId, branch: &BranchName) -> Self {
        let wanted = format!("{repo_name}-{}", branch.as_str().replace('/', "-"));
        let mut name: String =
            wanted.bytes().map(|byte| if is_kept(byte) { char::from(byte) } else { '_' }).collect();
        if name.starts_with(['-', '.']) {
            name.replace_range(..1, "_");
        }
        let plain = (name == wanted && name.len() <= LONGEST).then(|| WorkspaceName(name.clone()));
        name.truncate(LONGEST);
        let hash = crate::hash::short(format!("{id}\0{}", branch.full_ref()), 5);
        Self { plain, hashed: WorkspaceName(format!("{name}~{hash}")) }
    }
}

fn is_kept(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._+@-".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(repo: &str, branch: &str) -> Candidates {
        let id = RepoId::new(&"0".repeat(32)).unwrap();
        Candidates::new(repo, &id, &BranchName::new(branch).unwrap())
    }

    #[test]
    fn ordinary_names_are_plain() {
        let plain = |repo, branch| candidates(repo, branch).plain.unwrap().0;
        assert_eq!(plain("app", "feature"), "app-feature");
        assert_eq!(plain("app", "fix/a.b"), "app-fix-a.b");
    }

    #[test]
    fn altered_names_always_have_the_hash() {
        for (repo, branch, start) in [
            ("my app", "x", "my_app-x~"),
            ("app", "größe", "app-gr____e~"),
            ("-app", "x", "_app-x~"),
            (".app", "x", "_app-x~"),
            ("app", "a;b", "app-a_b~"),
        ] {
            let names = candidates(repo, branch);
            assert_eq!(names.plain, None, "{repo} {branch}");
            assert!(names.hashed.0.starts_with(start), "{}", names.hashed);
            assert!(WorkspaceName::new(names.hashed.as_str()).is_ok());
        }
        let long = candidates("app", "long/".repeat(60).trim_end_matches('/'));
        assert_eq!((long.plain, long.hashed.0.len()), (None, 211));
    }

    #[test]
    fn names_that_no_workspace_has() {
        for name in ["", ".", "..", "-x", ".hidden", "a/b", "a b", "a\n", "ä", &"x".repeat(256)] {
            assert!(WorkspaceName::new(name).is_err(), "{name:?}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(10_000))]
        #[test]
        fn two_pairs_never_share_a_hashed_name(
            one in ("[a-c.]{1,3}", "[a-c]{1,3}(/[a-c]{1,2})?"),
            two in ("[a-c.]{1,3}", "[a-c]{1,3}(/[a-c]{1,2})?"),
        ) {
            let (id_one, id_two) = (RepoId::new(&"1".repeat(32)), RepoId::new(&"2".repeat(32)));
            let branch = |name: &str| BranchName::new(name).unwrap();
            let a = Candidates::new(&one.0, &id_one.unwrap(), &branch(&one.1));
            let b = Candidates::new(&two.0, &id_two.unwrap(), &branch(&two.1));
            proptest::prop_assert_ne!(&a.hashed, &b.hashed);
            proptest::prop_assert!(a.plain != Some(b.hashed));
        }
    }
}
