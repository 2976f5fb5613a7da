//! The stage that installs npm, and programs from its registry: `packages/npm-packages.txt`.

use super::apt::{cut, lines};
use super::stage::{Name, Stage};
use super::versions::Versions;
use crate::common::List;
use crate::config::Config;
use crate::embedded;
use crate::error::Error;

/// Reads the list. `None` where there is nothing to install.
pub(super) fn load(config: &Config, versions: &Versions) -> anyhow::Result<Option<Stage>> {
    let list = List::load(config, "packages/npm-packages.txt", embedded::NPM_PACKAGES)?;
    let packages = parse(&list)?;
    let itself = match (versions.get("NPM"), versions.get("NPM_SHA512")) {
        (Some(version), Some(sum)) => format!("{version} {sum}"),
        (Some(_), None) => {
            return Err(Error::usage("versions.txt names NPM without NPM_SHA512").into());
        }
        (None, _) if packages.is_empty() => return Ok(None),
        (None, _) => "- -".to_owned(),
    };
    let text = format!("{itself}\n{}", lines(&packages));
    Ok(Some(Stage::of_text(Name::Npm, 1, text)))
}

fn parse(list: &List) -> Result<Vec<String>, Error> {
    list.words_of(is_package, "is not an npm package: one NAME or NAME@VERSION a line")
}

/// npm's rule for new names, `[@SCOPE/]NAME`, and a version, the beginning of one, or a tag after @.
/// Nothing that npm would take for an option, a path, a URL or a repository.
fn is_package(word: &str) -> bool {
    let (scope, rest) = match word.strip_prefix('@') {
        Some(scoped) => match scoped.split_once('/') {
            Some((scope, rest)) => (Some(scope), rest),
            None => return false,
        },
        None => (None, word),
    };
    let (name, version) = cut(rest, "@");
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.~".contains(&byte);
    let part = |part: &str| {
        !part.is_empty() && !part.starts_with(['.', '_', '-']) && part.bytes().all(plain)
    };
    word.len() <= 214
        && scope.is_none_or(part)
        && part(name)
        && version.is_none_or(|version| {
            version.starts_with(|first: char| first.is_ascii_alphanumeric())
                && version.bytes().all(|b| b.is_ascii_alphanumeric() || b".+-".contains(&b))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_list_is_good_and_names_nothing() {
        let list = List::new(embedded::NPM_PACKAGES.as_bytes().to_vec(), "npm".into()).unwrap();
        assert_eq!(parse(&list).unwrap(), [""; 0]);
        // What stands there in comments is what a user takes the # away from.
        let on = embedded::NPM_PACKAGES.replace("# @", "@").replace("# opencode", "opencode");
        let list = List::new(on.into_bytes(), "npm".into()).unwrap();
        assert_eq!(parse(&list).unwrap().len(), 5);
    }

    #[test]
    fn packages_have_names_scopes_and_versions() {
        for good in
            ["semver", "semver@7", "semver@7.6.3", "@scope/a.b", "@s/a@next", "a@1.0.0-rc.1"]
        {
            assert!(is_package(good), "{good}");
        }
        for bad in [
            "",
            "-g",
            "@scope",
            "@/a",
            "@scope/",
            "a b",
            "a@",
            "a@^1",
            "a@>=1",
            "./a",
            "/a",
            "../a",
            "github:u/r",
            "u/r",
            "git+https://x",
            "a@file:x",
            "a@@1",
            "Upper",
            ".a",
            "_a",
            "a@-1",
            "a;b",
            "$(x)",
            "@-s/a",
        ] {
            assert!(!is_package(bad), "{bad}");
        }
    }
}
