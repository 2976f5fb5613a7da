//! Names of files and branches that mislead programs, and file systems.

use crate::support::Lab;

/// As a shell's `printf` writes them: not every one is UTF-8.
const NAMES: &[&str] =
    &["\\303\\244", "a b", "q\"", "tab\\there", "new\\nline", "x -> y", "latin-\\351"];

/// Feature with a file of each name.
fn lab() -> Lab {
    let lab = Lab::new();
    lab.git("checkout -q feature").succeeds();
    for name in NAMES {
        let script = format!("echo host >\"$(printf '{}')\"", name.replace('"', "\\042"));
        lab.sh(&script).succeeds();
    }
    lab.sh("git add . && git commit -qm names").succeeds();
    lab
}

/// What a refusal shows of the name at least: it is cleaned.
fn shown(name: &str) -> String {
    name.replace("\\303\\244", "ä").split('\\').next().unwrap().to_owned()
}

#[test]
fn push_onto_a_change_of_each_is_refused_and_names_it() {
    // career-ops-hq/career-ops#3417
    let lab = lab();
    let workspace = lab.pushed_feature();
    lab.app().commit("README.md", "changed\n");
    for name in NAMES {
        let script = format!("echo agent >\"$(printf '{}')\"", name.replace('"', "\\042"));
        workspace.sh(&script).succeeds();
        let before = workspace.snapshot();
        let ran = lab.git("push agentvm::feature").fails(1).shows_clean_text();
        // git status quotes.
        let quoted = shown(name).replace('"', "\\\"");
        assert!(ran.errors().contains(&quoted), "{name}\n{ran}");
        assert_eq!(workspace.snapshot(), before, "{name}");
        let status = lab.agent_vm("status --json").succeeds().json();
        assert_eq!(status["workspaces"][0]["changed"], 1, "{name}");
        workspace.sh("git checkout -q -- .").succeeds();
    }
    workspace.sh("git mv README.md 'x -> z'").succeeds();
    lab.git("push agentvm::feature").fails(1).stderr_has("README.md").stderr_has("x -> z");
}

#[test]
fn changed_file_beside_a_flagged_one_counts_once() {
    let lab = lab();
    let workspace = lab.pushed_feature();
    workspace
        .sh("git update-index --assume-unchanged README.md; echo agent >feature.txt")
        .succeeds();
    let changed =
        || lab.agent_vm("status --json").succeeds().json()["workspaces"][0]["changed"].clone();
    assert_eq!(changed(), 1);
    workspace.sh("echo agent >README.md").succeeds();
    assert_eq!(changed(), 2);
}

#[test]
fn push_over_an_untracked_file_of_each_is_refused_and_names_it() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.git("checkout -q feature").succeeds();
    for name in NAMES {
        let name_in_shell = name.replace('"', "\\042");
        let write = |who: &str| format!("echo {who} >\"$(printf '{name_in_shell}')\"");
        workspace.sh(&write("agent")).succeeds();
        lab.sh(&format!("{}; git add . && git commit -qm {who}", write("host"), who = "name"))
            .succeeds();
        let before = workspace.snapshot();
        let ran = lab.git("push agentvm::feature").fails(1).shows_clean_text();
        assert!(ran.errors().contains(&shown(name)), "{name}\n{ran}");
        assert_eq!(workspace.snapshot(), before, "{name}");
        workspace.sh("git clean -qfd").succeeds();
        lab.git("push -q agentvm::feature").succeeds();
    }
}

#[test]
fn names_that_differ_in_normal_form_stay_two() {
    // macos-fuse-t/fuse-t#114
    let lab = Lab::new();
    lab.git("checkout -q feature").succeeds();
    lab.app().write("caf\u{e9}", "composed\n");
    lab.app().write("cafe\u{301}", "decomposed\n");
    lab.sh("git add . && git commit -qm names").succeeds();
    let workspace = lab.pushed_feature();
    assert_eq!(workspace.read("caf\u{e9}"), "composed\n");
    assert_eq!(workspace.read("cafe\u{301}"), "decomposed\n");
    workspace.write("caf\u{e9}", "changed\n");
    workspace.write("cafe\u{301}", "changed too\n");
    lab.app().commit("README.md", "changed\n");
    let ran = lab.git("push agentvm::feature").fails(1);
    assert!(ran.errors().contains("caf\u{e9}") && ran.errors().contains("cafe\u{301}"), "{ran}");
    workspace.sh("git commit -qam both").succeeds();
    lab.git("fetch agentvm::feature").succeeds();
    lab.git("diff --name-only feature~ FETCH_HEAD -- caf*").succeeds();
    assert_eq!(lab.app().tip("FETCH_HEAD:cafe\u{301}"), workspace.tip("HEAD:cafe\u{301}"));
    lab.agent_vm("clean feature").succeeds();
}

#[test]
fn branches_that_a_file_system_cannot_hold_together_do_not_meet_in_refs_of_ours() {
    // stanfordnlp/dspy#1576: docs is a file, DOCS a directory, where case makes no difference.
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("git checkout -q -b docs").succeeds();
    let lower = workspace.commit("lower.txt", "lower\n");
    workspace.sh("git checkout -q feature; git pack-refs --all; git branch DOCS/x").succeeds();
    lab.git("fetch -q agentvm::feature docs DOCS/x").succeeds();
    let kept = lab.app().refs("refs/agentvm");
    assert!(kept.contains(&lower) && !kept.to_lowercase().contains("docs"), "{kept}");
    let names: Vec<_> = kept.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    let folded: std::collections::BTreeSet<_> =
        names.iter().map(|name| name.to_lowercase()).collect();
    assert_eq!(folded.len(), names.len());
    lab.git("push -q --force agentvm::feature main:docs").succeeds();
    let rescued = workspace.refs("refs/rescue");
    assert!(rescued.contains(&lower) && !rescued.to_lowercase().contains("docs"), "{rescued}");
}
