//! Everything that happens in the VM: the guest program `program/*.sh` and its typed callers.
//!
//! The program travels as the ssh command itself, so nothing needs installing and its standard
//! input stays free for git. See [`wire`] for what it answers.

use std::io::Write;
use std::time::Duration;

use crate::error::Error;
use crate::process::{Cmd, Exit, ProcessError, Running};
use crate::sanitize;
use crate::secret::Secret;
use crate::ssh::{Endpoint, Master, Tty};

mod call;
mod limits;
pub mod losses;
pub mod messages;
mod send;
mod stream;
pub mod trash;
pub mod wire;
pub mod workspaces;

pub use call::{Call, encode_text};
pub use limits::time_limit;
use wire::{Field, Reader, WireError};

/// How long the guest may say nothing before its first answer, and between two of its fields.
/// An emulated guest that is busy booting takes several seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same where a master connection was there already, which after a rest of the host or the VM may
/// lead nowhere. A guest that is merely slow loses nothing: see [`GO`].
const MASTER_PATIENCE: Duration = Duration::from_secs(2);
/// The host's answer to a greeting. A guest program that does not get it ends: what was given up for
/// its silence does nothing, however late it comes.
const GO: &[u8] = b"go\n";

/// The most that a verb may answer, in bytes: lists of files and commits.
const ANSWER_CAP: usize = 64 << 20;

/// What begins a hint in the text of a failure.
const HINT: &str = "hint: ";

/// The host's time in seconds since 1970.
#[must_use]
pub fn now() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or_default()
}

/// How far a guest's clock is ahead of ours, in seconds: whatever it tells, a number that has an
/// absolute value.
#[must_use]
pub fn skew_of(guest_time: i64) -> i64 {
    guest_time.saturating_sub(now()).max(-i64::MAX)
}

/// The guest program at the end of an ssh connection.
#[derive(Debug)]
pub struct Guest {
    endpoint: Endpoint,
    describe: String,
}

impl Guest {
    /// The guest at `endpoint`; `describe` names it in messages (`VM 'agent-vm'`).
    #[must_use]
    pub fn new(endpoint: Endpoint, describe: String) -> Self {
        Self { endpoint, describe }
    }

    /// The way there.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Its name in messages.
    #[must_use]
    pub fn describe(&self) -> &str {
        &self.describe
    }

    /// Starts the guest program and waits for its greeting.
    ///
    /// A master connection that is dead, hangs or refuses is left behind, and replaced by a new one:
    /// one retry. [`OpenError::is_unreachable`] tells whether starting the VM could help.
    pub fn open(&self, call: &Call) -> Result<Session, OpenError> {
        self.endpoint.leave_mute_master(time_limit(MASTER_PATIENCE));
        let had_master = self.endpoint.has_master();
        let patience = if had_master { MASTER_PATIENCE } else { PATIENCE };
        match self.try_open(call, Master::Shared, time_limit(patience)) {
            Err(_) if had_master => {
                self.endpoint.forget_master();
                self.try_open(call, Master::Shared, time_limit(PATIENCE))
            }
            outcome => outcome,
        }
    }

    /// The same with less patience, and without a second try: for what is only good to know.
    pub fn open_within(&self, call: &Call, patience: Duration) -> Result<Session, OpenError> {
        self.try_open(call, Master::Never, time_limit(patience))
    }

    /// The same on a connection of its own, which leaves nothing behind.
    pub fn open_apart(&self, call: &Call) -> Result<Session, OpenError> {
        self.try_open(call, Master::Never, time_limit(PATIENCE))
    }

    /// The ssh command that makes a call on a connection of its own, for a process that outlives
    /// us. `nonce` marks where the answer begins.
    #[must_use]
    pub fn command_apart(&self, call: &Call, nonce: &str) -> Cmd {
        self.endpoint.command(&call.command_line(nonce), Tty::No, Master::Never)
    }

    /// Runs a verb that only answers, and gives its fields. `input` goes to its standard input.
    pub fn ask(&self, call: &Call, input: &[u8]) -> anyhow::Result<Vec<Field>> {
        let mut session = self.open(call).map_err(|error| self.explain(error))?;
        session.send(input)?;
        session.fields()
    }

    /// Leaves variables in the guest, for the command that is run next, and gives the word by which
    /// that one finds them.
    pub fn keep_environment(&self, values: &Secret) -> anyhow::Result<String> {
        let token = crate::identity::RepoId::random()?;
        self.ask(&Call::new("env").arg(token.as_str()), values.expose())?;
        Ok(token.as_str().to_owned())
    }

    /// Runs a command for people in the guest (verb `run`), on our own terminal and streams, and
    /// gives its exit code. `None`: ssh itself failed, or how the command ended was not learned.
    pub fn run_command(&self, call: &Call, tty: Tty, stdin: bool) -> anyhow::Result<Option<u8>> {
        let nonce = crate::identity::RepoId::random()?;
        let line = call.command_line(nonce.as_str());
        self.endpoint.leave_mute_master(time_limit(MASTER_PATIENCE));
        let mut ssh = self.endpoint.command(&line, tty, Master::Shared);
        if !stdin {
            ssh = ssh.no_stdin();
        }
        let exit =
            ssh.interactive_whole().map_err(|error| self.explain(OpenError::Process(error)))?;
        if exit != Exit::Code(255) {
            return Ok(Some(exit.shell_code()));
        }
        // ssh reports its own failures by the same number; the guest knows which it was.
        let fields = self.ask(&Call::new("ended").arg(nonce.as_str()), &[])?;
        Ok(workspaces::single(fields, "code").map(|_| 255))
    }

    fn try_open(
        &self,
        call: &Call,
        master: Master,
        patience: Duration,
    ) -> Result<Session, OpenError> {
        let nonce = crate::identity::RepoId::random().map_err(OpenError::Other)?;
        let line = call.command_line(nonce.as_str());
        let mut ssh = self.endpoint.command(&line, Tty::No, master).spawn()?;
        let messages = ssh.stderr().map(messages::Relay::start);
        let Some(stdout) = ssh.stdout() else { return Err(OpenError::Other(lost_pipe())) };
        let mut reader = Reader::new(stdout, patience);
        match reader.greeting(nonce.as_str()) {
            Ok(time) => {
                reader.set_patience(time_limit(PATIENCE));
                let mut stdin = ssh.stdin();
                if let Some(pipe) = &mut stdin {
                    // Where nobody reads it any more, what comes next tells.
                    pipe.write_all(GO).ok();
                }
                let skew = skew_of(time);
                Ok(Session { ssh, stdin, reader, messages, skew, describe: self.describe.clone() })
            }
            Err(error) => {
                ssh.kill();
                let said = match &error {
                    // It had the time to say it.
                    WireError::TimedOut(_) => messages.map(|messages| messages.said()),
                    _ => messages.map(messages::Relay::finish),
                };
                Err(OpenError::NoGreeting(error, said.unwrap_or_default()))
            }
        }
    }

    /// A session that could not be opened, as a message for the user.
    #[must_use]
    pub fn explain(&self, error: OpenError) -> anyhow::Error {
        let describe = &self.describe;
        match error {
            OpenError::Process(ProcessError::NotFound(_)) => {
                Error::missing_program("the program 'ssh' was not found")
                    .hint(
                        "install OpenSSH's client (on Debian: sudo apt-get install openssh-client)",
                    )
                    .into()
            }
            OpenError::Process(error) => error.into(),
            OpenError::Other(error) => error,
            OpenError::NoGreeting(WireError::TimedOut(limit), said) => Error::timed_out(format!(
                "cannot reach the {describe}: no answer in {} s{}",
                limit.as_secs(),
                after_colon(&said)
            ))
            .hint("git agent-vm status shows what the VM is doing")
            .into(),
            OpenError::NoGreeting(WireError::Ended, said) => {
                let said = if said.is_empty() { "ssh ended without a word" } else { &said };
                Error::failed(format!("cannot reach the {describe}{}", after_colon(said)))
                    .hint("git agent-vm status shows what the VM is doing")
                    .into()
            }
            OpenError::NoGreeting(error, _) => {
                Error::failed(format!("cannot talk to the {describe}: {error}"))
                    .hint("look at what the login shell's start-up files print there")
                    .into()
            }
        }
    }
}

fn after_colon(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {}", said.replace('\n', "; ")) }
}

fn lost_pipe() -> anyhow::Error {
    anyhow::anyhow!("a pipe to ssh is missing")
}

/// Why a session could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// ssh could not be run.
    Process(ProcessError),
    /// The guest program did not greet; the text is what ssh said, cleaned.
    NoGreeting(WireError, String),
    /// Something on this machine.
    Other(anyhow::Error),
}

impl OpenError {
    /// Whether nothing answered at all: a VM that is stopped looks like this.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, OpenError::NoGreeting(WireError::Ended | WireError::TimedOut(_), _))
    }
}

impl From<ProcessError> for OpenError {
    fn from(error: ProcessError) -> Self {
        Self::Process(error)
    }
}

/// One ssh session with the guest program.
#[derive(Debug)]
pub struct Session {
    ssh: Running,
    stdin: Option<std::process::ChildStdin>,
    reader: Reader,
    messages: Option<messages::Relay>,
    skew: i64,
    describe: String,
}

impl Session {
    /// How far the guest's clock is ahead of the host's, in seconds; negative where it is behind.
    #[must_use]
    pub fn clock_skew(&self) -> i64 {
        self.skew
    }

    /// Shows what the guest says besides, from the beginning.
    pub fn show_messages(&self) {
        if let Some(messages) = &self.messages {
            messages.release();
        }
    }

    /// Changes how long the guest may say nothing between two fields.
    pub fn set_patience(&mut self, patience: Duration) {
        self.reader.set_patience(patience);
    }

    /// The next field. `end=ok` ends the fields and is `None`; `fail=…` becomes an error.
    pub fn field(&mut self) -> anyhow::Result<Option<Field>> {
        let field = self.reader.field().map_err(|error| self.broken(&error))?;
        match field.key.as_str() {
            "end" => Ok(None),
            "fail" => Err(Self::refusal(&field)),
            _ => Ok(Some(field)),
        }
    }

    /// All fields up to the end.
    pub fn fields(&mut self) -> anyhow::Result<Vec<Field>> {
        let mut fields = Vec::new();
        self.reader.allow(ANSWER_CAP);
        while let Some(field) = self.field()? {
            fields.push(field);
        }
        Ok(fields)
    }

    /// Sends bytes to the guest program and closes its standard input.
    pub fn send(&mut self, input: &[u8]) -> anyhow::Result<()> {
        self.send_by(|stdin| Ok(stdin.write_all(input)?))
    }

    /// The same with what `write` writes. A guest that ends its reading is no error here: what it says
    /// next tells why. One that reads nothing for a while is given up.
    pub fn send_by(
        &mut self,
        write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Some(stdin) = self.stdin.take() else { return Ok(()) };
        let patience = time_limit(PATIENCE);
        match send::within(patience, stdin, write) {
            Ok(()) => Ok(()),
            Err(None) => Err(self.broken(&WireError::NotRead(patience))),
            Err(Some(error)) => Err(error.context(format!("cannot talk to the {}", self.describe))),
        }
    }

    /// The session's parts, to run git's own protocol over it.
    #[must_use]
    pub fn into_parts(self) -> Parts {
        Parts { ssh: self.ssh, stdin: self.stdin, reader: self.reader, messages: self.messages }
    }

    fn broken(&mut self, error: &WireError) -> anyhow::Error {
        self.ssh.kill();
        let said = self.messages.take().map(messages::Relay::finish).unwrap_or_default();
        let message = format!("lost the {}: {error}{}", self.describe, after_colon(&said));
        match error {
            WireError::TimedOut(_) | WireError::Endless(_) | WireError::NotRead(_) => {
                Error::timed_out(message).into()
            }
            _ => Error::failed(message).into(),
        }
    }

    /// `fail=CODE TEXT`, said by the guest program: the code gives the kind, lines that begin with
    /// `hint: ` are its hints. The text is the guest's word and is cleaned when shown.
    #[must_use]
    pub fn refusal(field: &Field) -> anyhow::Error {
        let lines: Vec<_> =
            field.value.as_bytes().split(|&byte| byte == b'\n').map(sanitize::line).collect();
        let text = lines.join("\n");
        let (code, text) = text.split_once(' ').unwrap_or(("failed", &text));
        let (hints, lines): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.starts_with(HINT));
        let text = lines.join("\n");
        let error = match code {
            "lose" => Error::would_lose_work(text),
            "absent" => Error::not_found(text),
            "program" => Error::missing_program(text),
            "slow" => Error::timed_out(text),
            _ => Error::failed(text),
        };
        hints.iter().fold(error, |error, hint| error.hint(&hint[HINT.len()..])).into()
    }
}

/// What a session is made of.
#[derive(Debug)]
pub struct Parts {
    /// The ssh process; dropping it ends the session.
    pub ssh: Running,
    /// To the guest.
    pub stdin: Option<std::process::ChildStdin>,
    /// From the guest, with what was read ahead.
    pub reader: Reader,
    /// What the guest and ssh say besides, cleaned, to our stderr.
    pub messages: Option<messages::Relay>,
}
