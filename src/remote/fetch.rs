//! `fetch`: git's own fetch-pack over the session, with every check that git has forced on.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use crate::config::Config;
use crate::error::Error;
use crate::git::{ObjectId, Repo};
use crate::process::Cmd;
use crate::remote::clashes;
use crate::remote::incoming::Incoming;
use crate::remote::keep::{self, Source, Told};
use crate::remote::options::{Options, Verbosity};
use crate::remote::relay::Stopped;
use crate::remote::session::{Session, Transfer};
use crate::remote::submodules;
use crate::ui;

/// The most memory that unpacking may take for data, in bytes. A pack of 16 KB can unfold into
/// gigabytes; packs themselves are mapped and do not count, so honest ones of any size pass.
const MEMORY_LIMIT: u64 = 2 << 30;

/// Faults of old, honest history (git-fsck(1), "msg-id"): warned about. All others are refused.
const BENIGN: &[&str] = &[
    "badDate",
    "badDateOverflow",
    "badEmail",
    "badTimezone",
    "missingEmail",
    "missingNameBeforeEmail",
    "missingSpaceBeforeDate",
    "missingSpaceBeforeEmail",
    "multipleAuthors",
    "zeroPaddedDate",
    "zeroPaddedFilemode",
];

/// Faults that do harm when such objects are checked out or served. Errors by themselves; named
/// here so that looser settings of the user's (`fetch.fsck.*`) do not open the gate to a VM.
const HARMFUL: &[&str] = &[
    "duplicateEntries",
    "emptyName",
    "fullPathname",
    "gitattributesBlob",
    "gitattributesLarge",
    "gitattributesLineLength",
    "gitattributesMissing",
    "gitattributesSymlink",
    "gitignoreSymlink",
    "gitmodulesBlob",
    "gitmodulesLarge",
    "gitmodulesMissing",
    "gitmodulesName",
    "gitmodulesPath",
    "gitmodulesSymlink",
    "gitmodulesUpdate",
    "gitmodulesUrl",
    "hasDot",
    "hasDotdot",
    "hasDotgit",
    "mailmapSymlink",
    "nullSha1",
    "treeNotSorted",
];

/// Brings the wanted refs, checks that they are whole, and only then keeps them.
pub fn run(
    repo: &Repo,
    config: &Config,
    options: &Options,
    session: Session,
    wanted: &[(ObjectId, String)],
    told: Told,
) -> anyhow::Result<()> {
    if options.filter.is_some() {
        forget_promisor(repo, session.branch.as_str());
        return Err(Error::usage("a fetch from a workspace cannot be filtered")
            .hint("leave --filter away: what the agent made exists nowhere else")
            .into());
    }
    // HEAD stands for the branch: the agent may have another one checked out.
    let own = session.branch.clone();
    let branch = own.full_ref();
    let workspace = session.workspace.clone();
    let name_of = |name: &str| if name == "HEAD" { branch.clone() } else { name.to_owned() };
    let wanted: BTreeSet<(String, ObjectId)> =
        wanted.iter().map(|(id, name)| (name_of(name), id.clone())).collect();
    let ended = bring(repo, config, options, session, &wanted)?;
    if !options.cloning {
        let kept: Vec<_> = wanted.iter().map(|(name, tip)| (name.as_str(), tip)).collect();
        let known = known(repo, config, &workspace, &kept)?;
        keep::fetched(repo, config, &workspace, &kept, told)?;
        let moves: Vec<_> =
            known.iter().map(Option::as_ref).zip(kept.iter().map(|(_, tip)| *tip)).collect();
        submodules::after_fetch(repo, &own, &moves);
        if config.ignore_case {
            let tips: BTreeSet<&ObjectId> = wanted.iter().map(|(_, tip)| tip).collect();
            for tip in tips {
                if let Err(error) = clashes::warn_of_fetched(repo, tip.as_str()) {
                    ui::warning(&format!("{error:#}"));
                }
            }
        }
    }
    if let Err(error) = ended {
        // All is here and kept; only the last words of the session may be missing.
        ui::warning(&format!("{error:#}"));
    }
    Ok(())
}

/// Brings what the wanted refs point to, and checks that it is whole; no ref leads to it yet. The
/// inner result is how the session ended.
pub fn bring(
    repo: &Repo,
    config: &Config,
    options: &Options,
    mut session: Session,
    wanted: &BTreeSet<(String, ObjectId)>,
) -> anyhow::Result<anyhow::Result<()>> {
    let incoming = Incoming::new(repo)?;
    incoming.lend_lock()?;
    let git = incoming.give(command(repo, options));
    let names: BTreeSet<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
    let input: String = names.iter().map(|name| format!("{name}\n")).collect();
    let faults = Faults::default();
    let transfer =
        session.run(git, "--upload-pack", &input, config.fetch_limit, faults.filter())?;
    // Gone when refs hold what came.
    if !transfer.exit.success() {
        return Err(failure(&transfer, config, &session, &faults));
    }
    faults.report();
    let (workspace, branch_word) =
        (session.workspace.clone(), session.branch.in_shell().to_string());
    // The guest winds up while we look at what came.
    let ending = std::thread::spawn(move || session.end());
    let tips: Vec<ObjectId> = wanted.iter().map(|(_, id)| id.clone()).collect();
    let connected = repo.is_connected_for(incoming.give(repo.git()), &tips);
    let ended = ending.join();
    if !connected? {
        return Err(Error::failed(format!(
            "workspace '{workspace}' sent commits without all that belongs to them; nothing was changed"
        ))
        .hint(format!("git agent-vm connect {branch_word} -- git fsck names them"))
        .into());
    }
    incoming.accept()?;
    Ok(ended.unwrap_or_else(|_| Err(anyhow::anyhow!("the thread that ends the session failed"))))
}

/// What is known of each of these branches before it is kept: its last tip there, or here.
fn known(
    repo: &Repo,
    config: &Config,
    workspace: &str,
    tips: &[(&str, &ObjectId)],
) -> anyhow::Result<Vec<Option<ObjectId>>> {
    let known = tips.iter().map(|(name, _)| {
        let seen = keep::last_seen(repo, &Source::new(config, workspace, name));
        Ok(match seen.or_else(|| repo.quick_tip(name)) {
            None => repo.ref_tip("HEAD")?,
            known => known,
        })
    });
    known.collect()
}

/// Takes back what git noted before it asked us: from now on it would filter every fetch, and look
/// for missing objects in the workspace.
fn forget_promisor(repo: &Repo, branch: &str) {
    for key in ["promisor", "partialclonefilter"] {
        // Not set is as good.
        repo.run(&["config", "--local", "--unset-all", &format!("remote.agentvm::{branch}.{key}")])
            .ok();
    }
}

/// Whether a fetch says itself how severe a fault of an object is, whatever the user's settings say.
#[must_use]
pub fn pins(fault: &str) -> bool {
    BENIGN.iter().chain(HARMFUL).any(|pinned| pinned.eq_ignore_ascii_case(fault))
}

fn command(repo: &Repo, options: &Options) -> Cmd {
    let mut git = repo.git();
    for setting in [
        "protocol.file.allow=always",
        "fetch.fsckObjects=true",
        "transfer.fsckObjects=true",
        "transfer.bundleURI=false",
        "fetch.uriProtocols=",
        "promisor.acceptFromServer=none",
        "core.hooksPath=/dev/null",
        "gc.auto=0",
    ] {
        git = git.args(["-c", setting]);
    }
    for fault in BENIGN {
        git = git.args(["-c", &format!("fetch.fsck.{fault}=warn")]);
    }
    for fault in HARMFUL {
        git = git.args(["-c", &format!("fetch.fsck.{fault}=error")]);
    }
    // git 2.39 to 2.45 crash where they check many objects and are not asked for a lock.
    git = allow_local_transport(git).data_limit(MEMORY_LIMIT).args([
        "fetch-pack",
        "--stdin",
        "--lock-pack",
    ]);
    match options.verbosity {
        Verbosity::Quiet => git = git.arg("-q"),
        // Of the transfer, git's own fetch tells at the second `-v` only.
        Verbosity::Normal | Verbosity::Verbose => {}
        Verbosity::Debug => git = git.arg("-v"),
    }
    if !options.progress {
        git = git.arg("--no-progress");
    }
    if let Some(depth) = &options.depth {
        git = git.arg(format!("--depth={depth}"));
    }
    if let Some(since) = &options.deepen_since {
        git = git.arg(format!("--shallow-since={since}"));
    }
    for not in &options.deepen_not {
        git = git.arg(format!("--shallow-exclude={not}"));
    }
    if options.deepen_relative {
        git = git.arg("--deepen-relative");
    }
    if options.refetch {
        git = git.arg("--refetch");
    }
    if options.cloning {
        git = git.arg("--cloning");
    }
    if options.update_shallow || options.cloning {
        git = git.arg("--update-shallow");
    }
    git
}

/// The session is served through git's local transport, whatever the user allows for others.
#[must_use]
pub fn allow_local_transport(git: Cmd) -> Cmd {
    match std::env::var("GIT_ALLOW_PROTOCOL") {
        Ok(allowed) => git.env("GIT_ALLOW_PROTOCOL", format!("{allowed}:file")),
        Err(_) => git,
    }
}

fn failure(
    transfer: &Transfer,
    config: &Config,
    session: &Session,
    faults: &Faults,
) -> anyhow::Error {
    let workspace = &session.workspace;
    match transfer.stopped {
        Some(Stopped::TooMuch) => Error::failed(format!(
            "workspace '{workspace}' sent more than {}; nothing was changed",
            ui::size(config.fetch_limit)
        ))
        .hint("agentvm.fetchLimit allows more: git -c agentvm.fetchLimit=32GiB fetch …")
        .into(),
        Some(Stopped::Silence) => {
            Error::timed_out(format!("the {} went silent; nothing was changed", session.describe()))
                .hint("git agent-vm status shows what the VM is doing")
                .into()
        }
        None => match faults.refused() {
            Some(fault) => Error::failed(format!(
                "workspace '{workspace}' sent a malformed object ({fault}); nothing was changed"
            ))
            .hint("such objects can do harm on the host; look at the workspace's history first")
            .into(),
            None => Error::failed(format!(
                "git fetch-pack from workspace '{workspace}' ended with {}; nothing was changed",
                transfer.exit
            ))
            .into(),
        },
    }
}

/// What git's object checks found, by the name of the fault.
#[derive(Debug, Default, Clone)]
struct Faults(Arc<Mutex<Found>>);

#[derive(Debug, Default)]
struct Found {
    warned: BTreeSet<&'static str>,
    refused: Option<String>,
}

impl Faults {
    /// Takes the lines about single objects out of git's messages: one line a class is enough.
    fn filter(&self) -> impl FnMut(&str) -> Option<String> + Send + 'static {
        let found = Arc::clone(&self.0);
        move |line| {
            let Ok(mut found) = found.lock() else { return Some(line.to_owned()) };
            if let Some(rest) = line.strip_prefix("warning: ")
                && let Some(fault) =
                    BENIGN.iter().find(|fault| rest.contains(&format!(": {fault}: ")))
            {
                found.warned.insert(fault);
                return None;
            }
            if let Some(rest) = line.strip_prefix("error: object ")
                && let Some(fault) = rest.split(": ").nth(1)
            {
                found.refused = Some(fault.to_owned());
            }
            Some(line.to_owned())
        }
    }

    fn report(&self) {
        if let Ok(found) = self.0.lock()
            && !found.warned.is_empty()
        {
            let names: Vec<&str> = found.warned.iter().copied().collect();
            ui::warning(&format!(
                "the history has old, harmless faults, accepted: {}",
                names.join(", ")
            ));
        }
    }

    fn refused(&self) -> Option<String> {
        self.0.lock().ok().and_then(|found| found.refused.clone())
    }
}
