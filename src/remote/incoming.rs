//! A place for objects beside the repository's: where a fetch is unpacked until it is known to be
//! whole, and where what is not committed waits to be carried.
//!
//! `objects/tmp_objdir-agentvm-*`, with a lock that its makers hold as long as they live. So what a
//! killed command leaves can be told from what a live one writes, and nothing that the VM sent is part
//! of the repository before it was checked. `git prune` knows such names, too.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::git::Repo;
use crate::process::Cmd;

/// What the names begin with.
const PREFIX: &str = "tmp_objdir-agentvm-";

/// Such a place. It is removed when dropped.
#[derive(Debug)]
pub struct Incoming {
    dir: PathBuf,
    objects: PathBuf,
    lock: File,
}

impl Incoming {
    /// Makes a place that is locked for as long as this process lives.
    pub fn new(repo: &Repo) -> anyhow::Result<Self> {
        make(repo.common_dir().join("objects")).context("cannot write to the repository's objects")
    }

    /// Locks it as well for as long as anything lives that is started from now on, as what unpacks a
    /// fetch may outlive us.
    pub fn lend_lock(&self) -> anyhow::Result<()> {
        Ok(rustix::io::fcntl_setfd(&self.lock, rustix::io::FdFlags::empty())?)
    }

    /// A file in it that is no object.
    #[must_use]
    pub fn beside_objects(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Takes away what commands left that were killed.
    pub fn clear(repo: &Repo) {
        clear(&repo.common_dir().join("objects"));
    }

    /// A git command that writes new objects here, and reads all.
    #[must_use]
    pub fn give(&self, git: Cmd) -> Cmd {
        git.env("GIT_OBJECT_DIRECTORY", &self.dir)
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", quoted(&self.objects))
    }

    /// Moves everything to the repository's objects.
    pub fn accept(self) -> anyhow::Result<()> {
        self.move_all().context("cannot move what was fetched to the repository's objects")
    }

    fn move_all(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            let loose = name.len() == 2;
            if !loose && name != "pack" {
                continue;
            }
            let (from, to) = (self.dir.join(&name), self.objects.join(&name));
            let mut files: Vec<OsString> = fs::read_dir(&from)?
                .map(|entry| entry.map(|entry| entry.file_name()))
                .collect::<io::Result<_>>()?;
            // What is half-written, its git has given up; a lock on a pack is for this place alone.
            files.retain(|file| loose == is_hex(file) && !is_left(file.as_bytes()));
            // A pack counts as soon as its index is there.
            files.sort_by_key(|file| file.as_bytes().ends_with(b".idx"));
            if !files.is_empty() {
                make_like(&to, &from)?;
            }
            for file in files {
                move_file(&from.join(&file), &to.join(&file))?;
            }
        }
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // What stays, the next fetch takes away.
        fs::remove_dir_all(&self.dir).ok();
    }
}

fn make(objects: PathBuf) -> io::Result<Incoming> {
    loop {
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&objects)?.keep();
        // As git's own are: in a repository that several users share, what is inside is for all.
        fs::set_permissions(&dir, fs::metadata(&objects)?.permissions())?;
        let lock = File::open(&dir)?;
        // Where directories cannot be locked, nobody takes them away either.
        lock.try_lock().ok();
        // Another fetch may have met it before it was locked.
        if dir.exists() {
            return Ok(Incoming { dir, objects, lock });
        }
    }
}

fn clear(objects: &Path) {
    let Ok(entries) = fs::read_dir(objects) else { return };
    for entry in entries.flatten() {
        if entry.file_name().as_bytes().starts_with(PREFIX.as_bytes())
            && let Ok(dir) = File::open(entry.path())
            && dir.try_lock().is_ok()
        {
            // One that cannot be removed is in nobody's way.
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

fn is_left(name: &[u8]) -> bool {
    name.starts_with(b"tmp_") || name.ends_with(b".keep")
}

fn is_hex(name: &OsStr) -> bool {
    name.as_bytes().iter().all(u8::is_ascii_hexdigit)
}

fn make_like(dir: &Path, model: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Ok(()) => fs::set_permissions(dir, fs::metadata(model)?.permissions()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// An object or a pack of that name is the same one.
fn move_file(from: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        return Ok(());
    }
    match fs::rename(from, to) {
        // Somebody keeps packs on another disk.
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let copy = tempfile::Builder::new()
                .prefix("tmp_agentvm_")
                .tempfile_in(to.parent().unwrap_or(to))?;
            fs::copy(from, copy.path())?;
            copy.as_file().sync_all()?;
            copy.persist(to).map(drop).map_err(|error| error.error)
        }
        outcome => outcome,
    }
}

/// A path as git reads it in a list that colons divide.
fn quoted(path: &Path) -> OsString {
    let mut out = b"\"".to_vec();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
    OsString::from_vec(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_objects_and_packs_are_moved() {
        let objects = tempfile::tempdir().unwrap();
        let incoming = make(objects.path().to_owned()).unwrap();
        for name in [
            "pack/pack-1.idx",
            "pack/pack-1.pack",
            "pack/pack-1.keep",
            "pack/tmp_pack_x",
            "ab/cd01",
            "ab/tmp_obj_x",
            "x",
        ] {
            let path = incoming.dir.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        incoming.accept().unwrap();
        let mut found = Vec::new();
        for dir in fs::read_dir(objects.path()).unwrap() {
            for file in fs::read_dir(dir.unwrap().path()).unwrap() {
                found.push(file.unwrap().file_name().into_string().unwrap());
            }
        }
        found.sort();
        assert_eq!(found, ["cd01", "pack-1.idx", "pack-1.pack"]);
    }

    #[test]
    fn place_of_a_live_fetch_stays_and_that_of_a_dead_one_goes() {
        let objects = tempfile::tempdir().unwrap();
        let live = make(objects.path().to_owned()).unwrap();
        let dead = objects.path().join(format!("{PREFIX}dead"));
        fs::create_dir_all(dead.join("pack")).unwrap();
        clear(objects.path());
        assert!(live.dir.exists() && !dead.exists());
        let dir = live.dir.clone();
        drop(live);
        assert!(!dir.exists());
    }

    #[test]
    fn paths_survive_gits_reading_of_lists() {
        assert_eq!(quoted(Path::new("/a:b/\"c\\")), OsStr::new(r#""/a:b/\"c\\""#));
    }
}
