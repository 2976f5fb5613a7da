//! What can be seen of a VM of Lima without changing anything, for `doctor`.

use std::path::PathBuf;

use super::limactl::{Instance, Limactl};
use super::{Found, Lima, processes};
use crate::error::Error;
use crate::vm::State;

/// What can be seen of a VM.
#[derive(Debug)]
pub(crate) struct Look {
    /// `LIMA_HOME`.
    pub(crate) home: PathBuf,
    /// The VM's own directory.
    pub(crate) dir: PathBuf,
    /// What it is doing.
    pub(crate) state: anyhow::Result<State>,
    /// Processes that have its disk open.
    pub(crate) holding: Vec<i32>,
    /// Whether there is a disk, under any name that Lima has given it.
    pub(crate) has_disk: bool,
    /// Why its configuration is refused.
    pub(crate) refused: Option<Error>,
    /// Whether making it was begun and not finished.
    pub(crate) unfinished: bool,
}

/// What limactl says of its version; fails as the commands would.
pub(crate) fn limactl_version() -> anyhow::Result<String> {
    Limactl::new()?.check_version()
}

/// `LIMA_HOME`.
pub(crate) fn home() -> anyhow::Result<PathBuf> {
    Ok(Limactl::new()?.home().to_owned())
}

impl Lima {
    /// Looks. limactl is asked only where there may be a VM: it would make its own directory.
    pub(crate) fn look(&self) -> Look {
        let dir = self.instance_dir();
        let record = self.files.load();
        let unfinished = matches!(&record, Ok(Some(record)) if !record.finished);
        let mut look = Look {
            home: self.limactl.home().to_owned(),
            state: Ok(State::Absent),
            holding: processes::holding(&dir),
            has_disk: !processes::disks(&dir).is_empty(),
            refused: None,
            unfinished,
            dir,
        };
        if matches!(record, Ok(None)) && !look.dir.exists() {
            return look;
        }
        match self.find() {
            Ok(Found::Instance(instance)) => self.look_into(&mut look, &instance),
            Ok(Found::Damaged(damage)) => look.state = Ok(State::Broken(damage)),
            Ok(Found::Absent) => {}
            Err(error) => look.state = Err(error),
        }
        look
    }

    fn look_into(&self, look: &mut Look, instance: &Instance) {
        look.state = self.files.load().map(|record| self.state_of(instance, record.as_ref()));
        if let Err(error) = self.check_effective(instance) {
            look.refused = error.downcast::<Error>().ok();
        }
    }
}
