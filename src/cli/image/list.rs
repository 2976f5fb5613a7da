//! `git agent-vm image list`.

use std::process::ExitCode;

use serde::Serialize;

use crate::config::Config;
use crate::guest::now;
use crate::image::input::Input;
use crate::image::store::{Store, Stored};
use crate::sanitize;
use crate::ui;

/// List the images that were built here
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// One JSON document on standard output, for scripts
    #[arg(long)]
    json: bool,
}

/// `image list --json`, version 1.
#[derive(Debug, Serialize)]
struct Report {
    version: u32,
    /// The name of the image that fits the settings, whether it is there or not.
    wanted: String,
    images: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    path: String,
    /// Seconds since 1970.
    made: Option<i64>,
    bytes: u64,
    arch: Option<String>,
    /// Whether `start` would take it now.
    matches: bool,
    /// Why something of it is not known.
    error: Option<String>,
}

pub(super) fn run(args: &Args, config: &Config) -> anyhow::Result<ExitCode> {
    let report = Report::of(Input::load(config)?.name(), config, Store::here()?.all()?);
    if args.json {
        ui::data(&(serde_json::to_string_pretty(&report)? + "\n"));
        return Ok(ExitCode::SUCCESS);
    }
    if report.images.is_empty() {
        ui::note("no image was built here");
    } else {
        ui::data(&text(&report.images, now()));
    }
    if config.image.is_some() {
        ui::hint("agentvm.image is set, so start takes what that names");
    } else if !report.images.iter().any(|row| row.matches) {
        ui::hint(&format!(
            "git agent-vm image build makes the one for these settings, {}",
            report.wanted
        ));
    }
    Ok(ExitCode::SUCCESS)
}

impl Report {
    fn of(wanted: String, config: &Config, all: Vec<Stored>) -> Self {
        let row = |stored: Stored| {
            let matches = config.image.is_none() && stored.name == wanted;
            let made = stored.made();
            let (arch, error) = match stored.record {
                Ok(record) => (Some(sanitize::text(&record.arch).into_owned()), None),
                Err(why) => (None, Some(why)),
            };
            let path = stored.dir.display().to_string();
            Row { name: stored.name, path, made, bytes: stored.bytes, arch, matches, error }
        };
        let images = all.into_iter().map(row).collect();
        Self { version: 1, wanted, images }
    }
}

fn text(images: &[Row], now: i64) -> String {
    let mut rows = vec![["NAME", "BUILT", "SIZE", "ARCHITECTURE", "START"].map(str::to_owned)];
    rows.extend(images.iter().map(|row| {
        let start = match (&row.error, row.matches) {
            (Some(why), _) => format!("damaged: {why}"),
            (None, true) => "takes it for a new VM".to_owned(),
            (None, false) => "-".to_owned(),
        };
        [
            row.name.clone(),
            row.made.map_or("?".to_owned(), |made| ui::ago(now.saturating_sub(made))),
            ui::size(row.bytes),
            row.arch.clone().unwrap_or_else(|| "?".to_owned()),
            start,
        ]
    }));
    ui::table(&rows)
}
