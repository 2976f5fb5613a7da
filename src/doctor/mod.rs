//! What is missing or risky on this machine, and the command that mends it: the checks behind
//! `git agent-vm doctor`.
//!
//! Facts are gathered by topic, in threads, each under limits of time; small functions judge them.
//! Nothing is started, made or changed, and the answer comes soon whatever hangs.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::config::Config;
use crate::git::Repo;
use crate::packages::System;
use crate::process;
use crate::sanitize;

mod gui;
mod machine;
mod masters;
mod mirrors;
mod mount;
mod network;
mod programs;
mod releases;
mod repository;
mod settings;
mod sources;
mod state;
mod vm;

use sources::Entry;

/// No program that is asked may take longer than this.
const EACH: Duration = Duration::from_secs(6);
/// When all have been asked that will be.
const ALL: Duration = Duration::from_secs(12);
/// What still works on its answer then is given this long.
const GRACE: Duration = Duration::from_secs(1);

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something does not work.
    Error,
    /// Something is at risk, or will not work.
    Warning,
    /// Good to know.
    Info,
    /// As it should be.
    Ok,
}

/// One finding. All text is cleaned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Which check this is, part of the interface (see `git-agent-vm(1)`, DOCTOR).
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub subject: String,
    /// Why it matters.
    pub detail: Option<String>,
    /// What to type on this system, or what to do where no command would.
    pub fix: Option<String>,
    /// Whether a program that is needed is missing or too old: exit code 5.
    #[serde(skip)]
    pub program: bool,
}

impl Check {
    fn new(id: &'static str, severity: Severity, subject: impl AsRef<str>) -> Self {
        debug_assert!(IDS.contains(&id), "{id} is no id that is documented");
        let subject = sanitize::text(subject.as_ref()).into_owned();
        Self { id, severity, subject, detail: None, fix: None, program: false }
    }

    fn ok(id: &'static str, subject: impl AsRef<str>) -> Self {
        Self::new(id, Severity::Ok, subject)
    }

    fn info(id: &'static str, subject: impl AsRef<str>) -> Self {
        Self::new(id, Severity::Info, subject)
    }

    fn warning(id: &'static str, subject: impl AsRef<str>) -> Self {
        Self::new(id, Severity::Warning, subject)
    }

    fn error(id: &'static str, subject: impl AsRef<str>) -> Self {
        Self::new(id, Severity::Error, subject)
    }

    /// A program that is needed is missing or too old.
    fn missing(id: &'static str, subject: impl AsRef<str>) -> Self {
        Self { program: true, ..Self::new(id, Severity::Error, subject) }
    }

    fn why(mut self, detail: impl AsRef<str>) -> Self {
        self.detail = Some(sanitize::text(detail.as_ref()).into_owned());
        self
    }

    fn fix(mut self, fix: impl AsRef<str>) -> Self {
        self.fix = Some(sanitize::text(fix.as_ref()).into_owned());
        self
    }

    fn maybe_fix(self, fix: Option<String>) -> Self {
        match fix {
            Some(fix) => self.fix(fix),
            None => self,
        }
    }
}

/// What every topic may know.
#[derive(Debug, Clone)]
struct Situation {
    system: System,
    config: Config,
    /// The whole of git's configuration, with where it stands.
    entries: Vec<Entry>,
    repo: Option<Repo>,
}

impl Situation {
    /// The last value of a key.
    fn setting(&self, key: &str) -> Option<&str> {
        self.entries.iter().rev().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
    }

    /// Whether this repository has to do with the VM: it has an id, or a branch is enrolled.
    fn repo_is_used(&self) -> bool {
        self.repo.is_some() && (self.config.id.is_some() || !self.config.enrolled.is_empty())
    }
}

/// The id of every check.
pub const IDS: &[&str] = &[
    "bare-repository",
    "ca-certs",
    "clock",
    "command",
    "config",
    "credentials",
    "disk-space",
    "fsck",
    "fuse",
    "git",
    "git-config",
    "git-fixes",
    "git-lock",
    "gui-path",
    "helper",
    "hooks-path",
    "kvm",
    "lima-home",
    "lima-overrides",
    "limactl",
    "lock",
    "master-connection",
    "mirror-remote",
    "mmdebstrap",
    "mount",
    "orphaned-vm",
    "protocol",
    "proxy",
    "qemu",
    "reachable",
    "repository",
    "repository-record",
    "safe-directory",
    "ssh",
    "ssh-command",
    "ssh-keygen",
    "sshfs",
    "state-permissions",
    "unfinished",
    "vm",
    "vm-network",
    "wsl",
];

type Topic = fn(&Situation) -> Vec<Check>;

/// What is looked at, in the order in which it is shown; the word is for a topic that hangs.
const TOPICS: &[(&str, Topic)] = &[
    ("the installed programs", programs::look),
    ("what graphical programs find", gui::look),
    ("limactl", vm::limactl),
    ("the mount's programs", mount::programs),
    ("the mount", mount::look),
    ("KVM", machine::kvm),
    ("this machine", machine::look),
    ("the network", network::look),
    ("the VM", vm::look),
    ("the state directory", state::look),
    ("the ssh connections", masters::look),
    ("the repository", repository::look),
    ("git's settings", settings::look),
];

/// Looks at everything. Returns within about 13 seconds.
#[must_use]
pub fn examine() -> Vec<Check> {
    process::hurry(EACH, ALL);
    let deadline = Instant::now() + ALL + GRACE;
    let (situation, mut found) = sources::gather();
    let (sender, receiver) = mpsc::channel();
    for (index, (_, topic)) in TOPICS.iter().enumerate() {
        let (situation, sender) = (situation.clone(), sender.clone());
        thread::spawn(move || {
            // Nobody waits any more for one that is too late.
            sender.send((index, topic(&situation))).ok();
        });
    }
    drop(sender);
    let mut answers: Vec<Option<Vec<Check>>> = TOPICS.iter().map(|_| None).collect();
    while let Ok((index, checks)) =
        receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()))
    {
        answers[index] = Some(checks);
    }
    for (answer, (what, _)) in answers.into_iter().zip(TOPICS) {
        found.extend(answer.unwrap_or_else(|| {
            vec![
                Check::warning("unfinished", format!("looking at {what} came to no end"))
                    .why("something that it depends on hangs: a disk, a network drive, a program"),
            ]
        }));
    }
    found
}

/// A word as a shell takes it.
fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "._/@%+=:,-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A path as a shell takes it.
fn shell_path(path: &std::path::Path) -> String {
    shell_word(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_expand_is_quoted() {
        assert_eq!(shell_word("/a/b-c.d"), "/a/b-c.d");
        assert_eq!(shell_word("a b"), "'a b'");
        assert_eq!(shell_word("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn what_is_found_is_clean_text() {
        let check = Check::error("vm", "a\x1b[2J").why("b\nc").fix("rm \u{202e}");
        assert_eq!(check.subject, "a\\x1b[2J");
        assert_eq!(check.detail.unwrap(), "b\\nc");
        assert_eq!(check.fix.unwrap(), "rm \\u{202e}");
    }
}
