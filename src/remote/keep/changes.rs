//! Writing keep-refs: all that a fetch changes in one git process.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::STALE;
use super::record::Source;
use crate::git::{ObjectId, Repo, program_error};

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
    /// time, as another fetch may have dropped it, or holds its lock.
    pub(super) fn apply(&self, repo: &Repo) -> anyhow::Result<()> {
        if self.made.is_empty() && self.dropped.is_empty() {
            return Ok(());
        }
        if update(repo, &self.made, &self.dropped)?.is_none() || self.made.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        while let Some(said) = update(repo, &self.made, &[])? {
            anyhow::ensure!(
                self.wait_for_locks(repo) && started.elapsed() < 2 * STALE,
                "cannot keep the fetched commit {}: {said}",
                self.made[0].1.short()
            );
        }
        update(repo, &[], &self.dropped).map(drop)
    }

    /// Waits for what locks a ref that is to be made, and removes what nobody can hold any more. False
    /// where nothing does.
    fn wait_for_locks(&self, repo: &Repo) -> bool {
        let lock = |name: &str| -> PathBuf { repo.common_dir().join(format!("{name}.lock")) };
        let mut locked = false;
        for path in self.made.iter().map(|(name, _)| lock(name)) {
            let Ok(written) = std::fs::metadata(&path).and_then(|meta| meta.modified()) else {
                continue;
            };
            locked = true;
            if written.elapsed().map_or(true, |age| age > STALE) {
                std::fs::remove_file(&path).ok();
            }
        }
        if locked {
            std::thread::sleep(Duration::from_millis(100));
        }
        locked
    }
}

/// What git said, if it changed nothing.
fn update(
    repo: &Repo,
    made: &[(String, ObjectId)],
    dropped: &[(String, ObjectId)],
) -> anyhow::Result<Option<String>> {
    let made = made.iter().map(|(name, id)| format!("update {name} {id}\n"));
    let dropped = dropped.iter().map(|(name, id)| format!("delete {name} {id}\n"));
    let output = repo
        .git()
        .args(["update-ref", "--create-reflog", "-m", "agentvm: fetched", "--stdin"])
        // The reflog's time is an age to go by, whatever commits are to bear.
        .env_remove("GIT_COMMITTER_DATE")
        .stdin_bytes(made.chain(dropped).collect::<String>())
        .output()
        .map_err(program_error)?;
    Ok((!output.exit.success()).then(|| output.stderr_tail(3)))
}
