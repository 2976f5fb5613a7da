//! Refs below a prefix, and how commits lie to each other, without a process where that can be.

use std::collections::HashSet;

use gix::revision::walk::Sorting;
use gix::traverse::commit::simple::CommitTimeOrder;

use super::{ObjectId, Repo};

/// How many commits are looked through here before git is asked.
const STEPS: usize = 2000;

impl Repo {
    /// The refs whose names begin with `prefix` (which ends with `/`), with what they point to.
    pub fn refs_below(&self, prefix: &str) -> anyhow::Result<Vec<(String, ObjectId)>> {
        // A repository with reftables has nothing that could be read here.
        if !self.common_dir.join("reftable").exists()
            && let Some(refs) = self.refs_read_here(prefix)
        {
            return Ok(refs);
        }
        let lines = self.run(&["for-each-ref", "--format=%(objectname) %(refname)", prefix])?;
        let refs = lines.lines().filter_map(|line| line.split_once(' '));
        Ok(refs.filter_map(|(id, name)| Some((name.to_owned(), ObjectId::new(id)?))).collect())
    }

    fn refs_read_here(&self, prefix: &str) -> Option<Vec<(String, ObjectId)>> {
        let repo = self.gix.to_thread_local();
        let platform = repo.references().ok()?;
        let mut refs = Vec::new();
        for found in platform.prefixed(prefix.as_bytes()).ok()? {
            let found = found.ok()?;
            let id = ObjectId::new(&found.try_id()?.to_string())?;
            refs.push((found.name().as_bstr().to_string(), id));
        }
        Some(refs)
    }

    /// Whether `old` is `new` or one of its ancestors; false where either is not here.
    pub fn contains(&self, new: &ObjectId, old: &ObjectId) -> anyhow::Result<bool> {
        Ok(new == old
            || self.soon_reaches(new, old).unwrap_or(false)
            || self.is_ancestor(old, new)?)
    }

    /// Of refs below `prefix`, those that point to what `tip` contains; one process at most.
    pub fn contained(
        &self,
        prefix: &str,
        refs: Vec<(String, ObjectId)>,
        tip: &ObjectId,
    ) -> anyhow::Result<Vec<(String, ObjectId)>> {
        if refs.iter().all(|(_, id)| self.soon_reaches(tip, id) == Some(true)) {
            return Ok(refs);
        }
        let merged = format!("--merged={tip}");
        let names = self.run(&["for-each-ref", "--format=%(refname)", &merged, "--", prefix])?;
        let names: HashSet<&str> = names.lines().collect();
        Ok(refs.into_iter().filter(|(name, _)| names.contains(&**name)).collect())
    }

    /// Whether `old` is among the newest commits that `new` reaches. Only a yes says anything.
    fn soon_reaches(&self, new: &ObjectId, old: &ObjectId) -> Option<bool> {
        let repo = self.gix.to_thread_local();
        let parse = |id: &ObjectId| gix::ObjectId::from_hex(id.as_str().as_bytes()).ok();
        let (new, old) = (parse(new)?, parse(old)?);
        let seconds = repo.find_commit(old).ok()?.time().ok()?.seconds;
        let order = CommitTimeOrder::NewestFirst;
        let walk = repo.rev_walk([new]).sorting(Sorting::ByCommitTimeCutoff { order, seconds });
        Some(walk.all().ok()?.take(STEPS).map_while(Result::ok).any(|commit| commit.id == old))
    }

    /// Whether an object is a commit. Where only git can tell, it counts as one.
    #[must_use]
    pub fn may_be_commit(&self, id: &ObjectId) -> bool {
        let repo = self.gix.to_thread_local();
        let Ok(id) = gix::ObjectId::from_hex(id.as_str().as_bytes()) else { return true };
        repo.find_header(id).map_or(true, |header| header.kind() == gix::object::Kind::Commit)
    }
}
