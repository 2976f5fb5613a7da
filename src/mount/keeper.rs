//! The process that keeps a mount: it runs ssh and sshfs, stands between them, and ends both when
//! one is gone or the server no longer answers. Started by [`super::Mount::mount`], it lives as
//! long as the mount.
//!
//! An SFTP server that never answers would hang every program that looks into the mount, in a
//! state in which not even a kill ends it. So the packets are counted: each request gets one
//! reply, and where one is owed and nothing moves for [`SILENCE`], ssh is ended. sshfs runs without
//! `reconnect`, so it then gives all that wait an error, unmounts, and ends too.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::files::{self, Files};
use super::files_owner;
use super::system::System;
use super::table::Table;
use super::unmount::unmount_dead;
use crate::error::{self, Error};
use crate::guest::wire::{Reader, WireError};
use crate::guest::{self, Session};
use crate::process::{Cmd, Running};

/// The word on our command line that makes this process a keeper.
pub(crate) const FLAG: &str = "--keep-mount";
/// How long an answer may be owed while nothing moves.
const SILENCE: Duration = Duration::from_secs(60);
/// How long the guest may take to greet.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long sshfs or ssh may take to end by itself when the other is gone.
const GRACE: Duration = Duration::from_secs(3);
/// The most that ssh and sshfs may each write into the log, in bytes.
const LOG_CAP: u64 = 64 << 10;
const BUFFER: usize = 128 << 10;

/// What a keeper is told on its command line.
#[derive(Debug)]
pub(crate) struct Order {
    /// Who waits for the mount. Where it goes away before there is one, nothing is mounted.
    pub(crate) parent: u32,
    pub(crate) nonce: String,
    pub(crate) read_only: bool,
    /// The mount's name in the table.
    pub(crate) source: String,
    pub(crate) path: PathBuf,
    /// The ssh command.
    pub(crate) ssh: Vec<OsString>,
}

impl Order {
    pub(crate) fn words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![
            FLAG.into(),
            self.parent.to_string().into(),
            self.nonce.clone().into(),
            if self.read_only { "ro" } else { "rw" }.into(),
            self.source.clone().into(),
            self.path.clone().into(),
        ];
        words.extend(self.ssh.iter().cloned());
        words
    }

    fn parse(words: impl Iterator<Item = OsString>) -> Option<Self> {
        let mut words = words.skip_while(|word| word != FLAG).skip(1);
        Some(Self {
            parent: words.next()?.to_str()?.parse().ok()?,
            nonce: words.next()?.into_string().ok()?,
            read_only: words.next()? == "ro",
            source: words.next()?.into_string().ok()?,
            path: words.next()?.into(),
            ssh: words.collect(),
        })
    }
}

/// The keeper's whole life. What it says goes to the log, where whoever waits reads it.
#[must_use]
pub(crate) fn main(words: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(order) = Order::parse(words) else { return ExitCode::from(2) };
    let mut words = Words::default();
    let outcome = keep(&order, &mut words);
    words.finish();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(std::io::stderr(), "{error:#}").ok();
            ExitCode::from(error::kind_of(&error).code())
        }
    }
}

fn keep(order: &Order, words: &mut Words) -> anyhow::Result<()> {
    let files = Files::new()?;
    // Held until this process ends.
    let Some(alive) = files.claim()? else { anyhow::bail!("another keeper is at work") };
    let (program, args) = order.ssh.split_first().context("there is no ssh command")?;
    let mut ssh = Cmd::new(program).args(args).spawn()?;
    words.log(&mut ssh);
    Files::note(&alive, ssh.id(), false);
    let counts = Arc::new(Counts::default());
    let noted = alive.try_clone()?;
    watch_start(order.parent, ssh.id(), &counts, move |ssh| Files::note(&noted, ssh, true));
    let from_guest = greet(&mut ssh, order)?;
    // The directory of the connection is of no use to sshfs, and must not be kept from going.
    let options = System::HERE.sshfs_options(&order.source, files_owner(), order.read_only);
    let mut sshfs = Cmd::new("sshfs")
        .args(["-f", "-o", &options, "--", "agentvm:workspace"])
        .arg(&order.path)
        .current_dir("/")
        .spawn()?;
    words.log(&mut sshfs);
    let relay = Relay::start(&mut ssh, from_guest, &mut sshfs, counts)?;
    relay.wait(&mut ssh, guest::time_limit(SILENCE));
    end(ssh, sshfs)?;
    // sshfs unmounts when it ends by itself; killed, it leaves a dead mount.
    unmount_dead(&order.path, &order.source)
}

/// What ssh and sshfs say, on its way into the log. The guest has a say in it, and must not fill
/// this machine's disk.
#[derive(Default)]
struct Words(Vec<std::thread::JoinHandle<()>>);

impl Words {
    fn log(&mut self, child: &mut Running) {
        let Some(mut stream) = child.stderr() else { return };
        self.0.push(std::thread::spawn(move || {
            std::io::copy(&mut stream.by_ref().take(LOG_CAP), &mut std::io::stderr()).ok();
            std::io::copy(&mut stream, &mut std::io::sink()).ok();
        }));
    }

    /// Waits a moment for the last of them.
    fn finish(self) {
        let deadline = Instant::now() + Duration::from_secs(1);
        while self.0.iter().any(|thread| !thread.is_finished()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Skips what start-up files print, and reads what the guest's end of the mount has to say.
fn greet(ssh: &mut Running, order: &Order) -> anyhow::Result<(Vec<u8>, std::process::ChildStdout)> {
    let stdout = ssh.stdout().context("a pipe to ssh is missing")?;
    let patience = guest::time_limit(PATIENCE);
    let mut reader = Reader::new(stdout, patience);
    let answer = reader.greeting(&order.nonce).and_then(|_| reader.field());
    match answer {
        Ok(field) if field.key == "end" => Ok(reader.into_rest()),
        Ok(field) if field.key == "fail" => Err(Session::refusal(&field)),
        Ok(_) => anyhow::bail!("the answer makes no sense"),
        Err(error @ WireError::TimedOut(_)) => Err(Error::timed_out(error.to_string()).into()),
        Err(error @ WireError::Nonsense(_)) => Err(Error::failed(format!(
            "{error}; look at what the login shell's start-up files print there"
        ))
        .into()),
        Err(error) => Err(Error::failed(error.to_string()).into()),
    }
}

/// sshfs mounts first and asks the server afterwards: for its version, then whether the directory
/// is there. With both answers the mount is there to be used.
const FIRST_REPLIES: i64 = 2;

/// Says when the mount is ready. Where the one that waits for it goes away before that, ends ssh,
/// and with it all of this.
fn watch_start(
    parent: u32,
    ssh: u32,
    counts: &Arc<Counts>,
    ready: impl FnOnce(u32) + Send + 'static,
) {
    let counts = Arc::clone(counts);
    std::thread::spawn(move || {
        while counts.replies.load(Ordering::Relaxed) < FIRST_REPLIES {
            if parent_id() != parent {
                files::kill(ssh);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        ready(ssh);
    });
}

pub(super) fn is_ours(table: &Table, path: &Path, source: &str) -> bool {
    table.at(path).is_some_and(|entry| entry.is_fuse() && entry.source == source)
}

/// What passes between the server and sshfs.
struct Relay {
    events: mpsc::Receiver<Event>,
    counts: Arc<Counts>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// A request went out after a time without any.
    Busy,
    /// One of the two has closed its end.
    Ended,
}

#[derive(Default)]
struct Counts {
    /// Requests without a reply.
    owed: AtomicI64,
    /// Replies that have come.
    replies: AtomicI64,
    /// Everything that moved, either way.
    moved: AtomicU64,
}

impl Counts {
    /// A server that answers what nobody asked must not have credit for later.
    fn answered(&self, replies: i64) {
        self.replies.fetch_add(replies, Ordering::Relaxed);
        let less = |owed: i64| Some((owed - replies).max(0));
        self.owed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok();
    }
}

impl Relay {
    fn start(
        ssh: &mut Running,
        (rest, from_guest): (Vec<u8>, std::process::ChildStdout),
        sshfs: &mut Running,
        counts: Arc<Counts>,
    ) -> anyhow::Result<Self> {
        let lost = "a pipe is missing";
        let (to_guest, to_sshfs) = (ssh.stdin().context(lost)?, sshfs.stdin().context(lost)?);
        let from_sshfs = sshfs.stdout().context(lost)?;
        let (sender, events) = mpsc::channel();
        let (ended, ours) = (sender.clone(), Arc::clone(&counts));
        std::thread::spawn(move || {
            let mut packets = Packets::default();
            copy(std::io::Cursor::new(rest).chain(from_guest), to_sshfs, |bytes, written| {
                if !written {
                    ours.answered(packets.count(bytes));
                }
                ours.moved.fetch_add(1, Ordering::Relaxed);
            });
            ended.send(Event::Ended).ok();
        });
        let ours = Arc::clone(&counts);
        std::thread::spawn(move || {
            let mut packets = Packets::default();
            copy(from_sshfs, to_guest, |bytes, written| {
                if !written {
                    let new = packets.count(bytes);
                    if ours.owed.fetch_add(new, Ordering::Relaxed) <= 0 && new > 0 {
                        sender.send(Event::Busy).ok();
                    }
                }
                ours.moved.fetch_add(1, Ordering::Relaxed);
            });
            sender.send(Event::Ended).ok();
        });
        Ok(Self { events, counts })
    }

    /// Waits until one side ends, or the server owes an answer for too long: then ssh is ended here.
    fn wait(&self, ssh: &mut Running, silence: Duration) {
        let pause = (silence / 8).clamp(Duration::from_millis(100), Duration::from_secs(5));
        let mut seen = self.counts.moved.load(Ordering::Relaxed);
        let mut since = Instant::now();
        let mut idle = false;
        loop {
            let event = if idle {
                self.events.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected)
            } else {
                self.events.recv_timeout(pause)
            };
            if matches!(event, Ok(Event::Ended) | Err(mpsc::RecvTimeoutError::Disconnected)) {
                return;
            }
            let moved = self.counts.moved.load(Ordering::Relaxed);
            if moved != seen || idle {
                (seen, since) = (moved, Instant::now());
            }
            idle = self.counts.owed.load(Ordering::Relaxed) <= 0 && event != Ok(Event::Busy);
            if !idle && since.elapsed() >= silence {
                let seconds = silence.as_secs();
                let text = format!("the VM owed an answer for {seconds} s: the mount is ended");
                writeln!(std::io::stderr(), "{text}").ok();
                ssh.kill();
                return;
            }
        }
    }
}

/// Copies until either end is closed. `seen` is told of bytes before and after they are written.
fn copy(mut from: impl Read, mut to: impl Write, mut seen: impl FnMut(&[u8], bool)) {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                seen(&buffer[..count], false);
                if to.write_all(&buffer[..count]).is_err() {
                    return;
                }
                seen(&buffer[..count], true);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Counts SFTP packets: each is a length of four bytes, and as many bytes.
#[derive(Debug, Default)]
struct Packets {
    /// What is left of the packet that has begun.
    left: u64,
    /// The bytes of a length that have come.
    length: Vec<u8>,
}

impl Packets {
    /// How many packets begin in these bytes.
    fn count(&mut self, mut bytes: &[u8]) -> i64 {
        let mut begun = 0;
        while !bytes.is_empty() {
            if self.left > 0 {
                let part =
                    usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
                self.left -= part as u64;
                bytes = &bytes[part..];
                continue;
            }
            let (&byte, rest) = bytes.split_first().expect("it is not empty");
            self.length.push(byte);
            bytes = rest;
            if let Ok(length) = <[u8; 4]>::try_from(self.length.as_slice()) {
                self.left = u32::from_be_bytes(length).into();
                self.length.clear();
                begun += 1;
            }
        }
        begun
    }
}

/// Ends both, the one that still runs by itself if it can.
fn end(mut ssh: Running, mut sshfs: Running) -> anyhow::Result<()> {
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline {
        let gone = [&mut ssh, &mut sshfs].map(|child| child.wait_for(Some(Duration::ZERO)));
        let [ssh_gone, sshfs_gone] = gone;
        if ssh_gone?.is_some() && sshfs_gone?.is_some() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    ssh.kill();
    if sshfs.wait_for(Some(GRACE))?.is_none() {
        sshfs.kill();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_counted_however_they_are_cut() {
        let stream = [&[0, 0, 0, 2, 9, 9][..], &[0, 0, 0, 0], &[0, 0, 0, 1, 7]].concat();
        for size in 1..=stream.len() {
            let mut packets = Packets::default();
            let counted: i64 = stream.chunks(size).map(|part| packets.count(part)).sum();
            assert_eq!(counted, 3, "in pieces of {size}");
        }
    }

    #[test]
    fn an_order_survives_the_command_line() {
        let order = Order {
            parent: 7,
            nonce: "n".into(),
            read_only: true,
            source: "agentvm:x".into(),
            path: "/a b/c,d".into(),
            ssh: vec!["ssh".into(), "-F".into(), "none".into()],
        };
        let again = Order::parse([OsString::from("me")].into_iter().chain(order.words())).unwrap();
        assert_eq!(format!("{order:?}"), format!("{again:?}"));
    }
}
