//! A child that runs.

use std::io;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use std::thread;
use std::time::{Duration, Instant};

use super::trace::trace;
use super::{Exit, ProcessError};

/// A child that runs. Dropping it ends and reaps it, unless it was let go.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
    let_go: bool,
}

impl Running {
    pub(super) fn start(command: &mut Command, name: &str) -> Result<Self, ProcessError> {
        trace(command);
        let child = command.spawn().map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                ProcessError::NotFound(name.to_owned())
            } else {
                ProcessError::Io(name.to_owned(), error)
            }
        })?;
        Ok(Self { child, name: name.to_owned(), let_go: false })
    }

    /// Its standard input, once.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Its standard output, once.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Its standard error, once.
    pub fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end, however long that takes.
    pub fn wait(&mut self) -> Result<Exit, ProcessError> {
        let status =
            self.child.wait().map_err(|error| ProcessError::Io(self.name.clone(), error))?;
        Ok(status.into())
    }

    /// Waits for its end, at most this long (`None`: for ever). `None` if it still runs.
    pub fn wait_for(&mut self, limit: Option<Duration>) -> Result<Option<Exit>, ProcessError> {
        let Some(limit) = limit else { return self.wait().map(Some) };
        let deadline = Instant::now() + limit;
        let mut pause = Duration::from_micros(200);
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok(Some(status.into())),
                Ok(None) if Instant::now() >= deadline => return Ok(None),
                Ok(None) => thread::sleep(pause),
                Err(error) => return Err(ProcessError::Io(self.name.clone(), error)),
            }
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// Ends it at once. What it was doing is undone by whoever started it.
    pub fn kill(&mut self) {
        // It may have ended on its own in between, which is as good.
        if self.child.kill().is_ok() {
            self.child.wait().ok();
        }
    }

    /// Tells it to end, and does not wait until it does: one that hangs in the kernel cannot.
    pub fn abandon(mut self) {
        // It may have ended on its own in between, which is as good.
        self.child.kill().ok();
        self.let_go = true;
    }

    /// Lets it run on after this value is gone.
    pub fn let_go(mut self) {
        self.let_go = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.let_go && matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
        }
    }
}

/// Our own soft limit, lowered for as long as a child is started, which inherits it.
pub(super) struct DataLimit(rustix::process::Rlimit);

impl DataLimit {
    pub(super) fn lower(bytes: u64) -> Self {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let old = getrlimit(Resource::Data);
        let current = old.current.map_or(bytes, |current| current.min(bytes));
        // Lowering a soft limit is always allowed.
        setrlimit(Resource::Data, Rlimit { current: Some(current), maximum: old.maximum }).ok();
        Self(old)
    }
}

impl Drop for DataLimit {
    fn drop(&mut self) {
        rustix::process::setrlimit(rustix::process::Resource::Data, self.0).ok();
    }
}
