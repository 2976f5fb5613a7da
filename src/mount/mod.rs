//! `~/.agent-vm-mounts/workspace`: all workspaces of the VM as files of this machine, by sshfs.
//!
//! Knows sshfs, the kernel's table of mounts, and how to take a mount down without ever deleting
//! through it; knows nothing of git. What is in the mount is the VM's word: nobody owns it, nothing
//! in it is executed, no link leads out of it.
//!
//! Nothing here looks at the mount itself, not even by `stat`, since that hangs where the VM does.
//! Whether there is one stands in the kernel's table; whether it is alive shows a lock that its
//! [`keeper`] holds.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::config::{Config, ProviderKind};
use crate::error::{Error, Kind};
use crate::guest::{self, Call, Guest};
use crate::process::{Cmd, Exit, Running};
use crate::sanitize;
use crate::state::{self, Lock};

mod files;
pub(crate) mod keeper;
mod system;
pub(crate) use system::lacking;
mod table;
mod unmount;
mod users;

use files::Files;
use system::System;
use table::Table;
use unmount::unmount_dead;

/// The guest's end, sent as the ssh command.
const SERVER: &str = include_str!("sftp.sh");
/// Below the home directory.
const PARENT: &str = ".agent-vm-mounts";
const NAME: &str = "workspace";
/// What begins the name that a mount of ours has in the table; the VM's follows.
const OURS: &str = "agentvm:";
/// How long mounting may take: a connection, and a look into the guest's directory.
const PATIENCE: Duration = Duration::from_secs(40);

/// The mount as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing is mounted there.
    None,
    /// This VM's workspaces are.
    Mounted {
        /// Whether they can't be written to.
        read_only: bool,
    },
    /// They were, and nobody serves them any more: a kill, or a crash.
    Dead,
    /// The workspaces of another VM or host are; its name.
    Other(String),
    /// Something that is not ours is; its kind.
    Foreign(String),
}

impl State {
    /// The word in `status --json`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            State::None => "none",
            State::Mounted { .. } => "mounted",
            State::Dead => "dead",
            State::Other(_) => "other",
            State::Foreign(_) => "foreign",
        }
    }
}

/// What taking a mount down does where it is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InUse {
    /// Fail, with the processes named.
    Refuse,
    /// End the connection; whoever uses it gets errors.
    End,
}

/// The place of the mount, and which VM's workspaces belong there.
#[derive(Debug)]
pub struct Mount {
    /// Without links above it, as the kernel's table names it.
    path: PathBuf,
    source: String,
    files: Files,
}

impl Mount {
    /// For the VM that the configuration names. Makes nothing but our own state directory.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        Self::with_files(config, Files::new()?)
    }

    /// The same, to look at alone: makes nothing.
    pub(crate) fn look(config: &Config) -> anyhow::Result<Self> {
        Self::with_files(config, Files::look()?)
    }

    fn with_files(config: &Config, files: Files) -> anyhow::Result<Self> {
        let home = std::env::home_dir().context("cannot find the home directory")?;
        let parent = home.join(PARENT);
        // A link is followed: whoever made it wants the mount elsewhere.
        let parent = match parent.canonicalize() {
            Ok(parent) => parent,
            Err(_) => home.canonicalize().unwrap_or(home).join(PARENT),
        };
        let name = match (config.provider, &config.ssh_host) {
            (ProviderKind::Ssh, Some(host)) => format!("ssh-{host}"),
            _ => config.vm.as_str().to_owned(),
        };
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.@".contains(c) { c } else { '_' };
        let source = format!("{OURS}{}", name.chars().map(plain).collect::<String>());
        Ok(Self { path: parent.join(NAME), source, files })
    }

    /// Where it is, or would be.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How it is. Costs two small files, and never hangs.
    pub fn state(&self) -> anyhow::Result<State> {
        self.state_in(&Table::read()?)
    }

    fn state_in(&self, table: &Table) -> anyhow::Result<State> {
        let Some(entry) = table.at(&self.path) else { return Ok(State::None) };
        let name = entry.source.strip_prefix(OURS).filter(|_| entry.is_fuse());
        Ok(match name {
            None => State::Foreign(sanitize::text(&entry.kind).into_owned()),
            Some(_) if self.files.keeper_is_gone()? => State::Dead,
            Some(_) if entry.source == self.source => State::Mounted { read_only: entry.read_only },
            Some(name) => State::Other(sanitize::text(name).into_owned()),
        })
    }

    /// Mounts; `false` if it is mounted already. Two at once make one mount, a dead one is mended.
    pub fn mount(&self, guest: &Guest, read_only: bool) -> anyhow::Result<bool> {
        let _lock = self.lock("mounting")?;
        match self.state()? {
            State::None => {}
            State::Mounted { read_only: is } if read_only && !is => {
                return Err(Error::failed(format!(
                    "the workspaces are mounted already at {}, and can be written to",
                    self.path.display()
                ))
                .hint("git agent-vm unmount, then git agent-vm mount --read-only")
                .into());
            }
            State::Mounted { .. } => return Ok(false),
            State::Dead => unmount_dead(&self.path, &self.source_there()?)?,
            State::Other(name) => {
                return Err(Error::failed(format!(
                    "the workspaces of '{name}' are mounted at {}",
                    self.path.display()
                ))
                .hint("git agent-vm unmount takes that mount down")
                .into());
            }
            State::Foreign(kind) => return Err(self.foreign(&kind)),
        }
        System::HERE.check_programs()?;
        self.make_directory()?;
        let mut keeper = self.start_keeper(guest, read_only)?;
        let outcome = self.wait_for(&mut keeper, guest);
        if outcome.is_err() {
            // Whatever it had begun ends with it.
            self.files.kill_ssh();
            keeper.wait_for(Some(Duration::from_secs(2)))?;
            keeper.kill();
            unmount_dead(&self.path, &self.source)?;
        } else {
            keeper.let_go();
        }
        outcome.map(|()| true)
    }

    fn lock(&self, doing: &str) -> anyhow::Result<Lock> {
        Lock::take(&self.files.lock(), &format!("git agent-vm to finish {doing}"))
    }

    fn source_there(&self) -> anyhow::Result<String> {
        Ok(Table::read()?.at(&self.path).map(|entry| entry.source.clone()).unwrap_or_default())
    }

    fn foreign(&self, kind: &str) -> anyhow::Error {
        Error::failed(format!(
            "something else is mounted at {} ({kind}), not by git-agent-vm",
            self.path.display()
        ))
        .hint("unmount it by the means that mounted it")
        .into()
    }

    /// An empty directory to mount on, and nothing made where it can't be.
    fn make_directory(&self) -> anyhow::Result<()> {
        let table = Table::read()?;
        let parent = self.path.parent().unwrap_or(&self.path);
        if let Some(entry) = table.around(parent).filter(|entry| entry.is_fuse()) {
            return Err(Error::failed(format!(
                "{} lies in another mount, {} ({}): a mount in a mount could not be taken down safely",
                self.path.display(),
                entry.path.display(),
                entry.kind
            ))
            .hint(format!("make ~/{PARENT} a link to a directory on a disk of this machine"))
            .into());
        }
        state::private_dir(parent)?;
        match std::fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                state::private_dir(&self.path)?;
                return Ok(());
            }
            Ok(found) if found.is_dir() => {}
            Ok(found) => {
                let what = if found.is_symlink() { "a symbolic link" } else { "a file" };
                return Err(self.in_the_way(&format!("it is {what}")));
            }
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot look at {}", self.path.display()));
            }
        }
        if fs_err::read_dir(&self.path)?.next().is_some() {
            return Err(self.in_the_way("it is not empty, and a mount would hide what is in it"));
        }
        Ok(())
    }

    fn in_the_way(&self, why: &str) -> anyhow::Error {
        Error::failed(format!("cannot mount at {}: {why}", self.path.display()))
            .hint(format!("move it away: mv {} ELSEWHERE", quoted(&self.path)))
            .into()
    }

    fn start_keeper(&self, guest: &Guest, read_only: bool) -> anyhow::Result<Running> {
        let nonce = crate::identity::RepoId::random()?;
        let call = Call::of(SERVER, "serve");
        let order = keeper::Order {
            parent: std::process::id(),
            nonce: nonce.as_str().to_owned(),
            read_only,
            source: self.source.clone(),
            path: self.path.clone(),
            ssh: guest.command_apart(&call, nonce.as_str()).words(),
        };
        let asks_agent = guest.endpoint().identity.is_none();
        let program = std::env::current_exe().context("cannot find our own program")?;
        let keeper = Cmd::new(program)
            .args(order.words())
            // It lives on for hours: a secret of this shell must not live on with it.
            .env_only(|name| {
                KEPT_VARIABLES.contains(&name) || (asks_agent && name == "SSH_AUTH_SOCK")
            })
            .env("LC_ALL", "C")
            .current_dir(&guest.endpoint().dir)
            .detach(self.files.new_log()?)?;
        Ok(keeper)
    }

    /// Waits until the keeper says that the mount is ready, which is believed only where it stands in
    /// the kernel's table too.
    fn wait_for(&self, keeper: &mut Running, guest: &Guest) -> anyhow::Result<()> {
        let limit = guest::time_limit(PATIENCE);
        let deadline = Instant::now() + limit;
        let cannot = format!("cannot mount the workspaces of the {}", guest.describe());
        loop {
            let ended = keeper.wait_for(Some(Duration::from_millis(15)))?;
            let ready = self.files.noted().is_some_and(|(_, ready)| ready);
            if ready
                && ended.is_none()
                && keeper::is_ours(&Table::read()?, &self.path, &self.source)
            {
                return Ok(());
            }
            if let Some(exit) = ended {
                let said = self.files.log_tail();
                let said = if said.is_empty() { "sshfs ended without a word" } else { &said };
                let kind = match exit {
                    Exit::Code(5) => Kind::MissingProgram,
                    Exit::Code(6) => Kind::TimedOut,
                    _ => Kind::Failed,
                };
                return Err(Error::new(kind, format!("{cannot}: {said}"))
                    .hint(format!("more may stand in {}", self.files.log().display()))
                    .into());
            }
            if Instant::now() > deadline {
                return Err(Error::timed_out(format!(
                    "{cannot}: no answer in {} s",
                    limit.as_secs()
                ))
                .hint("git agent-vm status shows what the VM is doing")
                .into());
            }
        }
    }
}

/// Whether this command line is that of the process which keeps a mount, not a user's.
pub(crate) fn is_keeper(mut words: impl Iterator<Item = OsString>) -> bool {
    words.nth(1).is_some_and(|word| word == keeper::FLAG)
}

/// What the programs of a mount need to know of our environment.
const KEPT_VARIABLES: &[&str] =
    &["HOME", "PATH", "USER", "LOGNAME", "TMPDIR", "GIT_AGENT_VM_TRACE", "GIT_AGENT_VM_TIME_LIMIT"];

/// Who owns the files, by what this machine is told: nobody, and in no case the user.
fn files_owner() -> u32 {
    let nobody = 65534;
    if rustix::process::geteuid().as_raw() == nobody { nobody - 1 } else { nobody }
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}
