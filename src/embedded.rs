//! The files of `templates/` and `common/` that are built into the program.

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
