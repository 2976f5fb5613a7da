//! The same command of git on a workspace and on an ordinary repository over ssh, side by side.
//!
//! Three hosts start alike: one has `agentvm::feature` as its remote, one `agentvm://VM/WORKSPACE`,
//! one a repository with `receive.denyCurrentBranch = updateInstead` behind the same sshd. A command
//! runs on each, and its exit code, what it prints, and both repositories afterwards must agree.
//! Where we differ on purpose, the test says so.

use crate::support::{Lab, Ran, Repo, Run, Words, Workspace};

mod archive;
mod clone;
mod fetch;
mod formats;
mod leases;
mod ls_remote;
mod pull;
mod push;
mod push_default;
mod refused;
mod settings;
mod shallow;
mod tags;
mod transport;

/// The hosts and their far sides, all in one lab.
pub(crate) struct Sides {
    lab: Lab,
    ours: Vec<&'static str>,
}

/// One of them: a repository on the host, and the one behind its remote.
pub(crate) struct Side<'a> {
    lab: &'a Lab,
    name: &'static str,
}

/// The host whose remote is an ordinary repository.
const PLAIN: &str = "plain";

impl Sides {
    /// `agentvm::feature` and an ordinary, empty repository; nothing was pushed yet.
    pub(crate) fn new() -> Self {
        let sides = Self { lab: Lab::new(), ours: vec!["app"] };
        sides.lab.host("cp", "-a app plain").succeeds();
        sides.make_far();
        sides.plain().enrol();
        sides
    }

    /// All three, after feature was pushed.
    pub(crate) fn pushed() -> Self {
        Self::pushed_with("")
    }

    /// The same, after a script has run in the repository that all of them start from.
    pub(crate) fn pushed_with(script: &str) -> Self {
        let sides = Self { lab: Lab::new(), ours: vec!["app", "full"] };
        sides.lab.sh(script).succeeds();
        sides.lab.host("sh", ["-c", "cp -a app full && cp -a app plain"]).succeeds();
        sides.make_far();
        sides.plain().enrol();
        for name in ["app", "full"] {
            sides.lab.repo(name).git("push -q agentvm::feature").succeeds();
        }
        sides.plain().git("push -q URL refs/heads/feature").succeeds();
        sides.each(|side| drop(side.git("remote add vm URL").succeeds()));
        sides
    }

    fn make_far(&self) {
        let script = "mkdir -p workspace && cd workspace && git init -q -b feature plain &&
            printf '[receive]\n\tdenyCurrentBranch = updateInstead\n\tadvertisePushOptions = true
            \tshallowUpdate = true\n' >>plain/.git/config";
        self.lab.guest_sh(script).succeeds();
    }

    pub(crate) fn lab(&self) -> &Lab {
        &self.lab
    }

    pub(crate) fn plain(&self) -> Side<'_> {
        Side { lab: &self.lab, name: PLAIN }
    }

    pub(crate) fn ours(&self) -> impl Iterator<Item = Side<'_>> {
        self.ours.iter().map(|name| Side { lab: &self.lab, name })
    }

    pub(crate) fn each(&self, action: impl Fn(&Side<'_>)) {
        self.ours().for_each(|side| action(&side));
        action(&self.plain());
    }

    /// A shell script in every host repository; `URL` is its remote's.
    pub(crate) fn sh(&self, script: &str) {
        self.each(|side| drop(side.sh(script).succeeds()));
    }

    /// A shell script in every far repository, with the same author and time on each.
    pub(crate) fn far_sh(&self, script: &str) {
        self.each(|side| side.far_sh(script));
    }

    /// Runs git on every side. `URL` in its words is the side's own.
    #[must_use = "say .same(), or how the sides differ"]
    pub(crate) fn git(&self, words: impl Words) -> Both {
        let words = words.words();
        self.run(|side| side.git(words.clone()))
    }

    /// Runs something on every side.
    #[must_use = "say .same(), or how the sides differ"]
    pub(crate) fn run(&self, command: impl Fn(&Side<'_>) -> Run) -> Both {
        let look = |side: Side<'_>| {
            let ran = command(&side).run();
            Seen::of(&side, ran)
        };
        Both { ours: self.ours().map(look).collect(), plain: look(self.plain()) }
    }
}

impl<'a> Side<'a> {
    pub(crate) fn is_ours(&self) -> bool {
        self.name != PLAIN
    }

    pub(crate) fn url(&self) -> String {
        match self.name {
            "app" => "agentvm::feature".to_owned(),
            "full" => "agentvm://agent-vm/full-feature".to_owned(),
            _ => "ssh://vm/~/workspace/plain".to_owned(),
        }
    }

    pub(crate) fn repo(&self) -> Repo<'a> {
        self.lab.repo(self.name)
    }

    pub(crate) fn far(&self) -> Workspace<'a> {
        self.lab.workspace(&match self.name {
            PLAIN => PLAIN.to_owned(),
            name => format!("{name}-feature"),
        })
    }

    /// A program in the host's repository. Only the plain side is told how ssh gets there.
    fn host(&self, program: &str, words: impl Words) -> Run {
        let url = self.url();
        let mut words = words.words();
        for word in &mut words {
            *word = word.to_str().expect("words of tests are UTF-8").replace("URL", &url).into();
        }
        let run = self.lab.host(program, words).in_dir(self.repo().path());
        if self.is_ours() { run } else { run.env("GIT_SSH_COMMAND", self.ssh()) }
    }

    /// The ssh command that reaches the guest without our help.
    pub(crate) fn ssh(&self) -> String {
        let dir = self.lab.path().join("ssh");
        let master = "-o ControlMaster=auto -o ControlPersist=20 -o ControlPath";
        format!("ssh -F '{0}/config' {master}='{0}/%C'", dir.display())
    }

    pub(crate) fn git(&self, words: impl Words) -> Run {
        self.host("git", words)
    }

    pub(crate) fn sh(&self, script: &str) -> Run {
        self.host("sh", ["-c", script])
    }

    /// As `start` and the first push do it for a workspace.
    fn enrol(&self) {
        self.git("config remote.URL.push refs/heads/feature:refs/heads/feature").succeeds();
    }

    pub(crate) fn far_sh(&self, script: &str) {
        let same = "export GIT_AUTHOR_NAME=Agent GIT_AUTHOR_EMAIL=agent@example.org
            export GIT_COMMITTER_NAME=Agent GIT_COMMITTER_EMAIL=agent@example.org
            export GIT_AUTHOR_DATE='2024-05-02T12:00:00+00:00'
            export GIT_COMMITTER_DATE=\"$GIT_AUTHOR_DATE\"";
        self.far().sh(&format!("{same}\n{script}")).succeeds();
    }

    /// Everything of the host's repository that a command may change.
    fn host_state(&self) -> String {
        let script = "git status --porcelain=v2 --branch -uall --ignored
            git for-each-ref | grep -v refs/agentvm/
            cat .git/shallow 2>/dev/null; sort .git/FETCH_HEAD 2>/dev/null
            sed -n '/^\\[/h; G; /\\n\\[branch /P' .git/config";
        self.normal(&self.sh(script).run().text())
    }

    /// Everything of the far repository that a push may change. What we add lies elsewhere.
    fn far_state(&self) -> String {
        let script = "cd \"workspace/$1\" 2>/dev/null || { echo none; exit; }
            git status --porcelain=v2 --branch -uall; git for-each-ref refs/heads refs/tags
            cat .git/shallow 2>/dev/null";
        self.lab.guest_command("sh", ["-c", script, "sh", &self.far().name]).run().text()
    }

    /// Output in which only what differs by nature was replaced.
    fn normal(&self, text: &str) -> String {
        let text = text.replace(&self.url(), "URL");
        text.replace(&*self.repo().path().to_string_lossy(), "HERE")
    }
}

/// What a command left on one side.
pub(crate) struct Seen {
    name: &'static str,
    ran: Ran,
    stdout: Vec<String>,
    /// Without the hints of ours, and without what ssh says about itself.
    stderr: Vec<String>,
    host: String,
    far: String,
}

impl Seen {
    fn of(side: &Side<'_>, ran: Ran) -> Self {
        let lines = |text: &str| side.normal(text).lines().map(str::to_owned).collect::<Vec<_>>();
        let mut stderr = lines(&ran.errors());
        stderr.retain(|line| !is_aside(line));
        let stdout = lines(&ran.text());
        let (host, far) = (side.host_state(), side.far_state());
        Self { name: side.name, ran, stdout, stderr, host, far }
    }
}

/// Hints of ours, and what git's own send-pack says when it breaks off, before git's real answer.
fn is_aside(line: &str) -> bool {
    let hint = line.starts_with("hint: ") && line.contains("agent-vm");
    let dying = "fatal: the remote end hung up unexpectedly";
    hint || line.is_empty() || line == dying || line.starts_with("error: atomic push failed for")
}

/// What a command left on all sides.
pub(crate) struct Both {
    ours: Vec<Seen>,
    plain: Seen,
}

impl Both {
    /// All agree: exit code, output, and both repositories.
    pub(crate) fn same(self) -> Self {
        self.same_repositories().same_output()
    }

    /// Exit code and both repositories agree.
    pub(crate) fn same_repositories(self) -> Self {
        for ours in &self.ours {
            self.equal(
                ours,
                "exit code",
                &ours.ran.code.to_string(),
                &self.plain.ran.code.to_string(),
            );
            self.equal(ours, "the host's repository", &ours.host, &self.plain.host);
            self.equal(ours, "the far repository", &ours.far, &self.plain.far);
        }
        self
    }

    pub(crate) fn same_output(self) -> Self {
        self.same_stdout().same_stderr()
    }

    pub(crate) fn same_stdout(self) -> Self {
        for ours in &self.ours {
            self.equal(ours, "stdout", &ours.stdout.join("\n"), &self.plain.stdout.join("\n"));
        }
        self
    }

    pub(crate) fn same_stderr(self) -> Self {
        for ours in &self.ours {
            self.equal(ours, "stderr", &ours.stderr.join("\n"), &self.plain.stderr.join("\n"));
        }
        self
    }

    fn equal(&self, seen: &Seen, what: &str, ours: &str, plain: &str) {
        let Seen { name, ran, .. } = seen;
        assert!(
            ours == plain,
            "{what} of {name} differs\n--- ours\n{ours}\n--- over ssh\n{plain}\n{ran}\n{}",
            self.plain.ran
        );
    }

    /// Guards against both sides' failing alike for a reason that the test does not mean.
    pub(crate) fn code(self, code: i32) -> Self {
        assert!(
            self.plain.ran.code == code,
            "over ssh, expected exit code {code}\n{}",
            self.plain.ran
        );
        self.ours_code(code)
    }

    /// Each side says this, on either stream.
    pub(crate) fn says(self, text: &str) -> Self {
        for seen in self.ours.iter().chain([&self.plain]) {
            let both = format!("{}\n{}", seen.stdout.join("\n"), seen.stderr.join("\n"));
            assert!(both.contains(text), "{} does not say {text:?}\n{}", seen.name, seen.ran);
        }
        self
    }

    pub(crate) fn ours_code(self, code: i32) -> Self {
        for ours in &self.ours {
            assert!(ours.ran.code == code, "expected exit code {code}\n{}", ours.ran);
        }
        self
    }

    pub(crate) fn plain_code(self, code: i32) -> Self {
        assert!(
            self.plain.ran.code == code,
            "over ssh, expected exit code {code}\n{}",
            self.plain.ran
        );
        self
    }

    /// Only ours says this on stderr: a difference that is meant.
    pub(crate) fn ours_says(self, text: &str) -> Self {
        for ours in &self.ours {
            assert!(ours.ran.errors().contains(text), "expected on stderr: {text:?}\n{}", ours.ran);
        }
        let plain = &self.plain.ran;
        assert!(!plain.errors().contains(text), "ssh says it too: {text:?}\n{plain}");
        self
    }

    pub(crate) fn ours_stdout_has(self, text: &str) -> Self {
        for ours in &self.ours {
            let found = ours.stdout.iter().any(|line| line.contains(text));
            assert!(found, "expected on stdout: {text:?}\n{}", ours.ran);
        }
        self
    }

    pub(crate) fn ours_stdout_is(self, text: &str) -> Self {
        for ours in &self.ours {
            assert!(ours.stdout.join("\n") == text, "expected stdout: {text:?}\n{}", ours.ran);
        }
        self
    }

    /// The sides of that kind of address are left out from here on.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.ours.retain(|seen| seen.name != name);
        self
    }
}
