//! What an image is made of: the recipe, the template, and what `common/` and `agentvm.extras` have
//! every VM install. The fingerprint of all that is the image's name.
//!
//! Not in it, on purpose: the files for the agent's home, credentials, certificates, proxies,
//! mirrors, and a script of the user's own. They go to the VM, which alone may have them.

use std::env::consts::ARCH;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use crate::common;
use crate::config::Config;
use crate::embedded;
use crate::hash;
use crate::provision::{self, Name, Stage};

/// Changes with what becomes of the same input otherwise than by the recipe.
const FORMAT: &str = "image 1";

/// What an image is made of.
#[derive(Debug)]
pub struct Input {
    stages: Vec<Stage>,
}

impl Input {
    /// Reads it. A line of `common/` that makes no sense is named with its file.
    pub fn load(config: &Config) -> anyhow::Result<Self> {
        let mut stages = provision::downloads(config)?;
        // A script of the user's own may want a system that runs, and may hold what is private.
        let own = provision::has_own_script(config)?;
        stages.retain(|stage| stage.name() != Name::Tools || !own);
        Ok(Self { stages })
    }

    /// The name of the image that is made of it: 12 hex digits.
    #[must_use]
    pub fn name(&self) -> String {
        let mut sum = Sha256::new();
        let mut part = |text: &str| {
            sum.update(text.len().to_le_bytes());
            sum.update(text);
        };
        for text in [FORMAT, ARCH, embedded::TEMPLATE] {
            part(text);
        }
        for (path, text) in embedded::IMAGE_RECIPE {
            part(path);
            part(text);
        }
        for stage in &self.stages {
            part(stage.hash());
            part(stage.program());
        }
        hash::hex(&sum.finalize()[..6])
    }

    /// The Debian packages that the lists name, without a version.
    fn packages(&self) -> Vec<&str> {
        let mut words = Vec::new();
        for stage in &self.stages {
            let text = stage.text().unwrap_or_default();
            match stage.name() {
                Name::Apt | Name::Podman | Name::Docker => words.extend(text.lines()),
                Name::Nested => {
                    // The first line is Lima's version.
                    words.extend(text.lines().skip(1));
                    words.push(match ARCH {
                        "aarch64" => "qemu-system-arm",
                        _ => "qemu-system-x86",
                    });
                }
                _ => {}
            }
        }
        words
    }

    /// The file of `common/` that names a Debian package.
    #[must_use]
    pub fn place_of(&self, package: &str, config: &Config) -> Option<PathBuf> {
        let names = |line: &str| line.split(['=', ':']).next() == Some(package);
        let file = self.stages.iter().find_map(|stage| {
            let (file, _) = provision::list_of(stage.name())?;
            stage.text()?.lines().any(names).then_some(file)
        })?;
        Some(common::place(config, file))
    }

    /// The recipe in `recipe/`, and in `input/` what it is given.
    pub(super) fn files(&self) -> Vec<File> {
        let mode = |text: &str| if text.starts_with("#!") { 0o755 } else { 0o644 };
        let recipe = embedded::IMAGE_RECIPE.iter();
        let mut files: Vec<File> = recipe
            .map(|(path, text)| File::new(format!("recipe/{path}"), *text, mode(text)))
            .collect();
        let packages: String = self.packages().iter().map(|word| format!("{word}\n")).collect();
        files.push(File::new("input/packages", packages, 0o644));
        for stage in &self.stages {
            if matches!(stage.name(), Name::Npm | Name::Python | Name::Tools) {
                let path = format!("input/{}", stage.name().word());
                files.push(File::new(format!("{path}.sh"), stage.program(), 0o644));
                files.push(File::new(path, stage.text().unwrap_or_default(), 0o644));
            }
        }
        files
    }
}

/// A file for the recipe. There is no `Debug`: it may hold a password.
pub(super) struct File {
    /// Below the directory of all of them.
    pub(super) path: String,
    pub(super) content: Vec<u8>,
    pub(super) mode: u32,
}

impl File {
    pub(super) fn new(path: impl Into<String>, content: impl Into<Vec<u8>>, mode: u32) -> Self {
        Self { path: path.into(), content: content.into(), mode }
    }

    /// Writes it below `dir`.
    pub(super) fn write_below(&self, dir: &Path) -> anyhow::Result<()> {
        write(&dir.join(&self.path), &self.content, self.mode)
    }
}

/// Writes a file with that mode whatever the umask is; it and its directories are read, or even
/// copied, by another user in a namespace.
fn write(path: &Path, text: impl AsRef<[u8]>, mode: u32) -> anyhow::Result<()> {
    let context = || format!("cannot write {}", path.display());
    let dir = path.parent().unwrap_or(Path::new("."));
    for above in
        dir.ancestors().take_while(|above| !above.exists()).collect::<Vec<_>>().iter().rev()
    {
        std::fs::create_dir(above).with_context(context)?;
        fs_err::set_permissions(above, std::fs::Permissions::from_mode(0o755))?;
    }
    let mut options = std::fs::OpenOptions::new();
    let mut file =
        options.write(true).create_new(true).mode(mode).open(path).with_context(context)?;
    std::io::Write::write_all(&mut file, text.as_ref()).with_context(context)?;
    file.set_permissions(std::fs::Permissions::from_mode(mode)).with_context(context)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(settings: &[(&str, &str)]) -> Input {
        Input::load(&Config::of(settings)).unwrap()
    }

    #[test]
    fn a_name_changes_with_what_gets_into_the_image_alone() {
        let usual = input(&[]).name();
        assert!(usual.len() == 12 && usual.bytes().all(|byte| byte.is_ascii_hexdigit()), "{usual}");
        assert_eq!(usual, input(&[]).name());
        assert_ne!(usual, input(&[("agentvm.extras", "docker podman")]).name());

        let dir = tempfile::tempdir().unwrap();
        let common = [("agentvm.common", dir.path().to_str().unwrap())];
        let put = |path: &str, text: &str| write(&dir.path().join(path), text, 0o644).unwrap();
        // Comments, the agent's home and the script of one's own change no image.
        put("packages/podman-packages.txt", &format!("# mine\n{}", embedded::PODMAN_PACKAGES));
        put("homedir/.netrc", "secret");
        put("scripts/install-tools.sh", "echo secret\n");
        put("packages/envvars.txt", "API_KEY\n");
        assert_eq!(usual, input(&common).name());
        put("packages/apt-packages.txt", "git\nhello\n");
        assert_ne!(usual, input(&common).name());
    }

    #[test]
    fn the_recipe_and_its_input_are_files() {
        let dir = tempfile::tempdir().unwrap();
        let input = input(&[("agentvm.extras", "podman nested")]);
        for file in input.files() {
            file.write_below(dir.path()).unwrap();
        }
        let read = |path: &str| fs_err::read_to_string(dir.path().join(path)).unwrap();
        let packages = read("input/packages");
        for package in ["ripgrep", "podman", "qemu-utils"] {
            assert!(packages.lines().any(|line| line == package), "{package} in {packages}");
        }
        assert!(packages.contains("qemu-system-"), "{packages}");
        assert!(packages.lines().all(|line| !line.contains(' ')), "{packages}");
        assert_eq!(read("input/python"), "uv\n");
        assert!(read("input/npm").lines().next().unwrap().contains(' '));
        assert!(read("input/npm.sh").contains("npm_itself"));
        assert!(!dir.path().join("input/tools").exists());
        let mode = |path: &str| {
            fs_err::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777
        };
        assert_eq!(mode("recipe/build"), 0o755);
        assert_eq!(mode("recipe/root/usr/lib/agentvm"), 0o755);
        assert_eq!(mode("recipe/packages.txt"), 0o644);
    }

    #[test]
    fn tools_of_the_built_in_script_are_in_the_image() {
        let dir = tempfile::tempdir().unwrap();
        let versions = format!("{}\nGO=1.25.1\n", embedded::VERSIONS);
        write(&dir.path().join("packages/versions.txt"), versions, 0o644).unwrap();
        let input = input(&[("agentvm.common", dir.path().to_str().unwrap())]);
        assert!(input.stages.iter().any(|stage| stage.name() == Name::Tools));
    }

    #[test]
    fn the_list_that_names_a_package_is_found() {
        let input = input(&[]);
        let place = |package| input.place_of(package, &Config::of(&[]));
        assert_eq!(place("podman"), Some("common/packages/podman-packages.txt".into()));
        assert_eq!(place("ripgrep"), Some("common/packages/apt-packages.txt".into()));
        assert_eq!(place("no-such"), None);
    }
}
