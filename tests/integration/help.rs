//! The whole help, in one file: a change of what users read is seen in review.

use std::fmt::Write as _;

use crate::support::Lab;

#[test]
fn help_is_as_it_was_reviewed() {
    let lab = Lab::host_only("home");
    let help = |words: &[&str]| {
        let words = words.iter().map(std::ffi::OsString::from).collect::<Vec<_>>();
        let ran = lab.host("git-agent-vm", words).env("COLUMNS", "100").succeeds().stderr_is("");
        ran.text()
    };
    let main = help(&["--help"]);
    let verbs = verbs_of(&main);
    assert!(verbs.contains(&"start") && verbs.contains(&"status"), "{verbs:?}");
    let mut all = format!("$ git-agent-vm --help\n{main}\n");
    for verb in verbs {
        let its = help(&[verb, "--help"]);
        write!(all, "\n\n$ git-agent-vm {verb} --help\n{its}\n").unwrap();
        for action in verbs_of(&its) {
            let its = help(&[verb, action, "--help"]);
            write!(all, "\n\n$ git-agent-vm {verb} {action} --help\n{its}\n").unwrap();
        }
    }

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/data/help.txt");
    if std::env::var_os("UPDATE_HELP").is_some() {
        fs_err::write(path, &all).unwrap();
    }
    let reviewed = fs_err::read_to_string(path).unwrap();
    if let Some((number, (was, is))) =
        (1..).zip(reviewed.lines().zip(all.lines())).find(|(_, (was, is))| was != is)
    {
        panic!("line {number} of the help was:\n{was}\nand is:\n{is}\n{RENEW}");
    }
    assert!(reviewed == all, "the help is longer or shorter than it was\n{RENEW}");
}

fn verbs_of(help: &str) -> Vec<&str> {
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    commands
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .collect()
}

const RENEW: &str =
    "if that is meant: UPDATE_HELP=1 cargo test --test integration help:: and review the change";
