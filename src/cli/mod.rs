//! `git agent-vm`: the words on the command line, one file a verb with its `Args` and `run`.

use std::process::ExitCode;

use clap::Parser;

use crate::error;
use crate::ui;

mod start;
mod stop;

/// Give coding agents a VM of their own, one workspace a branch, and get their work back by git.
#[derive(Debug, Parser)]
#[command(name = "git-agent-vm", bin_name = "git agent-vm", version, max_term_width = 100)]
struct Cli {
    /// Say nothing but errors, warnings and what was asked for
    #[arg(short, long, global = true)]
    quiet: bool,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Color,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Start(start::Args),
    Stop(stop::Args),
}

/// Runs the verb that the command line names.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    ui::set_quiet(cli.quiet);
    ui::set_colour(match cli.color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    });
    let outcome: anyhow::Result<ExitCode> = match &cli.verb {
        Verb::Start(args) => start::run(args),
        Verb::Stop(args) => stop::run(args),
    };
    outcome.unwrap_or_else(|error| error::report(&error))
}
