//! What is mounted, by the kernel's own word. Asking it never touches a mount, so it never hangs.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use super::system::System;
use crate::process::Cmd;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where, as an absolute path without links.
    pub(crate) path: PathBuf,
    /// `fuse.sshfs`, `ext4`, `macfuse`, …
    pub(crate) kind: String,
    /// A device, or the name that a FUSE program gave.
    pub(crate) source: String,
    /// Whether it can't be written to.
    pub(crate) read_only: bool,
}

impl Entry {
    pub(crate) fn is_fuse(&self) -> bool {
        self.kind == "fuse" || self.kind.starts_with("fuse.") || self.kind.ends_with("fuse")
    }
}

/// All mounts, in order: of two at one path the later one is seen.
#[derive(Debug)]
pub(crate) struct Table(Vec<Entry>);

impl Table {
    /// Asks the kernel.
    pub(crate) fn read() -> anyhow::Result<Self> {
        match System::HERE {
            System::Linux => {
                let file = "/proc/self/mountinfo";
                let bytes = std::fs::read(file).with_context(|| format!("cannot read {file}"))?;
                Ok(Self(parse_mountinfo(&bytes)))
            }
            System::Macos => {
                let output = Cmd::new("/sbin/mount").time_limit(Duration::from_secs(5)).output()?;
                anyhow::ensure!(output.exit.success(), "mount: {}", output.stderr_tail(3));
                Ok(Self(parse_mount_output(&output.stdout)))
            }
        }
    }

    /// What is mounted at this very path.
    pub(crate) fn at(&self, path: &Path) -> Option<&Entry> {
        self.0.iter().rev().find(|entry| entry.path == path)
    }

    /// The mount that this path lies in.
    pub(crate) fn around(&self, path: &Path) -> Option<&Entry> {
        let holds = self.0.iter().rev().filter(|entry| path.starts_with(&entry.path));
        // The later of two at one path is the first here, and `max_by_key` takes the last.
        holds.rev().max_by_key(|entry| entry.path.as_os_str().len())
    }

    /// A mount somewhere below this path.
    pub(crate) fn below(&self, path: &Path) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.path != path && entry.path.starts_with(path))
    }
}

/// `/proc/PID/mountinfo`, see proc(5): `ID PARENT DEV ROOT PATH OPTIONS [FIELD…] - KIND SOURCE
/// OPTIONS`, with spaces and other special bytes in octal.
fn parse_mountinfo(bytes: &[u8]) -> Vec<Entry> {
    let lines = bytes.split(|&byte| byte == b'\n');
    lines.filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Entry> {
    let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let dash = words.iter().position(|word| *word == b"-")?;
    let has_ro = |list: &[u8]| list.split(|&byte| byte == b',').any(|word| word == b"ro");
    let text = |word: &[u8]| String::from_utf8_lossy(&unescape(word)).into_owned();
    Some(Entry {
        path: PathBuf::from(OsString::from_vec(unescape(words.get(4)?))),
        kind: text(words.get(dash + 1)?),
        source: text(words.get(dash + 2)?),
        read_only: has_ro(words.get(5)?) || words.get(dash + 3).is_some_and(|list| has_ro(list)),
    })
}

/// Takes octal escapes (`\040`) back.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'\\'
            && let Some(digits) = tail.get(..3)
            && digits.iter().all(|digit| (b'0'..=b'7').contains(digit))
            && digits[0] <= b'3'
        {
            out.push(digits.iter().fold(0, |value, digit| value * 8 + (digit - b'0')));
            rest = &tail[3..];
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    out
}

/// The output of macOS's `mount`: `SOURCE on PATH (KIND, OPTION, …)`.
fn parse_mount_output(bytes: &[u8]) -> Vec<Entry> {
    let text = String::from_utf8_lossy(bytes);
    let entry = |line: &str| {
        let (place, options) = line.strip_suffix(')')?.rsplit_once(" (")?;
        // A source of ours has no space in it, but a path may.
        let (source, path) = place.split_once(" on /")?;
        let mut options = options.split(", ");
        Some(Entry {
            path: PathBuf::from(format!("/{path}")),
            kind: options.next()?.to_owned(),
            source: source.to_owned(),
            read_only: options.any(|word| word == "read-only"),
        })
    };
    text.lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &[u8] = b"\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
22 21 0:20 / /proc rw,nosuid - proc proc rw
40 21 0:39 / /home/a\\040b\\134c\\011\\043 rw,nosuid,nodev,noexec - fuse.sshfs agentvm:agent-vm rw,user_id=0
41 21 0:40 / /ro ro,nosuid shared:2 master:3 - fuse.sshfs agentvm:x rw
42 21 0:41 / /over rw - tmpfs one rw
43 42 0:42 / /over rw - fuse two ro
garbage
";

    #[test]
    fn mountinfo_is_read_with_its_escapes() {
        let table = Table(parse_mountinfo(MOUNTINFO));
        let odd = table.at(Path::new("/home/a b\\c\t#")).unwrap();
        assert_eq!((odd.kind.as_str(), odd.source.as_str()), ("fuse.sshfs", "agentvm:agent-vm"));
        assert!(odd.is_fuse() && !odd.read_only);
        assert!(table.at(Path::new("/ro")).unwrap().read_only);
        assert_eq!(table.at(Path::new("/over")).unwrap().source, "two");
        assert!(table.at(Path::new("/home")).is_none());
    }

    #[test]
    fn the_mount_around_a_path_is_the_innermost() {
        let table = Table(parse_mountinfo(MOUNTINFO));
        assert_eq!(table.around(Path::new("/home/other")).unwrap().source, "/dev/sda1");
        assert_eq!(table.around(Path::new("/ro/a/b")).unwrap().source, "agentvm:x");
        assert_eq!(table.around(Path::new("/over/a")).unwrap().source, "two");
        // A name that only begins like a mount's.
        assert_eq!(table.around(Path::new("/rot")).unwrap().source, "/dev/sda1");
        assert_eq!(table.below(Path::new("/home")).unwrap().source, "agentvm:agent-vm");
        assert!(table.below(Path::new("/ro")).is_none());
    }

    #[test]
    fn the_output_of_mount_on_macos_is_read() {
        let text = b"\
/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
map auto_home on /System/Volumes/Data/home (autofs, automounted, nobrowse)
agentvm:agent-vm on /Users/a b/.agent-vm-mounts/workspace (macfuse, nodev, nosuid, synchronous, mounted by a b)
";
        let table = Table(parse_mount_output(text));
        let ours = table.at(Path::new("/Users/a b/.agent-vm-mounts/workspace")).unwrap();
        assert_eq!(ours.source, "agentvm:agent-vm");
        assert!(ours.is_fuse() && !ours.read_only);
        assert!(table.at(Path::new("/")).unwrap().read_only);
        assert!(!table.at(Path::new("/")).unwrap().is_fuse());
    }
}
