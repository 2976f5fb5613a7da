//! The files of `common/`: those of the directory that `agentvm.common` names, and where it lacks
//! one, the one that is built in. Knows files and lines; what they mean is their reader's business.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::config::Config;
use crate::error::Error;
use crate::sanitize;

/// A text file of `common/` and its name for messages.
#[derive(Debug)]
pub struct List {
    text: String,
    name: PathBuf,
    built_in: bool,
}

/// One entry of a [`List`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Counted from 1.
    pub number: usize,
    /// Without the comment and the white space around it; never empty.
    pub text: &'a str,
}

/// The directory that `agentvm.common` names, if it names one. One that is not there is an error.
pub fn dir(config: &Config) -> Result<Option<&Path>, Error> {
    match &config.common {
        Some(dir) if !dir.is_dir() => {
            Err(Error::usage(format!("agentvm.common: there is no directory {}", dir.display()))
                .hint("git config --show-origin agentvm.common shows where it is set"))
        }
        dir => Ok(dir.as_deref()),
    }
}

/// The file of `common/` that is in effect, as messages call it.
#[must_use]
pub fn place(config: &Config, name: &str) -> PathBuf {
    let own = config.common.as_ref().map(|dir| dir.join(name)).filter(|path| path.exists());
    own.unwrap_or_else(|| Path::new("common").join(name))
}

impl List {
    /// Reads `common/NAME`, or takes the one that is built in.
    pub fn load(config: &Config, name: &str, built_in: &str) -> anyhow::Result<Self> {
        let in_place = || Self {
            text: built_in.to_owned(),
            name: Path::new("common").join(name),
            built_in: true,
        };
        let Some(dir) = dir(config)? else { return Ok(in_place()) };
        let path = dir.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => Self::new(bytes, path).map_err(Into::into),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(in_place()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Whether it is the one that is built in.
    #[must_use]
    pub fn is_built_in(&self) -> bool {
        self.built_in
    }

    /// The text as it is.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Reads a list of which every entry is a `word`, and gives each once, in order. `rule` says
    /// what an entry is, to stand after one that is none.
    pub fn words_of(&self, word: impl Fn(&str) -> bool, rule: &str) -> Result<Vec<String>, Error> {
        self.words(|text| (!word(text)).then(|| rule.to_owned()))
    }

    /// The same where there are several reasons for which an entry can be refused.
    pub fn words(&self, why_not: impl Fn(&str) -> Option<String>) -> Result<Vec<String>, Error> {
        let mut words: Vec<String> = Vec::new();
        for line in self.lines() {
            if let Some(why) = why_not(line.text) {
                return Err(self.wrong(line, &why));
            }
            if !words.iter().any(|known| known == line.text) {
                words.push(line.text.to_owned());
            }
        }
        Ok(words)
    }

    /// The bytes of a file, which have to be text with plain line ends.
    pub fn new(bytes: Vec<u8>, name: PathBuf) -> Result<Self, Error> {
        let wrong = |at: usize, why: &str| {
            let number = bytes[..at].split(|byte| *byte == b'\n').count();
            Error::usage(format!("{}:{number}: {why}", name.display()))
        };
        if let Err(error) = std::str::from_utf8(&bytes) {
            return Err(wrong(error.valid_up_to(), "this is not text in UTF-8"));
        }
        if let Some(at) = bytes.iter().position(|byte| *byte == b'\r') {
            return Err(wrong(at, "the line ends with a carriage return; use plain line ends"));
        }
        let text = String::from_utf8(bytes).map_err(|_| Error::failed("this was text just now"))?;
        Ok(Self { text, name, built_in: false })
    }

    /// The lines that say something: `#` begins a comment.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.text.lines().enumerate().filter_map(|(index, line)| {
            let text = line.split('#').next().unwrap_or_default().trim();
            (!text.is_empty()).then_some(Line { number: index + 1, text })
        })
    }

    /// What is wrong with a line, to stand after its text.
    #[must_use]
    pub fn wrong(&self, line: Line<'_>, why: &str) -> Error {
        let shown = sanitize::text(line.text);
        Error::usage(format!("{}:{}: '{shown}' {why}", self.name.display(), line.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(bytes: &[u8]) -> Result<List, Error> {
        List::new(bytes.to_vec(), PathBuf::from("common/list.txt"))
    }

    #[test]
    fn comments_and_blank_lines_say_nothing() {
        let list = list(b"# all\n\none # first\n\t two \n#\n").unwrap();
        let lines: Vec<_> = list.lines().map(|line| (line.number, line.text)).collect();
        assert_eq!(lines, [(3, "one"), (4, "two")]);
    }

    #[test]
    fn what_is_no_plain_text_is_named() {
        for (bytes, message) in [
            (&b"one\ntw\xffo\n"[..], "common/list.txt:2: this is not text in UTF-8"),
            (
                b"one\r\n",
                "common/list.txt:1: the line ends with a carriage return; use plain line ends",
            ),
        ] {
            let error = list(bytes).unwrap_err();
            assert_eq!(error.to_string(), message);
            assert_eq!(error.kind(), crate::error::Kind::Usage);
        }
    }
}
