//! Writing to a guest that may never read.

use std::io::{self, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

/// Has `write` write to `pipe`, and gives up (`Err(None)`) where nothing is taken for `patience`. That
/// nobody reads any more is no error.
pub(super) fn within(
    patience: Duration,
    pipe: impl Write + Send + 'static,
    write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()> + Send + 'static,
) -> Result<(), Option<anyhow::Error>> {
    let (sender, receiver) = mpsc::channel();
    let (last, mut counted) = (sender.clone(), Counted { pipe, sender });
    std::thread::spawn(move || {
        let outcome = write(&mut counted);
        // The end of file is a part of what is sent.
        drop(counted);
        last.send(Some(outcome)).ok();
    });
    loop {
        match receiver.recv_timeout(patience) {
            Ok(None) => {}
            Ok(Some(Err(error))) if !is_broken(&error) => return Err(Some(error)),
            Ok(Some(_)) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => return Err(None),
        }
    }
}

fn is_broken(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe)
}

/// Tells of each write.
struct Counted<W> {
    pipe: W,
    sender: Sender<Option<anyhow::Result<()>>>,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.pipe.write(bytes)?;
        // Who listened has given up.
        self.sender.send(None).ok();
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
    fn one_that_ends_its_reading_is_no_error() {
        assert!(send("exec <&-; sleep 1", 1 << 20).is_ok());
    }
}
