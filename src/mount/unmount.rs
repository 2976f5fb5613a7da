//! Taking the mount down without cutting anybody off unasked, and without ever deleting through it.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::system::System;
use super::table::Table;
use super::{InUse, Mount, State, keeper, users};
use crate::error::Error;
use crate::process::Cmd;

/// How long a mount that is in use is tried to be taken down: an indexer may just look into it.
const BUSY_PATIENCE: Duration = Duration::from_secs(2);
/// How long the keeper may take to end after its mount is gone.
const ENDING: Duration = Duration::from_secs(8);

impl Mount {
    /// Unmounts, whosever workspaces they are; `false` if there was nothing to unmount. The
    /// directory goes too, by `rmdir` alone.
    pub fn take_down(&self, in_use: InUse) -> anyhow::Result<bool> {
        let _lock = self.lock("unmounting")?;
        leave(&self.path);
        match self.state()? {
            State::None => {
                self.remove_directory();
                return Ok(false);
            }
            State::Foreign(kind) => return Err(self.foreign(&kind)),
            State::Dead => unmount_dead(&self.path, &self.source_there()?)?,
            State::Mounted { .. } | State::Other(_) => self.unmount(in_use)?,
        }
        self.remove_directory();
        Ok(true)
    }

    /// [`Mount::take_down`] before the VM goes away, if its workspaces are mounted.
    pub fn take_down_before(&self, in_use: InUse, doing: &str) -> anyhow::Result<()> {
        if matches!(self.state()?, State::Mounted { .. } | State::Dead) {
            self.take_down(in_use).with_context(|| format!("cannot {doing}"))?;
        }
        Ok(())
    }

    /// Unmounts a live mount: what waits to be written is written, and nobody is cut off unless
    /// that is asked for.
    fn unmount(&self, in_use: InUse) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut said = String::new();
        while Table::read()?.at(&self.path).is_some() {
            match run_unmount(&self.path, false) {
                Err(why) => said = why,
                Ok(()) if Table::read()?.at(&self.path).is_none() => break,
                Ok(()) => {}
            }
            if started.elapsed() > BUSY_PATIENCE {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let table = Table::read()?;
        if table.at(&self.path).is_some() {
            let users = users::of(&self.path);
            if in_use == InUse::Refuse {
                return Err(self.busy(&table, &users, &said));
            }
            if !users.is_empty() {
                crate::ui::warning(&format!(
                    "the mount was in use by {}, which will meet errors",
                    users.join(", ")
                ));
            }
            // sshfs ends when its connection does, and gives all that wait an error.
            self.files.kill_ssh();
        }
        self.wait_gone()
    }

    fn wait_gone(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + ENDING;
        while Instant::now() < deadline {
            if self.files.keeper_is_gone()? {
                return unmount_dead(&self.path, &self.source_there()?);
            }
            if Instant::now() + ENDING / 2 > deadline {
                // Its server does not hear that nobody is left.
                self.files.kill_ssh();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(Error::timed_out(format!("the mount at {} does not end", self.path.display())).into())
    }

    fn busy(&self, table: &Table, users: &[String], said: &str) -> anyhow::Error {
        let path = self.path.display();
        let what = match table.below(&self.path) {
            Some(entry) => format!("{} is mounted in it", entry.path.display()),
            None if users.is_empty() => said.to_owned(),
            None => format!("it is in use by {}", users.join(", ")),
        };
        Error::failed(format!("cannot unmount {path}: {what}"))
            .hint("end that, or leave the directory, and try again")
            .hint("git agent-vm unmount --force ends the connection under whatever uses it")
            .into()
    }

    /// Takes the empty directory away. A directory that is a mount after all is left alone.
    fn remove_directory(&self) {
        let device = |path: &Path| std::fs::symlink_metadata(path).map(|found| found.dev());
        let Some(parent) = self.path.parent() else { return };
        if Table::read().is_ok_and(|table| table.at(&self.path).is_none())
            && matches!((device(&self.path), device(parent)), (Ok(one), Ok(other)) if one == other)
        {
            // Not empty, or gone: both are fine.
            std::fs::remove_dir(&self.path).ok();
        }
    }
}

/// Unmounts what nobody serves any more. Doing so lazily is safe here: there is no way left from
/// it into the VM.
pub(super) fn unmount_dead(path: &Path, source: &str) -> anyhow::Result<()> {
    let mut said = String::new();
    for lazily in [false, true, true] {
        if !keeper::is_ours(&Table::read()?, path, source) {
            return Ok(());
        }
        said = run_unmount(path, lazily).err().unwrap_or_default();
    }
    if !keeper::is_ours(&Table::read()?, path, source) {
        return Ok(());
    }
    Err(Error::failed(format!("cannot unmount {}: {said}", path.display())).into())
}

/// Runs the system's command; the error is what it said.
fn run_unmount(path: &Path, lazily: bool) -> Result<(), String> {
    let mut said = String::new();
    for words in System::HERE.unmount_commands(path, lazily) {
        let (program, args) = words.split_first().expect("a command has a program");
        let ran = Cmd::new(program)
            .args(args)
            .env("LC_ALL", "C")
            .current_dir("/")
            .time_limit(Duration::from_secs(5))
            .output();
        match ran {
            Ok(output) if output.exit.success() => return Ok(()),
            Ok(output) => said = output.stderr_tail(1),
            Err(error) => said = error.to_string(),
        }
    }
    Err(said)
}

/// Leaves the mount, if we were started in it: we would keep it from being unmounted.
fn leave(path: &Path) {
    let inside = std::env::current_dir().is_ok_and(|dir| dir.starts_with(path));
    if inside {
        std::env::set_current_dir("/").ok();
    }
}
