//! `git agent-vm image build`.

use std::process::ExitCode;
use std::time::Instant;

use crate::config::Config;
use crate::image::build::{self, Way};
use crate::image::input::Input;
use crate::ui;

/// Build the image that start takes for a new VM by these settings
///
/// From Debian's packages, by mmdebstrap: on Debian and Ubuntu as an ordinary user, in some minutes;
/// elsewhere in a VM that is made for it and deleted afterwards. Nothing is done where it is there
/// already.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Build it again, with the packages of today
    #[arg(long)]
    force: bool,
    /// Build it in a VM here too: for a user who has no namespaces with other users
    #[arg(long)]
    in_vm: bool,
}

pub(super) fn run(args: &Args, config: &Config) -> anyhow::Result<ExitCode> {
    // What is wrong in common/ is said before anything is looked for.
    let input = Input::load(config)?;
    let began = Instant::now();
    let (stored, made) = build::build(config, &input, Way { anew: args.force, in_vm: args.in_vm })?;
    let name = &stored.name;
    if made {
        let seconds = began.elapsed().as_secs();
        ui::note(&format!("made the image {name}: {} in {seconds} s", ui::size(stored.bytes)));
    } else {
        ui::note(&format!("the image {name} is there already"));
        ui::hint("git agent-vm image build --force builds it with the packages of today");
    }
    if config.image.is_some() {
        ui::hint("agentvm.image is set, so start takes what that names");
    } else {
        ui::hint("git agent-vm start takes it for a new VM; one that is there keeps its disk");
    }
    Ok(ExitCode::SUCCESS)
}
