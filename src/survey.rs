//! What there is: the VM and all its workspaces, compared with this repository. The report of
//! `git agent-vm status`, whose JSON is part of the interface.
//!
//! What could not be learned is `None` with the reason beside it, never 0. Starts nothing, and changes
//! nothing but what was cut off: the guest mends a push that was killed, and the clock of a VM of ours
//! that is wrong is set right.

use std::time::Duration;

use serde::Serialize;

use crate::access;
use crate::config::{Config, ProviderKind};
use crate::git::{ObjectId, Repo};
use crate::guest::workspaces::{Inspection, Survey};
use crate::guest::{self, Call, Guest};
use crate::identity;
use crate::mount;
use crate::provision::{Plan, StageState};
use crate::sanitize::GuestText;
use crate::vm::{self, State};

/// How long looking into one workspace may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How many of the host's tips the guest is told: its newest refs.
pub const TIPS: usize = 20_000;

/// `status --json`, version 1.
#[derive(Debug, Serialize)]
pub struct Report {
    /// 1. A field may be added without a new version.
    pub version: u32,
    /// The VM.
    pub vm: Vm,
    /// The mount of the workspaces on the host.
    pub mount: Mount,
    /// All workspaces, of all repositories, sorted by name; null where they could not be learned.
    pub workspaces: Option<Vec<Workspace>>,
}

/// The VM or host.
#[derive(Debug, Serialize)]
pub struct Vm {
    /// Its name, or the host's of provider ssh.
    pub name: String,
    /// `lima` or `ssh`.
    pub provider: &'static str,
    /// `absent`, `stopped`, `starting`, `running` or `broken`.
    pub status: Option<&'static str>,
    /// Virtual processors.
    pub cpus: Option<u32>,
    /// Bytes.
    pub memory_bytes: Option<u64>,
    /// The disk's size.
    pub disk_bytes: Option<u64>,
    /// What of it is in use.
    pub disk_used_bytes: Option<u64>,
    /// For people: what is left of it, where that is little.
    #[serde(skip)]
    pub nearly_full: Option<u64>,
    /// Things in its trash.
    pub trash_entries: Option<u64>,
    /// What the trash takes up.
    pub trash_bytes: Option<u64>,
    /// How far its clock is ahead of ours, in seconds.
    pub clock_skew_s: Option<i64>,
    /// How what it is set up with stands to `common/`; null where that could not be learned, and for
    /// a host that is run by others.
    pub provision: Option<Vec<StageState>>,
    /// Why something above or the workspaces are null.
    pub error: Option<String>,
    /// For people: what can be done about a VM that is broken.
    #[serde(skip)]
    pub remedies: Vec<String>,
}

/// The sshfs mount.
#[derive(Debug, Serialize)]
pub struct Mount {
    /// Where it is, or would be.
    pub path: Option<String>,
    /// `none`, `mounted`, `dead`, `other` or `foreign`; null where that could not be learned.
    pub state: Option<&'static str>,
    /// Whether it can't be written to; null where it is not mounted.
    pub read_only: Option<bool>,
}

/// One workspace.
#[derive(Debug, Serialize)]
pub struct Workspace {
    /// Its directory below `~/workspace`.
    pub name: GuestText,
    /// The id of the repository that it belongs to.
    pub repository: GuestText,
    /// The branch that it is of.
    pub branch: Option<String>,
    /// Whether it belongs to the repository in which `status` runs.
    pub here: bool,
    /// The commit that is checked out; null where there is none yet.
    pub head: Option<ObjectId>,
    /// The branch that is checked out; null for a detached HEAD.
    pub checked_out: Option<GuestText>,
    /// Commits that no ref of this repository keeps.
    pub commits_unfetched: Option<u64>,
    /// Commits of the branch here that the workspace lacks.
    pub commits_unpushed: Option<u64>,
    /// Tracked files with changes, those that git was told not to look at included.
    pub changed: Option<u64>,
    /// Files that are neither tracked nor ignored.
    pub untracked: Option<u64>,
    /// The size of ignored files.
    pub ignored_bytes: Option<u64>,
    /// Entries of the stash.
    pub stashes: Option<u64>,
    /// `merge`, `rebase`, `am`, `cherry-pick`, `revert` or `bisect` in progress.
    pub operation: Option<GuestText>,
    /// The last commit of what is checked out.
    pub last_commit: Option<LastCommit>,
    /// Why something above is null.
    pub error: Option<String>,
}

/// A commit.
#[derive(Debug, Serialize)]
pub struct LastCommit {
    /// Its id.
    pub id: ObjectId,
    /// Its committer's time, in seconds since 1970.
    pub time: i64,
    /// The first line of its message.
    pub subject: GuestText,
}

/// Looks. The error is what kept it from learning of a VM that may be there; the report then says
/// so too.
#[must_use]
pub fn look(config: &Config, repo: Option<&Repo>) -> (Report, Option<anyhow::Error>) {
    let mut report = Report {
        version: 1,
        vm: Vm {
            name: name(config),
            provider: if config.provider == ProviderKind::Lima { "lima" } else { "ssh" },
            status: None,
            cpus: None,
            memory_bytes: None,
            disk_bytes: None,
            disk_used_bytes: None,
            nearly_full: None,
            trash_entries: None,
            trash_bytes: None,
            clock_skew_s: None,
            provision: None,
            error: None,
            remedies: Vec::new(),
        },
        mount: look_for_mount(config),
        workspaces: None,
    };
    let error = fill(&mut report, config, repo).err();
    if let Some(error) = &error {
        report.vm.error = Some(format!("{error:#}"));
    }
    (report, error)
}

/// By the kernel's table alone: the mount itself may hang.
fn look_for_mount(config: &Config) -> Mount {
    let Ok(mount) = mount::Mount::new(config) else {
        return Mount { path: None, state: None, read_only: None };
    };
    let state = mount.state().ok();
    Mount {
        path: Some(mount.path().display().to_string()),
        state: state.as_ref().map(mount::State::word),
        read_only: match state {
            Some(mount::State::Mounted { read_only }) => Some(read_only),
            _ => None,
        },
    }
}

fn name(config: &Config) -> String {
    match (config.provider, &config.ssh_host) {
        (ProviderKind::Ssh, Some(host)) => crate::sanitize::text(host).into_owned(),
        _ => config.vm.as_str().to_owned(),
    }
}

fn fill(report: &mut Report, config: &Config, repo: Option<&Repo>) -> anyhow::Result<()> {
    let provider = vm::provider(config)?;
    let status = provider.status()?;
    let vm = &mut report.vm;
    (vm.cpus, vm.memory_bytes, vm.disk_bytes) = (status.cpus, status.memory, status.disk);
    if provider.has_lifecycle() {
        vm.status = Some(status.state.word());
    }
    match &status.state {
        State::Running => {}
        State::Absent => {
            report.workspaces = Some(Vec::new());
            return Ok(());
        }
        State::Broken(damage) => {
            vm.error = Some(damage.to_string());
            vm.remedies.clone_from(&damage.hints);
            return Ok(());
        }
        State::Stopped | State::Starting => {
            vm.error = Some(format!("the {} is {}", provider.describe(), status.state.word()));
            return Ok(());
        }
    }
    let endpoint = provider
        .endpoint()?
        .ok_or_else(|| anyhow::anyhow!("the {} has no ssh port", provider.describe()))?;
    let guest = Guest::new(endpoint, provider.describe());
    ask(report, provider.as_ref(), &guest, config, repo)?;
    if provider.has_lifecycle() {
        match Plan::look(config, &guest) {
            Ok(stages) => report.vm.provision = Some(stages),
            Err(error) => {
                report.vm.error = Some(format!("cannot tell what it is set up with: {error:#}"));
            }
        }
    }
    Ok(())
}

fn ask(
    report: &mut Report,
    provider: &dyn vm::Provider,
    guest: &Guest,
    config: &Config,
    repo: Option<&Repo>,
) -> anyhow::Result<()> {
    let tips: String = match repo {
        Some(repo) => repo.tips(TIPS)?.iter().map(|id| format!("{id}\n")).collect(),
        None => String::new(),
    };
    let limit = guest::time_limit(LIMIT);
    let call = Call::new("status").arg(limit.as_secs().to_string());
    let mut session = guest.open(&call).map_err(|error| guest.explain(error))?;
    report.vm.status = Some(State::Running.word());
    // It speaks after each few workspaces.
    session.set_patience(limit * 6 + Duration::from_secs(30));
    report.vm.clock_skew_s = Some(access::set_clock(provider, guest, &session));
    session.send(tips.as_bytes())?;
    let survey = Survey::parse(session.fields()?);
    let vm = &mut report.vm;
    vm.cpus = vm.cpus.or(survey.cpus);
    vm.memory_bytes = vm.memory_bytes.or(survey.memory);
    vm.disk_bytes = vm.disk_bytes.or(survey.disk.map(|(all, _)| all));
    vm.disk_used_bytes = survey.disk.map(|(_, used)| used);
    vm.nearly_full = survey.nearly_full;
    (vm.trash_entries, vm.trash_bytes) = survey.trash;
    let id = match repo {
        Some(repo) => identity::known(repo, config.id.as_deref())?,
        None => None,
    };
    let workspaces = survey.workspaces.into_iter().map(|inspection| {
        let here = inspection.owner.is_of(id.as_ref());
        workspace(inspection, repo.filter(|_| here))
    });
    report.workspaces = Some(workspaces.collect());
    Ok(())
}

/// `repo`: the repository here, where the workspace belongs to it.
fn workspace(inspection: Inspection, repo: Option<&Repo>) -> Workspace {
    let branch = inspection.owner.branch();
    let mut error = inspection.error.as_ref().map(GuestText::to_string);
    let mut counts = (None, None);
    match (repo, &branch) {
        _ if !inspection.commits_learned => {}
        (None, _) => note(&mut error, "it belongs to another repository"),
        (Some(_), None) => note(&mut error, "its marker names no branch"),
        (Some(repo), Some(branch)) => match compare(repo, branch, &inspection) {
            Ok((unfetched, unpushed)) => counts = (Some(unfetched), Some(unpushed)),
            Err(why) => note(&mut error, &format!("{why:#}")),
        },
    }
    if inspection.changed.is_none() || !inspection.commits_learned {
        note(&mut error, "it was not looked into to the end");
    }
    let checked_out = inspection.checked_out.flatten();
    Workspace {
        name: inspection.owner.name,
        repository: inspection.owner.repo,
        branch: branch.map(|branch| branch.to_string()),
        here: repo.is_some(),
        head: inspection.head.flatten(),
        checked_out: checked_out.map(short_name),
        commits_unfetched: counts.0,
        commits_unpushed: counts.1,
        changed: inspection.changed,
        untracked: inspection.untracked,
        ignored_bytes: inspection.ignored_bytes,
        stashes: inspection.stashes,
        operation: inspection.operation.flatten(),
        last_commit: inspection.last.map(|last| LastCommit {
            id: last.id,
            time: last.time,
            subject: last.subject,
        }),
        error,
    }
}

/// The first reason is the one that matters.
fn note(error: &mut Option<String>, why: &str) {
    error.get_or_insert_with(|| why.to_owned());
}

fn short_name(full: GuestText) -> GuestText {
    match full.as_bytes().strip_prefix(b"refs/heads/") {
        Some(short) => GuestText::new(short),
        None => full,
    }
}

/// Commits that no ref here keeps, and commits of the branch here that the workspace lacks.
fn compare(
    repo: &Repo,
    branch: &crate::branch::BranchName,
    inspection: &Inspection,
) -> anyhow::Result<(u64, u64)> {
    let kept = repo.kept(&inspection.unfetched)?.into_iter().filter(|&kept| kept).count();
    let claimed = inspection.unfetched_count.unwrap_or_default();
    let unfetched = claimed.saturating_sub(kept.try_into().unwrap_or(u64::MAX));
    let Some(ours) = repo.branch_tip(branch)? else { return Ok((unfetched, 0)) };
    if inspection.tip.as_ref() == Some(&ours) {
        return Ok((unfetched, 0));
    }
    let mut theirs = inspection.boundary.clone();
    theirs.extend(inspection.tip.clone());
    theirs.extend(inspection.unfetched.iter().cloned());
    let exist = repo.existing(&theirs)?;
    let theirs: Vec<ObjectId> =
        theirs.into_iter().zip(exist).filter_map(|(id, exists)| exists.then_some(id)).collect();
    Ok((unfetched, repo.count_commits(&ours, &theirs)?))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::guest::workspaces::Owner;

    fn inspection() -> Inspection {
        Inspection {
            owner: Owner {
                name: GuestText::new(&b"app-feature"[..]),
                repo: GuestText::new("0".repeat(32).into_bytes()),
                full_ref: GuestText::new(&b"refs/heads/feature"[..]),
            },
            checked_out: Some(Some(GuestText::new(&b"refs/heads/feature"[..]))),
            commits_learned: true,
            changed: Some(0),
            untracked: Some(0),
            stashes: Some(0),
            ..Inspection::default()
        }
    }

    /// A workspace of this repository with nothing in it to tell.
    pub(crate) fn workspace() -> Workspace {
        let counts = (Some(0), Some(0));
        let foreign = super::workspace(inspection(), None);
        Workspace {
            here: true,
            error: None,
            commits_unfetched: counts.0,
            commits_unpushed: counts.1,
            ..foreign
        }
    }

    fn keys(value: &serde_json::Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn json_has_exactly_the_documented_names() {
        let json = serde_json::to_value(workspace()).unwrap();
        let mut names = [
            "name",
            "repository",
            "branch",
            "here",
            "head",
            "checked_out",
            "commits_unfetched",
            "commits_unpushed",
            "changed",
            "untracked",
            "ignored_bytes",
            "stashes",
            "operation",
            "last_commit",
            "error",
        ];
        names.sort_unstable();
        assert_eq!(keys(&json), names);
        assert_eq!(json["checked_out"], "feature");
    }

    #[test]
    fn what_was_not_learned_is_null_with_a_reason() {
        let hung = Inspection {
            error: Some(GuestText::new(&b"it takes longer than 1 s"[..])),
            commits_learned: false,
            changed: None,
            untracked: None,
            stashes: None,
            ..inspection()
        };
        let json = serde_json::to_value(super::workspace(hung, None)).unwrap();
        for name in ["commits_unfetched", "commits_unpushed", "changed", "untracked", "stashes"] {
            assert!(json[name].is_null(), "{name}");
        }
        assert_eq!(json["error"], "it takes longer than 1 s");
    }

    #[test]
    fn a_workspace_of_another_repository_is_not_compared() {
        let foreign = super::workspace(inspection(), None);
        assert!(!foreign.here);
        assert_eq!(foreign.commits_unfetched, None);
        assert_eq!(foreign.error.as_deref(), Some("it belongs to another repository"));
    }
}
