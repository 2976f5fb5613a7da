//! Worktrees, repositories inside and submodules.

use super::{has, refused, save_and_clean, there};
use crate::support::Lab;

#[test]
fn linked_worktrees_are_looked_into_and_let_go() {
    // openclaw/openclaw#129414
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace
        .sh("git worktree add -q -b x ../x; echo w >../x/w; echo .env >.git/info/exclude; echo S >../x/.env
            git worktree add -q --detach inner; cd inner; git commit -q --allow-empty -m loose
            git update-ref refs/worktree/own $(git commit-tree -m own HEAD^{tree})")
        .succeeds();
    let own = there(&workspace, "git -C inner rev-parse refs/worktree/own HEAD");
    refused(&lab, &["/workspace/x:", ".env", "worktree inner", "worktrees/inner/HEAD"]);
    assert_eq!(lab.workspaces(), ["app-feature", "x"]);
    save_and_clean(&lab, "worktrees", 2);
    for id in own.lines() {
        has(&lab, id);
    }
    lab.sh("tar xOf app-feature.kept-1.tar").succeeds().stdout_is("S");
}

#[test]
fn repositories_inside_are_found_wherever_they_are() {
    let init = "git init -q sub; cd sub; echo only >copy";
    let commit = "git add -A; git -c user.name=a -c user.email=a@b commit -qm only";
    for (what, script) in [
        ("untracked", format!("{init}; {commit}")),
        ("unborn", "git init -q sub; echo only >sub/copy".to_owned()),
        ("ignored", format!("echo sub >.git/info/exclude; {init}; {commit}")),
        ("below what can be built", format!("echo target >.git/info/exclude; mkdir target; cd target; {init}; {commit}")),
        ("a link without an entry", format!("({init}; {commit}); git add -A 2>/dev/null; git commit -qm link")),
        ("with a stash alone", format!("{init}; {commit}; echo x >copy; git config user.name a; git config user.email a@b; git stash -q
            git remote add o https://example.org/o; git update-ref refs/remotes/o/m HEAD")),
        ("a clone from inside the VM", format!("git clone -q . ../other; cd ../other; touch only; {commit}
            cd ../app-feature; git clone -q ../other sub; rm -rf ../other")),
        ("broken", "git init -q sub; echo only >sub/copy; rm sub/.git/HEAD".to_owned()),
    ] {
        let lab = Lab::new();
        let workspace = lab.pushed_feature();
        workspace.sh(&script).succeeds();
        if what == "a link without an entry" {
            // gsd-build/gsd-2#3044: every commit was fetched.
            lab.git("fetch -q agentvm::feature").succeeds();
        }
        refused(&lab, &["nested", "sub"]);
        save_and_clean(&lab, what, 1);
        lab.sh("tar tf app-feature.kept-1.tar").succeeds().stdout_has("sub/");
    }
}

#[test]
fn repository_inside_whose_work_is_elsewhere_is_no_loss() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace
        .sh("git init -q sub && cd sub && git config user.email a@b && git commit -q --allow-empty -m x &&
            git tag -am theirs v1 && git remote add origin https://example.org/x &&
            git update-ref refs/remotes/origin/main HEAD; git init -q ../empty")
        .succeeds();
    lab.agent_vm("clean feature").succeeds();
}

/// A host whose feature has the submodule `sub`, and a repository of it in the VM.
fn lab_with_submodule() -> Lab {
    let lab = Lab::new();
    let lib = lab.init("lib");
    lib.commit("lib.txt", "lib\n");
    lab.sh("git checkout -q feature && git -c protocol.file.allow=always submodule -q add ../lib sub &&
        git commit -qm submodule && git checkout -q main")
        .succeeds();
    lab.git("push -q agentvm::feature").succeeds();
    // As the agent would get it from the network.
    let script = "rm -rf sub; git clone -q --bare \"$1\" ../../lib.git && git -c protocol.file.allow=always \
        -c submodule.sub.url=\"$HOME/lib.git\" submodule -q update --init";
    let bundle = lab.path().join("lib.bundle");
    lib.git(["bundle", "create", "-q", bundle.to_str().unwrap(), "--all"]).succeeds();
    lab.workspace("app-feature").sh_with(script, [bundle.to_str().unwrap()]).succeeds();
    lab
}

#[test]
fn submodule_whose_commits_are_here_is_no_loss() {
    let lab = lab_with_submodule();
    assert_eq!(lab.workspace("app-feature").read("sub/lib.txt"), "lib\n");
    lab.agent_vm("clean feature").succeeds();
}

#[test]
fn work_in_a_submodule_is_saved() {
    let lab = lab_with_submodule();
    let workspace = lab.workspace("app-feature");
    let script =
        "cd sub; git config user.email a@b; git config user.name a; git checkout -q --detach;
        echo only >only.txt; git add .; git commit -qm only; git rev-parse HEAD; echo more >more.txt
        echo stash >lib.txt; git stash -q; git rev-parse stash; echo S >.env
        echo .env >>\"$(git rev-parse --git-dir)/info/exclude\"";
    let ids = there(&workspace, script);
    refused(&lab, &["submodule sub", "more.txt", ".env"]);
    save_and_clean(&lab, "submodule", 2);
    for id in ids.lines() {
        has(&lab, id);
    }
    let pointed = lab.git("rev-parse feature:sub").succeeds().text();
    lab.git(["show", &format!("{pointed}:more.txt")]).succeeds().stdout_is("more");
}

#[test]
fn submodule_without_its_work_tree_is_looked_into() {
    let lab = lab_with_submodule();
    let workspace = lab.workspace("app-feature");
    let id = there(
        &workspace,
        "cd sub; git config user.email a@b; git config user.name a
         git commit -q --allow-empty -m only; git rev-parse HEAD
         cd ..; git submodule -q deinit -f sub",
    );
    refused(&lab, &["1 commit in submodule .git/modules/sub"]);
    save_and_clean(&lab, "deinit", 1);
    has(&lab, &id);
}

#[test]
fn files_in_the_place_of_an_empty_submodule_are_seen() {
    // pingdotgg/t3code#7672: git itself does not look there.
    let lab = lab_with_submodule();
    let workspace = lab.workspace("app-feature");
    workspace
        .sh("git submodule -q deinit -f sub; rm -rf .git/modules; echo only >sub/notes.txt")
        .succeeds();
    assert_eq!(workspace.status(), "");
    refused(&lab, &["1 submodule's place: sub"]);
    save_and_clean(&lab, "a file in an empty submodule", 1);
    lab.sh("tar xOf app-feature.kept-1.tar sub/notes.txt").succeeds().stdout_is("only");
}
