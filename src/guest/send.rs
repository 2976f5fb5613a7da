//! Writing to a guest that may never read.

use std::io::{self, Write};
use std::process::ChildStdin;
use std::time::Duration;

use rustix::event::PollFlags;

use super::wire::ready_within;

/// A pipe that can be written to takes this much without a wait.
const PIECE: usize = 4096;

/// Has `write` write to `pipe`, and closes it. Gives up (`Err(None)`) where what it offers is not
/// taken for `patience`; what is to be written may take its time. That nobody reads any more is no
/// error.
pub(super) fn within(
    patience: Duration,
    pipe: ChildStdin,
    write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
) -> Result<(), Option<anyhow::Error>> {
    let mut patient = Patient { pipe, patience, gave_up: false };
    match write(&mut patient) {
        _ if patient.gave_up => Err(None),
        Err(error) if !is_broken(&error) => Err(Some(error)),
        _ => Ok(()),
    }
}

fn is_broken(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe)
}

/// The way to a reader that is waited for, but not for ever.
struct Patient {
    pipe: ChildStdin,
    patience: Duration,
    gave_up: bool,
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !ready_within(&self.pipe, PollFlags::OUT, self.patience)? {
            self.gave_up = true;
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.pipe.write(&bytes[..bytes.len().min(PIECE)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pipe.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Cmd;

    fn send(script: &str, bytes: usize) -> Result<(), Option<anyhow::Error>> {
        let mut child = Cmd::new("sh").args(["-c", script]).spawn().unwrap();
        let input = vec![b'x'; bytes];
        let outcome = within(Duration::from_millis(500), child.stdin().unwrap(), move |pipe| {
            Ok(input.chunks(4096).try_for_each(|part| pipe.write_all(part))?)
        });
        child.kill();
        outcome
    }

    #[test]
    fn one_that_never_reads_is_given_up() {
        assert!(matches!(send("exec sleep 60", 1 << 20), Err(None)));
    }

    #[test]
    fn one_that_reads_slowly_is_waited_for() {
        let slowly = "for i in 1 2 3 4 5 6 7 8; do head -c 100000 >/dev/null; sleep 0.2; done";
        assert!(send(slowly, 700_000).is_ok());
    }

    #[test]
    fn whoever_writes_may_take_its_time() {
        let mut child = Cmd::new("cat").spawn().unwrap();
        let outcome = within(Duration::from_millis(100), child.stdin().unwrap(), |pipe| {
            std::thread::sleep(Duration::from_millis(500));
            Ok(pipe.write_all(b"x")?)
        });
        child.kill();
        assert!(outcome.is_ok());
    }

    #[test]
    fn one_that_ends_its_reading_is_no_error() {
        assert!(send("exec <&-; sleep 1", 1 << 20).is_ok());
    }
}
