//! Provider `ssh`: any Linux host that ssh reaches serves as the VM.
//!
//! There is no lifecycle here: the host is run by others. The tests use it too, with an sshd on
//! the loopback.

use std::os::unix::ffi::OsStrExt as _;

use crate::config::Config;
use crate::error::Error;
use crate::ssh::Endpoint;
use crate::state;
use crate::vm::{IfAbsent, Provider, Resources, State, Status};

/// A host named by `agentvm.sshHost`.
#[derive(Debug)]
pub struct SshHost {
    endpoint: Endpoint,
}

impl SshHost {
    /// The host that the configuration names.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let host = Self::look(config)?;
        state::root()?;
        state::private_dir(&host.endpoint.dir)?;
        Ok(host)
    }

    /// The same, without making the directory that ssh runs in.
    pub(crate) fn look(config: &Config) -> anyhow::Result<Self> {
        let host = config.ssh_host.clone().ok_or_else(|| {
            Error::usage("agentvm.provider is 'ssh', but agentvm.sshHost is not set")
                .hint("git config --global agentvm.sshHost USER@HOST")
        })?;
        let file = config.ssh_config.as_ref().map(std::path::absolute).transpose()?;
        if let Some(file) = file.as_ref().filter(|file| !file.is_file()) {
            return Err(Error::usage(format!(
                "agentvm.sshConfig: there is no file {}",
                file.display()
            ))
            .hint("git config --show-origin agentvm.sshConfig shows where it is set")
            .into());
        }
        // Another host or configuration is another connection: its master must not be shared.
        let mut identity = host.clone().into_bytes();
        identity.push(0);
        identity.extend(file.iter().flat_map(|file| file.as_os_str().as_bytes()));
        let name = crate::hash::short(identity, 8);
        let dir = state::place()?.join("ssh").join(name);
        let endpoint = Endpoint {
            dir,
            destination: host,
            port: None,
            identity: None,
            pinned: None,
            config: file,
        };
        Ok(Self { endpoint })
    }

    /// The way there; its directory may be missing after [`SshHost::look`].
    pub(crate) fn way(&self) -> &Endpoint {
        &self.endpoint
    }

    fn refuse(&self, what: &str) -> anyhow::Error {
        Error::failed(format!(
            "cannot {what} {}: with agentvm.provider=ssh the host is run by others",
            self.describe()
        ))
        .hint(format!("log in there to {what} it, or unset agentvm.provider to use a VM of Lima"))
        .into()
    }
}

impl Provider for SshHost {
    fn describe(&self) -> String {
        format!("host '{}'", crate::sanitize::text(&self.endpoint.destination))
    }

    /// Always running: whether it answers is learned by the session that needs it, and said there.
    fn status(&self) -> anyhow::Result<Status> {
        Ok(Status { state: State::Running, cpus: None, memory: None, disk: None })
    }

    fn start(&self, asked: Resources, _absent: IfAbsent) -> anyhow::Result<Status> {
        Err(self.refuse(if asked == Resources::default() { "start" } else { "resize" }))
    }

    fn stop(&self) -> anyhow::Result<()> {
        Err(self.refuse("stop"))
    }

    fn delete(&self) -> anyhow::Result<()> {
        Err(self.refuse("destroy"))
    }

    fn endpoint(&self) -> anyhow::Result<Option<Endpoint>> {
        Ok(Some(self.endpoint.clone()))
    }

    fn has_lifecycle(&self) -> bool {
        false
    }

    fn stopped_on_purpose(&self) -> bool {
        false
    }
}
