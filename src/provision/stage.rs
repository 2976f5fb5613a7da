//! One step of setting a VM up: what it is called, what decides what it does, and how it is run.
//!
//! A new stage is a [`Name`], a guest part in `guest/setup/` that defines `apply`, and a module that
//! makes a [`Stage`] of the files of `common/`. Whoever changes what a guest part does with the same
//! input changes the stage's format too: the stamps in VMs are hashes of both.

use std::io::Write;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::program;
use crate::error::Error;
use crate::guest::{Call, Guest, Session};
use crate::hash;
use crate::home_files::HomeFiles;
use crate::ui::{self, Progress};

/// The stages, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Name {
    /// The files of homedir/
    Home,
    /// The marker /etc/agent-environment, and the PATH of login shells
    System,
    /// The Debian packages of packages/apt-packages.txt
    Apt,
    /// Podman, for containers without root
    Podman,
    /// Docker, where agentvm.extras names it
    Docker,
    /// QEMU and Lima for VMs in the VM, where agentvm.extras names them
    Nested,
    /// npm, and the programs of packages/npm-packages.txt
    Npm,
    /// The programs of packages/python-packages.txt
    Python,
    /// What scripts/install-tools.sh installs of packages/versions.txt
    Tools,
}

impl Name {
    /// All of them, in order.
    pub const ALL: &[Self] = &[
        Self::Home,
        Self::System,
        Self::Apt,
        Self::Podman,
        Self::Docker,
        Self::Nested,
        Self::Npm,
        Self::Python,
        Self::Tools,
    ];

    /// The word for it, on the command line and in the guest: lower-case letters.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::System => "system",
            Self::Apt => "apt",
            Self::Podman => "podman",
            Self::Docker => "docker",
            Self::Nested => "nested",
            Self::Npm => "npm",
            Self::Python => "python",
            Self::Tools => "tools",
        }
    }

    /// The stage of that word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|name| name.word() == word)
    }
}

/// What the guest reads of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Input {
    /// Lines.
    Text(String),
    Home(HomeFiles),
}

/// A stage with its input, read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    name: Name,
    hash: String,
    input: Input,
}

/// What came of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It ran before, with the same input.
    Unchanged,
    /// All that it wants was there.
    Present,
    /// It did something.
    Done,
    /// It can't be had in this VM, and why.
    Skipped(String),
}

/// How stages are run.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// The most time for each.
    pub limit: Duration,
    /// Whether one runs whose input has not changed.
    pub force: bool,
}

impl Stage {
    /// A stage that reads text. `format` is a number that changes when the guest part does.
    pub(super) fn of_text(name: Name, format: u32, text: String) -> Self {
        let sum = Sha256::new_with_prefix(format!("{} {format}\n", name.word()))
            .chain_update(&text)
            .finalize();
        Self { name, hash: hash::hex(&sum), input: Input::Text(text) }
    }

    /// The stage that puts files into the agent's home.
    #[must_use]
    pub fn of_home(files: HomeFiles) -> Self {
        Self { name: Name::Home, hash: files.hash(), input: Input::Home(files) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> Name {
        self.name
    }

    /// The stamp that it leaves in the VM.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The lines that it reads, if that is what it reads.
    #[must_use]
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.input {
            Input::Text(text) => Some(text),
            Input::Home(_) => None,
        }
    }

    /// The guest program that runs it.
    #[must_use]
    pub(crate) fn program(&self) -> &'static str {
        program::of(self.name)
    }

    /// Runs it in the VM, where it has not run with this input before.
    pub fn run(&self, guest: &Guest, way: Way) -> anyhow::Result<Outcome> {
        self.try_run(guest, way).map_err(|error| self.explain(guest, &error))
    }

    fn try_run(&self, guest: &Guest, way: Way) -> anyhow::Result<Outcome> {
        let call = Call::of(self.program(), "stage")
            .arg(self.name.word())
            .arg(&self.hash)
            .arg(way.limit.as_secs().max(1).to_string())
            .arg(if way.force { "1" } else { "0" });
        let mut session = guest.open(&call).map_err(|error| guest.explain(error))?;
        session.end_after_work(way.limit);
        let began = Instant::now();
        let outcome = self.follow(guest, &mut session)?;
        let doing = self.doing(guest);
        match &outcome {
            Outcome::Done => {
                ui::note(&format!("{doing}: done in {} s", began.elapsed().as_secs()));
            }
            Outcome::Skipped(why) => ui::note(&format!("{doing}: left out, {why}")),
            Outcome::Unchanged | Outcome::Present => {}
        }
        Ok(outcome)
    }

    fn doing(&self, guest: &Guest) -> String {
        format!("setting up the {}: {}", guest.describe(), self.name.word())
    }

    fn follow(&self, guest: &Guest, session: &mut Session) -> anyhow::Result<Outcome> {
        let doing = self.doing(guest);
        let mut outcome = None;
        let mut progress: Option<Progress> = None;
        while let Some(field) = session.field()? {
            let value = &field.value;
            match (field.key.as_str(), &progress) {
                ("send", _) => session.send_by(|pipe| self.write_to(pipe))?,
                ("stage", None) => progress = Some(Progress::start(&format!("{doing}: {value}"))),
                ("stage", Some(shown)) => shown.update(&format!("{doing}: {value}")),
                ("step", Some(shown)) => shown.detail(&format!("{doing}: {value}")),
                ("kept", shown) => {
                    let warn = || {
                        ui::warning(&format!(
                            "~/{value} was changed in the VM and stays; the new one is ~/{value}.agentvm-new"
                        ));
                    };
                    shown.as_ref().map_or_else(warn, |shown| shown.suspend(warn));
                }
                // Who is in a group is decided when a connection is made.
                ("login", _) => guest.endpoint().forget_master(),
                ("done", _) => outcome = Some(Outcome::of_words(&value.to_string())),
                _ => {}
            }
        }
        outcome.ok_or_else(|| anyhow::anyhow!("the guest's answer makes no sense"))
    }

    fn write_to(&self, pipe: &mut dyn Write) -> anyhow::Result<()> {
        match &self.input {
            Input::Text(text) => {
                pipe.write_all(text.as_bytes())?;
                Ok(pipe.write_all(b"#end\n")?)
            }
            Input::Home(files) => files.write_to(pipe),
        }
    }

    fn explain(&self, guest: &Guest, error: &anyhow::Error) -> anyhow::Error {
        let (describe, name) = (guest.describe(), self.name.word());
        let message = format!("cannot set up the {describe}: {name}: {error:#}");
        let mut explained = Error::in_other_words(error, message);
        if matches!(self.input, Input::Text(_)) {
            explained = explained.hint(format!(
                "git agent-vm connect -- cat /var/log/agentvm/{name}.log shows the whole log"
            ));
        }
        let next = "git agent-vm provision goes on there; what is in the VM can be used meanwhile";
        explained.hint(next).into()
    }
}

impl Outcome {
    fn of_words(words: &str) -> Self {
        match words.split_once(' ').unwrap_or((words, "")) {
            ("unchanged", _) => Self::Unchanged,
            ("present", _) => Self::Present,
            ("skipped", why) => Self::Skipped(why.to_owned()),
            _ => Self::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum as _;

    #[test]
    fn words_are_those_of_the_command_line_in_order() {
        assert_eq!(Name::value_variants(), Name::ALL);
        assert!(Name::ALL.is_sorted());
        for name in Name::ALL {
            assert_eq!(name.to_possible_value().unwrap().get_name(), name.word());
            assert!(name.word().bytes().all(|byte| byte.is_ascii_lowercase()));
            assert_eq!(Name::of_word(name.word()), Some(*name));
        }
    }

    #[test]
    fn a_stamp_changes_with_input_and_format() {
        let hash = |format, text: &str| Stage::of_text(Name::Apt, format, text.into()).hash;
        assert_ne!(hash(1, "git\n"), hash(1, "jq\n"));
        assert_ne!(hash(1, "git\n"), hash(2, "git\n"));
    }
}
