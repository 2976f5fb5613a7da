//! Small files that a user or a variable names: read whole, and only where they are what they
//! should be.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Why such a file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum NoFile {
    /// There is none.
    #[error("there is no such file")]
    Missing,
    /// It is a directory.
    #[error("it is a directory")]
    Directory,
    /// It is a pipe, a device or a socket. Opening one could wait for ever.
    #[error("it is no ordinary file")]
    Special,
    /// It has more bytes than that.
    #[error("it has over {} KiB, too much for what it should be", .0 >> 10)]
    Large(u64),
    /// The system refuses.
    #[error("cannot read it: {0}")]
    Io(io::Error),
}

impl From<io::Error> for NoFile {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing,
            _ => Self::Io(error),
        }
    }
}

/// The bytes of an ordinary file, or of what a link leads to; at most `largest`.
pub fn read(path: &Path, largest: u64) -> Result<Vec<u8>, NoFile> {
    let meta = std::fs::metadata(path)?;
    if meta.is_dir() {
        return Err(NoFile::Directory);
    }
    if !meta.is_file() {
        return Err(NoFile::Special);
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(largest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > largest {
        return Err(NoFile::Large(largest));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_small_ordinary_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert!(matches!(read(&path, 4), Err(NoFile::Large(4))));
        assert!(matches!(read(dir.path(), 5), Err(NoFile::Directory)));
        assert!(matches!(read(&dir.path().join("none"), 5), Err(NoFile::Missing)));
        assert!(matches!(read(&path.join("none"), 5), Err(NoFile::Missing)));
        assert!(matches!(read(Path::new("/dev/null"), 5), Err(NoFile::Special)));
    }
}
