//! Whether an image can be built on this machine, and what is missing if not.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Error;
use crate::packages::{Manager, System};
use crate::process::Cmd;
use crate::state;
use crate::ui;

/// What the recipe runs, and the package of Debian's that has it.
const PROGRAMS: &[(&str, &str)] = &[
    ("mmdebstrap", "mmdebstrap"),
    ("newuidmap", "uidmap"),
    ("unshare", "util-linux"),
    ("sfdisk", "fdisk"),
    ("mformat", "mtools"),
    ("mke2fs", "e2fsprogs"),
    ("qemu-img", "qemu-utils"),
    ("xz", "xz-utils"),
];
/// By which mmdebstrap knows that packages are Debian's, and its package.
const KEYRING: (&str, &str) =
    ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring");
/// The most that the tree, its archive and the disk take up at one time by the built-in lists, in
/// bytes, and what the finished image does.
const ROOM_TO_WORK: u64 = 4 << 30;
const ROOM_TO_STAY: u64 = 1 << 30;
/// What a VM's own system takes up beside that work.
const ROOM_FOR_VM: u64 = 2 << 30;
const UNUSED: &str =
    "git agent-vm image remove --unused removes those that start does not take any more";

/// Whether the recipe can run: on Debian and its kin, by mmdebstrap, from packages.
pub(super) fn is_possible(system: &System) -> bool {
    system.manager == Some(Manager::Apt)
}

/// The packages of Debian's that the recipe needs, and where it finds the certificates of the system.
pub(super) fn packages() -> Vec<&'static str> {
    let of_programs = PROGRAMS.iter().map(|(_, package)| *package);
    of_programs.chain([KEYRING.1, "ca-certificates"]).collect()
}

/// Fails with exit code 5 where a program is missing, with 1 where it is of no use as we are run.
pub(super) fn check(system: &System) -> Result<(), Error> {
    let missing: Vec<_> = PROGRAMS.iter().filter(|(program, _)| !is_there(program)).collect();
    let keyring = Some(&KEYRING).filter(|(path, _)| !Path::new(path).exists());
    let missing: Vec<_> = missing.into_iter().chain(keyring).collect();
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
        let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
        return Err(Error::missing_program(format!(
            "cannot build an image without {}",
            names.join(", ")
        ))
        .hint(system.as_root(&format!("apt-get install {}", packages.join(" ")))));
    }
    if rustix::process::geteuid().is_root() {
        return Err(Error::failed("an image is built by an ordinary user, not by root").hint(
            "log in as the user whose VM it is for, and run git agent-vm image build again",
        ));
    }
    namespaces(system)
}

/// The directories where programs are, `/usr/sbin` too, which an ordinary user's `PATH` lacks.
fn path() -> std::ffi::OsString {
    let usual = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&usual).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    // What was split at colons has none.
    std::env::join_paths(dirs).unwrap_or(usual)
}

fn is_there(program: &str) -> bool {
    which::which_in(program, Some(path()), "/").is_ok()
}

/// A namespace with a range of users, in which the guest's tree has its owners.
fn namespaces(system: &System) -> Result<(), Error> {
    let output = Cmd::new("unshare")
        .args(["--map-auto", "--map-root-user", "--mount", "true"])
        .env("PATH", path())
        .time_limit(Duration::from_secs(30))
        .output()
        .map_err(|error| Error::failed(error.to_string()))?;
    if output.exit.success() {
        return Ok(());
    }
    let error = Error::failed(format!(
        "cannot build an image as this user: no namespace with other users can be had: {}",
        output.stderr_tail(2)
    ));
    let restricted = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
    let restricted = std::fs::read_to_string(restricted).is_ok_and(|text| text.trim() == "1");
    let error = if restricted {
        let command = "sysctl kernel.apparmor_restrict_unprivileged_userns=0";
        error.hint(format!("until the next boot: {}", system.as_root(command)))
    } else {
        let command =
            "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 \"$(id -un)\"";
        error.hint(format!("where /etc/subuid does not name you: {}", system.as_root(command)))
    };
    Err(error.hint("git agent-vm image build --in-vm does without, in a VM, and takes longer"))
}

/// Fails where other users, as those of the guest's system are outside of it, cannot get to the
/// directory.
pub(super) fn is_open(dir: &Path) -> Result<(), Error> {
    for above in dir.ancestors() {
        let failed = |error| Error::failed(format!("cannot look at {}: {error}", above.display()));
        let mode = std::fs::metadata(above).map_err(failed)?.permissions().mode();
        if mode & 0o001 == 0 {
            return Err(Error::failed(format!(
                "cannot build an image in {}: {} is closed to other users, and the owners of the guest's files are such",
                dir.display(),
                above.display()
            ))
            .hint("TMPDIR=/var/tmp git agent-vm image build"));
        }
    }
    Ok(())
}

/// Fails where a file system has too little room for the work in `work`, and for what stays.
pub(super) fn room(work: &Path, images: &Path) -> Result<(), Error> {
    check_room(work, ROOM_TO_WORK, "set TMPDIR to a directory with more room")?;
    check_room(images, ROOM_TO_STAY, UNUSED)
}

/// The same for the disk of a VM that works, and for what stays.
pub(super) fn room_in_vm(vms: &Path, images: &Path) -> Result<(), Error> {
    check_room(vms, ROOM_TO_WORK + ROOM_FOR_VM, "set LIMA_HOME to a directory with more room")?;
    check_room(images, ROOM_TO_STAY, UNUSED)
}

fn check_room(dir: &Path, wanted: u64, hint: &str) -> Result<(), Error> {
    let failed = |error| Error::failed(format!("cannot look at {}: {error}", dir.display()));
    let free = state::free(dir).map_err(failed)?;
    if free >= wanted {
        return Ok(());
    }
    Err(Error::failed(format!(
        "too little room in {}: {} are free, and building an image takes up to {}",
        dir.display(),
        ui::size(free),
        ui::size(wanted)
    ))
    .hint(hint))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;
    use crate::packages::Signs;

    fn system(os_release: &str, macos: bool, programs: &[&str]) -> System {
        let signs = Signs { os_release, kernel: "", macos, root: false, arch: "x86_64" };
        System::of(signs, |program| programs.contains(&program))
    }

    #[test]
    fn the_host_builds_where_it_is_debians_kin() {
        for debian in ["ID=debian\n", "ID=ubuntu\nID_LIKE=debian\n"] {
            assert!(is_possible(&system(debian, false, &["apt-get"])));
        }
        for other in [system("", true, &["brew"]), system("ID=fedora\n", false, &["dnf"])] {
            assert!(!is_possible(&other));
        }
    }

    #[test]
    fn a_directory_below_a_closed_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("below");
        std::fs::create_dir(&below).unwrap();
        let mode = |mode| std::fs::set_permissions(dir.path(), Permissions::from_mode(mode));
        mode(0o711).unwrap();
        std::fs::set_permissions(&below, Permissions::from_mode(0o755)).unwrap();
        assert!(is_open(&below).is_ok());
        mode(0o700).unwrap();
        let error = is_open(&below).unwrap_err().to_string();
        assert!(error.contains(&format!("{} is closed", dir.path().display())), "{error}");
    }

    #[test]
    fn too_little_room_is_said_with_both_numbers() {
        let dir = tempfile::tempdir().unwrap();
        assert!(check_room(dir.path(), 1, "").is_ok());
        let error = check_room(dir.path(), u64::MAX, "make some").unwrap_err();
        assert!(error.to_string().contains(" are free, and "), "{error}");
        assert_eq!(error.hints(), ["make some"]);
    }
}
