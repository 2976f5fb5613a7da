//! One way to a VM: where it is, whose key it must show, and the shared master connection.
//!
//! Knows how to run one command over ssh, safely: never the user's own ssh configuration, no
//! forwarding of anything, the host key pinned, a limit on every wait. Knows nothing of what runs
//! over it.
//!
//! ssh runs inside the endpoint's own directory and gets short relative paths from there. So no
//! byte of a home directory's name (spaces, `%`, `"`) meets ssh's quoting rules, and a socket's
//! path never gets too long.

use std::path::PathBuf;
use std::time::Duration;

use crate::process::Cmd;

mod config_file;
mod master;

/// The master connection's socket, in the endpoint's directory.
pub const MASTER_SOCKET: &str = "master";
/// How long an idle master lives, in seconds.
const MASTER_LIVES: u32 = 60;
/// The limit for TCP and the key exchange of a fresh connection, in seconds. An emulated guest
/// under load needs several.
const CONNECT_TIMEOUT: u32 = 20;

/// How to reach a VM by ssh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where ssh runs; a private directory of ours that holds the files named here and the socket.
    pub dir: PathBuf,
    /// `USER@HOST`, or a name in `config`. Never begins with `-`.
    pub destination: String,
    /// The port, where it is not the configuration's or 22.
    pub port: Option<u16>,
    /// The private key's name in `dir`; no other key is offered then, and no agent asked.
    pub identity: Option<String>,
    /// A pinned host key: the known-hosts file's name in `dir`, and the alias in it.
    pub pinned: Option<(String, String)>,
    /// An ssh configuration file to read instead of the user's (absolute).
    pub config: Option<PathBuf>,
}

/// Whether the command gets a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tty {
    /// None: bytes pass exactly.
    No,
    /// One: for shells and full-screen programs.
    Yes,
}

/// Whether the connection goes over the shared master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Master {
    /// Use it, or become it.
    Shared,
    /// A connection of its own, where none must be left.
    Never,
}

impl Endpoint {
    /// ssh, ready to run `remote` (a command line for the login shell there).
    #[must_use]
    pub fn command(&self, remote: &str, tty: Tty, master: Master) -> Cmd {
        self.base(master)
            .arg(if tty == Tty::Yes { "-tt" } else { "-T" })
            .arg("--")
            .arg(&self.destination)
            .arg(remote)
    }

    /// ssh to a guest that may be booting still: on a connection of its own that is soon given up,
    /// since an attempt made before the guest has a network may hang for half a minute.
    #[must_use]
    pub fn probe(&self, remote: &str) -> Cmd {
        // The first value of an option is the one that counts.
        self.with_options(Master::Never, &["ConnectTimeout=2"]).args([
            "-T",
            "--",
            &self.destination,
            remote,
        ])
    }

    /// Asks a live master to end. A hanging one is ended by the limit of time.
    pub fn close_master(&self) {
        if self.has_master() {
            let asked = self
                .base(Master::Shared)
                .args(["-O", "exit", "--", &self.destination])
                .time_limit(Duration::from_secs(3))
                .output();
            if asked.is_err() {
                self.forget_master();
            }
        }
    }

    /// Whether there is a socket, of a live or a dead master.
    #[must_use]
    pub fn has_master(&self) -> bool {
        self.dir.join(MASTER_SOCKET).exists()
    }

    /// Takes a master's socket away, so that the next command makes a new one. A master that
    /// merely hung ends on its own when its last session does.
    pub fn forget_master(&self) {
        // Nothing to take away is as good.
        std::fs::remove_file(self.dir.join(MASTER_SOCKET)).ok();
    }

    /// The options that a command of ours always has.
    fn base(&self, master: Master) -> Cmd {
        self.with_options(master, &[])
    }

    fn with_options(&self, master: Master, first: &[&str]) -> Cmd {
        let mut cmd = Cmd::new("ssh").current_dir(&self.dir).env("LC_ALL", "C");
        cmd = match &self.config {
            Some(file) => cmd.arg("-F").arg(file),
            None => cmd.args(["-F", "none"]),
        };
        for option in first {
            cmd = cmd.args(["-o", option]);
        }
        for option in [
            "BatchMode=yes",
            "CheckHostIP=no",
            "ClearAllForwardings=yes",
            "EscapeChar=none",
            "ForwardAgent=no",
            "ForwardX11=no",
            "GlobalKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "NoHostAuthenticationForLocalhost=no",
            "PermitLocalCommand=no",
            "RemoteCommand=none",
            "ServerAliveCountMax=3",
            "ServerAliveInterval=10",
            "SessionType=default",
            "StdinNull=no",
            "ForkAfterAuthentication=no",
            "StrictHostKeyChecking=yes",
            "Tunnel=no",
            "UpdateHostKeys=no",
            "VerifyHostKeyDNS=no",
        ] {
            cmd = cmd.args(["-o", option]);
        }
        cmd = cmd.args(["-o", &format!("ConnectTimeout={CONNECT_TIMEOUT}")]);
        if let Some(port) = self.port {
            cmd = cmd.args(["-p", &port.to_string()]);
        }
        if let Some(identity) = &self.identity {
            cmd = cmd.args(["-o", &format!("IdentityFile={identity}")]);
            cmd = cmd.args(["-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"]);
            cmd = cmd.env_remove("SSH_AUTH_SOCK");
        }
        if let Some((file, alias)) = &self.pinned {
            cmd = cmd.args(["-o", &format!("UserKnownHostsFile={file}")]);
            cmd = cmd.args(["-o", &format!("HostKeyAlias={alias}")]);
        }
        match master {
            Master::Shared => cmd
                .args(["-o", "ControlMaster=auto"])
                .args(["-o", &format!("ControlPath={MASTER_SOCKET}")])
                .args(["-o", &format!("ControlPersist={MASTER_LIVES}")]),
            Master::Never => cmd.args(["-o", "ControlMaster=no", "-o", "ControlPath=none"]),
        }
    }
}
