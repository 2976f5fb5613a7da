//! The shared ssh connections: a socket without a live master behind it, or one that hangs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Check, Situation, shell_path};
use crate::process::{Cmd, ProcessError};
use crate::ssh::MASTER_SOCKET;
use crate::state;

/// A live master answers at once.
const PATIENCE: Duration = Duration::from_secs(2);
/// As many are asked, all at the same time.
const MOST: usize = 16;

/// How a master answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Live,
    Dead,
    Hangs,
}

pub(super) fn look(_: &Situation) -> Vec<Check> {
    let Ok(root) = state::place() else { return Vec::new() };
    let asked: Vec<_> = ["vm", "ssh"]
        .iter()
        .filter_map(|kind| std::fs::read_dir(root.join(kind)).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|dir| dir.join(MASTER_SOCKET).exists())
        .take(MOST)
        .map(|dir| (dir.clone(), std::thread::spawn(move || ask(&dir))))
        .collect();
    let mut checks = Vec::new();
    for (dir, answer) in asked {
        if let Ok(Some(answer)) = answer.join() {
            checks.push(judge(&dir, answer, master_of(&dir)));
        }
    }
    checks
}

/// `None` where ssh itself is missing.
fn ask(dir: &Path) -> Option<Answer> {
    let path = format!("ControlPath={MASTER_SOCKET}");
    let outcome = Cmd::new("ssh")
        .current_dir(dir)
        .args(["-F", "none", "-o", &path, "-O", "check", "--", "vm"])
        .time_limit(PATIENCE)
        .output();
    match outcome {
        Ok(output) if output.exit.success() => Some(Answer::Live),
        Ok(_) => Some(Answer::Dead),
        Err(ProcessError::TimedOut(..)) => Some(Answer::Hangs),
        Err(_) => None,
    }
}

/// The process that listens at the socket, which ssh names after it.
fn master_of(dir: &Path) -> Option<u32> {
    let dir = dir.canonicalize().ok()?;
    std::fs::read_dir("/proc").ok()?.filter_map(Result::ok).find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let title = std::fs::read(entry.path().join("cmdline")).ok()?;
        let is_master =
            title.starts_with(b"ssh: ") && title.windows(5).any(|part| part == b"[mux]");
        (is_master && std::fs::read_link(entry.path().join("cwd")).ok()? == dir).then_some(pid)
    })
}

fn judge(dir: &Path, answer: Answer, pid: Option<u32>) -> Check {
    const ID: &str = "master-connection";
    let socket: PathBuf = dir.join(MASTER_SOCKET);
    let shown = socket.display();
    let remove = format!("rm -f {}", shell_path(&socket));
    match (answer, pid) {
        (Answer::Live, _) => Check::ok(ID, format!("the shared connection {shown} answers")),
        (Answer::Dead, _) => Check::info(ID, format!("nobody listens at {shown}"))
            .why("it is left from a connection that ended hard; the next command makes a new one")
            .fix(remove),
        (Answer::Hangs, Some(pid)) => {
            Check::warning(ID, format!("the shared connection {shown} hangs (process {pid})"))
                .why("commands wait for it before they go on without it")
                .fix(format!("kill -KILL {pid}; {remove}"))
        }
        (Answer::Hangs, None) => Check::warning(ID, format!("the shared connection {shown} hangs"))
            .why("commands wait for it before they go on without it")
            .fix(remove),
    }
}
