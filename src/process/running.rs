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
                Ok(None) => {}
                Err(error) => return Err(ProcessError::Io(self.name.clone(), error)),
            }
            if !sleep_until_end(&self.child, deadline) {
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(20));
            }
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

/// Sleeps until a child has ended or the deadline has come; false where only asking again helps.
#[cfg(target_os = "linux")]
fn sleep_until_end(child: &Child, deadline: Instant) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let Ok(handle) = pidfd_open(Pid::from_child(child), PidfdFlags::empty()) else { return false };
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 3600, tv_nsec: 0 });
    // A signal ends it early, which is as good.
    poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&left)).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn sleep_until_end(_child: &Child, _deadline: Instant) -> bool {
    false
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
