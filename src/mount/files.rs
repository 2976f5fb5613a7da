//! What is remembered of the mount, in `mount/` of our state directory: the keeper's lock, whom to
//! end where it hangs, its log.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal};

use crate::sanitize;
use crate::state;

/// What follows ssh's process id where the mount is ready.
const READY: &str = " ready";

/// The directory of these files.
#[derive(Debug)]
pub(crate) struct Files {
    dir: PathBuf,
}

impl Files {
    pub(super) fn new() -> anyhow::Result<Self> {
        state::root()?;
        let files = Self::look()?;
        state::private_dir(&files.dir)?;
        Ok(files)
    }

    /// The same, without making the directory.
    pub(super) fn look() -> anyhow::Result<Self> {
        Ok(Self { dir: state::place()?.join("mount") })
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Held by the keeper as long as it lives; in it stands its ssh's process id.
    fn alive(&self) -> PathBuf {
        self.dir.join("alive")
    }

    /// The file of the lock that whoever mounts or unmounts holds.
    pub(super) fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// Where the programs of the mount print to, emptied.
    pub(super) fn new_log(&self) -> anyhow::Result<File> {
        open(&self.log(), true)
    }

    /// What was said last, for a message.
    pub(super) fn log_tail(&self) -> String {
        let bytes = std::fs::read(self.log()).unwrap_or_default();
        let lines = bytes
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.trim_ascii().is_empty() && !line.starts_with(b"trace: "));
        let lines: Vec<_> = lines.map(|line| sanitize::line(line).into_owned()).collect();
        lines[lines.len().saturating_sub(3)..].join("; ")
    }

    fn open_alive(&self) -> anyhow::Result<File> {
        open(&self.alive(), false)
    }

    /// Makes us the keeper; `None` if there is one.
    pub(super) fn claim(&self) -> anyhow::Result<Option<File>> {
        let file = self.open_alive()?;
        // The last one may be about to end; whoever looks whether one lives holds it for a moment.
        for _ in 0..500 {
            if file.try_lock().is_ok() {
                file.set_len(0)?;
                return Ok(Some(file));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(None)
    }

    /// Writes down, in the file that was claimed, whom to end where the mount hangs, and whether
    /// it is ready for use.
    pub(super) fn note(alive: &File, ssh: u32, ready: bool) {
        let text = format!("{ssh}{}", if ready { READY } else { "" });
        alive.write_all_at(text.as_bytes(), 0).ok();
    }

    /// What a keeper that lives has written down: its ssh's process id, and whether it is ready.
    pub(super) fn noted(&self) -> Option<(u32, bool)> {
        if self.keeper_is_gone().unwrap_or(true) {
            return None;
        }
        let text = std::fs::read_to_string(self.alive()).ok()?;
        let (pid, ready) = text.strip_suffix(READY).map_or((&*text, false), |pid| (pid, true));
        Some((pid.parse().ok()?, ready))
    }

    pub(super) fn keeper_is_gone(&self) -> anyhow::Result<bool> {
        let file = self.open_alive()?;
        // Shared, so that two who look do not take each other for a keeper.
        match file.try_lock_shared() {
            Ok(()) => Ok(true),
            Err(std::fs::TryLockError::WouldBlock) => Ok(false),
            Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Ends the connection of a keeper that lives: the process id is its child's then.
    pub(super) fn kill_ssh(&self) {
        if let Some((ssh, _)) = self.noted() {
            kill(ssh);
        }
    }
}

fn open(path: &Path, empty: bool) -> anyhow::Result<File> {
    std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(empty)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}

pub(super) fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // One that has ended is as good.
        rustix::process::kill_process(pid, Signal::KILL).ok();
    }
}
