//! The answers to `push`: exactly one for each ref that git sent.

use std::collections::BTreeMap;

use crate::sanitize;

/// How a ref fared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The far side said that it is done.
    Ok,
    /// There was nothing to do.
    UpToDate,
    /// Refused or failed, and why, as git words it or as we do.
    Error(String),
}

/// Reads what `git send-pack --helper-status` prints (`ok REF`, `error REF WHY`).
#[must_use]
pub fn parse_status(stdout: &[u8]) -> BTreeMap<String, Answer> {
    let mut answers = BTreeMap::new();
    for line in sanitized_lines(stdout) {
        let mut words = line.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("ok"), Some(name), note) => {
                let answer = if note == Some("up to date") { Answer::UpToDate } else { Answer::Ok };
                answers.insert(name.to_owned(), answer);
            }
            (Some("error"), Some(name), why) => {
                let why = why.unwrap_or("failed").trim_matches('"').to_owned();
                answers.insert(name.to_owned(), Answer::Error(why));
            }
            _ => {}
        }
    }
    answers
}

fn sanitized_lines(bytes: &[u8]) -> impl Iterator<Item = String> + '_ {
    bytes.split(|&byte| byte == b'\n').map(|line| sanitize::line(line).into_owned())
}

/// One answer for git about one ref.
#[must_use]
pub fn line(name: &str, answer: &Answer) -> String {
    match answer {
        Answer::Ok => format!("ok {name}\n"),
        Answer::UpToDate => format!("ok {name} up to date\n"),
        // git knows some reasons by their words and explains them; they stand without quotes.
        Answer::Error(why) => format!("error {name} {}\n", sanitize::text(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines_are_read_and_cleaned() {
        let answers = parse_status(
            b"ok refs/heads/a\nok refs/heads/u up to date\nerror refs/heads/b fetch first\nerror refs/heads/c \"\x1b[31mno\"\nnoise\n",
        );
        assert_eq!(answers["refs/heads/a"], Answer::Ok);
        assert_eq!(answers["refs/heads/b"], Answer::Error("fetch first".into()));
        assert_eq!(answers["refs/heads/c"], Answer::Error("\\x1b[31mno".into()));
        assert_eq!(answers["refs/heads/u"], Answer::UpToDate);
        assert_eq!(answers.len(), 4);
    }
}
