//! `packages/versions.txt`: the versions and checksums of what no package manager installs.

use crate::common::List;
use crate::config::Config;
use crate::embedded;
use crate::error::Error;
use crate::hash;

/// `NAME=VALUE` entries, each name once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Versions {
    entries: Vec<(String, String)>,
    built_in: bool,
}

impl Versions {
    /// Reads the list.
    pub(super) fn load(config: &Config) -> anyhow::Result<Self> {
        Ok(Self::parse(&List::load(config, "packages/versions.txt", embedded::VERSIONS)?)?)
    }

    fn parse(list: &List) -> Result<Self, Error> {
        let mut entries: Vec<(String, String)> = Vec::new();
        for line in list.lines() {
            let entry = line.text.split_once('=').filter(|(name, value)| {
                is_name(name) && !value.is_empty() && value.bytes().all(is_plain)
            });
            let Some((name, value)) = entry else {
                return Err(list.wrong(line, "is not NAME=VERSION"));
            };
            if entries.iter().any(|(known, _)| known == name) {
                return Err(list.wrong(line, "comes a second time"));
            }
            if sum_length(name).is_some_and(|length| value.len() != length || !hash::is_hex(value))
            {
                return Err(list.wrong(line, "is not a checksum: hexadecimal digits, all of them"));
            }
            entries.push((name.to_owned(), value.to_owned()));
        }
        Ok(Self { entries, built_in: list.is_built_in() })
    }

    /// The value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.entries.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The checksum of that name; else a word for the guest: `-` for one that a user has left out, `none`
    /// for one that is not built in, which is nobody's mistake.
    pub(super) fn sum(&self, name: &str) -> &str {
        self.get(name).unwrap_or(if self.built_in { "none" } else { "-" })
    }

    /// The lines that are the install script's business.
    pub(super) fn of_tools(&self) -> Vec<String> {
        let others = ["NPM", "LIMA"];
        let tools = self.entries.iter().filter(|(name, _)| {
            !others.iter().any(|other| {
                name.strip_prefix(other)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
            })
        });
        tools.map(|(name, value)| format!("{name}={value}")).collect()
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._+:~-".contains(&byte)
}

/// How many digits a checksum of that name has.
fn sum_length(name: &str) -> Option<usize> {
    [("_SHA256", 64), ("_SHA512", 128)]
        .into_iter()
        .find(|(word, _)| name.contains(word))
        .map(|(_, length)| length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Versions, Error> {
        Versions::parse(&List::new(text.as_bytes().to_vec(), "versions.txt".into()).unwrap())
    }

    #[test]
    fn the_built_in_list_is_good_and_names_no_tool() {
        let versions = parse(embedded::VERSIONS).unwrap();
        assert!(versions.get("NPM_SHA512").is_some() && versions.get("LIMA").is_some());
        assert_eq!(versions.of_tools(), [""; 0]);
    }

    /// Each tool that a user can take the # away from is pinned for both architectures.
    #[test]
    fn what_is_named_in_comments_is_pinned() {
        let on: String = embedded::VERSIONS
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(entry) if entry.contains('=') && !entry.contains(' ') => format!("{entry}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let tools = parse(&on).unwrap();
        for name in ["GO", "HADOLINT"] {
            for sum in ["", "_SHA256_AMD64", "_SHA256_ARM64"] {
                assert!(tools.get(&format!("{name}{sum}")).is_some(), "{name}{sum}");
            }
        }
        assert_eq!(tools.of_tools().len(), 6);
    }

    #[test]
    fn a_bad_line_is_named() {
        for (line, why) in [
            ("GO", "is not NAME=VERSION"),
            ("GO=", "is not NAME=VERSION"),
            ("go=1", "is not NAME=VERSION"),
            ("GO=1 2", "is not NAME=VERSION"),
            ("GO=$(reboot)", "is not NAME=VERSION"),
            ("1GO=1", "is not NAME=VERSION"),
            ("JQ=2", "comes a second time"),
            ("GO_SHA256_AMD64=abc", "is not a checksum: hexadecimal digits, all of them"),
        ] {
            let error = parse(&format!("JQ=1\n{line}\n")).unwrap_err();
            assert_eq!(error.to_string(), format!("versions.txt:2: '{line}' {why}"));
        }
    }
}
