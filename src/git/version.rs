//! Whether the host's git is new enough, found out before anything else: an older one fails later,
//! and with words about options that nobody typed.

use super::{SHORT, program_error};
use crate::error::Error;
use crate::process::Cmd;

/// The oldest git that all of this was tried with, that of Debian 12. Older ones lack options of
/// `send-pack` and `fetch-pack` that the helper gives, and fixes for what a hostile repository does.
pub const OLDEST: (u32, u32) = (2, 39);

/// Fails with exit code 5 where git is missing or too old.
pub(crate) fn check() -> anyhow::Result<()> {
    let asked = Cmd::new("git").arg("--version").time_limit(SHORT).output();
    let output = asked.map_err(program_error)?;
    match parse(&String::from_utf8_lossy(&output.stdout)) {
        Some(found) if found < OLDEST => Err(Error::missing_program(format!(
            "git {}.{} is too old: {}.{} or newer is needed",
            found.0, found.1, OLDEST.0, OLDEST.1
        ))
        .hint("install a newer git, or put it first in PATH")
        .into()),
        // A build without a version number is somebody's own, and as new as that.
        _ => Ok(()),
    }
}

/// What the host's git says of itself, as in `git version 2.39.5 (Apple Git-154)`.
pub fn ask() -> Result<String, crate::process::ProcessError> {
    let output = Cmd::new("git").arg("--version").time_limit(SHORT).output()?;
    Ok(crate::sanitize::line(output.stdout.trim_ascii()).into_owned())
}

/// Major and minor number in `git version 2.39.5 (Apple Git-154)`.
#[must_use]
pub fn parse(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.strip_prefix("git version ")?.split(['.', ' ', '-', '\n']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn versions() {
        assert_eq!(parse("git version 2.39.5\n"), Some((2, 39)));
        assert_eq!(parse("git version 2.50.1 (Apple Git-155)\n"), Some((2, 50)));
        assert_eq!(parse("git version 3.0-rc1\n"), Some((3, 0)));
        assert_eq!(parse("git version 2.55.0.rc1\n"), Some((2, 55)));
        assert_eq!(parse("git version GIT\n"), None);
        assert_eq!(parse(""), None);
    }
}
