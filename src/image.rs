//! The disk image that a VM is made from: what `agentvm.image` may name, or one that was built here,
//! checked before anything is made.
//!
//! [`input`] is what an image is made of and named by, [`build`] makes one, here or [`in_vm`], [`store`]
//! is where they are. Knows image files; knows nothing of Lima's template.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::hash;
use crate::sanitize;
use crate::small_file;
use crate::ui::Progress;

pub mod build;
mod disk;
mod host;
mod in_vm;
pub mod input;
pub(crate) mod keeper;
mod qcow2;
pub mod store;

/// The files of an image directory that `SHA256SUMS` must list.
const DIRECTORY_FILES: [&str; 4] = ["disk.qcow2", "vmlinuz", "initrd.img", "cmdline"];

/// More than the files have that are text, in bytes.
const LARGEST_TEXT: u64 = 64 << 10;
/// A kernel's command line, in bytes: the kernels of all architectures take twice that.
const LONGEST_CMDLINE: usize = 1024;

/// An image for a VM on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// A disk image file that firmware boots.
    File(PathBuf),
    /// A disk image to be downloaded.
    Url {
        /// An https URL, without a fragment.
        location: String,
        /// `sha256:HEX` or `sha512:HEX`.
        digest: String,
    },
    /// A directory of ours: a disk that firmware boots, with the kernel beside it, which boots faster.
    Directory {
        /// Where it is.
        dir: PathBuf,
        /// The kernel's command line.
        cmdline: String,
    },
}

impl Image {
    /// Reads a value of `agentvm.image` and checks what it names: that a file is a whole disk, that a URL
    /// has a digest, that the files of a directory are those of its `SHA256SUMS`.
    pub fn open(value: &str) -> Result<Self, Error> {
        if let Some((scheme, _)) = value.split_once("://") {
            return parse_url(value, scheme);
        }
        let path = match (value.strip_prefix("~/"), std::env::home_dir()) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(value),
        };
        if !path.is_absolute() {
            return Err(wrong(
                value,
                "it is an absolute path, a path that begins with ~/, or an https URL",
            ));
        }
        let meta = std::fs::metadata(&path).map_err(|error| unreadable(&path, &error))?;
        if meta.is_dir() {
            return open_directory(&path).map_err(|why| {
                Error::usage(format!("agentvm.image: {why}")).hint(
                    "without agentvm.image, start takes the image that git agent-vm image build makes",
                )
            });
        }
        // Whoever opens a pipe waits.
        if !meta.is_file() {
            return Err(wrong(value, "it is no ordinary file"));
        }
        disk::check(&path).map_err(|why| wrong(value, &why))?;
        Ok(Self::File(path))
    }
}

fn wrong(value: &str, why: &str) -> Error {
    Error::usage(format!("agentvm.image is '{}': {why}", sanitize::text(value)))
        .hint("an image is a disk image file, a directory that git agent-vm image build made, or https://…#sha256:HEX")
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::usage(format!("agentvm.image: cannot read {}: {error}", path.display())).hint(
        "git config --show-origin agentvm.image shows where it is set; without it, Debian's own image is used",
    )
}

fn parse_url(value: &str, scheme: &str) -> Result<Image, Error> {
    if scheme != "https" {
        return Err(wrong(value, "only https is downloaded"));
    }
    let Some((location, digest)) = value.split_once('#') else {
        return Err(wrong(value, "a URL needs a digest: https://…#sha256:HEX or #sha512:HEX"));
    };
    let length = match digest.split_once(':') {
        Some(("sha256", hex)) if hash::is_hex(hex) => (hex.len(), 64),
        Some(("sha512", hex)) if hash::is_hex(hex) => (hex.len(), 128),
        _ => return Err(wrong(value, "the digest after '#' is sha256:HEX or sha512:HEX")),
    };
    if length.0 != length.1 {
        return Err(wrong(value, &format!("the digest has {} digits, not {}", length.0, length.1)));
    }
    Ok(Image::Url { location: location.to_owned(), digest: digest.to_owned() })
}

/// Checks all of a directory; the reason, to stand alone, where something is wrong with it.
fn open_directory(dir: &Path) -> Result<Image, String> {
    let unreadable =
        |path: &Path, error: &std::io::Error| format!("cannot read {}: {error}", path.display());
    let sums_path = dir.join("SHA256SUMS");
    let sums = read_text(&sums_path)?;
    let _progress = Progress::start("checking the image");
    for name in DIRECTORY_FILES {
        let wanted = listed(&sums, name)
            .ok_or_else(|| format!("{} does not list {name}", sums_path.display()))?;
        let path = dir.join(name);
        let found = hash::of_file(&path).map_err(|error| unreadable(&path, &error))?;
        if found != wanted {
            return Err(format!(
                "{} is not what {} says: its SHA-256 is {found}",
                path.display(),
                sums_path.display()
            ));
        }
    }
    // It may come from another machine, or from a VM.
    let path = dir.join("disk.qcow2");
    qcow2::check(&path).map_err(|why| format!("{}: {why}", path.display()))?;
    let path = dir.join("vmlinuz");
    let arch = kernel_arch(&path).map_err(|error| unreadable(&path, &error))?;
    if let Some(arch) = arch.filter(|arch| *arch != std::env::consts::ARCH) {
        let here = std::env::consts::ARCH;
        return Err(format!("{} is for {arch}, and this machine is {here}", dir.display()));
    }
    let path = dir.join("cmdline");
    let cmdline = read_text(&path)?.trim_end().to_owned();
    let printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    if cmdline.is_empty() || cmdline.len() > LONGEST_CMDLINE || !cmdline.bytes().all(printable) {
        return Err(format!(
            "{} is not one line of at most {LONGEST_CMDLINE} printable characters",
            path.display()
        ));
    }
    Ok(Image::Directory { dir: dir.to_owned(), cmdline })
}

fn read_text(path: &Path) -> Result<String, String> {
    let cannot = |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", path.display());
    let bytes = small_file::read(path, LARGEST_TEXT).map_err(|error| cannot(&error))?;
    String::from_utf8(bytes).map_err(|_| cannot(&"it is no text"))
}

/// The architecture that a kernel is for, by the header that Debian's have for EFI's sake. `None`
/// for one without: QEMU finds out then.
fn kernel_arch(path: &Path) -> std::io::Result<Option<&'static str>> {
    let mut head = Vec::new();
    std::fs::File::open(path)?.take(64 << 10).read_to_end(&mut head)?;
    let word = |at: usize| head.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let machine = word(0x3c)
        .and_then(|at| usize::try_from(at).ok())
        .filter(|at| head.get(*at..at.saturating_add(4)) == Some(b"PE\0\0"))
        .and_then(|at| head.get(at + 4..at + 6));
    Ok(match machine {
        Some([0x64, 0x86]) => Some("x86_64"),
        Some([0x64, 0xaa]) => Some("aarch64"),
        _ => None,
    })
}

/// The digest of `name` in a file as `sha256sum` writes it.
fn listed<'a>(sums: &'a str, name: &str) -> Option<&'a str> {
    sums.lines().find_map(|line| {
        let (digest, file) = line.split_once(' ')?;
        (file.trim_start_matches([' ', '*']) == name).then_some(digest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(value: &str) -> String {
        let error = Image::open(value).unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::Usage);
        assert!(!error.hints().is_empty());
        error.to_string()
    }

    #[test]
    fn a_url_needs_https_and_a_whole_digest() {
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(
            Image::open(&format!("https://example.org/x.qcow2#{digest}")).unwrap(),
            Image::Url { location: "https://example.org/x.qcow2".into(), digest }
        );
        assert!(refusal("http://example.org/x#sha256:aa").contains("only https"));
        assert!(refusal("https://example.org/x").contains("needs a digest"));
        assert!(refusal("https://example.org/x#sha256:abc").contains("3 digits, not 64"));
        assert!(refusal("https://example.org/x#md5:abc").contains("sha512:HEX"));
    }

    #[test]
    fn a_path_is_absolute_and_there() {
        assert!(refusal("x.qcow2").contains("absolute"));
        assert!(refusal("/no/such/image").contains("cannot read /no/such/image"));
    }

    #[test]
    fn a_directory_is_what_its_digests_say() {
        let dir = tempfile::tempdir().unwrap();
        let value = dir.path().to_str().unwrap();
        assert!(refusal(value).contains("SHA256SUMS"));
        let mut sums = String::new();
        for name in DIRECTORY_FILES {
            let text = match name {
                "disk.qcow2" => qcow2::header(),
                _ => format!("{name}\n").into(),
            };
            std::fs::write(dir.path().join(name), text).unwrap();
            sums += &format!("{}  {name}\n", hash::of_file(&dir.path().join(name)).unwrap());
        }
        std::fs::write(dir.path().join("SHA256SUMS"), &sums).unwrap();
        let image = Image::open(value).unwrap();
        assert_eq!(
            image,
            Image::Directory { dir: dir.path().to_owned(), cmdline: "cmdline".into() }
        );
        assert_eq!(image, open_directory(dir.path()).unwrap());
        std::fs::write(dir.path().join("vmlinuz"), "other").unwrap();
        assert!(refusal(value).contains("vmlinuz is not what"));
        std::fs::remove_file(dir.path().join("vmlinuz")).unwrap();
        assert!(refusal(value).contains("cannot read"));
    }
    #[test]
    fn a_kernel_tells_its_architecture() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vmlinuz");
        let kernel = |machine: &[u8]| {
            let mut bytes = vec![0; 0x3c];
            bytes.extend_from_slice(&[0x40, 0, 0, 0]);
            bytes.extend_from_slice(b"PE\0\0");
            bytes.extend_from_slice(machine);
            std::fs::write(&path, bytes).unwrap();
            kernel_arch(&path).unwrap()
        };
        assert_eq!(kernel(&[0x64, 0x86]), Some("x86_64"));
        assert_eq!(kernel(&[0x64, 0xaa]), Some("aarch64"));
        assert_eq!(kernel(&[]), None);
        std::fs::write(&path, [0xff; 0x40]).unwrap();
        assert_eq!(kernel_arch(&path).unwrap(), None);
        std::fs::write(&path, "short").unwrap();
        assert_eq!(kernel_arch(&path).unwrap(), None);
    }
}
