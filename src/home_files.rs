//! The files of `common/homedir/`, which every VM gets into the agent's home.
//!
//! Reads and checks them here, and hands them to the second guest program, which never writes over
//! a file that was changed in the VM. Knows nothing of what is in them.

use std::fs::{File, FileType};
use std::io::{self, Read as _, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use crate::common;
use crate::config::Config;
use crate::error::Error;
use crate::hash;
use crate::sanitize;
use crate::ui;

/// A change of how files are installed, as one of the files, installs them again.
const FORMAT: &str = "home 1\n";
/// The largest file, in bytes: an emulated guest takes minutes for more.
const LARGEST: u64 = 100_000_000;

/// The files, read and checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HomeFiles {
    files: Vec<HomeFile>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct HomeFile {
    /// Below the home directory.
    path: PathBuf,
    source: PathBuf,
    /// Permission bits.
    mode: u32,
    /// Bytes.
    size: u64,
    /// SHA-256 of what is in it.
    sum: String,
}

impl HomeFiles {
    /// Those of the directory that `agentvm.common` names; none is built in.
    pub fn load(config: &Config) -> anyhow::Result<Self> {
        let dir = common::dir(config)?.map(|dir| dir.join("homedir"));
        match dir.filter(|dir| dir.symlink_metadata().is_ok()) {
            Some(dir) => Self::read(&dir),
            None => Ok(Self::default()),
        }
    }

    /// All files below `dir`. What is neither a file nor a directory is an error with its path, as
    /// is a file that is too large.
    pub fn read(dir: &Path) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        let mut dirs = vec![PathBuf::new()];
        while let Some(below) = dirs.pop() {
            for entry in fs_err::read_dir(dir.join(&below))? {
                let entry = entry?;
                let path = below.join(entry.file_name());
                let kind = entry.file_type()?;
                check(&path, kind).map_err(|why| refused(&entry.path(), &why))?;
                if kind.is_dir() {
                    dirs.push(path);
                } else {
                    files.push(HomeFile::read(path, entry.path())?);
                }
            }
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(Self { files })
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Of all that decides what the VM gets.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut all = Sha256::new_with_prefix(FORMAT);
        for file in &self.files {
            all.update(file.header());
        }
        hash::hex(&all.finalize())
    }

    /// Writes them as the guest program reads them.
    pub(crate) fn write_to(&self, pipe: &mut dyn Write) -> anyhow::Result<()> {
        for file in &self.files {
            pipe.write_all(&file.header())?;
            let source = File::open(&file.source)
                .with_context(|| format!("cannot read {}", file.source.display()))?;
            let copied = io::copy(&mut source.take(file.size), pipe)?;
            if copied != file.size {
                anyhow::bail!("{} was cut while it was read", file.source.display());
            }
        }
        pipe.write_all(b"end\n")?;
        Ok(())
    }
}

impl HomeFile {
    fn read(path: PathBuf, source: PathBuf) -> anyhow::Result<Self> {
        let context = || format!("cannot read {}", source.display());
        let file = File::open(&source).with_context(context)?;
        let meta = file.metadata().with_context(context)?;
        if meta.len() > LARGEST {
            let size = ui::size(meta.len());
            let why =
                format!("{size} are too much for a file in the VM's home: the most is 100 MB");
            return Err(refused(&source, &why).into());
        }
        let (sum, size) = hash::of_reader(file).with_context(context)?;
        let mode = meta.permissions().mode() & 0o777;
        Ok(Self { path, source, mode, size, sum })
    }

    /// The line that announces it to the guest program. The path stands between `./` and `/.`, so
    /// that blanks at its ends survive the shell's `read`.
    fn header(&self) -> Vec<u8> {
        let path = self.path.as_os_str().as_bytes();
        let key = hash::short(path, 16);
        let mut line = format!("{:o} {} {} {key} ./", self.mode, self.size, self.sum).into_bytes();
        line.extend_from_slice(path);
        line.extend_from_slice(b"/.\n");
        line
    }
}

fn check(path: &Path, kind: FileType) -> Result<(), String> {
    let what = if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_dir() || kind.is_file() {
        if path.as_os_str().as_bytes().contains(&b'\n') {
            return Err("a name with a line break cannot be put into the VM's home".into());
        }
        let ours = ["workspace", ".local/state/agentvm"];
        return match ours.iter().find(|ours| path == Path::new(ours)) {
            Some(ours) => Err(format!("~/{ours} in the VM is git-agent-vm's own")),
            None => Ok(()),
        };
    } else {
        "a device"
    };
    Err(format!("{what} cannot be put into the VM's home: only files and directories can"))
}

fn refused(path: &Path, why: &str) -> Error {
    Error::usage(format!("{}: {why}", sanitize::text(&path.to_string_lossy())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(make: impl Fn(&Path)) -> String {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir(dir.path().join(".config")).unwrap();
        make(&dir.path().join(".config/it"));
        let error = HomeFiles::read(dir.path()).unwrap_err();
        assert_eq!(crate::error::kind_of(&error), crate::error::Kind::Usage);
        let text = error.to_string();
        text.strip_prefix(&format!("{}/", dir.path().display())).unwrap().to_owned()
    }

    #[test]
    fn what_is_no_ordinary_file_is_named() {
        let no_file = "cannot be put into the VM's home: only files and directories can";
        let link = error_of(|path| std::os::unix::fs::symlink("/etc/passwd", path).unwrap());
        assert_eq!(link, format!(".config/it: a symbolic link {no_file}"));
        let socket = error_of(|path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()));
        assert_eq!(socket, format!(".config/it: a socket {no_file}"));
        let large = error_of(|path| File::create(path).unwrap().set_len(LARGEST + 1).unwrap());
        assert!(large.ends_with("the most is 100 MB"), "{large}");
        let broken = error_of(|path| drop(File::create(path.with_extension("a\nb")).unwrap()));
        assert!(broken.contains("line break"), "{broken}");
    }

    #[test]
    fn what_is_ours_in_the_guest_is_refused() {
        for (path, named) in [("workspace", "~/workspace"), (".local/state/agentvm", "agentvm")] {
            let dir = tempfile::tempdir().unwrap();
            fs_err::create_dir_all(dir.path().join(path)).unwrap();
            let text = HomeFiles::read(dir.path()).unwrap_err().to_string();
            assert!(text.contains(named) && text.ends_with("git-agent-vm's own"), "{text}");
        }
    }

    #[test]
    fn files_are_read_in_order_with_their_modes() {
        let dir = tempfile::tempdir().unwrap();
        for (name, mode) in [("b", 0o600), ("a", 0o755)] {
            let path = dir.path().join(name);
            fs_err::write(&path, name).unwrap();
            fs_err::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let read = HomeFiles::read(dir.path()).unwrap();
        let headers: Vec<_> =
            read.files.iter().map(|file| String::from_utf8(file.header()).unwrap()).collect();
        assert!(headers[0].starts_with("755 1 ca978112ca1bbdca"), "{headers:?}");
        assert!(
            headers[1].starts_with("600 1 ") && headers[1].ends_with(" ./b/.\n"),
            "{headers:?}"
        );
    }
}
