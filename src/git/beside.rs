//! Repositories beside this one, as those of submodules, and what refs point to besides commits.

use std::collections::HashSet;
use std::path::Path;

use super::{ObjectId, Repo};

impl Repo {
    /// The repository with this git directory, to ask for its commits; it is given no work tree.
    /// `None` where it cannot be opened.
    #[must_use]
    pub fn at(git_dir: &Path) -> Option<Self> {
        let gix = gix::ThreadSafeRepository::open(git_dir).ok()?;
        let local = gix.to_thread_local();
        let git_dir = fs_err::canonicalize(git_dir).ok()?;
        let object_format = match local.object_hash() {
            gix::hash::Kind::Sha1 => "sha1",
            _ => "sha256",
        };
        Some(Self { common_dir: git_dir.clone(), git_dir, work_dir: None, object_format, gix })
    }

    /// What the refs here point to, itself: commits, tags, and the directories of these commits.
    pub fn pointed_to(&self) -> anyhow::Result<HashSet<ObjectId>> {
        let format = "--format=%(objectname) %(*objectname) %(tree) %(*tree)";
        let listed = self.run(&["for-each-ref", format])?;
        Ok(listed.split_whitespace().filter_map(ObjectId::new).collect())
    }
}
