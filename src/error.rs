//! What a command can fail with, as users and scripts see it: a kind that gives the exit code,
//! one line of message, and hints that say what to type next.
//!
//! Functions return [`anyhow::Result`] and add context on the way up; where the exit code matters
//! or there is a next step, an [`Error`] is the root. [`report`] finds it again.

use std::fmt;
use std::process::ExitCode;

/// The exit codes of `git agent-vm`, part of its interface (see `git-agent-vm(1)`, EXIT STATUS).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 1: the work could not be done.
    Failed = 1,
    /// 2: a wrong word on the command line, in a URL or in the configuration.
    Usage = 2,
    /// 3: refused, since work would be lost.
    WouldLoseWork = 3,
    /// 4: there is no such VM or workspace.
    NotFound = 4,
    /// 5: a needed program is missing or too old.
    MissingProgram = 5,
    /// 6: a limit of time was reached.
    TimedOut = 6,
}

impl Kind {
    /// The number that the process exits with, 1 to 6.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// A failure with its exit code and its next steps.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    table: String,
    hints: Vec<String>,
}

impl Error {
    /// A failure of the given kind. The message names the thing and the reason, in lower case and
    /// without a full stop.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), table: String::new(), hints: Vec::new() }
    }

    /// Exit code 1.
    #[must_use]
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    /// Exit code 2.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// Exit code 3.
    #[must_use]
    pub fn would_lose_work(message: impl Into<String>) -> Self {
        Self::new(Kind::WouldLoseWork, message)
    }

    /// Exit code 4.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// Exit code 5.
    #[must_use]
    pub fn missing_program(message: impl Into<String>) -> Self {
        Self::new(Kind::MissingProgram, message)
    }

    /// Exit code 6.
    #[must_use]
    pub fn timed_out(message: impl Into<String>) -> Self {
        Self::new(Kind::TimedOut, message)
    }

    /// `message` in place of another error's own, with its exit code, its table and its hints.
    #[must_use]
    pub fn in_other_words(error: &anyhow::Error, message: impl Into<String>) -> Self {
        let mut other = Self::new(kind_of(error), message);
        if let Some(known) = error.downcast_ref::<Self>() {
            other.table.clone_from(&known.table);
            other.hints.clone_from(&known.hints);
        }
        other
    }

    /// Without the hints that name this command.
    #[must_use]
    pub fn without_hints(mut self, command: &str) -> Self {
        self.hints.retain(|hint| !hint.starts_with(command));
        self
    }

    /// Adds a line that says what to type next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds lines that stand below the message as they are, so that they can be copied.
    #[must_use]
    pub fn table(mut self, lines: impl Into<String>) -> Self {
        self.table = lines.into();
        self
    }

    /// What gives the exit code.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The lines that say what to type next, in order.
    #[must_use]
    pub fn hints(&self) -> &[String] {
        &self.hints
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// The kind of a failure: that of the [`Error`] in its chain, else [`Kind::Failed`].
#[must_use]
pub fn kind_of(error: &anyhow::Error) -> Kind {
    error.downcast_ref::<Error>().map_or(Kind::Failed, Error::kind)
}

/// Prints a failure in git's style (`error: …`, `hint: …`) to stderr and gives the exit code.
#[must_use]
pub fn report(error: &anyhow::Error) -> ExitCode {
    crate::ui::error(&format!("{error:#}"));
    say_what_helps(error);
    ExitCode::from(kind_of(error).code())
}

/// Prints a failure that does not end the command, in the same style.
pub fn warn(error: &anyhow::Error) {
    crate::ui::warning(&format!("{error:#}"));
    say_what_helps(error);
}

fn say_what_helps(error: &anyhow::Error) {
    if let Some(known) = error.downcast_ref::<Error>() {
        crate::ui::lines(&known.table);
        for hint in known.hints() {
            crate::ui::hint(hint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn kind_and_hints_survive_added_context() {
        let root: anyhow::Result<()> =
            Err(Error::not_found("there is no VM 'x'").hint("git agent-vm start").into());
        let error = root.context("cannot push 'feature'").unwrap_err();
        assert_eq!(kind_of(&error), Kind::NotFound);
        assert_eq!(format!("{error:#}"), "cannot push 'feature': there is no VM 'x'");
        assert_eq!(error.downcast_ref::<Error>().unwrap().hints(), ["git agent-vm start"]);
        let other =
            Error::in_other_words(&error, "there is nothing to push to").hint("man git-push");
        assert_eq!(other.to_string(), "there is nothing to push to");
        assert_eq!((other.kind(), other.hints().len()), (Kind::NotFound, 2));
        assert_eq!(other.without_hints("git agent-vm start").hints(), ["man git-push"]);
    }
}
