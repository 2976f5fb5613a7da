//! The state of a workspace as a commit here, `refs/agentvm/wip/BRANCH`.
//!
//! The guest makes it beside the workspace (`68-wip.sh`) and serves it as a fetch is served, so it
//! passes all that a fetch has to pass. A state that has not changed since is the same commit, and
//! costs no transfer.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::time::Duration;

use crate::access;
use crate::branch::BranchName;
use crate::config::Config;
use crate::error::{self, Error};
use crate::git::{ObjectId, Repo};
use crate::guest::wire::Field;
use crate::guest::workspaces::Target;
use crate::guest::{self, Call};
use crate::remote::keep::Told;
use crate::remote::options::{Options, Verbosity};
use crate::remote::protocol::no_workspace;
use crate::remote::session::Session;
use crate::remote::{fetch, keep};
use crate::sanitize::GuestText;
use crate::ui;
use crate::vm::Need;
use crate::wip::ref_of;

/// How long the guest may take to read all files that have changed.
const LIMIT: Duration = Duration::from_secs(900);

/// The refs that the guest serves.
const WIP: &str = "refs/heads/wip";
const HEAD: &str = "refs/heads/head";
const OWN: &str = "refs/heads/own";

/// What a workspace was when it was looked at. All commits in it are here now.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The workspace's name.
    pub workspace: String,
    /// What is not committed, as a commit on top of `head`; `None`: nothing.
    pub wip: Option<ObjectId>,
    /// The commit that is checked out; `None`: there is none yet.
    pub head: Option<ObjectId>,
    /// The tip of the workspace's own branch.
    pub own: Option<ObjectId>,
    /// The full name of what HEAD is on; empty where it is detached.
    pub checked_out: GuestText,
    /// An operation in progress, by git's name; else empty.
    pub operation: GuestText,
    /// Repositories inside whose content did not come.
    pub nested: Vec<GuestText>,
    /// What could not be read, so that it did not come.
    pub unread: Vec<GuestText>,
}

impl Snapshot {
    /// The commit that has all of it; `None` where there is neither a file nor a commit.
    #[must_use]
    pub fn state(&self) -> Option<&ObjectId> {
        self.wip.as_ref().or(self.head.as_ref())
    }

    /// The branch that is checked out there.
    #[must_use]
    pub fn branch(&self) -> Option<BranchName> {
        self.checked_out.as_clean_str().and_then(BranchName::from_full_ref)
    }

    /// What HEAD is on, in words: `on branch main`.
    #[must_use]
    pub fn place(&self) -> String {
        match self.branch() {
            Some(branch) => format!("on branch {branch}"),
            None if self.checked_out == GuestText::default() => "on no branch".to_owned(),
            None => format!("on {}", self.checked_out),
        }
    }

    fn note(&mut self, field: Field) {
        match field.key.as_str() {
            "checked_out" => self.checked_out = field.value,
            "operation" => self.operation = field.value,
            "nested" => self.nested.push(field.value),
            "unread" => self.unread.push(field.value),
            _ => {}
        }
    }

    /// Names what did not come. Whether there is anything that should have.
    #[must_use]
    pub fn warn(&self) -> bool {
        for path in &self.nested {
            ui::warning(&format!(
                "{path} is a repository of its own; what is in it stays in the workspace"
            ));
        }
        for path in &self.unread {
            ui::error(&format!("{path} could not be read in the workspace, and is left out"));
        }
        !self.unread.is_empty()
    }
}

/// Takes the state of a branch's workspace, which may be changing meanwhile, and keeps it as
/// [`ref_of`]: the commit of its work in progress, or its HEAD where all is committed. What the ref was
/// stays in its reflog; what HEAD and the branch are is kept as after a fetch.
pub fn take(
    repo: &Repo,
    config: &Config,
    target: &Target,
    branch: &BranchName,
) -> anyhow::Result<Snapshot> {
    let need = Need::of_fetch();
    let last = repo.ref_tip(&ref_of(branch))?;
    let mut snapshot = Snapshot::default();
    let session = {
        let _progress = ui::Progress::start(&format!("looking at the workspace of '{branch}'"));
        open(repo, config, need, &call(repo, target, last.as_ref())?, branch, &mut snapshot)?
    };
    snapshot.workspace.clone_from(&session.workspace);
    let served = |name: &str| session.advertisement.tip(name).cloned();
    (snapshot.wip, snapshot.head, snapshot.own) = (served(WIP), served(HEAD), served(OWN));
    let wanted: BTreeSet<(String, ObjectId)> =
        [WIP, HEAD, OWN].iter().filter_map(|name| Some(((*name).into(), served(name)?))).collect();
    if wanted.is_empty() {
        session.end()?;
        return Ok(snapshot);
    }
    let ended = fetch::bring(repo, config, &options(), session, &wanted)?;
    keep_all(repo, config, branch, &snapshot)?;
    if let Err(error) = ended {
        // All is here and kept; only the last words of the session may be missing.
        ui::warning(&format!("{error:#}"));
    }
    Ok(snapshot)
}

/// What to ask of the guest. It is told what is here already, and as of when.
fn call(repo: &Repo, target: &Target, last: Option<&ObjectId>) -> anyhow::Result<Call> {
    let call = target.call("snapshot");
    let Some(last) = last else { return Ok(call.arg("").arg("")) };
    let time = repo.output(&["log", "-1", "--no-show-signature", "--format=%ct", last.as_str()])?;
    let time = String::from_utf8_lossy(time.stdout.trim_ascii()).into_owned();
    // An old ref that points nowhere says nothing.
    if time.is_empty() || !time.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(call.arg("").arg(""));
    }
    Ok(call.arg(last.as_str()).arg(time))
}

fn open(
    repo: &Repo,
    config: &Config,
    need: Need,
    call: &Call,
    branch: &BranchName,
    snapshot: &mut Snapshot,
) -> anyhow::Result<Session> {
    let (guest, mut session) = access::open(config, need, call)?;
    session.set_patience(guest::time_limit(LIMIT));
    let session = Session::begin_noting(&guest, session, |field| snapshot.note(field));
    let session = session.map_err(|error| match error::kind_of(&error) {
        error::Kind::NotFound => no_workspace(branch).into(),
        _ => error,
    })?;
    if session.branch != *branch {
        return Err(Error::failed(format!(
            "asked for the workspace of branch '{branch}', the {} gave that of '{}'",
            session.describe(),
            session.branch
        ))
        .into());
    }
    let theirs = &session.advertisement.object_format;
    if theirs != repo.object_format() {
        return Err(Error::failed(format!(
            "workspace '{}' uses {theirs}, this repository {}",
            session.workspace,
            repo.object_format()
        ))
        .into());
    }
    Ok(session)
}

fn options() -> Options {
    Options {
        verbosity: if ui::is_quiet() { Verbosity::Quiet } else { Verbosity::Normal },
        progress: std::io::stderr().is_terminal() && !ui::is_quiet(),
        ..Options::default()
    }
}

fn keep_all(
    repo: &Repo,
    config: &Config,
    branch: &BranchName,
    snapshot: &Snapshot,
) -> anyhow::Result<()> {
    let workspace = &snapshot.workspace;
    let own_name = branch.full_ref();
    let head_name = snapshot.branch().map_or_else(|| "HEAD".to_owned(), |name| name.full_ref());
    let head = snapshot.head.as_ref().filter(|head| snapshot.own.as_ref() != Some(head));
    let tips = [(&*own_name, snapshot.own.as_ref()), (&*head_name, head)];
    let tips: Vec<_> = tips.iter().filter_map(|(name, tip)| Some((*name, (*tip)?))).collect();
    keep::fetched(repo, config, workspace, &tips, Told::ByUs)?;
    match snapshot.state() {
        Some(state) => move_ref(repo, branch, state, workspace),
        None => Ok(()),
    }
}

fn move_ref(
    repo: &Repo,
    branch: &BranchName,
    state: &ObjectId,
    workspace: &str,
) -> anyhow::Result<()> {
    let name = ref_of(branch);
    if repo.ref_tip(&name)?.as_ref() == Some(state) {
        return Ok(());
    }
    let reason = format!("agentvm: state of {workspace}");
    let words = ["update-ref", "--create-reflog", "-m", &reason, &name, state.as_str()];
    // Nobody but us moves these refs.
    let refused = repo.change_refs(&[&name], || {
        let moved = repo.output(&words)?;
        Ok((!moved.exit.success()).then(|| moved.stderr_tail(1)))
    })?;
    let Some(said) = refused else { return Ok(()) };
    let error = Error::failed(format!("cannot keep {} as {name}: {said}", state.short()));
    Err(match in_the_way(repo, branch)? {
        Some(other) => error.hint(format!(
            "it is in the way; if it is not needed any more: git update-ref -d {}",
            shell_word(&other)
        )),
        None => error,
    }
    .into())
}

/// The ref of another branch that cannot be beside this one: `a` and `a/b`.
fn in_the_way(repo: &Repo, branch: &BranchName) -> anyhow::Result<Option<String>> {
    let mut above = branch.as_str();
    while let Some((parent, _)) = above.rsplit_once('/') {
        let name = format!("refs/agentvm/wip/{parent}");
        if repo.ref_tip(&name)?.is_some() {
            return Ok(Some(name));
        }
        above = parent;
    }
    let below = format!("{}/", ref_of(branch));
    let found = repo.run(&["for-each-ref", "--count=1", "--format=%(refname)", "--", &below])?;
    Ok(Some(found).filter(|name| !name.is_empty()))
}

fn shell_word(name: &str) -> String {
    BranchName::new(name).map_or_else(|_| name.to_owned(), |name| name.in_shell().into_owned())
}
