//! What every VM gets after its first boot: the stages of `common/`, applied over ssh.
//!
//! Each stage is idempotent, is skipped when its input has not changed since the VM last ran it,
//! and is carried on by the next start where it failed. Everything in `common/` is checked before
//! the first stage runs. Knows nothing of workspaces.

use crate::config::{Config, Extra, ProviderKind};
use crate::environment::Names;
use crate::error::Error;
use crate::guest::Guest;
use crate::handover::{self, Handover, Unset};
use crate::home_files::HomeFiles;
use crate::ssh::Endpoint;
use crate::state::{self, Lock};

mod apt;
mod extras;
mod npm;
pub(crate) mod program;
mod python;
mod stage;
mod status;
mod tools;
mod versions;

pub(crate) use apt::list_of;
pub use stage::{Name, Outcome, Stage, Way};
use status::stamps;
pub use status::{StageState, State};
pub(crate) use tools::has_own_script;
use versions::Versions;

/// What a VM is to get, read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    handover: Handover,
    stages: Vec<Stage>,
}

/// Which stages are meant.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// These; none means all.
    pub names: &'a [Name],
    /// Those too that have not changed.
    pub force: bool,
}

impl Plan {
    /// Reads `common/`: the directory that `agentvm.common` names, and where that lacks a file,
    /// the one that is built in; and what is handed over besides. A line that makes no sense is
    /// named with its file.
    pub fn load(config: &Config, unset: Unset) -> anyhow::Result<Self> {
        // Only `connect` uses these; what is wrong there is said as early as all the rest.
        Names::load(config)?;
        // Nothing is put onto a host that is run by others.
        let handover = match config.provider {
            ProviderKind::Lima => Handover::load(config, unset)?,
            ProviderKind::Ssh => Handover::default(),
        };
        Ok(Self { handover, stages: stages(config)? })
    }

    /// Applies it to the VM at `endpoint`, and gives what came of each stage. Does nothing there that
    /// need not be done; where another command is at it, waits for that one.
    pub fn apply(
        &self,
        config: &Config,
        endpoint: &Endpoint,
        describe: &str,
        wanted: Wanted<'_>,
    ) -> anyhow::Result<Vec<(Name, Outcome)>> {
        let locks = state::private_dir(&state::root()?.join("vm"))?;
        let _lock = Lock::take(
            &locks.join(format!("{}.setup.lock", config.vm)),
            &format!("git agent-vm to finish setting up the {describe}"),
        )?;
        let guest = Guest::new(endpoint.clone(), describe.to_owned());
        // Whatever downloads something may need it.
        self.handover.apply(&guest, handover::ROOT).map_err(|error| {
            Error::in_other_words(&error, format!("cannot set up the {describe}: {error:#}"))
                .hint("git agent-vm start tries again; what is there can be used meanwhile")
        })?;
        let way = Way { limit: config.stage_limit, force: wanted.force };
        self.run(&guest, way, wanted.names)
    }

    /// The stages alone and without a lock; `names` are the stages that are meant, or none for all.
    pub fn run(
        &self,
        guest: &Guest,
        way: Way,
        names: &[Name],
    ) -> anyhow::Result<Vec<(Name, Outcome)>> {
        // By force all of them run, whatever the VM says of them.
        let stamps = if way.force { Vec::new() } else { stamps(guest)? };
        let meant = |stage: &&Stage| names.is_empty() || names.contains(&stage.name());
        let mut outcomes = Vec::new();
        for stage in self.stages.iter().filter(meant) {
            let outcome = if stamps.iter().any(|stamp| stamp.is_done(stage)) {
                Outcome::Unchanged
            } else {
                stage.run(guest, way).map_err(|error| self.advise(error))?
            };
            outcomes.push((stage.name(), outcome));
        }
        Ok(outcomes)
    }

    /// Refuses a stage that is asked for by name and has nothing to do.
    pub fn check(&self, wanted: Wanted<'_>) -> Result<(), Error> {
        let idle = wanted.names.iter().find(|name| !self.names().any(|known| known == **name));
        let Some(name) = idle else { return Ok(()) };
        let word = name.word();
        let error = Error::usage(format!("there is nothing for the stage {word} to do"));
        Err(match name {
            Name::Podman | Name::Docker | Name::Nested => error.hint(format!(
                "git config --global agentvm.extras '{word}' switches it on (several: 'podman docker')"
            )),
            _ => error.hint("git agent-vm provision --help says which file it goes by"),
        })
    }

    /// Adds the setting that mends a failure, where its text tells that one does.
    fn advise(&self, error: anyhow::Error) -> anyhow::Error {
        let Some(advice) = self.handover.advice(&format!("{error:#}")) else { return error };
        match error.downcast::<Error>() {
            Ok(known) => known.hint(advice).into(),
            Err(error) => error,
        }
    }

    fn names(&self) -> impl Iterator<Item = Name> {
        self.stages.iter().map(Stage::name)
    }
}

/// The stages that there are by these settings, in order: first what needs no network.
fn stages(config: &Config) -> anyhow::Result<Vec<Stage>> {
    let home = Some(HomeFiles::load(config)?).filter(|files| !files.is_empty());
    let system = Stage::of_text(Name::System, 1, format!("{}\n", config.vm));
    let first = home.map(Stage::of_home).into_iter().chain([system]);
    Ok(first.chain(downloads(config)?).collect())
}

/// Those of them that download what is not there yet, which an image may have.
pub(crate) fn downloads(config: &Config) -> anyhow::Result<Vec<Stage>> {
    let versions = Versions::load(config)?;
    let stages = [
        apt::load(config)?,
        extras::containers(config, Extra::Podman, Name::Podman)?,
        extras::containers(config, Extra::Docker, Name::Docker)?,
        extras::nested(config, &versions)?,
        npm::load(config, &versions)?,
        python::load(config)?,
        tools::load(config, &versions)?,
    ];
    Ok(stages.into_iter().flatten().collect())
}
