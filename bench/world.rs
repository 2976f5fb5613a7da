//! Two repositories with the same history on the host: one whose remote is ours, one whose remote
//! is an ordinary repository on the same guest, over plain ssh.

use std::cell::Cell;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use crate::measure;
use crate::support::{Lab, Repo, Run};

/// Files in the repository, and commits in its history.
const FILES: usize = 1000;
const COMMITS: usize = 200;

pub(crate) struct World {
    pub(crate) lab: Lab,
    /// A configuration by which plain ssh reaches `vm`.
    config: PathBuf,
    host: String,
    /// The guest user's home there, which for a lab is not where ssh begins.
    home: String,
    real: bool,
    commits: Cell<usize>,
}

/// Whether there is a master connection when a command begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connection {
    Warm,
    Cold,
}

impl World {
    pub(crate) fn loopback() -> Self {
        let lab = Lab::with_home("home");
        let config = lab.path().join("ssh/config");
        Self::new(lab, config, "vm".into(), false)
    }

    pub(crate) fn real_vm() -> Self {
        let lab = Lab::host_only("home");
        let image = std::env::var("AGENTVM_TEST_IMAGE").expect("AGENTVM_TEST_IMAGE names an image");
        lab.git_config("agentvm.image", &image);
        let start = ["agent-vm", "start", "--cpus", "2", "--memory", "2GiB", "--disk", "20GiB"];
        lab.init("first");
        lab.host("git", start).in_dir(lab.home().join("first")).within_seconds(900).succeeds();
        let printed = lab.host("git", "agent-vm ssh-config").succeeds();
        let config = lab.path().join("ssh-config");
        // Connections of its own, not over our master.
        let text: Vec<String> = printed
            .text()
            .lines()
            .filter(|line| !line.trim_start().starts_with("Control"))
            .map(str::to_owned)
            .collect();
        std::fs::write(&config, text.join("\n") + "\n").unwrap();
        let host = text
            .iter()
            .find_map(|line| line.trim().strip_prefix("Host "))
            .expect("ssh-config names a host")
            .to_owned();
        Self::new(lab, config, host, true)
    }

    fn new(lab: Lab, config: PathBuf, host: String, real: bool) -> Self {
        let home = String::new();
        let mut world = Self { lab, config, host, home, real, commits: Cell::new(0) };
        let output = world.ssh(Connection::Warm, "echo \"$HOME\"").output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().clone_into(&mut world.home);
        let app = world.lab.init("app");
        app.git("fast-import --quiet").stdin(history()).succeeds();
        app.git("checkout -q feature").succeeds();
        app.enrol("feature");
        world.lab.host("cp", "-a app plain").succeeds();
        world.guest("git init -q -b feature plain && git -C plain config receive.denyCurrentBranch updateInstead");
        let plain = world.plain();
        plain
            .git(["remote", "add", "vm", &format!("{}:{}/plain", world.host, world.home)])
            .succeeds();
        measure::run(world.plain_git("push -q vm feature", Connection::Warm));
        measure::run(world.git("push -q agentvm::feature"));
        world
    }

    /// The repository whose remote is ours.
    pub(crate) fn app(&self) -> Repo<'_> {
        self.lab.app()
    }

    /// The one whose remote is plain ssh.
    pub(crate) fn plain(&self) -> Repo<'_> {
        self.lab.repo("plain")
    }

    /// A new commit on the host: one file of the thousand changes.
    pub(crate) fn commit(&self, repo: &Repo) {
        let number = self.commits.get() + 1;
        self.commits.set(number);
        repo.commit(&path_of(number % FILES), format!("commit {number}\n").repeat(50));
    }

    /// The same in a repository of the guest.
    pub(crate) fn guest_commit(&self, dir: &str) {
        let number = self.commits.get() + 1;
        self.commits.set(number);
        let path = path_of(number % FILES);
        self.guest(&format!(
            "cd {dir} && date +%N-{number} >{path} && git -c user.name=A -c user.email=a@b commit -qam {number}"
        ));
    }

    /// A shell script in the guest's home, over plain ssh.
    pub(crate) fn guest(&self, script: &str) {
        measure::run(self.ssh(Connection::Warm, script));
    }

    /// git with our remote.
    pub(crate) fn git(&self, args: &str) -> Command {
        timed(&self.app().git(args))
    }

    pub(crate) fn agent_vm(&self, args: &str) -> Command {
        timed(&self.lab.agent_vm(args))
    }

    /// git with the plain remote.
    pub(crate) fn plain_git(&self, args: &str, connection: Connection) -> Command {
        let words: Vec<String> = self
            .ssh_words(connection)
            .iter()
            .map(|word| format!("'{}'", word.to_string_lossy()))
            .collect();
        timed(&self.plain().git(args).env("GIT_SSH_COMMAND", words.join(" ")))
    }

    /// Plain ssh: a shell script in the guest's home.
    pub(crate) fn ssh(&self, connection: Connection, script: &str) -> Command {
        let mut words = self.ssh_words(connection);
        words.extend([OsString::from(&self.host), format!("cd && {script}").into()]);
        words.remove(0);
        timed(&self.lab.host("ssh", words))
    }

    fn ssh_words(&self, connection: Connection) -> Vec<OsString> {
        let socket = self.lab.path().join("plain-master");
        let mut words: Vec<OsString> = vec!["ssh".into(), "-F".into(), self.config.clone().into()];
        if connection == Connection::Warm {
            words.extend(["-oControlMaster=auto".into(), "-oControlPersist=60".into()]);
            words.push(format!("-oControlPath={}", socket.display()).into());
        }
        words
    }

    /// Ends our master connection, as if a minute had gone by.
    pub(crate) fn end_our_master(&self) {
        let state = self.lab.home().join(".local/state/git-agent-vm");
        let script = "find \"$1\" -name master -type s | while read -r socket; do
            ssh -F none -oControlPath=\"$socket\" -O exit x 2>/dev/null
            while [ -S \"$socket\" ]; do sleep 0.01; done; done";
        let words = ["-c", script, "sh", state.to_str().unwrap()];
        self.lab.host("sh", words).succeeds();
    }

    pub(crate) fn before(&self, connection: Connection) {
        if connection == Connection::Cold {
            self.end_our_master();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.lab.host("ssh", self.exit_words()).run();
        if self.real {
            let destroy = self.lab.host("git", "agent-vm destroy --discard=agent-vm");
            destroy.in_dir(self.app().path()).within_seconds(300).run();
        }
    }
}

impl World {
    fn exit_words(&self) -> Vec<OsString> {
        let mut words = self.ssh_words(Connection::Warm);
        words.remove(0);
        words.extend(["-O".into(), "exit".into(), OsString::from(&self.host)]);
        words
    }
}

fn timed(run: &Run) -> Command {
    run.command(Vec::new())
}

fn path_of(number: usize) -> String {
    format!("dir{}/file{number}", number % 50)
}

/// For git fast-import: a thousand files, then commits that change one each.
fn history() -> String {
    let mut text = String::new();
    for commit in 0..COMMITS {
        let message = format!("commit {commit}");
        text.push_str(&format!(
            "commit refs/heads/feature\ncommitter H <h@example.org> {} +0000\ndata {}\n{message}\n",
            1_714_564_800 + commit,
            message.len()
        ));
        let files = if commit == 0 { 0..FILES } else { commit..commit + 1 };
        for file in files {
            let body = format!("line of {file} in {commit}\n").repeat(60);
            text.push_str(&format!(
                "M 100644 inline {}\ndata {}\n{body}\n",
                path_of(file),
                body.len()
            ));
        }
    }
    text + "reset refs/heads/main\nfrom refs/heads/feature\n\n"
}
