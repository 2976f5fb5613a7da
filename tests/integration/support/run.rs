//! Running one command and saying what is expected of it.
//!
//! `lab.git("push agentvm::feature").fails(1).stderr_has("rejected")`: the command runs when its
//! outcome is named, under a limit of time, and every failing expectation prints all of it.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// A command that takes longer hangs. Generous, since the machine may be busy.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a stream may stay open after the command has ended. A process left behind that holds
/// stderr would hang every caller that captures it.
const STREAM_GRACE: Duration = Duration::from_secs(5);

/// Whether limits of time are these seconds here. Where they are not, runs that test in a process in
/// which they are: the library in ours would have them for every test.
pub(crate) fn has_time_limit(seconds: &str, test: &str) -> bool {
    if std::env::var_os(TIME_LIMIT).is_some_and(|value| value == seconds) {
        return true;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    let ended = child.args(["--exact", test]).env(TIME_LIMIT, seconds).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success() && said.contains(" 1 passed"), "{said}");
    false
}

const TIME_LIMIT: &str = "GIT_AGENT_VM_TIME_LIMIT";

/// Words of a command line: a string is split at white space, an array is taken as it is.
pub(crate) trait Words {
    fn words(self) -> Vec<OsString>;
}

impl Words for &str {
    fn words(self) -> Vec<OsString> {
        self.split_whitespace().map(OsString::from).collect()
    }
}

impl Words for &String {
    fn words(self) -> Vec<OsString> {
        self.as_str().words()
    }
}

impl<const N: usize> Words for [&str; N] {
    fn words(self) -> Vec<OsString> {
        self.iter().map(OsString::from).collect()
    }
}

impl Words for Vec<OsString> {
    fn words(self) -> Vec<OsString> {
        self
    }
}

/// A command about to be run.
#[must_use = "say what is expected: .succeeds() or .fails(code)"]
pub(crate) struct Run {
    program: OsString,
    prefix: Vec<OsString>,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: PathBuf,
    stdin: Vec<u8>,
    limit: Duration,
}

impl Run {
    /// `program ARGS` in `dir`, with exactly this environment.
    pub(crate) fn new(program: impl AsRef<OsStr>, args: impl Words, dir: &Path) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            prefix: Vec::new(),
            args: args.words(),
            env: Vec::new(),
            dir: dir.to_owned(),
            stdin: Vec::new(),
            limit: LIMIT,
        }
    }

    /// Words before the program, not shown in messages: `sudo -u USER`, …
    pub(crate) fn through(mut self, prefix: Vec<OsString>) -> Self {
        self.prefix = prefix;
        self
    }

    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.retain(|(known, _)| known != name.as_ref());
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    pub(crate) fn in_dir(mut self, dir: impl AsRef<Path>) -> Self {
        dir.as_ref().clone_into(&mut self.dir);
        self
    }

    pub(crate) fn stdin(mut self, bytes: impl AsRef<[u8]>) -> Self {
        bytes.as_ref().clone_into(&mut self.stdin);
        self
    }

    /// The most that it may take.
    pub(crate) fn within_seconds(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Runs it, expecting nothing but that it ends.
    pub(crate) fn run(self) -> Ran {
        self.background().finish()
    }

    /// Runs it and expects exit code 0.
    pub(crate) fn succeeds(self) -> Ran {
        self.fails(0)
    }

    /// Runs it and expects this exit code.
    pub(crate) fn fails(self, code: i32) -> Ran {
        let ran = self.run();
        assert!(ran.code == code, "expected exit code {code}\n{ran}");
        ran
    }

    /// Starts it and goes on.
    pub(crate) fn background(self) -> Background {
        let shown = self.shown();
        let mut command = self.command(session_of_its_own());
        if command.get_program() != "setsid" {
            command.process_group(0);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("cannot run {shown}: {error}"));
        let mut pipe = child.stdin.take().expect("stdin is piped");
        let stdin = self.stdin;
        // Who does not read its input must not fail the test.
        std::thread::spawn(move || pipe.write_all(&stdin).ok());
        let stdout = read_all(child.stdout.take().expect("stdout is piped"));
        let stderr = read_all(child.stderr.take().expect("stderr is piped"));
        Background { shown, child, stdout, stderr, started: Instant::now(), limit: self.limit }
    }

    /// The command as it is started, behind these words.
    pub(crate) fn command(&self, mut words: Vec<OsString>) -> Command {
        words.extend(self.prefix.iter().cloned());
        words.push(self.program.clone());
        words.extend(self.args.iter().cloned());
        let mut command = Command::new(&words[0]);
        let env = self.env.iter().map(|(name, value)| (name, value));
        command.args(&words[1..]).env_clear().envs(env).current_dir(&self.dir);
        command
    }

    fn shown(&self) -> String {
        let words: Vec<_> = std::iter::once(&self.program).chain(&self.args).collect();
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        format!("{} (in {})", words.join(" "), self.dir.display())
    }
}

/// Without `/dev/tty`, as in CI: a developer's terminal must make no difference.
fn session_of_its_own() -> Vec<OsString> {
    if cfg!(target_os = "linux") { vec!["setsid".into()] } else { Vec::new() }
}

fn read_all(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(count) = stream.read(&mut buffer)
            && count > 0
        {
            sender.send(buffer[..count].to_vec()).ok();
        }
    });
    receiver
}

/// A command that runs.
pub(crate) struct Background {
    shown: String,
    child: Child,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
    started: Instant,
    limit: Duration,
}

impl Background {
    /// Waits for its end and for its streams'.
    pub(crate) fn finish(mut self) -> Ran {
        let deadline = self.started + self.limit;
        let status = loop {
            match self.child.try_wait().expect("a child can be waited for") {
                Some(status) => break Some(status),
                None if Instant::now() >= deadline => break None,
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let elapsed = self.started.elapsed();
        if status.is_none() {
            self.signal(Signal::KILL);
            self.child.wait().ok();
        }
        let grace = Instant::now() + STREAM_GRACE;
        let (stdout, closed_out) = drain(&self.stdout, grace);
        let (stderr, closed_err) = drain(&self.stderr, grace);
        let code = status.map_or(-1, |status| {
            status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
        });
        let ran = Ran { shown: self.shown, code, stdout, stderr, elapsed };
        assert!(status.is_some(), "it did not end in {:?}\n{ran}", self.limit);
        assert!(closed_out && closed_err, "a process left behind holds its output open\n{ran}");
        ran
    }

    /// Sends a signal to it and to what it started.
    pub(crate) fn signal(&self, signal: Signal) {
        // It leads a group of its own only once setsid has done its work.
        kill_process_group(self.pid(), signal).or_else(|_| kill_process(self.pid(), signal)).ok();
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

fn drain(stream: &Receiver<Vec<u8>>, deadline: Instant) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    loop {
        match stream.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(bytes) => all.extend(bytes),
            Err(mpsc::RecvTimeoutError::Disconnected) => return (all, true),
            Err(mpsc::RecvTimeoutError::Timeout) => return (all, false),
        }
    }
}

/// What a command left.
pub(crate) struct Ran {
    shown: String,
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) elapsed: Duration,
}

impl Ran {
    /// Its standard output without the last line end.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end_matches('\n').to_owned()
    }

    pub(crate) fn errors(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Its standard output, which is one JSON document.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is not one JSON document: {error}\n{self}"))
    }

    pub(crate) fn stdout_has(self, text: &str) -> Self {
        assert!(self.text().contains(text), "expected on stdout: {text:?}\n{self}");
        self
    }

    pub(crate) fn stdout_lacks(self, text: &str) -> Self {
        assert!(!self.text().contains(text), "unexpected on stdout: {text:?}\n{self}");
        self
    }

    pub(crate) fn stdout_is(self, text: &str) -> Self {
        assert!(self.text() == text, "expected stdout: {text:?}\n{self}");
        self
    }

    pub(crate) fn stderr_has(self, text: &str) -> Self {
        assert!(self.errors().contains(text), "expected on stderr: {text:?}\n{self}");
        self
    }

    pub(crate) fn stderr_lacks(self, text: &str) -> Self {
        assert!(!self.errors().contains(text), "unexpected on stderr: {text:?}\n{self}");
        self
    }

    pub(crate) fn stderr_is(self, text: &str) -> Self {
        assert!(self.errors().trim_end() == text, "expected stderr: {text:?}\n{self}");
        self
    }

    /// Nothing on either stream could change a terminal or forge a line's look.
    pub(crate) fn shows_clean_text(self) -> Self {
        let raw = |byte: &u8| matches!(byte, 0..=8 | 11..=12 | 14..=31 | 127);
        let dirty = self.stdout.iter().chain(&self.stderr).any(raw);
        let both = format!("{}{}", self.text(), self.errors());
        let hidden = |c: char| matches!(c, '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}');
        assert!(!dirty && !both.contains(hidden), "control characters in its output\n{self}");
        self
    }

    pub(crate) fn took_under_seconds(self, seconds: u64) -> Self {
        assert!(self.elapsed < Duration::from_secs(seconds), "it took over {seconds} s\n{self}");
        self
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "--- command: {}", self.shown)?;
        writeln!(f, "--- exit code {} after {:.1?}", self.code, self.elapsed)?;
        writeln!(f, "--- stdout:\n{}", String::from_utf8_lossy(&self.stdout).escape_debug_lines())?;
        write!(f, "--- stderr:\n{}", String::from_utf8_lossy(&self.stderr).escape_debug_lines())
    }
}

trait EscapeLines {
    fn escape_debug_lines(&self) -> String;
}

impl EscapeLines for str {
    /// Escapes what a hostile guest may have put there, line by line.
    fn escape_debug_lines(&self) -> String {
        let shown = |line: &str| line.escape_debug().to_string().replace("\\\"", "\"");
        self.lines().map(shown).collect::<Vec<_>>().join("\n")
    }
}
