//! The guest of a lab: a home of its own behind a real sshd on the loopback, run as the user
//! `$AGENTVM_TEST_GUEST_USER` (through sudo) where that is set, else as the user of the tests.

use std::ffi::OsString;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::run::{Run, Words};

const SSHD: &str = "/usr/sbin/sshd";
/// The variable by which processes of a lab are found again.
pub(crate) const MARK: &str = "AGENTVM_LAB";

pub(crate) struct Guest {
    /// The guest user's own place: `home`, `bin` and what sshd needs.
    dir: PathBuf,
    /// The host's place for what sshd reads: its configuration and who may log in.
    ssh: PathBuf,
    pub(crate) user: String,
    /// Whether it is not the user of the tests.
    foreign: bool,
    port: u16,
    host_key: KeyPair,
    sshd: Option<Child>,
    /// How often sshd was started: each has a log of its own.
    starts: u32,
    forced: Option<String>,
}

impl Guest {
    /// Makes the home and the host key below `lab`; sshd does not run yet. `lab/ssh/id.pub` may
    /// log in.
    pub(crate) fn new(lab: &Path) -> Self {
        let named = std::env::var("AGENTVM_TEST_GUEST_USER").ok().filter(|name| !name.is_empty());
        let area = lab.join("guest");
        fs_err::create_dir(&area).unwrap();
        fs_err::set_permissions(&area, std::fs::Permissions::from_mode(0o1777)).unwrap();
        let guest = Self {
            dir: area.join("of the guest"),
            ssh: lab.join("ssh"),
            user: named.clone().unwrap_or_else(user_name),
            foreign: named.is_some(),
            port: 0,
            host_key: key_pair(1),
            sshd: None,
            starts: 0,
            forced: None,
        };
        let script =
            "umask 022 && mkdir \"$1\" && cd \"$1\" && mkdir home bin && umask 077 && cat >hostkey";
        guest
            .command("sh", ["-c", script, "sh", guest.path("")])
            .stdin(guest.host_key.0)
            .succeeds();
        guest
    }

    /// A path below the guest's place.
    fn path(&self, name: &str) -> &str {
        let path = if name.is_empty() { self.dir.clone() } else { self.dir.join(name) };
        // Leaked on purpose: a few bytes in a test.
        path.to_str().expect("lab paths are UTF-8").to_owned().leak()
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    /// A command as the guest user, not over ssh, in its home.
    pub(crate) fn command(&self, program: &str, args: impl Words) -> Run {
        let mut prefix: Vec<OsString> = Vec::new();
        if self.foreign {
            prefix.extend(["sudo", "-n", "-u", &self.user].map(OsString::from));
        }
        prefix.extend(["env", "-i"].map(OsString::from));
        for (name, value) in self.environment() {
            prefix.push(format!("{name}={value}").into());
        }
        // The lab's host directories may be closed to the guest user, so it changes there itself.
        prefix.extend(["sh", "-c", "cd \"$1\" && shift && exec \"$@\"", "sh"].map(OsString::from));
        prefix.push(if self.home().exists() { self.home().into() } else { "/".into() });
        Run::new(program, args, Path::new("/"))
            .through(prefix)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
    }

    fn environment(&self) -> Vec<(&str, String)> {
        let system = std::env::var("PATH").unwrap_or_default();
        // A directory of programs that the guest user can read.
        let git = std::env::var("AGENTVM_TEST_GUEST_GIT").unwrap_or_default();
        let git = if git.is_empty() { git } else { git + ":" };
        vec![
            ("HOME", self.path("home").to_owned()),
            // Fakes put into `bin` come first.
            ("PATH", format!("{}:{git}/usr/local/bin:/usr/bin:/bin:{system}", self.path("bin"))),
            ("GIT_CONFIG_NOSYSTEM", "1".to_owned()),
            (MARK, self.path("").to_owned()),
        ]
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn host_key(&self) -> &'static str {
        self.host_key.1
    }

    /// Whether the guest is another user than the host.
    pub(crate) fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// From now on every connection runs this script instead of what it asked for, with that in
    /// `SSH_ORIGINAL_COMMAND`: a guest that is not ours.
    pub(crate) fn force(&mut self, script: Option<&str>) {
        self.forced = script.map(|script| {
            let path = self.path("forced");
            self.write_program(path, script);
            path.to_owned()
        });
        self.stop();
        self.start();
    }

    /// Puts a program of that name in front of the guest's real one.
    pub(crate) fn fake(&self, name: &str, script: &str) {
        self.write_program(self.path(&format!("bin/{name}")), script);
    }

    fn write_program(&self, path: &str, script: &str) {
        self.command("sh", ["-c", "cat >\"$1\" && chmod 755 \"$1\"", "sh", path])
            .stdin(format!("#!/bin/sh\n{script}\n"))
            .succeeds();
    }

    /// Starts sshd, on the port it had before if there was one.
    pub(crate) fn start(&mut self) {
        assert!(self.sshd.is_none(), "sshd runs already");
        if rustix::process::geteuid().is_root() && !self.foreign {
            std::fs::create_dir_all("/run/sshd").ok();
        }
        // Another process may take a free port before sshd does.
        for _ in 0..20 {
            if self.port == 0 {
                self.port = free_port();
            }
            if self.try_start() {
                return;
            }
            self.stop();
            self.port = 0;
        }
        panic!("sshd does not start:\n{}", self.log());
    }

    fn try_start(&mut self) -> bool {
        self.starts += 1;
        let config = self.ssh.join("sshd_config");
        fs_err::write(&config, self.sshd_config()).unwrap();
        let script = "exec \"$1\" -D -e -f \"$2\" 2>\"$3\"";
        let mut command = Command::new(if self.foreign { "sudo" } else { "env" });
        if self.foreign {
            command.args(["-n", "-u", &self.user, "env"]);
        }
        command.args(["-i", "PATH=/usr/bin:/bin", "sh", "-c", script, "sh", SSHD]);
        command.arg(config).arg(self.log_file());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("sshd can be started");
        let deadline = Instant::now() + Duration::from_secs(20);
        let listening = loop {
            let log = self.log();
            if log.contains("Server listening") {
                break true;
            }
            if !matches!(child.try_wait(), Ok(None)) || Instant::now() > deadline {
                break false;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        self.sshd = Some(child);
        listening
    }

    fn sshd_config(&self) -> String {
        let set: Vec<String> =
            self.environment().iter().map(|(name, value)| format!("\"{name}={value}\"")).collect();
        let mut lines = vec![
            format!("ListenAddress 127.0.0.1:{}", self.port),
            format!("HostKey \"{}\"", self.path("hostkey")),
            format!("PidFile \"{}\"", self.pid_file().display()),
            format!("AuthorizedKeysFile \"{}\"", self.ssh.join("id.pub").display()),
            format!("SetEnv {}", set.join(" ")),
            "AcceptEnv LANG LC_* GIT_PROTOCOL".to_owned(),
            "Subsystem sftp internal-sftp".to_owned(),
            "StrictModes no".to_owned(),
            "UsePAM no".to_owned(),
            "PasswordAuthentication no".to_owned(),
            "KbdInteractiveAuthentication no".to_owned(),
            "PermitRootLogin yes".to_owned(),
            // Who offers every key of an agent is sent away.
            "MaxAuthTries 2".to_owned(),
            "MaxStartups 100".to_owned(),
            "MaxSessions 100".to_owned(),
        ];
        if let Some(script) = &self.forced {
            lines.push(format!("ForceCommand '{script}'"));
        }
        if punishes_sources() {
            // A killed session is part of these tests.
            lines.push("PerSourcePenalties no".to_owned());
        }
        lines.join("\n") + "\n"
    }

    fn log_file(&self) -> PathBuf {
        self.dir.join(format!("sshd.{}.log", self.starts))
    }

    fn pid_file(&self) -> PathBuf {
        self.dir.join(format!("sshd.{}.pid", self.starts))
    }

    /// What the sshd that runs has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Ends sshd, its sessions and all that they started.
    pub(crate) fn stop(&mut self) {
        let Some(mut sshd) = self.sshd.take() else { return };
        let pid = std::fs::read_to_string(self.pid_file()).unwrap_or_default();
        let mut doomed: Vec<String> = pid.trim().parse().map(family).unwrap_or_default();
        doomed.extend(self.processes());
        self.kill("KILL", &doomed);
        sshd.wait().ok();
    }

    /// The guest's processes that were started over ssh or by [`Guest::command`], by their mark.
    pub(crate) fn processes(&self) -> Vec<String> {
        let pattern = format!("{MARK}={}", self.path(""));
        // `env -i` around grep itself keeps it from finding itself.
        let script = "exec env -i PATH=/usr/bin:/bin grep -lzsxF \"$1\" /proc/[0-9]*/environ";
        let found = self.command("sh", ["-c", script, "sh", &pattern]).run().text();
        let pids = found.lines().filter_map(|line| line.split('/').nth(2).map(str::to_owned));
        let own = |pid: &String| Path::new("/proc").join(pid).exists();
        pids.filter(own).collect()
    }

    /// Sends a signal to processes of the guest user.
    pub(crate) fn kill(&self, signal: &str, pids: &[String]) {
        if !pids.is_empty() {
            let mut words: Vec<OsString> = vec!["-s".into(), signal.into()];
            words.extend(pids.iter().map(OsString::from));
            // Some have ended by themselves.
            self.command("kill", words).run();
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.stop();
        self.command("sh", ["-c", "chmod -R u+rwx \"$1\"; rm -rf \"$1\"", "sh", self.path("")])
            .in_dir("/")
            .within_seconds(600)
            .run();
    }
}

/// A private and a public key.
pub(crate) type KeyPair = (&'static str, &'static str);

/// One of two key pairs that all labs of this run share: making them takes longer than using them.
pub(crate) fn key_pair(which: usize) -> KeyPair {
    static PAIRS: OnceLock<[(String, String); 2]> = OnceLock::new();
    let pairs = PAIRS.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        ["one", "two"].map(|name| {
            let file = dir.path().join(name);
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(&file);
            assert!(keygen.status().expect("ssh-keygen runs").success());
            let read = |path: &Path| fs_err::read_to_string(path).unwrap();
            (read(&file), read(&file.with_extension("pub")).trim().to_owned())
        })
    });
    (&pairs[which].0, &pairs[which].1)
}

fn user_name() -> String {
    let output = Command::new("id").arg("-un").output().expect("id runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("the loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// OpenSSH 9.8 and later refuse a source for a while after failed sessions.
fn punishes_sources() -> bool {
    let output = Command::new("ssh").arg("-V").output().expect("ssh runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let version = text.strip_prefix("OpenSSH_").unwrap_or_default();
    let number: String = version.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    number.parse::<f64>().is_ok_and(|number| number > 9.75)
}

/// A process and its descendants.
fn family(root: u32) -> Vec<String> {
    let output = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output().expect("ps runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let pairs: Vec<(u32, u32)> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().filter_map(|word| word.parse().ok());
            Some((words.next()?, words.next()?))
        })
        .collect();
    let mut family = vec![root];
    let mut looked = 0;
    while looked < family.len() {
        let parent = family[looked];
        family.extend(pairs.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        looked += 1;
    }
    family.iter().map(ToString::to_string).collect()
}
