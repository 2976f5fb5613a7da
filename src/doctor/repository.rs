//! Lock files that a git which was killed left in this repository.

use std::path::Path;
use std::time::SystemTime;

use super::{Check, Situation, shell_path};
use crate::git::locks::ABANDONED;

/// What git leaves behind when it is killed, and what that does. Also looked for in workspaces, see
/// `guest/doctor.sh`.
pub(super) const LOCKS: &[(&str, &str)] = &[
    ("objects/maintenance.lock", "git maintenance and git gc --auto do nothing, and say nothing"),
    ("gc.pid", "git gc does nothing while it is younger than 12 hours"),
    ("index.lock", "git refuses to add, commit and switch"),
    ("HEAD.lock", "git refuses to commit and switch"),
    ("config.lock", "git refuses to change settings"),
    ("packed-refs.lock", "git refuses to delete refs and to pack them"),
    ("shallow.lock", "git refuses to deepen"),
];

pub(super) fn look(situation: &Situation) -> Vec<Check> {
    let Some(repo) = &situation.repo else { return Vec::new() };
    let mut checks = locks(repo.common_dir());
    if repo.git_dir() != repo.common_dir() {
        checks.extend(locks(repo.git_dir()));
    }
    if checks.is_empty() {
        checks.push(Check::ok("git-lock", "no git left a lock in this repository"));
    }
    checks
}

fn locks(dir: &Path) -> Vec<Check> {
    LOCKS
        .iter()
        .filter_map(|(name, effect)| {
            let path = dir.join(name);
            let written = std::fs::symlink_metadata(&path).ok()?.modified().ok()?;
            let age = SystemTime::now().duration_since(written).ok()?;
            let fix = format!("rm {}", shell_path(&path));
            (age >= ABANDONED)
                .then(|| stale(&path.display().to_string(), age.as_secs(), effect).fix(fix))
        })
        .collect()
}

/// A lock that no git can be working under any more.
pub(super) fn stale(path: &str, age: u64, effect: &str) -> Check {
    Check::warning("git-lock", format!("{path} is {} old", duration(age)))
        .why(format!("a git that was killed left it: {effect}"))
}

/// `90 min`, `3 days`.
fn duration(seconds: u64) -> String {
    match seconds {
        0..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_an_old_lock_is_stale() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gc.pid");
        let file = std::fs::File::create(&path).unwrap();
        assert!(locks(dir.path()).is_empty());
        file.set_modified(SystemTime::now() - Duration::from_secs(3 * 86_400 + 60)).unwrap();
        let checks = locks(dir.path());
        assert!(checks[0].subject.ends_with("gc.pid is 3 days old"), "{checks:?}");
        assert_eq!(checks[0].fix, Some(format!("rm {}", path.display())));
    }
}
