//! Long runs of bytes over a session: what is saved on the host, and what comes back from there. Every
//! wait has a limit, and so has every length.

use std::io::Read;
use std::time::{Duration, Instant};

use super::wire::readable_within;
use super::{Session, messages, send, time_limit};
use crate::error::Error;

/// How long nothing may move.
const SILENCE: Duration = Duration::from_secs(600);

impl Session {
    /// Hands every byte that comes up to the end of the stream to `take`. What the guest says besides
    /// is given at the end.
    pub fn receive(
        self,
        mut take: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<String> {
        let describe = self.describe.clone();
        let mut parts = self.into_parts();
        let (rest, mut pipe) = parts.reader.into_rest();
        take(&rest)?;
        let limit = time_limit(SILENCE);
        let mut last = Instant::now();
        let mut buffer = vec![0; 1 << 18];
        loop {
            let left = limit.saturating_sub(last.elapsed());
            if !readable_within(&pipe, left)? {
                if last.elapsed() >= limit {
                    parts.ssh.kill();
                    return Err(silent(&describe, limit));
                }
                continue;
            }
            let count = pipe.read(&mut buffer)?;
            if count == 0 {
                return Ok(parts.messages.map(messages::Relay::finish).unwrap_or_default());
            }
            last = Instant::now();
            take(&buffer[..count])?;
        }
    }

    /// Sends all that `source` has to the guest program, and closes its standard input. `sent` hears
    /// how much it was so far. A guest that stops reading is no error here: what it says next tells
    /// why.
    pub fn send_from(
        &mut self,
        source: &mut dyn Read,
        mut sent: impl FnMut(u64),
    ) -> anyhow::Result<()> {
        let Some(pipe) = self.stdin.take() else { return Ok(()) };
        let limit = time_limit(SILENCE);
        let mut buffer = vec![0; 1 << 18];
        let outcome = send::within(limit, pipe, |pipe| {
            let mut sum = 0;
            loop {
                let count = source.read(&mut buffer)?;
                if count == 0 {
                    return Ok(());
                }
                pipe.write_all(&buffer[..count])?;
                sum += count as u64;
                sent(sum);
            }
        });
        outcome.map_err(|error| {
            error.unwrap_or_else(|| {
                self.ssh.kill();
                silent(&self.describe, limit)
            })
        })
    }
}

fn silent(describe: &str, limit: Duration) -> anyhow::Error {
    Error::timed_out(format!("lost the {describe}: nothing moved for {} s", limit.as_secs())).into()
}
