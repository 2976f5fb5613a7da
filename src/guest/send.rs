//! Writing to a guest that may never read.

use std::io::{self, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

/// How far the writing is.
enum Step {
    /// Bytes are offered.
    Offered,
    /// Some of them were taken.
    Taken,
    /// All is done, or failed.
    Ended(anyhow::Result<()>),
}

/// Has `write` write to `pipe`, and gives up (`Err(None)`) where what it offers is not taken for
/// `patience`. That nobody reads any more is no error.
pub(super) fn within(
    patience: Duration,
    pipe: impl Write + Send + 'static,
    write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()> + Send + 'static,
) -> Result<(), Option<anyhow::Error>> {
    let (sender, receiver) = mpsc::channel();
    let (last, mut told) = (sender.clone(), Told { pipe, sender });
    std::thread::spawn(move || {
        let outcome = write(&mut told);
        // The end of file is a part of what is sent.
        drop(told);
        last.send(Step::Ended(outcome)).ok();
    });
    let mut offered = false;
    loop {
        let step = if offered {
            receiver.recv_timeout(patience)
        } else {
            // What is to be written may take its time.
            receiver.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        match step {
            Ok(Step::Offered) => offered = true,
            Ok(Step::Taken) => offered = false,
            Ok(Step::Ended(Err(error))) if !is_broken(&error) => return Err(Some(error)),
            Ok(Step::Ended(_)) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => return Err(None),
        }
    }
}

fn is_broken(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe)
}

/// Tells of each write.
struct Told<W> {
    pipe: W,
    sender: Sender<Step>,
}

impl<W: Write> Write for Told<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Who listened may have given up.
        self.sender.send(Step::Offered).ok();
        let count = self.pipe.write(bytes)?;
        self.sender.send(Step::Taken).ok();
        Ok(count)
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
