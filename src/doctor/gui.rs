//! What programs find that are started from a desktop: those get no PATH of a shell's start-up
//! files, so a helper in `~/.cargo/bin` works in the terminal and nowhere else.

use std::path::{Path, PathBuf};

use super::programs::{HELPER, find_helper};
use super::{Check, Situation, shell_path};
use crate::config::ProviderKind;

/// The PATH that a desktop gives, at least.
const LINUX: &[&str] = &["/usr/local/bin", "/usr/bin", "/bin"];
const MACOS: &[&str] = &["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

pub(super) fn look(situation: &Situation) -> Vec<Check> {
    let macos = situation.system.macos;
    let dirs = if macos { MACOS } else { LINUX };
    // One that nobody finds is told elsewhere.
    let helper = find_helper();
    let limactl = match situation.config.provider {
        ProviderKind::Lima => which::which("limactl").ok(),
        ProviderKind::Ssh => None,
    };
    let found: Vec<PathBuf> = helper.into_iter().chain(limactl).collect();
    judge(situation, dirs, &found).into_iter().collect()
}

fn judge(situation: &Situation, dirs: &[&str], found: &[PathBuf]) -> Option<Check> {
    let hidden: Vec<&PathBuf> = found
        .iter()
        .filter(|path| {
            let name = path.file_name().unwrap_or_default();
            // git looks in its own directory too.
            !path.starts_with("/usr/lib/git-core")
                && !path.starts_with("/usr/libexec/git-core")
                && !dirs.iter().any(|dir| Path::new(dir).join(name).exists())
        })
        .collect();
    if found.is_empty() {
        return None;
    }
    if hidden.is_empty() {
        return Some(Check::ok("gui-path", format!("graphical programs find {HELPER}")));
    }
    let names: Vec<String> = hidden
        .iter()
        .filter_map(|path| path.file_name())
        .map(|name| name.display().to_string())
        .collect();
    let check = Check::info(
        "gui-path",
        format!("editors and git GUIs that a desktop starts find no {}", names.join(" and no ")),
    )
    .why(format!("their PATH is {}; in a terminal all is well", dirs.join(":")));
    Some(if situation.system.macos {
        let mut all: Vec<String> =
            hidden.iter().filter_map(|path| path.parent()).map(shell_path).collect();
        all.dedup();
        let path = format!("{}:{}", all.join(":"), dirs.join(":"));
        check.fix(format!("sudo launchctl config user path {path}, then log in again"))
    } else {
        let words: Vec<String> = hidden.iter().map(|path| shell_path(path)).collect();
        let link = format!("ln -s {} /usr/local/bin/", words.join(" "));
        check.fix(situation.system.as_root(&link))
    })
}
