//! Git's own commands over a session that is already open.
//!
//! `git fetch-pack` and `git send-pack` are run with git's *local* transport and told that the
//! service is `git-remote-agentvm --relay SOCKET`. That process gets the session's two pipes over
//! the socket (a pipe that git inherited would be held open by git itself, and hang it when the
//! service dies), first replays the advertisement, then copies both ways until end of file.

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ChildStdin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::guest::wire::readable_within;

const BUFFER: usize = 128 << 10;
/// Where a helper waits for its relay, and what the names there begin with.
const PLACE: &str = "/tmp";
const PREFIX: &str = "agentvm-";
/// No helper waits this long for its relay.
const OLD: Duration = Duration::from_secs(3600);

/// Limits on what the guest may send.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most bytes.
    pub bytes: u64,
    /// The longest time in which nothing goes either way.
    pub silence: Duration,
}

/// Why the relay ended a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// More than [`Limits::bytes`] came.
    TooMuch,
    /// Nothing came for [`Limits::silence`].
    Silence,
}

/// The offer of a session to the relay process that git will start.
#[derive(Debug)]
pub struct Offer {
    socket: PathBuf,
    thread: thread::JoinHandle<std::io::Result<Option<Stopped>>>,
}

impl Offer {
    /// Waits in the background for the relay, and gives it the session's pipes and `replay`.
    pub fn new(
        to_guest: ChildStdin,
        from_guest: impl Into<OwnedFd>,
        replay: Vec<u8>,
        limits: Limits,
    ) -> anyhow::Result<Self> {
        clear_old(Path::new(PLACE));
        // Short, so that the socket's path fits into its 104 bytes; for our own eyes (mode 0700).
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(PLACE);
        let dir = dir.context("cannot make a directory in /tmp")?;
        let socket = dir.path().join("s");
        let listener = UnixListener::bind(&socket).context("cannot make a socket")?;
        let pipes: [OwnedFd; 2] = [to_guest.into(), from_guest.into()];
        let thread = thread::spawn(move || {
            let (stream, _) = listener.accept()?;
            // Nobody else is to come; who is killed from here on leaves nothing behind.
            drop((listener, dir));
            hand_over(stream, pipes, &replay, limits)
        });
        Ok(Self { socket, thread })
    }

    /// The command that git is to run as the service, quoted for its shell.
    pub fn command(&self) -> anyhow::Result<String> {
        let mut program = std::env::current_exe().context("cannot find our own program")?;
        if !program.exists() {
            // It was replaced by another version since git started us; on Linux it is still to be had.
            program = format!("/proc/{}/exe", std::process::id()).into();
        }
        let program = program.to_str().context("our own program's path is not UTF-8")?;
        Ok(format!("exec '{}' --relay '{}'", program.replace('\'', r"'\''"), self.socket.display()))
    }

    /// After git has ended: why the relay stopped, if it was the relay that did.
    pub fn finish(self) -> anyhow::Result<Option<Stopped>> {
        // Where git never started the relay, the thread still waits for it.
        drop(UnixStream::connect(&self.socket));
        self.thread.join().map_err(|_| anyhow::anyhow!("the relay's thread failed"))?.or(Ok(None))
    }
}

/// Takes away the directories of helpers that were killed before their relay came, which it does at
/// once.
fn clear_old(place: &Path) {
    let Ok(entries) = std::fs::read_dir(place) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let socket = entry.path().join("s");
        let Ok(meta) = std::fs::symlink_metadata(&socket) else { continue };
        let age = meta.modified().ok().and_then(|made| made.elapsed().ok());
        // Another user's stays.
        if meta.file_type().is_socket() && age > Some(OLD) && std::fs::remove_file(&socket).is_ok()
        {
            std::fs::remove_dir(entry.path()).ok();
        }
    }
}

fn hand_over(
    mut stream: UnixStream,
    pipes: [OwnedFd; 2],
    replay: &[u8],
    limits: Limits,
) -> std::io::Result<Option<Stopped>> {
    let numbers = [limits.bytes, limits.silence.as_secs(), replay.len() as u64];
    let header: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
    let fds: Vec<BorrowedFd<'_>> = pipes.iter().map(OwnedFd::as_fd).collect();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(&stream, &[IoSlice::new(&header)], &mut ancillary, SendFlags::empty())?;
    // From here on the relay alone holds them, so that an end of file is seen.
    drop(pipes);
    stream.write_all(replay)?;
    let mut word = [0_u8; 1];
    Ok(match stream.read(&mut word)? {
        1 if word[0] == b'b' => Some(Stopped::TooMuch),
        1 if word[0] == b's' => Some(Stopped::Silence),
        _ => None,
    })
}

/// The relay process: replays, then copies both ways.
pub fn run(socket: &Path) -> anyhow::Result<()> {
    let mut stream = UnixStream::connect(socket).context("cannot reach the helper")?;
    let ([to_guest, from_guest], limits, replay) = take_over(&stream)?;
    let mut stdout = std::io::stdout().lock();
    let replayed = std::io::copy(&mut (&mut stream).take(replay), &mut stdout);
    let replayed = replayed.and_then(|_| stdout.flush());
    if let Err(error) = replayed {
        // After a dry run git is gone already. The service must still be told that nothing comes.
        anyhow::ensure!(error.kind() == std::io::ErrorKind::BrokenPipe, error);
    }
    let mut helper = stream.try_clone()?;
    thread::spawn(move || {
        // It says no more. Where it is gone, nobody checks what comes, or answers git.
        std::io::copy(&mut helper, &mut std::io::sink()).ok();
        std::process::exit(1);
    });
    let activity = Arc::new(Activity::default());
    let upward = Arc::clone(&activity);
    thread::spawn(move || {
        let mut pipe = std::fs::File::from(to_guest);
        let mut stdin = std::io::stdin().lock();
        let mut buffer = vec![0_u8; BUFFER];
        let mut sent = false;
        while let Ok(count) = stdin.read(&mut buffer)
            && count > 0
            && pipe.write_all(&buffer[..count]).is_ok()
        {
            sent = true;
            upward.touch();
        }
        if !sent {
            // A dry run sends nothing; a flush packet tells the service that this was meant.
            pipe.write_all(b"0000").ok();
        }
        // Dropping the pipe is the end of file that the service waits for.
    });
    let stopped = copy_down(from_guest, &mut stdout, limits, &activity)?;
    if let Some(stopped) = stopped {
        let word = if stopped == Stopped::TooMuch { b"b" } else { b"s" };
        stream.write_all(word).ok();
        std::process::exit(1);
    }
    // The thread above may still wait for git, which waits for us: end.
    std::process::exit(0);
}

/// The session's pipes, the limits, and how many bytes are to be replayed.
fn take_over(stream: &UnixStream) -> anyhow::Result<([OwnedFd; 2], Limits, u64)> {
    let mut header = [0_u8; 24];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(stream, &mut [IoSliceMut::new(&mut header)], &mut ancillary, RecvFlags::empty())?;
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    let fds: [OwnedFd; 2] =
        fds.try_into().map_err(|_| anyhow::anyhow!("the helper gave no session"))?;
    anyhow::ensure!(received.bytes == header.len(), "the helper gave no limits");
    let number = |at: usize| {
        let mut bytes = [0_u8; 8];
        bytes.copy_from_slice(&header[at..at + 8]);
        u64::from_be_bytes(bytes)
    };
    let limits = Limits { bytes: number(0), silence: Duration::from_secs(number(8)) };
    Ok((fds, limits, number(16)))
}

fn copy_down(
    from_guest: OwnedFd,
    stdout: &mut impl Write,
    limits: Limits,
    activity: &Activity,
) -> anyhow::Result<Option<Stopped>> {
    let mut pipe = std::fs::File::from(from_guest);
    let mut buffer = vec![0_u8; BUFFER];
    let mut left = limits.bytes;
    loop {
        if !wait_for_data(&pipe, limits.silence, activity)? {
            return Ok(Some(Stopped::Silence));
        }
        let count = pipe.read(&mut buffer)?;
        if count == 0 {
            return Ok(None);
        }
        let Some(rest) = left.checked_sub(count as u64) else {
            return Ok(Some(Stopped::TooMuch));
        };
        left = rest;
        // git closes its end when it has enough or has failed; either way it knows.
        if stdout.write_all(&buffer[..count]).and_then(|()| stdout.flush()).is_err() {
            return Ok(None);
        }
        activity.touch();
    }
}

fn wait_for_data(
    pipe: &std::fs::File,
    silence: Duration,
    activity: &Activity,
) -> anyhow::Result<bool> {
    loop {
        let left = silence.saturating_sub(activity.idle());
        if left.is_zero() {
            return Ok(false);
        }
        if readable_within(pipe, left)? {
            return Ok(true);
        }
    }
}

/// When a byte last went either way.
#[derive(Debug)]
struct Activity {
    started: Instant,
    last: AtomicU64,
}

impl Default for Activity {
    fn default() -> Self {
        Self { started: Instant::now(), last: AtomicU64::new(0) }
    }
}

impl Activity {
    fn touch(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    fn idle(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(last)
    }
}
