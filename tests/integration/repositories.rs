//! Repositories of every kind on the host, and names of every kind.

use crate::support::Lab;

#[test]
fn linked_worktree_shares_the_workspaces_of_its_repository() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.git("worktree add -q ../linked feature").succeeds();
    let linked = lab.repo("linked");
    let tip = linked.commit("linked.txt", "linked\n");
    linked.git("push agentvm::feature").succeeds();
    assert_eq!(workspace.tip("HEAD"), tip);
    assert_eq!(lab.workspaces(), ["app-feature"]);
    let agents = workspace.commit("agent.txt", "agent\n");
    linked.git("pull agentvm::feature").succeeds();
    assert_eq!(linked.tip("HEAD"), agents);
}

#[test]
fn bare_repository_pushes_and_fetches() {
    let lab = Lab::new();
    lab.host("git", "clone -q --bare app bare.git").succeeds();
    let bare = lab.repo("bare.git");
    bare.enrol("feature");
    bare.git("push agentvm::feature").succeeds();
    let workspace = lab.workspace("bare-feature");
    assert_eq!(workspace.tip("HEAD"), bare.tip("feature"));
    let agents = workspace.commit("agent.txt", "agent\n");
    bare.git("fetch agentvm::feature feature:feature").succeeds();
    assert_eq!(bare.tip("feature"), agents);
}

#[test]
fn unborn_head_can_push_another_branch() {
    let lab = Lab::new();
    lab.git("symbolic-ref HEAD refs/heads/nothing-yet").succeeds();
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(lab.workspace("app-feature").tip("HEAD"), lab.app().tip("feature"));
}

#[test]
fn repository_without_commits_gets_a_clear_error() {
    let lab = Lab::with_home("home");
    let empty = lab.init("empty");
    empty.git("push agentvm::main main").fails(1).stderr_has("src refspec main does not match");
    empty.git("agent-vm push main").fails(1).stderr_has("main");
    assert!(lab.workspaces().is_empty());
}

#[test]
fn branch_with_slashes_has_one_flat_workspace() {
    let lab = Lab::new();
    lab.git("branch fix/login/form feature").succeeds();
    lab.app().enrol("fix/login/form");
    lab.git("push agentvm::fix/login/form").succeeds();
    assert_eq!(lab.workspaces(), ["app-fix-login-form"]);
    let workspace = lab.workspace("app-fix-login-form");
    workspace.git("symbolic-ref HEAD").succeeds().stdout_is("refs/heads/fix/login/form");
    let agents = workspace.commit("agent.txt", "agent\n");
    lab.git("fetch agentvm::fix/login/form").succeeds();
    assert_eq!(lab.app().tip("FETCH_HEAD"), agents);
}

#[test]
fn branches_whose_plain_names_collide_have_two_workspaces() {
    let lab = Lab::new();
    for branch in ["a/b", "a-b"] {
        lab.git(["branch", branch, "feature"]).succeeds();
        lab.app().enrol(branch);
        lab.git(&format!("push -q agentvm::{branch}")).succeeds();
    }
    let names = lab.workspaces();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(names[0], "app-a-b");
    assert!(names[1].starts_with("app-a-b~"), "{names:?}");
    let agents = lab.workspace(&names[1]).commit("agent.txt", "in a-b\n");
    lab.git("fetch agentvm::a-b").succeeds();
    assert_eq!(lab.app().tip("FETCH_HEAD"), agents);
}

#[test]
fn branches_that_differ_in_case_have_two_workspaces() {
    let lab = Lab::new();
    lab.git("branch Feature main").succeeds();
    lab.app().enrol("Feature");
    lab.pushed_feature();
    lab.git("push -q agentvm::Feature").succeeds();
    let names = lab.workspaces();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.iter().any(|name| name.starts_with("app-Feature~")), "{names:?}");
}

#[test]
fn branch_names_outside_ascii_work() {
    let lab = Lab::new();
    for branch in ["größe", "日本/語", "café", "cafe\u{301}"] {
        lab.git(["branch", branch, "feature"]).succeeds();
        lab.app().enrol(branch);
        lab.git(["push", "-q", &format!("agentvm::{branch}")]).succeeds();
    }
    let names = lab.workspaces();
    assert_eq!(names.len(), 4, "{names:?}");
    for name in names {
        assert!(name.is_ascii(), "{name}");
        let branch = lab.workspace(&name).git("symbolic-ref --short HEAD").succeeds().text();
        let agents = lab.workspace(&name).commit("agent.txt", &branch);
        lab.git(["fetch", &format!("agentvm::{branch}")]).succeeds();
        assert_eq!(lab.app().tip("FETCH_HEAD"), agents, "{branch}");
    }
}

#[test]
fn branch_names_with_shell_text_are_only_names() {
    // voxpupuli/g10k#44
    let lab = Lab::new();
    let branches = [
        "a;touch${IFS}pwned",
        "$(touch${IFS}pwned)",
        "`touch${IFS}pwned`",
        "a'b",
        "a\"b",
        "a&b",
        "a!b",
        "a#b",
        "%s%n",
        "{a,b}",
        "$HOME",
        "<a>",
        "a|touch${IFS}pwned",
    ];
    for branch in branches {
        lab.git(["branch", branch, "feature"]).succeeds();
        lab.app().enrol(branch);
        let url = format!("agentvm::{branch}");
        lab.git(["push", "-q", &url]).succeeds();
        lab.git(["fetch", "-q", &url]).succeeds();
        lab.agent_vm(["connect", branch, "--", "true"]).succeeds();
    }
    assert_eq!(lab.workspaces().len(), branches.len());
    let status = lab.agent_vm("status --json").succeeds().json();
    let mut shown: Vec<_> = status["workspaces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|workspace| workspace["branch"].as_str().unwrap().to_owned())
        .collect();
    let mut wanted = branches.map(str::to_owned);
    shown.sort();
    wanted.sort();
    assert_eq!(shown, wanted);
    for branch in branches {
        lab.agent_vm(["clean", branch]).succeeds();
    }
    assert!(lab.workspaces().is_empty());
    let found = "find . -name 'pwned*' -not -path '*/refs/*' -not -path '*/logs/*'";
    lab.guest_sh(found).succeeds().stdout_is("");
    lab.sh(&format!("cd .. && {found}")).succeeds().stdout_is("");
}

#[test]
fn long_branch_names_are_cut_with_a_hash() {
    // superset-sh/superset#3729
    let lab = Lab::with_home("home");
    let long = lab.init(&"r".repeat(100));
    long.commit("a.txt", "a\n");
    let start = format!("{}/{}/{}", "a".repeat(120), "b".repeat(120), "c".repeat(119));
    let (one, two) = (format!("{start}1"), format!("{start}2"));
    for branch in [&one, &two] {
        long.git(["branch", branch]).succeeds();
        long.enrol(branch);
        long.git(["push", "-q", &format!("agentvm::{branch}")]).succeeds();
    }
    let names = lab.workspaces();
    assert_eq!(names.len(), 2);
    for name in &names {
        assert!(name.len() <= 255, "{name}");
        let agents = lab.workspace(name).commit("agent.txt", name);
        let branch = lab.workspace(name).git("symbolic-ref --short HEAD").succeeds().text();
        long.git(["fetch", "-q", &format!("agentvm::{branch}")]).succeeds();
        assert_eq!(long.tip("FETCH_HEAD"), agents);
    }
    long.git("agent-vm status --json").succeeds().stdout_has(&one).stdout_has(&two);
}

#[test]
fn odd_characters_in_every_path_of_the_host_do_no_harm() {
    // okteto/okteto#1101
    let lab = Lab::with_home("a home 'with' \"odd\" %n #é names");
    let app = lab.make_app();
    app.enrol("feature");
    let workspace = lab.pushed_feature();
    let agents = workspace.commit("agent.txt", "agent\n");
    lab.git("fetch agentvm::feature").succeeds();
    assert_eq!(app.tip("FETCH_HEAD"), agents);
    lab.agent_vm("status").succeeds().stdout_has("app-feature");
    lab.agent_vm("connect feature -- true").succeeds();
}

#[test]
fn repository_directory_with_odd_characters_gets_an_altered_name() {
    let lab = Lab::with_home("home");
    let odd = lab.init("my 'odd' app");
    odd.commit("a.txt", "a\n");
    odd.enrol("main");
    odd.git("push agentvm::main").succeeds();
    let names = lab.workspaces();
    assert!(names.len() == 1 && names[0].starts_with("my__odd__app-main~"), "{names:?}");
    let agents = lab.workspace(&names[0]).commit("agent.txt", "agent\n");
    odd.git("pull agentvm::main").succeeds();
    assert_eq!(odd.tip("HEAD"), agents);
}

#[test]
fn sha256_repository_goes_the_whole_round() {
    let lab = Lab::with_home("home");
    lab.host("git", "init -q --object-format=sha256 modern").succeeds();
    let modern = lab.repo("modern");
    modern.commit("a.txt", "a\n");
    modern.enrol("main");
    modern.git("push agentvm::main").succeeds();
    let workspace = lab.workspace("modern-main");
    let agents = workspace.commit("agent.txt", "agent\n");
    assert_eq!(agents.len(), 64);
    modern.git("pull agentvm::main").succeeds();
    assert_eq!(modern.tip("HEAD"), agents);
    lab.host("git", "clone -q agentvm://agent-vm/modern-main copy").succeeds();
    assert_eq!(lab.repo("copy").tip("HEAD"), agents);
}

#[test]
fn shallow_repository_goes_the_whole_round() {
    let lab = Lab::new();
    lab.app().commit("second.txt", "second\n");
    let source = format!("file://{}", lab.app().path().display());
    lab.host("git", ["clone", "-q", "--depth=1", &source, "shallow"]).succeeds();
    let shallow = lab.repo("shallow");
    shallow.enrol("main");
    shallow.git("push agentvm::main").succeeds();
    let workspace = lab.workspace("shallow-main");
    assert_eq!(workspace.read("second.txt"), "second\n");
    let agents = workspace.commit("agent.txt", "agent\n");
    shallow.git("pull agentvm::main").succeeds();
    assert_eq!(shallow.tip("HEAD"), agents);
}

#[test]
fn copied_repository_gets_workspaces_of_its_own_and_a_moved_one_keeps_them() {
    // virtualsatellite/VirtualSatellite4-CEF#13
    let lab = Lab::new();
    let first = lab.pushed_feature();
    lab.host("cp", "-a app copy/app").run();
    lab.host("sh", ["-c", "mkdir -p copy && cp -a app copy/app"]).succeeds();
    let copy = lab.repo("copy/app");
    let copied_tip = copy.commit_on("feature", "copy.txt", "copy\n");
    copy.git("push agentvm::feature").succeeds();
    let names = lab.workspaces();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(first.tip("HEAD"), lab.app().tip("feature"));
    let other = names.iter().find(|name| *name != "app-feature").unwrap();
    assert_eq!(lab.workspace(other).tip("HEAD"), copied_tip);

    lab.host("mv", "app moved").succeeds();
    let moved = lab.repo("moved");
    let moved_tip = moved.commit_on("feature", "moved.txt", "moved\n");
    moved.git("push agentvm::feature").succeeds();
    assert_eq!(lab.workspaces().len(), 2);
    assert_eq!(first.tip("HEAD"), moved_tip);
}

#[test]
fn two_repositories_of_one_name_have_two_workspaces() {
    let lab = Lab::new();
    lab.pushed_feature();
    lab.host("git", "clone -q app other/app").succeeds();
    let other = lab.repo("other/app");
    other.git("branch feature origin/feature").succeeds();
    other.enrol("feature");
    other.git("push agentvm::feature").succeeds();
    assert_eq!(lab.workspaces().len(), 2, "{:?}", lab.workspaces());
}

#[test]
fn directory_that_is_no_workspace_of_ours_is_left_alone() {
    let lab = Lab::new();
    lab.guest_sh("mkdir -p workspace/app-feature && echo mine >workspace/app-feature/notes")
        .succeeds();
    lab.git("push agentvm::feature").succeeds();
    let names = lab.workspaces();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(lab.workspace("app-feature").read("notes"), "mine\n");
}

#[test]
fn tag_of_the_branchs_name_does_not_confuse_anything() {
    // sourcegit-scm/sourcegit#2402
    let lab = Lab::new();
    lab.git("tag feature main").succeeds();
    lab.git("push agentvm::feature").succeeds();
    let workspace = lab.workspace("app-feature");
    assert_eq!(workspace.tip("HEAD"), lab.app().tip("refs/heads/feature"));
    let agents = workspace.commit("agent.txt", "agent\n");
    lab.agent_vm("fetch feature").succeeds();
    assert_eq!(lab.app().tip("refs/heads/feature"), agents);
    lab.app().git("checkout -q refs/heads/feature").run();
    lab.agent_vm("push feature").succeeds();
    assert_eq!(workspace.refs("refs/tags/feature"), "");
}

#[test]
fn remotes_of_other_helpers_do_not_get_in_the_way() {
    // GitoxideLabs/gitoxide#2076
    let lab = Lab::new();
    lab.git("remote add vm agentvm::").succeeds();
    lab.git("remote add x hg::y").succeeds();
    lab.git("config branch.feature.remote vm").succeeds();
    let workspace = lab.pushed_feature();
    let agents = workspace.commit("agent.txt", "agent\n");
    lab.agent_vm("status").succeeds().stdout_has("app-feature");
    lab.agent_vm("fetch feature").succeeds();
    assert_eq!(lab.app().tip("feature"), agents);
    lab.agent_vm("push feature").succeeds();
}

#[test]
fn transports_that_the_user_forbids_do_not_break_ours() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.commit("agent.txt", "agent\n");
    lab.git_config("protocol.allow", "never");
    lab.git_config("protocol.agentvm.allow", "always");
    lab.git("fetch agentvm::feature").succeeds();
    lab.git("push agentvm::feature main").succeeds();
    let tip = workspace.commit("more.txt", "more\n");
    lab.git("fetch agentvm::feature").env("GIT_ALLOW_PROTOCOL", "agentvm").succeeds();
    assert_eq!(lab.app().tip("FETCH_HEAD"), tip);
    lab.git("fetch agentvm::feature").env("GIT_ALLOW_PROTOCOL", "https").fails(128);
}

#[test]
fn repository_named_by_variables_is_the_one_that_is_meant() {
    let lab = Lab::new();
    let git_dir = lab.app().path().join(".git");
    let run = |words: &str| lab.host("git", words).in_dir(lab.path()).env("GIT_DIR", &git_dir);
    run("push agentvm::feature").succeeds();
    let agents = lab.workspace("app-feature").commit("agent.txt", "agent\n");
    run("fetch agentvm::feature feature:feature").succeeds();
    assert_eq!(lab.app().tip("feature"), agents);
    run("agent-vm push feature").succeeds();
    assert_eq!(lab.workspaces(), ["app-feature"]);
}

#[test]
fn repository_reached_by_a_link_is_the_same_one() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    std::os::unix::fs::symlink("app", lab.home().join("link")).unwrap();
    let tip = lab.app().commit_on("feature", "more.txt", "more\n");
    lab.repo("link").git("push agentvm::feature").succeeds();
    assert_eq!(workspace.tip("HEAD"), tip);
    assert_eq!(lab.workspaces(), ["app-feature"]);
}

#[test]
fn long_home_directory_does_not_make_sockets_too_long() {
    // psviderski/uncloud#372
    let lab = Lab::with_home(&format!("{}/{}", "ñ".repeat(40), "b".repeat(90)));
    lab.make_app().enrol("feature");
    let workspace = lab.pushed_feature();
    let agents = workspace.commit("agent.txt", "agent\n");
    lab.git("fetch agentvm::feature").succeeds().stderr_lacks("too long");
    assert_eq!(lab.app().tip("FETCH_HEAD"), agents);
    lab.agent_vm("status").succeeds().stderr_lacks("too long");
}

#[test]
fn damaged_id_of_a_repository_is_named() {
    let lab = Lab::new();
    lab.pushed_feature();
    lab.git("config agentvm.id ../../x").succeeds();
    for command in ["push agentvm::feature", "fetch agentvm::feature"] {
        lab.git(command).fails(128).stderr_has("agentvm.id").stderr_has("git config --unset");
    }
    assert_eq!(lab.workspaces(), ["app-feature"]);
}
