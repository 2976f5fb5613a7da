//! A laboratory for one test: a host with a home of its own, and a guest behind a real sshd.
//!
//! Nothing of the developer's machine reaches in (environment, git configuration, ssh keys) and
//! nothing stays behind: when a lab goes, its processes are ended, and one that the product left
//! behind on the host fails the test.

use std::cell::RefCell;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

mod guest;
mod repo;
mod round;
mod run;

use git_agent_vm::config::{Config, Setting};
use git_agent_vm::state;
use guest::{Guest, MARK, key_pair};
pub(crate) use repo::{Repo, Workspace};
pub(crate) use run::{Background, Ran, Run, Words, has_time_limit};

/// What is in `app`: main with README.md, and feature with feature.txt on top of it.
const APP: &str = "commit refs/heads/main
committer Host User <host@example.org> 1714564800 +0000
data 16
Change README.md
M 100644 inline README.md
data 4
app

commit refs/heads/feature
committer Host User <host@example.org> 1714564800 +0000
data 18
Change feature.txt
from refs/heads/main
M 100644 inline feature.txt
data 4
one

";
/// The configuration with these settings.
pub(crate) fn config(settings: &[(&str, &str)]) -> Config {
    let setting = |(key, value)| Setting { scope: "global", origin: "file:x", key, value };
    let settings: Vec<_> = settings.iter().copied().map(setting).collect();
    let (config, problems) = Config::lenient(&settings);
    assert_eq!(problems, []);
    config
}

/// The time of every commit that a test makes on the host.
const DATE: &str = "2024-05-01T12:00:00+00:00";

pub(crate) struct Lab {
    guest: Option<RefCell<Guest>>,
    home: PathBuf,
    dir: tempfile::TempDir,
}

impl Lab {
    /// A host with the repository `app` (branches main, checked out, and feature, enrolled), and a
    /// guest that answers.
    pub(crate) fn new() -> Self {
        let lab = Self::with_home("home");
        lab.make_app().enrol("feature");
        lab
    }

    /// The same with a home directory of that name, and no repository.
    pub(crate) fn with_home(name: &str) -> Self {
        let mut lab = Self::host_only(name);
        let ssh = lab.dir.path().join("ssh");
        fs_err::create_dir(&ssh).unwrap();
        let (private, public) = key_pair(0);
        state::write_private(&ssh.join("id"), private.as_bytes()).unwrap();
        fs_err::write(ssh.join("id.pub"), public).unwrap();
        let mut guest = Guest::new(lab.dir.path());
        guest.start();
        lab.guest = Some(RefCell::new(guest));
        lab.write_ssh_config();
        let settings = format!(
            "[agentvm]\n\tprovider = ssh\n\tsshHost = vm\n\tsshConfig = {}\n",
            ssh.join("config").display()
        );
        lab.add_to_git_config(&settings);
        lab
    }

    /// A host without a guest: what needs a VM fails at once.
    pub(crate) fn host_only(home: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("agentvm-test-").tempdir().unwrap();
        fs_err::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let home = dir.path().join("host").join(home);
        fs_err::create_dir_all(&home).unwrap();
        let bin = dir.path().join("bin");
        fs_err::create_dir(&bin).unwrap();
        for (name, built) in [
            ("git-agent-vm", env!("CARGO_BIN_EXE_git-agent-vm")),
            ("git-remote-agentvm", env!("CARGO_BIN_EXE_git-remote-agentvm")),
        ] {
            std::os::unix::fs::symlink(built, bin.join(name)).unwrap();
        }
        let lab = Self { guest: None, home, dir };
        lab.add_to_git_config(
            "[user]\n\tname = Host User\n\temail = host@example.org\n\
             [init]\n\tdefaultBranch = main\n[advice]\n\tdetachedHead = false\n\
             [agentvm]\n\tmount = false\n\
             [gc]\n\tautoDetach = false\n[maintenance]\n\tautoDetach = false\n",
        );
        lab
    }

    fn add_to_git_config(&self, text: &str) {
        let path = self.home.join(".gitconfig");
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        fs_err::write(path, old + text).unwrap();
    }

    fn write_ssh_config(&self) {
        let ssh = self.dir.path().join("ssh");
        let guest = self.guest().borrow();
        let config = format!(
            "Host vm\n HostName 127.0.0.1\n Port {}\n User {}\n IdentityFile \"{}\"\n \
             IdentitiesOnly yes\n IdentityAgent none\n UserKnownHostsFile \"{}\"\n",
            guest.port(),
            guest.user,
            ssh.join("id").display(),
            ssh.join("known_hosts").display(),
        );
        fs_err::write(ssh.join("config"), config).unwrap();
        let known = format!("[127.0.0.1]:{} {}\n", guest.port(), guest.host_key());
        fs_err::write(ssh.join("known_hosts"), known).unwrap();
    }

    /// Sets a key in the host user's `~/.gitconfig`.
    pub(crate) fn git_config(&self, key: &str, value: &str) {
        self.host("git", ["config", "--global", key, value]).in_dir(&self.home).succeeds();
    }

    /// Makes the repository `app` in the home directory.
    pub(crate) fn make_app(&self) -> Repo<'_> {
        let script = "git init -q app && cd app && git fast-import --quiet && git checkout -q main";
        self.host("sh", ["-c", script]).stdin(APP).succeeds();
        self.app()
    }

    /// An empty repository below the home directory.
    pub(crate) fn init(&self, path: &str) -> Repo<'_> {
        let dir = self.home.join(path);
        self.host("git", ["init", "-q", dir.to_str().unwrap()]).in_dir(&self.home).succeeds();
        self.repo(path)
    }

    /// A repository below the home directory.
    pub(crate) fn repo(&self, path: &str) -> Repo<'_> {
        Repo { lab: self, dir: self.home.join(path) }
    }

    pub(crate) fn app(&self) -> Repo<'_> {
        self.repo("app")
    }

    /// Puts a program in front of the host's real one of that name.
    pub(crate) fn put_program(&self, name: &str, script: &str) {
        let path = self.path().join("bin").join(name);
        // It may be a link to the real one.
        std::fs::remove_file(&path).ok();
        fs_err::write(&path, script).unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A program on the host, in the home directory.
    pub(crate) fn host(&self, program: &str, args: impl Words) -> Run {
        Run::new(program, args, &self.home)
            .env("HOME", &self.home)
            .env("PATH", self.host_path())
            .env("LANG", "C.UTF-8")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_DATE", DATE)
            .env("GIT_COMMITTER_DATE", DATE)
            .env("GIT_AGENT_VM_TRACE", self.trace_file())
            .env(MARK, self.dir.path())
    }

    /// Our programs, then the git of `$AGENTVM_TEST_GIT` (a directory of programs) where that is
    /// set, then the system's.
    fn host_path(&self) -> std::ffi::OsString {
        let mut dirs = vec![self.dir.path().join("bin")];
        dirs.extend(
            std::env::var_os("AGENTVM_TEST_GIT").filter(|dir| !dir.is_empty()).map(PathBuf::from),
        );
        dirs.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        std::env::join_paths(dirs).expect("no directory has a colon")
    }

    /// git in the repository `app`.
    pub(crate) fn git(&self, args: impl Words) -> Run {
        self.app().git(args)
    }

    /// A verb of `git agent-vm` in the repository `app`.
    pub(crate) fn agent_vm(&self, args: impl Words) -> Run {
        let mut words = vec!["agent-vm".into()];
        words.extend(args.words());
        self.git(words)
    }

    /// A shell script on the host, in the repository `app`.
    pub(crate) fn sh(&self, script: &str) -> Run {
        self.host("sh", ["-c", script]).in_dir(self.app().path())
    }

    /// The same on a terminal of its own: what it prints arrives on stdout.
    pub(crate) fn on_terminal(&self, script: &str) -> Run {
        self.host("script", ["-qefc", script, "/dev/null"]).in_dir(self.app().path())
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// The lab's own directory, above the host's home and the guest.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    fn guest(&self) -> &RefCell<Guest> {
        self.guest.as_ref().expect("this lab has a guest")
    }

    /// Whether the guest is another user than the host.
    pub(crate) fn guest_is_foreign(&self) -> bool {
        self.guest().borrow().is_foreign()
    }

    /// Whether a terminal can be had there by ssh alone. An sshd of an ordinary user cannot give
    /// one where `/dev/pts` is mounted without the group `tty`, as in some containers.
    pub(crate) fn guest_has_terminals(&self) -> bool {
        let config = self.dir.path().join("ssh/config");
        let words = ["-F", config.to_str().unwrap(), "-tt", "vm", "true"];
        let has = self.host("ssh", words).run().code == 0;
        if !has {
            eprintln!("left out: sshd gives no terminals here");
        }
        has
    }

    pub(crate) fn guest_home(&self) -> PathBuf {
        self.guest().borrow().home()
    }

    /// A program as the guest user, in its home, not through our ssh.
    pub(crate) fn guest_command(&self, program: &str, args: impl Words) -> Run {
        self.guest().borrow().command(program, args)
    }

    /// A shell script as the guest user, in its home.
    pub(crate) fn guest_sh(&self, script: &str) -> Run {
        self.guest_command("sh", ["-c", script])
    }

    /// A workspace by its directory's name.
    pub(crate) fn workspace(&self, name: &str) -> Workspace<'_> {
        Workspace { lab: self, name: name.to_owned() }
    }

    /// Pushes feature and gives its workspace.
    pub(crate) fn pushed_feature(&self) -> Workspace<'_> {
        self.git("push -q agentvm::feature").succeeds();
        self.workspace("app-feature")
    }

    /// Takes all workspaces away, behind our back.
    pub(crate) fn forget_workspaces(&self) {
        self.guest_sh("chmod -R u+rwx workspace; rm -rf workspace").succeeds();
    }

    /// The directories in `~/workspace`, hidden ones aside.
    pub(crate) fn workspaces(&self) -> Vec<String> {
        let listed = self.guest_sh("ls workspace 2>/dev/null; true").succeeds().text();
        listed.lines().map(str::to_owned).collect()
    }

    /// Puts a program in front of the guest's real one of that name.
    pub(crate) fn guest_fake(&self, name: &str, script: &str) {
        self.guest().borrow().fake(name, script);
    }

    /// Replaces the guest by one that answers every connection with this script.
    pub(crate) fn hostile_guest(&self, script: &str) {
        self.guest().borrow_mut().force(Some(script));
        self.write_ssh_config();
    }

    pub(crate) fn stop_sshd(&self) {
        self.guest().borrow_mut().stop();
    }

    pub(crate) fn start_sshd(&self) {
        self.guest().borrow_mut().start();
        self.write_ssh_config();
    }

    /// What the sshd that runs has logged.
    pub(crate) fn sshd_log(&self) -> String {
        self.guest().borrow().log()
    }

    /// The guest user's processes, sshd's own aside.
    pub(crate) fn guest_processes(&self) -> Vec<String> {
        self.guest().borrow().processes()
    }

    pub(crate) fn guest_kill(&self, signal: &str, pids: &[String]) {
        self.guest().borrow().kill(signal, pids);
    }

    /// The guest as the library reaches it, by a connection of its own. The library says nothing then.
    pub(crate) fn library_guest(&self) -> git_agent_vm::guest::Guest {
        let dir = self.path().join("endpoint");
        fs_err::create_dir_all(&dir).unwrap();
        let endpoint = git_agent_vm::ssh::Endpoint {
            dir,
            destination: "vm".into(),
            port: None,
            identity: None,
            pinned: None,
            config: Some(self.path().join("ssh/config")),
        };
        git_agent_vm::ui::set_quiet(true);
        git_agent_vm::guest::Guest::new(endpoint, "VM 'agent-vm'".into())
    }

    /// Kills all of the guest's processes. One that is just becoming another program shows no
    /// environment, so it takes a second look.
    pub(crate) fn kill_guest(&self) {
        let mut quiet = 0;
        while quiet < 2 {
            let found = self.guest_processes();
            self.guest_kill("KILL", &found);
            quiet = if found.is_empty() { quiet + 1 } else { 0 };
        }
    }

    /// What is mounted below the lab's directory, innermost last: `PATH KIND SOURCE` of each.
    pub(crate) fn mounts(&self) -> Vec<(PathBuf, String)> {
        let table = fs_err::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mounts = table.lines().filter_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let path = PathBuf::from(unescape(words.get(4)?));
            path.starts_with(self.dir.path()).then(|| (path, line.to_owned()))
        });
        mounts.collect()
    }

    /// Takes every mount below the lab's directory down, as a last resort. False where one stays.
    fn unmount_all(&self) -> bool {
        for lazily in [false, true] {
            for (path, _) in self.mounts().iter().rev() {
                let words = if lazily { vec!["-u", "-z"] } else { vec!["-u"] };
                std::process::Command::new("fusermount3").args(words).arg(path).output().ok();
            }
        }
        self.mounts().is_empty()
    }

    fn trace_file(&self) -> PathBuf {
        self.dir.path().join("trace")
    }

    /// The commands that the product has run so far, a line each.
    pub(crate) fn trace(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.trace_file()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// How many ssh sessions `action` opens.
    pub(crate) fn ssh_sessions_of(&self, action: impl FnOnce()) -> usize {
        let before = self.trace().len();
        action();
        let control = |line: &&String| !line.contains(" -O ");
        let trace = self.trace();
        trace[before..].iter().filter(|line| line.contains("run: ssh ")).filter(control).count()
    }

    /// Processes of this lab on the host: `PID COMMAND` lines.
    pub(crate) fn host_processes(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let dir = entry.path();
            let marked = std::fs::read(dir.join("environ")).is_ok_and(|environ| {
                let mark = format!("{MARK}={}", self.dir.path().display()).into_bytes();
                environ.split(|byte| *byte == 0).any(|entry| entry == mark)
            });
            let inside = std::fs::read_link(dir.join("cwd"))
                .is_ok_and(|cwd| cwd.starts_with(self.dir.path().join("host")));
            let words = std::fs::read(dir.join("cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words).replace('\0', " ");
            // limactl and QEMU get an environment of their own, and are told paths.
            let named = words.contains(&*self.home.to_string_lossy());
            if (marked || inside || named) && !words.is_empty() {
                found.push(format!("{} {words}", entry.file_name().display()));
            }
        }
        found
    }

    /// Waits until something is so, and fails if it does not come about.
    pub(crate) fn wait_until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition(self) {
            assert!(Instant::now() < deadline, "waited in vain until {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Without sshd, our ssh masters end by themselves.
        if let Some(guest) = &self.guest {
            guest.borrow_mut().stop();
        }
        // Nothing may be deleted through a mount, so the directory stays where one does.
        let unmounted = self.unmount_all();
        self.dir.disable_cleanup(!unmounted);
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut left = self.host_processes();
        while !left.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
            left = self.host_processes();
        }
        for line in &left {
            let pid = line.split(' ').next().and_then(|pid| pid.parse().ok());
            if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
            }
        }
        assert!(unmounted || std::thread::panicking(), "left mounted: {:#?}", self.mounts());
        assert!(left.is_empty() || std::thread::panicking(), "processes left behind: {left:#?}");
    }
}

/// Takes the octal escapes of `/proc/self/mountinfo` back.
fn unescape(word: &str) -> std::ffi::OsString {
    use std::os::unix::ffi::OsStringExt as _;
    let mut out = Vec::new();
    let mut rest = word.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(value) if byte == b'\\' => {
                out.push(value);
                rest = &tail[3..];
            }
            _ => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    std::ffi::OsString::from_vec(out)
}
