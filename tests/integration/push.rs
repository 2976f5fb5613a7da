//! `git push agentvm::BRANCH` where it succeeds, and where git itself says no.

use crate::support::Lab;

#[test]
fn push_makes_a_workspace_with_the_branch_checked_out() {
    let lab = Lab::new();
    lab.git("push agentvm::feature")
        .succeeds()
        .stderr_has("To agentvm::feature")
        .stderr_has("* [new branch]      feature -> feature");
    let workspace = lab.workspace("app-feature");
    assert_eq!(workspace.tip("HEAD"), lab.app().tip("feature"));
    workspace.git("symbolic-ref HEAD").succeeds().stdout_is("refs/heads/feature");
    assert_eq!(workspace.read("feature.txt"), "one\n");
    assert_eq!(workspace.status(), "");
}

#[test]
fn push_sends_the_named_branch_whatever_is_checked_out() {
    let lab = Lab::new();
    lab.git("checkout -q --detach main").succeeds();
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(lab.workspace("app-feature").tip("HEAD"), lab.app().tip("feature"));
}

#[test]
fn push_of_what_is_there_already_says_so() {
    let lab = Lab::new();
    lab.pushed_feature();
    lab.git("push agentvm::feature").succeeds().stderr_has("Everything up-to-date");
}

#[test]
fn push_takes_one_ssh_session() {
    let lab = Lab::new();
    let first = lab.ssh_sessions_of(|| drop(lab.pushed_feature()));
    lab.app().commit_on("feature", "more.txt", "more\n");
    let second = lab.ssh_sessions_of(|| drop(lab.pushed_feature()));
    let nothing = lab.ssh_sessions_of(|| drop(lab.pushed_feature()));
    assert_eq!((first, second, nothing), (1, 1, 1));
}

#[test]
fn fast_forward_updates_the_files() {
    let lab = Lab::new();
    let app = lab.app();
    app.commit_on("feature", "old.txt", "old\n");
    let workspace = lab.pushed_feature();
    app.git("checkout -q feature").succeeds();
    app.git("mv old.txt new.txt").succeeds();
    let tip = app.commit("feature.txt", "two\n");
    lab.git("push agentvm::feature").succeeds().stderr_has("feature -> feature");
    assert_eq!(workspace.tip("HEAD"), tip);
    assert_eq!(workspace.read("feature.txt"), "two\n");
    assert_eq!(workspace.read("new.txt"), "old\n");
    assert_eq!(workspace.read("old.txt"), "<none>");
    workspace.git("symbolic-ref HEAD").succeeds().stdout_is("refs/heads/feature");
    assert_eq!(workspace.status(), "");
}

#[test]
fn push_carries_modes_links_and_odd_file_names() {
    let lab = Lab::new();
    let app = lab.app();
    app.git("checkout -q feature").succeeds();
    app.write("run me.sh", "#!/bin/sh\n");
    app.write("größe/tab\tquote\"", "x");
    lab.sh("chmod +x 'run me.sh' && ln -s README.md link && git add -A && git commit -qm odd")
        .succeeds();
    lab.git("push agentvm::feature").succeeds();
    let workspace = lab.workspace("app-feature");
    workspace.sh("test -x 'run me.sh' && readlink link").succeeds().stdout_is("README.md");
    assert_eq!(workspace.read("größe/tab\tquote\""), "x");
    assert_eq!(workspace.tip("HEAD^{tree}"), app.tip("feature^{tree}"));
}

#[test]
fn push_over_new_commits_of_the_agent_is_rejected() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.commit("agent.txt", "agent\n");
    let before = workspace.snapshot();
    lab.app().commit_on("feature", "host.txt", "host\n");
    lab.git("push agentvm::feature")
        .fails(1)
        .stderr_has("! [rejected]        feature -> feature (fetch first)")
        .stderr_lacks("hung up")
        .stderr_lacks("Broken pipe");
    assert_eq!(workspace.snapshot(), before);
}

#[test]
fn forced_push_keeps_the_old_tip_under_a_rescue_ref() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let agents = workspace.commit("agent.txt", "agent\n");
    let tip = lab.app().commit_on("feature", "host.txt", "host\n");
    lab.git("push --force agentvm::feature").succeeds().stderr_has("(forced update)");
    assert_eq!(workspace.tip("HEAD"), tip);
    assert_eq!(workspace.read("agent.txt"), "<none>");
    assert!(workspace.refs("refs/rescue").contains(&agents), "{}", workspace.refs(""));
}

#[test]
fn force_with_lease_obeys_the_expected_tip() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let old = workspace.tip("HEAD");
    let agents = workspace.commit("agent.txt", "agent\n");
    let tip = lab.app().commit_on("feature", "host.txt", "host\n");
    lab.git(&format!("push --force-with-lease=feature:{old} agentvm::feature"))
        .fails(1)
        .stderr_has("(stale info)");
    assert_eq!(workspace.tip("HEAD"), agents);
    lab.git(&format!("push --force-with-lease=feature:{agents} agentvm::feature")).succeeds();
    assert_eq!(workspace.tip("HEAD"), tip);
}

#[test]
fn lease_progress_and_porcelain_go_together() {
    // keybase/client#8912
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let old = workspace.tip("HEAD");
    let agents = workspace.commit("agent.txt", "agent\n");
    let tip = lab.app().commit_on("feature", "host.txt", "host\n");
    let push = |expected: &str| {
        let lease = format!("--force-with-lease=feature:{expected}");
        lab.git(["push", "--porcelain", "--progress", &lease, "agentvm::feature"])
    };
    push(&old)
        .fails(1)
        .stdout_has("!\trefs/heads/feature:refs/heads/feature\t[rejected] (stale info)");
    push(&agents)
        .succeeds()
        .stdout_has("+\trefs/heads/feature:refs/heads/feature\t")
        .stdout_has("(forced update)");
    assert_eq!(workspace.tip("HEAD"), tip);
    assert!(workspace.refs("refs/rescue").contains(&agents), "{}", workspace.refs(""));
}

#[test]
fn dry_run_says_what_would_be_and_leaves_no_workspace() {
    let lab = Lab::new();
    lab.git("push --dry-run agentvm::feature").succeeds().stderr_has("[new branch]");
    assert!(lab.workspaces().is_empty());
}

#[test]
fn dry_run_on_an_existing_workspace_changes_nothing() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.app().commit_on("feature", "more.txt", "more\n");
    let before = workspace.snapshot();
    lab.git("push -n agentvm::feature").succeeds().stderr_has("feature -> feature");
    assert_eq!(workspace.snapshot(), before);
}

#[test]
fn refusing_pre_push_hook_leaves_no_workspace() {
    let lab = Lab::new();
    lab.app().write(".git/hooks/pre-push", "#!/bin/sh\necho not today >&2\nexit 1\n");
    lab.sh("chmod +x .git/hooks/pre-push").succeeds();
    lab.git("push agentvm::feature").fails(1).stderr_has("not today");
    assert!(lab.workspaces().is_empty());
}

#[test]
fn pre_push_hook_may_ask_the_same_remote() {
    let lab = Lab::new();
    lab.app().write(
        ".git/hooks/pre-push",
        "#!/bin/sh\ncat >/dev/null\ngit ls-remote agentvm::feature >&2\n",
    );
    lab.sh("chmod +x .git/hooks/pre-push").succeeds();
    lab.git("push agentvm::feature").succeeds();
    lab.app().commit_on("feature", "more.txt", "more\n");
    lab.git("push agentvm::feature").succeeds().stderr_has("refs/heads/feature");
    assert_eq!(lab.workspace("app-feature").tip("HEAD"), lab.app().tip("feature"));
}

#[test]
fn head_can_be_pushed_to_the_branch() {
    let lab = Lab::new();
    lab.git("checkout -q --detach feature").succeeds();
    let tip = lab.app().commit("detached.txt", "x\n");
    lab.git("push agentvm::feature HEAD:refs/heads/feature").succeeds();
    assert_eq!(lab.workspace("app-feature").tip("refs/heads/feature"), tip);
}

#[test]
fn each_of_several_refs_is_answered() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("git branch side && git checkout -q side").succeeds();
    let agents = workspace.commit("side.txt", "agent\n");
    workspace.sh("git checkout -q feature").succeeds();
    let tip = lab.app().commit_on("feature", "more.txt", "more\n");
    lab.git("branch side main").succeeds();
    lab.git("push agentvm::feature feature side main")
        .fails(1)
        .stderr_has("feature -> feature")
        .stderr_has("* [new branch]      main -> main")
        .stderr_has("! [rejected]        side -> side");
    assert_eq!(workspace.tip("HEAD"), tip);
    assert_eq!(workspace.tip("refs/heads/main"), lab.app().tip("main"));
    assert_eq!(workspace.tip("refs/heads/side"), agents);
}

#[test]
fn atomic_push_is_all_or_nothing() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.commit("agent.txt", "agent\n");
    let before = workspace.snapshot();
    lab.app().commit_on("feature", "host.txt", "host\n");
    lab.git("push --atomic agentvm::feature feature main").fails(1);
    assert_eq!(workspace.snapshot(), before);
}

#[test]
fn porcelain_output_is_gits_own() {
    let lab = Lab::new();
    lab.git("push --porcelain agentvm::feature").succeeds().stdout_is(
        "To agentvm::feature\n*\trefs/heads/feature:refs/heads/feature\t[new branch]\nDone",
    );
    let workspace = lab.pushed_feature();
    workspace.commit("agent.txt", "agent\n");
    lab.app().commit_on("feature", "host.txt", "host\n");
    lab.git("push --porcelain agentvm::feature")
        .fails(1)
        .stdout_has("!\trefs/heads/feature:refs/heads/feature\t[rejected] (fetch first)");
}

#[test]
fn push_options_do_not_stand_in_the_way() {
    let lab = Lab::new();
    lab.git("push -o ci.skip agentvm::feature").succeeds();
    let tip = lab.app().commit_on("feature", "more.txt", "more\n");
    lab.git_config("push.pushOption", "said \"so\"");
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(lab.workspace("app-feature").tip("HEAD"), tip);
}

#[test]
fn quiet_push_says_nothing() {
    let lab = Lab::new();
    lab.git("push -q agentvm::feature").succeeds().stdout_is("").stderr_is("");
}

#[test]
fn agent_can_compare_with_the_hosts_default_branch() {
    let lab = Lab::new();
    lab.git("tag v1 main").succeeds();
    let workspace = lab.pushed_feature();
    assert_eq!(workspace.tip("refs/remotes/host/main"), lab.app().tip("main"));
    workspace.git("log --format=%s host/main..HEAD").succeeds().stdout_is("Change feature.txt");
    workspace.git("branch --list --format=%(refname)").succeeds().stdout_is("refs/heads/feature");
}

#[test]
fn agent_commits_with_the_hosts_identity() {
    let lab = Lab::new();
    lab.git("config user.email repo@example.org").succeeds();
    let workspace = lab.pushed_feature();
    workspace.commit("agent.txt", "agent\n");
    workspace
        .git(["log", "-1", "--format=%an <%ae>, %cn <%ce>"])
        .succeeds()
        .stdout_is("Host User <repo@example.org>, Host User <repo@example.org>");
}

#[test]
fn agent_has_an_identity_where_the_host_has_none() {
    let lab = Lab::new();
    lab.host("git", "config --global --remove-section user").succeeds();
    let workspace = lab.pushed_feature();
    workspace.commit("agent.txt", "agent\n");
    workspace
        .git(["log", "-1", "--format=%an <%ae>"])
        .succeeds()
        .stdout_is("Agent User <agent@localhost>");
}

#[test]
fn push_after_the_agent_works_on_moves_the_branch_only() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("git checkout -q -b other").succeeds();
    workspace.write("feature.txt", "the agent edits this\n");
    let tip = lab.app().commit_on("feature", "host.txt", "host\n");
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(workspace.tip("refs/heads/feature"), tip);
    assert_eq!(workspace.read("feature.txt"), "the agent edits this\n");
    assert_eq!(workspace.read("host.txt"), "<none>");
    workspace.git("symbolic-ref HEAD").succeeds().stdout_is("refs/heads/other");
}

#[test]
fn push_leaves_a_detached_agent_alone() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("git checkout -q --detach").succeeds();
    let agents = workspace.commit("agent.txt", "agent\n");
    let tip = lab.app().commit_on("feature", "host.txt", "host\n");
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(workspace.tip("HEAD"), agents);
    assert_eq!(workspace.tip("refs/heads/feature"), tip);
    assert_eq!(workspace.read("host.txt"), "<none>");
}

#[test]
fn two_branches_have_two_workspaces() {
    let lab = Lab::new();
    lab.pushed_feature();
    lab.app().enrol("main");
    lab.git("push agentvm::main").succeeds();
    assert_eq!(lab.workspaces(), ["app-feature", "app-main"]);
    assert_eq!(lab.workspace("app-main").read("feature.txt"), "<none>");
}

#[test]
fn hooks_and_settings_of_the_agent_do_not_decide_about_a_push() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let script = "for hook in pre-receive update push-to-checkout reference-transaction; do
            printf '#!/bin/sh\\nexit 1\\n' >.git/hooks/$hook; chmod +x .git/hooks/$hook; done
        git config receive.denyCurrentBranch refuse; git config receive.denyNonFastForwards true
        git config core.fsmonitor /nowhere; git config receive.fsckObjects true";
    workspace.sh(script).succeeds();
    let tip = lab.app().commit_on("feature", "host.txt", "host\n");
    lab.git("push agentvm::feature").succeeds();
    assert_eq!((workspace.tip("HEAD"), workspace.status()), (tip, String::new()));
}

#[test]
fn push_to_a_guest_that_cannot_be_reached_is_no_success() {
    let lab = Lab::new();
    lab.stop_sshd();
    lab.git("push agentvm::feature")
        .fails(128)
        .stderr_has("cannot reach the host 'vm'")
        .stderr_lacks("Everything up-to-date")
        .took_under_seconds(30);
}

#[test]
fn push_goes_on_where_the_helper_is_replaced_meanwhile() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.app().commit_on("feature", "host.txt", "host\n");
    let helper = lab.path().join("bin/git-remote-agentvm");
    let hook = format!(
        "cp --remove-destination \"$(readlink '{0}')\" '{0}'
        printf '#!/bin/sh\\nrm \"{0}\"\\n' >.git/hooks/pre-push; chmod +x .git/hooks/pre-push",
        helper.display()
    );
    lab.sh(&hook).succeeds();
    lab.git("push agentvm::feature").succeeds();
    assert!(!helper.exists());
    assert_eq!(workspace.tip("HEAD"), lab.app().tip("feature"));
}
