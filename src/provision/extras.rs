//! The stages of what `agentvm.extras` names: containers, and VMs in the VM.

use super::apt::{lines, packages};
use super::stage::{Name, Stage};
use super::versions::Versions;
use crate::config::{Config, Extra};
use crate::embedded;
use crate::error::Error;

/// Containers without root.
pub(super) fn podman(config: &Config) -> anyhow::Result<Option<Stage>> {
    if !config.extras.contains(&Extra::Podman) {
        return Ok(None);
    }
    let packages = packages(config, "packages/podman-packages.txt", embedded::PODMAN_PACKAGES)?;
    Ok(Some(Stage::of_text(Name::Podman, 1, lines(&packages))))
}

/// Docker.
pub(super) fn docker(config: &Config) -> anyhow::Result<Option<Stage>> {
    if !config.extras.contains(&Extra::Docker) {
        return Ok(None);
    }
    let packages = packages(config, "packages/docker-packages.txt", embedded::DOCKER_PACKAGES)?;
    Ok(Some(Stage::of_text(Name::Docker, 1, lines(&packages))))
}

/// QEMU and Lima.
pub(super) fn nested(config: &Config, versions: &Versions) -> anyhow::Result<Option<Stage>> {
    if !config.extras.contains(&Extra::Nested) {
        return Ok(None);
    }
    let packages = packages(config, "packages/nested-packages.txt", embedded::NESTED_PACKAGES)?;
    let Some(version) = versions.get("LIMA") else {
        return Err(Error::usage("agentvm.extras names nested, and versions.txt no LIMA").into());
    };
    let sum = |name| versions.get(name).unwrap_or("-");
    let (amd64, arm64) = (sum("LIMA_SHA256_AMD64"), sum("LIMA_SHA256_ARM64"));
    let text = format!("{version} {amd64} {arm64}\n{}", lines(&packages));
    Ok(Some(Stage::of_text(Name::Nested, 1, text)))
}
