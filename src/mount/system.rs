//! Where Linux and macOS differ: what sshfs is told, what unmounts, how the programs are installed.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use crate::error::Error;
use crate::packages;
use crate::process::Cmd;

/// An operating system of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum System {
    Linux,
    Macos,
}

impl System {
    /// The one that this program was built for.
    pub(crate) const HERE: System =
        if cfg!(target_os = "macos") { System::Macos } else { System::Linux };

    /// The options of sshfs.
    ///
    /// The owner of all files is nobody, so that git, as an IDE runs it, refuses the repositories
    /// in there instead of running what their configuration names. Never among them: `allow_other`
    /// (other users), `follow_symlinks` (the guest would choose the files), `default_permissions`
    /// (the owner could not write) and `reconnect` (a connection that is lost ends the mount, and
    /// with it every program that waits).
    pub(crate) fn sshfs_options(self, source: &str, owner: u32, read_only: bool) -> String {
        let mut options = vec![
            "passive".to_owned(),
            "contain_symlinks".to_owned(),
            format!("uid={owner}"),
            format!("gid={owner}"),
            "noexec".to_owned(),
            "nosuid".to_owned(),
            "nodev".to_owned(),
            // What the agent does is seen after this many seconds.
            "dcache_timeout=5".to_owned(),
            format!("fsname={source}"),
        ];
        if read_only {
            options.push("ro".to_owned());
        }
        if self == System::Macos {
            options.extend(["noappledouble", "noapplexattr", "volname=agent-vm"].map(Into::into));
        }
        options.join(",")
    }

    /// The commands that unmount, to be tried in this order; `lazily` is for a mount that nobody
    /// serves any more.
    pub(crate) fn unmount_commands(self, path: &Path, lazily: bool) -> Vec<Vec<OsString>> {
        let words: &[&[&str]] = match (self, lazily) {
            (System::Linux, false) => &[&["fusermount3", "-u", "--"]],
            (System::Linux, true) => &[&["fusermount3", "-u", "-z", "--"]],
            (System::Macos, false) => &[&["/sbin/umount"], &["/usr/sbin/diskutil", "unmount"]],
            (System::Macos, true) => {
                &[&["/sbin/umount", "-f"], &["/usr/sbin/diskutil", "unmount", "force"]]
            }
        };
        let line = |words: &&[&str]| {
            words.iter().map(OsString::from).chain([path.as_os_str().to_owned()]).collect()
        };
        words.iter().map(line).collect()
    }

    /// The command that installs sshfs, or brings it up to date.
    fn install_hint() -> String {
        packages::System::here().install(packages::Package::Sshfs)
    }

    /// Refuses where something is missing, or sshfs is one that can be led out of the mount.
    pub(crate) fn check_programs(self) -> anyhow::Result<()> {
        let missing = |name: &str| {
            Error::missing_program(format!("the program '{name}' was not found"))
                .hint(Self::install_hint())
        };
        which::which("sshfs").map_err(|_| missing("sshfs"))?;
        if self == System::Linux {
            which::which("fusermount3").map_err(|_| missing("fusermount3"))?;
            Self::check_device()?;
        }
        let output = Cmd::new("sshfs").arg("--help").time_limit(Duration::from_secs(5)).output()?;
        let help = [output.stdout, output.stderr].concat();
        let help = String::from_utf8_lossy(&help);
        match lacking(&help) {
            None => Ok(()),
            Some((option, what)) => Err(Error::missing_program(format!(
                "this sshfs is too old: it has no option {option} and would {what}"
            ))
            .hint("needed is sshfs 3.7.6 or newer, or a distribution's with the fix for CVE-2026-47187")
            .hint(Self::install_hint())
            .into()),
        }
    }

    fn check_device() -> Result<(), Error> {
        let device = "/dev/fuse";
        match std::fs::OpenOptions::new().read(true).write(true).open(device) {
            Ok(_) => Ok(()),
            Err(error) => {
                let failed = Error::failed(format!("cannot open {device}: {error}"));
                Err(match error.kind() {
                    std::io::ErrorKind::NotFound => failed.hint("sudo modprobe fuse"),
                    _ => failed.hint(format!("sudo chmod 666 {device}")),
                })
            }
        }
    }
}

/// The first option that we need and `sshfs --help` does not name, and what sshfs would do without it.
pub(crate) fn lacking(help: &str) -> Option<(&'static str, &'static str)> {
    [
        ("contain_symlinks", "let links in the VM lead to files of this machine"),
        ("passive", "not use the pinned connection to the VM"),
    ]
    .into_iter()
    .find(|(option, _)| !help.contains(option))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_contained_and_nobody_owns_the_files() {
        for system in [System::Linux, System::Macos] {
            let options = system.sshfs_options("agentvm:agent-vm", 65534, false);
            let has = |wanted: &str| options.split(',').any(|option| option == wanted);
            for option in
                ["contain_symlinks", "uid=65534", "gid=65534", "noexec", "nosuid", "nodev"]
            {
                assert!(has(option), "{option} in {options}");
            }
            for option in
                ["allow_other", "default_permissions", "follow_symlinks", "reconnect", "ro"]
            {
                assert!(!has(option), "{option} in {options}");
            }
            // libfuse/sshfs#108: Finder's files stay out of the workspaces.
            assert_eq!(has("noappledouble"), system == System::Macos);
        }
        assert!(System::Linux.sshfs_options("agentvm:x", 65534, true).ends_with(",ro"));
    }

    #[test]
    fn each_system_unmounts_in_its_own_way() {
        let shown = |system: System, lazily| {
            let commands = system.unmount_commands(Path::new("/m t"), lazily);
            commands.iter().map(|words| words.join(std::ffi::OsStr::new("|"))).collect::<Vec<_>>()
        };
        assert_eq!(shown(System::Linux, false), ["fusermount3|-u|--|/m t"]);
        assert_eq!(
            shown(System::Macos, false),
            ["/sbin/umount|/m t", "/usr/sbin/diskutil|unmount|/m t"]
        );
        assert_eq!(shown(System::Linux, true), ["fusermount3|-u|-z|--|/m t"]);
        assert_eq!(shown(System::Macos, true)[1], "/usr/sbin/diskutil|unmount|force|/m t");
    }
}
