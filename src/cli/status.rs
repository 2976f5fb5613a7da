//! `git agent-vm status`: the VM, its workspaces, and what in them is not here.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use crate::branch::BranchName;
use crate::clock;
use crate::config::{Config, UnknownKeys};
use crate::error::{self, Error};
use crate::git::Repo;
use crate::provision::State;
use crate::sanitize::GuestText;
use crate::survey::{self, Mount, Report, Vm, Workspace};
use crate::trash;
use crate::ui::{self, Progress};

/// Show the VM, its workspaces, and the work in them that is not here yet
///
/// Starts nothing, and changes nothing but what was cut off: a push that was killed is finished or taken
/// back, and the clock of a VM is set right. A VM that does not run is shown as it is. Workspaces of
/// other repositories are shown too; what of theirs is fetched can only be told in their own repository.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  git agent-vm status
  git agent-vm status --json | jq '.workspaces[] | select(.commits_unfetched > 0) | .branch'")]
pub(super) struct Args {
    /// One JSON document on standard output, for scripts; what could not be learned is null
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let repo = Repo::discover()?;
    let config = Config::load(repo.as_ref(), UnknownKeys::Refuse)?;
    let (report, error) = {
        let _progress =
            std::io::stderr().is_terminal().then(|| Progress::start("looking into the workspaces"));
        survey::look(&config, repo.as_ref())
    };
    if args.json {
        ui::data(&(serde_json::to_string_pretty(&report)? + "\n"));
    } else if error.is_none() {
        ui::data(&text(&report));
        if report.vm.nearly_full.is_some() {
            trash::hint_at_room(&config);
        }
        for hint in hints(&report, repo.is_some()) {
            ui::hint(&hint);
        }
    }
    Ok(error.map_or(ExitCode::SUCCESS, |error| report_failure(&error)))
}

/// As [`error::report`], without the advice to run this very verb.
fn report_failure(error: &anyhow::Error) -> ExitCode {
    let error = Error::in_other_words(error, format!("{error:#}"));
    error::report(&error.without_hints("git agent-vm status").into())
}

/// The report for people.
fn text(report: &Report) -> String {
    let mut out = vm_line(report);
    out.push('\n');
    out.push_str(&set_up_line(&report.vm));
    out.push_str(&mount_line(&report.mount));
    out.push_str(&trash_line(&report.vm));
    if let Some(left) = report.vm.nearly_full {
        out.push_str(&format!("Its disk is nearly full: {} is left\n", ui::size(left)));
    }
    if let Some(skew) = report.vm.clock_skew_s.filter(|skew| skew.abs() > clock::NOTICED) {
        let which = if skew < 0 { "behind" } else { "ahead of" };
        out.push_str(&format!("Its clock is {} s {which} this machine's\n", skew.abs()));
    }
    let Some(workspaces) = report.workspaces.as_ref().filter(|all| !all.is_empty()) else {
        return out;
    };
    let mut rows = vec![["WORKSPACE".to_owned(), "BRANCH".to_owned(), "STATE".to_owned()]];
    // Those of this repository first.
    for here in [true, false] {
        for workspace in workspaces.iter().filter(|workspace| workspace.here == here) {
            rows.push([
                workspace.name.to_string(),
                workspace.branch.clone().unwrap_or_else(|| "?".to_owned()),
                state(workspace),
            ]);
        }
    }
    out.push('\n');
    out.push_str(&ui::table(&rows));
    out
}

fn vm_line(report: &Report) -> String {
    let vm = &report.vm;
    let what = if vm.provider == "ssh" { "Host" } else { "VM" };
    let mut parts = match (vm.status, &vm.error) {
        (Some("absent"), _) => vec!["there is none yet".to_owned()],
        (Some("broken"), Some(why)) => vec![format!("broken: {why}")],
        (status, _) => vec![status.unwrap_or("unknown").to_owned()],
    };
    if let Some(cpus) = vm.cpus {
        parts.push(ui::count(cpus.into(), "CPU"));
    }
    if let Some(memory) = vm.memory_bytes {
        parts.push(format!("{} memory", ui::size(memory)));
    }
    match (vm.disk_used_bytes, vm.disk_bytes) {
        (Some(used), Some(all)) => {
            parts.push(format!("{} of {} disk used", ui::size(used), ui::size(all)));
        }
        (None, Some(all)) => parts.push(format!("{} disk", ui::size(all))),
        _ => {}
    }
    format!("{what} {}: {}", vm.name, parts.join(", "))
}

/// Nothing where the VM has what is asked for.
fn set_up_line(vm: &Vm) -> String {
    let Some(stages) = &vm.provision else {
        let why = vm.error.as_ref().filter(|_| vm.status == Some("running"));
        return why.map(|why| format!("Set-up: {why}\n")).unwrap_or_default();
    };
    let of = |state| {
        let names = stages.iter().filter(|stage| stage.state == state).map(|stage| stage.stage);
        names.collect::<Vec<_>>().join(", ")
    };
    let (differ, unfinished) = (of(State::Differs), of(State::Unfinished));
    let mut parts = Vec::new();
    if !unfinished.is_empty() {
        parts.push(format!("{unfinished} not finished"));
    }
    if !differ.is_empty() {
        parts.push(format!("{differ} not as common/ has it now"));
    }
    if parts.is_empty() {
        return String::new();
    }
    format!("Set-up: {}; git agent-vm provision brings it up to date\n", parts.join("; "))
}

/// Nothing where nothing is mounted: not everybody wants to.
fn mount_line(mount: &Mount) -> String {
    let state = match (mount.state, mount.read_only) {
        (Some("mounted"), Some(true)) => "the workspaces, read-only",
        (Some("mounted"), _) => "the workspaces",
        (Some("dead"), _) => "dead; git agent-vm mount mends it",
        (Some("other"), _) => "the workspaces of another VM; git agent-vm unmount takes them down",
        (Some("foreign"), _) => "something that is not of git-agent-vm",
        _ => return String::new(),
    };
    let path = crate::sanitize::text(mount.path.as_deref().unwrap_or("?")).into_owned();
    format!("Mount {path}: {state}\n")
}

/// Nothing where it is empty, or not known.
fn trash_line(vm: &Vm) -> String {
    let Some(entries) = vm.trash_entries.filter(|&entries| entries > 0) else {
        return String::new();
    };
    let size = vm.trash_bytes.map(|bytes| format!(", {}", ui::size(bytes))).unwrap_or_default();
    format!("Trash: {}{size}\n", ui::count(entries, "entry"))
}

/// What there is to know of a workspace, in words.
fn state(workspace: &Workspace) -> String {
    let mut parts = Vec::new();
    if let Some(operation) = &workspace.operation {
        parts.push(format!("{operation} in progress"));
    }
    match (&workspace.checked_out, &workspace.branch, &workspace.head) {
        (Some(on), Some(branch), _) if on.as_bytes() != branch.as_bytes() => {
            parts.push(format!("on {on}"));
        }
        (None, _, Some(head)) if workspace.operation.is_none() => {
            parts.push(format!("on no branch, at {}", head.short()));
        }
        _ => {}
    }
    for (number, one) in [
        (workspace.commits_unfetched, "commit to fetch"),
        (workspace.commits_unpushed, "commit to push"),
        (workspace.changed, "file changed"),
        (workspace.untracked, "file untracked"),
        (workspace.stashes, "stash"),
    ] {
        if let Some(number) = number.filter(|&number| number > 0) {
            parts.push(ui::count(number, one));
        }
    }
    parts.extend(workspace.error.clone());
    if parts.is_empty() { "nothing to fetch or push".to_owned() } else { parts.join(", ") }
}

/// What to type next: the most pressing, two at most.
fn hints(report: &Report, in_repository: bool) -> Vec<String> {
    match (report.vm.status, report.workspaces.as_deref()) {
        (Some("absent"), _) => {
            return vec![
                "git agent-vm start makes the VM, git push agentvm::BRANCH a workspace in it"
                    .into(),
            ];
        }
        (Some("stopped"), _) => {
            return vec![
                "git agent-vm start starts it, and so does git push agentvm::BRANCH".into(),
            ];
        }
        (Some("broken"), _) => return report.vm.remedies.clone(),
        (_, Some([])) if in_repository => {
            return vec!["there are no workspaces yet; git push agentvm::BRANCH makes one".into()];
        }
        (_, Some([])) => return vec!["there are no workspaces yet".into()],
        _ => {}
    }
    let mut hints = Vec::new();
    let mut here = report.workspaces.iter().flatten().filter(|workspace| workspace.here);
    if let Some(branch) = here.clone().find_map(|workspace| {
        // What is on another branch there, fetch does not bring.
        let on = workspace.checked_out.as_ref().map(GuestText::as_bytes);
        workspace
            .branch
            .as_ref()
            .filter(|branch| workspace.commits_unfetched > Some(0) && on == Some(branch.as_bytes()))
    }) {
        let branch = in_shell(branch);
        hints.push(format!("git agent-vm fetch {branch} brings its commits here"));
    }
    if let Some(branch) = here.find_map(|workspace| {
        let files = workspace.changed > Some(0) || workspace.untracked > Some(0);
        workspace.branch.as_ref().filter(|_| files)
    }) {
        let branch = in_shell(branch);
        hints.push(format!("git agent-vm connect {branch} opens a shell there, to commit"));
    }
    hints
}

fn in_shell(branch: &str) -> String {
    BranchName::new(branch)
        .map_or_else(|_| "BRANCH".to_owned(), |name| name.in_shell().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> Workspace {
        survey::tests::workspace()
    }

    #[test]
    fn a_state_is_said_in_words() {
        assert_eq!(state(&workspace()), "nothing to fetch or push");
        let busy = Workspace {
            commits_unfetched: Some(2),
            changed: Some(1),
            stashes: Some(2),
            checked_out: Some(GuestText::new(&b"other"[..])),
            ..workspace()
        };
        assert_eq!(state(&busy), "on other, 2 commits to fetch, 1 file changed, 2 stashes");
        let unknown = Workspace { changed: None, error: Some("it hangs".into()), ..workspace() };
        assert_eq!(state(&unknown), "it hangs");
    }
}
