//! `git agent-vm image remove`.

use std::process::ExitCode;

use crate::config::Config;
use crate::error::Error;
use crate::image::input::Input;
use crate::image::store::Store;
use crate::sanitize;
use crate::ui;

/// Remove images that were built here
///
/// No VM needs one: its disk is a copy.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Args {
    /// The image, by the name that list shows
    image: Option<String>,
    /// All of them
    #[arg(long)]
    all: bool,
    /// Those that do not fit the settings here
    #[arg(long)]
    unused: bool,
}

pub(super) fn run(args: &Args, config: &Config) -> anyhow::Result<ExitCode> {
    let store = Store::here()?;
    if let Some(name) = &args.image
        && store.get(name).is_none()
    {
        let name = sanitize::text(name);
        return Err(Error::not_found(format!("there is no image '{name}'"))
            .hint("git agent-vm image list shows those that there are")
            .into());
    }
    let kept = if args.unused { Some(Input::load(config)?.name()) } else { None };
    if store.all()?.is_empty() {
        ui::note("no image was built here");
        return Ok(ExitCode::SUCCESS);
    }
    let _lock = store.lock("git agent-vm image remove")?;
    let mut bytes = 0;
    let mut count = 0;
    for stored in store.all()? {
        let named = args.image.as_ref().is_none_or(|name| *name == stored.name);
        if named && kept.as_ref() != Some(&stored.name) {
            store.remove(&stored.name)?;
            bytes += stored.bytes;
            count += 1;
        }
    }
    ui::note(&format!("removed {} ({})", ui::count(count, "image"), ui::size(bytes)));
    if count > 0 {
        ui::hint("the VMs that were made from it stay as they are: their disks are copies");
    }
    Ok(ExitCode::SUCCESS)
}
