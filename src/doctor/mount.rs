//! The mount of the workspaces: the programs that it needs, and whether one that is there answers.

use std::path::Path;
use std::time::Duration;

use super::{Check, Situation, programs, shell_path};
use crate::config::Mounting;
use crate::mount::{self, Mount, State};
use crate::packages::{Package, System};
use crate::process::{Cmd, ProcessError};

/// A mount that is silent for this long is dead.
const PATIENCE: Duration = Duration::from_secs(4);

pub(super) fn programs(situation: &Situation) -> Vec<Check> {
    // Who wants no mount needs nothing for it.
    if situation.config.mount == Mounting::No {
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
    if mount::lacking(&text(&["--help"])).is_none() {
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
    let Ok(mount) = Mount::look(&situation.config) else { return Vec::new() };
    let shown = mount.path().display();
    vec![match mount.state() {
        Ok(State::None) => return Vec::new(),
        Ok(State::Mounted { .. } | State::Other(_)) => alive(mount.path()),
        Ok(State::Dead) => Check::error(ID, format!("{shown} is mounted, and nobody serves it"))
            .why("whatever looks there fails")
            .fix("git agent-vm unmount"),
        Ok(State::Foreign(kind)) => {
            Check::warning(ID, format!("something else is mounted at {shown} ({kind})"))
                .why("the workspaces cannot be mounted there")
                .fix(format!("umount {}", shell_path(mount.path())))
        }
        Err(error) => Check::warning(ID, format!("cannot learn of the mount: {error:#}")),
    }]
}

/// A mount that is served, though perhaps by a VM that is silent.
fn alive(place: &Path) -> Check {
    const ID: &str = "mount";
    let shown = place.display();
    match answers(place) {
        Ok(true) => Check::ok(ID, format!("{shown} is mounted and answers")),
        Ok(false) => Check::error(ID, format!("{shown} is mounted and cannot be looked into"))
            .why("whatever looks there fails")
            .fix("git agent-vm unmount --force"),
        Err(why) => Check::error(ID, format!("{shown} is mounted and does not answer ({why})"))
            .why("whatever looks there hangs: shells, editors, backups")
            .fix("git agent-vm unmount --force"),
    }
}

/// Looks at the place in a child: who looks at a dead one may not be able to end.
fn answers(place: &Path) -> Result<bool, String> {
    // How full it is, is asked anew each time; a list of files may be remembered.
    let ask = if cfg!(target_os = "linux") {
        Cmd::new("stat").args(["-f", "--"])
    } else {
        Cmd::new("df")
    };
    let null = std::fs::OpenOptions::new().write(true).open("/dev/null");
    let null = null.map_err(|error| error.to_string())?;
    let started = ask.arg(place).detach(null);
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
    fn a_place_that_is_there_answers() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(answers(dir.path()), Ok(true));
        assert_eq!(answers(&dir.path().join("gone")), Ok(false));
    }
}
