//! The manual page `man/git-agent-vm.1`: made from the command line's definition, completed by the
//! hand-written `man/git-agent-vm.roff`.

use clap::{Command, CommandFactory as _};
use clap_mangen::{Man, roff::Roff};

use super::Cli;
use crate::loss::rebuildable::{REBUILDABLE_DIRS, REBUILDABLE_FILES};

fn page() -> String {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let version = format!("git-agent-vm {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(root.clone())
        .title("git-agent-vm")
        .section("1")
        .date(DATE)
        .source(version)
        .manual("git-agent-vm manual");
    let mut bytes = Vec::new();
    man.render_title(&mut bytes).unwrap();
    man.render_name_section(&mut bytes).unwrap();
    man.render_synopsis_section(&mut bytes).unwrap();
    bytes.extend_from_slice(b".SH DESCRIPTION\n");
    bytes.extend_from_slice(DESCRIPTION.as_bytes());
    bytes.extend_from_slice(b".SH OPTIONS\n");
    bytes.extend(arguments(&root, |_| true));
    bytes.extend_from_slice(b".SH COMMANDS\n");
    for verb in root.get_subcommands() {
        render_verb(verb, &mut bytes);
        for action in verb.get_subcommands() {
            render_verb(action, &mut bytes);
        }
    }
    let names = |names: &[&str]| {
        names.iter().map(|name| format!("\\fI{}\\fR", escape(name))).collect::<Vec<_>>().join(", ")
    };
    let by_hand = include_str!("../../man/git-agent-vm.roff")
        .replace("@REBUILDABLE_DIRS@", &names(REBUILDABLE_DIRS))
        .replace("@REBUILDABLE_FILES@", &names(REBUILDABLE_FILES));
    bytes.extend_from_slice(by_hand.as_bytes());
    String::from_utf8(bytes).unwrap()
}

/// When the pages last changed in substance.
const DATE: &str = "2026-11-26";

const DESCRIPTION: &str = "\
A branch gets a repository of its own, its \\fIworkspace\\fR, inside one VM, where a coding agent may do as it likes.
The host reaches it with ordinary git: \\fBgit push agentvm::feature\\fR, \\fBgit pull agentvm::feature\\fR.
";

fn render_verb(verb: &Command, bytes: &mut Vec<u8>) {
    let usage = verb.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    bytes.extend_from_slice(format!(".SS \"{}\"\n", escape(usage)).as_bytes());
    let about = verb.get_long_about().or(verb.get_about()).unwrap().to_string();
    let about = about.split("\n\n").map(|paragraph| escape(&paragraph.replace('\n', " ")));
    bytes.extend_from_slice(about.collect::<Vec<_>>().join("\n.PP\n").as_bytes());
    bytes.push(b'\n');
    bytes.extend(arguments(verb, |argument| !argument.is_global_set()));
    if let Some(after) = verb.get_after_help() {
        let text: String = after.to_string().lines().map(|line| escape(line) + "\n").collect();
        bytes.extend_from_slice(format!(".PP\n.nf\n{text}.fi\n").as_bytes());
    }
}

fn arguments(command: &Command, wanted: impl Fn(&clap::Arg) -> bool) -> Vec<u8> {
    let mut roff = Roff::new();
    let all = command.get_arguments().filter(|argument| wanted(argument));
    for argument in all.filter(|argument| argument.get_id() != "help" && !argument.is_hide_set()) {
        let mut help = argument
            .get_long_help()
            .or(argument.get_help())
            .unwrap()
            .to_string()
            .replace('\n', " ");
        let values: Vec<String> = argument
            .get_possible_values()
            .iter()
            .map(|value| value.get_name().to_owned())
            .collect();
        if argument.get_action().takes_values() && !values.is_empty() {
            help = format!("{help}: {}", values.join(", "));
        }
        if argument.get_action().takes_values() {
            let defaults: Vec<_> =
                argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
            if !defaults.is_empty() {
                help = format!("{help} [default: {}]", defaults.join(" "));
            }
        }
        if let Some(aliases) = argument.get_visible_aliases() {
            let aliases: Vec<String> = aliases.iter().map(|name| format!("--{name}")).collect();
            help = format!("{help} [alias: {}]", aliases.join(", "));
        }
        let shown = argument.to_string();
        let shown = match argument.get_short() {
            Some(short) if argument.get_long().is_some() => format!("-{short}, {shown}"),
            _ => shown,
        };
        roff.control("TP", []).text([clap_mangen::roff::bold(shown)]);
        roff.text([clap_mangen::roff::roman(help)]);
    }
    roff.render().trim_start_matches(APOSTROPHES).as_bytes().to_owned()
}

/// What every rendered piece begins with; once is enough.
const APOSTROPHES: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

fn escape(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-");
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}

#[test]
fn man_page_says_what_the_command_line_is() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/man/git-agent-vm.1");
    let page = page();
    if std::env::var_os("UPDATE_MAN").is_some() {
        fs_err::write(path, &page).unwrap();
    }
    let stored = fs_err::read_to_string(path).unwrap();
    assert!(stored == page, "out of date; make it anew with: UPDATE_MAN=1 cargo test --lib man");
}

#[test]
fn man_pages_name_this_version() {
    let stored = include_str!("../../man/git-remote-agentvm.1");
    assert!(stored.contains(&format!("git\\-agent\\-vm {}\"", env!("CARGO_PKG_VERSION"))));
}
