//! How a VM stands to `common/`: which stages ran, and with what.

use std::time::Duration;

use serde::Serialize;

use super::{Name, Plan, Stage, program};
use crate::config::Config;
use crate::guest::{Call, Guest};

/// What the VM says of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    name: Name,
    /// Of the input that it last ran to its end with.
    hash: Option<String>,
    /// Whether it was left out then, for want of something that may be there by now.
    skipped: bool,
    /// Whether it has begun since and not come to its end.
    begun: bool,
}

/// A stage in `status --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StageState {
    /// Its name.
    pub stage: &'static str,
    /// How it stands.
    pub state: State,
}

/// How a stage stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It has nothing to do.
    Off,
    /// The VM has what is asked for.
    Current,
    /// Something else is asked for than the VM has.
    Differs,
    /// It failed or was cut off.
    Unfinished,
}

impl Stamp {
    /// Whether the stage has nothing to do.
    pub(super) fn is_done(&self, stage: &Stage) -> bool {
        self.is_of(stage) && !self.skipped
    }

    /// Whether the stage came to its end with this input.
    fn is_of(&self, stage: &Stage) -> bool {
        self.name == stage.name() && !self.begun && self.hash.as_deref() == Some(stage.hash())
    }
}

impl Plan {
    /// Asks the VM how each stage stands, in order. Changes nothing.
    pub fn look(config: &Config, guest: &Guest) -> anyhow::Result<Vec<StageState>> {
        let stages = super::stages(config)?;
        let stamps = stamps(guest)?;
        let state = |stamp: &Stamp| StageState {
            stage: stamp.name.word(),
            state: match stages.iter().find(|stage| stage.name() == stamp.name) {
                None => State::Off,
                Some(_) if stamp.begun => State::Unfinished,
                Some(stage) if stamp.is_of(stage) => State::Current,
                Some(_) => State::Differs,
            },
        };
        Ok(stamps.iter().map(state).collect())
    }
}

/// How long the VM may tell of them: they are a few small files.
const LIMIT: Duration = Duration::from_secs(60);

/// What the VM says of the stages, in one session.
pub(super) fn stamps(guest: &Guest) -> anyhow::Result<Vec<Stamp>> {
    let mut stamps: Vec<Stamp> = Name::ALL
        .iter()
        .map(|&name| Stamp { name, hash: None, skipped: false, begun: false })
        .collect();
    let call = Call::of(program::STAGES, "stages");
    let mut session = guest.open(&call).map_err(|error| guest.explain(error))?;
    session.end_after(LIMIT);
    for field in session.fields()? {
        let Some(text) = field.value.as_clean_str() else { continue };
        let mut words = text.split(' ');
        let name = words.next().and_then(Name::of_word);
        let Some(stamp) = stamps.iter_mut().find(|stamp| Some(stamp.name) == name) else {
            continue;
        };
        match field.key.as_str() {
            "stamp" => {
                stamp.hash = words.next().map(str::to_owned);
                stamp.skipped = words.next() == Some("skipped");
            }
            "begun" => stamp.begun = true,
            _ => {}
        }
    }
    Ok(stamps)
}
