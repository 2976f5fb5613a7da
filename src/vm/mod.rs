//! Getting a VM and a way into it, whatever provides it.
//!
//! A [`Provider`] knows how to make, start, stop and delete a VM and where its ssh is. It knows
//! nothing of workspaces. [`ready`] holds the rules for when a VM is made or started.

use crate::config::{Config, ProviderKind};
use crate::error::{self, Error};
use crate::handover::Unset;
use crate::provision::{Plan, Wanted};
use crate::ssh::Endpoint;
use crate::ui;

pub mod lima;
pub mod ssh;

/// What a VM is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// There is none, and the host has no record of one.
    Absent,
    /// It exists and does not run.
    Stopped,
    /// Its processes run and it does not answer yet.
    Starting,
    /// It runs.
    Running,
    /// It is damaged, or the host cannot find it where it was made.
    Broken(Damage),
}

/// What is wrong with a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// What was found, to stand after "is broken: ".
    pub why: String,
    /// What to do about it, one line each.
    pub hints: Vec<String>,
    /// Whether it can't be started by anything that we do.
    pub for_good: bool,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

impl State {
    /// The word that `status` shows.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            State::Absent => "absent",
            State::Stopped => "stopped",
            State::Starting => "starting",
            State::Running => "running",
            State::Broken(_) => "broken",
        }
    }
}

/// What the provider knows of a VM. What could not be learned is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What it is doing.
    pub state: State,
    /// Virtual processors.
    pub cpus: Option<u32>,
    /// Bytes.
    pub memory: Option<u64>,
    /// The disk's size as the guest sees it, in bytes.
    pub disk: Option<u64>,
}

/// What a user asked for; `None` means the configuration's or the default on create, and "leave it"
/// on an existing VM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resources {
    /// Virtual processors.
    pub cpus: Option<u32>,
    /// Bytes.
    pub memory: Option<u64>,
    /// Bytes.
    pub disk: Option<u64>,
}

/// What to do about a VM that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfAbsent {
    /// Make it.
    Make,
    /// Fail with exit code 4.
    Fail,
}

/// A source of VMs.
pub trait Provider {
    /// What it is, for messages: `VM 'agent-vm'`, `host 'build.example'`.
    fn describe(&self) -> String;
    /// What the VM is doing. Changes nothing.
    fn status(&self) -> anyhow::Result<Status>;
    /// Starts it with what was asked for, and returns when it answers, with what it has then. If it
    /// runs already, that is checked. What can't be changed while it runs is said, with how to
    /// change it. A disk can't shrink: exit code 2.
    fn start(&self, asked: Resources, absent: IfAbsent) -> anyhow::Result<Status>;
    /// Stops it in an orderly way.
    fn stop(&self) -> anyhow::Result<()>;
    /// Deletes it with all that is in it. Done only when nothing of it is left.
    fn delete(&self) -> anyhow::Result<()>;
    /// The way into it, if it runs, without asking whether it does: as cheap as reading a file.
    /// `None` where there is no VM.
    fn endpoint(&self) -> anyhow::Result<Option<Endpoint>>;
    /// Whether the VM is ours to start and stop.
    fn has_lifecycle(&self) -> bool {
        true
    }
    /// Whether the user stopped it on purpose, so that what runs in the background leaves it so.
    fn stopped_on_purpose(&self) -> bool;
}

/// The provider that the configuration names.
pub fn provider(config: &Config) -> anyhow::Result<Box<dyn Provider>> {
    Ok(match config.provider {
        ProviderKind::Lima => Box::new(lima::Lima::new(config)?),
        ProviderKind::Ssh => Box::new(ssh::SshHost::new(config)?),
    })
}

/// What a command may do to have a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Make it, start it: `start`, `connect`, `push`; `git push` by a person at a terminal.
    Create,
    /// Start it, never make one: `fetch`, `clean`; `git push` without a terminal.
    Start,
    /// Start it only if the user did not stop it: a fetch in the background.
    StartUnlessStopped,
}

impl Need {
    /// What a fetch may do: an editor fetches in the background, where nobody waits for a VM.
    #[must_use]
    pub fn of_fetch() -> Self {
        if ui::has_terminal() { Self::Start } else { Self::StartUnlessStopped }
    }
}

/// The way into a VM that answers, made and started as far as `need` and `agentvm.autoStart` allow.
///
/// Fails with exit code 4 where there is no VM and none may be made, and with 1 where it may not be
/// started; both name `git agent-vm start`.
pub fn ready(config: &Config, need: Need) -> anyhow::Result<Endpoint> {
    let provider = provider(config)?;
    let status = provider.status()?;
    match &status.state {
        State::Running => return endpoint(provider.as_ref()),
        State::Absent => {
            if need != Need::Create || config.auto_start == Some(false) {
                return Err(Error::not_found(format!("there is no {}", provider.describe()))
                    .hint("git agent-vm start makes it")
                    .into());
            }
        }
        State::Broken(damage) if damage.for_good => {
            let what = format!("the {} is broken: {damage}", provider.describe());
            let error = Error::failed(what);
            return Err(damage.hints.iter().fold(error, Error::hint).into());
        }
        State::Starting => {}
        State::Stopped | State::Broken(_) => {
            let left_alone = need == Need::StartUnlessStopped
                && provider.stopped_on_purpose()
                && config.auto_start != Some(true);
            if left_alone || config.auto_start == Some(false) {
                let word = status.state.word();
                return Err(Error::failed(format!("the {} is {word}", provider.describe()))
                    .hint("git agent-vm start starts it")
                    .into());
            }
        }
    }
    // What is wrong in common/ is said before anything is made.
    let plan = Plan::load(config, Unset::Stays)?;
    let absent = if status.state == State::Absent { IfAbsent::Make } else { IfAbsent::Fail };
    provider.start(Resources::default(), absent)?;
    let endpoint = endpoint(provider.as_ref())?;
    // What the caller is after may work without the packages that failed.
    if let Err(error) = plan.apply(config, &endpoint, &provider.describe(), Wanted::default()) {
        error::warn(&error);
    }
    Ok(endpoint)
}

/// The way into a VM that runs.
pub fn endpoint(provider: &dyn Provider) -> anyhow::Result<Endpoint> {
    provider.endpoint()?.ok_or_else(|| {
        Error::failed(format!("the {} runs, but has no ssh port", provider.describe()))
            .hint("git agent-vm stop, then git agent-vm start")
            .into()
    })
}
