//! What every VM gets after its first boot: the stages of `common/`, applied over ssh.
//!
//! Each stage is idempotent, is skipped when its input has not changed since the VM last ran it,
//! and is carried on by the next start where it failed. Everything in `common/` is checked before
//! the first stage runs. Knows nothing of workspaces.

use sha2::{Digest as _, Sha256};

use crate::common::List;
use crate::config::Config;
use crate::embedded;
use crate::environment::Names;
use crate::error::{Error, kind_of};
use crate::guest::{Call, Guest};
use crate::home_files::HomeFiles;
use crate::ssh::Endpoint;
use crate::state::{self, Lock};
use crate::ui::Progress;

/// The second guest program.
pub(crate) const PROGRAM: &str = include_str!("guest/setup.sh");

/// A change of how a stage is applied, as one of its input, runs it again.
const APT_FORMAT: &str = "apt 1\n";

/// What a VM is to get, read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Debian packages, `NAME` or `NAME=VERSION`, in order.
    packages: Vec<String>,
    home: HomeFiles,
}

impl Plan {
    /// Reads `common/`: the directory that `agentvm.common` names, and where that lacks a file,
    /// the one that is built in. A line that makes no sense is named with its file.
    pub fn load(config: &Config) -> anyhow::Result<Self> {
        let list = List::load(config, "packages/apt-packages.txt", embedded::APT_PACKAGES)?;
        // Only `connect` uses these; what is wrong there is said as early as all the rest.
        Names::load(config)?;
        Ok(Self { packages: parse_packages(&list)?, home: HomeFiles::load(config)? })
    }

    /// Applies it to the VM at `endpoint`. Does nothing there that need not be done.
    pub fn apply(
        &self,
        config: &Config,
        endpoint: &Endpoint,
        describe: &str,
    ) -> anyhow::Result<()> {
        let locks = state::private_dir(&state::root()?.join("vm"))?;
        let _lock = Lock::take(
            &locks.join(format!("{}.setup.lock", config.vm)),
            &format!("git agent-vm to finish setting up the {describe}"),
        )?;
        let guest = Guest::new(endpoint.clone(), describe.to_owned());
        // First what needs no network.
        let done = self.home.install(&guest).and_then(|()| self.install_packages(&guest));
        done.map_err(|error| {
            Error::new(kind_of(&error), format!("cannot set up the {describe}: {error:#}"))
                .hint("git agent-vm start tries again; what is there can be used meanwhile")
                .into()
        })
    }

    fn install_packages(&self, guest: &Guest) -> anyhow::Result<()> {
        if self.packages.is_empty() {
            return Ok(());
        }
        let input: String = self.packages.iter().map(|package| format!("{package}\n")).collect();
        let digest = Sha256::new_with_prefix(APT_FORMAT).chain_update(&input).finalize();
        let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let call = Call::of(PROGRAM, "apt").arg(hash);
        let mut session = guest.open(&call).map_err(|error| guest.explain(error))?;
        session.send(input.as_bytes())?;
        let describe = guest.describe();
        let mut progress: Option<Progress> = None;
        while let Some(field) = session.field()? {
            let text = format!("setting up the {describe}: {}", field.value);
            match (field.key.as_str(), &progress) {
                ("stage", None) => progress = Some(Progress::start(&text)),
                ("stage", Some(shown)) => shown.update(&text),
                ("step", Some(shown)) => shown.detail(&text),
                _ => {}
            }
        }
        Ok(())
    }
}

fn parse_packages(list: &List) -> Result<Vec<String>, Error> {
    let mut packages: Vec<String> = Vec::new();
    for line in list.lines() {
        if !is_package(line.text) {
            return Err(list.wrong(line, "is not a package: one NAME or NAME=VERSION a line"));
        }
        if !packages.iter().any(|known| known == line.text) {
            packages.push(line.text.to_owned());
        }
    }
    Ok(packages)
}

/// Debian's rule for names (at least two of `a-z0-9+.-`, beginning with a letter or digit), an
/// architecture after `:`, and a version or a pattern for one after `=`. Nothing that a shell or
/// apt would take for an option.
fn is_package(word: &str) -> bool {
    let (name, version) = match word.split_once('=') {
        Some((name, version)) => (name, Some(version)),
        None => (word, None),
    };
    let (name, arch) = match name.split_once(':') {
        Some((name, arch)) => (name, Some(arch)),
        None => (name, None),
    };
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

    fn parse(text: &str) -> Result<Vec<String>, Error> {
        let name = "common/packages/apt-packages.txt".into();
        parse_packages(&List::new(text.as_bytes().to_vec(), name).unwrap())
    }

    #[test]
    fn the_built_in_list_is_good() {
        assert!(parse(embedded::APT_PACKAGES).unwrap().contains(&"git".to_owned()));
    }

    #[test]
    fn comments_blank_lines_and_versions() {
        let text = "# all\n\ngit # for git\n  nodejs=18.*\ng++\nlibc6:arm64\ngit\n";
        assert_eq!(parse(text).unwrap(), ["git", "nodejs=18.*", "g++", "libc6:arm64"]);
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
            let error = parse(&format!("curl\n{line}\n")).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "common/packages/apt-packages.txt:2: '{shown}' is not a package: one NAME or NAME=VERSION a line"
                )
            );
        }
    }
}
