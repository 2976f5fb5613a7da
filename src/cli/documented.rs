//! The command lines that the documentation and the help texts show, parsed as the program would.

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};

use super::Cli;

/// Everything a user reads, as plain text.
fn texts() -> Vec<(String, String)> {
    let plain = |roff: &str| {
        let text = ["\\fB", "\\fI", "\\fR"]
            .iter()
            .fold(roff.to_owned(), |text, font| text.replace(font, "`"));
        text.replace("\\-", "-")
    };
    let mut texts = vec![
        ("README.md".to_owned(), include_str!("../../README.md").to_owned()),
        ("CONTRIBUTING.md".to_owned(), include_str!("../../CONTRIBUTING.md").to_owned()),
        ("common/README.md".to_owned(), include_str!("../../common/README.md").to_owned()),
        ("git-agent-vm.roff".to_owned(), plain(include_str!("../../man/git-agent-vm.roff"))),
        ("git-remote-agentvm.1".to_owned(), plain(include_str!("../../man/git-remote-agentvm.1"))),
    ];
    for verb in Cli::command().get_subcommands() {
        let help = [verb.get_long_about(), verb.get_about(), verb.get_after_help()];
        let help: Vec<String> = help.into_iter().flatten().map(ToString::to_string).collect();
        texts.push((format!("help of {}", verb.get_name()), help.join("\n")));
    }
    texts
}

/// The words of `git agent-vm …` as a shell would have them, up to where the command ends: a pipe,
/// a redirection, a comment, the end of the inline code, or an explanation beside it.
fn words(line: &str) -> Vec<String> {
    let mut words = vec!["git-agent-vm".to_owned()];
    let mut word = String::new();
    let mut quote = None;
    let mut blanks = 0;
    for c in line.chars() {
        match (quote, c) {
            (Some(end), _) if c == end => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ') => {
                blanks += 1;
                if blanks > 1 {
                    break;
                }
                words.push(std::mem::take(&mut word));
                continue;
            }
            (None, '|' | '>' | '<' | '&' | ';' | '#' | '`' | ',' | ')' | '(' | '\n') => break,
            _ => word.push(c),
        }
        blanks = 0;
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn command_lines_of_the_documentation_are_ours() {
    let mut seen = 0;
    for (file, text) in texts() {
        for (at, found) in text.match_indices("git agent-vm ") {
            let line = text[at + found.len()..].lines().next().unwrap_or_default();
            // In running text the command ends where the inline code does, or nobody can tell.
            let before = text[..at].lines().next_back().unwrap_or_default();
            let inline = text[..at].ends_with('`');
            let alone =
                before.trim().is_empty() || before.ends_with("$ ") || before.ends_with("&& ");
            if !inline && !alone {
                continue;
            }
            let words = words(line);
            if words.len() == 1 {
                continue;
            }
            // A verb may be spoken of by its name alone.
            let fine = |error: &clap::Error| match error.kind() {
                ErrorKind::DisplayHelp => true,
                ErrorKind::MissingRequiredArgument => inline && words.len() == 2,
                _ => false,
            };
            if let Err(error) = Cli::try_parse_from(&words)
                && !fine(&error)
            {
                panic!("{file} shows: git agent-vm {line}\nread as {words:?}\n{error}");
            }
            seen += 1;
        }
    }
    assert!(seen > 30, "only {seen} command lines were found");
}

#[test]
fn words_are_a_shells() {
    let line = "connect feature -- sh -c 'a | b'      a line for a shell";
    assert_eq!(words(line), ["git-agent-vm", "connect", "feature", "--", "sh", "-c", "a | b"]);
    assert_eq!(words("fetch feature && git merge feature"), ["git-agent-vm", "fetch", "feature"]);
}
