//! One ssh session of one git command: opened at `list`, used by `fetch` or `push`, ended in order.

use std::time::Duration;

use crate::branch::BranchName;
use crate::error::Error;
use crate::guest::wire::Field;
use crate::guest::{self, messages};
use crate::process::{Cmd, Exit, Running};
use crate::remote::advertisement::Advertisement;
use crate::remote::relay::{Limits, Offer, Stopped};

/// The longest time in which nothing goes either way during a transfer. git's services send a sign
/// of life every five seconds while they work; this is for those that do not.
const SILENCE: Duration = Duration::from_secs(600);
/// How long the guest program may take to end after git's service: it attaches HEAD and mends.
const ENDING: Duration = Duration::from_secs(120);

/// A service in the VM that has said what it has and waits.
#[derive(Debug)]
pub struct Session {
    ssh: Running,
    stdin: Option<std::process::ChildStdin>,
    reader: Option<guest::wire::Reader>,
    messages: Option<messages::Relay>,
    describe: String,
    /// The workspace's name.
    pub workspace: String,
    /// The workspace's own branch, from its marker.
    pub branch: BranchName,
    /// Whether this session made the workspace.
    pub created: bool,
    /// Whether its file system takes names for one that differ in case alone.
    pub folds: bool,
    /// Its refs.
    pub advertisement: Advertisement,
}

/// How git's command over a session ended.
#[derive(Debug)]
pub struct Transfer {
    /// The command's end.
    pub exit: Exit,
    /// What it said on standard output.
    pub stdout: Vec<u8>,
    /// Whether a limit of ours ended it.
    pub stopped: Option<Stopped>,
}

impl Session {
    /// Reads what the guest program and the service say first.
    pub fn begin(guest: &guest::Guest, session: guest::Session) -> anyhow::Result<Self> {
        Self::begin_noting(guest, session, |_| {})
    }

    /// The same; `note` gets the fields that say more than every session says.
    pub fn begin_noting(
        guest: &guest::Guest,
        mut session: guest::Session,
        mut note: impl FnMut(Field),
    ) -> anyhow::Result<Self> {
        let mut workspace = String::new();
        let mut branch = None;
        let (mut created, mut folds) = (false, false);
        while let Some(Field { key, value }) = session.field()? {
            match (key.as_str(), value.as_clean_str()) {
                ("workspace", Some(name)) => name.clone_into(&mut workspace),
                ("branch", Some(name)) => branch = BranchName::from_full_ref(name),
                ("created", flag) => created = flag == Some("1"),
                ("folds", flag) => folds = flag == Some("1"),
                _ => note(Field { key, value }),
            }
        }
        let mut parts = session.into_parts();
        let describe = guest.describe().to_owned();
        let branch: BranchName = branch.ok_or_else(|| {
            Error::failed(format!("the marker of workspace '{workspace}' names no branch"))
        })?;
        let advertisement = match Advertisement::read(&mut parts.reader) {
            Ok(advertisement) => advertisement,
            Err(error) => {
                parts.ssh.kill();
                let said = parts.messages.map(messages::Relay::finish).unwrap_or_default();
                let said = if said.is_empty() { said } else { format!(": {said}") };
                return Err(Error::failed(format!(
                    "git in workspace '{workspace}' of the {describe} does not answer: {error}{said}"
                ))
                .into());
            }
        };
        if let Some(messages) = &parts.messages {
            messages.release();
        }
        Ok(Self {
            ssh: parts.ssh,
            stdin: parts.stdin,
            reader: Some(parts.reader),
            messages: parts.messages,
            describe,
            workspace,
            branch,
            created,
            folds,
            advertisement,
        })
    }

    /// Runs a git command with this session as its service. `service_flag` is the option that
    /// names the service's program.
    pub fn run(
        &mut self,
        git: Cmd,
        service_flag: &str,
        input: &str,
        fetch_limit: u64,
        on_line: impl FnMut(&str) -> Option<String> + Send + 'static,
    ) -> anyhow::Result<Transfer> {
        let (Some(stdin), Some(reader)) = (self.stdin.take(), self.reader.take()) else {
            anyhow::bail!("the session is used up");
        };
        let (rest, from_guest) = reader.into_rest();
        let mut replay = std::mem::take(&mut self.advertisement.raw);
        replay.extend_from_slice(&rest);
        let limits = Limits { bytes: fetch_limit, silence: guest::time_limit(SILENCE) };
        let offer = Offer::new(stdin, from_guest, replay, limits)?;
        let mut git = git
            .arg(format!("{service_flag}={}", offer.command()?))
            .arg("agentvm-session")
            .spawn()
            .map_err(crate::git::program_error)?;
        if let Some(mut pipe) = git.stdin() {
            // If git ends before it has read all, its exit code tells.
            std::io::Write::write_all(&mut pipe, input.as_bytes()).ok();
        }
        let messages = git.stderr().map(|stderr| messages::Relay::start_filtered(stderr, on_line));
        let mut stdout = Vec::new();
        if let Some(mut pipe) = git.stdout() {
            std::io::Read::read_to_end(&mut pipe, &mut stdout)?;
        }
        let exit = git.wait()?;
        drop(messages.map(messages::Relay::finish));
        let stopped = offer.finish()?;
        Ok(Transfer { exit, stdout, stopped })
    }

    /// Ends the session in order: the service hears that nothing more comes, and the guest program
    /// puts the workspace right and what came onto the disk. Only then is a push done.
    pub fn end(mut self) -> anyhow::Result<()> {
        if let Some(mut stdin) = self.stdin.take() {
            // Unused: a flush packet ends either service. One that is gone already is as good.
            std::io::Write::write_all(&mut stdin, b"0000").ok();
        }
        drop(self.reader.take());
        let limit = guest::time_limit(ENDING);
        let ended = self.ssh.wait_for(Some(limit))?;
        if ended.is_none() {
            self.ssh.kill();
        }
        drop(self.messages.take().map(messages::Relay::finish));
        match ended {
            Some(exit) if exit.success() => Ok(()),
            Some(exit) => Err(Error::failed(format!(
                "the session with the {} was cut off ({exit})",
                self.describe
            ))
            .into()),
            None => Err(Error::timed_out(format!(
                "the {} did not end the session in {} s",
                self.describe,
                limit.as_secs()
            ))
            .into()),
        }
    }

    /// The VM's name in messages.
    #[must_use]
    pub fn describe(&self) -> &str {
        &self.describe
    }
}
