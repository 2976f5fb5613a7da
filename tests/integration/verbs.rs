//! The thin verbs `push` and `fetch`, and what the lifecycle verbs do with provider ssh.

use crate::support::Lab;

#[test]
fn push_verb_makes_the_workspace_and_enrols() {
    let lab = Lab::with_home("home");
    lab.make_app();
    lab.agent_vm("push feature").succeeds();
    assert_eq!(lab.workspace("app-feature").tip("HEAD"), lab.app().tip("feature"));
    lab.git("config --get remote.agentvm::feature.push").succeeds();
}

#[test]
fn push_verb_makes_a_branch_that_nobody_has_from_head() {
    let lab = Lab::new();
    lab.agent_vm("push idea").succeeds();
    assert_eq!(lab.app().tip("idea"), lab.app().tip("main"));
    assert_eq!(lab.workspace("app-idea").tip("HEAD"), lab.app().tip("main"));
}

#[test]
fn push_verb_says_fetch_where_only_the_workspace_has_the_branch() {
    let lab = Lab::new();
    lab.git("push -q agentvm::idea main:refs/heads/idea").succeeds();
    let before = lab.workspace("app-idea").snapshot();
    lab.agent_vm("push idea").fails(1).stderr_has("git agent-vm fetch idea");
    assert_eq!(lab.app().tip("idea"), "");
    assert_eq!(lab.workspace("app-idea").snapshot(), before);
}

#[test]
fn push_verb_passes_a_rejection_on() {
    let lab = Lab::new();
    lab.pushed_feature().commit("agent.txt", "agent\n");
    lab.app().commit_on("feature", "host.txt", "host\n");
    lab.agent_vm("push feature")
        .fails(1)
        .stderr_has("rejected")
        .stderr_has("git agent-vm fetch feature");
}

#[test]
fn fetch_verb_fast_forwards_a_branch_that_is_not_checked_out() {
    let lab = Lab::new();
    let agents = lab.pushed_feature().commit("agent.txt", "agent\n");
    lab.agent_vm("fetch feature").succeeds();
    assert_eq!(lab.app().tip("feature"), agents);
    assert!(!lab.app().has("agent.txt"));
}

#[test]
fn fetch_verb_merges_into_a_branch_that_is_checked_out() {
    // phantompane/phantom#203
    let lab = Lab::new();
    let agents = lab.pushed_feature().commit("agent.txt", "agent\n");
    lab.git("checkout -q feature").succeeds();
    lab.agent_vm("fetch feature").succeeds();
    assert_eq!(lab.app().tip("feature"), agents);
    assert_eq!(lab.app().read("agent.txt"), "agent\n");
    lab.git("status --porcelain").succeeds().stdout_is("");
}

#[test]
fn fetch_verb_merges_diverged_work_of_the_branch_that_is_checked_out() {
    let lab = Lab::new();
    let agents = lab.pushed_feature().commit("agent.txt", "agent\n");
    lab.git("checkout -q feature").succeeds();
    let ours = lab.app().commit("host.txt", "host\n");
    // git's own question is asked first, as `git pull` would.
    lab.agent_vm("fetch feature").fails(1).stderr_has("git pull");
    assert_eq!(lab.app().tip("HEAD"), ours);
    lab.git_config("pull.rebase", "false");
    lab.agent_vm("fetch feature").succeeds();
    lab.git("log -1 --format=%P").succeeds().stdout_is(&format!("{ours} {agents}"));
}

#[test]
fn fetch_verb_never_moves_a_diverged_branch() {
    let lab = Lab::new();
    let agents = lab.pushed_feature().commit("agent.txt", "agent\n");
    let ours = lab.app().commit_on("feature", "host.txt", "host\n");
    lab.agent_vm("fetch feature").fails(1).stderr_has("feature").stderr_has("hint: ");
    assert_eq!(lab.app().tip("feature"), ours);
    assert!(lab.app().refs("refs/agentvm/keep").contains(&agents));
}

#[test]
fn fetch_verb_respects_a_branch_checked_out_in_a_linked_worktree() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.git("worktree add -q ../linked feature").succeeds();
    workspace.commit("agent.txt", "agent\n");
    let ran = lab.agent_vm("fetch feature").run();
    let linked = lab.repo("linked");
    let state = linked.git("status --porcelain").succeeds().text();
    assert!(state.is_empty(), "the files of the linked worktree no longer fit its branch\n{ran}");
}

#[test]
fn fetch_verb_makes_a_branch_that_the_host_lacks() {
    let lab = Lab::new();
    lab.git("push -q agentvm::idea main:refs/heads/idea").succeeds();
    let agents = lab.workspace("app-idea").commit("agent.txt", "agent\n");
    lab.agent_vm("fetch idea").succeeds();
    assert_eq!(lab.app().tip("idea"), agents);
}

#[test]
fn fetch_verb_runs_no_hook_that_the_agent_brought() {
    let lab = Lab::new();
    let app = lab.app();
    app.git("checkout -q feature").succeeds();
    app.git("config core.hooksPath .hooks").succeeds();
    let workspace = lab.pushed_feature();
    workspace
        .sh("mkdir .hooks; for hook in post-merge post-checkout reference-transaction pre-merge-commit; do
                printf '#!/bin/sh\\ntouch ../pwned\\n' >.hooks/$hook; chmod +x .hooks/$hook; done
            git add -A; git commit -qm hooks")
        .succeeds();
    lab.agent_vm("fetch feature").succeeds();
    workspace.commit("more.txt", "more\n");
    lab.agent_vm("fetch feature").succeeds();
    assert_eq!(app.read("more.txt"), "more\n");
    assert!(!lab.home().join("pwned").exists());
}

#[test]
fn fetch_verb_without_a_workspace_is_exit_code_4() {
    let lab = Lab::new();
    lab.agent_vm("fetch feature").fails(4).stderr_has("git agent-vm push feature");
}

#[test]
fn unreachable_guest_is_exit_code_1() {
    let lab = Lab::new();
    lab.pushed_feature();
    lab.stop_sshd();
    for verb in ["push feature", "fetch feature", "clean feature", "clean-all"] {
        lab.agent_vm(verb).fails(1).stderr_has("cannot reach").took_under_seconds(30);
    }
}

#[test]
fn lifecycle_verbs_say_what_they_cannot_do_with_a_host_of_others() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    for verb in ["stop", "destroy", "destroy --force"] {
        lab.agent_vm(verb).fails(1).stderr_has("provider=ssh").stderr_has("hint: ");
    }
    lab.agent_vm("start --memory 8GiB").run().stderr_has("ssh");
    assert!(workspace.exists());
}

#[test]
fn quiet_verbs_say_nothing_when_all_is_well() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.agent_vm("-q push feature").succeeds().stderr_is("").stdout_is("");
    workspace.commit("agent.txt", "agent\n");
    lab.agent_vm("-q fetch feature").succeeds().stderr_is("").stdout_is("");
    lab.agent_vm("-q clean feature").succeeds().stderr_is("");
}
