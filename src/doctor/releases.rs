//! Which releases of git have a hole that a repository from elsewhere can use.

/// Major, minor and patch number.
pub(super) type Version = (u32, u32, u32);

/// The first releases with the fix for CVE-2025-48384: a submodule whose path ends in a carriage
/// return runs a hook on `clone --recursive`. Everything before the first of these lacks it.
const FIRST_FIXED: [Version; 8] = [
    (2, 43, 7),
    (2, 44, 4),
    (2, 45, 4),
    (2, 46, 4),
    (2, 47, 3),
    (2, 48, 2),
    (2, 49, 1),
    (2, 50, 1),
];

/// The number in `git version 2.50.1 (Apple Git-155)`. `None` for a build of a commit, which tells
/// no release.
pub(super) fn parse(text: &str) -> Option<Version> {
    let number = text.strip_prefix("git version ")?.split(' ').next()?;
    let mut parts = number.split(['.', '-']);
    let mut next = || parts.next()?.parse().ok();
    Some((next()?, next()?, next()?))
}

/// Whether upstream's release of this number has the fix.
pub(super) fn has_fix(version: Version) -> bool {
    let line = FIRST_FIXED.iter().find(|fixed| (fixed.0, fixed.1) == (version.0, version.1));
    match line {
        Some(fixed) => version >= *fixed,
        None => version > FIRST_FIXED[FIRST_FIXED.len() - 1],
    }
}

/// Whether a vendor says in the version's text that the build is its own: it fixes what it ships.
pub(super) fn vendor(text: &str) -> Option<&str> {
    let (_, vendor) = text.split_once('(')?;
    Some(vendor.trim_end_matches(')')).filter(|vendor| !vendor.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fix_is_known_by_release() {
        for (text, fixed) in [
            ("git version 2.39.5", false),
            ("git version 2.43.6", false),
            ("git version 2.43.7", true),
            ("git version 2.47.2", false),
            ("git version 2.47.3", true),
            ("git version 2.50.0", false),
            ("git version 2.50.0.rc1", false),
            ("git version 2.50.1 (Apple Git-155)", true),
            ("git version 2.51.0", true),
            ("git version 3.0.0-rc1", true),
        ] {
            assert_eq!(has_fix(parse(text).unwrap()), fixed, "{text}");
        }
        assert_eq!(parse("git version 2.50.GIT"), None);
        assert_eq!(parse("git version GIT"), None);
    }

    #[test]
    fn a_vendor_stands_in_brackets() {
        assert_eq!(vendor("git version 2.50.1 (Apple Git-155)"), Some("Apple Git-155"));
        assert_eq!(vendor("git version 2.39.5"), None);
    }
}
