//! The stage that installs Debian packages, `packages/apt-packages.txt`, and what the other stages
//! that do so share with it.

use super::stage::{Name, Stage};
use crate::common::List;
use crate::config::Config;
use crate::embedded;
use crate::error::Error;

/// Reads the list. `None` where it names nothing.
pub(super) fn load(config: &Config) -> anyhow::Result<Option<Stage>> {
    let packages = packages(config, Name::Apt)?;
    Ok((!packages.is_empty()).then(|| Stage::of_text(Name::Apt, 2, lines(&packages))))
}

/// The list of a stage that installs Debian packages, and the one that is built in.
pub(crate) fn list_of(name: Name) -> Option<(&'static str, &'static str)> {
    Some(match name {
        Name::Apt => ("packages/apt-packages.txt", embedded::APT_PACKAGES),
        Name::Podman => ("packages/podman-packages.txt", embedded::PODMAN_PACKAGES),
        Name::Docker => ("packages/docker-packages.txt", embedded::DOCKER_PACKAGES),
        Name::Nested => ("packages/nested-packages.txt", embedded::NESTED_PACKAGES),
        _ => return None,
    })
}

/// The Debian packages of a stage's list, `NAME` or `NAME=VERSION`, in order.
pub(super) fn packages(config: &Config, name: Name) -> anyhow::Result<Vec<String>> {
    let Some((file, built_in)) = list_of(name) else { return Ok(Vec::new()) };
    Ok(parse(&List::load(config, file, built_in)?)?)
}

/// What stands before and after the first `at`.
pub(super) fn cut<'a>(word: &'a str, at: &str) -> (&'a str, Option<&'a str>) {
    word.split_once(at).map_or((word, None), |(before, after)| (before, Some(after)))
}

/// One a line.
pub(super) fn lines(words: &[String]) -> String {
    words.iter().map(|word| format!("{word}\n")).collect()
}

fn parse(list: &List) -> Result<Vec<String>, Error> {
    list.words_of(is_package, "is not a package: one NAME or NAME=VERSION a line")
}

/// Debian's rule for names (at least two of `a-z0-9+.-`, beginning with a letter or digit), an
/// architecture after `:`, and a version or a pattern for one after `=`. Nothing that a shell or
/// apt would take for an option.
fn is_package(word: &str) -> bool {
    let (name, version) = cut(word, "=");
    let (name, arch) = cut(name, ":");
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() >= 2
        && name.bytes().next().is_some_and(lower)
        // A trailing - or + would mean "remove" or "install" to apt.
        && name.bytes().all(|byte| lower(byte) || b"+.-".contains(&byte))
        && !name.ends_with('-')
        && arch.is_none_or(|arch| !arch.is_empty() && arch.bytes().all(lower))
        && version.is_none_or(|version| {
            !version.is_empty()
                && version.bytes().all(|b| b.is_ascii_alphanumeric() || b".+:~*-".contains(&b))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<String>, Error> {
        let name = "common/packages/apt-packages.txt".into();
        super::parse(&List::new(text.as_bytes().to_vec(), name).unwrap())
    }

    #[test]
    fn the_built_in_lists_are_good() {
        assert!(parsed(embedded::APT_PACKAGES).unwrap().contains(&"git".to_owned()));
        assert!(parsed(embedded::PODMAN_PACKAGES).unwrap().contains(&"podman".to_owned()));
        assert!(parsed(embedded::DOCKER_PACKAGES).unwrap().contains(&"docker.io".to_owned()));
        assert!(!parsed(embedded::NESTED_PACKAGES).unwrap().is_empty());
    }

    #[test]
    fn comments_blank_lines_and_versions() {
        let text = "# all\n\ngit # for git\n  nodejs=18.*\ng++\nlibc6:arm64\ngit\n";
        assert_eq!(parsed(text).unwrap(), ["git", "nodejs=18.*", "g++", "libc6:arm64"]);
    }

    #[test]
    fn a_bad_line_is_named() {
        for (line, shown) in [
            ("git curl", "git curl"),
            ("-y", "-y"),
            ("git-", "git-"),
            ("$(reboot)", "$(reboot)"),
            ("Git", "Git"),
            ("git=", "git="),
            ("\u{1b}[2J", "\\x1b[2J"),
        ] {
            let error = parsed(&format!("curl\n{line}\n")).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "common/packages/apt-packages.txt:2: '{shown}' is not a package: one NAME or NAME=VERSION a line"
                )
            );
        }
    }
}
