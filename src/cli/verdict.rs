//! What speaks against removing workspaces, for people.

use crate::error::{self, Error, Kind};
use crate::loss::{Finding, table};
use crate::sanitize::GuestText;
use crate::ui;

/// How many names the first line has.
const NAMES: usize = 5;

/// All that was found in one or several workspaces.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Workspaces and what they hold.
    rows: Vec<(String, Finding)>,
    /// What could not be learned, in lines.
    unlearned: Vec<String>,
    timed_out: bool,
}

impl Verdict {
    /// A workspace holds something; what belongs to one is added in a row.
    pub(super) fn add(&mut self, workspace: &str, finding: Finding) {
        self.rows.push((workspace.to_owned(), finding));
    }

    /// What is in the VM besides the workspaces that were looked into.
    pub(super) fn add_other(&mut self, name: &GuestText, why: &str, save: String) {
        self.add(&name.to_string(), Finding { what: "other", which: vec![why.to_owned()], save });
    }

    /// Something could not be looked into.
    pub(super) fn add_unlearned(&mut self, workspace: &str, error: &anyhow::Error) {
        self.unlearned
            .push(format!("what the workspace {workspace} holds could not be learned: {error:#}"));
        self.timed_out |= error::kind_of(error) == Kind::TimedOut;
    }

    /// Whether nothing would be lost.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.unlearned.is_empty()
    }

    /// Whether files are among it that a fetch does not bring.
    pub(super) fn has_uncommitted(&self) -> bool {
        let kinds = ["changed", "unseen", "untracked"];
        self.rows.iter().any(|(_, finding)| kinds.contains(&finding.what))
    }

    fn kind(&self) -> Kind {
        if self.timed_out { Kind::TimedOut } else { Kind::WouldLoseWork }
    }

    fn table(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let rows: Vec<table::Row<'_>> =
            self.rows.iter().map(|(name, finding)| (name.as_str(), finding)).collect();
        table::render(&rows)
    }

    /// The first line, for an error or a warning, and what could not be learned.
    fn message(&self) -> String {
        let mut names: Vec<&str> = self.rows.iter().map(|(name, _)| name.as_str()).collect();
        names.dedup();
        let more = names.len().saturating_sub(NAMES);
        let quoted: Vec<String> =
            names.iter().take(NAMES).map(|name| format!("'{name}'")).collect();
        let first = quoted.join(", ");
        let mut lines = match (names.len(), more) {
            (0, _) => Vec::new(),
            (1, _) => vec![format!("{first} holds what is not here")],
            (_, 0) => vec![format!("{first} hold what is not here")],
            _ => vec![format!("{first} and {more} more hold what is not here")],
        };
        lines.extend(self.unlearned.iter().cloned());
        lines.join("\n")
    }

    /// As a refusal.
    pub(super) fn refusal(&self) -> Error {
        Error::new(self.kind(), self.message()).table(self.table())
    }

    /// As a warning.
    pub(super) fn warn(&self) {
        ui::warning(&self.message());
        ui::lines(&self.table());
    }

    /// As an answer: the table is what was asked for. Fails with a silent refusal where something
    /// would be lost.
    pub(super) fn answer(&self) -> std::process::ExitCode {
        let table = self.table();
        ui::data(&table.lines().map(|line| crate::sanitize::text(line) + "\n").collect::<String>());
        for line in &self.unlearned {
            ui::error(line);
        }
        if self.is_empty() {
            return std::process::ExitCode::SUCCESS;
        }
        std::process::ExitCode::from(self.kind().code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_named_and_what_is_unknown_counts() {
        let mut verdict = Verdict::default();
        assert!(verdict.is_empty());
        for name in ["a", "a", "b\x1b", "c", "d", "e", "f"] {
            verdict.add_other(&GuestText::new(name), "why", "git save".to_owned());
        }
        assert_eq!(
            verdict.message(),
            "'a', 'b\\x1b', 'c', 'd', 'e' and 1 more hold what is not here"
        );
        assert_eq!(verdict.table().lines().filter(|line| line.contains("other")).count(), 7);
        assert_eq!(verdict.kind(), Kind::WouldLoseWork);

        let mut unknown = Verdict::default();
        unknown.add_unlearned("'x'", &anyhow::anyhow!("broken"));
        assert!(!unknown.is_empty());
        assert_eq!(unknown.kind(), Kind::WouldLoseWork);
        unknown.add_unlearned("'y'", &Error::timed_out("slow").into());
        assert_eq!(unknown.kind(), Kind::TimedOut);
        assert_eq!(
            unknown.message(),
            "what the workspace 'x' holds could not be learned: broken\n\
             what the workspace 'y' holds could not be learned: slow"
        );
    }
}
