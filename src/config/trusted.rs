//! `safe.directory`: where git was told to trust repositories whatever their owner.

use std::path::Path;

use super::expand_home;

/// One value of `safe.directory` that is in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusted {
    /// As it was written.
    pub value: String,
    /// Where, for messages.
    pub origin: String,
}

/// Takes one more value, by git's rules: a repository's own configuration does not count, and an
/// empty value takes back what came before.
pub(super) fn add(all: &mut Vec<Trusted>, scope: &[u8], value: &str, origin: String) {
    match scope {
        b"local" | b"worktree" => {}
        _ if value.is_empty() => all.clear(),
        _ => all.push(Trusted { value: value.to_owned(), origin }),
    }
}

impl Trusted {
    /// Whether this makes git trust a repository at or below `dir`.
    #[must_use]
    pub fn reaches(&self, dir: &Path) -> bool {
        if self.value == "*" {
            return true;
        }
        match self.value.strip_suffix("/*") {
            // Everything below a directory, since git 2.46.
            Some(parent) => {
                let parent = expand_home(parent);
                dir.starts_with(&parent) || parent.starts_with(dir)
            }
            None => expand_home(&self.value).starts_with(dir),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_reaches_what_git_would_trust_by_it() {
        let dir = Path::new("/home/u/.agent-vm-mounts/workspace");
        let reaches =
            |value: &str| Trusted { value: value.into(), origin: String::new() }.reaches(dir);
        for value in [
            "*",
            "/*",
            "/home/u/*",
            "/home/u/.agent-vm-mounts/workspace",
            "/home/u/.agent-vm-mounts/workspace/app-feature",
            "/home/u/.agent-vm-mounts/workspace/*",
            "/home/u/.agent-vm-mounts/workspace/app-feature/*",
        ] {
            assert!(reaches(value), "{value}");
        }
        for value in ["/home/u", "/srv/*", "/home/u/.agent-vm-mounts", "/srv/app", "%(prefix)/x"] {
            assert!(!reaches(value), "{value}");
        }
    }

    #[test]
    fn an_empty_value_takes_back_and_a_repository_has_no_say() {
        let mut all = Vec::new();
        add(&mut all, b"local", "*", "x".into());
        assert!(all.is_empty());
        add(&mut all, b"global", "*", "x".into());
        add(&mut all, b"command", "", "x".into());
        assert!(all.is_empty());
        add(&mut all, b"command", "*", "command line".into());
        assert_eq!(all[0].origin, "command line");
    }
}
