//! This machine: KVM, disk space, Windows.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{Check, Situation, shell_path};
use crate::config::{Accel, ProviderKind};
use crate::packages::System;
use crate::state;
use crate::ui;
use crate::vm::lima::{self, NoKvm};

/// Below this a VM soon has no room to grow, in bytes.
const SCARCE: u64 = 4 << 30;
/// Below this little works any more.
const FULL: u64 = 512 << 20;

pub(super) fn kvm(situation: &Situation) -> Vec<Check> {
    if situation.system.macos || situation.config.provider != ProviderKind::Lima {
        return Vec::new();
    }
    if which::which(lima::qemu()).is_err() {
        return Vec::new();
    }
    let outcome = if situation.config.accel == Accel::Tcg { Ok(()) } else { lima::try_kvm() };
    let group = std::fs::metadata("/dev/kvm")
        .is_ok_and(|meta| meta.gid() != 0 && meta.mode() & 0o060 == 0o060);
    vec![judge_kvm(&situation.system, situation.config.accel, &outcome, group)]
}

/// `group` tells whether a group opens the device.
fn judge_kvm(system: &System, accel: Accel, outcome: &Result<(), NoKvm>, group: bool) -> Check {
    const ID: &str = "kvm";
    let why = match outcome {
        Ok(()) if accel == Accel::Tcg => {
            return Check::ok(ID, "the VM is emulated, as agentvm.accel says");
        }
        Ok(()) => return Check::ok(ID, "KVM works"),
        Err(why) => why,
    };
    let check = if accel == Accel::Kvm {
        Check::error(ID, why.to_string()).why("agentvm.accel is 'kvm', so the VM is not started")
    } else {
        Check::warning(ID, why.to_string())
            .why("the VM is emulated, which is about ten times slower")
    };
    match (why, system.wsl) {
        (NoKvm::Closed, _) if !group => check.fix(format!(
            "{} && {} && {}, then log in again",
            system.as_root("chgrp kvm /dev/kvm"),
            system.as_root("chmod 660 /dev/kvm"),
            system.as_root("usermod -aG kvm \"$USER\""),
        )),
        (NoKvm::Closed, _) => check.fix(format!(
            "{}, then log in again",
            system.as_root("usermod -aG kvm \"$USER\"")
        )),
        (NoKvm::Missing | NoKvm::Broken(_), Some(_)) => {
            check.fix("in Windows: nestedVirtualization=true below [wsl2] in %UserProfile%\\.wslconfig, then wsl --shutdown")
        }
        (NoKvm::Missing, None) => check.fix(format!(
            "{}; on a machine that is virtual itself, its host has to allow nested virtualisation",
            system.as_root("modprobe -a kvm kvm_intel kvm_amd")
        )),
        (NoKvm::Broken(_), None) => check.fix("allow nested virtualisation on the host of this machine, or accept it: git config --global agentvm.accel tcg"),
    }
}

pub(super) fn look(situation: &Situation) -> Vec<Check> {
    let mut checks = disks(situation);
    checks.extend(windows(situation));
    checks
}

/// The room where we and Lima write.
fn disks(situation: &Situation) -> Vec<Check> {
    let mut places = Vec::new();
    if situation.config.provider == ProviderKind::Lima
        && let Ok(lima) = lima::home()
    {
        places.push(("VMs", lima));
    }
    places.extend(state::place().ok().map(|dir| ("state", dir)));
    if let Some(repo) = &situation.repo {
        places.push(("this repository", repo.common_dir().to_owned()));
    }
    let mut by_device: Vec<(u64, Vec<&str>, PathBuf)> = Vec::new();
    for (what, place) in places {
        let Some(there) = place.ancestors().find(|dir| dir.exists()) else { continue };
        let Ok(meta) = std::fs::metadata(there) else { continue };
        match by_device.iter_mut().find(|(device, ..)| *device == meta.dev()) {
            Some((_, names, _)) => names.push(what),
            None => by_device.push((meta.dev(), vec![what], there.to_owned())),
        }
    }
    let room = |(_, names, place): &(u64, Vec<&str>, PathBuf)| {
        let stat = rustix::fs::statvfs(place).ok()?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let no_files = stat.f_files > 0 && stat.f_favail == 0;
        Some(judge_room(names, place, free, no_files))
    };
    by_device.iter().filter_map(room).collect()
}

fn judge_room(names: &[&str], place: &Path, free: u64, no_files: bool) -> Check {
    const ID: &str = "disk-space";
    let what = format!("{} left for {} ({})", ui::size(free), names.join(", "), place.display());
    let fix = format!("du -xh {} 2>/dev/null | sort -h | tail", shell_path(place));
    let vm = names.contains(&"VMs");
    match () {
        () if no_files => {
            Check::error(ID, format!("no file can be made any more in {}", place.display()))
                .why("the file system has no inodes left")
                .fix(fix)
        }
        () if free < FULL => Check::error(ID, what)
            .why("a VM whose disk cannot grow stops in the middle of its work")
            .fix(fix),
        () if free < SCARCE && vm => {
            Check::warning(ID, what).why("a VM's disk grows as it is used").fix(fix)
        }
        () => Check::ok(ID, what),
    }
}

fn windows(situation: &Situation) -> Vec<Check> {
    const ID: &str = "wsl";
    let systemd = Path::new("/run/systemd/system").exists();
    let Some(version) = situation.system.wsl else { return Vec::new() };
    let dir = situation.repo.as_ref().map(|repo| repo.common_dir().to_owned());
    judge_windows(version, systemd, dir.as_deref())
        .unwrap_or_else(|| vec![Check::ok(ID, format!("Windows' Subsystem for Linux {version}"))])
}

fn judge_windows(version: u8, systemd: bool, repo: Option<&Path>) -> Option<Vec<Check>> {
    const ID: &str = "wsl";
    if version == 1 {
        return Some(vec![
            Check::error(ID, "this is version 1 of Windows' Subsystem for Linux")
                .why("it runs no VMs")
                .fix("in Windows: wsl --set-version DISTRIBUTION 2"),
        ]);
    }
    let mut checks = Vec::new();
    if !systemd {
        checks.push(
            Check::info(ID, "systemd does not run")
                .why("without it nothing keeps the VM when the last terminal is closed")
                .fix("systemd=true below [boot] in /etc/wsl.conf, then in Windows: wsl --shutdown"),
        );
    }
    if let Some(repo) = repo.filter(|dir| dir.starts_with("/mnt")) {
        checks.push(
            Check::info(ID, format!("the repository is on a drive of Windows: {}", repo.display()))
                .why("git is slow there, and modes of files are lost"),
        );
    }
    Some(checks).filter(|checks| !checks.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;
    use crate::packages::Signs;

    fn system(kernel: &str) -> System {
        let signs =
            Signs { os_release: "ID=debian", kernel, macos: false, root: false, arch: "x86_64" };
        System::of(signs, |program| ["apt-get", "sudo"].contains(&program))
    }

    #[test]
    fn each_kind_of_broken_kvm_has_its_own_way_out() {
        let linux = system("");
        let check = judge_kvm(&linux, Accel::Auto, &Err(NoKvm::Closed), true);
        assert_eq!(check.severity, Severity::Warning);
        assert_eq!(check.fix.unwrap(), "sudo usermod -aG kvm \"$USER\", then log in again");
        let check = judge_kvm(&linux, Accel::Auto, &Err(NoKvm::Closed), false);
        assert!(check.fix.unwrap().starts_with("sudo chgrp kvm /dev/kvm && "));
        let check = judge_kvm(&linux, Accel::Kvm, &Err(NoKvm::Missing), true);
        assert_eq!(check.severity, Severity::Error);
        assert!(check.fix.unwrap().contains("modprobe"));
        let check =
            judge_kvm(&system("5.15-microsoft-WSL2"), Accel::Auto, &Err(NoKvm::Missing), true);
        assert!(check.fix.unwrap().contains("nestedVirtualization=true"));
        let check = judge_kvm(&linux, Accel::Auto, &Err(NoKvm::Broken("no MSR".into())), true);
        assert!(check.subject.contains("no MSR"));
        assert_eq!(judge_kvm(&linux, Accel::Auto, &Ok(()), true).severity, Severity::Ok);
        assert!(judge_kvm(&linux, Accel::Tcg, &Ok(()), true).subject.contains("emulated"));
    }

    #[test]
    fn room_is_judged_by_what_needs_it() {
        let judge = |names: &[&str], free| judge_room(names, Path::new("/x"), free, false).severity;
        assert_eq!(judge(&["VMs"], 10 << 30), Severity::Ok);
        assert_eq!(judge(&["VMs"], 2 << 30), Severity::Warning);
        assert_eq!(judge(&["state"], 2 << 30), Severity::Ok);
        assert_eq!(judge(&["state"], 1 << 20), Severity::Error);
        assert_eq!(
            judge_room(&["state"], Path::new("/x"), 9 << 30, true).severity,
            Severity::Error
        );
    }

    #[test]
    fn windows_has_its_own_pitfalls() {
        assert_eq!(judge_windows(1, false, None).unwrap()[0].severity, Severity::Error);
        assert_eq!(judge_windows(2, true, Some(Path::new("/home/u/x"))), None);
        let checks = judge_windows(2, false, Some(Path::new("/mnt/c/x"))).unwrap();
        assert_eq!(checks.len(), 2);
    }
}
