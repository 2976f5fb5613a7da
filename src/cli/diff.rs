//! `git agent-vm diff BRANCH`: what a workspace has and the branch here has not, by the user's own
//! `git diff`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::branch::BranchName;
use crate::cli::common::Here;
use crate::error::Error;
use crate::git::{ObjectId, Repo};
use crate::process::Cmd;
use crate::remote::companions::default_branch;
use crate::remote::protocol::no_workspace;
use crate::ui;
use crate::wip::snapshot::{self, Snapshot};

/// Show what the workspace has and the branch here has not
///
/// Committed or not, tracked or not: everything that git does not ignore there, compared with the last
/// commit that the branch here and the workspace have in common. Where there is no such branch here,
/// with the default branch (what origin/HEAD names, else main or master). It is git diff that shows
/// it, with your pager and your settings; more options are git's, as is the exit code. The workspace
/// is left exactly as it is, whatever runs in it meanwhile; only a push that was cut off is mended
/// first. What was shown is kept, as by fetch --wip.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "git agent-vm diff [OPTIONS OF GIT DIFF] <BRANCH> [-- PATHS]",
    after_help = "\
Examples:
  git agent-vm diff feature
  git agent-vm diff --stat feature
  git agent-vm diff feature --name-only -- src
  git agent-vm diff feature >work.patch     for git apply"
)]
pub(super) struct Args {
    /// The branch whose workspace is meant, options of git diff, and paths after --
    #[arg(
        required = true,
        num_args = 1..,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "BRANCH"
    )]
    branch: Vec<OsString>,
}

/// What the words on the command line are.
#[derive(Debug, PartialEq, Eq)]
struct Words<'a> {
    branch: BranchName,
    options: Vec<&'a OsStr>,
    paths: Vec<&'a OsStr>,
}

/// Options of git-diff(1) whose value may be a word of its own.
const WITH_VALUE: &[&str] = &[
    "-G",
    "-I",
    "-O",
    "-S",
    "-l",
    "--anchored",
    "--diff-algorithm",
    "--diff-filter",
    "--dst-prefix",
    "--find-object",
    "--ignore-matching-lines",
    "--inter-hunk-context",
    "--line-prefix",
    "--output",
    "--output-indicator-context",
    "--output-indicator-new",
    "--output-indicator-old",
    "--rotate-to",
    "--skip-to",
    "--src-prefix",
    "--stat-count",
    "--stat-graph-width",
    "--stat-name-width",
    "--stat-width",
    "--word-diff-regex",
    "--ws-error-highlight",
];
/// Options that would compare something else than two commits.
const OTHER_SIDES: &[&str] = &["--cached", "--staged", "--no-index", "--merge-base"];

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Words { branch, options, paths } = Words::sort(&args.branch)?;
    let here = Here::load()?;
    let target = here.target(&branch)?.ok_or_else(|| no_workspace(&branch))?;
    let snapshot = snapshot::take(&here.repo, &here.config, &target, &branch)?;
    let is_lacking = snapshot.warn();
    let repo = &here.repo;
    let empty = repo.empty_tree()?;
    let base = base(repo, &branch, &snapshot)?.unwrap_or_else(|| empty.clone());
    let state = snapshot.state().unwrap_or(&empty);
    let git = command(repo).arg("diff").args(colour()).args(options);
    let git = git.args([base.as_str(), state.as_str(), "--"]).args(paths);
    if is_lacking {
        // Whoever looks at the exit code alone must not take it for all there is.
        git.interactive().map_err(crate::git::program_error)?;
        return Ok(ExitCode::FAILURE);
    }
    Err(crate::git::program_error(git.become_it()))
}

impl<'a> Words<'a> {
    /// The branch is the first word that is no option, wherever it stands.
    fn sort(words: &'a [OsString]) -> Result<Self, Error> {
        let mut branch = None;
        let mut options: Vec<&OsStr> = Vec::new();
        let mut words = words.iter();
        for word in words.by_ref() {
            if word == "--" {
                break;
            }
            let last = options.last().and_then(|last| last.to_str());
            if last.is_some_and(|last| WITH_VALUE.contains(&last)) {
                options.push(word);
            } else if word == "-q" {
                ui::set_quiet(true);
            } else if OTHER_SIDES.iter().any(|option| word == option) {
                return Err(Error::usage(format!(
                    "{} has no meaning here: the workspace as a whole is compared with the branch",
                    word.display()
                )));
            } else if word.as_bytes().starts_with(b"-") {
                options.push(word);
            } else if branch.is_none() {
                let name = word.to_str().ok_or_else(|| Error::usage("a branch's name is UTF-8"))?;
                branch = Some(BranchName::new(name)?);
            } else {
                return Err(Error::usage(format!("'{}' is one word too many", word.display()))
                    .hint("paths come after --, as in: git agent-vm diff feature -- src"));
            }
        }
        let branch = branch.ok_or_else(|| {
            Error::usage("a branch is missing").hint("as in: git agent-vm diff --stat feature")
        })?;
        Ok(Self { branch, options, paths: words.map(OsString::as_os_str).collect() })
    }
}

/// What to compare with, and a line about how the two sides lie. `None`: they have nothing in common.
fn base(repo: &Repo, branch: &BranchName, snapshot: &Snapshot) -> anyhow::Result<Option<ObjectId>> {
    let (name, tip) = match repo.branch_tip(branch)? {
        Some(tip) => (format!("branch '{branch}' here"), Some(tip)),
        None => match default_branch(repo)? {
            Some((name, commit)) => (
                format!("'{name}' (there is no branch '{branch}' here)"),
                Some(ObjectId::new(&commit).context("git names a malformed commit")?),
            ),
            None => (format!("nothing (there is no branch '{branch}' here)"), None),
        },
    };
    let side_by_side = match (&snapshot.head, &tip) {
        (Some(head), Some(tip)) => Some((head, tip)),
        _ => None,
    };
    let base = side_by_side.map_or(Ok(None), |(head, tip)| repo.merge_base(tip, head))?;
    let mut lines = vec![summary(repo, snapshot, &name, tip.as_ref())?];
    match (side_by_side, &base) {
        (Some((head, tip)), Some(_)) => {
            let ours = repo.count_commits(tip, std::slice::from_ref(head))?;
            if ours > 0 {
                lines.push(format!(
                    "{name} has {} that the workspace lacks; what they change is left out",
                    ui::count(ours, "commit")
                ));
            }
        }
        _ => lines.push(format!("it has no commit in common with {name}; all of it is shown")),
    }
    if let Some(own) = &snapshot.own {
        let known: Vec<ObjectId> = snapshot.head.iter().chain(&tip).cloned().collect();
        let others = repo.count_commits(own, &known)?;
        if others > 0 {
            lines.push(format!(
                "its branch '{branch}' has {} that are not in what is checked out there, and not shown",
                ui::count(others, "commit")
            ));
        }
    }
    for line in lines {
        ui::note(&line);
    }
    Ok(base)
}

fn summary(
    repo: &Repo,
    snapshot: &Snapshot,
    name: &str,
    tip: Option<&ObjectId>,
) -> anyhow::Result<String> {
    let theirs = match &snapshot.head {
        Some(head) => {
            let known: Vec<ObjectId> = tip.into_iter().cloned().collect();
            repo.count_commits(head, &known)?
        }
        None => 0,
    };
    let files = match &snapshot.wip {
        Some(wip) => repo.count_changed(snapshot.head.as_ref(), wip)?,
        None => 0,
    };
    let doing = match snapshot.operation.as_clean_str() {
        None | Some("") => String::new(),
        Some(operation) => format!(", with a {operation} in progress"),
    };
    Ok(format!(
        "workspace '{}' is {}{doing}: {} that {name} lacks, {} not committed",
        snapshot.workspace,
        snapshot.place(),
        ui::count(theirs, "commit"),
        ui::count(files, "file"),
    ))
}

/// git where the user is, so that paths mean what they mean there.
fn command(repo: &Repo) -> Cmd {
    let git = repo.git_for_user();
    let Some(top) = repo.work_dir() else { return git };
    let git = git.env("GIT_WORK_TREE", top);
    match std::env::current_dir().and_then(fs_err::canonicalize) {
        Ok(dir) if dir.starts_with(top) && !dir.starts_with(repo.git_dir()) => git.current_dir(dir),
        _ => git,
    }
}

/// Our own `--color`, as git's.
fn colour() -> Option<&'static str> {
    match anstream::ColorChoice::global() {
        anstream::ColorChoice::Always | anstream::ColorChoice::AlwaysAnsi => Some("--color=always"),
        anstream::ColorChoice::Never => Some("--color=never"),
        anstream::ColorChoice::Auto => None,
    }
}
