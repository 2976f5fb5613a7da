//! `git agent-vm doctor`: what is missing or risky here, and the command that mends it.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use serde::Serialize;

use crate::doctor::{self, Check, Severity};
use crate::error::Kind;
use crate::ui::{self, Progress};

/// Say what is missing or risky here, and the command that mends it
///
/// Looks at the programs, this machine, the VM, what was left behind, and git's settings. Starts and
/// changes nothing, works outside a repository, and takes a few seconds. Exits with 5 where a needed
/// program is missing or too old, with 1 where something else does not work, else with 0.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  git agent-vm doctor
  git agent-vm doctor --json | jq -r '.checks[] | select(.severity == \"error\") | .fix'")]
pub(super) struct Args {
    /// One JSON document on standard output, for scripts
    #[arg(long)]
    json: bool,
}

/// `doctor --json`, version 1.
#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    checks: &'a [Check],
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let checks = {
        let _progress =
            std::io::stderr().is_terminal().then(|| Progress::start("looking at this machine"));
        doctor::examine()
    };
    if args.json {
        let report = Report { version: 1, checks: &checks };
        ui::data(&(serde_json::to_string_pretty(&report)? + "\n"));
    } else {
        ui::data(&text(&checks));
    }
    let errors = checks.iter().filter(|check| check.severity == Severity::Error);
    Ok(match errors.map(|check| check.program).max() {
        None => ExitCode::SUCCESS,
        Some(true) => ExitCode::from(Kind::MissingProgram.code()),
        Some(false) => ExitCode::FAILURE,
    })
}

/// Columns of a line of text.
const WIDTH: usize = 96;
/// Where the text begins, after the severity.
const INDENT: usize = 9;

/// The report for people: problems first, what is well in one line each.
fn text(checks: &[Check]) -> String {
    let mut out = String::new();
    let mut sorted: Vec<&Check> = checks.iter().collect();
    sorted.sort_by_key(|check| check.severity);
    let (good, bad): (Vec<_>, Vec<_>) =
        sorted.into_iter().partition(|check| check.severity == Severity::Ok);
    for check in bad {
        let (word, colour) = label(check.severity);
        let subject = wrapped(&format!("{} [{}]", check.subject, check.id));
        out.push_str(&format!("{colour}{word:INDENT$}\x1b[0m{subject}\n"));
        if let Some(detail) = &check.detail {
            out.push_str(&format!("{:INDENT$}{}\n", "", wrapped(detail)));
        }
        if let Some(fix) = &check.fix {
            // Never broken: it is there to be copied.
            out.push_str(&format!("{:INDENT$}\x1b[1m> {fix}\x1b[0m\n", ""));
        }
        out.push('\n');
    }
    for check in good {
        let (word, colour) = label(Severity::Ok);
        out.push_str(&format!("{colour}{word:INDENT$}\x1b[0m{}\n", check.subject));
    }
    out.push('\n');
    out.push_str(&summary(checks));
    out.push('\n');
    out
}

fn label(severity: Severity) -> (&'static str, &'static str) {
    match severity {
        Severity::Error => ("error", "\x1b[1;31m"),
        Severity::Warning => ("warning", "\x1b[1;33m"),
        Severity::Info => ("info", "\x1b[36m"),
        Severity::Ok => ("ok", "\x1b[32m"),
    }
}

/// Lines of whole words, the second and later ones indented.
fn wrapped(text: &str) -> String {
    let mut out = String::new();
    let mut column = INDENT;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > INDENT && column + 1 + length > WIDTH {
            out.push_str(&format!("\n{:INDENT$}", ""));
            column = INDENT;
        } else if column > INDENT {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

fn summary(checks: &[Check]) -> String {
    let count = |severity| {
        let number = checks.iter().filter(|check| check.severity == severity).count();
        u64::try_from(number).unwrap_or(u64::MAX)
    };
    let mut parts = Vec::new();
    for (severity, one) in [(Severity::Error, "error"), (Severity::Warning, "warning")] {
        let number = count(severity);
        if number > 0 {
            parts.push(ui::count(number, one));
        }
    }
    if parts.is_empty() {
        parts.push("nothing is wrong".to_owned());
    }
    if count(Severity::Info) > 0 {
        parts.push(format!("{} for your information", count(Severity::Info)));
    }
    parts.push(format!("{} well", count(Severity::Ok)));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(severity: Severity, subject: &str) -> Check {
        Check {
            id: "id",
            severity,
            subject: subject.into(),
            detail: Some("why".into()),
            fix: Some("do it".into()),
            program: false,
        }
    }

    #[test]
    fn problems_come_first_and_are_counted() {
        let checks = [
            check(Severity::Ok, "fine"),
            check(Severity::Info, "note"),
            check(Severity::Error, "bad"),
        ];
        let plain = anstream::adapter::strip_str(&text(&checks)).to_string();
        assert_eq!(
            plain,
            "error    bad [id]\n         why\n         > do it\n\n\
             info     note [id]\n         why\n         > do it\n\n\
             ok       fine\n\n1 error, 1 for your information, 1 well\n"
        );
        assert_eq!(summary(&[check(Severity::Ok, "x")]), "nothing is wrong, 1 well");
    }

    #[test]
    fn long_text_is_broken_between_words() {
        let long = wrapped(&"word ".repeat(40));
        assert!(long.lines().count() > 1);
        assert!(long.lines().all(|line| line.len() <= WIDTH));
        assert_eq!(wrapped("a b"), "a b");
    }
}
