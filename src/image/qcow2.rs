//! The header of a disk image in QEMU's format qcow2, read before anything opens the file: it may name
//! other files of this machine, which whoever opens it would read for the VM.
//!
//! The format: `docs/interop/qcow2.rst` in QEMU's source. All numbers are big-endian.

use std::io::Read as _;
use std::path::Path;

/// The fixed part of a header of version 3, in bytes.
const LENGTH: usize = 104;
const MAGIC: &[u8] = b"QFI\xfb";
/// What the recipe makes. An older version can't say how it is compressed.
const VERSION: u32 = 3;
/// The compression of the clusters is named in the header. No other feature is known here that a
/// reader must know.
const COMPRESSION: u64 = 1 << 3;
const DATA_FILE: u64 = 1 << 2;
/// A VM's disk is at least as large, and cannot shrink, in bytes.
const LARGEST: u64 = 64 << 30;

/// Refuses what is no whole disk in one file, with the reason, to stand after the file's name.
pub(super) fn check(path: &Path) -> Result<(), String> {
    let cannot = |error| format!("cannot read it: {error}");
    let mut head = Vec::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(LENGTH as u64).read_to_end(&mut head).map_err(cannot)?;
    check_header(&head)
}

fn check_header(head: &[u8]) -> Result<(), String> {
    if !head.starts_with(MAGIC) {
        return Err("it is no disk in the format qcow2".into());
    }
    let head = head.get(..LENGTH).ok_or("its header is cut off")?;
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let long = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 4));
    if word(4) != VERSION {
        return Err(format!("it is qcow2 of version {}, not {VERSION}", word(4)));
    }
    if long(8) != 0 || word(16) != 0 {
        return Err("it is the difference to another file, which it names".into());
    }
    if word(32) != 0 {
        return Err("it is encrypted".into());
    }
    let features = long(72);
    if features & DATA_FILE != 0 {
        return Err("its data is in another file, which it names".into());
    }
    if features & !COMPRESSION != 0 {
        return Err(format!("it has features that no image of ours has ({features:#x})"));
    }
    if word(60) != 0 {
        return Err("there are snapshots in it".into());
    }
    let size = long(24);
    if size == 0 || size > LARGEST {
        return Err(format!("it is a disk of {}", crate::ui::size(size)));
    }
    if (word(100) as usize) < LENGTH {
        return Err("its header makes no sense".into());
    }
    Ok(())
}

/// The header of a disk of 8 GiB.
#[cfg(test)]
pub(super) fn header() -> Vec<u8> {
    let mut head = vec![0; 512];
    let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, MAGIC);
    put(4, &VERSION.to_be_bytes());
    put(20, &16_u32.to_be_bytes());
    put(24, &(8_u64 << 30).to_be_bytes());
    put(72, &COMPRESSION.to_be_bytes());
    put(100, &112_u32.to_be_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(at: usize, bytes: &[u8]) -> String {
        let mut head = header();
        head[at..at + bytes.len()].copy_from_slice(bytes);
        check_header(&head).unwrap_err()
    }

    #[test]
    fn a_whole_disk_in_one_file_is_taken() {
        assert_eq!(check_header(&header()), Ok(()));
        let mut plain = header();
        plain[72..80].fill(0);
        assert_eq!(check_header(&plain[..LENGTH]), Ok(()));
    }

    #[test]
    fn whatever_leads_to_another_file_is_refused() {
        assert!(refusal(8, &512_u64.to_be_bytes()).contains("difference to another file"));
        assert!(refusal(16, &11_u32.to_be_bytes()).contains("difference to another file"));
        assert!(refusal(72, &0b1100_u64.to_be_bytes()).contains("data is in another file"));
    }

    #[test]
    fn what_no_image_of_ours_has_is_refused() {
        assert!(refusal(0, b"QFI\0").contains("no disk"));
        assert!(refusal(4, &2_u32.to_be_bytes()).contains("version 2"));
        assert!(refusal(4, &4_u32.to_be_bytes()).contains("version 4"));
        assert!(refusal(32, &1_u32.to_be_bytes()).contains("encrypted"));
        assert!(refusal(72, &0b11_u64.to_be_bytes()).contains("features"));
        assert!(refusal(72, &(1_u64 << 63).to_be_bytes()).contains("features"));
        assert!(refusal(60, &1_u32.to_be_bytes()).contains("snapshots"));
        assert!(refusal(24, &0_u64.to_be_bytes()).contains("a disk of"));
        assert!(refusal(24, &(65_u64 << 30).to_be_bytes()).contains("65.00 GiB"));
        assert!(refusal(24, &u64::MAX.to_be_bytes()).contains("a disk of"));
        assert!(refusal(100, &72_u32.to_be_bytes()).contains("makes no sense"));
    }

    #[test]
    fn a_short_file_is_no_disk() {
        assert!(check_header(b"").unwrap_err().contains("no disk"));
        for length in [4, 72, LENGTH - 1] {
            assert_eq!(check_header(&header()[..length]).unwrap_err(), "its header is cut off");
        }
        let dir = tempfile::tempdir().unwrap();
        assert!(check(&dir.path().join("none")).unwrap_err().starts_with("cannot read it: "));
        fs_err::write(dir.path().join("disk"), header()).unwrap();
        assert_eq!(check(&dir.path().join("disk")), Ok(()));
    }

    proptest::proptest! {
        #[test]
        fn no_header_is_too_strange(bytes: Vec<u8>) {
            check_header(&bytes).ok();
            check_header(&[MAGIC, &bytes].concat()).ok();
        }
    }
}
