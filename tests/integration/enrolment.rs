//! `git push agentvm::B` pushes B: what happens before and while that is made known to git.

use crate::support::Lab;

/// `app` without an enrolment, and with another remote: git then pushes the current branch.
fn lab_with_origin() -> Lab {
    let lab = Lab::with_home("home");
    lab.make_app();
    lab.git("remote add origin /nowhere").succeeds();
    lab
}

fn push_key(lab: &Lab, branch: &str) -> String {
    lab.git(["config", "--get", &format!("remote.agentvm::{branch}.push")]).run().text()
}

#[test]
fn enrolled_branch_is_pushed_from_another_one() {
    let lab = lab_with_origin();
    lab.git("push agentvm::feature").succeeds().stderr_has("main -> feature").stderr_has("hint: ");
    assert_eq!(push_key(&lab, "feature"), "refs/heads/feature:refs/heads/feature");
    lab.git("config --get remote.agentvm::feature.skipFetchAll").succeeds().stdout_is("true");
    let workspace = lab.workspace("app-feature");
    assert_eq!(workspace.tip("HEAD"), lab.app().tip("feature"));
    assert_eq!(workspace.tip("refs/heads/main"), "");
    // From now on git itself knows.
    let tip = lab.app().commit_on("feature", "more.txt", "more\n");
    lab.git("push agentvm::feature").succeeds().stderr_has("feature -> feature");
    assert_eq!(workspace.tip("HEAD"), tip);
}

#[test]
fn first_push_of_the_named_branch_says_so_in_porcelain_too() {
    let lab = lab_with_origin();
    lab.git("push --porcelain agentvm::feature")
        .succeeds()
        .stdout_has("refs/heads/main:refs/heads/feature");
}

#[test]
fn first_push_of_an_existing_branch_says_how_to_send_the_other() {
    let lab = lab_with_origin();
    lab.git("push agentvm::feature")
        .succeeds()
        .stderr_has("agentvm::feature")
        .stderr_has("git push agentvm::feature main:");
}

#[test]
fn push_to_a_branch_that_the_host_lacks_makes_it_from_head() {
    let lab = lab_with_origin();
    lab.git("push agentvm::idea").succeeds().stderr_has("main -> idea");
    let workspace = lab.workspace("app-idea");
    assert_eq!(workspace.tip("HEAD"), lab.app().tip("main"));
    workspace.git("symbolic-ref HEAD").succeeds().stdout_is("refs/heads/idea");
    assert_eq!(workspace.tip("refs/heads/main"), "");
}

#[test]
fn push_to_a_workspace_whose_branch_the_host_lacks_is_refused_with_both_commands() {
    let lab = lab_with_origin();
    lab.git("push -q agentvm::idea").succeeds();
    lab.git("config --remove-section remote.agentvm::idea").run();
    let workspace = lab.workspace("app-idea");
    lab.app().commit("more.txt", "more\n");
    let before = workspace.snapshot();
    let config = lab.app().config_bytes();
    lab.git("push agentvm::idea")
        .fails(1)
        .stderr_has("git agent-vm fetch idea")
        .stderr_has("git push agentvm::idea main:");
    assert_eq!(workspace.snapshot(), before);
    assert_eq!(lab.app().config_bytes(), config);
}

#[test]
fn current_branch_is_enrolled_by_its_first_push() {
    let lab = lab_with_origin();
    lab.git("checkout -q feature").succeeds();
    lab.git("push agentvm::feature").succeeds().stderr_has("feature -> feature");
    assert_eq!(push_key(&lab, "feature"), "refs/heads/feature:refs/heads/feature");
}

#[test]
fn push_verb_enrols_where_git_alone_would_not_start_the_helper() {
    let lab = Lab::with_home("home");
    lab.make_app();
    lab.git("push agentvm::feature").fails(128);
    lab.agent_vm("push feature").succeeds();
    let tip = lab.app().commit_on("feature", "more.txt", "more\n");
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(lab.workspace("app-feature").tip("HEAD"), tip);
}

#[test]
fn explicit_refspec_means_what_it_says() {
    let lab = lab_with_origin();
    lab.git("push agentvm::feature main:refs/heads/other").succeeds();
    let workspace = lab.workspace("app-feature");
    assert_eq!(workspace.tip("refs/heads/other"), lab.app().tip("main"));
    assert_eq!(workspace.tip("refs/heads/feature"), "");
}

#[test]
fn enrolled_repository_can_push_another_branch_by_name() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.git("push agentvm::feature main").succeeds();
    assert_eq!(workspace.tip("refs/heads/main"), lab.app().tip("main"));
    assert_eq!(workspace.tip("refs/heads/feature"), lab.app().tip("feature"));
}

#[test]
fn failed_push_changes_no_configuration() {
    // bluss/git-remote-gcrypt#20
    let lab = lab_with_origin();
    let before = lab.app().config_bytes();
    lab.stop_sshd();
    lab.git("push agentvm::feature").fails(128).stderr_has("cannot reach");
    assert_eq!(lab.app().config_bytes(), before);
    lab.start_sshd();
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(lab.workspaces(), ["app-feature"]);
}

#[test]
fn later_unreachable_push_keeps_the_repositorys_id() {
    let lab = Lab::new();
    lab.pushed_feature();
    let before = lab.app().config_bytes();
    lab.stop_sshd();
    lab.git("push agentvm::feature").fails(128).stderr_has("cannot reach");
    assert_eq!(lab.app().config_bytes(), before);
    lab.start_sshd();
    lab.app().commit_on("feature", "more.txt", "more\n");
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(lab.workspaces(), ["app-feature"]);
}

#[test]
fn dry_run_enrols_nothing() {
    let lab = lab_with_origin();
    lab.git("push -n agentvm::feature").succeeds();
    lab.git("config --get-regexp ^remote.agentvm").fails(1).stdout_is("");
}

#[test]
fn enrolment_never_sets_a_fetch_refspec() {
    let lab = lab_with_origin();
    lab.git("push -q agentvm::feature").succeeds();
    lab.git("config --get remote.agentvm::feature.fetch").fails(1);
}

#[test]
fn commands_that_only_show_settings_do_not_reach_for_the_vm() {
    // aws/git-remote-codecommit#52
    let lab = Lab::new();
    lab.pushed_feature();
    lab.git("remote add vm agentvm::").succeeds();
    lab.git("config branch.main.remote vm").succeeds();
    lab.git("config branch.main.merge refs/heads/main").succeeds();
    lab.stop_sshd();
    let sessions = lab.ssh_sessions_of(|| {
        for command in ["remote -v", "remote show -n vm", "status -sb", "branch -vv"] {
            lab.git(command).succeeds();
        }
    });
    assert_eq!(sessions, 0);
}

#[test]
fn tools_that_fetch_every_remote_leave_the_vm_alone() {
    // openclaw/openclaw#155070
    let lab = Lab::new();
    lab.pushed_feature();
    lab.stop_sshd();
    let sessions = lab.ssh_sessions_of(|| {
        lab.git("fetch --all").succeeds();
        lab.git("remote update").succeeds();
    });
    assert_eq!(sessions, 0);
    lab.git("remote").succeeds().stdout_is("agentvm::feature");
    lab.git("fetch agentvm::feature").fails(128).stderr_has("cannot reach").took_under_seconds(30);
}

#[test]
fn failed_first_push_takes_no_id_from_another_that_came_through() {
    let lab = Lab::new();
    let config = lab.path().join("ssh/silent");
    fs_err::write(&config, "Host vm\n ProxyCommand sleep 3\n").unwrap();
    let setting = format!("agentvm.sshConfig={}", config.display());
    let failing = lab.git(["-c", &setting, "push", "agentvm::main", "main"]).background();
    lab.wait_until("it has an id", |lab| lab.git("config agentvm.id").run().code == 0);
    lab.git("push agentvm::feature").succeeds();
    let ran = failing.finish();
    assert!(ran.code != 0, "{ran}");
    lab.git("fetch agentvm::feature").succeeds();
    lab.agent_vm("status").succeeds().stdout_lacks("another repository");
}
