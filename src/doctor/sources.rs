//! What every topic rests on: git, the repository and the configuration with its sources.

use super::{Check, Situation, programs, releases, shell_word};
use crate::config::{self, Config, Problem, Setting};
use crate::git::{self, Repo, version};
use crate::identity::RepoId;
use crate::packages::{Package, System};
use crate::process::ProcessError;

/// One setting of git, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// `system`, `global`, `local`, `worktree` or `command`.
    pub(super) scope: String,
    /// `file:PATH`, `command line:`, …
    pub(super) origin: String,
    /// Section and name in lower case, the part between them as it is written.
    pub(super) key: String,
    pub(super) value: String,
}

impl Entry {
    pub(super) fn setting(&self) -> Setting<'_> {
        Setting { scope: &self.scope, origin: &self.origin, key: &self.key, value: &self.value }
    }

    /// Where it stands, for a message.
    pub(super) fn place(&self) -> &str {
        let name = self.origin.strip_prefix("file:").unwrap_or(&self.origin);
        name.trim_end_matches(':')
    }

    /// git with the words that name the file, ready for the change.
    pub(super) fn git_config(&self, system: &System) -> Option<String> {
        let file = self.origin.strip_prefix("file:")?;
        Some(match self.scope.as_str() {
            "local" if !file.starts_with('/') || file.ends_with("/config") => {
                "git config --local".into()
            }
            "worktree" => "git config --worktree".into(),
            "system" => system.as_root(&format!("git config --file {}", shell_word(file))),
            "global" if file.ends_with("/.gitconfig") => "git config --global".into(),
            _ => format!("git config --file {}", shell_word(file)),
        })
    }

    /// The command that takes it out; `pattern` leaves other values of the same key alone.
    pub(super) fn unset(&self, system: &System, pattern: Option<&str>) -> Option<String> {
        let git = self.git_config(system)?;
        let pattern = pattern.map(|text| format!(" {}", shell_word(text))).unwrap_or_default();
        Some(format!("{git} --unset-all {}{pattern}", shell_word(&self.key)))
    }
}

/// The output of `git config -z --show-scope --show-origin --list`.
pub(super) fn parse(bytes: &[u8]) -> Vec<Entry> {
    let mut fields = bytes.split(|&byte| byte == 0).map(String::from_utf8_lossy);
    let mut entries = Vec::new();
    while let (Some(scope), Some(origin), Some(entry)) =
        (fields.next(), fields.next(), fields.next())
    {
        // A key without "=" has no value; git reads it as true.
        let (key, value) = entry.split_once('\n').unwrap_or((&entry, "true"));
        entries.push(Entry {
            scope: scope.into_owned(),
            origin: origin.into_owned(),
            key: key.to_owned(),
            value: value.to_owned(),
        });
    }
    entries
}

/// Looks at git itself and reads what others need.
pub(super) fn gather() -> (Situation, Vec<Check>) {
    let system = System::here();
    let mut situation =
        Situation { system, config: Config::lenient(&[]).0, entries: Vec::new(), repo: None };
    let said = version::ask();
    let mut checks = git_checks(&situation.system, said.as_deref());
    if said.is_err() {
        return (situation, checks);
    }
    match Repo::discover() {
        Ok(repo) => situation.repo = repo,
        Err(error) => checks.push(refused(&format!("{error:#}"))),
    }
    match read_config(situation.repo.as_ref()) {
        Ok(entries) => situation.entries = entries,
        Err(why) => checks.push(
            Check::error("git-config", format!("git cannot read its configuration: {why}"))
                .why("every git command fails"),
        ),
    }
    let settings: Vec<Setting<'_>> = situation.entries.iter().map(Entry::setting).collect();
    let (config, problems) = Config::lenient(&settings);
    checks.extend(config_checks(&situation, &config, &problems));
    situation.config = config;
    (situation, checks)
}

/// A repository that git does not open. Where it is another user's, git says how to trust it.
fn refused(said: &str) -> Check {
    let first = said.lines().next().unwrap_or_default();
    let trust = said.lines().map(str::trim).find(|line| line.starts_with("git config "));
    let check = Check::error("repository", format!("git does not open this repository: {first}"));
    match trust {
        Some(trust) => check
            .why("it belongs to another user, whose hooks and settings would run as you: trust it only if you trust them")
            .fix(trust),
        None => check.why("every command fails here, but not elsewhere"),
    }
}

fn read_config(repo: Option<&Repo>) -> Result<Vec<Entry>, String> {
    let words = ["config", "-z", "--show-scope", "--show-origin", "--list"];
    let output =
        git::config_command(repo).args(words).output().map_err(|error| error.to_string())?;
    if output.exit.success() { Ok(parse(&output.stdout)) } else { Err(output.stderr_tail(2)) }
}

/// git itself.
fn git_checks(system: &System, said: Result<&str, &ProcessError>) -> Vec<Check> {
    let said = match said {
        Ok(said) => said,
        Err(ProcessError::NotFound(_)) => {
            return vec![
                Check::missing("git", "git was not found")
                    .why("everything is done through it")
                    .fix(system.install(Package::Git)),
            ];
        }
        Err(error) => {
            return vec![
                Check::error("git", error.to_string()).why("everything is done through it"),
            ];
        }
    };
    let shown = said.strip_prefix("git version ").unwrap_or(said);
    let (major, minor) = version::OLDEST;
    if version::parse(said).is_some_and(|found| found < version::OLDEST) {
        return vec![
            Check::missing("git", format!("git {shown} is too old"))
                .why(format!("{major}.{minor} or newer is needed; every command refuses this one"))
                .fix(system.upgrade(Package::Git)),
        ];
    }
    let mut checks = vec![Check::ok("git", format!("git {shown}"))];
    checks.extend(fixes(system, said, shown));
    checks
}

/// Whether git has a hole that is known, as far as a version can tell.
fn fixes(system: &System, said: &str, shown: &str) -> Option<Check> {
    const ID: &str = "git-fixes";
    if releases::has_fix(releases::parse(said)?) {
        return Some(Check::ok(ID, "git has the fix for CVE-2025-48384, by its version"));
    }
    let builder =
        releases::vendor(said).map(str::to_owned).or_else(|| programs::owner(system, "git"));
    Some(match builder {
        // A distribution mends what it ships and leaves the number as it is.
        Some(builder) => Check::ok(ID, format!("git is of {builder}, whose updates mend holes")),
        None => Check::warning(
            ID,
            format!("git {shown} has no fix for CVE-2025-48384, by its version"),
        )
        .why("it belongs to no package of this system, so nobody has mended it; a hostile repository with submodules can run a program here when it is cloned with them")
        .fix(system.upgrade(Package::Git)),
    })
}

/// The section `agentvm`.
fn config_checks(
    situation: &Situation,
    config: &Config,
    problems: &[(usize, Problem)],
) -> Vec<Check> {
    const ID: &str = "config";
    let mut checks = Vec::new();
    for (index, problem) in problems {
        let entry = &situation.entries[*index];
        let (key, place) = (&entry.key, entry.place());
        let unset = entry.unset(&situation.system, None);
        checks.push(match problem {
            Problem::Unknown(similar) => {
                let meant = similar.map(|key| format!("; agentvm.{key} may be meant"));
                let what = format!("unknown key {key} in {place}");
                Check::error(ID, format!("{what}{}", meant.unwrap_or_default()))
                    .why("git agent-vm refuses to work with it")
                    .maybe_fix(unset)
            }
            Problem::Reserved => {
                Check::warning(ID, format!("{key} in {place} has no effect in this version"))
                    .why("what it shall restrict is not restricted")
                    .maybe_fix(unset)
            }
            Problem::Value(rule) => {
                let value = config::shown(key.trim_start_matches("agentvm."), &entry.value);
                Check::error(ID, format!("{key} in {place} is {value}: {rule}"))
                    .why("git agent-vm refuses to work with it, and so do fetch and push")
                    .maybe_fix(unset)
            }
        });
    }
    if let Some(id) = config.id.as_deref().filter(|id| RepoId::new(id).is_none()) {
        checks.push(
            Check::error(ID, format!("agentvm.id is '{id}', which is not an id of ours"))
                .why("no workspace can be found; without it this repository gets a new id, and its old workspaces stay in the VM")
                .fix("git config --unset agentvm.id"),
        );
    }
    if checks.is_empty() {
        checks.push(Check::ok(ID, "the settings agentvm.* are understood"));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::Signs;

    fn debian() -> System {
        let signs = Signs {
            os_release: "ID=debian\n",
            kernel: "",
            macos: false,
            root: false,
            arch: "x86_64",
        };
        System::of(signs, |program| ["apt-get", "sudo"].contains(&program))
    }

    #[test]
    fn an_old_git_and_a_missing_one_are_named_with_the_command() {
        let old = git_checks(&debian(), Ok("git version 2.30.2"));
        assert!(old[0].program, "{old:?}");
        assert!(old[0].fix.as_ref().unwrap().contains("--only-upgrade git"));
        let none = ProcessError::NotFound("git".into());
        let none = git_checks(&debian(), Err(&none));
        assert_eq!(none[0].fix.as_deref(), Some("sudo apt-get install git"));
    }

    #[test]
    fn anothers_repository_is_told_in_one_line_with_gits_own_advice() {
        let said = "detected dubious ownership in repository at '/x'\nTo add an exception for this \
            directory, call:\n\n\tgit config --global --add safe.directory /x";
        let check = refused(said);
        assert!(check.subject.ends_with("at '/x'"), "{check:?}");
        assert_eq!(check.fix.as_deref(), Some("git config --global --add safe.directory /x"));
        assert_eq!(refused("bad config").fix, None);
    }

    #[test]
    fn a_vendors_git_is_the_vendors_business() {
        let fixes = fixes(&debian(), "git version 2.39.5 (Apple Git-154)", "2.39.5").unwrap();
        assert_eq!(fixes.severity, super::super::Severity::Ok);
        assert!(fixes.subject.contains("Apple Git-154"));
    }

    #[test]
    fn settings_are_read_with_their_file_and_taken_out_there() {
        let bytes =
            b"global\0file:/home/u/.gitconfig\0safe.directory\n*\0command\0command line:\0a.b\0";
        let entries = parse(bytes);
        assert_eq!(entries.len(), 2);
        assert_eq!(
            entries[0].unset(&debian(), Some(r"^\*$")).unwrap(),
            r"git config --global --unset-all safe.directory '^\*$'"
        );
        assert_eq!(entries[1].value, "true");
        assert_eq!(entries[1].unset(&debian(), None), None);
        let system = Entry {
            scope: "system".into(),
            origin: "file:/etc/gitconfig".into(),
            ..entries[0].clone()
        };
        assert_eq!(
            system.unset(&debian(), None).unwrap(),
            "sudo git config --file /etc/gitconfig --unset-all safe.directory"
        );
    }
}
