//! `push`: git's own send-pack over the session; each ref gets exactly one answer.

use std::collections::BTreeMap;
use std::thread::JoinHandle;

use crate::branch::BranchName;
use crate::config::Config;
use crate::git::{ObjectId, Repo};
use crate::process::Cmd;
use crate::remote::answers::{self, Answer};
use crate::remote::clashes;
use crate::remote::companions::Companions;
use crate::remote::enrolment::{self, Redirect};
use crate::remote::fetch::allow_local_transport;
use crate::remote::keep;
use crate::remote::lfs;
use crate::remote::options::{Options, Verbosity};
use crate::remote::protocol::Helper;
use crate::remote::relay::Stopped;
use crate::remote::session::{Session, Transfer};
use crate::remote::submodules;
use crate::remote::url::Address;
use crate::ui;

/// What a receive-pack says is little; more than this is no report.
const REPORT_LIMIT: u64 = 64 << 20;

/// Sends the refspecs (`[+]SRC:DST`, a deletion has no SRC) and gives git's answer.
pub fn run(
    helper: &Helper,
    mut session: Session,
    companions: JoinHandle<anyhow::Result<Companions>>,
    specs: &[&str],
) -> anyhow::Result<String> {
    let redirect = match enrolment::redirect(helper, &session, specs) {
        Ok(redirect) => redirect,
        Err(error) => {
            session.end()?;
            return Err(error);
        }
    };
    let specs: Vec<String> = match &redirect {
        Some(redirect) => vec![redirect.spec.clone()],
        None => specs.iter().map(|&spec| spec.to_owned()).collect(),
    };
    let repo = helper.repo()?;
    let mut report = BTreeMap::new();
    let mut sent = Vec::new();
    for spec in &specs {
        if let Some(why) = refusal(repo, &session, spec)? {
            report.insert(destination(spec).to_owned(), Answer::Error(why));
        } else {
            sent.push(spec.as_str());
        }
    }
    // All or none: what we refuse, the others must not outlive.
    if helper.options.atomic && !report.is_empty() {
        for spec in sent.drain(..) {
            let why = Answer::Error("atomic push failed".into());
            report.insert(destination(spec).to_owned(), why);
        }
    }
    let old_tips: Vec<Option<ObjectId>> =
        specs.iter().map(|spec| session.advertisement.tip(destination(spec)).cloned()).collect();
    if !sent.is_empty() {
        let companions = match helper.options {
            // They must neither fail the others nor make a dry run long.
            Options { atomic: true, .. } | Options { dry_run: true, .. } => Vec::new(),
            _ => companions
                .join()
                .map_err(|_| anyhow::anyhow!("the look at tags and the default branch failed"))??
                .specs(&session.advertisement, &session.branch),
        };
        let all: Vec<&str> =
            sent.iter().copied().chain(companions.iter().map(String::as_str)).collect();
        let mut answers = send(repo, &helper.options, &mut session, &all)?;
        answers.retain(|name, _| sent.iter().any(|spec| destination(spec) == name));
        report.extend(answers);
    }
    let (created, workspace) = (session.created, session.workspace.clone());
    let branch = session.branch.clone();
    if let Err(error) = session.end() {
        ui::error(&format!("{error:#}"));
        // It may have arrived, and may be lost again if the VM goes down: the next push tells.
        let unsure = Answer::Error("the workspace did not confirm that it is stored".into());
        for answer in report.values_mut().filter(|answer| **answer == Answer::Ok) {
            *answer = unsure.clone();
        }
    }
    // git send-pack breaks an atomic push off at the first ref that it refuses, without a word about
    // the others.
    let broken_off =
        helper.options.atomic && report.values().any(|answer| matches!(answer, Answer::Error(_)));
    let unanswered = Answer::Error(
        if broken_off { "atomic push failed" } else { "the workspace gave no report for it" }
            .into(),
    );
    let mut answer = String::new();
    for (spec, old) in specs.iter().zip(&old_tips) {
        let name = destination(spec);
        let outcome = report.get(name).unwrap_or(&unanswered);
        answer.push_str(&match &redirect {
            Some(redirect) => redirected(repo, redirect, old.as_ref(), outcome)?,
            None => answers::line(name, outcome),
        });
    }
    answer.push('\n');
    if !helper.options.dry_run {
        remember(helper, &workspace, &specs, &report);
    }
    let own = specs.iter().zip(&old_tips).find(|(spec, _)| destination(spec) == branch.full_ref());
    if let Some((spec, old)) = own
        && report.get(destination(spec)) == Some(&Answer::Ok)
        && !helper.options.dry_run
        && let Err(error) = tell_of_submodules(repo, &branch, spec, old.as_ref())
    {
        ui::warning(&format!("{error:#}"));
    }
    afterwards(helper, &branch, created, redirect.as_ref(), &report);
    Ok(answer)
}

/// Why we do not send a refspec at all, if so.
fn refusal(repo: &Repo, session: &Session, spec: &str) -> anyhow::Result<Option<String>> {
    let name = destination(spec);
    let branch = &session.branch;
    let source = spec.trim_start_matches('+').split(':').next().unwrap_or_default();
    if !source.is_empty() {
        if session.folds && name == branch.full_ref() {
            let clashes = clashes::of(repo, source)?;
            return Ok((!clashes.is_empty()).then(|| clashes::refusal(&clashes)));
        }
        return Ok(None);
    }
    if name == branch.full_ref() {
        return Ok(Some(format!(
            "it is the workspace's own branch; git agent-vm clean {} removes the workspace",
            session.branch.in_shell()
        )));
    }
    match session.advertisement.tip(name) {
        Some(tip) if !repo.kept(std::slice::from_ref(tip))?[0] => Ok(Some(
            if name.starts_with("refs/tags/") {
                "the tag was made in the workspace and is not here"
            } else {
                "it has commits that are not here; fetch first"
            }
            .into(),
        )),
        _ => Ok(None),
    }
}

fn send(
    repo: &Repo,
    options: &Options,
    session: &mut Session,
    specs: &[&str],
) -> anyhow::Result<BTreeMap<String, Answer>> {
    let input: String = specs.iter().map(|spec| format!("{spec}\n")).collect();
    let Transfer { exit, stdout, stopped } =
        session.run(command(repo, options), "--receive-pack", &input, REPORT_LIMIT, |line| {
            Some(line.to_owned())
        })?;
    let report = answers::parse_status(&stdout);
    if stopped == Some(Stopped::Silence) {
        ui::error(&format!("the {} went silent during the push", session.describe()));
    } else if report.is_empty() && !exit.success() {
        ui::error(&format!("git send-pack ended with {exit} and without a report"));
    }
    Ok(report)
}

fn command(repo: &Repo, options: &Options) -> Cmd {
    let git = repo.git().args(["-c", "protocol.file.allow=always"]);
    let mut git = allow_local_transport(git).args(["send-pack", "--helper-status", "--stdin"]);
    match options.verbosity {
        Verbosity::Quiet => git = git.arg("--quiet"),
        Verbosity::Normal => {}
        Verbosity::Verbose | Verbosity::Debug => git = git.arg("--verbose"),
    }
    if options.progress {
        git = git.arg("--progress");
    }
    if options.dry_run {
        git = git.arg("--dry-run");
    }
    if options.atomic {
        git = git.arg("--atomic");
    }
    if options.force_if_includes {
        git = git.arg("--force-if-includes");
    }
    for lease in &options.leases {
        git = git.arg(format!("--force-with-lease={lease}"));
    }
    for option in &options.push_options {
        git = git.arg(format!("--push-option={option}"));
    }
    git
}

/// The answer about the ref that git asked for, told as the ref that was really sent.
fn redirected(
    repo: &Repo,
    redirect: &Redirect,
    old: Option<&ObjectId>,
    outcome: &Answer,
) -> anyhow::Result<String> {
    let mut answer = answers::line(&redirect.asked, outcome);
    if *outcome == Answer::Ok {
        let source = redirect.spec.trim_start_matches('+').split(':').next().unwrap_or_default();
        answer.push_str(&format!("option refname {}\n", redirect.sent));
        if let Some(new) = repo.ref_tip(source)? {
            let zeros = "0".repeat(new.as_str().len());
            let old = old.map_or(zeros.as_str(), ObjectId::as_str);
            answer.push_str(&format!("option old-oid {old}\noption new-oid {new}\n"));
        }
    }
    Ok(answer)
}

/// Notes where the branches of the workspace are by our own doing: the next fetch does not blame it.
fn remember(helper: &Helper, workspace: &str, specs: &[String], report: &BTreeMap<String, Answer>) {
    let Some(repo) = &helper.repo else { return };
    for spec in specs {
        let name = destination(spec);
        let arrived = matches!(report.get(name), Some(Answer::Ok | Answer::UpToDate));
        if !arrived || !name.starts_with("refs/heads/") {
            continue;
        }
        let source = spec.trim_start_matches('+').split(':').next().unwrap_or_default();
        let tip = ObjectId::new(source).or_else(|| repo.quick_tip(source));
        let tip = tip.filter(|tip| repo.may_be_commit(tip));
        if let Err(error) = keep::pushed(repo, &helper.config, workspace, name, tip.as_ref()) {
            ui::warning(&format!("{error:#}"));
        }
    }
}

/// Enrols the branch and tells what to type next, once something has arrived.
fn afterwards(
    helper: &Helper,
    branch: &BranchName,
    created: bool,
    redirect: Option<&Redirect>,
    report: &BTreeMap<String, Answer>,
) {
    let arrived = matches!(report.get(&branch.full_ref()), Some(Answer::Ok | Answer::UpToDate));
    if let Some(redirect) = redirect {
        ui::hint(&redirect.hint);
    }
    if !arrived || helper.options.dry_run {
        return;
    }
    if let Err(error) = tell_of_lfs(helper, branch) {
        ui::warning(&format!("{error:#}"));
    }
    if !matches!(helper.address, Address::Branch(_)) {
        return;
    }
    if let Err(error) = enrol(helper, branch, redirect.is_some()) {
        // The work is there; only the next push must name the branch.
        ui::warning(&format!("{error:#}"));
    }
    if created {
        ui::hint(&format!(
            "git agent-vm connect {} opens a shell in the new workspace",
            branch.in_shell()
        ));
    }
}

fn tell_of_lfs(helper: &Helper, branch: &BranchName) -> anyhow::Result<()> {
    let repo = helper.repo()?;
    repo.branch_tip(branch)?.map_or(Ok(()), |tip| lfs::after_push(repo, &tip))
}

fn tell_of_submodules(
    repo: &Repo,
    branch: &BranchName,
    spec: &str,
    old: Option<&ObjectId>,
) -> anyhow::Result<()> {
    let source = spec.trim_start_matches('+').split(':').next().unwrap_or_default();
    match repo.ref_tip(source)? {
        Some(new) => submodules::after_push(repo, branch, old, &new),
        None => Ok(()),
    }
}

fn enrol(helper: &Helper, branch: &BranchName, redirected: bool) -> anyhow::Result<()> {
    let repo = helper.repo()?;
    if repo.branch_tip(branch)?.is_none() {
        return Ok(());
    }
    if helper.config.enrolment(branch).is_none() {
        repo.enrol(branch)?;
    }
    // What the user typed is short for our address; git looks for its settings under that name.
    if redirected && !helper.is_by_url() {
        repo.enrol_as(&helper.remote, branch)?;
    }
    Ok(())
}

/// Whose name the agent's commits bear: the user's here, or what is missing of it made up.
#[must_use]
pub fn identity_for(config: &Config) -> (String, String) {
    let or = |value: &Option<String>, made_up: &str| {
        // As the guest writes them.
        let value = value.as_deref().unwrap_or_default().replace(['\n', '\r'], "");
        if value.is_empty() { made_up.to_owned() } else { value }
    };
    (or(&config.user.0, "Agent User"), or(&config.user.1, "agent@localhost"))
}

/// The ref that a refspec goes to.
fn destination(spec: &str) -> &str {
    spec.split_once(':').map_or(spec, |(_, destination)| destination)
}
