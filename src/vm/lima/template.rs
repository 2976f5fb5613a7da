//! The template that limactl gets: the embedded one with this VM's values filled in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_yaml::{Mapping, Value};

use crate::image::Image;

/// What a VM is made with.
#[derive(Debug)]
pub(crate) struct Values<'a> {
    pub(crate) cpus: u32,
    /// Bytes.
    pub(crate) memory: u64,
    /// Bytes.
    pub(crate) disk: u64,
    /// `None` for the template's own.
    pub(crate) image: Option<&'a Image>,
    /// The private ssh host key.
    pub(crate) host_key: &'a [u8],
    /// The host's architecture, as Lima names it.
    pub(crate) arch: &'a str,
    /// The host's system, as Rust names it.
    pub(crate) os: &'a str,
}

/// Fills in the values. The result is YAML for `limactl create -`.
pub(crate) fn render(template: &str, values: &Values<'_>) -> anyhow::Result<String> {
    let mut root: Mapping = serde_yaml::from_str(template)?;
    root.insert("cpus".into(), values.cpus.into());
    root.insert("memory".into(), mebibytes(values.memory).into());
    root.insert("disk".into(), mebibytes(values.disk).into());
    root.insert("param".into(), mapping([("hostKey", BASE64.encode(values.host_key).into())]));
    if let Some(image) = values.image {
        // macOS's own hypervisor, vz, wants a kernel uncompressed; its firmware takes it as it is.
        let direct = values.os != "macos";
        root.insert(
            "images".into(),
            Value::Sequence(vec![image_entry(image, values.arch, direct)]),
        );
        // Without firmware of its own, QEMU starts the kernel 3 s sooner. Lima knows this for
        // x86_64 only.
        if matches!(image, Image::Directory { .. }) && direct && values.arch == "x86_64" {
            root.insert("firmware".into(), mapping([("legacyBIOS", true.into())]));
        }
    }
    Ok(serde_yaml::to_string(&root)?)
}

/// `direct` gives the hypervisor the kernel of a directory, where firmware would find it on the disk.
fn image_entry(image: &Image, arch: &str, direct: bool) -> Value {
    match image {
        Image::Directory { dir, .. } if !direct => {
            image_entry(&Image::File(dir.join("disk.qcow2")), arch, direct)
        }
        Image::File(path) => {
            mapping([("location", path.display().to_string().into()), ("arch", arch.into())])
        }
        Image::Url { location, digest } => mapping([
            ("location", location.as_str().into()),
            ("arch", arch.into()),
            ("digest", digest.as_str().into()),
        ]),
        Image::Directory { dir, cmdline } => {
            let file = |name: &str| Value::from(dir.join(name).display().to_string());
            mapping([
                ("location", file("disk.qcow2")),
                ("arch", arch.into()),
                (
                    "kernel",
                    mapping([("location", file("vmlinuz")), ("cmdline", cmdline.as_str().into())]),
                ),
                ("initrd", mapping([("location", file("initrd.img"))])),
            ])
        }
    }
}

fn mapping<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Mapping(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

/// Lima reads sizes with units; whole MiB are exact enough for what people ask for.
fn mebibytes(bytes: u64) -> String {
    format!("{}MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(image: Option<&Image>, arch: &str) -> Value {
        rendered_on("linux", image, arch)
    }

    fn rendered_on(os: &str, image: Option<&Image>, arch: &str) -> Value {
        let (memory, disk, host_key) = (5 << 30, 40 << 30, b"KEY\n");
        let values = Values { cpus: 3, memory, disk, image, host_key, arch, os };
        let text = render(crate::embedded::TEMPLATE, &values).unwrap();
        serde_yaml::from_str(&text).unwrap()
    }

    #[test]
    fn the_templates_own_image_is_kept() {
        let yaml = rendered(None, "x86_64");
        assert_eq!(yaml["cpus"], Value::from(3));
        assert_eq!(yaml["memory"], Value::from("5120MiB"));
        assert_eq!(yaml["disk"], Value::from("40960MiB"));
        assert_eq!(yaml["param"]["hostKey"], Value::from("S0VZCg=="));
        assert!(yaml["images"].as_sequence().unwrap().len() >= 2);
        assert_eq!(yaml["plain"], Value::from(true));
        assert!(yaml.get("firmware").is_none());
    }

    #[test]
    fn an_image_directory_brings_its_kernel() {
        let image = Image::Directory { dir: "/images/a b".into(), cmdline: "root=LABEL=x".into() };
        let yaml = rendered(Some(&image), "x86_64");
        let entry = &yaml["images"][0];
        assert_eq!(entry["location"], Value::from("/images/a b/disk.qcow2"));
        assert_eq!(entry["kernel"]["location"], Value::from("/images/a b/vmlinuz"));
        assert_eq!(entry["kernel"]["cmdline"], Value::from("root=LABEL=x"));
        assert_eq!(entry["initrd"]["location"], Value::from("/images/a b/initrd.img"));
        assert_eq!(yaml["firmware"]["legacyBIOS"], Value::from(true));
        assert!(rendered(Some(&image), "aarch64").get("firmware").is_none());
    }

    #[test]
    fn firmware_starts_an_image_directory_on_macos() {
        let image = Image::Directory { dir: "/images/a".into(), cmdline: "root=LABEL=x".into() };
        for arch in ["x86_64", "aarch64"] {
            let yaml = rendered_on("macos", Some(&image), arch);
            let disk =
                mapping([("location", "/images/a/disk.qcow2".into()), ("arch", arch.into())]);
            assert_eq!(yaml["images"], Value::Sequence(vec![disk]));
            assert!(yaml.get("firmware").is_none());
        }
    }

    #[test]
    fn a_download_carries_its_digest() {
        let image = Image::Url { location: "https://e/x".into(), digest: "sha256:aa".into() };
        let yaml = rendered(Some(&image), "aarch64");
        assert_eq!(yaml["images"][0]["digest"], Value::from("sha256:aa"));
        assert_eq!(yaml["images"][0]["arch"], Value::from("aarch64"));
    }
}
