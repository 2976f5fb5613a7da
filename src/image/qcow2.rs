//! The header of a disk image in QEMU's format qcow2, read before anything opens the file: it may name
//! other files of this machine, which whoever opens it would read for the VM.
//!
//! The format: `docs/interop/qcow2.rst` in QEMU's source. All numbers are big-endian.

use std::io::{self, Read as _};
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

/// The fixed part of a header of version 2, which has no features.
const LENGTH_OF_2: usize = 72;
/// Entries of its tables have twice the length.
const EXTENDED: u64 = 1 << 4;
/// Where in an entry of a table the place in the file is, and what tells a cluster that is compressed.
const PLACE: u64 = 0x00ff_ffff_ffff_fe00;
const COMPRESSED: u64 = 1 << 62;
/// The longest first table that QEMU reads, and as much of the others as is looked at, in bytes.
const LONGEST_TABLE: u64 = 32 << 20;
const TABLES: u64 = 64 << 20;

/// Whether a file that begins so is such a disk.
pub(super) fn is_one(head: &[u8]) -> bool {
    head.starts_with(MAGIC)
}

/// Refuses a disk of another's that is not whole in this file of that length. `read` reads from a place in
/// it.
pub(super) fn check_whole(
    head: &[u8],
    length: u64,
    read: impl Fn(u64, &mut [u8]) -> io::Result<()>,
) -> Result<(), String> {
    let version = word(head.get(..LENGTH_OF_2).ok_or("its header is cut off")?, 4);
    let features = match version {
        2 => 0,
        3 => long(head.get(..LENGTH).ok_or("its header is cut off")?, 72),
        _ => return Err(format!("it is qcow2 of version {version}, which is not known here")),
    };
    check_alone(head, features)?;
    let bits = word(head, 20);
    if long(head, 24) == 0 || !(9..=21).contains(&bits) {
        return Err("its header makes no sense".into());
    }
    let cluster = 1_u64 << bits;
    let cut_off = || format!("it is cut off after {}", crate::ui::size(length));
    let table = |at: u64, size: u64| {
        if at.saturating_add(size) > length {
            return Err(cut_off());
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        read(at, &mut bytes).map_err(|error| format!("cannot read it: {error}"))?;
        Ok(bytes)
    };
    let first_size = u64::from(word(head, 36)) * 8;
    if first_size > LONGEST_TABLE {
        return Err("its header makes no sense".into());
    }
    let first = table(long(head, 40), first_size)?;
    let step = if features & EXTENDED == 0 { 8 } else { 16 };
    let seconds = first.chunks_exact(8).map(|entry| long(entry, 0) & PLACE).filter(|at| *at != 0);
    // Most of what there can be, in a disk of any size.
    for at in seconds.take(usize::try_from(TABLES / cluster).unwrap_or_default()) {
        for entry in table(at, cluster)?.chunks_exact(step) {
            let entry = long(entry, 0);
            let place = match entry & COMPRESSED {
                0 => entry & PLACE,
                _ => entry & ((1 << (62 - (bits - 8))) - 1),
            };
            // The last one need not be there to its end.
            if place != 0 && place >= length {
                return Err(cut_off());
            }
        }
    }
    Ok(())
}

/// Refuses what whoever opens the disk would need more for than this file.
fn check_alone(head: &[u8], features: u64) -> Result<(), String> {
    if long(head, 8) != 0 || word(head, 16) != 0 {
        return Err("it is the difference to another file, which it names".into());
    }
    if word(head, 32) != 0 {
        return Err("it is encrypted".into());
    }
    if features & DATA_FILE != 0 {
        return Err("its data is in another file, which it names".into());
    }
    Ok(())
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(word(bytes, at)) << 32 | u64::from(word(bytes, at + 4))
}

/// Refuses what is none of ours, whole in one file, with the reason, to stand after the file's name.
pub(super) fn check(path: &Path) -> Result<(), String> {
    let cannot = |error| format!("cannot read it: {error}");
    let mut head = Vec::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(LENGTH as u64).read_to_end(&mut head).map_err(cannot)?;
    check_header(&head)
}

fn check_header(head: &[u8]) -> Result<(), String> {
    if !is_one(head) {
        return Err("it is no disk in the format qcow2".into());
    }
    let head = head.get(..LENGTH).ok_or("its header is cut off")?;
    let version = word(head, 4);
    if version != VERSION {
        return Err(format!("it is qcow2 of version {version}, not {VERSION}"));
    }
    let features = long(head, 72);
    check_alone(head, features)?;
    if features & !COMPRESSION != 0 {
        return Err(format!("it has features that no image of ours has ({features:#x})"));
    }
    if word(head, 60) != 0 {
        return Err("there are snapshots in it".into());
    }
    let size = long(head, 24);
    if size == 0 || size > LARGEST {
        return Err(format!("it is a disk of {}", crate::ui::size(size)));
    }
    if (word(head, 100) as usize) < LENGTH {
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

    /// A disk of another's: the header, its tables at 64 and 128 KiB, data at 192 and, compressed, at 256.
    fn disk_of_another() -> Vec<u8> {
        let mut disk = header();
        disk.resize((256 << 10) + 1, 0);
        let mut put =
            |at: usize, number: u64| disk[at..at + 8].copy_from_slice(&number.to_be_bytes());
        // The first table has 16 entries.
        put(32, 16);
        put(40, 64 << 10);
        put(64 << 10, 1 << 63 | 128 << 10);
        put(128 << 10, 1 << 63 | 192 << 10);
        put((128 << 10) + 8, COMPRESSED | 5 << 54 | 256 << 10);
        disk
    }

    fn whole(disk: &[u8]) -> Result<(), String> {
        check_whole(disk, disk.len() as u64, |at, bytes| {
            let at = usize::try_from(at).unwrap();
            bytes.copy_from_slice(&disk[at..at + bytes.len()]);
            Ok(())
        })
    }

    #[test]
    fn a_disk_of_another_is_whole_where_its_tables_say_so() {
        let disk = disk_of_another();
        assert_eq!(whole(&disk), Ok(()));
        for length in [disk.len() - 1, 192 << 10, 130 << 10, 100 << 10, 65 << 10, 512] {
            assert!(
                whole(&disk[..length]).unwrap_err().contains("it is cut off after "),
                "{length}"
            );
        }
        assert_eq!(whole(&disk[..50]).unwrap_err(), "its header is cut off");
        let with = |at: usize, bytes: &[u8]| {
            let mut other = disk.clone();
            other[at..at + bytes.len()].copy_from_slice(bytes);
            whole(&other)
        };
        // Older, with what ours have not, and with a dirty bit.
        assert_eq!(with(4, &2_u32.to_be_bytes()), Ok(()));
        assert_eq!(with(60, &1_u32.to_be_bytes()), Ok(()));
        assert_eq!(with(72, &1_u64.to_be_bytes()), Ok(()));
        assert!(with(8, &512_u64.to_be_bytes()).unwrap_err().contains("difference to another"));
        assert!(with(72, &4_u64.to_be_bytes()).unwrap_err().contains("data is in another file"));
        assert!(with(24, &[0; 8]).unwrap_err().contains("makes no sense"));
        assert!(with(20, &[0xff; 4]).unwrap_err().contains("makes no sense"));
        assert!(with(36, &[0xff; 4]).unwrap_err().contains("makes no sense"));
        assert!(with(40, &[0xff; 8]).unwrap_err().contains("it is cut off"));
    }

    proptest::proptest! {
        #[test]
        fn no_header_is_too_strange(bytes: Vec<u8>) {
            check_header(&bytes).ok();
            check_header(&[MAGIC, &bytes].concat()).ok();
            whole(&[&header()[..20], &bytes].concat()).ok();
        }
    }
}
