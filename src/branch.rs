//! The name of a branch, checked once.

use std::borrow::Cow;
use std::fmt;

use crate::error::Error;
use crate::sanitize;

/// A branch name without `refs/heads/`, as `git check-ref-format --branch` allows it, in UTF-8 and
/// without control or invisible characters. It never begins with `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BranchName(String);

impl BranchName {
    /// Checks a name as a user typed it.
    pub fn new(name: &str) -> Result<Self, Error> {
        let refuse = |why: &str| {
            Err(Error::usage(format!("'{}' is not a branch name: {why}", sanitize::text(name))))
        };
        if name.is_empty() {
            return refuse("it is empty");
        }
        if name.starts_with('-') {
            return refuse("it begins with '-'");
        }
        if name == "HEAD" {
            return refuse("HEAD is not a branch");
        }
        if !name.chars().all(sanitize::is_safe) {
            return refuse("it holds a control or invisible character");
        }
        let full = format!("refs/heads/{name}");
        if gix::validate::reference::name(full.as_str().into()).is_err() {
            return refuse("git does not allow it (see git check-ref-format --help)");
        }
        Ok(Self(name.to_owned()))
    }

    /// The branch that a full ref name (`refs/heads/…`) names, if it is one.
    #[must_use]
    pub fn from_full_ref(name: &str) -> Option<Self> {
        name.strip_prefix("refs/heads/").and_then(|short| Self::new(short).ok())
    }

    /// The name without `refs/heads/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as one word of a command line that a user may paste into a shell.
    #[must_use]
    pub fn in_shell(&self) -> Cow<'_, str> {
        let plain = |c: char| c.is_alphanumeric() || "._/@%+=-".contains(c);
        if self.0.chars().all(plain) {
            Cow::Borrowed(&self.0)
        } else {
            Cow::Owned(format!("'{}'", self.0.replace('\'', r"'\''")))
        }
    }

    /// `refs/heads/NAME`.
    #[must_use]
    pub fn full_ref(&self) -> String {
        format!("refs/heads/{}", self.0)
    }
}

impl fmt::Display for BranchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for BranchName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::new(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_and_odd_names_pass() {
        for name in ["feature", "fix/a-b", "größe", "a;touch${IFS}p", "x@y", "日本", "a'b\"c", "@x"]
        {
            assert_eq!(BranchName::new(name).unwrap().full_ref(), format!("refs/heads/{name}"));
        }
    }

    #[test]
    fn a_name_in_a_hint_is_one_word() {
        for (name, word) in [
            ("fix/a.b", "fix/a.b"),
            ("größe", "größe"),
            ("a;b", "'a;b'"),
            ("$(x)", "'$(x)'"),
            ("a'b", r"'a'\''b'"),
        ] {
            assert_eq!(BranchName::new(name).unwrap().in_shell(), word);
        }
    }

    #[test]
    fn names_that_git_or_we_refuse() {
        for name in [
            "", "-x", "HEAD", "a b", "a..b", "a~1", "a^", "a:b", "a?", "a*", "a[", "x.lock", "/a",
            "a/", "a//b", ".a", "a/.b", "a.", "@{-1}", "a@{b", "a\\b", "a\nb", "a\x1b[m",
            "\u{202e}",
        ] {
            assert!(BranchName::new(name).is_err(), "{name:?}");
        }
    }
}
