//! `git agent-vm ssh-config`: how other programs reach the VM by ssh.

use std::process::ExitCode;

use crate::config::{Config, ProviderKind, UnknownKeys};
use crate::error::Error;
use crate::git::Repo;
use crate::ui;
use crate::vm::{self, State};

/// Print an ssh configuration that leads to the VM
///
/// For ssh -F, scp, sftp, rsync and editors. Only prints it: your own ~/.ssh is neither read nor
/// changed. Starts nothing; the VM's port is another one after each start, so what was printed
/// before is out of date then.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  git agent-vm ssh-config >vm.conf
  ssh -F vm.conf agent-vm
  ssh -F vm.conf -L 8080:localhost:8080 agent-vm
  scp -F vm.conf agent-vm:workspace/app-feature/report.pdf .")]
pub(super) struct Args {}

pub(super) fn run(_args: &Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(Repo::discover()?.as_ref(), UnknownKeys::Refuse)?;
    let provider = vm::provider(&config)?;
    let Some(endpoint) = provider.endpoint()? else {
        return Err(unreachable(provider.as_ref()));
    };
    // The name by which a host of others is called decides what its own configuration says of it.
    let alias = (config.provider == ProviderKind::Lima).then_some(config.vm.as_str());
    ui::data_bytes(&endpoint.config_file(alias)?);
    let name = alias.unwrap_or(&endpoint.destination);
    let name = name.rsplit_once('@').map_or(name, |(_, host)| host);
    ui::hint(&format!("git agent-vm ssh-config >FILE, then ssh -F FILE {name}"));
    Ok(ExitCode::SUCCESS)
}

/// Why there is no way into the VM now.
fn unreachable(provider: &dyn vm::Provider) -> anyhow::Error {
    let status = match provider.status() {
        Ok(status) => status,
        Err(error) => return error,
    };
    let what = provider.describe();
    match status.state {
        State::Absent => Error::not_found(format!("there is no {what}"))
            .hint("git agent-vm start makes it")
            .into(),
        State::Broken(damage) => {
            let error = Error::failed(format!("the {what} is broken: {damage}"));
            damage.hints.into_iter().fold(error, Error::hint).into()
        }
        // A record that was not there to read yet: starting it takes it over.
        state => Error::failed(format!(
            "the {what} is {}: its ssh port is known when it runs",
            if state == State::Stopped { "stopped" } else { "not set up yet" }
        ))
        .hint("git agent-vm start starts it")
        .into(),
    }
}
