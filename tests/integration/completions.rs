//! `completions`: the shells themselves with what it printed.

use std::path::PathBuf;

use crate::support::{Lab, Ran};

/// Calls what bash calls at a tab behind these words, and prints each answer between bars.
const TAB: &str = "source \"$1\" || exit 9
    git=$2 && shift 2
    if [ \"$1\" = git ]; then source \"$git\" || exit 9; fi
    COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1)) COMP_LINE=\"$*\" COMP_POINT=${#COMP_LINE}
    spec=$(complete -p \"$1\") && spec=${spec##*-F } && ${spec%% *}
    printf '|%s|\\n' \"${COMPREPLY[@]}\"";
/// git's own completion, as Debian has it.
const GITS_OWN: &str = "/usr/share/bash-completion/completions/git";

fn printed(lab: &Lab, shell: &str) -> PathBuf {
    let ran = lab.host("git-agent-vm", ["completions", shell]).succeeds().stderr_is("");
    let file = lab.path().join("completion");
    fs_err::write(&file, &ran.stdout).unwrap();
    file
}

fn bash(lab: &Lab, words: &[&str]) -> Ran {
    let file = printed(lab, "bash");
    let mut all = vec!["-c", TAB, "bash", file.to_str().unwrap(), GITS_OWN];
    all.extend(words);
    let all = all.iter().map(std::ffi::OsString::from).collect::<Vec<_>>();
    lab.host("bash", all).in_dir(lab.app().path()).succeeds().stderr_is("")
}

fn app() -> Lab {
    let lab = Lab::host_only("home");
    lab.make_app().enrol("gone/away.push");
    lab
}

#[test]
fn bash_completes_verbs_options_and_branches() {
    let lab = app();
    for command in [&["git-agent-vm"][..], &["git", "agent-vm"]] {
        let tab = |words: &[&str]| bash(&lab, &[command, words].concat()).text();
        assert_eq!(tab(&["cle"]), "|clean |\n|clean-all |");
        assert_eq!(tab(&["push", ""]), "|feature |\n|gone/away.push |\n|main |");
        assert_eq!(tab(&["-q", "connect", "f"]), "|feature |");
        assert_eq!(tab(&["diff", "--stat", "f"]), "|feature |");
        assert_eq!(tab(&["fetch", "--w"]), "|--wip |");
        // A workspace whose branch is not here.
        assert_eq!(tab(&["fetch", "g"]), "|gone/away.push |");
        assert_eq!(tab(&["--color", "never", "fetch", "m"]), "|main |");
        assert_eq!(tab(&["--color", "a"]), "|auto |\n|always |");
        assert_eq!(tab(&["start", "--m"]), "|--memory |");
        assert_eq!(tab(&["completions", ""]), "|bash |\n|zsh |\n|fish |");
        for nothing in [
            &["push", "feature", ""][..],
            &["connect", "feature", "--", ""],
            &["start", "--disk", ""],
        ] {
            assert_eq!(tab(nothing), "||", "{nothing:?}");
        }
        let verbs = tab(&[""]);
        assert!(verbs.contains("|ssh-config |") && verbs.contains("|start |"), "{verbs}");
    }
    // Of the repository that git is sent to.
    let other = lab.init("other");
    other.git("commit -q --allow-empty -m x").succeeds();
    other.git("branch elsewhere").succeeds();
    let ran = bash(&lab, &["git", "-C", "../other", "agent-vm", "push", "e"]);
    ran.stdout_is("|elsewhere |");
}

#[test]
fn what_can_be_restored_is_completed() {
    let lab = Lab::new();
    lab.pushed_feature();
    lab.agent_vm("clean feature").succeeds();
    let name = lab.guest_sh("ls workspace/.trash").succeeds().text();
    for command in [&["git-agent-vm"][..], &["git", "agent-vm"]] {
        let words = [command, &["restore", "app"]].concat();
        assert_eq!(bash(&lab, &words).text(), format!("|{name} |"));
        let words = [command, &["restore", "--drop", ""]].concat();
        assert_eq!(bash(&lab, &words).text(), format!("|{name} |"));
        let words = [command, &["restore", "--n"]].concat();
        assert_eq!(bash(&lab, &words).text(), "||");
    }
    // Nobody waits for a VM at a tab.
    lab.stop_sshd();
    assert_eq!(bash(&lab, &["git", "agent-vm", "restore", ""]).text(), "||");
    lab.hostile_guest("exec sleep 50");
    bash(&lab, &["git", "agent-vm", "restore", ""]).took_under_seconds(20);
}

#[test]
fn bash_runs_nothing_that_a_branch_is_named() {
    let lab = app();
    lab.git(["branch", "x$(touch${IFS}pwned)`touch${IFS}pwned`"]).succeeds();
    for command in [&["git-agent-vm", "push", "x"][..], &["git", "agent-vm", "push", "x"]] {
        bash(&lab, command).stdout_has("|x\\$\\(touch\\$\\{IFS\\}pwned\\)\\`touch");
    }
    assert!(!lab.app().has("pwned"));
}

#[test]
fn zsh_takes_the_completion() {
    let lab = app();
    if !has(&lab, "zsh") {
        return;
    }
    let file = printed(&lab, "zsh");
    let file = file.to_str().unwrap();
    let script = "compadd() { print -l -- ${(P)2} }; source $1; __git_agent_vm_branches";
    let ran = lab.host("zsh", ["-fc", script, "zsh", file]).in_dir(lab.app().path()).succeeds();
    ran.stdout_has("feature\nmain\ngone/away.push");
    lab.host("zsh", ["-fn", file]).succeeds().stderr_is("");
    let script = "autoload -U compinit && compinit -D && source $1 && echo $_comps[git-agent-vm]";
    lab.host("zsh", ["-fc", script, "zsh", file]).succeeds().stdout_is("_git-agent-vm");
}

#[test]
fn fish_completes_verbs_options_and_branches() {
    let lab = app();
    if !has(&lab, "fish") {
        return;
    }
    let dir = lab.home().join(".config/fish/conf.d");
    fs_err::create_dir_all(&dir).unwrap();
    fs_err::copy(printed(&lab, "fish"), dir.join("git-agent-vm.fish")).unwrap();
    let tab = |line: &str| {
        let words = ["-c", "complete -C $argv[1]", line];
        lab.host("fish", words).in_dir(lab.app().path()).succeeds().text()
    };
    for command in ["git-agent-vm", "git agent-vm"] {
        let verbs = tab(&format!("{command} cle"));
        assert!(verbs.contains("clean\t") && verbs.contains("clean-all\t"), "{verbs}");
        // A workspace whose branch is not here comes along.
        let all = "feature\ngone/away.push\nmain";
        assert_eq!(tab(&format!("{command} push ")), all, "{command}");
        assert_eq!(tab(&format!("{command} -q fetch m")), "main", "{command}");
        assert!(tab(&format!("{command} start --mem")).starts_with("--memory"), "{command}");
    }
}

fn has(lab: &Lab, shell: &str) -> bool {
    let has = lab.host("sh", ["-c", &format!("command -v {shell}")]).run().code == 0;
    if !has {
        eprintln!("left out: {shell} is not installed");
    }
    has
}
