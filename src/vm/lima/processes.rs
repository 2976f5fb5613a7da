//! Which processes belong to an instance, as the system sees it and not as PID files say: those
//! may be gone, or name a process that has nothing to do with it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::process::Cmd;

/// The names that an instance's disk has had in Lima's versions.
const DISKS: [&str; 2] = ["disk", "diffdisk"];

/// The disks that an instance directory holds, links resolved.
pub(crate) fn disks(instance_dir: &Path) -> Vec<PathBuf> {
    DISKS.iter().filter_map(|name| instance_dir.join(name).canonicalize().ok()).collect()
}

/// Processes of ours that have a disk of this instance open.
pub(crate) fn holding(instance_dir: &Path) -> Vec<i32> {
    let disks = disks(instance_dir);
    if disks.is_empty() {
        return Vec::new();
    }
    if cfg!(target_os = "linux") { holding_linux(&disks) } else { holding_lsof(&disks) }
}

fn holding_linux(disks: &[PathBuf]) -> Vec<i32> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            // Other users' processes can't be looked into, and can't have a file of ours.
            let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
            files.filter_map(Result::ok).any(|file| {
                std::fs::read_link(file.path()).is_ok_and(|target| disks.contains(&target))
            })
        });
    pids.collect()
}

fn holding_lsof(disks: &[PathBuf]) -> Vec<i32> {
    let output = Cmd::new("lsof")
        .args(["-t", "--"])
        .args(disks)
        .time_limit(Duration::from_secs(20))
        .output();
    // Without lsof nothing is found, and Lima's own checks are all there is.
    output.map_or_else(
        |_| Vec::new(),
        |output| {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
        },
    )
}

/// Whether a process is one of this instance: its command line names the instance's directory, or
/// it is the host agent of that name.
pub(crate) fn belongs(pid: i32, instance_dir: &Path) -> bool {
    let Some(words) = command_line(pid) else { return false };
    let dir = instance_dir.display().to_string();
    words.contains(&format!("{dir}/"))
}

fn command_line(pid: i32) -> Option<String> {
    if cfg!(target_os = "linux") {
        let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        return Some(String::from_utf8_lossy(&bytes).replace('\0', " "));
    }
    let output = Cmd::new("ps")
        .args(["-ww", "-o", "command=", "-p", &pid.to_string()])
        .time_limit(Duration::from_secs(10))
        .output()
        .ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(crate) fn is_alive(pid: i32) -> bool {
    // A zombie can be signalled, and runs no more.
    Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid).is_ok()) && !is_zombie(pid)
}

fn is_zombie(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}

/// Ends processes that [`belongs`] or [`holding`] named.
pub(crate) fn end(pids: &[i32], signal: Signal) {
    for pid in pids.iter().filter_map(|&pid| Pid::from_raw(pid)) {
        // One that has ended by itself is as good.
        kill_process(pid, signal).ok();
    }
}

/// Waits until none of them runs. Gives those that still do.
pub(crate) fn wait_gone(pids: &[i32], limit: Duration) -> Vec<i32> {
    let deadline = Instant::now() + limit;
    loop {
        let left: Vec<i32> = pids.iter().copied().filter(|&pid| is_alive(pid)).collect();
        if left.is_empty() || Instant::now() >= deadline {
            return left;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_holds_the_disk_is_found_by_any_of_its_names() {
        for name in ["disk", "diffdisk", "link"] {
            let dir = tempfile::tempdir().unwrap();
            let mut path = dir.path().join(name);
            std::fs::write(&path, "").unwrap();
            if name == "link" {
                let link = dir.path().join("disk");
                std::os::unix::fs::symlink(&path, &link).unwrap();
                path = link;
            }
            assert!(holding(dir.path()).is_empty());
            let script = "exec 3<\"$0\"; echo; exec sleep 60";
            let mut child = Cmd::new("sh").args(["-c", script]).arg(&path).spawn().unwrap();
            let mut line = [0];
            std::io::Read::read_exact(&mut child.stdout().unwrap(), &mut line).unwrap();
            let pid = i32::try_from(child.id()).unwrap();
            assert_eq!(holding(dir.path()), [pid], "{name}");
            assert!(is_alive(pid));
            child.kill();
            assert!(wait_gone(&[pid], Duration::from_secs(5)).is_empty());
        }
    }

    #[test]
    fn a_stranger_does_not_belong() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(!belongs(own, Path::new("/no/such/instance")));
    }
}
