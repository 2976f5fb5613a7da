//! What the guest says to people: cleaned line by line on its way to our stderr.

use std::io::{Read, Write as _};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::sanitize;

/// A longer line is cut into several, in bytes.
const LONGEST_LINE: usize = 4096;
/// How much is kept for an error message, in bytes.
const KEPT: usize = 4096;
/// How long the stream's end is waited for after the session has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Copies a stream to stderr in the background, made safe. Held back until [`Relay::release`], so
/// that a failed first try is silent and its words can go into one error message.
#[derive(Debug)]
pub struct Relay {
    thread: Option<JoinHandle<()>>,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    held: bool,
    kept: String,
}

impl Relay {
    /// Starts to read, and holds back what comes.
    pub fn start(stream: impl Read + Send + 'static) -> Self {
        Self::spawn(stream, true, |line| Some(line.to_owned()))
    }

    /// Starts to copy at once. `on_line` sees each whole line, cleaned, without its end, and gives
    /// what is shown instead.
    pub fn start_filtered(
        stream: impl Read + Send + 'static,
        on_line: impl FnMut(&str) -> Option<String> + Send + 'static,
    ) -> Self {
        Self::spawn(stream, false, on_line)
    }

    fn spawn(
        mut stream: impl Read + Send + 'static,
        held: bool,
        mut on_line: impl FnMut(&str) -> Option<String> + Send + 'static,
    ) -> Self {
        let shared = Arc::new(Mutex::new(Shared { held, kept: String::new() }));
        let ours = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let mut cleaner = Cleaner::default();
            let mut buffer = [0_u8; 8192];
            while let Ok(count) = stream.read(&mut buffer)
                && count > 0
            {
                emit(&ours, &filter(&cleaner.push(&buffer[..count]), &mut on_line));
            }
            emit(&ours, &filter(&cleaner.finish(), &mut on_line));
        });
        Self { thread: Some(thread), shared }
    }

    /// Shows what was held back, and from now on everything at once.
    pub fn release(&self) {
        if let Ok(mut shared) = self.shared.lock()
            && shared.held
        {
            shared.held = false;
            let kept = std::mem::take(&mut shared.kept);
            std::io::stderr().write_all(kept.as_bytes()).ok();
        }
    }

    /// Waits a moment for the stream's end and gives what was held back, without the last line end.
    ///
    /// A master connection holds the stream as long as the guest's end of the session lives, even
    /// after our own ssh was ended: waiting for it would be waiting for the guest.
    #[must_use]
    pub fn finish(self) -> String {
        let started = Instant::now();
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
            && started.elapsed() < LAST_WORDS
        {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.said()
    }

    /// What is held back so far, without the last line end.
    #[must_use]
    pub fn said(&self) -> String {
        let kept = self.shared.lock().map(|shared| shared.kept.clone()).unwrap_or_default();
        kept.trim_end().to_owned()
    }
}

fn emit(shared: &Mutex<Shared>, text: &str) {
    let Ok(mut shared) = shared.lock() else { return };
    if !shared.held {
        std::io::stderr().write_all(text.as_bytes()).ok();
    } else if shared.kept.len() < KEPT {
        shared.kept.push_str(text);
    }
}

/// Passes whole lines through `on_line`; progress, which ends in `\r`, as it is.
fn filter(text: &str, on_line: &mut impl FnMut(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    for piece in text.split_inclusive(['\n', '\r']) {
        match piece.strip_suffix('\n') {
            Some(line) => {
                if let Some(shown) = on_line(line) {
                    out.push_str(&shown);
                    out.push('\n');
                }
            }
            None => out.push_str(piece),
        }
    }
    out
}

/// Splits a stream at `\n` and `\r` (git's progress) and cleans each piece.
#[derive(Debug, Default)]
pub struct Cleaner {
    pending: Vec<u8>,
}

impl Cleaner {
    /// Takes bytes, gives what is complete.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        let mut out = String::new();
        for &byte in bytes {
            if byte == b'\n' || byte == b'\r' {
                out.push_str(&sanitize::line(&self.pending));
                out.push(char::from(byte));
                self.pending.clear();
            } else {
                self.pending.push(byte);
                if self.pending.len() >= LONGEST_LINE {
                    out.push_str(&sanitize::line(&self.pending));
                    out.push('\n');
                    self.pending.clear();
                }
            }
        }
        out
    }

    /// What is left at the end, as a line.
    pub fn finish(&mut self) -> String {
        if self.pending.is_empty() {
            return String::new();
        }
        let line = sanitize::line(&self.pending).into_owned() + "\n";
        self.pending.clear();
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_passes_and_escapes_do_not() {
        let mut cleaner = Cleaner::default();
        assert_eq!(cleaner.push(b"10%\r20%\rdone\n\x1b[2Jpart"), "10%\r20%\rdone\n");
        assert_eq!(cleaner.finish(), "\\x1b[2Jpart\n");
        assert_eq!(cleaner.finish(), "");
    }
}
