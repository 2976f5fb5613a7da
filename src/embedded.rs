//! The files of `templates/`, `common/` and `scripts/image/` that are built into the program.

/// The Lima template; what is filled in is said at its top.
pub const TEMPLATE: &str = include_str!("../templates/agent-vm.yaml");

/// Debian packages for every VM, one a line.
pub const APT_PACKAGES: &str = include_str!("../common/packages/apt-packages.txt");

/// Those of the extra `podman`.
pub const PODMAN_PACKAGES: &str = include_str!("../common/packages/podman-packages.txt");

/// Those of the extra `docker`.
pub const DOCKER_PACKAGES: &str = include_str!("../common/packages/docker-packages.txt");

/// Those of the extra `nested`.
pub const NESTED_PACKAGES: &str = include_str!("../common/packages/nested-packages.txt");

/// Programs from the npm registry, one a line.
pub const NPM_PACKAGES: &str = include_str!("../common/packages/npm-packages.txt");

/// Programs from PyPI, one a line.
pub const PYTHON_PACKAGES: &str = include_str!("../common/packages/python-packages.txt");

/// Versions and checksums of what no package manager installs.
pub const VERSIONS: &str = include_str!("../common/packages/versions.txt");

/// The script that installs what `VERSIONS` names.
pub const INSTALL_TOOLS: &str = include_str!("../common/scripts/install-tools.sh");

/// Variables that `connect` passes on, one a line.
pub const ENVVARS: &str = include_str!("../common/packages/envvars.txt");

macro_rules! recipe {
    ($($path:literal),*) => {
        &[$(($path, include_str!(concat!("../scripts/image/", $path)))),*]
    };
}

/// The recipe of guest images, `scripts/image/`: each file by its path there.
pub const IMAGE_RECIPE: &[(&str, &str)] = recipe!(
    "build",
    "customize",
    "init",
    "packages.txt",
    "programs",
    "root/etc/systemd/network/10-ether.network",
    "root/etc/systemd/system/agentvm-boot.service",
    "root/etc/systemd/system/agentvm-early.service",
    "root/usr/lib/agentvm/boot",
    "root/usr/lib/agentvm/early",
    "search"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_recipe_is_built_in() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/image");
        let mut found = Vec::new();
        let mut dirs = vec![root.clone()];
        while let Some(dir) = dirs.pop() {
            for entry in fs_err::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    found.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        found.sort();
        let built_in: Vec<&str> = IMAGE_RECIPE.iter().map(|(path, _)| *path).collect();
        assert_eq!(found, built_in);
    }
}
