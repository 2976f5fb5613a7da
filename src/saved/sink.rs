//! A stream of the guest's on its way into a file, and whether it came whole.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use crate::error::Error;
use crate::hash;

/// What the guest sends last: hash, length, and how its programs ended.
const TRAILER: usize = 90;

/// A file that is written and hashed, all but the trailer.
pub(super) struct Sink {
    path: PathBuf,
    file: File,
    hash: Sha256,
    held: Vec<u8>,
    pub(super) written: u64,
    limit: u64,
}

/// What came.
pub(super) struct Outcome {
    pub(super) sha256: String,
    pub(super) bytes: u64,
    /// Whether files changed under tar's hands.
    pub(super) changed: bool,
}

impl Sink {
    pub(super) fn create(path: &Path, limit: u64) -> anyhow::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let (hash, held) = (Sha256::new(), Vec::new());
        Ok(Self { path: path.to_owned(), file, hash, held, written: 0, limit })
    }

    pub(super) fn take(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.held.extend_from_slice(bytes);
        let ready = self.held.len().saturating_sub(TRAILER);
        self.written += ready as u64;
        if self.written > self.limit {
            return Err(Error::would_lose_work("the VM sends more than it has").into());
        }
        self.hash.update(&self.held[..ready]);
        self.file
            .write_all(&self.held[..ready])
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        self.held.drain(..ready);
        Ok(())
    }

    pub(super) fn finish(self, said: &str) -> anyhow::Result<Outcome> {
        let said =
            if said.is_empty() { String::new() } else { format!(": {}", said.replace('\n', "; ")) };
        let broken = || Error::failed(format!("not all of it arrived{said}"));
        let trailer = std::str::from_utf8(&self.held).map_err(|_| broken())?;
        let words: Vec<&str> = trailer.split_whitespace().collect();
        let [sha256, bytes, tar, gzip] = words[..] else { return Err(broken().into()) };
        let ours = hash::hex(&self.hash.finalize());
        if bytes.parse() != Ok(self.written) || sha256 != ours {
            return Err(broken().into());
        }
        if gzip != "0" || !matches!(tar, "0" | "1") {
            return Err(Error::failed(format!("the VM could not read all of it{said}")).into());
        }
        self.file.sync_all().with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(Outcome { sha256: ours, bytes: self.written, changed: tar == "1" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(bytes: &[u8], limit: u64) -> anyhow::Result<Outcome> {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = Sink::create(&dir.path().join("file"), limit)?;
        for piece in bytes.chunks(7) {
            sink.take(piece)?;
        }
        sink.finish("")
    }

    #[test]
    fn only_what_is_whole_is_taken() {
        let trailer = |text: &[u8], tar: u8| {
            let sha = hash::hex(&Sha256::digest(text));
            [text, format!("{sha} {:020} {tar} 0\n", text.len()).as_bytes()].concat()
        };
        let whole = trailer(b"the content", 0);
        let outcome = sink(&whole, 100).unwrap();
        assert_eq!((outcome.bytes, outcome.changed), (11, false));
        assert!(sink(&trailer(b"the content", 1), 100).unwrap().changed);
        assert!(sink(&trailer(b"the content", 2), 100).is_err());
        assert!(sink(&whole[..whole.len() - 1], 100).is_err(), "the connection broke");
        assert!(sink(&whole[1..], 100).is_err(), "a byte is missing");
        assert!(sink(&whole, 5).is_err(), "it is more than was announced");
        assert!(sink(b"", 100).is_err());
    }
}
