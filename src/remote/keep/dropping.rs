//! Dropping keep-refs. git locks `packed-refs` for that, as it does for branches of the user's, and
//! one that is killed leaves a lock that stops them all.
//!
//! Whose lock it is, nobody can see: the user's git may be at work for long. So git is asked to
//! prepare first, and which lock it holds then is noted before it goes on. The note is in a file that
//! we and git lock as long as we live. Where that is free, a lock that is noted there has no owner.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::git::{Repo, program_error};
use crate::process::{Cmd, Output};
use crate::state;

/// How long another command of ours may take, as git waits for its own lock.
const PATIENCE: Duration = Duration::from_secs(1);

/// The right to drop keep-refs.
pub(super) struct Dropping {
    note: File,
    lock: PathBuf,
}

impl Dropping {
    /// Takes away the lock of one that was killed. `None` where another command is at it.
    pub(super) fn begin(repo: &Repo) -> anyhow::Result<Option<Self>> {
        let note = open(&repo.common_dir().join("agentvm"), repo.common_dir())?;
        let started = Instant::now();
        loop {
            match note.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if started.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
        let lock = packed_refs_lock(repo);
        let mut noted = String::new();
        (&note).read_to_string(&mut noted)?;
        if which(&lock).is_some_and(|which| which == noted) {
            std::fs::remove_file(&lock)?;
        }
        Ok(Some(Self { note, lock }))
    }

    /// Runs `git update-ref --stdin`. `input` has to delete something, or git takes no such lock.
    pub(super) fn update(&self, git: Cmd, input: &str) -> anyhow::Result<Output> {
        let mut git = state::lend(&self.note, || git.spawn())?.map_err(program_error)?;
        let stderr = git.stderr().map(|mut pipe| {
            std::thread::spawn(move || {
                let mut said = Vec::new();
                pipe.read_to_end(&mut said).map(|_| said)
            })
        });
        if let (Some(mut stdin), Some(stdout)) = (git.stdin(), git.stdout()) {
            // One that refuses and ends says why on its standard error.
            stdin.write_all(format!("start\n{input}prepare\n").as_bytes()).ok();
            let mut answers = BufReader::new(stdout).lines().map_while(Result::ok);
            if answers.any(|answer| answer == "prepare: ok") {
                self.write(&which(&self.lock).unwrap_or_default());
                stdin.write_all(b"commit\n").ok();
            }
            // It would fail where nobody hears its last word.
            drop(stdin);
            answers.for_each(drop);
        }
        let exit = git.wait().map_err(program_error)?;
        let stderr = stderr.and_then(|said| said.join().ok()?.ok()).unwrap_or_default();
        if which(&self.lock).is_none() {
            self.write("");
        }
        Ok(Output { exit, stdout: Vec::new(), stderr })
    }

    /// Without the note a lock that is left is the user's to remove, so a full disk is no error.
    fn write(&self, note: &str) {
        self.note.set_len(0).and_then(|()| self.note.write_all_at(note.as_bytes(), 0)).ok();
    }
}

/// The lock that git takes where it deletes a ref.
pub(super) fn packed_refs_lock(repo: &Repo) -> PathBuf {
    repo.common_dir().join("packed-refs.lock")
}

/// The file of the note, which any user of a shared repository may write.
fn open(dir: &Path, common_dir: &Path) -> std::io::Result<File> {
    super::record::make_dir(dir, common_dir)?;
    let path = dir.join("dropping");
    let open = |new: bool| OpenOptions::new().read(true).write(true).create_new(new).open(&path);
    match open(false) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        outcome => return outcome,
    }
    match open(true) {
        Ok(file) => {
            let mode = std::fs::metadata(dir)?.permissions().mode() & 0o666;
            file.set_permissions(std::fs::Permissions::from_mode(mode))?;
            Ok(file)
        }
        // Another command was first.
        Err(_) => open(false),
    }
}

/// Which file this is, among all that had its name.
fn which(lock: &Path) -> Option<String> {
    let meta = std::fs::symlink_metadata(lock).ok()?;
    Some(format!("{} {}.{:09}\n", meta.ino(), meta.mtime(), meta.mtime_nsec()))
}
