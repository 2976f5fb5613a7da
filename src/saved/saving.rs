//! Saving what is in a VM, one thing after the other.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::sink::{Outcome, Sink};
use super::{Item, LOCK, MANIFEST, Manifest, UNFINISHED, file_name, sweep};
use crate::config::VmName;
use crate::error::Error;
use crate::guest::trash::{Savable, SavableKind, split_name};
use crate::guest::{Call, Guest, now};
use crate::hash;
use crate::identity::RepoId;
use crate::state::{self, Lock};
use crate::ui;
use crate::workspace::WorkspaceName;

/// Room that is left on this machine's disk, in bytes.
const RESERVE: u64 = 256 << 20;

/// Saving what is in a VM. Nothing is there under its final name until all of it is whole.
#[derive(Debug)]
pub struct Saving {
    dir: PathBuf,
    vm: VmName,
    time: i64,
    items: Vec<Item>,
    /// Whether it has its final name.
    finished: bool,
    _lock: Lock,
}

impl Drop for Saving {
    fn drop(&mut self) {
        if !self.finished {
            // What stays is removed by the next one.
            std::fs::remove_dir_all(&self.dir).ok();
        }
    }
}

impl Saving {
    /// Makes a directory for `bytes` bytes, or fails where this machine has no room for them.
    pub fn begin(vm: &VmName, bytes: u64) -> anyhow::Result<Self> {
        let place = state::private_dir(&state::root()?.join("saved"))?;
        let lock = Lock::take(&place.join(LOCK), "git agent-vm to finish saving a VM")?;
        sweep(&place, &lock)?;
        let of_vm = state::private_dir(&place.join(vm.as_str()))?;
        let free = state::free(&of_vm)
            .with_context(|| format!("cannot look at the disk of {}", of_vm.display()))?;
        let needed = bytes.saturating_add(RESERVE);
        if free < needed {
            return Err(Error::would_lose_work(format!(
                "there is no room to save what is in the VM '{vm}': {} are needed in {}, and {} are free",
                ui::size(needed),
                of_vm.display(),
                ui::size(free)
            ))
            .hint("git agent-vm restore --drop NAME empties the trash, git agent-vm clean moves there what is here already")
            .into());
        }
        let mut time = now();
        while of_vm.join(time.to_string()).exists() {
            time += 1;
        }
        let dir = state::private_dir(&of_vm.join(format!("{time}{UNFINISHED}")))?;
        let (vm, items) = (vm.clone(), Vec::new());
        Ok(Self { dir, vm, time, items, finished: false, _lock: lock })
    }

    /// Saves one thing. Fails unless what is on this machine's disk then is what the guest sent, to the
    /// byte.
    pub fn add(&mut self, guest: &Guest, savable: &Savable, shown: &str) -> anyhow::Result<()> {
        let (called, repository, full_ref) = describe(savable);
        let name = self.free_name(&called);
        let limit = savable.bytes.saturating_add(savable.bytes / 50).saturating_add(1 << 20);
        let progress = ui::Progress::start(&format!("saving {shown}"));
        let detail = |count: u64| {
            progress.detail(&format!(
                "saving {shown}: {} of at most {}",
                ui::size(count),
                ui::size(savable.bytes)
            ));
        };
        let received = match self.receive(guest, savable, limit, &detail)? {
            Attempt::Whole(received) => received,
            // An agent is at work there.
            Attempt::Changed(_) => match self.receive(guest, savable, limit, &detail)? {
                Attempt::Whole(received) => received,
                Attempt::Changed(said) => {
                    return Err(Error::would_lose_work(format!(
                        "it changes while it is saved: {said}"
                    ))
                    .hint("end what works there, then type it again")
                    .into());
                }
            },
        };
        let item = Item {
            name,
            kind: savable.kind,
            workspace: called,
            repository,
            full_ref,
            file: file_name(self.items.len()),
            directory: received.directory,
            bytes: received.bytes,
            sha256: received.sha256,
            unpacked_bytes: savable.bytes,
        };
        self.items.push(item);
        Ok(())
    }

    /// `NAME.TIME`, as in the trash.
    fn free_name(&self, called: &WorkspaceName) -> WorkspaceName {
        let mut text: String = called.as_str().chars().take(230).collect();
        text.push_str(&format!(".{}", self.time));
        loop {
            match WorkspaceName::new(&text) {
                Ok(name) if self.items.iter().all(|item| item.name != name) => return name,
                _ => text.push('+'),
            }
        }
    }

    fn receive(
        &self,
        guest: &Guest,
        savable: &Savable,
        limit: u64,
        detail: &impl Fn(u64),
    ) -> anyhow::Result<Attempt> {
        let call = Call::new("save").arg(savable.path());
        let mut session = guest.open(&call).map_err(|error| guest.explain(error))?;
        let kind = crate::guest::workspaces::single(session.fields()?, "type");
        let directory = kind.is_some_and(|kind| kind.as_bytes() == b"dir");
        let path = self.dir.join(file_name(self.items.len()));
        let unfinished = path.with_extension("gz.part");
        let mut file = Sink::create(&unfinished, limit)?;
        let said = session.receive(|bytes| {
            file.take(bytes)?;
            detail(file.written);
            Ok(())
        })?;
        let outcome = file.finish(&said)?;
        let Outcome { sha256, bytes, changed } = outcome;
        if changed {
            return Ok(Attempt::Changed(said));
        }
        anyhow::ensure!(
            hash::of_file(&unfinished)
                .with_context(|| format!("cannot read {}", unfinished.display()))?
                == sha256,
            "{} on this machine's disk is not what was written",
            unfinished.display()
        );
        fs_err::rename(&unfinished, &path)?;
        Ok(Attempt::Whole(Received { directory, bytes, sha256 }))
    }

    /// Gives it its final name, with the manifest; the directory.
    pub fn finish(mut self) -> anyhow::Result<PathBuf> {
        let items = std::mem::take(&mut self.items);
        let manifest = Manifest { version: 1, vm: self.vm.to_string(), time: self.time, items };
        let bytes = serde_json::to_vec_pretty(&manifest)?;
        state::write_private(&self.dir.join(MANIFEST), &bytes)?;
        let whole = self.dir.with_file_name(self.time.to_string());
        sync_dir(&self.dir)?;
        fs_err::rename(&self.dir, &whole)?;
        self.finished = true;
        sync_dir(whole.parent().unwrap_or(&whole))?;
        Ok(whole)
    }
}

enum Attempt {
    Whole(Received),
    /// Files changed under tar's hands; what it said.
    Changed(String),
}

struct Received {
    directory: bool,
    bytes: u64,
    sha256: String,
}

/// What the thing is called, and whose it is, as far as that is in words of ours.
fn describe(savable: &Savable) -> (WorkspaceName, Option<RepoId>, Option<String>) {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._+@~-".contains(byte);
    let text = savable.owner.name.as_bytes().iter().take(230);
    let text: String = text.map(|byte| if plain(byte) { char::from(*byte) } else { '_' }).collect();
    let text = match text.strip_prefix(['-', '.']) {
        Some(rest) => format!("_{rest}"),
        None => text,
    };
    let name = WorkspaceName::new(&text).unwrap_or_else(|_| unnamed());
    let called = match split_name(&name) {
        Some((was, _)) if savable.kind == SavableKind::Trash => was,
        _ => name,
    };
    let marker =
        savable.owner.repo.as_clean_str().and_then(RepoId::new).zip(savable.owner.branch());
    match marker {
        Some((id, branch)) => (called, Some(id), Some(branch.full_ref())),
        None => (called, None, None),
    }
}

fn unnamed() -> WorkspaceName {
    WorkspaceName::new("unnamed").expect("it is made of letters")
}

fn sync_dir(dir: &Path) -> anyhow::Result<()> {
    Ok(fs_err::File::open(dir)?.sync_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::workspaces::Owner;
    use crate::sanitize::GuestText;

    fn savable(kind: SavableKind, name: &[u8]) -> Savable {
        let owner = Owner { name: GuestText::new(name), ..Owner::default() };
        Savable { kind, owner, bytes: 0 }
    }

    #[test]
    fn names_of_the_vm_become_names_of_ours() {
        for (kind, name, called) in [
            (SavableKind::Workspace, &b"app-feature"[..], "app-feature"),
            (SavableKind::Trash, b"app-feature.1700000000+", "app-feature"),
            (SavableKind::Other, b"app-feature.1700000000", "app-feature.1700000000"),
            (SavableKind::Other, b"../../etc", "_./../etc"),
            (SavableKind::Other, b"-rf\n\x1b[31m", "_rf__[31m"),
            (SavableKind::Other, b"", "unnamed"),
        ] {
            let wanted = called.replace(['/', '['], "_");
            assert_eq!(describe(&savable(kind, name)).0.as_str(), wanted);
        }
    }
}
