//! What programs find that are started from a desktop: those get no PATH of a shell's start-up
//! files, so a helper in `~/.cargo/bin` works in the terminal and nowhere else.

use std::path::{Path, PathBuf};

use super::programs::{HELPER, find_helper};
use super::{Check, Situation, shell_path};
use crate::config::ProviderKind;
use crate::packages::System;

/// The PATH that a desktop gives, at least.
const LINUX: &[&str] = &["/usr/local/bin", "/usr/bin", "/bin"];
const MACOS: &[&str] = &["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

pub(super) fn look(situation: &Situation) -> Vec<Check> {
    let macos = situation.system.macos;
    let dirs = if macos { MACOS } else { LINUX };
    // One that nobody finds is told elsewhere.
    let Some(helper) = find_helper() else { return Vec::new() };
    let limactl = match situation.config.provider {
        ProviderKind::Lima => which::which("limactl").ok(),
        ProviderKind::Ssh => None,
    };
    let found: Vec<PathBuf> = std::iter::once(helper).chain(limactl).collect();
    vec![judge(&situation.system, dirs, &found)]
}

fn judge(system: &System, dirs: &[&str], found: &[PathBuf]) -> Check {
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
    if hidden.is_empty() {
        return Check::ok("gui-path", format!("graphical programs find {HELPER}"));
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
    if system.macos {
        let mut all: Vec<String> =
            hidden.iter().filter_map(|path| path.parent()).map(shell_path).collect();
        all.dedup();
        let path = format!("{}:{}", all.join(":"), dirs.join(":"));
        check.fix(format!("sudo launchctl config user path {path}, then log in again"))
    } else {
        let words: Vec<String> = hidden.iter().map(|path| shell_path(path)).collect();
        let link = format!("ln -s {} /usr/local/bin/", words.join(" "));
        check.fix(system.as_root(&link))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;
    use crate::packages::Signs;

    #[test]
    fn what_lies_in_a_home_directory_is_hidden_from_a_desktop() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        std::fs::write(bin.join("limactl"), "").unwrap();
        let dirs = [bin.to_str().unwrap()];
        let found = ["/home/u/.cargo/bin/git-remote-agentvm", "/home/u/go/bin/limactl"];
        let found = found.map(PathBuf::from);
        let system = |macos| {
            let signs = Signs { os_release: "", kernel: "", macos, root: false, arch: "x86_64" };
            System::of(signs, |program| program == "sudo")
        };
        let check = judge(&system(false), &dirs, &found);
        assert_eq!(check.severity, Severity::Info);
        let link = "sudo ln -s /home/u/.cargo/bin/git-remote-agentvm /usr/local/bin/";
        assert_eq!(check.fix.as_deref(), Some(link));
        let fix = judge(&system(true), &dirs, &found).fix.unwrap();
        assert!(fix.starts_with("sudo launchctl config user path /home/u/.cargo/bin:"), "{fix}");
        assert_eq!(judge(&system(false), &dirs, &found[1..]).severity, Severity::Ok);
    }
}
