//! The mount of the workspaces: the programs that it needs, and whether one that is there answers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::packages::{Package, System};
use super::{Check, Situation, programs, shell_path};
use crate::process::{Cmd, ProcessError};

/// Where the workspaces are mounted, below the home directory.
const PLACE: &str = ".agent-vm-mounts/workspace";
/// A mount that is silent for this long is dead.
const PATIENCE: Duration = Duration::from_secs(4);

pub(super) fn programs(situation: &Situation) -> Vec<Check> {
    // Who wants no mount needs nothing for it.
    if matches!(situation.setting("agentvm.mount"), Some("false" | "no" | "off" | "0")) {
        return Vec::new();
    }
    let system = &situation.system;
    let mut checks = vec![sshfs(system)];
    // Without sshfs there is no use for the rest.
    if checks[0].severity == super::Severity::Ok && !system.macos {
        checks.push(fuse(system));
    }
    checks
}

fn sshfs(system: &System) -> Check {
    const ID: &str = "sshfs";
    if which::which("sshfs").is_err() {
        return Check::info(ID, "sshfs is not installed")
            .why("only the mount of the workspaces on this machine needs it")
            .fix(system.install(Package::Sshfs));
    }
    let text = |args: &[&str]| {
        let output = programs::ask("sshfs", args);
        let bytes = output.map(|output| [output.stdout, output.stderr].concat());
        String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
    };
    let version = text(&["--version"]);
    let version = version.lines().find_map(|line| line.strip_prefix("SSHFS version "));
    let version = version.unwrap_or("of an unknown version");
    // What it can do counts, since distributions add it to older versions.
    if text(&["--help"]).contains("contain_symlinks") {
        return Check::ok(ID, format!("sshfs {version}, which contains symbolic links"));
    }
    Check::warning(ID, format!("sshfs {version} does not contain symbolic links"))
        .why("a link in a workspace could name any file of this machine, so it is not mounted; 3.7.6 does, and updates of distributions")
        .fix(system.upgrade(Package::Sshfs))
}

fn fuse(system: &System) -> Check {
    const ID: &str = "fuse";
    if which::which("fusermount3").is_err() {
        return Check::warning(ID, "fusermount3 was not found")
            .why("sshfs mounts with it")
            .fix(system.install(Package::Fuse));
    }
    match std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse") {
        Ok(_) => Check::ok(ID, "fusermount3, and /dev/fuse can be opened"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Check::warning(ID, "there is no /dev/fuse")
                .why("nothing can be mounted; a container has it only where it is passed on")
                .fix(system.as_root("modprobe fuse"))
        }
        Err(error) => Check::warning(ID, format!("/dev/fuse cannot be opened: {error}"))
            .why("nothing can be mounted")
            .fix(system.as_root("chmod a+rw /dev/fuse")),
    }
}

pub(super) fn look(situation: &Situation) -> Vec<Check> {
    const ID: &str = "mount";
    let Some(place) = std::env::home_dir().map(|home| home.join(PLACE)) else { return Vec::new() };
    if !is_mounted(&place) {
        return Vec::new();
    }
    let shown = place.display();
    let unmount = if situation.system.macos { "umount" } else { "fusermount3 -u" };
    let fix = format!("{unmount} {}", shell_path(&place));
    vec![match answers(&place) {
        Ok(true) => Check::ok(ID, format!("{shown} is mounted and answers")),
        Ok(false) => Check::error(ID, format!("{shown} is mounted, and what is behind it is gone"))
            .why("whatever looks there fails")
            .fix(fix),
        Err(why) => Check::error(ID, format!("{shown} is mounted and does not answer ({why})"))
            .why("whatever looks there hangs: shells, editors, backups; the end of its sshfs frees them")
            .fix(sshfs_of(&place).map_or(fix.clone(), |pid| format!("kill -KILL {pid}; {fix}"))),
    }]
}

/// Whether something is mounted at exactly this place. It is not looked at: that may hang.
fn is_mounted(place: &Path) -> bool {
    if cfg!(target_os = "linux") {
        let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
        // Only what lies above may be a link; the place itself may be dead.
        let parent = place.parent().and_then(|parent| parent.canonicalize().ok());
        let real = parent.and_then(|parent| Some(parent.join(place.file_name()?)));
        return in_table(&table, &real.unwrap_or_else(|| place.to_owned()));
    }
    let output = programs::ask("mount", &[]);
    let text = String::from_utf8_lossy(&output.map(|o| o.stdout).unwrap_or_default()).into_owned();
    text.contains(&format!(" on {} (", place.display()))
}

/// Whether `/proc/self/mountinfo` names this place.
fn in_table(table: &[u8], place: &Path) -> bool {
    let wanted = place.to_string_lossy();
    String::from_utf8_lossy(table)
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .any(|target| unescape(target) == wanted)
}

/// Blanks, tabs, line ends and backslashes stand there in octal.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

/// The sshfs that serves the place.
fn sshfs_of(place: &Path) -> Option<u32> {
    let place = place.to_string_lossy();
    std::fs::read_dir("/proc").ok()?.filter_map(Result::ok).find_map(|entry| {
        let words = std::fs::read(entry.path().join("cmdline")).ok()?;
        let words = String::from_utf8_lossy(&words).into_owned();
        let mut words = words.split('\0');
        let first = Path::new(words.next()?).file_name()?.to_str()?;
        (first == "sshfs" && words.any(|word| word == place))
            .then(|| entry.file_name().to_str()?.parse().ok())?
    })
}

/// Looks at the place in a child: who looks at a dead one may not be able to end.
fn answers(place: &PathBuf) -> Result<bool, String> {
    let null = std::fs::OpenOptions::new().write(true).open("/dev/null");
    let null = null.map_err(|error| error.to_string())?;
    let started = Cmd::new("ls").arg("-a").arg("--").arg(place).detach(null);
    let mut child = started.map_err(|error: ProcessError| error.to_string())?;
    let ended = child.wait_for(Some(PATIENCE)).map_err(|error| error.to_string())?;
    let Some(exit) = ended else {
        child.abandon();
        return Err(format!("for {} s", PATIENCE.as_secs()));
    };
    Ok(exit.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_found_by_its_exact_place() {
        let table =
            b"36 35 98:0 / /home/u\\040x/.agent-vm-mounts/workspace rw - fuse.sshfs vm rw\n\
            37 35 98:0 / /home/v rw - ext4 /dev/sda rw\n";
        assert!(in_table(table, Path::new("/home/u x/.agent-vm-mounts/workspace")));
        assert!(!in_table(table, Path::new("/home/u x/.agent-vm-mounts")));
        assert!(!in_table(b"", Path::new("/home/v")));
    }

    #[test]
    fn a_place_that_is_there_answers() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(answers(&dir.path().to_owned()), Ok(true));
        assert_eq!(answers(&dir.path().join("gone")), Ok(false));
    }
}
