//! The only place that starts other programs.
//!
//! Every child gets an environment without git's repository variables (they would point it at the
//! wrong repository), may have a limit of time and of output, and is logged with its arguments
//! where `GIT_AGENT_VM_TRACE` asks for it. What is run, and what its output means, is the
//! caller's business.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

mod exit;
mod limits;
mod running;
mod trace;
mod whole;

pub use exit::Exit;
pub use limits::{hurry, within_limits};
use running::DataLimit;
pub use running::Running;

/// Variables that tie a process to one repository (`git rev-parse --local-env-vars`), and those
/// that would change how git talks to a remote behind our back.
const GIT_VARIABLES: &[&str] = &[
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NAMESPACE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// Output beyond this many bytes is an error unless a caller allows more.
const DEFAULT_OUTPUT_CAP: usize = 16 << 20;

/// Why a child gave no usable result.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The program is not installed, or not in `PATH`.
    #[error("the program '{0}' was not found")]
    NotFound(String),
    /// The program could not be started or waited for.
    #[error("cannot run '{0}': {1}")]
    Io(String, #[source] io::Error),
    /// The limit of time was reached, and the program was ended.
    #[error("'{0}' gave no result in {1:?}")]
    TimedOut(String, Duration),
    /// What it printed could not be written where it was to go.
    #[error("cannot write what '{0}' printed: {1}")]
    Lost(String, #[source] io::Error),
    /// It printed more than the cap in bytes, and was ended.
    #[error("'{0}' printed more than {1} bytes")]
    TooMuchOutput(String, usize),
}

/// What a finished child left.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub exit: Exit,
    /// All of its standard output.
    pub stdout: Vec<u8>,
    /// All of its standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// The last `lines` lines of standard error, cleaned, for a message.
    #[must_use]
    pub fn stderr_tail(&self, lines: usize) -> String {
        let text = self.stderr.trim_ascii_end();
        let all: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
        let tail = &all[all.len().saturating_sub(lines)..];
        tail.iter().map(|line| crate::sanitize::line(line)).collect::<Vec<_>>().join("\n")
    }
}

/// A program about to be run.
#[derive(Debug)]
pub struct Cmd {
    command: Command,
    stdin: Option<Vec<u8>>,
    time_limit: Option<Duration>,
    output_cap: usize,
    data_limit: Option<u64>,
    no_stdin: bool,
}

impl Cmd {
    /// The program by name (looked up in `PATH`) or by path.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        for name in GIT_VARIABLES {
            command.env_remove(name);
        }
        for (name, _) in std::env::vars_os() {
            let bytes = name.as_encoded_bytes();
            if bytes.starts_with(b"GIT_CONFIG_KEY_") || bytes.starts_with(b"GIT_CONFIG_VALUE_") {
                command.env_remove(&name);
            }
        }
        Self {
            command,
            stdin: None,
            time_limit: None,
            output_cap: DEFAULT_OUTPUT_CAP,
            data_limit: None,
            no_stdin: false,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets a variable for the child. Never a secret: the environment can be read in `/proc`.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Takes a variable away from the child.
    #[must_use]
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Gives the child our own value of a variable that [`Cmd::new`] takes away, if it is set.
    #[must_use]
    pub fn env_inherit(mut self, name: impl AsRef<OsStr>) -> Self {
        if let Some(value) = std::env::var_os(&name) {
            self.command.env(&name, value);
        }
        self
    }

    /// Gives the child no variable of ours but those whose name passes `keep`. For programs that
    /// go on running and would carry a secret along.
    #[must_use]
    pub fn env_only(mut self, keep: impl Fn(&str) -> bool) -> Self {
        self.command.env_clear();
        for (name, value) in std::env::vars_os() {
            if name.to_str().is_some_and(&keep) {
                self.command.env(name, value);
            }
        }
        self
    }

    /// Starts it in a process group of its own: a Ctrl-C at our terminal does not reach it, so it
    /// has to notice our end by itself, as by its standard input.
    #[must_use]
    pub fn own_group(mut self) -> Self {
        self.command.process_group(0);
        self
    }

    /// The directory to run in.
    #[must_use]
    pub fn current_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// What the child reads from standard input; without it, it reads nothing.
    #[must_use]
    pub fn stdin_bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Ends the child when this time is over.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// The most that it may print, in bytes, on either stream.
    #[must_use]
    pub fn output_cap(mut self, bytes: usize) -> Self {
        self.output_cap = bytes;
        self
    }

    /// The most memory that the child and its own children may have for data, in bytes each
    /// (`RLIMIT_DATA`). Linux holds them to it; macOS does not.
    #[must_use]
    pub fn data_limit(mut self, bytes: u64) -> Self {
        self.data_limit = Some(bytes);
        self
    }

    /// The program's name, for messages.
    #[must_use]
    pub fn name(&self) -> String {
        let program = Path::new(self.command.get_program());
        program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
    }

    /// Runs it to its end and gives what it printed. An exit code other than 0 is no error here.
    pub fn output(mut self) -> Result<Output, ProcessError> {
        self.time_limit = within_limits(self.time_limit);
        let name = self.name();
        let started = Instant::now();
        self.command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Running::start(&mut self.command, &name)?;
        if let (Some(mut pipe), Some(bytes)) = (child.stdin(), self.stdin.take()) {
            // A child that ends without reading all of it is not our error; its exit code tells.
            thread::spawn(move || pipe.write_all(&bytes));
        }
        let (sender, receiver) = mpsc::channel();
        if let Some(pipe) = child.stdout() {
            read_in_background(pipe, self.output_cap, 0, sender.clone());
        }
        if let Some(pipe) = child.stderr() {
            read_in_background(pipe, self.output_cap, 1, sender);
        }
        let mut streams = [Vec::new(), Vec::new()];
        for _ in 0..2 {
            let left = self.time_limit.map(|limit| limit.saturating_sub(started.elapsed()));
            let message = match left {
                Some(left) => receiver.recv_timeout(left).ok(),
                None => receiver.recv().ok(),
            };
            match message {
                Some((index, Ok(bytes))) => streams[index] = bytes,
                Some((_, Err(()))) => {
                    return Err(ProcessError::TooMuchOutput(name, self.output_cap));
                }
                None => {
                    return Err(ProcessError::TimedOut(name, self.time_limit.unwrap_or_default()));
                }
            }
        }
        let left = self.time_limit.map(|limit| limit.saturating_sub(started.elapsed()));
        let exit = child.wait_for(left)?.ok_or_else(|| {
            ProcessError::TimedOut(name.clone(), self.time_limit.unwrap_or_default())
        })?;
        let [stdout, stderr] = streams;
        Ok(Output { exit, stdout, stderr })
    }

    /// Starts it with pipes for all three streams.
    pub fn spawn(mut self) -> Result<Running, ProcessError> {
        let name = self.name();
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let _limit = self.data_limit.map(DataLimit::lower);
        Running::start(&mut self.command, &name)
    }

    /// The program and its arguments, for another process that is to run it.
    #[must_use]
    pub fn words(&self) -> Vec<OsString> {
        let words = std::iter::once(self.command.get_program()).chain(self.command.get_args());
        words.map(OsStr::to_owned).collect()
    }

    /// Keeps our standard input from a child that is run with [`Cmd::interactive`]: it would eat
    /// the rest of a script that we are called from.
    #[must_use]
    pub fn no_stdin(mut self) -> Self {
        self.no_stdin = true;
        self
    }

    /// Runs it on our own terminal and streams, and waits for its end.
    pub fn interactive(mut self) -> Result<Exit, ProcessError> {
        let name = self.name();
        self.command.stdin(if self.no_stdin { Stdio::null() } else { Stdio::inherit() });
        self.command.stdout(Stdio::inherit()).stderr(Stdio::inherit());
        let mut child = Running::start(&mut self.command, &name)?;
        child.wait()
    }

    /// Becomes the program, on our own terminal and streams: nothing of ours is left that a signal or
    /// a pager could meet. Returns only where that cannot be.
    #[must_use]
    pub fn become_it(mut self) -> ProcessError {
        let name = self.name();
        trace::trace(&self.command);
        let error = self.command.exec();
        match error.kind() {
            io::ErrorKind::NotFound => ProcessError::NotFound(name),
            _ => ProcessError::Io(name, error),
        }
    }

    /// Starts it and leaves it running on its own: no terminal, no part in our Ctrl-C, its output
    /// into `log`.
    pub fn detach(mut self, log: std::fs::File) -> Result<Running, ProcessError> {
        let name = self.name();
        let copy = log.try_clone().map_err(|error| ProcessError::Io(name.clone(), error))?;
        self.command.stdin(Stdio::null()).stdout(log).stderr(copy).process_group(0);
        Running::start(&mut self.command, &name)
    }
}

type Stream = (usize, Result<Vec<u8>, ()>);

fn read_in_background(
    mut pipe: impl Read + Send + 'static,
    cap: usize,
    index: usize,
    sender: mpsc::Sender<Stream>,
) {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let limit = u64::try_from(cap).unwrap_or(u64::MAX).saturating_add(1);
        // An error in reading a pipe means that its other end is gone: what came is all there is.
        pipe.by_ref().take(limit).read_to_end(&mut bytes).ok();
        let result = if bytes.len() > cap { Err(()) } else { Ok(bytes) };
        // The receiver gives up first when the limit of time is reached.
        sender.send((index, result)).ok();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Cmd {
        Cmd::new("sh").args(["-c", script])
    }

    #[test]
    fn output_gives_streams_and_exit_code() {
        let output = sh("cat; echo err >&2; exit 3").stdin_bytes("in").output().unwrap();
        assert_eq!(output.exit, Exit::Code(3));
        assert_eq!(output.stdout, b"in");
        assert_eq!(output.stderr_tail(1), "err");
    }

    #[test]
    fn a_hanging_child_is_ended_at_the_limit() {
        let started = Instant::now();
        let error = Cmd::new("sleep").arg("60").time_limit(Duration::from_millis(100)).output();
        assert!(matches!(error, Err(ProcessError::TimedOut(..))));
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_child_that_closed_its_streams_is_ended_at_the_limit_too() {
        let error = sh("exec >&- 2>&-; sleep 60").time_limit(Duration::from_millis(200)).output();
        assert!(matches!(error, Err(ProcessError::TimedOut(..))));
    }

    #[test]
    fn too_much_output_is_an_error() {
        let error = sh("yes").output_cap(1000).output();
        assert!(matches!(error, Err(ProcessError::TooMuchOutput(_, 1000))));
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Cmd::new("no-such-program-here").output().unwrap_err();
        assert_eq!(error.to_string(), "the program 'no-such-program-here' was not found");
    }

    #[test]
    fn a_signal_counts_as_a_shell_would() {
        assert_eq!(sh("kill -9 $$").output().unwrap().exit.shell_code(), 137);
    }
}
