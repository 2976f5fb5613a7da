//! What a user sees besides data: messages in git's style, progress, colour.
//!
//! People on stderr, data on stdout. Everything here cleans what it prints.

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::sanitize;

static QUIET: AtomicBool = AtomicBool::new(false);

/// Silences progress, notes and hints; errors and warnings stay.
pub fn set_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

/// Whether `-q` was given.
#[must_use]
pub fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// `error: …`, each line of the message cleaned and prefixed.
pub fn error(message: &str) {
    labelled("error", "\x1b[1;31m", message);
}

/// `warning: …`
pub fn warning(message: &str) {
    labelled("warning", "\x1b[1;33m", message);
}

/// `hint: …`, unless quiet.
pub fn hint(message: &str) {
    if !is_quiet() {
        labelled("hint", "\x1b[33m", message);
    }
}

/// A plain line on stderr about what was done, unless quiet.
pub fn note(message: &str) {
    if !is_quiet() {
        print_line(&sanitize::text(message));
    }
}

/// Lines that belong to an error or a warning, on stderr as they are.
pub fn lines(text: &str) {
    for line in text.lines() {
        print_line(&sanitize::text(line));
    }
}

fn labelled(label: &str, colour: &str, message: &str) {
    for text in message.lines() {
        print_line(&format!("{colour}{label}:\x1b[0m {}", sanitize::text(text)));
    }
}

/// Prints to stderr; anstream takes colour away where it is not wanted (`NO_COLOR`, no terminal).
fn print_line(text: &str) {
    // Nobody is left to tell where stderr is closed.
    writeln!(anstream::stderr(), "{text}").ok();
}

/// Prints data to stdout. A closed pipe (`| head`) ends the program quietly, as for other tools.
pub fn data(text: &str) {
    let mut stdout = anstream::stdout();
    if stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_err() {
        std::process::exit(141);
    }
}

/// Prints data to stdout that need not be text: every byte as it is.
pub fn data_bytes(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    if stdout.write_all(bytes).and_then(|()| stdout.flush()).is_err() {
        std::process::exit(141);
    }
}

/// Progress of one piece of work: a line with a spinner and the time on a terminal, plain lines
/// elsewhere, nothing when quiet. Ends when dropped.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Says what is being waited for.
    #[must_use]
    pub fn start(what: &str) -> Self {
        let what = sanitize::text(what);
        if is_quiet() {
            return Self { bar: None };
        }
        if !std::io::stderr().is_terminal() {
            print_line(&what);
            return Self { bar: None };
        }
        let bar = ProgressBar::new_spinner();
        let style = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        bar.set_style(style);
        bar.set_message(what.into_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar: Some(bar) }
    }

    /// Says nothing yet: for work that is only worth a word where it takes long, on a terminal.
    #[must_use]
    pub fn quietly() -> Self {
        if is_quiet() || !std::io::stderr().is_terminal() {
            return Self { bar: None };
        }
        Self::start("")
    }

    /// Says what is being waited for now.
    pub fn update(&self, what: &str) {
        let what = sanitize::text(what);
        match &self.bar {
            Some(bar) => bar.set_message(what.into_owned()),
            None if !is_quiet() => print_line(&what),
            None => {}
        }
    }

    /// Says how far it has come, on a terminal only: too much for a log.
    pub fn detail(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(sanitize::text(what).into_owned());
        }
    }

    /// Runs something that prints to stderr itself without the spinner in between.
    pub fn suspend<T>(&self, action: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(action),
            None => action(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Whether a person can be asked or told something: `/dev/tty` can be opened. Editors and cron
/// have none.
#[must_use]
pub fn has_terminal() -> bool {
    std::fs::OpenOptions::new().read(true).write(true).open("/dev/tty").is_ok()
}

/// A size for people: `1.5 GiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// How long ago something was, in a fitting unit: `5 min ago`, `3 days ago`.
#[must_use]
pub fn ago(seconds: i64) -> String {
    let seconds = seconds.max(0).unsigned_abs();
    match seconds {
        0..=119 => format!("{seconds} s ago"),
        120..=7199 => format!("{} min ago", seconds / 60),
        7200..=172_799 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// Asks whoever sits at the terminal to type a word, and tells whether that was typed.
pub fn confirm_by_word(question: &str, word: &str) -> anyhow::Result<bool> {
    let terminal = std::fs::OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    write!(&terminal, "{} ", sanitize::text(question))?;
    let mut typed = String::new();
    std::io::BufReader::new(&terminal).take(1000).read_line(&mut typed)?;
    Ok(typed.trim() == word)
}

/// Columns as wide as their widest cell; the last is not padded.
#[must_use]
pub fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let Some((last, cells)) = row.split_last() else { return String::new() };
        let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}  "));
        cells.collect::<String>() + last + "\n"
    };
    rows.iter().map(line).collect()
}

/// A number with its noun, the first word of what is counted: `1 file changed`, `3 files changed`.
#[must_use]
pub fn count(number: u64, one: &str) -> String {
    if number == 1 {
        return format!("1 {one}");
    }
    let (more, one) = match one.strip_prefix("more ") {
        Some(rest) => ("more ", rest),
        None => ("", one),
    };
    let split = one.find(' ').unwrap_or(one.len());
    let (noun, rest) = one.split_at(split);
    let plural = match noun {
        "stash" | "process" | "branch" => format!("{noun}es"),
        "repository" => "repositories".to_owned(),
        "entry" => "entries".to_owned(),
        _ => format!("{noun}s"),
    };
    format!("{number} {more}{plural}{rest}")
}

/// When messages are coloured (`--color`). `NO_COLOR` and `CLICOLOR_FORCE` count where it is auto.
pub fn set_colour(choice: anstream::ColorChoice) {
    choice.write_global();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let row = |words: [&str; 3]| words.map(str::to_owned);
        let rows = [row(["WORKSPACE", "BRANCH", "STATE"]), row(["app-größe~1", "größe", "x"])];
        assert_eq!(table(&rows), "WORKSPACE    BRANCH  STATE\napp-größe~1  größe   x\n");
        let row = |words: [&str; 6]| words.map(str::to_owned);
        let rows =
            [row(["A", "B", "C", "D", "E", "F"]), row(["app-größe", "b", "c", "d", "e", ""])];
        assert_eq!(table(&rows), "A          B  C  D  E  F\napp-größe  b  c  d  e  \n");
    }
}
