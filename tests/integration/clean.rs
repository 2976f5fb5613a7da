//! `git agent-vm clean` and `clean-all`: nothing that exists nowhere else goes away unasked.

use crate::support::{Lab, Ran, Workspace};

/// Expects a refusal, and that the workspace is as it was.
fn refuses(lab: &Lab, workspace: &Workspace<'_>) -> Ran {
    let before = workspace.snapshot();
    let ran = lab.agent_vm("clean feature").fails(3).stderr_has("--force");
    assert!(workspace.snapshot() == before, "{ran}");
    ran
}

#[test]
fn workspace_with_nothing_of_its_own_goes_to_the_trash() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let tip = workspace.tip("HEAD");
    let ran = lab.agent_vm("clean feature").succeeds();
    assert!(!workspace.exists());
    let place = lab.guest_sh("ls -d workspace/.trash/app-feature*").succeeds().text();
    let name = place.rsplit('/').next().unwrap();
    assert!(format!("{}{}", ran.text(), ran.errors()).contains(name), "{ran}");
    lab.guest_sh(&format!("git -C '{place}' rev-parse HEAD")).succeeds().stdout_is(&tip);
    lab.agent_vm("status").succeeds().stdout_lacks("app-feature");
}

#[test]
fn fetched_commits_do_not_hold_a_workspace_back() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.commit("agent.txt", "agent\n");
    refuses(&lab, &workspace).stderr_has("1 commit");
    lab.git("fetch agentvm::feature").succeeds();
    lab.agent_vm("clean feature").succeeds();
    assert!(!workspace.exists());
}

#[test]
fn squash_merge_and_a_deleted_branch_still_count_as_fetched() {
    // anthropics/claude-code#88239
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.commit("agent.txt", "agent\n");
    lab.git("fetch agentvm::feature").succeeds();
    lab.sh(
        "git merge -q --squash FETCH_HEAD >&2 && git commit -qm squashed && git branch -qD feature",
    )
    .succeeds();
    lab.agent_vm("clean feature").succeeds();
    assert!(!workspace.exists());
}

#[test]
fn each_kind_of_unsaved_work_is_named() {
    let lab = Lab::new();
    for (what, script, word) in [
        ("a changed file", "echo x >feature.txt", "feature.txt"),
        ("a staged file", "echo x >staged.txt; git add staged.txt", "staged.txt"),
        ("an untracked file", "echo x >notes.txt", "notes.txt"),
        ("an untracked file in a directory", "mkdir -p d/e; echo x >d/e/deep.txt", "deep.txt"),
        ("an ignored file", "echo .env >.git/info/exclude; echo SECRET >.env", ".env"),
        ("a deleted file", "rm feature.txt", "feature.txt"),
        ("a stash", "echo x >feature.txt; git stash -q", "stash"),
        (
            "a commit on another branch",
            "git checkout -q -b side; git commit -q --allow-empty -m side; git checkout -q feature",
            "side",
        ),
        (
            "a commit on a detached HEAD",
            "git checkout -q --detach; git commit -q --allow-empty -m loose",
            "1 commit",
        ),
        (
            "a commit in a reflog",
            "git commit -q --allow-empty -m gone; git reset -q --hard HEAD~",
            "reflog",
        ),
        (
            "a stash without its reflog",
            "echo x >feature.txt; git stash -q; git reflog expire --expire=now --all",
            "refs/stash",
        ),
        ("a note", "git notes add -m note", "1 commit"),
        (
            "a commit under a tag",
            "git commit -q --allow-empty -m t; git tag t; git reset -q --hard HEAD~",
            "commit",
        ),
        // jedbjorn/subfloor#574
        (
            "an edit marked assume-unchanged",
            "git update-index --assume-unchanged feature.txt; echo x >feature.txt",
            "feature.txt",
        ),
        (
            "an edit marked skip-worktree",
            "git update-index --skip-worktree feature.txt; echo x >feature.txt",
            "feature.txt",
        ),
        (
            "a linked worktree",
            "git worktree add -q ../linked -b linked; echo w >../linked/w",
            "linked",
        ),
        ("a nested repository", "git init -q sub; echo x >sub/copy.txt", "sub"),
    ] {
        let workspace = lab.pushed_feature();
        workspace.sh(script).succeeds();
        let ran = refuses(&lab, &workspace);
        assert!(ran.errors().contains(word), "{what}: {word:?} is not named\n{ran}");
        lab.forget_workspaces();
    }
}

#[test]
fn nested_repository_whose_link_was_committed_is_named() {
    // gsd-build/gsd-2#3044
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let script = "git init -q sub && cd sub && echo only >copy.txt && git add . &&
        git -c user.name=a -c user.email=a@b commit -qm only && cd .. && git add -A 2>/dev/null &&
        git commit -qm all";
    workspace.sh(script).succeeds();
    lab.git("fetch agentvm::feature").succeeds();
    refuses(&lab, &workspace).stderr_has("sub");
}

#[test]
fn what_can_be_built_again_is_no_loss() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let script = "printf 'node_modules\\ntarget\\n__pycache__\\n' >.git/info/exclude
        mkdir -p node_modules/a target/debug pkg/__pycache__
        echo x >node_modules/a/i.js; echo x >target/debug/app; echo x >pkg/__pycache__/m.pyc";
    workspace.sh(script).succeeds();
    lab.agent_vm("clean feature").succeeds();
    assert!(!workspace.exists());
}

#[test]
fn settings_of_the_agent_hide_no_loss() {
    // Digital-Process-Tools/claude-supertool#1290
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.write("work.txt", "x\n");
    workspace.write(".git/hidden", "*\n");
    workspace
        .sh("git config status.showUntrackedFiles no; git config core.excludesFile .git/hidden")
        .succeeds();
    refuses(&lab, &workspace).stderr_has("work.txt");
}

#[test]
fn names_in_the_list_are_clean_and_whole() {
    // career-ops-hq/career-ops#3417
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    for name in ["ä", "a b", "q\"", "x -> y"] {
        workspace.write(name, "x\n");
    }
    let ran = refuses(&lab, &workspace);
    for name in ["ä", "a b", "q\"", "x -> y"] {
        assert!(ran.errors().contains(name), "{name:?}\n{ran}");
    }
    for name in ["tab\there", "esc\u{1b}[31m", "new\nline"] {
        workspace.write(name, "x\n");
    }
    refuses(&lab, &workspace).shows_clean_text().stderr_has("7 ");
}

#[test]
fn force_moves_it_to_the_trash_with_all_that_it_holds() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.write("notes.txt", "notes\n");
    lab.agent_vm("clean --force feature").succeeds();
    assert!(!workspace.exists());
    lab.guest_sh("cat workspace/.trash/app-feature*/notes.txt").succeeds().stdout_is("notes");
}

#[test]
fn trash_never_overwrites_what_is_in_it() {
    let lab = Lab::new();
    for text in ["one\n", "two\n", "three\n"] {
        lab.pushed_feature().write("notes.txt", text);
        lab.agent_vm("clean --force feature").succeeds();
    }
    lab.guest_sh("cat workspace/.trash/*/notes.txt | sort").succeeds().stdout_is("one\nthree\ntwo");
}

#[test]
fn cleaned_branch_can_be_pushed_anew() {
    let lab = Lab::new();
    lab.pushed_feature();
    lab.agent_vm("clean feature").succeeds();
    let workspace = lab.pushed_feature();
    assert_eq!(workspace.tip("HEAD"), lab.app().tip("feature"));
}

#[test]
fn no_workspace_is_exit_code_4() {
    let lab = Lab::new();
    lab.agent_vm("clean feature").fails(4).stderr_has("feature");
    lab.pushed_feature();
    lab.agent_vm("clean other").fails(4).stderr_has("other");
}

#[test]
fn trash_that_cannot_be_written_leaves_the_workspace() {
    // anthropics/claude-code#58431
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.guest_sh("echo file >workspace/.trash").succeeds();
    lab.agent_vm("clean feature").fails(1).stderr_has(".trash");
    assert!(workspace.exists());
    assert_eq!(workspace.status(), "");
    lab.guest_sh("rm workspace/.trash; mkdir workspace/.trash; chmod 555 workspace/.trash")
        .succeeds();
    lab.agent_vm("clean feature").fails(1).stderr_has(".trash");
    lab.agent_vm("status").succeeds().stdout_has("app-feature");
    assert_eq!(workspace.status(), "");
    lab.guest_sh("chmod 755 workspace/.trash; ls workspace/.trash").succeeds().stdout_is("");
}

#[test]
fn clean_all_takes_what_is_safe_and_names_the_rest() {
    let lab = Lab::new();
    lab.pushed_feature();
    lab.git("push -q agentvm::other feature:refs/heads/other").succeeds();
    lab.workspace("app-other").write("notes.txt", "notes\n");
    lab.agent_vm("clean-all").fails(3).stderr_has("app-other").stderr_has("notes.txt");
    assert!(lab.workspace("app-other").exists());
    lab.agent_vm("clean-all --force").succeeds();
    assert!(lab.workspaces().is_empty());
    lab.agent_vm("clean-all").succeeds();
}

#[test]
fn copy_of_a_workspace_is_looked_into_by_itself() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("cp -a . ../backup").succeeds();
    lab.workspace("backup").commit("only.txt", "only\n");
    lab.agent_vm("clean-all").fails(3).stderr_has("'backup'").stderr_has("1 commit");
    assert_eq!(lab.workspaces(), ["app-feature", "backup"]);
    lab.agent_vm("clean-all --force").succeeds().stderr_has("moved workspace 'backup'");
    assert!(lab.workspaces().is_empty());
}

#[test]
fn workspaces_of_an_unknown_repository_are_not_cleaned_lightly() {
    // Their commits exist in a repository that is not at hand here.
    let lab = Lab::new();
    lab.pushed_feature();
    let other = lab.init("other");
    other.commit("a.txt", "a\n");
    other.enrol("main");
    other.git("push -q agentvm::main").succeeds();
    fs_err::remove_dir_all(other.path()).unwrap();
    lab.agent_vm("clean-all").run();
    assert!(lab.workspace("other-main").exists());
}

#[test]
fn process_at_work_in_it_refuses_and_is_named() {
    // anthropics/claude-code#88255
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let agent = workspace.sh("exec sleep 55").background();
    lab.wait_until("the agent works", |lab| {
        lab.guest_sh("ps -A -o args= | grep -q '^sleep 5[5]'").run().code == 0
    });
    refuses(&lab, &workspace).stderr_has("sleep 55");
    lab.agent_vm("clean-all").fails(3).stderr_has("sleep 55");
    lab.agent_vm("clean --force feature").succeeds();
    lab.kill_guest();
    agent.finish();
}

#[test]
fn clean_waits_for_a_push_that_goes_on() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let lock = "workspace/app-feature/.git/agentvm.lock";
    let holder = lab.guest_sh(&format!("exec flock {lock} sleep 3")).background();
    lab.wait_until("the lock is held", |_| {
        lab.guest_sh(&format!("flock -n {lock} true")).run().code != 0
    });
    lab.agent_vm("clean feature").succeeds();
    assert!(!workspace.exists());
    holder.finish();
}
