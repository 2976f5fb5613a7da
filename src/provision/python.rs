//! The stage that installs programs from `PyPI`: `packages/python-packages.txt`.

use super::apt::{cut, lines};
use super::stage::{Name, Stage};
use crate::common::List;
use crate::config::Config;
use crate::embedded;
use crate::error::Error;

/// Reads the list. `None` where it names nothing.
pub(super) fn load(config: &Config) -> anyhow::Result<Option<Stage>> {
    let list = List::load(config, "packages/python-packages.txt", embedded::PYTHON_PACKAGES)?;
    let packages = parse(&list)?;
    Ok((!packages.is_empty()).then(|| Stage::of_text(Name::Python, 2, lines(&packages))))
}

fn parse(list: &List) -> Result<Vec<String>, Error> {
    list.words_of(is_package, "is not a Python package: one NAME or NAME==VERSION a line")
}

/// Python's rule for names, `[EXTRA,…]`, and a version, or a pattern that ends in `.*`, after `==`.
/// Nothing that pip would take for an option, a path or a URL.
fn is_package(word: &str) -> bool {
    let (name, version) = cut(word, "==");
    let (name, extras) = match name.split_once('[') {
        Some((name, rest)) => match rest.strip_suffix(']') {
            Some(extras) => (name, Some(extras)),
            None => return false,
        },
        None => (name, None),
    };
    let is_name = |name: &str| {
        let ends = [name.bytes().next(), name.bytes().last()];
        ends.iter().all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric()))
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    is_name(name)
        && extras.is_none_or(|extras| extras.split(',').all(is_name))
        && version.is_none_or(|version| {
            let fixed = version.strip_suffix(".*").unwrap_or(version);
            fixed.starts_with(|first: char| first.is_ascii_digit())
                && fixed.bytes().all(|b| b.is_ascii_alphanumeric() || b".+!".contains(&b))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_list_is_good() {
        let list = List::new(embedded::PYTHON_PACKAGES.as_bytes().to_vec(), "py".into()).unwrap();
        assert_eq!(parse(&list).unwrap(), ["uv"]);
    }

    #[test]
    fn packages_have_names_extras_and_versions() {
        for good in ["uv", "uv==0.5.1", "uv==0.5.*", "black[jupyter,d]==24.1a1", "Foo_bar.baz"] {
            assert!(is_package(good), "{good}");
        }
        for bad in [
            "",
            "-e",
            "uv==",
            "uv>=1",
            "uv=1",
            "uv 1",
            "./x",
            "git+https://x",
            "x @ https://y",
            "uv[",
            "uv[]",
            "uv==*",
            "-uv",
            "uv-",
            "uv==1;x",
            "uv==-1",
        ] {
            assert!(!is_package(bad), "{bad}");
        }
    }
}
