//! `git agent-vm start`: make the VM, or start it, and set it up.

use std::process::ExitCode;

use crate::cli::mount;
use crate::config::{self, Config, ProviderKind, UnknownKeys};
use crate::git::Repo;
use crate::guest::Guest;
use crate::handover::Unset;
use crate::provision::{Plan, Wanted};
use crate::trash;
use crate::ui;
use crate::vm::{self, IfAbsent, Provider, Resources, Status};

/// Make the VM, or start it
///
/// Sets it up with what common/ names, and puts Google's credentials of yours into it, if there are
/// any; so does whatever else makes or starts it. git config --global agentvm.credentials none, before
/// that, keeps them out.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Virtual processors (a new VM: as many as this machine has, at most 4)
    #[arg(long, visible_alias = "vcpu", value_name = "N", value_parser = config::parse_cpus)]
    cpus: Option<u32>,
    /// Memory; a number without a unit is GiB (a new VM: 8GiB, at most half of this machine's)
    #[arg(long, value_name = "SIZE", value_parser = config::parse_memory)]
    memory: Option<u64>,
    /// Disk; it takes up only what is used, and can grow later but not shrink (a new VM: 100GiB)
    #[arg(long, value_name = "SIZE", value_parser = config::parse_disk)]
    disk: Option<u64>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let repo = Repo::discover()?;
    let config = Config::load(repo.as_ref(), UnknownKeys::Refuse)?;
    let provider = vm::provider(&config)?;
    let asked = Resources { cpus: args.cpus, memory: args.memory, disk: args.disk };
    // What is wrong in common/ is said before anything is made.
    let plan = Plan::load(&config, Unset::Goes)?;
    if config.provider == ProviderKind::Ssh {
        if asked != Resources::default() {
            // Says that the host is run by others.
            provider.start(asked, IfAbsent::Fail)?;
        }
        ui::note(&format!(
            "the {} is run by others: there is nothing to start",
            provider.describe()
        ));
        if let Some(endpoint) = provider.endpoint()? {
            trash::sweep(&Guest::new(endpoint, provider.describe()), &config);
        }
        return offer(repo.as_ref(), &config);
    }
    let status = provider.start(asked, IfAbsent::Make)?;
    let endpoint = vm::endpoint(provider.as_ref())?;
    plan.apply(&config, &endpoint, &provider.describe(), Wanted::default())?;
    say_what_runs(provider.as_ref(), &status);
    let guest = Guest::new(endpoint, provider.describe());
    mount::automatically(&config, &guest);
    trash::sweep(&guest, &config);
    offer(repo.as_ref(), &config)
}

fn offer(repo: Option<&Repo>, config: &Config) -> anyhow::Result<ExitCode> {
    if let Some(repo) = repo {
        offer_branch(repo, config)?;
    } else {
        ui::hint("in a repository: git push agentvm::BRANCH");
    }
    Ok(ExitCode::SUCCESS)
}

fn say_what_runs(provider: &dyn Provider, status: &Status) {
    let mut text = format!("the {} is {}", provider.describe(), status.state.word());
    if let (Some(cpus), Some(memory), Some(disk)) = (status.cpus, status.memory, status.disk) {
        text = format!("{text}: {cpus} cpus, {} memory, {} disk", ui::size(memory), ui::size(disk));
    }
    ui::note(&text);
}

/// Makes the branch that is checked out ready to be pushed, and says how.
fn offer_branch(repo: &Repo, config: &Config) -> anyhow::Result<()> {
    let Some(branch) = repo.head_branch()? else {
        ui::hint("git push agentvm::BRANCH sends a branch of this repository to the VM");
        return Ok(());
    };
    if repo.branch_tip(&branch)?.is_none() {
        ui::hint(&format!("after the first commit: git push agentvm::{}", branch.in_shell()));
        return Ok(());
    }
    if config.enrolment(&branch).is_none() {
        repo.enrol(&branch)?;
    }
    ui::hint(&format!("git push agentvm::{} sends this branch to the VM", branch.in_shell()));
    ui::hint(&format!("git agent-vm connect {} opens a shell there", branch.in_shell()));
    Ok(())
}
