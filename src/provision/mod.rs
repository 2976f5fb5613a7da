//! What every VM gets after its first boot: the stages of `common/`, applied over ssh.
//!
//! Each stage is idempotent, is skipped when its input has not changed since the VM last ran it,
//! and is carried on by the next start where it failed. Everything in `common/` is checked before
//! the first stage runs. Knows nothing of workspaces.

use std::time::Duration;

use crate::config::Config;
use crate::environment::Names;
use crate::guest::{Call, Guest};
use crate::home_files::HomeFiles;
use crate::ssh::Endpoint;
use crate::state::{self, Lock};

mod apt;
pub(crate) mod program;
mod stage;

pub use stage::{Name, Outcome, Stage, Way};

/// What a VM is to get, read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    stages: Vec<Stage>,
}

/// What the VM says of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    name: Name,
    /// Of the input that it last ran to its end with.
    hash: Option<String>,
    /// Whether it has begun since and not come to its end.
    begun: bool,
}

impl Plan {
    /// Reads `common/`: the directory that `agentvm.common` names, and where that lacks a file,
    /// the one that is built in. A line that makes no sense is named with its file.
    pub fn load(config: &Config) -> anyhow::Result<Self> {
        // Only `connect` uses these; what is wrong there is said as early as all the rest.
        Names::load(config)?;
        let home = Some(HomeFiles::load(config)?).filter(|files| !files.is_empty());
        // First what needs no network.
        let stages = [home.map(Stage::of_home), apt::load(config)?];
        Ok(Self { stages: stages.into_iter().flatten().collect() })
    }

    /// Applies it to the VM at `endpoint`. Does nothing there that need not be done.
    pub fn apply(
        &self,
        config: &Config,
        endpoint: &Endpoint,
        describe: &str,
    ) -> anyhow::Result<()> {
        let locks = state::private_dir(&state::root()?.join("vm"))?;
        let _lock = Lock::take(
            &locks.join(format!("{}.setup.lock", config.vm)),
            &format!("git agent-vm to finish setting up the {describe}"),
        )?;
        let guest = Guest::new(endpoint.clone(), describe.to_owned());
        let stamps = stamps(&guest)?;
        let way = Way { limit: Duration::from_secs(30 * 60), force: false };
        for stage in &self.stages {
            let stamp = stamps.iter().find(|stamp| stamp.name == stage.name());
            if !stamp.is_some_and(|stamp| stamp.is_of(stage)) {
                stage.run(&guest, way)?;
            }
        }
        Ok(())
    }
}

impl Stamp {
    fn is_of(&self, stage: &Stage) -> bool {
        !self.begun && self.hash.as_deref() == Some(stage.hash())
    }
}

/// What the VM says of the stages, in one session.
fn stamps(guest: &Guest) -> anyhow::Result<Vec<Stamp>> {
    let mut stamps: Vec<Stamp> =
        Name::ALL.iter().map(|&name| Stamp { name, hash: None, begun: false }).collect();
    for field in guest.ask(&Call::of(program::STAGES, "stages"), &[])? {
        let Some(text) = field.value.as_clean_str() else { continue };
        let mut words = text.split(' ');
        let name = words.next().unwrap_or_default();
        let Some(stamp) = stamps.iter_mut().find(|stamp| stamp.name.word() == name) else {
            continue;
        };
        match field.key.as_str() {
            "stamp" => stamp.hash = words.next().map(str::to_owned),
            "begun" => stamp.begun = true,
            _ => {}
        }
    }
    Ok(stamps)
}
