//! The stages of what `agentvm.extras` names: containers, and VMs in the VM.

use super::apt::{lines, packages};
use super::stage::{Name, Stage};
use super::versions::Versions;
use crate::config::{Config, Extra};
use crate::error::Error;

/// Podman, or Docker.
pub(super) fn containers(
    config: &Config,
    extra: Extra,
    name: Name,
) -> anyhow::Result<Option<Stage>> {
    if !config.extras.contains(&extra) {
        return Ok(None);
    }
    Ok(Some(Stage::of_text(name, 1, lines(&packages(config, name)?))))
}

/// QEMU and Lima.
pub(super) fn nested(config: &Config, versions: &Versions) -> anyhow::Result<Option<Stage>> {
    if !config.extras.contains(&Extra::Nested) {
        return Ok(None);
    }
    let packages = packages(config, Name::Nested)?;
    let Some(version) = versions.get("LIMA") else {
        return Err(Error::usage("agentvm.extras names nested, and versions.txt no LIMA").into());
    };
    let (amd64, arm64) = (versions.sum("LIMA_SHA256_AMD64"), versions.sum("LIMA_SHA256_ARM64"));
    let text = format!("{version} {amd64} {arm64}\n{}", lines(&packages));
    Ok(Some(Stage::of_text(Name::Nested, 1, text)))
}
