//! What the host remembers of what it handed over.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::credentials::Google;
use crate::guest::Guest;
use crate::state::{self, Lock};

/// Its name in the VM's own directory on the host, which goes with the VM.
const RECORD: &str = "handed-over.json";

/// The record: nothing in it is secret.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Written {
    /// What `connect` may send anew.
    pub(super) google: Option<Sent>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sent {
    pub(super) source: PathBuf,
    /// Of the content.
    pub(super) digest: String,
}

impl Sent {
    pub(super) fn of(google: &Google) -> Self {
        Self { source: google.source.clone(), digest: Google::digest(&google.json) }
    }

    /// From the same file, with a content that is none that it may have.
    pub(super) fn in_doubt(&self) -> Self {
        Self { source: self.source.clone(), digest: String::new() }
    }
}

#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
}

impl Record {
    pub(super) fn at(dir: &Path) -> Self {
        Self { path: dir.join(RECORD) }
    }

    pub(super) fn exists(&self) -> bool {
        self.path.exists()
    }

    /// A damaged one says nothing; it is there, so the next start hands everything over again.
    pub(super) fn read(&self) -> Written {
        let bytes = std::fs::read(&self.path).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    pub(super) fn write(&self, written: &Written) -> anyhow::Result<()> {
        state::write_private(&self.path, &serde_json::to_vec(written)?)
    }

    pub(super) fn remove(&self) -> anyhow::Result<()> {
        fs_err::remove_file(&self.path).map_err(Into::into)
    }

    /// One command at a time hands something over.
    pub(super) fn lock(&self, guest: &Guest) -> anyhow::Result<Lock> {
        let doing = format!("git agent-vm to hand credentials over to the {}", guest.describe());
        Lock::take(&self.path.with_extension("lock"), &doing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn the_record_holds_no_secret() {
        let google = Google {
            source: "/x".into(),
            json: Secret::new(br#"{"type": "x", "key": "hunter2"}"#.to_vec()),
        };
        let written = serde_json::to_string(&Written { google: Some(Sent::of(&google)) }).unwrap();
        assert!(!written.contains("hunter2"), "{written}");
        assert!(!format!("{google:?}").contains("hunter2"));
    }
}
