//! git's settings that let what an agent made run here, or keep `agentvm::` from working.

use std::path::{Path, PathBuf};

use super::sources::Entry;
use super::{Check, Situation, mirrors};
use crate::config::ProviderKind;
use crate::mount::Mount;
use crate::remote::fetch;

pub(super) fn look(situation: &Situation) -> Vec<Check> {
    let allowed = std::env::var("GIT_ALLOW_PROTOCOL").ok();
    let mut checks: Vec<Check> = [
        safe_directory(situation),
        Some(bare_repository(situation)),
        protocol(situation, allowed.as_deref()),
        hooks(situation),
        ssh_command(situation),
    ]
    .into_iter()
    .flatten()
    .collect();
    checks.extend(fsck(situation));
    checks.extend(mirrors::look(situation));
    checks
}

/// Everything, or the mount at least: its files have no owner, so git would refuse them without.
fn safe_directory(situation: &Situation) -> Option<Check> {
    let mount = Mount::look(&situation.config).ok();
    let trusted = situation.config.trusted.iter().find(|trusted| {
        trusted.value == "*" || mount.as_ref().is_some_and(|mount| trusted.reaches(mount.path()))
    })?;
    let value = &trusted.value;
    let what = format!("safe.directory is {value} in {}", trusted.origin);
    let entry = situation
        .entries
        .iter()
        .find(|entry| entry.key == "safe.directory" && entry.value == *value);
    let pattern = format!("^{}$", value.replace('*', r"\*").replace('.', r"\."));
    Some(
        Check::warning("safe-directory", what)
            .why("git then trusts repositories of any owner, those in the mount of the VM's workspaces too, whose hooks and settings would run programs here; they are not mounted therefore")
            .maybe_fix(entry.and_then(|entry| entry.unset(&situation.system, Some(&pattern)))),
    )
}

fn bare_repository(situation: &Situation) -> Check {
    const ID: &str = "bare-repository";
    let protected = situation.entries.iter().rev().find(|entry| {
        entry.key == "safe.barerepository" && !matches!(entry.scope.as_str(), "local" | "worktree")
    });
    if protected.is_some_and(|entry| entry.value == "explicit") {
        return Check::ok(ID, "safe.bareRepository is explicit");
    }
    Check::info(ID, "safe.bareRepository is not explicit")
            .why("a bare repository that an agent committed as plain files can run a program here as soon as git, or a prompt, is used in its directory")
            .fix("git config --global safe.bareRepository explicit")
}

/// What git itself says to `agentvm::`. Without a word it is allowed to whoever types it.
fn protocol(situation: &Situation, allowed: Option<&str>) -> Option<Check> {
    const ID: &str = "protocol";
    if let Some(allowed) = allowed {
        return (!allowed.split(':').any(|name| name == "agentvm")).then(|| {
            Check::error(ID, format!("GIT_ALLOW_PROTOCOL is '{allowed}', without agentvm"))
                .why("git refuses agentvm:: addresses")
                .fix("export GIT_ALLOW_PROTOCOL=\"$GIT_ALLOW_PROTOCOL:agentvm\"")
        });
    }
    let entry = ["protocol.agentvm.allow", "protocol.allow"]
        .iter()
        .find_map(|key| situation.entries.iter().rev().find(|entry| entry.key == *key))?;
    let what = format!("{} is {} in {}", entry.key, entry.value, entry.place());
    match entry.value.to_ascii_lowercase().as_str() {
        "never" => Some(
            Check::error(ID, what)
                .why("git refuses agentvm:: addresses")
                .fix("git config --global protocol.agentvm.allow user"),
        ),
        "always" => Some(
            Check::warning(ID, what)
                .why("a submodule or a redirection could name an agentvm:: address, and nobody typed it")
                .fix("git config --global protocol.agentvm.allow user"),
        ),
        _ => None,
    }
}

/// Checks of objects that the user switched off, and that a fetch from a workspace does not switch
/// on by itself.
fn fsck(situation: &Situation) -> Vec<Check> {
    let loose = |entry: &&Entry| match entry.key.strip_prefix("fetch.fsck.") {
        Some(fault) => {
            !fetch::pins(fault)
                && matches!(entry.value.to_ascii_lowercase().as_str(), "ignore" | "warn")
        }
        None => false,
    };
    let check = |entry: &Entry| {
        Check::warning("fsck", format!("{} is {} in {}", entry.key, entry.value, entry.place()))
            .why("a fetch takes objects with that fault, those of an agent too")
            .maybe_fix(entry.unset(&situation.system, None))
    };
    situation.entries.iter().filter(loose).map(check).collect()
}

/// Hooks that are files of the repository: whoever can change a branch can change them.
fn hooks(situation: &Situation) -> Option<Check> {
    let repo = situation.repo.as_ref()?;
    let entry = situation.entries.iter().rev().find(|entry| entry.key == "core.hookspath")?;
    let path = expand_home(&entry.value);
    if path.as_os_str().is_empty() || !in_tree(&path, repo.work_dir()?, repo.common_dir()) {
        return None;
    }
    let what = format!("core.hooksPath is {} in {}", entry.value, entry.place());
    let why = "hooks are files of a branch then: after a merge of an agent's work, git runs here what the agent wrote; read changes there before you merge";
    let check = if situation.repo_is_used() {
        Check::warning("hooks-path", what)
    } else {
        Check::info("hooks-path", what)
    };
    Some(check.why(why).maybe_fix(entry.unset(&situation.system, None)))
}

fn in_tree(path: &Path, work_dir: &Path, common_dir: &Path) -> bool {
    // As git takes it: a relative one from the top of the working tree.
    let path = work_dir.join(path);
    path.starts_with(work_dir) && !path.starts_with(common_dir)
}

fn expand_home(value: &str) -> PathBuf {
    match (value.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(value),
    }
}

/// Who has set one may wonder why it is not used.
fn ssh_command(situation: &Situation) -> Option<Check> {
    if situation.config.provider != ProviderKind::Ssh {
        return None;
    }
    let set =
        ["GIT_SSH_COMMAND", "GIT_SSH"].into_iter().find(|name| std::env::var_os(name).is_some());
    let name = set.or_else(|| situation.setting("core.sshcommand").map(|_| "core.sshCommand"))?;
    Some(
        Check::info(
            "ssh-command",
            format!("{name} is set, and is not used for agentvm:: addresses"),
        )
        .why("neither is ~/.ssh/config")
        .fix("git config --global agentvm.sshConfig FILE"),
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::Severity;
    use super::super::sources::parse;
    use super::*;
    use crate::config::Config;
    use crate::packages::System;

    pub(in super::super) fn with(entries: &[(&str, &str, &str)]) -> Situation {
        let bytes: String = entries
            .iter()
            .map(|(scope, key, value)| {
                format!("{scope}\0file:/home/u/.gitconfig\0{key}\n{value}\0")
            })
            .collect();
        let entries = parse(bytes.as_bytes());
        let settings: Vec<_> = entries.iter().map(Entry::setting).collect();
        let config = Config::lenient(&settings).0;
        Situation { system: System::here(), config, entries, repo: None }
    }

    #[test]
    fn everybodys_repositories_are_trusted_only_where_git_listens() {
        let star = ("global", "safe.directory", "*");
        assert!(safe_directory(&with(&[star])).is_some());
        assert!(safe_directory(&with(&[star, ("global", "safe.directory", "")])).is_none());
        assert!(safe_directory(&with(&[("local", "safe.directory", "*")])).is_none());
        assert!(safe_directory(&with(&[("global", "safe.directory", "/x/*")])).is_none());
        let home = std::env::home_dir().unwrap().canonicalize().unwrap();
        let below = format!("{}/*", home.display());
        assert!(safe_directory(&with(&[("global", "safe.directory", &below)])).is_some());
    }

    #[test]
    fn a_protocol_that_is_closed_or_too_open() {
        let severity =
            |entries: &[_], allowed| protocol(&with(entries), allowed).map(|check| check.severity);
        let set = |value| ("global", "protocol.agentvm.allow", value);
        assert_eq!(severity(&[set("never")], None), Some(Severity::Error));
        assert_eq!(severity(&[set("always")], None), Some(Severity::Warning));
        assert_eq!(severity(&[set("user")], None), None);
        let never = ("global", "protocol.allow", "never");
        assert_eq!(severity(&[never], None), Some(Severity::Error));
        assert_eq!(severity(&[never, set("user")], None), None);
        assert_eq!(severity(&[never], Some("https:agentvm")), None);
        assert_eq!(severity(&[], Some("https:ssh")), Some(Severity::Error));
    }

    #[test]
    fn loosened_checks_of_objects_are_found_unless_a_fetch_tightens_them() {
        let found = |key, value| fsck(&with(&[("global", key, value)])).len();
        assert_eq!(found("fetch.fsck.badtimezone", "error"), 0);
        assert_eq!(found("fetch.fsck.skiplist", "/x"), 0);
        assert_eq!(found("fetch.fsck.somenewfault", "ignore"), 1);
        assert_eq!(found("fetch.fsckobjects", "true"), 0);
    }

    #[test]
    fn hooks_in_the_tree_are_told_from_others() {
        let tree = |path: &str| in_tree(Path::new(path), Path::new("/r"), Path::new("/r/.git"));
        assert!(tree(".husky") && tree("/r/.husky"));
        assert!(!tree("/home/u/hooks") && !tree(".git/hooks") && !tree("/r/.git/my"));
    }
}
