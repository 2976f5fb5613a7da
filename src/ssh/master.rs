//! Whether a shared connection is alive at this end, found out without a process.
//!
//! A master greets whoever connects to its socket (OpenSSH's `PROTOCOL.mux`). One that was stopped
//! takes the connection and says nothing, and ssh would wait for it without a limit.

use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::io::{Errno, FdFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

use super::{Endpoint, MASTER_SOCKET};

impl Endpoint {
    /// Takes the socket away where nobody listens any more, or whoever does says nothing for
    /// `patience`.
    pub fn leave_mute_master(&self, patience: Duration) {
        if self.has_master() && is_mute(&self.dir, patience) {
            self.forget_master();
        }
    }
}

/// What cannot be told counts as alive: the session's own limit is left.
fn is_mute(dir: &Path, patience: Duration) -> bool {
    match connect(dir) {
        Ok(mut socket) => {
            let limited = socket.set_read_timeout(Some(patience)).is_ok();
            // A read with a limit of time ends with any signal, which says nothing about the master.
            limited && socket.read_exact(&mut [0]).is_err()
        }
        // Nobody, or one that lets others queue up.
        Err(Errno::CONNREFUSED | Errno::AGAIN) => true,
        Err(_) => false,
    }
}

/// Does not wait for a place in the queue, as `UnixStream::connect` would.
fn connect(dir: &Path) -> Result<UnixStream, Errno> {
    // The socket's whole path may be longer than an address can be.
    let opened = std::fs::File::open(dir).map_err(|_| Errno::NOENT)?;
    let near = format!("/proc/self/fd/{}/{MASTER_SOCKET}", opened.as_raw_fd());
    let address =
        SocketAddrUnix::new(dir.join(MASTER_SOCKET)).or_else(|_| SocketAddrUnix::new(near))?;
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    rustix::net::connect(&socket, &address)?;
    rustix::io::ioctl_fionbio(&socket, false)?;
    Ok(socket.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::process::Cmd;
    use std::io::Write as _;
    use std::os::unix::net::UnixListener;

    #[test]
    fn one_that_greets_is_alive_and_others_are_not() {
        let place = tempfile::tempdir().unwrap();
        // Longer than an address.
        let dir = place.path().join("x".repeat(120));
        std::fs::create_dir(&dir).unwrap();
        let is_mute = || is_mute(&dir, Duration::from_millis(200));
        assert!(!is_mute(), "there is none");
        let opened = std::fs::File::open(&dir).unwrap();
        let near = format!("/proc/self/fd/{}/{MASTER_SOCKET}", opened.as_raw_fd());
        let listener = UnixListener::bind(near).unwrap();
        assert!(is_mute(), "it says nothing");
        let greeting = std::thread::spawn(move || {
            for stream in listener.incoming().take(2) {
                stream.unwrap().write_all(b"hello").ok();
            }
            listener
        });
        assert!(!is_mute(), "it greets");
        drop(greeting.join().unwrap());
        assert!(is_mute(), "it is gone");
    }

    #[test]
    fn one_that_greets_is_waited_for_though_we_were_stopped_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join(MASTER_SOCKET)).unwrap();
        let stopping = "sleep 0.2; kill -STOP $PPID; kill -CONT $PPID; sleep 0.2";
        let mut stopper = Cmd::new("sh").args(["-c", stopping]).spawn().unwrap();
        let greeting = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            assert!(stopper.wait().unwrap().success());
            stream.write_all(b"hello").ok();
        });
        assert!(!is_mute(dir.path(), Duration::from_secs(20)));
        greeting.join().unwrap();
    }
}
