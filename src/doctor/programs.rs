//! The programs that we need, and our own two.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Check, Situation, shell_path};
use crate::config::ProviderKind;
use crate::packages::{Package, System};
use crate::process::{Cmd, Output};
use crate::vm::lima;

/// Our own helper, which git starts.
pub(super) const HELPER: &str = "git-remote-agentvm";
const OURS: &str = env!("CARGO_PKG_VERSION");

/// Asks a program one thing.
pub(super) fn ask(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Option<Output> {
    Cmd::new(program).args(args).env("LC_ALL", "C").time_limit(Duration::from_secs(4)).output().ok()
}

/// The first line that a program prints of its version, on whichever stream.
fn version_line(program: &str, args: &[&str]) -> String {
    let output = ask(program, args);
    let text =
        output.map(|output| if output.stdout.is_empty() { output.stderr } else { output.stdout });
    let text = text.unwrap_or_default();
    let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    crate::sanitize::line(line).chars().take(60).collect()
}

pub(super) fn look(situation: &Situation) -> Vec<Check> {
    let system = &situation.system;
    let mut checks = vec![ssh(system)];
    if situation.config.provider == ProviderKind::Lima {
        checks.push(keygen(system));
        if !system.macos {
            checks.extend(qemu(system));
        }
        checks.extend(mmdebstrap(system));
    }
    checks.push(helper());
    checks.push(command());
    checks
}

fn ssh(system: &System) -> Check {
    if which::which("ssh").is_err() {
        return Check::missing("ssh", "ssh was not found")
            .why("it is the only way into the VM")
            .fix(system.install(Package::Ssh));
    }
    let version = version_line("ssh", &["-V"]);
    let number = version.split(',').next().unwrap_or_default().trim();
    if number.starts_with("OpenSSH") {
        Check::ok("ssh", number)
    } else {
        let said = if number.is_empty() { "nothing" } else { number };
        Check::warning("ssh", format!("ssh is not OpenSSH: it says {said}"))
            .why("its options may be other ones")
            .fix(system.install(Package::Ssh))
    }
}

fn keygen(system: &System) -> Check {
    if which::which("ssh-keygen").is_ok() {
        return Check::ok("ssh-keygen", "ssh-keygen is there");
    }
    Check::missing("ssh-keygen", "ssh-keygen was not found")
        .why("it makes the key by which the VM is known")
        .fix(system.install(Package::Ssh))
}

fn qemu(system: &System) -> Vec<Check> {
    let name = lima::qemu();
    if which::which(&name).is_err() {
        return vec![
            Check::missing("qemu", format!("{name} was not found"))
                .why("it runs the VM")
                .fix(system.install(Package::Qemu)),
        ];
    }
    let version = version_line(&name, &["--version"]);
    let version = version.strip_prefix("QEMU emulator version ").unwrap_or(&version);
    let version = version.split(' ').next().unwrap_or_default();
    let mut checks = vec![Check::ok("qemu", format!("QEMU {version}").trim())];
    if which::which("qemu-img").is_err() {
        checks.push(
            Check::warning("qemu", "qemu-img was not found")
                .why("Lima makes the VM's disk with it")
                .fix(system.install(Package::Qemu)),
        );
    }
    checks
}

/// Only `git agent-vm image build` needs it, on Debian and its kin.
fn mmdebstrap(system: &System) -> Option<Check> {
    if which::which("mmdebstrap").is_ok() {
        return Some(Check::ok("mmdebstrap", "mmdebstrap is there, for git agent-vm image build"));
    }
    let install = system.install(Package::Mmdebstrap);
    install.contains("apt-get").then(|| {
        Check::info("mmdebstrap", "mmdebstrap is not installed")
            .why("only git agent-vm image build needs it, for a quicker first start of a VM")
            .fix(install)
    })
}

/// The helper that git starts, in the directories where git looks.
fn helper() -> Check {
    let beside = beside_us(HELPER);
    let Some(path) = find_helper() else {
        let check = Check::missing("helper", format!("git finds no {HELPER}"))
            .why("git push and fetch know nothing of agentvm:: without it");
        return match beside.as_deref().and_then(Path::parent) {
            Some(dir) => check.fix(format!("export PATH={}:\"$PATH\"", shell_path(dir))),
            None => check.fix(INSTALL_US),
        };
    };
    let said = ask(&path, &["--version"]).map(|output| output.stdout).unwrap_or_default();
    let said = crate::sanitize::line(said.trim_ascii()).into_owned();
    same_version("helper", &path, said.strip_prefix("git-remote-agentvm "))
}

/// `git-agent-vm` as git finds it, which may be another than this one.
fn command() -> Check {
    let Ok(path) = which::which("git-agent-vm") else {
        let check = Check::warning("command", "git finds no git-agent-vm in PATH")
            .why("git agent-vm does not work, though this one was started by its path");
        return match std::env::current_exe().ok().as_deref().and_then(Path::parent) {
            Some(dir) => check.fix(format!("export PATH={}:\"$PATH\"", shell_path(dir))),
            None => check.fix(INSTALL_US),
        };
    };
    let us = std::env::current_exe().and_then(|exe| exe.canonicalize()).ok();
    if us.is_some() && path.canonicalize().ok() == us {
        return Check::ok("command", format!("git-agent-vm {OURS}"));
    }
    let said = ask(&path, &["--version"]).map(|output| output.stdout).unwrap_or_default();
    let said = crate::sanitize::line(said.trim_ascii()).into_owned();
    same_version("command", &path, said.strip_prefix("git-agent-vm "))
}

const INSTALL_US: &str = "in a clone of git-agent-vm: cargo install --locked --path .";

fn same_version(id: &'static str, path: &Path, version: Option<&str>) -> Check {
    let path = path.display();
    match version {
        Some(OURS) => Check::ok(id, format!("{path} {OURS}")),
        Some(other) => Check::warning(id, format!("{path} is {other}, and this is {OURS}"))
            .why("two versions do not always agree with each other")
            .fix(INSTALL_US),
        None => Check::error(id, format!("{path} does not say its version"))
            .why("git would start it")
            .fix(INSTALL_US),
    }
}

pub(super) fn find_helper() -> Option<PathBuf> {
    which::which(HELPER).ok().or_else(|| {
        let dir = ask("git", &["--exec-path"])?.stdout;
        let dir = PathBuf::from(String::from_utf8(dir).ok()?.trim());
        Some(dir.join(HELPER)).filter(|path| path.exists())
    })
}

/// A program of ours that lies beside this one.
fn beside_us(name: &str) -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.parent()?.join(name);
    path.exists().then_some(path)
}

/// The package that a program is of, with its name for people.
pub(super) fn owner(system: &System, program: &str) -> Option<String> {
    let path = which::which(program).ok()?;
    let (manager, args) = system.owner_command()?.split_first()?;
    // Where /bin is a link to /usr/bin, packages know one of the names.
    let mut names = vec![path.clone(), path.canonicalize().ok()?];
    if let Ok(rest) = path.strip_prefix("/bin") {
        names.push(Path::new("/usr/bin").join(rest));
    }
    names.iter().find_map(|name| {
        let name = name.to_str()?;
        let output = ask(manager, &[args, &[name]].concat())?;
        let text = String::from_utf8_lossy(output.stdout.trim_ascii()).into_owned();
        let said = text.lines().next().filter(|_| output.exit.success())?.to_owned();
        // `git: /usr/bin/git`, `git-2.50.1-1.fc42.x86_64`, `git`, `… is owned by git-2.49.1-r0`.
        let package = said.rsplit(" is owned by ").next().unwrap_or(&said);
        let package = package.split(": ").next().unwrap_or(package);
        Some(format!("the package {package}"))
    })
}
