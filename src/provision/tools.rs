//! The stage that runs `scripts/install-tools.sh` with what `packages/versions.txt` names.

use super::apt::lines;
use super::stage::{Name, Stage};
use super::versions::Versions;
use crate::common::List;
use crate::config::Config;
use crate::embedded;

fn script(config: &Config) -> anyhow::Result<List> {
    List::load(config, "scripts/install-tools.sh", embedded::INSTALL_TOOLS)
}

/// Whether the script is another one than the one that is built in.
pub(crate) fn has_own_script(config: &Config) -> anyhow::Result<bool> {
    Ok(script(config)?.text() != embedded::INSTALL_TOOLS)
}

/// Reads the script. `None` where it is the one that is built in and has nothing to install.
pub(super) fn load(config: &Config, versions: &Versions) -> anyhow::Result<Option<Stage>> {
    let script = script(config)?;
    let tools = versions.of_tools();
    if tools.is_empty() && script.text() == embedded::INSTALL_TOOLS {
        return Ok(None);
    }
    let text = format!("{}\n{}\n", lines(&tools), script.text());
    Ok(Some(Stage::of_text(Name::Tools, 1, text)))
}
