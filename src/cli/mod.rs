//! `git agent-vm`: the words on the command line, one file a verb with its `Args` and `run`.

use std::process::ExitCode;

use clap::Parser;

use crate::error;
use crate::ui;

mod clean;
mod clean_all;
mod common;
mod completions;
mod connect;
mod destroy;
mod diff;
mod doctor;
#[cfg(test)]
mod documented;
mod fetch;
mod image;
mod integrate;
mod kept;
#[cfg(test)]
mod man;
mod mount;
mod provision;
mod push;
mod restore;
mod restore_list;
mod ssh_config;
mod start;
mod status;
mod stop;
mod unmount;
mod verdict;

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
    Destroy(destroy::Args),
    Provision(provision::Args),
    Status(status::Args),
    Connect(connect::Args),
    Push(push::Args),
    Fetch(fetch::Args),
    Kept(kept::Args),
    Diff(diff::Args),
    Clean(clean::Args),
    CleanAll(clean_all::Args),
    Restore(restore::Args),
    Mount(mount::Args),
    Unmount(unmount::Args),
    Image(image::Args),
    Doctor(doctor::Args),
    SshConfig(ssh_config::Args),
    Completions(completions::Args),
}

/// Runs the verb that the command line names.
#[must_use]
pub fn main() -> ExitCode {
    if crate::mount::is_keeper(std::env::args_os()) {
        return crate::mount::keeper::main(std::env::args_os());
    }
    if crate::image::keeper::is_meant() {
        return crate::image::keeper::main();
    }
    // Run by git as the service of a session that this program has opened.
    if std::env::args_os().nth(1).is_some_and(|word| word == "--relay") {
        return crate::remote::main();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_usage(&error),
    };
    ui::set_quiet(cli.quiet);
    ui::set_colour(match cli.color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    });
    let outcome: anyhow::Result<ExitCode> = match &cli.verb {
        Verb::Start(args) => start::run(args),
        Verb::Stop(args) => stop::run(args),
        Verb::Destroy(args) => destroy::run(args),
        Verb::Provision(args) => provision::run(args),
        Verb::Status(args) => status::run(args),
        Verb::Connect(args) => connect::run(args),
        Verb::Push(args) => push::run(args),
        Verb::Fetch(args) => fetch::run(args),
        Verb::Kept(args) => kept::run(args),
        Verb::Diff(args) => diff::run(args),
        Verb::Clean(args) => clean::run(args),
        Verb::CleanAll(args) => clean_all::run(args),
        Verb::Restore(args) => restore::run(args),
        Verb::Mount(args) => mount::run(args),
        Verb::Unmount(args) => unmount::run(args),
        Verb::Image(args) => image::run(args),
        Verb::Doctor(args) => doctor::run(args),
        Verb::SshConfig(args) => ssh_config::run(args),
        Verb::Completions(args) => completions::run(args),
    };
    outcome.unwrap_or_else(|error| error::report(&error))
}

/// Help, the version, or what is wrong with the command line.
fn wrong_usage(error: &clap::Error) -> ExitCode {
    // Nobody is left to tell where the stream is closed.
    error.print().ok();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    let mut words = std::env::args_os().skip(1);
    // A command's own codes and ours must not meet.
    if words.any(|word| word == "connect") && words.any(|word| word == "--") {
        return ExitCode::from(connect::NOT_RUN);
    }
    ExitCode::from(error::Kind::Usage.code())
}
