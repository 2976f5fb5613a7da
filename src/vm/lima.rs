//! Lima VMs, through limactl.

use crate::config::Config;
use crate::ssh::Endpoint;
use crate::vm::{Provider, Resources, Status};

/// A VM of Lima.
#[derive(Debug)]
pub struct Lima {}

impl Lima {
    /// The VM that the configuration names.
    pub fn new(_config: &Config) -> anyhow::Result<Self> {
        anyhow::bail!("not built yet")
    }
}

impl Provider for Lima {
    fn describe(&self) -> String {
        String::new()
    }
    fn status(&self) -> anyhow::Result<Status> {
        anyhow::bail!("not built yet")
    }
    fn create(&self, _resources: Resources) -> anyhow::Result<()> {
        anyhow::bail!("not built yet")
    }
    fn start(&self) -> anyhow::Result<()> {
        anyhow::bail!("not built yet")
    }
    fn stop(&self) -> anyhow::Result<()> {
        anyhow::bail!("not built yet")
    }
    fn delete(&self) -> anyhow::Result<()> {
        anyhow::bail!("not built yet")
    }
    fn endpoint(&self) -> anyhow::Result<Option<Endpoint>> {
        anyhow::bail!("not built yet")
    }
    fn stopped_on_purpose(&self) -> bool {
        false
    }
}
