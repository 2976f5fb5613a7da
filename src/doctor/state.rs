//! The state directory: who may look into it, and what is left of things that are gone.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{Check, Situation, shell_path};
use crate::config::ProviderKind;
use crate::identity::RepoId;
use crate::packages::System;
use crate::state;
use crate::vm::lima;

/// More files than these are not looked at.
const MOST: usize = 2000;

pub(super) fn look(situation: &Situation) -> Vec<Check> {
    let root = match state::place() {
        Ok(root) => root,
        Err(error) => {
            return vec![
                Check::error("state-permissions", format!("{error:#}"))
                    .why("what the host remembers of the VM is kept there")
                    .fix("export HOME=/home/YOU"),
            ];
        }
    };
    let mut checks = permissions(&situation.system, &root, situation.config.provider);
    if root.is_dir() {
        checks.extend(records(&root.join("repositories")));
        checks.extend(locks(&root));
    }
    checks
}

/// Everything is ours, and no secret can be read by others.
fn permissions(system: &System, root: &Path, provider: ProviderKind) -> Vec<Check> {
    const ID: &str = "state-permissions";
    if !root.exists() {
        return vec![Check::ok(ID, "there is no state yet")];
    }
    let us = rustix::process::geteuid().as_raw();
    let mut checks = Vec::new();
    let mut todo = vec![root.to_owned()];
    let mut looked = 0;
    let mut foreign = None;
    while let Some(path) = todo.pop() {
        looked += 1;
        let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
        if meta.uid() != us && foreign.is_none() {
            foreign = Some(path.clone());
        }
        if looked < MOST && meta.is_dir() {
            match std::fs::read_dir(&path) {
                Ok(entries) => todo.extend(entries.filter_map(|entry| Some(entry.ok()?.path()))),
                Err(error) => checks.push(
                    Check::error(ID, format!("cannot look into {}: {error}", path.display()))
                        .why("git agent-vm cannot either")
                        .fix(format!("chmod 700 {}", shell_path(&path))),
                ),
            }
        }
        checks.extend(open_to_others(&path, root, &meta));
    }
    let key = (provider == ProviderKind::Lima).then(lima::home).and_then(Result::ok);
    let key = key.map(|home| home.join("_config/user"));
    if let Some((key, meta)) = key.and_then(|key| Some((key.clone(), std::fs::metadata(key).ok()?)))
    {
        checks.extend(open_to_others(&key, root, &meta));
    }
    if let Some(path) = foreign {
        checks.push(
            Check::error(ID, format!("{} belongs to another user", path.display()))
                .why("git agent-vm was run as root once, or HOME is not yours")
                .fix(
                    system.as_root(&format!("chown -R \"$(id -u):$(id -g)\" {}", shell_path(root))),
                ),
        );
    }
    if checks.is_empty() {
        checks.push(Check::ok(ID, format!("{} is yours alone", root.display())));
    }
    checks
}

fn open_to_others(path: &Path, root: &Path, meta: &std::fs::Metadata) -> Option<Check> {
    let name = path.file_name().unwrap_or_default();
    let secret = name == "host_key" || name == "user";
    let mode = meta.mode() & 0o777;
    // Below a private directory nobody gets at the rest.
    let private = (path == root) || (secret && meta.is_file());
    let others = mode & 0o077;
    if !private || others == 0 {
        return None;
    }
    let right = if meta.is_dir() { "700" } else { "600" };
    let what = format!("{} can be read by others (mode {mode:03o})", path.display());
    let check = if secret {
        Check::error("state-permissions", what).why("it is a private key: ssh refuses it like that")
    } else {
        Check::warning("state-permissions", what).why("who reads it learns how to reach the VM")
    };
    Some(check.fix(format!("chmod {right} {}", shell_path(path))))
}

/// Records of repositories whose directory is gone.
fn records(dir: &Path) -> Vec<Check> {
    const ID: &str = "repository-record";
    let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok).take(MOST);
    let gone: Vec<(PathBuf, PathBuf)> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| RepoId::new(name).is_some()))
        .filter_map(|entry| {
            let bytes = std::fs::read(entry.path()).ok()?;
            let at = bytes.iter().position(|&byte| byte == b'\n')?;
            let repo = PathBuf::from(std::ffi::OsStr::from_bytes(&bytes[at + 1..]));
            let missing = std::fs::symlink_metadata(&repo)
                .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
            missing.then_some((entry.path(), repo))
        })
        .collect();
    let Some((_, first)) = gone.first() else { return Vec::new() };
    let more = gone.len() - 1;
    let and = if more > 0 { format!(" and {more} more") } else { String::new() };
    // A command that fills the screen helps nobody.
    let ids: Vec<String> = gone
        .iter()
        .take(20)
        .filter_map(|(file, _)| file.file_name())
        .map(|id| id.display().to_string())
        .collect();
    vec![
        Check::info(ID, format!("a repository is gone: {}{and}", first.display()))
            .why("its record does no harm; its workspaces, if it had any, are in the VM still (git agent-vm status)")
            .fix(format!("cd {} && rm {}", shell_path(dir), ids.join(" "))),
    ]
}

/// Locks that a command holds, which others wait for.
fn locks(root: &Path) -> Vec<Check> {
    let files = [root.join("vm"), root.join("repositories")]
        .into_iter()
        .filter_map(|dir| std::fs::read_dir(dir).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().or(path.file_name()).is_some_and(|end| end == "lock"));
    files.take(MOST).filter_map(|path| held(&path)).collect()
}

fn held(path: &Path) -> Option<Check> {
    const ID: &str = "lock";
    let file = std::fs::File::open(path).ok()?;
    // The kernel gives a lock back when its holder ends, so one that is free is never stale.
    let taken = matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock));
    if !taken {
        return None;
    }
    let holder = std::fs::read_to_string(path).unwrap_or_default();
    let holder = holder.trim();
    let pid = holder.rsplit_once("(process ").and_then(|(_, rest)| rest.strip_suffix(')'));
    let pid: Option<u32> = pid.and_then(|pid| pid.parse().ok());
    let stat = pid.and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok());
    let stopped = stat.and_then(|stat| Some(stat.rsplit_once(") ")?.1.starts_with(['T', 't'])));
    Some(match (pid, stopped) {
        (Some(pid), Some(true)) => {
            Check::warning(ID, format!("others wait for {holder}, which is stopped"))
                .why("it was suspended (Ctrl-Z) while it held the lock")
                .fix(format!("kill -CONT {pid}"))
        }
        _ => Check::info(ID, format!("others would wait for {holder}")),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::Severity;
    use super::*;

    #[test]
    fn what_others_can_read_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("state");
        std::fs::create_dir_all(root.join("vm/x")).unwrap();
        let key = root.join("vm/x/host_key");
        std::fs::write(&key, "").unwrap();
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let look = || permissions(&System::here(), &root, ProviderKind::Ssh);
        set(&root, 0o700);
        set(&key, 0o600);
        assert_eq!(look()[0].severity, Severity::Ok);
        set(&root, 0o755);
        assert_eq!(look()[0].severity, Severity::Warning);
        set(&root, 0o700);
        set(&key, 0o644);
        let checks = look();
        assert_eq!(checks[0].fix, Some(format!("chmod 600 {}", key.display())));
        assert_eq!(checks[0].severity, Severity::Error);
    }

    #[test]
    fn a_lock_in_use_is_told_from_one_that_lies_about() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let lock = crate::state::Lock::take(&path, "naming").unwrap();
        let check = held(&path).unwrap();
        assert!(check.subject.contains("naming"), "{check:?}");
        drop(lock);
        assert_eq!(held(&path), None);
    }
}
