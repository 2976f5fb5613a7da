//! Whether QEMU can use KVM here. Lima only looks whether `/dev/kvm` is there; where it can't be
//! opened, or is broken as on many virtual hosts, QEMU would end at once.
//!
//! On macOS Lima uses the system's own hypervisor, and there is nothing to find out.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use crate::config::Accel;
use crate::error::Error;
use crate::process::{Cmd, ProcessError};
use crate::state;
use crate::ui;

/// What limactl's environment needs for emulation, or nothing. Warns where `auto` has to emulate.
pub(crate) fn environment(choice: Accel) -> anyhow::Result<Option<(String, String)>> {
    if !cfg!(target_os = "linux") {
        return Ok(None);
    }
    require_qemu()?;
    let qemu = qemu();
    if choice == Accel::Tcg {
        return Ok(Some(emulation(&qemu)));
    }
    let Err(why) = probe(&qemu) else { return Ok(None) };
    if choice == Accel::Kvm {
        return Err(Error::failed(format!("agentvm.accel is 'kvm', but {why}"))
            .hint("agentvm.accel=auto falls back to emulation")
            .into());
    }
    ui::warning(&format!("{why}: the VM is emulated, which is about ten times slower"));
    Ok(Some(emulation(&qemu)))
}

/// The program that runs the VM on this machine.
pub(crate) fn qemu() -> String {
    format!("qemu-system-{}", std::env::consts::ARCH)
}

/// Fails with exit code 5 where QEMU is needed and missing.
pub(crate) fn require_qemu() -> Result<(), Error> {
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    let qemu = qemu();
    which::which(&qemu).map(|_| ()).map_err(|_| {
        let package = if qemu.ends_with("aarch64") { "qemu-system-arm" } else { "qemu-system-x86" };
        Error::missing_program(format!("the program '{qemu}' was not found: it runs the VM"))
            .hint(format!("on Debian: sudo apt-get install {package} qemu-utils"))
    })
}

/// Lima takes the machine and the processor from here in favour of its own.
fn emulation(qemu: &str) -> (String, String) {
    let machine = if qemu.ends_with("x86_64") { "q35,vmport=off" } else { "virt" };
    let name = qemu.to_ascii_uppercase().replace('-', "_");
    (name, format!("{qemu} -machine {machine},accel=tcg -cpu max"))
}

/// What stands in the way of KVM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoKvm {
    /// There is no `/dev/kvm`.
    Missing,
    /// `/dev/kvm` may not be opened.
    Closed,
    /// It can be opened, and does not work; the text says how that showed.
    Broken(String),
}

impl std::fmt::Display for NoKvm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoKvm::Missing => f.write_str("this machine has no KVM (/dev/kvm is missing)"),
            NoKvm::Closed => {
                f.write_str("KVM is closed to you (/dev/kvm; the group 'kvm' usually opens it)")
            }
            NoKvm::Broken(how) => write!(f, "KVM does not work here ({how})"),
        }
    }
}

/// Whether KVM works, tried out for a second. Remembers nothing.
pub(crate) fn try_kvm() -> Result<(), NoKvm> {
    open_device()?;
    run_for_a_second(&qemu()).map_err(NoKvm::Broken)
}

fn open_device() -> Result<(), NoKvm> {
    let device = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm");
    device.map(|_| ()).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => NoKvm::Missing,
        std::io::ErrorKind::PermissionDenied => NoKvm::Closed,
        _ => NoKvm::Broken(format!("/dev/kvm: {error}")),
    })
}

/// Why KVM can't be used.
fn probe(qemu: &str) -> Result<(), NoKvm> {
    open_device()?;
    // A working KVM goes on working until the next boot of this machine.
    let remembered = state::root().ok().map(|root| root.join("kvm-works"));
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    if let Some(path) = &remembered
        && !boot.is_empty()
        && std::fs::read_to_string(path).is_ok_and(|text| text == boot)
    {
        return Ok(());
    }
    run_for_a_second(qemu).map_err(NoKvm::Broken)?;
    if let Some(path) = &remembered {
        // Only a saving of time.
        state::write_private(path, boot.as_bytes()).ok();
    }
    Ok(())
}

/// A machine without a disk, for a second: a broken KVM ends QEMU or stops the machine.
fn run_for_a_second(qemu: &str) -> Result<(), String> {
    let machine = if qemu.ends_with("x86_64") { "q35" } else { "virt" };
    let mut child = Cmd::new(qemu)
        .args(["-accel", "kvm", "-machine", machine, "-cpu", "host", "-m", "64"])
        .args(["-nodefaults", "-display", "none", "-qmp", "stdio"])
        .spawn()
        .map_err(|error: ProcessError| error.to_string())?;
    let collect = |pipe: Option<Box<dyn std::io::Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(pipe) = pipe {
                pipe.take(64 << 10).read_to_end(&mut bytes).ok();
            }
            bytes
        })
    };
    let said = collect(child.stdout().map(|pipe| Box::new(pipe) as _));
    let complained = collect(child.stderr().map(|pipe| Box::new(pipe) as _));
    let ended = child.wait_for(Some(Duration::from_secs(1))).map_err(|error| error.to_string())?;
    if ended.is_none() {
        if let Some(mut pipe) = child.stdin() {
            // If it ends meanwhile, what it said tells.
            pipe.write_all(
                b"{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"query-status\"}\n{\"execute\":\"quit\"}\n",
            )
            .ok();
        }
        child.wait_for(Some(Duration::from_secs(5))).map_err(|error| error.to_string())?;
    }
    child.kill();
    let said = said.join().unwrap_or_default();
    if String::from_utf8_lossy(&said).contains("\"status\": \"running\"") {
        return Ok(());
    }
    let complained = complained.join().unwrap_or_default();
    let last = complained.trim_ascii().split(|&byte| byte == b'\n').next_back().unwrap_or_default();
    let last = crate::sanitize::line(last);
    Err(if last.is_empty() { "a test machine did not run".into() } else { last.into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emulation_is_asked_for_by_the_variable_of_the_architecture() {
        assert_eq!(
            emulation("qemu-system-x86_64"),
            (
                "QEMU_SYSTEM_X86_64".into(),
                "qemu-system-x86_64 -machine q35,vmport=off,accel=tcg -cpu max".into()
            )
        );
        assert_eq!(emulation("qemu-system-aarch64").0, "QEMU_SYSTEM_AARCH64");
    }

    #[test]
    fn the_probe_comes_to_an_end_whatever_kvm_is_like() {
        if which::which(qemu()).is_err() {
            return;
        }
        let started = std::time::Instant::now();
        let outcome = run_for_a_second(&qemu());
        assert!(started.elapsed() < Duration::from_secs(20), "{outcome:?}");
        if let Err(why) = outcome {
            assert!(!why.is_empty() && !why.contains('\n'));
        }
    }
}
