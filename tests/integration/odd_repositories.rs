//! Repositories that are laid out in odd ways, on either side.

use crate::support::{Lab, Repo, Workspace};

fn on_feature() -> Lab {
    let lab = Lab::new();
    lab.git("checkout -q feature").succeeds();
    lab
}

/// Pushes feature, expects a refusal of that ref, and that nothing changed in the workspace.
fn refused(lab: &Lab, workspace: &Workspace<'_>, what: &str) {
    let before = workspace.snapshot();
    let ran = lab.git("push agentvm::feature").fails(1).stderr_has(what);
    assert!(workspace.snapshot() == before, "the refused push changed the workspace\n{ran}");
}

/// Files below `in`, `out` and at the top, on feature.
fn with_directories(lab: &Lab) {
    lab.sh(
        "mkdir -p in/deep out/deep; for f in in/a in/deep/a out/a out/deep/a; do echo $f >$f; done",
    )
    .succeeds();
    lab.commit_all();
}

#[test]
fn branch_that_another_worktree_of_the_host_has_is_pushed_and_fetched() {
    let lab = Lab::new();
    lab.git("worktree add -q ../linked feature").succeeds();
    let linked = lab.repo("linked");
    let workspace = lab.pushed_feature();
    let agents = workspace.commit("agent.txt", "agent\n");
    // From the main worktree: the branch is not moved under the other one's files.
    lab.git("fetch agentvm::feature feature:feature").fails(128).stderr_has("linked");
    assert_eq!(linked.read("feature.txt"), "one\n");
    lab.git("fetch -q agentvm::feature").succeeds();
    linked.git("pull -q agentvm::feature").succeeds();
    assert_eq!(linked.tip("HEAD"), agents);
    let tip = linked.commit("linked.txt", "linked\n");
    lab.git("push agentvm::feature").succeeds();
    workspace.is_whole_at(&tip);
    assert_eq!(lab.workspaces(), ["app-feature"]);
}

#[test]
fn pushed_branch_in_a_linked_worktree_of_the_workspace_is_refused_and_the_place_named() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("git checkout -q -b other && git worktree add -q ../linked feature").succeeds();
    let before = workspace
        .sh("cat ../linked/feature.txt; git -C ../linked rev-parse HEAD")
        .succeeds()
        .text();
    lab.app().commit_on("feature", "host.txt", "host\n");
    refused(&lab, &workspace, "linked worktree");
    let after = workspace
        .sh("cat ../linked/feature.txt; git -C ../linked rev-parse HEAD")
        .succeeds()
        .text();
    assert_eq!(before, after);
    workspace.sh("git worktree remove ../linked && git checkout -q feature").succeeds();
    lab.git("push agentvm::feature").succeeds();
    workspace.is_whole_at(&lab.app().tip("feature"));
}

#[test]
fn linked_worktree_of_the_workspace_with_another_branch_stands_in_nobodys_way() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("git worktree add -q -b side ../side && cd ../side && echo side >side.txt && git add . && git commit -qm side && echo more >>side.txt").succeeds();
    let tip = lab.app().commit_on("feature", "host.txt", "host\n");
    lab.git("push agentvm::feature").succeeds();
    workspace.is_whole_at(&tip);
    workspace.sh("cat ../side/side.txt").succeeds().stdout_is("side\nmore");
    lab.git("fetch -q agentvm::feature side").succeeds();
    assert_eq!(lab.app().tip("FETCH_HEAD"), workspace.tip("side"));
    lab.agent_vm("clean feature").fails(3).stderr_has("side");
}

#[test]
fn sparse_host_sends_and_takes_all_of_it() {
    for cone in ["--cone", "--no-cone"] {
        for index in ["--sparse-index", "--no-sparse-index"] {
            let lab = on_feature();
            with_directories(&lab);
            lab.git(["sparse-checkout", "set", cone, index, "in"]).succeeds();
            assert!(!lab.app().has("out/a"));
            let workspace = lab.app().goes_the_whole_round("feature");
            assert_eq!(workspace.read("out/deep/a"), "out/deep/a\n");
            let agents = workspace.commit("out/deep/a", "agent\n");
            lab.git("pull -q agentvm::feature").succeeds();
            assert_eq!(lab.app().tip("HEAD"), agents);
            assert!(!lab.app().has("out/deep/a"));
            assert_eq!(lab.git("status --porcelain").succeeds().text(), "");
            let tip = lab.app().commit("in/b", "b\n");
            lab.git("push agentvm::feature").succeeds();
            workspace.is_whole_at(&tip);
        }
    }
}

#[test]
fn sparse_workspace_stays_sparse_and_takes_all_of_it() {
    for set in [
        "git sparse-checkout set --cone in",
        "git sparse-checkout set --cone --sparse-index in",
        "git sparse-checkout set --no-cone '/*' '!/out/'",
    ] {
        let lab = on_feature();
        with_directories(&lab);
        let workspace = lab.pushed_feature();
        workspace.sh(set).succeeds();
        assert_eq!(workspace.read("out/a"), "<none>");
        // Changes within, without, and new paths on each side of the border.
        lab.sh("echo 2 >in/a; echo 2 >out/a; echo new >in/new; echo new >out/new; mkdir far; echo new >far/new; git rm -q out/deep/a").succeeds();
        let tip = lab.commit_all();
        lab.git("push agentvm::feature").succeeds();
        assert_eq!(workspace.tip("HEAD"), tip, "{set}");
        assert_eq!(workspace.status(), "", "{set}");
        assert_eq!(workspace.read("in/a") + &workspace.read("in/new"), "2\nnew\n", "{set}");
        assert_eq!(workspace.read("out/a"), "<none>", "{set}");
        let agents = workspace.commit("in/a", "agent\n");
        lab.git("pull -q agentvm::feature").succeeds();
        assert_eq!(lab.app().tip("HEAD"), agents);
        assert_eq!(lab.app().read("out/new"), "new\n");
        workspace.git("sparse-checkout disable").succeeds();
        workspace.is_whole_at(&agents);
    }
}

#[test]
fn file_where_a_sparse_workspace_has_none_is_not_overwritten() {
    for set in
        ["git sparse-checkout set --cone in", "git sparse-checkout set --no-cone '/*' '!/out/'"]
    {
        let lab = on_feature();
        with_directories(&lab);
        let workspace = lab.pushed_feature();
        workspace.sh(set).succeeds();
        // A file of the agent's own, and one that hides a tracked path.
        workspace.write("out/new", "the agent's\n");
        workspace.write("out/a", "the agent's\n");
        lab.sh("echo host >out/new; echo host >out/a").succeeds();
        lab.commit_all();
        refused(&lab, &workspace, "out/a");
        workspace.sh("mv out/a ../saved").succeeds();
        refused(&lab, &workspace, "out/new");
        workspace.sh("rm out/new").succeeds();
        lab.git("push agentvm::feature").succeeds();
        assert_eq!(workspace.tip("HEAD"), lab.app().tip("HEAD"));
        assert_eq!(workspace.status(), "");
    }
}

#[test]
fn partial_and_sparse_host_sends_all_of_it() {
    let lab = Lab::new();
    lab.git("checkout -q feature").succeeds();
    with_directories(&lab);
    lab.git("config uploadpack.allowFilter true").succeeds();
    lab.git("config uploadpack.allowAnySHA1InWant true").succeeds();
    let source = format!("file://{}", lab.app().path().display());
    lab.host(
        "git",
        ["clone", "-q", "--filter=blob:none", "--sparse", "-b", "feature", &source, "thin"],
    )
    .succeeds();
    let thin = lab.repo("thin");
    thin.git("sparse-checkout set in").succeeds();
    assert!(thin.git("rev-list --objects --all --missing=print").succeeds().text().contains('?'));
    let workspace = thin.goes_the_whole_round("feature");
    assert_eq!(workspace.read("out/deep/a"), "out/deep/a\n");
    assert!(!thin.has("out/a"));
}

#[test]
fn links_to_other_repositories_go_both_ways_with_a_word_on_what_is_empty() {
    // pingdotgg/t3code#7672
    let lab = on_feature();
    let sub = lab.init("sub");
    let inner = sub.commit("inner.txt", "inner\n");
    lab.sh("git -c protocol.file.allow=always submodule --quiet add ../sub 'libs/sub one'")
        .succeeds();
    lab.sh("git clone -q ../sub unlisted && git add unlisted").succeeds();
    lab.sh("git update-index --add --cacheinfo 160000,$(git -C ../sub rev-parse HEAD),far && mkdir far &&
        git config -f .gitmodules submodule.far.path far &&
        git config -f .gitmodules submodule.far.url https://example.org/far && git add .gitmodules").succeeds();
    lab.git("commit -qm submodules").succeeds();
    lab.git("push agentvm::feature")
        .succeeds()
        .stderr_has("warning: the push carries no contents of submodules; the workspace has none of: far, libs/sub one, unlisted")
        .stderr_has("git agent-vm connect feature -- git submodule update --init fills them")
        .stderr_has("cannot reach the address of: libs/sub one (from ../sub)")
        .stderr_has("without an entry in .gitmodules, git knows no server for: unlisted");
    lab.agent_vm(["connect", "feature", "--", "ls", "-A", "libs/sub one"]).succeeds().stdout_is("");
    let workspace = lab.workspace("app-feature");
    assert_eq!(workspace.tip("HEAD:libs/sub one"), inner);
    assert_eq!(workspace.tip("HEAD:unlisted"), inner);
    assert_eq!(workspace.status(), "");
    workspace.sh("test -d unlisted && test -d 'libs/sub one'").succeeds();
    // Said where they come or change, not at every push.
    lab.app().commit("more.txt", "more\n");
    lab.git("push agentvm::feature").succeeds().stderr_lacks("submodule");
    lab.repo("app/libs/sub one").commit("inner.txt", "changed\n");
    lab.sh("git commit -qam bump").succeeds();
    lab.git("push agentvm::feature").succeeds().stderr_has("none of: libs/sub one\n");
    let agents = workspace.commit("agent.txt", "agent\n");
    lab.git("pull -q agentvm::feature").succeeds();
    assert_eq!(lab.app().tip("HEAD"), agents);
    assert_eq!(lab.git("status --porcelain").succeeds().text(), "");
    assert_eq!(lab.app().read("unlisted/inner.txt"), "inner\n");
}

#[test]
fn settings_that_push_submodules_publish_nothing_behind_the_users_back() {
    let lab = on_feature();
    let sub = lab.init("sub");
    sub.commit("inner.txt", "inner\n");
    sub.git("config receive.denyCurrentBranch updateInstead").succeeds();
    lab.sh(
        "git -c protocol.file.allow=always submodule --quiet add ../sub sub && git commit -qm sub",
    )
    .succeeds();
    lab.repo("app/sub").commit("secret.txt", "not yet\n");
    lab.sh("git commit -qam bump").succeeds();
    let published = sub.tip("HEAD");
    lab.git("config push.recurseSubmodules on-demand").succeeds();
    lab.agent_vm("push feature").succeeds();
    assert_eq!(sub.tip("HEAD"), published);
    assert_eq!(lab.workspace("app-feature").tip("HEAD"), lab.app().tip("HEAD"));
}

#[test]
fn commit_without_any_file_goes_both_ways() {
    let lab = Lab::with_home("home");
    let bare = lab.init("app");
    bare.git("commit -q --allow-empty -m nothing").succeeds();
    let workspace = bare.goes_the_whole_round("main");
    // And from something to nothing.
    lab.sh("git rm -qr . && git commit -qm emptied").succeeds();
    lab.git("push agentvm::main").succeeds();
    workspace.is_whole_at(&bare.tip("HEAD"));
    workspace.sh("ls -A").succeeds().stdout_is(".git");
}

#[test]
fn histories_without_a_common_root_and_with_many_parents_go_both_ways() {
    let lab = on_feature();
    lab.sh("git checkout -q --orphan second && git rm -qrf . && echo 2 >second.txt && git add . && git commit -qm second &&
        git checkout -q --orphan third && git rm -qrf . && echo 3 >third.txt && git add . && git commit -qm third &&
        git checkout -q feature && git checkout -q -b octopus && tree=$(git merge-tree --write-tree --allow-unrelated-histories HEAD second) &&
        git reset -q --hard $(git commit-tree -p HEAD -p second -p third -p main -m octopus $tree)").succeeds();
    let workspace = lab.app().goes_the_whole_round("octopus");
    workspace.git("rev-list --max-parents=0 --count HEAD").succeeds().stdout_is("3");
    let second = lab.app().goes_the_whole_round("second");
    second.git("rev-list --max-parents=0 --count HEAD").succeeds().stdout_is("1");
    // The agent starts over without any parent.
    workspace.sh("git checkout -q --orphan fresh && git commit -qm fresh").succeeds();
    lab.git("fetch -q agentvm::octopus fresh").succeeds();
    assert_eq!(lab.app().tip("FETCH_HEAD"), workspace.tip("fresh"));
    workspace.sh("git checkout -q octopus").succeeds();
    // A branch that is forced to a history of its own: what it was is kept.
    let agents = workspace.tip("HEAD");
    lab.git("push -f agentvm::octopus third:octopus").succeeds();
    workspace.is_whole_at(&lab.app().tip("third"));
    assert!(workspace.refs("refs/rescue").contains(&agents));
}

#[test]
fn thousand_branches_go_both_ways() {
    let lab = on_feature();
    let script = "for i in $(seq 1000); do echo create refs/heads/many/$i HEAD; done | git update-ref --stdin";
    lab.sh(script).succeeds();
    let workspace = lab.app().goes_the_whole_round("feature");
    lab.git("push -q agentvm::feature refs/heads/many/*").succeeds();
    assert_eq!(workspace.refs("refs/heads/many").lines().count(), 1000);
    workspace.sh("git commit -q --allow-empty -m on && for i in $(seq 1000); do echo create refs/heads/agents/$i HEAD; done | git update-ref --stdin").succeeds();
    lab.git("fetch -q agentvm::feature refs/heads/agents/*:refs/heads/from/*").succeeds();
    assert_eq!(lab.app().refs("refs/heads/from").lines().count(), 1000);
    lab.git("pull -q agentvm::feature").succeeds();
    lab.app().commit("after.txt", "after\n");
    lab.git("push agentvm::feature").succeeds().took_under_seconds(20);
    assert_eq!(workspace.tip("HEAD"), lab.app().tip("HEAD"));
}

#[test]
fn replaced_and_grafted_commits_are_sent_as_they_are() {
    let lab = on_feature();
    lab.app().commit("second.txt", "second\n");
    let real = lab.app().tip("HEAD^");
    lab.sh("git replace HEAD^ $(git commit-tree -m 'a lie' HEAD^^{tree})").succeeds();
    let workspace = lab.app().goes_the_whole_round("feature");
    assert_eq!(workspace.tip("HEAD~2"), real);
    workspace.git("rev-list --count HEAD").succeeds().stdout_is("4");
    lab.git("replace -d HEAD~2").run();
    lab.sh("git replace -l | xargs -r git replace -d; git rev-parse HEAD >.git/info/grafts")
        .succeeds();
    let tip = lab.app().commit("third.txt", "third\n");
    lab.git("push agentvm::feature").succeeds();
    workspace.is_whole_at(&tip);
    lab.sh("rm .git/info/grafts").succeeds();
    workspace.git("rev-list --count HEAD").succeeds().stdout_is("5");
    // A lie of the agent's.
    workspace.sh("git replace HEAD $(git commit-tree -m 'a lie' HEAD^{tree})").succeeds();
    let agents = workspace.commit("agent.txt", "agent\n");
    lab.git("pull -q agentvm::feature").succeeds();
    assert_eq!(lab.app().tip("HEAD"), agents);
    lab.git("rev-list --count HEAD").succeeds().stdout_is("6");
}

#[test]
fn notes_stay_where_they_were_made() {
    let lab = on_feature();
    lab.git("notes add -m ours HEAD").succeeds();
    let workspace = lab.app().goes_the_whole_round("feature");
    assert_eq!(workspace.refs("refs/notes"), "");
    workspace.git("notes add -m theirs HEAD").succeeds();
    workspace.commit("more.txt", "more\n");
    lab.git("pull -q agentvm::feature").succeeds();
    lab.git("notes show HEAD~2").succeeds().stdout_is("ours");
    // Asked for by name, they go along as refs do.
    lab.git("push -q agentvm::feature refs/notes/commits").fails(1);
}

#[test]
fn hosts_that_borrow_their_objects_send_all_of_them() {
    let lab = Lab::new();
    let path = lab.app().path().display().to_string();
    lab.host("git", ["clone", "-q", "--shared", "-b", "feature", &path, "shared"]).succeeds();
    lab.host(
        "git",
        [
            "clone",
            "-q",
            "--reference",
            &path,
            "-b",
            "feature",
            &format!("file://{path}"),
            "referring",
        ],
    )
    .succeeds();
    for name in ["shared", "referring"] {
        let repo = lab.repo(name);
        assert!(repo.has(".git/objects/info/alternates"));
        let workspace = repo.goes_the_whole_round("feature");
        workspace.sh("test ! -e .git/objects/info/alternates").succeeds();
        lab.agent_vm("status").succeeds();
        repo.git("agent-vm clean feature").succeeds();
    }
}

#[test]
fn damaged_commit_graph_of_the_host_sends_nothing_wrong() {
    let lab = on_feature();
    lab.app().commit("second.txt", "second\n");
    lab.git("commit-graph write --reachable").succeeds();
    let graph = lab.app().path().join(".git/objects/info/commit-graph");
    let bytes = fs_err::read(&graph).unwrap();
    for damage in ["cut", "zeroed"] {
        fs_err::remove_file(&graph).unwrap();
        let damaged = match damage {
            "cut" => bytes[..bytes.len() / 2].to_vec(),
            _ => [&bytes[..8], &vec![0; bytes.len() - 8]].concat(),
        };
        fs_err::write(&graph, damaged).unwrap();
        let tip = lab.app().commit("README.md", damage);
        let ran = lab.git("push agentvm::feature").run();
        if ran.code == 0 {
            lab.workspace("app-feature").is_whole_at(&tip);
        } else {
            assert!(ran.errors().contains("commit-graph"), "{ran}");
        }
    }
    fs_err::remove_file(&graph).unwrap();
    lab.app().goes_the_whole_round("feature");
}

#[test]
fn host_whose_work_tree_is_elsewhere_is_one_repository() {
    let lab = Lab::new();
    lab.host("sh", ["-c", "mkdir tree && git init -q --bare dots.git && git -C dots.git config core.bare false && git -C dots.git config core.worktree ../tree"]).succeeds();
    let dots = lab.repo("dots.git");
    dots.git("--work-tree=../tree commit -q --allow-empty -m first").succeeds();
    fs_err::write(lab.home().join("tree/.profile"), "x\n").unwrap();
    dots.git("--work-tree=../tree add -A").run();
    lab.host("git", "--git-dir=dots.git add -A").in_dir(lab.home()).run();
    lab.host("sh", ["-c", "cd tree && git --git-dir=../dots.git add .profile && git --git-dir=../dots.git commit -qm second"]).succeeds();
    let in_tree = |words: &str| {
        lab.host("git", words)
            .in_dir(lab.home().join("tree"))
            .env("GIT_DIR", lab.home().join("dots.git"))
    };
    in_tree("push agentvm::main main:main").succeeds();
    let workspace = lab.workspace("dots-main");
    assert_eq!(workspace.read(".profile"), "x\n");
    let agents = workspace.commit("agent.txt", "agent\n");
    in_tree("pull -q agentvm::main").succeeds();
    assert_eq!(dots.tip("main"), agents);
    assert!(lab.home().join("tree/agent.txt").exists());
    // The same with both named by variables, from somewhere else.
    let elsewhere = lab.host("git", "agent-vm push main").in_dir(lab.path());
    elsewhere
        .env("GIT_DIR", lab.home().join("dots.git"))
        .env("GIT_WORK_TREE", lab.home().join("tree"))
        .succeeds();
    assert_eq!(lab.workspaces(), ["dots-main"]);
}

#[test]
fn hooks_in_a_linked_worktree_run_our_verbs_on_the_right_repository() {
    // evilmartians/lefthook#1265
    let lab = Lab::new();
    lab.git("branch other main").succeeds();
    lab.git("worktree add -q ../linked feature").succeeds();
    let linked = lab.repo("linked");
    let hook = "#!/bin/sh\n[ -z \"$NESTED\" ] || exit 0\nNESTED=1; export NESTED\n\
        git agent-vm status --json >../status.json || exit 1\ngit agent-vm push other\n";
    lab.app().write(".git/hooks/pre-push", hook);
    lab.sh("chmod +x .git/hooks/pre-push").succeeds();
    let tip = linked.commit("linked.txt", "linked\n");
    linked.git("push agentvm::feature").succeeds().took_under_seconds(30);
    let names = lab.workspaces();
    assert_eq!(names, ["app-feature", "app-other"]);
    lab.workspace("app-feature").is_whole_at(&tip);
    lab.workspace("app-other").is_whole_at(&lab.app().tip("other"));
    let status = fs_err::read_to_string(lab.home().join("status.json")).unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["workspaces"][0]["here"], true);
    let config = String::from_utf8(lab.app().config_bytes()).unwrap();
    assert!(!config.contains("worktree =") && !config.contains("bare = true"), "{config}");
    assert_eq!(config.matches("id = ").count(), 1, "{config}");
}

#[test]
fn both_sides_shallow_at_different_depths_work() {
    // rwx-cloud/rwx#576
    let lab = on_feature();
    for index in 0..8 {
        lab.app().commit("count.txt", index.to_string());
    }
    let source = format!("file://{}", lab.app().path().display());
    lab.host("git", ["clone", "-q", "--depth=3", "-b", "feature", &source, "shallow"]).succeeds();
    let shallow = lab.repo("shallow");
    let workspace = shallow.goes_the_whole_round("feature");
    workspace.git("rev-list --count HEAD").succeeds().stdout_is("4");
    shallow.git("fetch -q --deepen=2 origin feature").succeeds();
    let agents = workspace.commit("agent.txt", "agent\n");
    shallow.git("pull -q agentvm::feature").succeeds();
    assert_eq!(shallow.tip("HEAD"), agents);
    workspace.commit("more.txt", "more\n");
    shallow.git("fetch -q --depth 1 agentvm::feature").succeeds();
    // What was fetched without its parents does not join on.
    shallow.commit("host.txt", "host\n");
    shallow.git("push agentvm::feature").fails(1).stderr_has("(non-fast-forward)");
    assert_eq!(workspace.read("agent.txt"), "agent\n");
    shallow.git("fetch -q --deepen=9 agentvm::feature").succeeds();
    shallow.git("pull -q --no-rebase --no-edit agentvm::feature").succeeds();
    let tip = shallow.commit("last.txt", "last\n");
    shallow.git("push agentvm::feature").succeeds();
    assert_eq!(workspace.tip("HEAD"), tip);
}

#[test]
fn host_that_cannot_be_written_to_is_named() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.commit("agent.txt", "agent\n");
    let fresh = lab.home().join("fresh");
    lab.host("git", "clone -q app fresh").succeeds();
    let Some(_mounts) = ReadOnly::new(&lab, &[lab.app(), lab.repo("fresh")]) else { return };
    let before = workspace.snapshot();
    let ran = lab.git("fetch agentvm::feature").run();
    assert!(ran.code != 0 && ran.errors().contains("Read-only file system"), "{ran}");
    let fresh = Repo { lab: &lab, dir: fresh };
    fresh
        .git("push agentvm::main main")
        .fails(128)
        .stderr_has("Read-only file system")
        .stderr_has("config");
    fresh.git("agent-vm push main").fails(1).stderr_has("config");
    assert_eq!(lab.workspaces(), ["app-feature"]);
    assert_eq!(workspace.snapshot(), before);
    // What has an id already needs nothing written to send.
    workspace.git("reset -q --hard HEAD~").succeeds();
    lab.git("push agentvm::feature main:side").succeeds();
    assert_eq!(workspace.tip("side"), lab.app().tip("main"));
    lab.agent_vm("status").succeeds().stdout_has("app-feature");
}

/// Repositories that are mounted onto themselves for reading only.
struct ReadOnly(Vec<std::path::PathBuf>);

impl ReadOnly {
    fn new(lab: &Lab, repos: &[Repo<'_>]) -> Option<Self> {
        let mut mounted = Self(Vec::new());
        for repo in repos {
            let path = repo.path().to_str().unwrap();
            if lab.host("mount", ["--bind", path, path]).run().code != 0 {
                eprintln!("left out: only root can mount for reading only");
                return None;
            }
            mounted.0.push(repo.path().to_owned());
            lab.host("mount", ["-o", "remount,ro,bind", path]).succeeds();
        }
        Some(mounted)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        for path in &self.0 {
            std::process::Command::new("umount").arg("-l").arg(path).status().ok();
        }
    }
}
