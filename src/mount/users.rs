//! Who uses a mount: the processes that keep it from being unmounted.
//!
//! Looks at links in `/proc` only, and never at a process's memory or at the mount itself: either
//! could hang with the mount.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::system::System;
use crate::process::Cmd;
use crate::sanitize;

/// The processes as `NAME (process PID)`, our own aside.
pub(crate) fn of(path: &Path) -> Vec<String> {
    match System::HERE {
        System::Linux => by_proc(path),
        System::Macos => by_lsof(path),
    }
}

fn by_proc(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<u32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids.retain(|pid| *pid != std::process::id());
    pids.into_iter()
        .filter(|pid| holds(Path::new(&format!("/proc/{pid}")), path))
        .map(|pid| {
            let name = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
            shown(&name, &pid.to_string())
        })
        .collect()
}

fn holds(process: &Path, path: &Path) -> bool {
    let leads_in = |link: PathBuf| {
        // A deleted file's name only has more at its end.
        std::fs::read_link(link).is_ok_and(|target| target.starts_with(path))
    };
    ["cwd", "root", "exe"].iter().any(|name| leads_in(process.join(name)))
        || std::fs::read_dir(process.join("fd"))
            .into_iter()
            .flatten()
            .flatten()
            .any(|descriptor| leads_in(descriptor.path()))
}

fn by_lsof(path: &Path) -> Vec<String> {
    let output = Cmd::new("/usr/sbin/lsof")
        .args(["-w", "-F", "pc", "--"])
        .arg(path)
        .time_limit(Duration::from_secs(5))
        .output();
    output.map(|output| parse_lsof(&output.stdout)).unwrap_or_default()
}

/// `lsof -F pc`: a line `pPID`, then `cNAME`.
fn parse_lsof(bytes: &[u8]) -> Vec<String> {
    let mut pid = String::new();
    let mut found = Vec::new();
    for line in bytes.split(|&byte| byte == b'\n') {
        match line.split_first() {
            Some((b'p', rest)) => pid = String::from_utf8_lossy(rest).into_owned(),
            Some((b'c', rest)) if pid != std::process::id().to_string() => {
                found.push(shown(rest, &pid));
            }
            _ => {}
        }
    }
    found
}

fn shown(name: &[u8], pid: &str) -> String {
    format!("{} (process {pid})", sanitize::line(name.trim_ascii_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_in_a_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let mut child = Cmd::new("sleep").arg("60").current_dir(&dir).spawn().unwrap();
        let wanted = format!("sleep (process {})", child.id());
        let mut found = by_proc(&dir);
        for _ in 0..100 {
            // Before it is `sleep`, it is a copy of us.
            if found == [wanted.as_str()] || !cfg!(target_os = "linux") {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
            found = by_proc(&dir);
        }
        assert!(found == [wanted.as_str()] || !cfg!(target_os = "linux"), "{found:?}");
        child.kill();
    }

    #[test]
    fn lsof_is_read() {
        assert_eq!(parse_lsof(b"p12\ncbash\nfcwd\np13\nc\x1b[1mvi\nf3\n").len(), 2);
        assert_eq!(parse_lsof(b"p12\ncbash\nfcwd\n"), ["bash (process 12)"]);
    }
}
