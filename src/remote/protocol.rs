//! Git's helper protocol (gitremote-helpers(7)): a loop over its lines.
//!
//! `list` opens the one session of the command; `fetch` and `push` run git's own commands over it.

use std::io::{BufRead, Write};
use std::thread::JoinHandle;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::access;
use crate::branch::BranchName;
use crate::config::Config;
use crate::error::Error;
use crate::git::{ObjectId, Repo};
use crate::guest::workspaces::Target;
use crate::identity::{self, Naming};
use crate::remote::advertisement::Advertisement;
use crate::remote::companions::Companions;
use crate::remote::incoming::Incoming;
use crate::remote::keep::Told;
use crate::remote::options::{Options, Verbosity};
use crate::remote::session::Session;
use crate::remote::url::Address;
use crate::remote::{fetch, keep, lfs, push};
use crate::ui;
use crate::vm::Need;

/// A line of git's is never longer than this, in bytes.
const LINE_CAP: u64 = 1 << 20;

/// One run of the helper.
#[derive(Debug)]
pub struct Helper {
    /// The first argument: a remote's name, or the whole URL where there is none.
    pub remote: String,
    /// What the URL names.
    pub address: Address,
    /// The repository, unless git runs outside one.
    pub repo: Option<Repo>,
    /// The settings.
    pub config: Config,
    /// What git asked for so far.
    pub options: Options,
    /// Open after `list`.
    pub session: Option<Session>,
    /// What goes along with a push, looked up while the session opens.
    pub companions: Option<JoinHandle<anyhow::Result<Companions>>>,
    /// Whether `list` was for a push.
    pushing: bool,
}

/// Obeys git until it has no more to say. git hears what we can do before `prepare` looks at the
/// repository, and goes on meanwhile.
pub fn run(
    prepare: impl FnOnce() -> anyhow::Result<Helper>,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> anyhow::Result<()> {
    let mut answer = |text: &str| {
        output.write_all(text.as_bytes()).and_then(|()| output.flush()).context("git is gone")
    };
    let mut next = read_line(input)?;
    if next.as_deref() == Some("capabilities") {
        answer("option\nfetch\npush\nconnect\nobject-format\n\n")?;
        next = read_line(input)?;
    }
    if next.is_none() {
        return Ok(());
    }
    let mut helper = prepare()?;
    while let Some(line) = next {
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        let text = match words.as_slice() {
            // Said to be served only so that git asks, and hears why not. All else is done by
            // `fetch` and `push`.
            ["connect", "git-upload-archive"] => return Err(helper.no_archive()),
            ["connect", ..] => "fallback\n".to_owned(),
            ["option", name, value] => helper.option(name, value),
            ["option", name] => helper.option(name, ""),
            ["list"] => helper.list(Purpose::Fetch)?,
            ["list", "for-push"] => helper.list(Purpose::Push)?,
            ["fetch", ..] => {
                let lines = read_batch(line, input)?;
                helper.fetch(&lines)?
            }
            ["push", ..] => {
                let lines = read_batch(line, input)?;
                helper.push(&lines)?
            }
            [""] => break,
            _ => anyhow::bail!("git asks for something unknown: {line}"),
        };
        answer(&text)?;
        next = read_line(input)?;
    }
    // `git ls-remote`, a push that a hook refused, a fetch that needs nothing.
    let Some(session) = helper.session.take() else { return Ok(()) };
    if helper.pushing {
        lfs::after_no_push(&helper, &session)?;
    }
    session.end()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Fetch,
    Push,
}

impl Helper {
    /// A helper for one command of git.
    #[must_use]
    pub fn new(remote: &str, address: Address, repo: Option<Repo>, mut config: Config) -> Self {
        if let Address::Workspace(vm, _) = &address {
            config.vm = vm.clone();
        }
        let options = Options::default();
        let remote = remote.to_owned();
        let (session, companions) = (None, None);
        Self { remote, address, repo, config, options, session, companions, pushing: false }
    }

    /// Whether git was given the URL itself, rather than a remote's name.
    #[must_use]
    pub fn is_by_url(&self) -> bool {
        self.remote.starts_with("agentvm::") || self.remote.starts_with("agentvm://")
    }

    fn told(&self) -> Told {
        if self.is_by_url() { Told::ByUs } else { Told::ByGit }
    }

    /// The repository, where one is needed.
    pub fn repo(&self) -> anyhow::Result<&Repo> {
        self.repo.as_ref().ok_or_else(|| {
            Error::failed("not in a git repository, so agentvm::BRANCH names no workspace")
                .hint("outside a repository, use agentvm://VM/WORKSPACE (git agent-vm status shows the names)")
                .into()
        })
    }

    fn option(&mut self, name: &str, value: &str) -> String {
        let known = self.options.set(name, value);
        if name == "verbosity" {
            ui::set_quiet(self.options.verbosity == Verbosity::Quiet);
        }
        if known { "ok\n".into() } else { "unsupported\n".into() }
    }

    fn list(&mut self, purpose: Purpose) -> anyhow::Result<String> {
        self.pushing = purpose == Purpose::Push;
        // git asks again within one command where it needs all refs.
        if self.session.is_none() {
            let session = match purpose {
                Purpose::Fetch => self.open_for_fetch()?,
                Purpose::Push => {
                    let repo = self.repo()?.clone();
                    self.companions = Some(std::thread::spawn(move || Companions::of(&repo)));
                    self.open_for_push()?
                }
            };
            self.check_format(&session)?;
            self.check_shallow(&session)?;
            self.session = Some(self.checked(session)?);
        }
        let Some(session) = &self.session else { anyhow::bail!("there is no session") };
        let refs = &session.advertisement;
        if refs.unsafe_names > 0 {
            ui::warning(&format!(
                "{} refs of workspace '{}' have unsafe names and are left out",
                refs.unsafe_names, session.workspace
            ));
        }
        let mut answer = String::new();
        if self.options.object_format {
            answer.push_str(&format!(":object-format {}\n", refs.object_format));
        }
        if purpose == Purpose::Fetch {
            // First, as every remote lists it.
            let full = session.branch.full_ref();
            if refs.tip(&full).is_some() {
                answer.push_str(&format!("@{full} HEAD\n"));
            } else {
                ui::warning(&missing_branch(&session.workspace, &session.branch, refs));
            }
            if let Some(repo) = self.repo.as_ref().filter(|_| !self.options.cloning) {
                Incoming::clear(repo);
                keep::listed(repo, &self.config, session, self.told())?;
            }
        }
        for listed in &refs.refs {
            if purpose == Purpose::Push || listed.name.starts_with("refs/heads/") {
                answer.push_str(&format!("{} {}\n", listed.id, listed.name));
            }
        }
        answer.push('\n');
        Ok(answer)
    }

    fn no_archive(&self) -> anyhow::Error {
        let (url, to_type) = match &self.address {
            Address::Branch(branch) => {
                (format!("agentvm::{branch}"), format!("agentvm::{}", branch.in_shell()))
            }
            Address::Workspace(vm, workspace) => {
                let url = format!("agentvm://{vm}/{workspace}");
                (url.clone(), url)
            }
        };
        Error::failed(format!("{url}: a workspace makes no archives"))
            .hint(format!("make it here: git fetch {to_type} && git archive FETCH_HEAD"))
            .into()
    }

    /// A clone's repository is empty and takes the format that it finds.
    fn check_format(&self, session: &Session) -> anyhow::Result<()> {
        let theirs = &session.advertisement.object_format;
        match &self.repo {
            Some(repo) if repo.object_format() != theirs && !self.is_clone() => {
                Err(Error::failed(format!(
                    "workspace '{}' uses {theirs}, this repository {}",
                    session.workspace,
                    repo.object_format()
                ))
                .into())
            }
            _ => Ok(()),
        }
    }

    fn check_shallow(&self, session: &Session) -> anyhow::Result<()> {
        if self.options.reject_shallow && session.advertisement.shallow {
            let message = format!(
                "workspace '{}' is shallow: the repository that it was pushed from is",
                session.workspace
            );
            return Err(Error::failed(message)
                .hint("git clone --no-reject-shallow takes it as it is")
                .into());
        }
        Ok(())
    }

    fn open_for_fetch(&self) -> anyhow::Result<Session> {
        let need = Need::of_fetch();
        let quiet = self.options.verbosity == Verbosity::Quiet;
        let (config, target) = self.target()?;
        let call = target.call("upload").arg(if quiet { "1" } else { "0" });
        let (guest, session) = access::open(&config, need, &call)?;
        Session::begin(&guest, session).map_err(|error| self.explain_absent(error))
    }

    fn open_for_push(&self) -> anyhow::Result<Session> {
        let may_create = ui::has_terminal() || self.config.auto_start == Some(true);
        let need = if may_create { Need::Create } else { Need::Start };
        let format = self.repo()?.object_format();
        let (config, target, naming) = self.receiving_target()?;
        let (name, email) = push::identity_for(&self.config);
        let call = target.call("receive").arg(format).arg(undecoded(name)).arg(undecoded(email));
        let outcome = access::open(&config, need, &call)
            .and_then(|(guest, session)| Session::begin(&guest, session));
        if let Some(naming) = naming {
            match &outcome {
                Ok(_) => naming.keep(self.repo()?)?,
                Err(_) => naming.take_back(self.repo()?),
            }
        }
        outcome
    }

    /// Whom to ask for the workspace: for a push, the repository gets an id if it has none.
    fn receiving_target(&self) -> anyhow::Result<(Config, Target, Option<Naming>)> {
        match &self.address {
            Address::Branch(branch) => {
                let repo = self.repo()?;
                let (id, naming) = identity::ensure(repo, self.config.id.as_deref())?;
                let target = Target::branch(&repo.base_name(), &id, branch);
                Ok((self.config.clone(), target, naming))
            }
            Address::Workspace(..) => {
                let (config, target) = self.target()?;
                Ok((config, target, None))
            }
        }
    }

    fn target(&self) -> anyhow::Result<(Config, Target)> {
        match &self.address {
            Address::Branch(branch) => {
                let repo = self.repo()?;
                if self.is_clone() {
                    return Err(clone_by_branch(branch, &self.config).into());
                }
                let id = identity::known(repo, self.config.id.as_deref())?
                    .ok_or_else(|| no_workspace(branch))?;
                Ok((self.config.clone(), Target::branch(&repo.base_name(), &id, branch)))
            }
            Address::Workspace(_, workspace) => Ok((self.config.clone(), Target::named(workspace))),
        }
    }

    /// In `git clone` the repository is new and empty: its remote has this very URL, and no id.
    fn is_clone(&self) -> bool {
        self.config.id.is_none()
            && !self.is_by_url()
            && self.repo.as_ref().is_some_and(|repo| {
                repo.output(&["rev-parse", "-q", "--verify", "HEAD"])
                    .is_ok_and(|output| !output.exit.success())
            })
    }

    /// The workspace must be the one that was asked for, whatever the VM says.
    fn checked(&self, session: Session) -> anyhow::Result<Session> {
        match &self.address {
            Address::Branch(branch) if *branch != session.branch => Err(Error::failed(format!(
                "asked for the workspace of branch '{branch}', the {} gave that of '{}'",
                session.describe(),
                session.branch
            ))
            .into()),
            _ => Ok(session),
        }
    }

    fn explain_absent(&self, error: anyhow::Error) -> anyhow::Error {
        match (&self.address, crate::error::kind_of(&error)) {
            (Address::Branch(branch), crate::error::Kind::NotFound) => no_workspace(branch).into(),
            _ => error,
        }
    }

    fn fetch(&mut self, lines: &[String]) -> anyhow::Result<String> {
        let mut wanted = Vec::new();
        for line in lines {
            let mut words = line.splitn(3, ' ').skip(1);
            let id = words.next().and_then(ObjectId::new).context("git asks for a malformed id")?;
            wanted.push((id, words.next().unwrap_or_default().to_owned()));
        }
        let session = self.session.take().context("git fetches without listing first")?;
        let repo = self.repo.as_ref().context("git fetches outside a repository")?;
        fetch::run(repo, &self.config, &self.options, session, &wanted, self.told())?;
        Ok("\n".into())
    }

    fn push(&mut self, lines: &[String]) -> anyhow::Result<String> {
        let session = self.session.take().context("git pushes without listing first")?;
        let companions = self.companions.take().context("git pushes without listing first")?;
        let specs: Vec<&str> =
            lines.iter().map(|line| line.strip_prefix("push ").unwrap_or(line)).collect();
        push::run(self, session, companions, &specs)
    }
}

/// A line in base64 of its own: the guest decodes it only where it makes a workspace. Line ends, which
/// the guest takes away, stand for base64's padding, to which some shells give a meaning.
fn undecoded(mut line: String) -> String {
    while !line.len().is_multiple_of(3) {
        line.push('\n');
    }
    BASE64.encode(line)
}

/// There is nothing to fetch.
#[must_use]
pub fn no_workspace(branch: &BranchName) -> Error {
    Error::not_found(format!("there is no workspace of branch '{branch}' of this repository"))
        .hint(format!("git agent-vm push {} makes it", branch.in_shell()))
}

fn clone_by_branch(branch: &BranchName, config: &Config) -> Error {
    Error::usage(format!(
        "agentvm::{branch} names a branch of \"this repository\", which a new clone is not"
    ))
    .hint(format!(
        "git clone agentvm://{}/WORKSPACE (git agent-vm status shows the names)",
        config.vm
    ))
}

fn missing_branch(workspace: &str, branch: &BranchName, refs: &Advertisement) -> String {
    let others: Vec<&str> = refs.branches().take(10).collect();
    let there = if others.is_empty() {
        "it has no commit on any branch yet".to_owned()
    } else {
        format!("it has: {}", others.join(", "))
    };
    format!("workspace '{workspace}' has no branch '{branch}'; {there}")
}

fn read_line(input: &mut impl BufRead) -> anyhow::Result<Option<String>> {
    let mut bytes = Vec::new();
    std::io::Read::take(&mut *input, LINE_CAP).read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    anyhow::ensure!(bytes.ends_with(b"\n"), "git's line has no end");
    bytes.pop();
    let line = String::from_utf8(bytes)
        .map_err(|_| Error::failed("a ref's name is not UTF-8, which git-agent-vm cannot carry"))?;
    Ok(Some(line))
}

/// The first line of a batch and those after it, up to an empty one.
fn read_batch(first: String, input: &mut impl BufRead) -> anyhow::Result<Vec<String>> {
    let mut lines = vec![first];
    while let Some(line) = read_line(input)?.filter(|line| !line.is_empty()) {
        lines.push(line);
    }
    Ok(lines)
}
