//! All that is wrong with the section `agentvm`, for `doctor`; the other verbs stop at the first.

use super::{Config, RESERVED, enrolled_branch, id, origin_name, trusted};

/// One setting as git lists it.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// `system`, `global`, `local`, `worktree` or `command`.
    pub scope: &'a str,
    /// `file:PATH`, `command line:`, …
    pub origin: &'a str,
    /// Section and name in lower case, the part between them as it is written.
    pub key: &'a str,
    /// Its value.
    pub value: &'a str,
}

/// A setting that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The key is none of ours. The second is a key of ours that looks like it.
    Unknown(Option<&'static str>),
    /// The key is one of a later version.
    Reserved,
    /// The value is wrong; the text is the rule.
    Value(String),
}

/// The keys that users set.
const KEYS: &[&str] = &[
    "vm",
    "provider",
    "sshhost",
    "sshconfig",
    "cpus",
    "memory",
    "disk",
    "image",
    "accel",
    "common",
    "extras",
    "stagelimit",
    "credentials",
    "cacerts",
    "proxy",
    "aptmirror",
    "npmregistry",
    "pypiindex",
    "mount",
    "autostart",
    "keeptrash",
    "fetchlimit",
];

impl Config {
    /// Reads settings as far as they can be read; a wrong one is as if it were not there. The number
    /// is the setting's place in the list.
    #[must_use]
    pub fn lenient(settings: &[Setting<'_>]) -> (Self, Vec<(usize, Problem)>) {
        let mut config = Self::defaults();
        let mut problems = Vec::new();
        for (index, &Setting { scope, origin, key, value }) in settings.iter().enumerate() {
            if let Some(branch) = enrolled_branch(key) {
                config.enrolled.insert(branch.to_owned(), value.to_owned());
            }
            if key == "safe.directory" {
                trusted::add(&mut config.trusted, scope.as_bytes(), value, origin_name(origin));
            }
            let Some(key) = key.strip_prefix("agentvm.") else { continue };
            if key == "id" && !id::is_in_its_place(None, scope.as_bytes(), origin) {
                problems.push((index, Problem::Value(id::RULE.to_owned())));
                continue;
            }
            match config.apply(key, value) {
                Ok(true) => {}
                Ok(false) if RESERVED.contains(&key) => problems.push((index, Problem::Reserved)),
                Ok(false) => problems.push((index, Problem::Unknown(similar(key)))),
                Err(rule) => problems.push((index, Problem::Value(rule))),
            }
        }
        (config, problems)
    }
}

#[cfg(test)]
impl Config {
    /// With these settings, all of which are good.
    pub(crate) fn of(settings: &[(&str, &str)]) -> Self {
        let setting = |(key, value)| Setting { scope: "global", origin: "file:x", key, value };
        let settings: Vec<_> = settings.iter().copied().map(setting).collect();
        let (config, problems) = Self::lenient(&settings);
        assert_eq!(problems, []);
        config
    }
}

/// The key that somebody may have meant: at most two letters are other ones.
fn similar(key: &str) -> Option<&'static str> {
    let best = KEYS.iter().map(|known| (distance(key, known), *known)).min()?;
    (best.0 <= 2).then_some(best.1)
}

/// How many letters have to be added, taken away or changed.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut above = row[0];
        row[0] = i + 1;
        for (j, b) in other.chars().enumerate() {
            let here = (above + usize::from(a != b)).min(row[j] + 1).min(row[j + 1] + 1);
            above = row[j + 1];
            row[j + 1] = here;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_found_and_the_rest_counts() {
        let settings = [
            ("agentvm.memroy", "8"),
            ("agentvm.vm", "one"),
            ("agentvm.cpus", "many"),
            ("agentvm.egress", "none"),
            ("remote.agentvm::b.push", "refs/heads/b:refs/heads/b"),
            ("agentvm.colour", "red"),
        ];
        let settings =
            settings.map(|(key, value)| Setting { scope: "local", origin: "file:x", key, value });
        let (config, problems) = Config::lenient(&settings);
        assert_eq!(config.vm.as_str(), "one");
        assert!(config.enrolled.contains_key("b"));
        let kinds: Vec<_> = problems.iter().map(|(index, _)| *index).collect();
        assert_eq!(kinds, [0, 2, 3, 5]);
        assert_eq!(problems[0].1, Problem::Unknown(Some("memory")));
        assert_eq!(problems[2].1, Problem::Reserved);
        assert_eq!(problems[3].1, Problem::Unknown(None));
    }

    #[test]
    fn distances() {
        for (one, other, wanted) in [("", "ab", 2), ("memroy", "memory", 2), ("vm", "vm", 0)] {
            assert_eq!(distance(one, other), wanted);
        }
    }
}
