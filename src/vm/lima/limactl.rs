//! Calling limactl: a cleaned environment, limits of time, and its log lines as messages.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;

use crate::error::Error;
use crate::guest::time_limit;
use crate::process::{Cmd, Output, ProcessError};
use crate::sanitize;
use crate::vm::{State, Status};

/// The oldest Lima that knows all that we ask for.
const OLDEST: (u32, u32) = (2, 0);
/// For what only reads files. On a busy machine limactl needs a second.
const SHORT: Duration = Duration::from_secs(60);
/// limactl, its host agent and QEMU get these variables and no others: what we were started with
/// may hold secrets, proxies and switches that change what Lima does.
const KEPT: &[&str] = &[
    "HOME",
    "LANG",
    "LIMA_HOME",
    "LOGNAME",
    "PATH",
    "SHELL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
    "USER",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
];

/// limactl with one `LIMA_HOME`.
#[derive(Debug)]
pub(crate) struct Limactl {
    home: PathBuf,
}

/// What `limactl list NAME` says.
#[derive(Debug)]
pub(crate) enum Listed {
    /// There is such an instance.
    Found(Box<Instance>),
    /// It says that there is none.
    Missing,
    /// It succeeds and says nothing about it, as Lima does before its first instance.
    Silent,
    /// It fails, or says nothing that can be understood; the text says what.
    Unclear(String),
}

/// An instance as `limactl list --json` shows it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Instance {
    pub(crate) name: String,
    /// `Running`, `Stopped`, `Broken`, `Installing`, `Uninitialized` or empty.
    #[serde(default)]
    pub(crate) status: String,
    pub(crate) dir: PathBuf,
    pub(crate) cpus: Option<u32>,
    /// Bytes.
    pub(crate) memory: Option<u64>,
    /// Bytes.
    pub(crate) disk: Option<u64>,
    #[serde(rename = "hostAgentPID", default)]
    pub(crate) host_agent_pid: i32,
    #[serde(rename = "driverPID", default)]
    pub(crate) driver_pid: i32,
    /// What is in effect after all of Lima's override files.
    pub(crate) config: Option<serde_json::Value>,
    #[serde(default)]
    pub(crate) protected: bool,
    /// What limactl said besides: why an instance is broken stands only there.
    #[serde(skip)]
    pub(crate) said: String,
}

impl Instance {
    /// What it has, doing what `state` says.
    pub(crate) fn status_in(&self, state: State) -> Status {
        Status { state, cpus: self.cpus, memory: self.memory, disk: self.disk }
    }
}

impl Limactl {
    /// Uses the `LIMA_HOME` that is set, or Lima's default.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let home = match std::env::var_os("LIMA_HOME").filter(|value| !value.is_empty()) {
            Some(value) => std::path::absolute(value)?,
            None => std::env::home_dir()
                .ok_or_else(|| Error::failed("cannot find the home directory: HOME is not set"))?
                .join(".lima"),
        };
        // Lima resolves links too. Where there is nothing yet, there are no links.
        Ok(Self { home: home.canonicalize().unwrap_or(home) })
    }

    /// `LIMA_HOME`.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// The private key that opens every VM of this `LIMA_HOME`.
    pub(crate) fn user_key(&self) -> PathBuf {
        self.home.join("_config/user")
    }

    /// Where an instance's files are.
    pub(crate) fn instance_dir(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// limactl, ready for arguments.
    #[allow(clippy::unused_self)] // the environment carries LIMA_HOME
    pub(crate) fn command(&self) -> Cmd {
        Cmd::new("limactl")
            .env_only(|name| KEPT.contains(&name) || name.starts_with("LC_"))
            .arg("--tty=false")
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, args: &[&str], limit: Duration) -> anyhow::Result<Output> {
        self.finish(self.command().args(args), limit)
    }

    /// Runs a command made by [`Limactl::command`] to its end.
    #[allow(clippy::unused_self)]
    pub(crate) fn finish(&self, cmd: Cmd, limit: Duration) -> anyhow::Result<Output> {
        cmd.time_limit(time_limit(limit)).output().map_err(explain)
    }

    /// Runs it, and makes an exit code other than 0 an error: "cannot WHAT: …".
    pub(crate) fn must(&self, args: &[&str], limit: Duration, what: &str) -> anyhow::Result<()> {
        let output = self.run(args, limit)?;
        if !output.exit.success() {
            anyhow::bail!("cannot {what}: {}", messages(&output.stderr));
        }
        Ok(())
    }

    /// What Lima says of its version. Fails with exit code 5 where it is missing or too old.
    pub(crate) fn check_version(&self) -> anyhow::Result<String> {
        let output = self.run(&["--version"], SHORT)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.exit.success() {
            let said = messages(&output.stderr);
            let error = Error::failed(format!("cannot use limactl: {said}"));
            return Err(if said.contains("root user") {
                error.hint("Lima refuses root: run this as an ordinary user").into()
            } else {
                error.into()
            });
        }
        match version(&text) {
            Some(found) if found < OLDEST => Err(Error::missing_program(format!(
                "Lima {}.{} is too old: {}.{} or newer is needed",
                found.0, found.1, OLDEST.0, OLDEST.1
            ))
            .hint(INSTALL)
            .into()),
            // A build without a version number is somebody's own, and as new as that.
            _ => Ok(crate::sanitize::line(text.trim().as_bytes()).into_owned()),
        }
    }

    /// What there is of an instance. It must always be named: without, all would be looked at.
    pub(crate) fn list(&self, name: &str) -> anyhow::Result<Listed> {
        Ok(parse_list(name, &self.run(&["list", name, "--json"], SHORT)?))
    }
}

fn parse_list(name: &str, output: &Output) -> Listed {
    let said = messages(&output.stderr);
    let found = output
        .stdout
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty())
        .map(serde_json::from_slice::<Instance>)
        .collect::<Result<Vec<_>, _>>();
    let all = match found {
        Ok(all) => all,
        Err(error) => return Listed::Unclear(format!("limactl list is not understood: {error}")),
    };
    if let Some(mut instance) = all.into_iter().find(|instance| instance.name == name) {
        instance.said = said;
        return Listed::Found(Box::new(instance));
    }
    // The warning stands among others; the error at the end says no more.
    if String::from_utf8_lossy(&output.stderr).contains("No instance matching") {
        return Listed::Missing;
    }
    if output.exit.success() {
        return Listed::Silent;
    }
    Listed::Unclear(format!("limactl list failed: {said}"))
}

/// How to get Lima, in words.
pub(crate) const INSTALL: &str = "install Lima 2 (https://lima-vm.io/docs/installation/), or run scripts/quickstart of git-agent-vm";

fn explain(error: ProcessError) -> anyhow::Error {
    match error {
        ProcessError::NotFound(_) => {
            Error::missing_program("the program 'limactl' was not found: Lima runs the VM")
                .hint(INSTALL)
                .into()
        }
        ProcessError::TimedOut(..) => Error::timed_out(error.to_string()).into(),
        other => other.into(),
    }
}

fn version(text: &str) -> Option<(u32, u32)> {
    let number = text.split_whitespace().last()?.trim_start_matches('v');
    let mut parts = number.split(['.', '-', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// A line of a log: JSON, as the host agent writes it, or `time="…" level=… msg="…"`.
#[derive(Default, Deserialize)]
struct LogLine {
    level: String,
    msg: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    errors: serde_json::Value,
}

impl LogLine {
    fn parse(line: &str) -> Option<Self> {
        if line.starts_with('{') {
            return serde_json::from_str(line).ok();
        }
        let mut found = Self::default();
        let mut rest = line.trim();
        while let Some((key, after)) = rest.split_once('=') {
            let (value, left) = take_value(after)?;
            match key.trim() {
                "level" => found.level = value,
                "msg" => found.msg = value,
                "error" => found.error = value,
                "errors" => found.errors = value.into(),
                _ => {}
            }
            rest = left;
        }
        (!found.level.is_empty()).then_some(found)
    }
}

/// A word, or a quoted string with backslashes, at the beginning of `text`; and what comes after.
fn take_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(' ').unwrap_or(text.len());
        return Some((text[..end].to_owned(), text[end..].trim_start()));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, quoted[at + 1..].trim_start())),
            '\\' => match chars.next()?.1 {
                'n' => value.push(' '),
                other => value.push(other),
            },
            _ => value.push(c),
        }
    }
    None
}

/// Warnings that we cause ourselves, by asking for emulation.
const NOISE: [&str; 2] = ["is supported only for debugging", "Not adding QEMU argument"];

/// The errors of a log of limactl, cleaned, on one line; without any its warnings, or its last
/// lines.
pub(crate) fn messages(log: &[u8]) -> String {
    let (mut errors, mut warnings, mut last) = (Vec::new(), Vec::new(), Vec::new());
    for line in String::from_utf8_lossy(log).lines().filter(|line| !line.trim().is_empty()) {
        let (level, text) = match LogLine::parse(line) {
            Some(line) => {
                let mut text = line.msg.clone();
                for more in [line.error.as_str(), &plain(&line.errors)] {
                    if !more.is_empty() {
                        text = format!("{text}: {more}");
                    }
                }
                (line.level, text)
            }
            None => (String::new(), line.to_owned()),
        };
        if NOISE.iter().any(|noise| text.contains(noise)) {
            continue;
        }
        let text = sanitize::text(&text).into_owned();
        match level.as_str() {
            "error" | "fatal" | "panic" => errors.push(text),
            "warning" => warnings.push(text),
            _ => last.push(text),
        }
    }
    let lists = [errors, warnings, last];
    let Some(chosen) = lists.iter().find(|list| !list.is_empty()) else {
        return "limactl said nothing".into();
    };
    chosen[chosen.len().saturating_sub(3)..].join("; ")
}

fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Reads a log of limactl for a message, however long it has become.
pub(crate) fn log_messages(path: &Path) -> String {
    fs_err::read(path)
        .with_context(|| format!("cannot read {}", path.display()))
        .map_or_else(|error| format!("{error:#}"), |log| messages(&log))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(version("limactl version 2.2.0\n"), Some((2, 2)));
        assert_eq!(version("limactl version 1.0.0-rc.1\n"), Some((1, 0)));
        assert_eq!(version("limactl version <unknown>\n"), None);
    }

    fn output(code: u8, stdout: &str, stderr: &str) -> Output {
        Output {
            exit: crate::process::Exit::Code(code),
            stdout: stdout.into(),
            stderr: stderr.into(),
        }
    }

    #[test]
    fn a_missing_instance_is_told_from_a_list_that_says_nothing() {
        let none = "time=\"x\" level=warning msg=\"No instance matching vm found.\"\n\
            time=\"x\" level=fatal msg=\"unmatched instances\"\n";
        assert!(matches!(parse_list("vm", &output(1, "", none)), Listed::Missing));
        for others in ["", "{\"name\":\"o\",\"dir\":\"/o\"}"] {
            assert!(matches!(parse_list("vm", &output(0, others, "")), Listed::Silent));
        }
        for (code, stdout, stderr) in [(1, "", "boom\n"), (0, "no json\n", "")] {
            let listed = parse_list("vm", &output(code, stdout, stderr));
            assert!(matches!(listed, Listed::Unclear(_)), "{stdout} {stderr}: {listed:?}");
        }
    }

    #[test]
    fn an_instance_is_read_with_what_was_said_of_it() {
        let line = r#"{"name":"vm","status":"Broken","dir":"/l/vm","cpus":2,"memory":5,"disk":9,"hostAgentPID":7}"#;
        let said = "time=\"x\" level=warning msg=\"it has errors\" errors=\"[no disk]\"\n";
        let Listed::Found(instance) = parse_list("vm", &output(0, line, said)) else {
            panic!("not found")
        };
        assert_eq!((instance.host_agent_pid, instance.driver_pid), (7, 0));
        assert_eq!((instance.cpus, instance.memory, instance.disk), (Some(2), Some(5), Some(9)));
        assert_eq!(instance.said, "it has errors: [no disk]");
        assert!(instance.config.is_none());
    }

    #[test]
    fn messages_are_the_warnings_and_errors_cleaned() {
        let log = b"{\"level\":\"info\",\"msg\":\"starting\"}\n\
            {\"level\":\"fatal\",\"msg\":\"no \\u001b[2J disk\",\"error\":\"x\"}\n";
        assert_eq!(messages(log), "no \\x1b[2J disk: x");
        let log = br#"time="2026" level=info msg="Terminal is not available"
time="2026" level=warning msg="instance `vm` has errors" errors="[yaml: \"no\" \x1b[2J]"
"#;
        assert_eq!(messages(log), "instance `vm` has errors: [yaml: \"no\" x1b[2J]");
        assert_eq!(messages(b"one\ntwo\n"), "one; two");
        assert_eq!(messages(b""), "limactl said nothing");
    }
}
