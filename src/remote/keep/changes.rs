//! Writing keep-refs: all that a fetch changes in one git process.

use super::dropping::{self, Dropping};
use super::record::Source;
use crate::error::{self, Error};
use crate::git::locks::{self, ABANDONED};
use crate::git::{ObjectId, Repo, program_error};
use crate::process::Cmd;

/// Keep-refs to be made and to be dropped.
#[derive(Debug, Default)]
pub(super) struct Changes {
    made: Vec<(String, ObjectId)>,
    dropped: Vec<(String, ObjectId)>,
}

impl Changes {
    /// Keeps a tip, and no longer what it contains.
    pub(super) fn keep(
        &mut self,
        repo: &Repo,
        source: &Source,
        tip: &ObjectId,
    ) -> anyhow::Result<()> {
        let prefix = source.prefix();
        let mut refs = repo.refs_below(&prefix)?;
        let count = refs.len();
        refs.retain(|(_, id)| id != tip);
        if refs.len() == count {
            self.make(source, tip);
        }
        self.dropped.extend(repo.contained(&prefix, refs, tip)?);
        Ok(())
    }

    pub(super) fn make(&mut self, source: &Source, tip: &ObjectId) {
        self.made.push((source.keep_ref(tip), tip.clone()));
    }

    pub(super) fn drop_ref(&mut self, name: String, id: ObjectId) {
        self.dropped.push((name, id));
    }

    /// Makes the changes. What cannot be kept is an error; what cannot be dropped stays for the next
    /// time, as another fetch may have dropped it, or holds its lock. One that will stay is told.
    pub(super) fn apply(&self, repo: &Repo) -> anyhow::Result<()> {
        let left = self.make_and_drop(repo)?;
        let lock = dropping::packed_refs_lock(repo);
        if let Some(left) = left
            && locks::age(&lock).is_some_and(|age| age > ABANDONED)
        {
            error::warn(&left.into());
        }
        Ok(())
    }

    /// The same; why something could not be dropped.
    pub(super) fn make_and_drop(&self, repo: &Repo) -> anyhow::Result<Option<Error>> {
        if self.made.is_empty() && self.dropped.is_empty() {
            return Ok(None);
        }
        if !self.dropped.is_empty() && self.drop_and_make(repo, &self.made)?.is_none() {
            return Ok(None);
        }
        if let Some((_, first)) = self.made.first() {
            let names: Vec<&str> = self.made.iter().map(|(name, _)| &**name).collect();
            // A lock that is taken away wrongly does no harm: a keep-ref has one value only.
            let refused = repo.change_refs(&names, || make(repo, &self.made))?;
            if let Some(said) = refused {
                anyhow::bail!("cannot keep the fetched commit {}: {said}", first.short());
            }
        }
        if self.dropped.is_empty() {
            return Ok(None);
        }
        let names: Vec<&str> = self.dropped.iter().map(|(name, _)| &**name).collect();
        repo.unlock_refs(&names);
        let refused = self.drop_and_make(repo, &[])?;
        Ok(refused.map(|said| {
            let error = Error::failed(format!("cannot drop what is kept no longer: {said}"));
            locks::what_to_do(error, &dropping::packed_refs_lock(repo))
        }))
    }

    /// Drops, and makes as well, all or nothing; what git said, if nothing.
    fn drop_and_make(
        &self,
        repo: &Repo,
        made: &[(String, ObjectId)],
    ) -> anyhow::Result<Option<String>> {
        let dropping = match Dropping::begin(repo) {
            Ok(Some(dropping)) => dropping,
            Ok(None) => return Ok(Some("another command is at it".to_owned())),
            Err(error) => return Ok(Some(format!("{error:#}"))),
        };
        let dropped = self.dropped.iter().map(|(name, id)| format!("delete {name} {id}\n"));
        let output =
            dropping.update(update_ref(repo), &(updates(made) + &*dropped.collect::<String>()))?;
        Ok((!output.exit.success()).then(|| output.stderr_tail(3)))
    }
}

/// What git said, if it made nothing.
fn make(repo: &Repo, made: &[(String, ObjectId)]) -> anyhow::Result<Option<String>> {
    let output = update_ref(repo).stdin_bytes(updates(made)).output().map_err(program_error)?;
    Ok((!output.exit.success()).then(|| output.stderr_tail(3)))
}

fn updates(made: &[(String, ObjectId)]) -> String {
    made.iter().map(|(name, id)| format!("update {name} {id}\n")).collect()
}

fn update_ref(repo: &Repo) -> Cmd {
    repo.git()
        .args(["update-ref", "--create-reflog", "-m", "agentvm: fetched", "--stdin"])
        // The reflog's time is an age to go by, whatever commits are to bear.
        .env_remove("GIT_COMMITTER_DATE")
}
