//! Which workspace belongs to whom, whatever became of the repository, its records, its branch and
//! the workspace's marker: never the wrong one.

use std::path::Path;

use crate::support::{Lab, Repo, Workspace};

fn id_of(repo: &Repo<'_>) -> String {
    repo.git("config --local agentvm.id").run().text()
}

/// Expects a push of feature from `repo` to make a workspace that none of `others` is.
fn gets_one_of_its_own(lab: &Lab, repo: &Repo<'_>, others: &[&str]) -> String {
    let before: Vec<_> = others.iter().map(|name| lab.workspace(name).snapshot()).collect();
    repo.git("checkout -q feature").succeeds();
    repo.git(["commit", "-q", "--allow-empty", "-m", "own"]).succeeds();
    let tip = repo.tip("HEAD");
    repo.git("checkout -q -").succeeds();
    repo.git("push agentvm::feature").succeeds();
    let names = lab.workspaces();
    let own: Vec<_> = names.iter().filter(|name| !others.contains(&name.as_str())).collect();
    assert_eq!(own.len(), 1, "{names:?}");
    assert_eq!(lab.workspace(own[0]).tip("HEAD"), tip);
    let after: Vec<_> = others.iter().map(|name| lab.workspace(name).snapshot()).collect();
    assert!(before == after, "another workspace was changed");
    own[0].clone()
}

/// Where the host keeps who has which id.
fn records(lab: &Lab) -> std::path::PathBuf {
    lab.home().join(".local/state/git-agent-vm/repositories")
}

#[test]
fn clones_have_workspaces_of_their_own() {
    let lab = Lab::new();
    lab.pushed_feature();
    lab.host("git", "clone -q app clone").succeeds();
    let clone = lab.repo("clone");
    clone.git("branch -q feature origin/feature").succeeds();
    clone.enrol("feature");
    gets_one_of_its_own(&lab, &clone, &["app-feature"]);
    assert_ne!(id_of(&clone), id_of(&lab.app()));
}

#[test]
fn names_that_read_the_same_when_joined_are_two_workspaces() {
    let lab = Lab::with_home("home");
    let pairs =
        [("a-b", "c"), ("a", "b-c"), ("a", "b/c"), ("a-b", "C"), ("A", "b-c"), ("a", "B-c")];
    let mut tips = Vec::new();
    for (name, branch) in pairs {
        let repo = lab.repo(name);
        if !repo.path().exists() {
            lab.init(name).git("commit -q --allow-empty -m first").succeeds();
        }
        repo.git(["checkout", "-q", "-b", branch]).succeeds();
        tips.push(repo.commit("whose.txt", format!("{name} {branch}\n")));
        repo.git(["agent-vm", "push", branch]).succeeds();
        repo.git("checkout -q main").succeeds();
    }
    let names = lab.workspaces();
    assert_eq!(names.len(), pairs.len(), "{names:?}");
    for ((name, branch), tip) in pairs.into_iter().zip(tips) {
        let repo = lab.repo(name);
        repo.git(["fetch", "-q", &format!("agentvm::{branch}")]).succeeds();
        assert_eq!(repo.tip("FETCH_HEAD"), tip, "{name} {branch}");
    }
}

#[test]
fn copy_is_noticed_whatever_happened_to_the_records() {
    for damage in [
        "true",
        "rm -rf $records",
        "rm -rf $records; mkdir -p $records",
        "for f in $records/*; do : >$f; done",
        "for f in $records/*; do head -c 20 /dev/urandom >$f; done",
        "for f in $records/*; do printf '1:2\\n/nowhere' >$f; done",
    ] {
        let lab = Lab::new();
        lab.pushed_feature();
        lab.host("sh", ["-c", "mkdir copies && cp -a app copies/app"]).succeeds();
        let script = format!("records='{}'; {damage}", records(&lab).display());
        lab.host("sh", ["-c", &script]).succeeds();
        let copy = lab.repo("copies/app");
        copy.git("fetch agentvm::feature").fails(128).stderr_has("there is no workspace");
        let name = gets_one_of_its_own(&lab, &copy, &["app-feature"]);
        // The original keeps its own.
        let tip = lab.app().commit_on("feature", "mine.txt", damage);
        lab.git("push agentvm::feature").succeeds();
        assert_eq!(lab.workspace("app-feature").tip("HEAD"), tip, "{damage}");
        assert!(!lab.workspace(&name).sh("ls").succeeds().text().contains("mine.txt"));
    }
}

#[test]
fn moved_repository_keeps_its_workspaces_whatever_happened_to_the_records() {
    for damage in ["true", "rm -rf $records", "for f in $records/*; do : >$f; done"] {
        let lab = Lab::new();
        let workspace = lab.pushed_feature();
        let script = format!("records='{}'; {damage}; mv app renamed", records(&lab).display());
        lab.host("sh", ["-c", &script]).succeeds();
        let renamed = lab.repo("renamed");
        let tip = renamed.commit_on("feature", "moved.txt", "moved\n");
        renamed.git("push agentvm::feature").succeeds();
        assert_eq!(workspace.tip("HEAD"), tip);
        assert_eq!(lab.workspaces(), ["app-feature"]);
        renamed.git("branch other main").succeeds();
        renamed.git("agent-vm push other").succeeds();
        assert_eq!(lab.workspaces(), ["app-feature", "renamed-other"]);
    }
}

#[test]
fn copy_whose_original_was_renamed_is_asked_about() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.host("sh", ["-c", "cp -a app copy && mv app original"]).succeeds();
    let (copy, original) = (lab.repo("copy"), lab.repo("original"));
    let before = workspace.snapshot();
    let config = copy.config_bytes();
    for words in ["push agentvm::feature", "fetch agentvm::feature"] {
        copy.git(words)
            .fails(128)
            .stderr_has(
                "/app/.git, which is not seen there any more: it was moved here, or is a copy",
            )
            .stderr_has("git config --unset agentvm.id")
            .stderr_has("rm -f ");
    }
    assert_eq!(copy.config_bytes(), config);
    assert_eq!(workspace.snapshot(), before);
    // The original is known by itself.
    let tip = original.commit_on("feature", "original.txt", "original\n");
    original.git("push agentvm::feature").succeeds();
    assert_eq!(workspace.tip("HEAD"), tip);
    // From then on the copy is known for one, and nothing needs to be asked.
    gets_one_of_its_own(&lab, &copy, &["app-feature"]);
}

#[test]
fn both_answers_to_the_question_work_as_they_are_shown() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    // As a move to another file system: another inode, and nothing at the old place.
    lab.host("sh", ["-c", "cp -a app moved && cp -a app copy && rm -rf app"]).succeeds();
    let (moved, copy) = (lab.repo("moved"), lab.repo("copy"));
    let ran = moved.git("push agentvm::feature").fails(128);
    let errors = ran.errors();
    let line = errors.lines().find(|line| line.contains("rm -f ")).unwrap();
    let command = &line[line.find("rm -f ").unwrap()..];
    lab.host("sh", ["-c", command]).succeeds();
    let tip = moved.commit_on("feature", "moved.txt", "moved\n");
    moved.git("push agentvm::feature").succeeds();
    assert_eq!(workspace.tip("HEAD"), tip);
    moved.git("push agentvm::feature").succeeds();
    copy.git("config --unset agentvm.id").succeeds();
    gets_one_of_its_own(&lab, &copy, &["app-feature"]);
}

#[test]
fn repository_from_a_backup_at_its_old_place_goes_on_with_its_workspaces() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.host("sh", ["-c", "tar cf backup.tar app && rm -rf app"]).succeeds();
    let agents = workspace.commit("agent.txt", "agent\n");
    lab.host("sh", ["-c", "tar xf backup.tar"]).succeeds();
    lab.git("fetch agentvm::feature feature:feature").succeeds();
    assert_eq!(lab.app().tip("feature"), agents);
    lab.git("push agentvm::feature").succeeds();
    // And beside the living one it is a copy.
    lab.host("sh", ["-c", "mkdir old && tar xf backup.tar -C old"]).succeeds();
    gets_one_of_its_own(&lab, &lab.repo("old/app"), &["app-feature"]);
}

#[test]
fn configuration_copied_into_another_repository_brings_no_workspaces_along() {
    let lab = Lab::new();
    lab.pushed_feature();
    let other = lab.init("other");
    other.commit("unrelated.txt", "unrelated\n");
    other.git("branch feature").succeeds();
    lab.host("cp", "app/.git/config other/.git/config").succeeds();
    gets_one_of_its_own(&lab, &other, &["app-feature"]);
}

#[test]
fn id_that_the_user_removes_is_made_anew_and_the_old_workspace_stays() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.commit("agent.txt", "agent\n");
    lab.git("config --unset agentvm.id").succeeds();
    lab.git("fetch agentvm::feature").fails(128).stderr_has("there is no workspace");
    gets_one_of_its_own(&lab, &lab.app(), &["app-feature"]);
    assert_eq!(workspace.read("agent.txt"), "agent\n");
    let status = lab.agent_vm("status --json").succeeds().json();
    let here: Vec<_> =
        status["workspaces"].as_array().unwrap().iter().map(|w| w["here"].clone()).collect();
    assert_eq!(here.iter().filter(|here| **here == true).count(), 1, "{status}");
}

#[test]
fn id_outside_the_repositorys_own_configuration_is_refused_and_named() {
    let lab = Lab::new();
    lab.pushed_feature();
    let id = id_of(&lab.app());
    let other = lab.init("other");
    other.commit("unrelated.txt", "unrelated\n");
    other.git("branch feature").succeeds();
    other.enrol("feature");
    let refused = |what: &str| {
        for words in ["push agentvm::feature", "fetch agentvm::feature"] {
            other.git(words).fails(128).stderr_has("agentvm.id in ").stderr_has(what);
        }
        assert_eq!(id_of(&other), "");
    };
    // In the user's configuration it would be every repository's.
    lab.git_config("agentvm.id", &id);
    refused(".gitconfig");
    lab.host("git", "config --global --unset agentvm.id").succeeds();
    // In a file that several include.
    fs_err::write(lab.home().join("shared"), format!("[agentvm]\n\tid = {id}\n")).unwrap();
    other.git(["config", "include.path", lab.home().join("shared").to_str().unwrap()]).succeeds();
    refused("shared");
    other.git("config --unset include.path").succeeds();
    // On a command line.
    other
        .git(["-c", &format!("agentvm.id={id}"), "push", "agentvm::feature"])
        .fails(128)
        .stderr_has("command line");
    // In the configuration of one worktree.
    other.git("config extensions.worktreeConfig true").succeeds();
    other.git(["config", "--worktree", "agentvm.id", &id]).succeeds();
    refused("config.worktree");
    other.git("config --worktree --unset agentvm.id").succeeds();
    other.git("push agentvm::feature").succeeds();
    assert_ne!(id_of(&other), id);
    assert_eq!(lab.workspaces(), ["app-feature", "other-feature"]);
    lab.agent_vm("doctor").run();
}

#[test]
fn worktrees_of_any_name_with_settings_of_their_own_share_the_workspaces() {
    let lab = Lab::new();
    lab.git("config extensions.worktreeConfig true").succeeds();
    lab.git("worktree add -q ../elsewhere/Another-Name feature").succeeds();
    let linked = lab.repo("elsewhere/Another-Name");
    linked.git("config --worktree user.name 'Linked User'").succeeds();
    let tip = linked.commit("linked.txt", "linked\n");
    linked.git("push agentvm::feature").succeeds();
    assert_eq!(lab.workspaces(), ["app-feature"]);
    assert_eq!(lab.workspace("app-feature").tip("HEAD"), tip);
    let agents = lab.workspace("app-feature").commit("agent.txt", "agent\n");
    lab.git("fetch agentvm::feature").succeeds();
    assert_eq!(lab.app().tip("FETCH_HEAD"), agents);
    // Moved by git, and by hand.
    lab.git("worktree move ../elsewhere/Another-Name ../moved").succeeds();
    lab.repo("moved").git("pull -q agentvm::feature").succeeds();
    assert_eq!(lab.repo("moved").tip("HEAD"), agents);
    assert_eq!(lab.workspaces(), ["app-feature"]);
}

#[test]
fn branch_that_is_made_anew_does_not_run_over_the_old_ones_workspace() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let agents = workspace.commit("agent.txt", "agent\n");
    lab.sh("git branch -D feature && git checkout -q --orphan feature && git rm -qrf . && echo new >new.txt && git add . && git commit -qm new").succeeds();
    let before = workspace.snapshot();
    lab.git("push agentvm::feature").fails(1).stderr_has("fetch first");
    lab.agent_vm("push feature").fails(1).stderr_has("git agent-vm fetch feature");
    lab.git("pull agentvm::feature --no-rebase").fails(128).stderr_has("unrelated histories");
    assert_eq!(workspace.snapshot(), before);
    assert_eq!(lab.app().read("new.txt"), "new\n");
    // What is forced is kept.
    lab.git("push --force agentvm::feature").succeeds();
    workspace.is_whole_at(&lab.app().tip("feature"));
    assert!(workspace.refs("refs/rescue").contains(&agents));
}

#[test]
fn two_users_have_workspaces_of_their_own_on_one_host() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let first = id_of(&lab.app());
    let second = lab.home().with_file_name("second");
    lab.host("sh", ["-c", "cp -a . ../second"]).succeeds();
    let app = Repo { lab: &lab, dir: second.join("app") };
    let run = |words: &str| app.git(words).env("HOME", &second);
    let before = workspace.snapshot();
    run("commit -q --allow-empty -m second").succeeds();
    run("push agentvm::feature").succeeds();
    assert_ne!(id_of(&app), first);
    assert_eq!(lab.workspaces().len(), 2);
    assert_eq!(workspace.snapshot(), before);
    let status = run("agent-vm status --json").succeeds().json();
    for shown in status["workspaces"].as_array().unwrap() {
        assert_eq!(shown["here"], shown["name"] != "app-feature", "{status}");
    }
    run("agent-vm clean feature").succeeds();
    assert!(workspace.exists());
    lab.git("push agentvm::feature").succeeds();
}

/// Replaces the marker by these lines.
fn mark(workspace: &Workspace<'_>, lines: &str) {
    let script = "git config --remove-section agentvm; printf \"$1\" >>.git/config";
    workspace.sh_with(script, [lines]).succeeds();
}

#[test]
fn workspace_whose_marker_was_edited_is_never_taken_for_another() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.commit("agent.txt", "agent\n");
    lab.git("branch other main").succeeds();
    lab.agent_vm("push other").succeeds();
    let (id, none) = (id_of(&lab.app()), "0".repeat(32));
    let own = format!("[agentvm]\\n\\trepo = {id}\\n");
    for marker in [
        format!("[agentvm]\\n\\trepo = {none}\\n\\tref = \"refs/heads/feature\"\\n"),
        format!("{own}\\tref = \"refs/heads/other\"\\n"),
        format!("{own}\\tref = \"refs/heads/feature\"\\n[agentvm]\\n\\tref = refs/heads/other\\n"),
        format!("{own}\\tref = \"refs/heads/feature\"\\n\\trepo = {none}\\n"),
        own.clone(),
        "[agentvm]\\n\\trepo = garbage\\n\\tref = refs/heads/feature\\n".into(),
        "[include]\\n\\tpath = ../marker\\n".into(),
        "[agentvm \"x\"]\\n\\trepo = 1\\n".into(),
        "\\000\\001garbage [".into(),
    ] {
        mark(&workspace, "");
        workspace.sh("cp .git/config ~/config.saved").succeeds();
        let included = format!("[agentvm]\n\trepo = {id}\n\tref = refs/heads/feature\n");
        workspace.write(".git/marker", included);
        mark(&workspace, &marker);
        let before = workspace.sh("cat .git/refs/heads/feature agent.txt").succeeds().text();
        lab.git("fetch agentvm::feature").fails(128).stderr_has("there is no workspace");
        lab.git("fetch -q agentvm::other").succeeds();
        assert_eq!(lab.app().tip("FETCH_HEAD"), lab.app().tip("main"), "{marker}");
        let name = gets_one_of_its_own(&lab, &lab.app(), &["app-feature", "app-other"]);
        assert!(name.starts_with("app-feature~"), "{name}");
        let after = workspace.sh("cat .git/refs/heads/feature agent.txt").succeeds().text();
        assert_eq!(before, after, "{marker}");
        lab.agent_vm("status").succeeds().shows_clean_text();
        lab.guest_sh(&format!(
            "rm -rf 'workspace/{name}'; mv config.saved workspace/app-feature/.git/config"
        ))
        .succeeds();
    }
    // Put right, it is the one again.
    mark(&workspace, &format!("{own}\\tref = refs/heads/feature\\n"));
    lab.git("fetch -q agentvm::feature").succeeds();
    assert_eq!(lab.app().tip("FETCH_HEAD"), workspace.tip("HEAD"));
}

#[test]
fn renamed_workspace_is_found_and_its_name_is_free_for_another() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let agents = workspace.commit("agent.txt", "agent\n");
    for name in ["my work", "app-other", "app-feature~0000000000", "größe", "app-feature.bak"] {
        lab.guest_sh(&format!("mv workspace/app-feature* 'workspace/{name}' 2>/dev/null || mv workspace/* 'workspace/{name}'")).succeeds();
        lab.git("fetch -q agentvm::feature").succeeds();
        assert_eq!(lab.app().tip("FETCH_HEAD"), agents, "{name}");
        assert_eq!(lab.workspaces(), [name]);
    }
    lab.guest_sh("mv workspace/* workspace/app-other").succeeds();
    lab.git("branch other main").succeeds();
    lab.agent_vm("push other").succeeds();
    let names = lab.workspaces();
    assert!(names.len() == 2 && names[1].starts_with("app-other~"), "{names:?}");
    assert_eq!(lab.workspace("app-other").tip("HEAD"), agents);
    lab.git("fetch -q agentvm::other").succeeds();
    assert_eq!(lab.app().tip("FETCH_HEAD"), lab.app().tip("main"));
}

#[test]
fn copied_workspace_leaves_the_one_of_the_right_name_in_its_place() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.guest_sh("cp -a workspace/app-feature workspace/aaa").succeeds();
    let tip = lab.app().commit_on("feature", "host.txt", "host\n");
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(workspace.tip("HEAD"), tip);
    assert_eq!(lab.workspace("aaa").read("host.txt"), "<none>");
    // Where neither has the name, nobody guesses.
    lab.guest_sh("mv workspace/app-feature workspace/zzz").succeeds();
    let before = (lab.workspace("aaa").snapshot(), lab.workspace("zzz").snapshot());
    for words in ["push agentvm::feature", "fetch agentvm::feature"] {
        lab.git(words).fails(128).stderr_has("more than one directory in ").stderr_has("aaa zzz");
    }
    assert_eq!(before, (lab.workspace("aaa").snapshot(), lab.workspace("zzz").snapshot()));
    assert_eq!(lab.workspaces(), ["aaa", "zzz"]);
    lab.workspace("aaa").git("config --unset agentvm.ref").succeeds();
    lab.git("push agentvm::feature").succeeds();
}

#[test]
fn linked_worktree_of_the_agents_takes_no_workspaces_place() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("git worktree add -q ../app-other -b other").succeeds();
    lab.git("branch other main").succeeds();
    lab.agent_vm("push other").succeeds();
    let names = lab.workspaces();
    assert!(names.len() == 3 && names[2].starts_with("app-other~"), "{names:?}");
    assert_eq!(lab.workspace("app-other").tip("HEAD"), workspace.tip("HEAD"));
    assert!(Path::new(&workspace.path()).exists());
}
