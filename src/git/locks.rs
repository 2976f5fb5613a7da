//! Lock files of git's: what may be taken away, and what is only told.

use std::path::Path;
use std::time::{Duration, Instant};

use super::Repo;
use crate::error::Error;
use crate::{sanitize, ui};

/// A lock on a ref or a file of ours that is older belongs to one that was killed: they last for as
/// long as it takes to write a line.
pub const STALE: Duration = Duration::from_secs(10);

/// No git works this long under any lock.
pub const ABANDONED: Duration = Duration::from_secs(3600);

/// A lock on the configuration that is younger is waited for.
const MOMENT: Duration = Duration::from_secs(1);

impl Repo {
    /// Tries to change refs of ours until nobody locks them any more. What git said where it refuses
    /// for another reason; `None`: it is done.
    pub fn change_refs(
        &self,
        names: &[&str],
        mut change: impl FnMut() -> anyhow::Result<Option<String>>,
    ) -> anyhow::Result<Option<String>> {
        let started = Instant::now();
        loop {
            let said = change()?;
            if said.is_none() || started.elapsed() > 2 * STALE || !self.unlock_refs(names) {
                return Ok(said);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Takes away the locks on refs of ours that nobody can hold any more. Whether there was a lock.
    pub fn unlock_refs(&self, names: &[&str]) -> bool {
        let mut locked = false;
        for name in names {
            let lock = self.common_dir.join(format!("{name}.lock"));
            let Some(age) = age(&lock) else { continue };
            locked = true;
            if age > STALE {
                // Another command may have done it.
                std::fs::remove_file(&lock).ok();
            }
        }
        locked
    }

    /// Changes the configuration that all worktrees share. Its lock may be the user's own git's, so an
    /// old one is told and stays.
    pub(super) fn change_config(&self, args: &[&str]) -> anyhow::Result<()> {
        let lock = self.common_dir.join("config.lock");
        loop {
            let Err(error) = self.run(args) else { return Ok(()) };
            match age(&lock) {
                None => return Err(error),
                Some(age) if age < MOMENT => std::thread::sleep(Duration::from_millis(20)),
                Some(_) => {
                    return Err(what_to_do(Error::failed(format!("{error:#}")), &lock).into());
                }
            }
        }
    }
}

/// How old a lock is; `None`: there is none. Clocks jump and differ, so one from the future is as old
/// as it is far.
#[must_use]
pub fn age(lock: &Path) -> Option<Duration> {
    let written = std::fs::symlink_metadata(lock).and_then(|meta| meta.modified()).ok()?;
    Some(written.elapsed().unwrap_or_else(|error| error.duration()))
}

/// Says what to do about a lock that may be the user's own git's, if it is there.
#[must_use]
pub fn what_to_do(error: Error, lock: &Path) -> Error {
    let Some(age) = age(lock) else { return error };
    let made = ui::ago(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
    error.hint(format!(
        "the lock was made {made}; if no git is at work here, one that was killed left it: rm {}",
        sanitize::shell_path(lock)
    ))
}
