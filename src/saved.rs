//! What `destroy --force` saved of a VM before it was deleted: `saved/VM/TIME` in the state directory,
//! one compressed tar of each thing, and `manifest.json`.
//!
//! The content is the VM's and hostile. It stays one opaque file here, is never unpacked on this
//! machine, and goes back into a VM as it came. Names in the manifest are data; no path is made of
//! them.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::branch::BranchName;
use crate::guest::trash::SavableKind;
use crate::guest::{Call, Guest};
use crate::identity::RepoId;
use crate::state::{self, Lock};
use crate::ui;
use crate::workspace::WorkspaceName;

mod saving;
mod sink;

pub use saving::Saving;

const MANIFEST: &str = "manifest.json";
/// What is not whole yet, or no longer, has this at the end of its name.
const UNFINISHED: &str = ".part";
/// Held by whoever saves, whichever VM it is.
const LOCK: &str = ".lock";

/// What one `destroy` saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    /// 1.
    version: u32,
    /// The VM's name.
    vm: String,
    /// When, in seconds since 1970.
    time: i64,
    items: Vec<Item>,
}

/// One saved thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The name by which it is restored.
    pub name: WorkspaceName,
    /// What it was.
    pub kind: SavableKind,
    /// What it was called in the VM, in letters of ours.
    pub workspace: WorkspaceName,
    /// The repository's id, if it was a workspace.
    pub repository: Option<RepoId>,
    /// The branch's full ref name, if it was a workspace.
    #[serde(rename = "ref")]
    pub full_ref: Option<String>,
    /// The file beside the manifest, for people.
    file: String,
    /// Whether it was a directory, or anything else.
    directory: bool,
    /// The file's length.
    pub bytes: u64,
    /// The file's hash.
    sha256: String,
    /// The most that it takes up in a VM.
    pub unpacked_bytes: u64,
}

impl Item {
    /// Whether it was a directory.
    #[must_use]
    pub fn directory(&self) -> bool {
        self.directory
    }

    /// The branch, if it was a workspace.
    #[must_use]
    pub fn branch(&self) -> Option<BranchName> {
        self.full_ref.as_deref().and_then(BranchName::from_full_ref)
    }
}

/// A saved thing and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    dir: PathBuf,
    index: usize,
    /// The VM that it was in.
    pub vm: String,
    /// When it was saved, in seconds since 1970.
    pub time: i64,
    /// What it is.
    pub item: Item,
}

/// Everything that was saved, of all VMs, the newest last. What cannot be read is warned about.
pub fn all() -> anyhow::Result<Vec<Saved>> {
    let mut found = Vec::new();
    let place = place()?;
    if let Err(error) = sweep_if_free(&place) {
        ui::warning(&format!("{error:#}"));
    }
    for vm in directories(&place)? {
        for dir in directories(&vm)? {
            if is_unfinished(&dir) {
                continue;
            }
            match read(&dir) {
                Ok(manifest) => {
                    for (index, item) in manifest.items.into_iter().enumerate() {
                        let (dir, vm, time) = (dir.clone(), manifest.vm.clone(), manifest.time);
                        found.push(Saved { dir, index, vm, time, item });
                    }
                }
                Err(error) => ui::warning(&format!("{error:#}")),
            }
        }
    }
    found.retain(|saved| saved.file().exists());
    found.sort_by(|one, two| (one.time, &one.item.name).cmp(&(two.time, &two.item.name)));
    Ok(found)
}

impl Saved {
    /// By its number, whatever the manifest says.
    fn file(&self) -> PathBuf {
        self.dir.join(file_name(self.index))
    }

    /// Unpacks it into the trash of a VM, and gives its name there. Nothing of it runs: hooks and
    /// settings are put aside. `identity` is the name and address that a workspace commits with.
    pub fn unpack(
        &self,
        open: impl FnOnce(&Call) -> anyhow::Result<(Guest, crate::guest::Session)>,
        identity: &(String, String),
    ) -> anyhow::Result<(Guest, crate::sanitize::GuestText)> {
        let item = &self.item;
        let encode = |text: &str| crate::guest::encode_text(text);
        let marker = item.repository.as_ref().zip(item.branch());
        let (id, full_ref) =
            marker.map(|(id, branch)| (id.to_string(), branch.full_ref())).unwrap_or_default();
        let call = Call::new("unpack")
            .arg(encode(&identity.0))
            .arg(encode(&identity.1))
            .arg(item.workspace.as_str())
            .arg(if item.directory { "dir" } else { "file" })
            .arg(&item.sha256)
            .arg(item.unpacked_bytes.to_string())
            .arg(id)
            .arg(full_ref);
        let mut file = fs_err::File::open(self.file())?;
        let (guest, mut session) = open(&call)?;
        let progress =
            ui::Progress::start(&format!("unpacking {} in the {}", item.name, guest.describe()));
        session.send_from(&mut file, |sent| {
            progress.detail(&format!(
                "unpacking {}: {} of {}",
                item.name,
                ui::size(sent),
                ui::size(item.bytes)
            ));
        })?;
        session.set_patience(std::time::Duration::from_secs(900));
        let entry =
            crate::guest::workspaces::single(session.fields()?, "trash").ok_or_else(|| {
                anyhow::anyhow!("the {} does not say where {} is", guest.describe(), item.name)
            })?;
        Ok((guest, entry))
    }

    /// Removes it from this machine; with the last of them, the directory. That one gets another name
    /// first, so that it is never one that cannot be read.
    pub fn remove(&self) -> anyhow::Result<()> {
        let items = read(&self.dir)?.items;
        let mut others = (0..items.len()).filter(|index| *index != self.index);
        if others.any(|index| self.dir.join(file_name(index)).exists()) {
            fs_err::remove_file(self.file())?;
        } else {
            let gone = self.dir.with_extension(&UNFINISHED[1..]);
            fs_err::rename(&self.dir, &gone)?;
            // What stays is swept.
            std::fs::remove_dir_all(&gone).ok();
        }
        Ok(())
    }
}

/// Takes away what commands left that were killed, of any VM, unless one saves just now.
fn sweep_if_free(place: &Path) -> anyhow::Result<()> {
    if !place.exists() {
        return Ok(());
    }
    match Lock::take_free(&place.join(LOCK), "git agent-vm to clear up after one that was killed")?
    {
        Some(lock) => sweep(place, &lock),
        None => Ok(()),
    }
}

fn sweep(place: &Path, _lock: &Lock) -> anyhow::Result<()> {
    for vm in directories(place)? {
        for left in directories(&vm)?.iter().filter(|dir| is_unfinished(dir)) {
            match fs_err::remove_dir_all(left) {
                // Whoever removes a saved thing has no lock.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                outcome => outcome?,
            }
        }
    }
    Ok(())
}

fn is_unfinished(dir: &Path) -> bool {
    dir.extension().is_some_and(|end| end == &UNFINISHED[1..])
}

fn place() -> anyhow::Result<PathBuf> {
    Ok(state::place()?.join("saved"))
}

fn directories(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = match fs_err::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<PathBuf> = paths.collect::<Result<_, _>>()?;
    paths.retain(|path| path.is_dir());
    paths.sort();
    Ok(paths)
}

fn read(dir: &Path) -> anyhow::Result<Manifest> {
    let path = dir.join(MANIFEST);
    let damaged = || format!("what was saved in {} cannot be read", dir.display());
    let manifest: Manifest = serde_json::from_slice(&fs_err::read(&path)?).with_context(damaged)?;
    anyhow::ensure!(
        manifest.version == 1,
        "{} was written by a newer git-agent-vm",
        path.display()
    );
    Ok(manifest)
}

fn file_name(index: usize) -> String {
    format!("{}.tar.gz", index + 1)
}
