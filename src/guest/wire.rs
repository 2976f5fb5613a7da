//! Reading what the guest program says, byte by hostile byte.
//!
//! First comes whatever start-up files print, then a line `agentvm/1 NONCE TIME` with the nonce
//! that the host sent and the guest's time. The host answers it with `go`. Then come fields
//! `key=value`, each ended by NUL. Every read has a deadline and a cap.

use std::io::Read as _;
use std::os::fd::AsFd;
use std::process::ChildStdout;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::sanitize::GuestText;

/// The most that start-up files may print before our line, in bytes.
const NOISE_CAP: usize = 64 << 10;
/// The longest field, in bytes. A list of file names in a message is the longest there is.
const FIELD_CAP: usize = 1 << 20;
/// The most that one session may say in fields, in bytes, unless its caller allows more.
const TOTAL_CAP: usize = 4 << 20;

/// Why reading stopped.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The guest's end closed before all was said.
    #[error("the connection ended early")]
    Ended,
    /// Nothing came for this long.
    #[error("no answer for {} s", .0.as_secs())]
    TimedOut(Duration),
    /// It went on saying something for this long.
    #[error("it is not done after {} s", .0.as_secs())]
    Endless(Duration),
    /// It took nothing of what is sent to it for this long.
    #[error("it reads nothing for {} s", .0.as_secs())]
    NotRead(Duration),
    /// The guest said something that the guest program never says.
    #[error("the answer makes no sense ({0})")]
    Nonsense(&'static str),
    /// The pipe failed.
    #[error("cannot read the answer: {0}")]
    Io(#[from] std::io::Error),
}

/// One `key=value`. The key is one of ours; the value is the guest's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Lower-case letters, digits and `_`.
    pub key: String,
    /// As it came.
    pub value: GuestText,
}

/// Reads with a limit on the time between two bytes.
#[derive(Debug)]
pub struct Reader {
    pipe: ChildStdout,
    buffer: Vec<u8>,
    start: usize,
    patience: Duration,
    end: Option<(Instant, Duration)>,
    left: usize,
}

impl Reader {
    /// Reads from `pipe`, and gives up when nothing comes for `patience`.
    #[must_use]
    pub fn new(pipe: ChildStdout, patience: Duration) -> Self {
        Self { pipe, buffer: Vec::new(), start: 0, patience, end: None, left: TOTAL_CAP }
    }

    /// Skips noise up to and including the line `agentvm/1 NONCE TIME`; gives the guest's time in
    /// seconds since 1970.
    pub fn greeting(&mut self, nonce: &str) -> Result<i64, WireError> {
        let wanted = format!("agentvm/1 {nonce} ").into_bytes();
        loop {
            let unread = &self.buffer[self.start..];
            if let Some(at) = find(unread, &wanted)
                && let Some(length) = unread[at + wanted.len()..].iter().position(|&b| b == b'\n')
            {
                let begin = at + wanted.len();
                let time = std::str::from_utf8(&unread[begin..begin + length]).unwrap_or_default();
                let time = time.parse().map_err(|_| WireError::Nonsense("it tells no time"))?;
                self.start += begin + length + 1;
                return Ok(time);
            }
            if unread.len() > NOISE_CAP {
                return Err(WireError::Nonsense("too much text before our own"));
            }
            self.fill()?;
        }
    }

    /// The next field.
    pub fn field(&mut self) -> Result<Field, WireError> {
        let mut looked = 0;
        let end = loop {
            let unread = &self.buffer[self.start..];
            if let Some(at) = unread[looked..].iter().position(|&byte| byte == 0) {
                break looked + at;
            }
            looked = unread.len();
            if looked > FIELD_CAP {
                return Err(WireError::Nonsense("a field is too long"));
            }
            self.fill()?;
        };
        let bytes = &self.buffer[self.start..self.start + end];
        let split = bytes.iter().position(|&byte| byte == b'=');
        let split = split.ok_or(WireError::Nonsense("a field has no key"))?;
        let key = std::str::from_utf8(&bytes[..split])
            .ok()
            .filter(|key| (1..=40).contains(&key.len()))
            .filter(|key| {
                key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            })
            .ok_or(WireError::Nonsense("a key is malformed"))?
            .to_owned();
        let field = Field { key, value: GuestText::new(&bytes[split + 1..]) };
        self.start += end + 1;
        self.left =
            self.left.checked_sub(end + 1).ok_or(WireError::Nonsense("it says too much"))?;
        Ok(field)
    }

    /// The next bytes, exactly `count` of them.
    pub fn exactly(&mut self, count: usize) -> Result<&[u8], WireError> {
        while self.buffer.len() - self.start < count {
            self.fill()?;
        }
        let bytes = &self.buffer[self.start..self.start + count];
        self.start += count;
        Ok(bytes)
    }

    /// Allows this many bytes of fields from here on.
    pub fn allow(&mut self, bytes: usize) {
        self.left = bytes;
    }

    /// Changes how long a silence may last.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Ends all reading after this time, however much is said.
    pub fn end_after(&mut self, limit: Duration) {
        self.end = Instant::now().checked_add(limit).map(|end| (end, limit));
    }

    /// What was read and not used, and the pipe that goes on after it.
    #[must_use]
    pub fn into_rest(mut self) -> (Vec<u8>, ChildStdout) {
        self.buffer.drain(..self.start);
        (self.buffer, self.pipe)
    }

    fn fill(&mut self) -> Result<(), WireError> {
        // What was used is let go, at a cost that stays in proportion.
        if self.start > 0 && self.start >= self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.wait_until_readable()?;
        let old = self.buffer.len();
        self.buffer.resize(old + (64 << 10), 0);
        let read = self.pipe.read(&mut self.buffer[old..]);
        self.buffer.truncate(old + read.as_ref().map_or(0, |count| *count));
        if read? == 0 { Err(WireError::Ended) } else { Ok(()) }
    }

    fn wait_until_readable(&self) -> Result<(), WireError> {
        let deadline = Instant::now() + self.patience;
        loop {
            let now = Instant::now();
            if let Some((end, limit)) = self.end
                && end <= now
            {
                return Err(WireError::Endless(limit));
            }
            let left = deadline.saturating_duration_since(now);
            if left.is_zero() {
                return Err(WireError::TimedOut(self.patience));
            }
            let left = self.end.map_or(left, |(end, _)| left.min(end - now));
            if readable_within(&self.pipe, left)? {
                return Ok(());
            }
        }
    }
}

/// Waits until a pipe has bytes or has ended, at most for `limit`.
pub fn readable_within(pipe: &impl AsFd, limit: Duration) -> std::io::Result<bool> {
    ready_within(pipe, PollFlags::IN, limit)
}

/// Whether a pipe becomes ready for something in time, signals aside.
pub(super) fn ready_within(
    pipe: &impl AsFd,
    wanted: PollFlags,
    limit: Duration,
) -> std::io::Result<bool> {
    let deadline = Instant::now().checked_add(limit);
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut [PollFd::new(pipe, wanted)], timeout.as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Cmd, Running};

    fn reader(script: &str) -> (Reader, Running) {
        let mut child = Cmd::new("sh").args(["-c", script]).spawn().unwrap();
        (Reader::new(child.stdout().unwrap(), Duration::from_millis(300)), child)
    }

    #[test]
    fn noise_is_skipped_and_fields_are_read() {
        let (mut reader, _child) = reader(
            r"printf 'HELLO\nagentvm/1 old 1\nagentvm/1 n1 1700000000\nname=a=b\0end=ok\0REST'",
        );
        assert_eq!(reader.greeting("n1").unwrap(), 1_700_000_000);
        let field = reader.field().unwrap();
        assert_eq!((field.key.as_str(), field.value.as_bytes()), ("name", &b"a=b"[..]));
        assert_eq!(reader.field().unwrap().key, "end");
        assert_eq!(reader.exactly(4).unwrap(), b"REST");
        assert!(matches!(reader.exactly(1), Err(WireError::Ended)));
    }

    #[test]
    fn silence_ends_in_a_time_out() {
        let (mut reader, _child) = reader("exec sleep 60");
        assert!(matches!(reader.greeting("n"), Err(WireError::TimedOut(_))));
    }

    #[test]
    fn endless_noise_and_endless_fields_are_refused() {
        let (mut noisy, _child) = reader("exec yes");
        assert!(matches!(noisy.greeting("n"), Err(WireError::Nonsense(_))));
        let (mut long, _child) = reader("exec yes");
        assert!(matches!(long.field(), Err(WireError::Nonsense(_))));
    }

    #[test]
    fn malformed_keys_are_refused() {
        for script in [r"printf 'novalue\0'", r"printf '=v\0'", r"printf 'UP=v\0'"] {
            let (mut reader, _child) = reader(script);
            assert!(matches!(reader.field(), Err(WireError::Nonsense(_))), "{script}");
        }
    }
}
