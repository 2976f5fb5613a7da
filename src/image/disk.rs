//! A disk that somebody else made: whether a VM can be made from it, before one is. What is for another
//! architecture can't be told from a disk.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::qcow2;

/// Where the table of an MBR begins and where its signature is, in bytes.
const PARTITIONS: usize = 446;
const SIGNATURE: usize = 510;
/// Where a GPT begins, with sectors of 512 bytes and of 4 KiB.
const GPT: [usize; 2] = [512, 4096];
/// How much of the beginning is looked at, in bytes.
const HEAD: u64 = 8192;

/// What disks are packed with, by how such a file begins.
const PACKED: [(&[u8], &str); 5] = [
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"PK\x03\x04", "zip"),
];

/// Refuses what is no whole disk in one file, with the reason, to stand after the file's name.
pub(super) fn check(path: &Path) -> Result<(), String> {
    let cannot = |error| format!("cannot read it: {error}");
    let file = File::open(path).map_err(cannot)?;
    let length = file.metadata().map_err(cannot)?.len();
    let mut head = Vec::new();
    (&file).take(HEAD).read_to_end(&mut head).map_err(cannot)?;
    if head.is_empty() {
        return Err("the file is empty".into());
    }
    if qcow2::is_one(&head) {
        let read = |at: u64, bytes: &mut [u8]| file.read_exact_at(bytes, at);
        return qcow2::check_whole(&head, length, read);
    }
    if let Some((_, name)) = PACKED.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Err(format!("it is packed ({name}); unpack it first"));
    }
    if !has_partitions(&head) {
        return Err(
            "it is neither a disk in the format qcow2 nor one with a partition table".into()
        );
    }
    Ok(())
}

fn has_partitions(head: &[u8]) -> bool {
    let at = |at: usize, bytes: &[u8]| head.get(at..at + bytes.len()) == Some(bytes);
    // The fifth byte of an entry is the partition's type; 0 is none.
    let entries = head.get(PARTITIONS..SIGNATURE).unwrap_or_default();
    let mbr = at(SIGNATURE, b"\x55\xaa") && entries.chunks(16).any(|entry| entry[4] != 0);
    mbr || GPT.iter().any(|start| at(*start, b"EFI PART"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(bytes: &[u8]) -> Result<(), String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        fs_err::write(&path, bytes).unwrap();
        check(&path)
    }

    fn disk(at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut disk = vec![0; 16384];
        disk[at..at + bytes.len()].copy_from_slice(bytes);
        disk
    }

    #[test]
    fn a_raw_disk_has_partitions() {
        let mut mbr = disk(SIGNATURE, b"\x55\xaa");
        // The boot sector of a file system alone.
        assert!(checked(&mbr).unwrap_err().contains("nor one with a partition table"));
        mbr[PARTITIONS + 16 + 4] = 0x83;
        assert_eq!(checked(&mbr), Ok(()));
        assert_eq!(checked(&disk(512, b"EFI PART")), Ok(()));
        assert_eq!(checked(&disk(4096, b"EFI PART")), Ok(()));
    }

    #[test]
    fn what_is_no_disk_is_named() {
        for (bytes, why) in [
            (&b""[..], "the file is empty"),
            (b"text\n", "neither a disk in the format qcow2 nor one with a partition table"),
            (b"<!DOCTYPE html>\n", "neither a disk in the format qcow2"),
            (b"\xfd7zXZ\0\0\0", "it is packed (xz); unpack it first"),
            (b"QFI\xfb", "its header is cut off"),
        ] {
            assert!(checked(bytes).unwrap_err().contains(why), "{bytes:?}");
        }
    }
}
