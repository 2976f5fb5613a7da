//! The files of `templates/` and `common/` that are built into the program.

/// The Lima template; what is filled in is said at its top.
pub const TEMPLATE: &str = include_str!("../templates/agent-vm.yaml");

/// Debian packages for every VM, one a line.
pub const APT_PACKAGES: &str = include_str!("../common/packages/apt-packages.txt");

/// Variables that `connect` passes on, one a line.
pub const ENVVARS: &str = include_str!("../common/packages/envvars.txt");
