//! `git agent-vm completions SHELL`: the command line's words for a shell.
//!
//! Made from the command line's definition. What a generator for any program makes does not serve
//! here: the verbs have to be found behind `git agent-vm` as well, and branches are asked of git.

use std::process::ExitCode;

use clap::{Arg, Command, CommandFactory as _};

use crate::ui;

/// Print the completion of verbs, options and branches for a shell
///
/// It serves `git agent-vm` and `git-agent-vm`. In bash and zsh the former needs the shell's
/// completion of git, which calls this one.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  git agent-vm completions bash >~/.git-agent-vm.bash   and in ~/.bashrc: source ~/.git-agent-vm.bash
  git agent-vm completions zsh >DIR/_git-agent-vm       with DIR in $fpath
  git agent-vm completions fish >~/.config/fish/conf.d/git-agent-vm.fish")]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

// The others can fail.
#[allow(clippy::unnecessary_wraps)]
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut root = super::Cli::command().disable_help_subcommand(true);
    root.build();
    ui::data(&match args.shell {
        Shell::Bash => bash(&root),
        Shell::Zsh => zsh(&root),
        Shell::Fish => fish(&root),
    });
    Ok(ExitCode::SUCCESS)
}

fn bash(root: &Command) -> String {
    let mut first: Vec<String> =
        root.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    first.extend(options(root));
    let mut words = vec![format!("    '') printf '%s\\n' {} ;;", first.join(" "))];
    for verb in root.get_subcommands() {
        let values = actions(verb).chain(places(verb).flat_map(values));
        let list: Vec<String> = values.chain(options(verb)).collect();
        words.push(format!("    {}) printf '%s\\n' {} ;;", verb.get_name(), list.join(" ")));
    }
    let mut valued = Vec::new();
    let (mut known, mut free) = (Vec::new(), Vec::new());
    for (verb, option) in options_with_values(root) {
        let names: Vec<String> =
            names(option).into_iter().map(|name| format!("{verb}:{name}")).collect();
        let names = names.join(" | ");
        match values(option).join(" ") {
            choices if choices.is_empty() => free.push(names.clone()),
            choices => known.push(format!("        {names}) printf '%s\\n' {choices}; exit ;;")),
        }
        valued.push(names);
    }
    include_str!("completions/bash.sh")
        .replace("@WORDS@", &words.join("\n"))
        .replace("@VALUES@", &known.join("\n"))
        .replace("@FREE@", &free.join(" | "))
        .replace("@VALUED@", &valued.join(" | "))
        .replace(
            "@BRANCH@",
            &of_branches(root).map(|verb| format!("{verb}:0")).collect::<Vec<_>>().join(" | "),
        )
        .replace(
            "@TRASH@",
            &of_trash(root).map(|verb| format!("{verb}:0")).collect::<Vec<_>>().join(" | "),
        )
}

fn zsh(root: &Command) -> String {
    let verbs: Vec<String> = root
        .get_subcommands()
        .map(|verb| format!("        {}", quoted(&format!("{}:{}", verb.get_name(), about(verb)))))
        .collect();
    let arguments = |command: &Command| -> Vec<String> {
        shown_options(command)
            .flat_map(|option| {
                let help = help(option).replace('[', "\\[").replace(']', "\\]");
                let takes = option.get_action().takes_values();
                let value = if takes {
                    format!(":value:({})", values(option).join(" ")).replace("()", " ")
                } else {
                    String::new()
                };
                names(option).into_iter().map(move |name| {
                    // `--name=` may have its value in the same word.
                    let equals = if takes && name.starts_with("--") { "=" } else { "" };
                    format!("{} \\", quoted(&format!("{name}{equals}[{help}]{value}")))
                })
            })
            .collect()
    };
    let mut cases = Vec::new();
    for verb in root.get_subcommands() {
        let mut lines = arguments(verb);
        lines.extend(places(verb).map(|place| {
            if place.get_id() == "branch" {
                "'1:branch:__git_agent_vm_branches' \\".to_owned()
            } else if place.get_id() == "name" {
                "'1:name:__git_agent_vm_trash' \\".to_owned()
            } else if place.is_last_set() {
                "'*::command: _normal' \\".to_owned()
            } else {
                format!("'1:{}:({})' \\", place.get_id(), values(place).join(" "))
            }
        }));
        if verb.has_subcommands() {
            let names: Vec<String> = actions(verb).collect();
            lines.push(format!("'1:action:({})' \\", names.join(" ")));
        }
        cases.push(format!(
            "        {})\n            _arguments \\\n                {}\n            ;;",
            verb.get_name(),
            lines.join("\n                ").trim_end_matches(" \\")
        ));
    }
    include_str!("completions/zsh.zsh")
        .replace("@VERBS@", &verbs.join("\n"))
        .replace("@GLOBAL@", &format!("        {}", arguments(root).join("\n        ")))
        .replace("@CASES@", &cases.join("\n"))
}

fn fish(root: &Command) -> String {
    let mut out = include_str!("completions/fish.fish").to_owned();
    let mut add = |when: &str, rest: &str| {
        out.push_str(&format!("complete -c git-agent-vm -n {} {rest}\n", fish_quoted(when)));
    };
    let options = |command: &Command| -> Vec<String> {
        let all = shown_options(command);
        all.map(|option| {
            let mut words = Vec::new();
            words.extend(option.get_short().map(|short| format!("-s {short}")));
            words.extend(
                option
                    .get_long_and_visible_aliases()
                    .unwrap_or_default()
                    .iter()
                    .map(|long| format!("-l {long}")),
            );
            if option.get_action().takes_values() {
                words.push(format!("-x -a '{}'", values(option).join(" ")));
            }
            words.push(format!("-d {}", fish_quoted(&help(option))));
            words.join(" ")
        })
        .collect()
    };
    for option in options(root) {
        add("__fish_use_subcommand", &option);
    }
    for verb in root.get_subcommands() {
        add(
            "__fish_use_subcommand",
            &format!("-a {} -d {}", verb.get_name(), fish_quoted(&about(verb))),
        );
        let seen = format!("__fish_seen_subcommand_from {}", verb.get_name());
        for option in options(verb) {
            add(&seen, &option);
        }
        if verb.has_subcommands() {
            let names: Vec<String> = actions(verb).collect();
            add(&seen, &format!("-a '{}'", names.join(" ")));
        }
        for values in places(verb).map(values).filter(|values| !values.is_empty()) {
            add(&seen, &format!("-a '{}'", values.join(" ")));
        }
    }
    let verbs: Vec<&str> = of_branches(root).collect();
    let seen = format!("__fish_seen_subcommand_from {}", verbs.join(" "));
    // Branches, and workspaces that the repository knows of, whether it has the branch or not.
    for lines in [
        "git for-each-ref --format='%(refname:strip=2)' refs/heads 2>/dev/null",
        "git config --name-only --get-regexp '^remote\\.agentvm::.*\\.push\\$' 2>/dev/null | \
         sed 's/^remote\\.agentvm:://; s/\\.push\\$//'",
    ] {
        add(&seen, &format!("-a \"({lines})\""));
    }
    for verb in of_trash(root) {
        let seen = format!("__fish_seen_subcommand_from {verb}");
        add(&seen, "-a \"(git-agent-vm restore --names 2>/dev/null)\"");
    }
    out
}

/// Options that take a value, each with its verb, or `*` for those that all verbs have: a verb may
/// have an option without a value that is called the same.
fn options_with_values(root: &Command) -> impl Iterator<Item = (&str, &Arg)> {
    let global = root.get_opts().map(|option| ("*", option));
    global.chain(root.get_subcommands().flat_map(|verb| {
        let own = verb.get_opts().filter(|option| !option.is_global_set());
        own.map(|option| (verb.get_name(), option))
    }))
}

/// The verbs whose first place is a branch.
fn of_branches(root: &Command) -> impl Iterator<Item = &str> {
    with_place(root, "branch")
}

/// The verbs whose first place is what can be restored.
fn of_trash(root: &Command) -> impl Iterator<Item = &str> {
    with_place(root, "name")
}

fn with_place<'a>(root: &'a Command, id: &'a str) -> impl Iterator<Item = &'a str> {
    let takes = move |verb: &&Command| places(verb).any(|place| place.get_id() == id);
    root.get_subcommands().filter(takes).map(Command::get_name)
}

fn places(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_positionals()
}

/// The verbs of a verb, as `build` of `image`.
fn actions(command: &Command) -> impl Iterator<Item = String> {
    command.get_subcommands().map(|action| action.get_name().to_owned())
}

/// All options of a verb, and of its own verbs.
fn shown_options(command: &Command) -> impl Iterator<Item = &Arg> {
    let own = |option: &&Arg| !option.is_global_set() && option.get_id() != "help";
    let of_actions =
        command.get_subcommands().flat_map(move |action| action.get_arguments().filter(own));
    let shown = |argument: &&Arg| !argument.is_positional() && !argument.is_hide_set();
    command.get_arguments().chain(of_actions).filter(shown)
}

/// Their names.
fn options(command: &Command) -> impl Iterator<Item = String> {
    shown_options(command).flat_map(names)
}

/// `-m`, `--memory`.
fn names(option: &Arg) -> Vec<String> {
    let short = option.get_short().map(|short| format!("-{short}"));
    let long = option.get_long_and_visible_aliases().unwrap_or_default();
    short.into_iter().chain(long.iter().map(|long| format!("--{long}"))).collect()
}

fn values(argument: &Arg) -> Vec<String> {
    if !argument.get_action().takes_values() {
        return Vec::new();
    }
    argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect()
}

fn help(argument: &Arg) -> String {
    argument.get_help().map(ToString::to_string).unwrap_or_default()
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

/// For zsh: nothing is special between single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// For fish, where a backslash is special between single quotes.
fn fish_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
