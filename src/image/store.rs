//! The images that were built here: a directory for each below the cache directory, by its name.
//!
//! A VM's disk is a copy, so removing an image takes nothing from a VM. What is half-made or
//! half-removed has a name that is no image's, and is swept by whoever holds the lock next.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Image, open_directory};
use crate::error::Error;
use crate::hash;
use crate::sanitize;
use crate::small_file;
use crate::state::{self, Lock};

/// What stands beside the files of an image.
const RECORD: &str = "image.json";
/// More than a record ever has, in bytes.
const LARGEST_RECORD: u64 = 64 << 10;
/// Where an image is before it is whole; the number of the process follows, since a build that was
/// killed may be taking its own away when the next one begins.
const MAKING: &str = ".making-";
/// Where an image is that goes; its name follows.
const REMOVING: &str = ".removing-";

/// Where the images are.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

/// What is known of an image when it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// Seconds since 1970.
    pub made: i64,
    /// The architecture, as Lima names it.
    pub arch: String,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub dir: PathBuf,
    /// What is known of it, or why nothing is.
    pub record: Result<Record, String>,
    /// The size of its files, in bytes.
    pub bytes: u64,
}

impl Store {
    /// `images/` below `~/.cache/git-agent-vm`, or where `XDG_CACHE_HOME` has it. It need not be
    /// there.
    pub fn here() -> Result<Self, Error> {
        let absolute = |path: &PathBuf| path.is_absolute();
        let cache = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(absolute)
            .or_else(|| std::env::home_dir().filter(absolute).map(|home| home.join(".cache")))
            .ok_or_else(|| Error::failed("cannot find the home directory: HOME is not set"))?;
        Ok(Self { dir: cache.join("git-agent-vm/images") })
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// All images, the newest first.
    pub fn all(&self) -> anyhow::Result<Vec<Stored>> {
        let entries = match std::fs::read_dir(&self.dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| {
                Error::failed(format!("cannot read {}: {error}", self.dir.display()))
            })?,
        };
        let mut all = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            all.extend(name.to_str().and_then(|name| self.get(name)));
        }
        all.sort_by_key(|stored| (std::cmp::Reverse(stored.made()), stored.name.clone()));
        Ok(all)
    }

    /// The image of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Stored> {
        let dir = self.dir.join(name);
        if !is_name(name) || !dir.is_dir() {
            return None;
        }
        let record = read_record(&dir.join(RECORD));
        Some(Stored { name: name.to_owned(), bytes: size(&dir), record, dir })
    }

    /// Keeps other commands from changing what is there, and sweeps what one left behind.
    pub fn lock(&self, doing: &str) -> anyhow::Result<Lock> {
        state::private_dir(&self.dir)?;
        let lock = Lock::take(&self.dir.join("lock"), doing)?;
        self.sweep()?;
        Ok(lock)
    }

    /// Takes away what is half-made or half-removed. To be called with the lock.
    pub(super) fn sweep(&self) -> anyhow::Result<()> {
        for entry in fs_err::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(MAKING) || name.starts_with(REMOVING) {
                match std::fs::remove_dir_all(entry.path()) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        let path = entry.path();
                        let what = format!("cannot remove {}: {error}", path.display());
                        return Err(Error::failed(what).into());
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// An empty directory for an image that is being made. To be called with the lock.
    pub(super) fn begin(&self) -> anyhow::Result<PathBuf> {
        state::private_dir(&self.dir.join(format!("{MAKING}{}", std::process::id())))
    }

    /// Gives what was made there its name, in place of an older one. To be called with the lock.
    pub(super) fn finish(
        &self,
        making: &Path,
        name: &str,
        record: &Record,
    ) -> anyhow::Result<Stored> {
        open_directory(making).map_err(Error::failed)?;
        state::write_private(&making.join(RECORD), &serde_json::to_vec_pretty(record)?)?;
        self.remove(name)?;
        fs_err::rename(making, self.dir.join(name))?;
        self.get(name).ok_or_else(|| anyhow::anyhow!("the image that was made is gone"))
    }

    /// Removes an image; one that is not there is as good. To be called with the lock.
    pub fn remove(&self, name: &str) -> anyhow::Result<()> {
        let gone = self.dir.join(format!("{REMOVING}{name}"));
        match std::fs::rename(self.dir.join(name), &gone) {
            Ok(()) => Ok(fs_err::remove_dir_all(&gone)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => {
                Err(Error::failed(format!("cannot remove the image {name}: {error}")).into())
            }
        }
    }
}

impl Record {
    pub(super) fn new(made: i64, arch: &str) -> Self {
        Self { version: 1, made, arch: arch.to_owned() }
    }
}

impl Stored {
    /// When it was made, in seconds since 1970, if that is known.
    #[must_use]
    pub fn made(&self) -> Option<i64> {
        self.record.as_ref().ok().map(|record| record.made)
    }

    /// Checks all of it.
    pub fn open(&self) -> Result<Image, Error> {
        open_directory(&self.dir).map_err(|why| {
            Error::failed(format!("the image {} is damaged: {why}", self.name)).hint(format!(
                "git agent-vm image build --force makes it anew, git agent-vm image remove {} leaves it to Debian's own",
                self.name
            ))
        })
    }
}

/// What [`super::input::Input::name`] gives.
fn is_name(name: &str) -> bool {
    name.len() == 12 && hash::is_hex(name)
}

fn read_record(path: &Path) -> Result<Record, String> {
    let bytes = small_file::read(path, LARGEST_RECORD)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let record: Record = serde_json::from_slice(&bytes)
        .map_err(|error| sanitize::text(&format!("{}: {error}", path.display())).into_owned())?;
    Ok(record)
}

fn size(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store { dir: dir.path().join("images") };
        (dir, store)
    }

    fn fill(dir: &Path) {
        let mut sums = String::new();
        for name in super::super::DIRECTORY_FILES {
            let disk = super::super::qcow2::header();
            let text = if name == "disk.qcow2" { &disk } else { name.as_bytes() };
            fs_err::write(dir.join(name), text).unwrap();
            let sum = hash::of_file(&dir.join(name)).unwrap();
            sums += &format!("{sum}  {name}\n");
        }
        fs_err::write(dir.join("SHA256SUMS"), sums).unwrap();
    }

    #[test]
    fn an_image_has_its_name_once_it_is_whole() {
        let (_dir, store) = store();
        assert_eq!(store.all().unwrap(), []);
        let _lock = store.lock("test").unwrap();
        let record = Record::new(1_700_000_000, "x86_64");
        let making = store.begin().unwrap();
        assert_eq!(store.all().unwrap(), []);
        assert!(store.finish(&making, "0123456789ab", &record).is_err());
        fill(&making);
        let stored = store.finish(&making, "0123456789ab", &record).unwrap();
        assert_eq!(stored.record, Ok(record.clone()));
        assert!(stored.open().is_ok());
        assert_eq!(store.all().unwrap(), [stored]);

        // An older one of that name goes when the new one is whole.
        let making = store.begin().unwrap();
        fill(&making);
        let newer = Record { made: record.made + 1, ..record };
        let stored = store.finish(&making, "0123456789ab", &newer).unwrap();
        assert_eq!(stored.record, Ok(newer));
        assert_eq!(store.all().unwrap().len(), 1);
    }

    #[test]
    fn what_was_cut_off_is_no_image_and_is_swept() {
        let (_dir, store) = store();
        drop(store.lock("test").unwrap());
        fill(&store.begin().unwrap());
        fs_err::create_dir(store.dir.join(".removing-0123456789ab")).unwrap();
        fs_err::create_dir(store.dir.join("mine")).unwrap();
        assert_eq!(store.all().unwrap(), []);
        let _lock = store.lock("test").unwrap();
        let mut left: Vec<_> = fs_err::read_dir(&store.dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["lock", "mine"]);
    }

    #[test]
    fn a_record_that_cannot_be_read_is_said_and_the_image_goes_all_the_same() {
        let (_dir, store) = store();
        let _lock = store.lock("test").unwrap();
        fs_err::create_dir(store.dir.join("0123456789ab")).unwrap();
        let stored = store.get("0123456789ab").unwrap();
        assert!(stored.record.clone().unwrap_err().contains("there is no such file"));
        let error = stored.open().unwrap_err();
        assert!(error.to_string().starts_with("the image 0123456789ab is damaged: "), "{error}");
        store.remove("0123456789ab").unwrap();
        assert_eq!(store.get("0123456789ab"), None);
        assert_eq!(store.get("../images"), None);
    }
}
