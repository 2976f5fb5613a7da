//! What the host remembers between commands: one directory, always the same.
//!
//! It does not move with `XDG_RUNTIME_DIR` or `TMPDIR`, which differ between a login shell, cron
//! and an editor: two of them would then have two locks and two records of one VM. Everything in
//! it is readable by its owner alone.

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::error::Error;
use crate::ui::Progress;

/// How long a command waits for another one before it gives up. Making a VM takes minutes.
const LOCK_PATIENCE: Duration = Duration::from_secs(30 * 60);

/// `~/.local/state/git-agent-vm`, made if missing.
pub fn root() -> anyhow::Result<PathBuf> {
    private_dir(&place()?)
}

/// `~/.local/state/git-agent-vm`, whether it is there or not.
pub fn place() -> anyhow::Result<PathBuf> {
    let home = std::env::home_dir()
        .filter(|home| home.is_absolute())
        .ok_or_else(|| Error::failed("cannot find the home directory: HOME is not set"))?;
    Ok(home.join(".local/state/git-agent-vm"))
}

/// The bytes that are free for us on a directory's file system.
pub fn free(dir: &Path) -> std::io::Result<u64> {
    let disk = rustix::fs::statvfs(dir)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Makes a directory (and its parents) that only its owner can enter.
pub fn private_dir(dir: &Path) -> anyhow::Result<PathBuf> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot make the directory {}", dir.display()))?;
    let mode = fs_err::metadata(dir)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        fs_err::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(dir.to_owned())
}

/// Writes a file that only its owner can read, whole or not at all: beside it, then renamed.
pub fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let context = || format!("cannot write {}", path.display());
    let mut file = tempfile::NamedTempFile::new_in(dir).with_context(context)?;
    std::io::Write::write_all(&mut file, bytes).with_context(context)?;
    file.as_file().sync_all().with_context(context)?;
    file.persist(path).map_err(|error| error.error).with_context(context)?;
    Ok(())
}

/// A lock among the commands of one user, held until dropped. The kernel gives it back when its
/// holder ends, however that happens.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock at `path`. If another command has it, says so with what that one is doing
    /// and waits.
    pub fn take(path: &Path, doing: &str) -> anyhow::Result<Self> {
        let file = open_lock(path)?;
        if !try_lock(&file, path)? {
            let holder = std::fs::read_to_string(path).unwrap_or_default();
            let holder = if holder.is_empty() { "another command" } else { holder.trim() };
            let _progress = Progress::start(&format!("waiting for {holder}"));
            let started = Instant::now();
            while !try_lock(&file, path)? {
                if started.elapsed() > LOCK_PATIENCE {
                    return Err(Error::timed_out(format!("gave up waiting for {holder}")).into());
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        Ok(Self::held(file, doing))
    }

    /// Takes the lock at `path`, if no other command has it.
    pub fn take_free(path: &Path, doing: &str) -> anyhow::Result<Option<Self>> {
        let file = open_lock(path)?;
        Ok(try_lock(&file, path)?.then(|| Self::held(file, doing)))
    }

    fn held(file: File, doing: &str) -> Self {
        // What stands in the file only serves the message above.
        let line = format!("{doing} (process {})\n", std::process::id());
        file.set_len(0).ok();
        std::os::unix::fs::FileExt::write_all_at(&file, line.as_bytes(), 0).ok();
        Self { file }
    }

    /// Runs `start`, which starts a process that holds the lock as well: it is free when both have
    /// ended.
    pub fn lend<T>(&self, start: impl FnOnce() -> T) -> anyhow::Result<T> {
        lend(&self.file, start)
    }
}

/// Runs `start`, which starts a process that has this file open, too.
pub fn lend<T>(file: &File, start: impl FnOnce() -> T) -> anyhow::Result<T> {
    use rustix::io::{FdFlags, fcntl_setfd};
    fcntl_setfd(file, FdFlags::empty())?;
    let started = start();
    // No other child is to have it.
    fcntl_setfd(file, FdFlags::CLOEXEC)?;
    Ok(started)
}

fn open_lock(path: &Path) -> anyhow::Result<File> {
    std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot open the lock {}", path.display()))
}

fn try_lock(file: &File, path: &Path) -> anyhow::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(std::fs::TryLockError::WouldBlock) => Ok(false),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_is_private_and_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_lock_is_given_back_when_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        drop(Lock::take(&path, "one").unwrap());
        let two = Lock::take(&path, "two").unwrap();
        assert!(Lock::take_free(&path, "three").unwrap().is_none());
        drop(two);
        assert!(Lock::take_free(&path, "three").unwrap().is_some());
    }
}
