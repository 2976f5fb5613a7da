//! `fetch --wip`: the uncommitted state of a workspace as a commit here, and nothing touched there.

use crate::support::{Lab, Workspace};

pub(crate) const WIP: &str = "refs/agentvm/wip/feature";

/// Every file and directory of a workspace, `.git` too, with its times, size, mode and inode; the bytes
/// of the index, HEAD, all refs, and the names of all objects (git itself renews their times).
pub(crate) fn everything(workspace: &Workspace<'_>) -> Vec<String> {
    let script =
        "find . -path ./.git/objects -prune -o -printf '%p %T@ %C@ %i %s %m\\n' | LC_ALL=C sort
        cksum .git/index; cat .git/HEAD; git for-each-ref; find .git/objects | LC_ALL=C sort";
    workspace.sh(script).succeeds().text().lines().map(str::to_owned).collect()
}

pub(crate) fn assert_untouched(workspace: &Workspace<'_>, before: &[String]) {
    let after = everything(workspace);
    let lines = |some: &[String], others: &[String]| -> Vec<String> {
        some.iter().filter(|line| !others.contains(line)).cloned().collect()
    };
    let (was, is) = (lines(before, &after), lines(&after, before));
    assert!(was.is_empty() && is.is_empty(), "it was {was:#?}\nand is {is:#?}");
}

pub(crate) fn fetch(lab: &Lab) -> String {
    lab.agent_vm("fetch --wip feature").succeeds().errors()
}

/// A file of the commit that was brought.
pub(crate) fn kept(lab: &Lab, path: &str) -> String {
    let ran = lab.git(["cat-file", "blob", &format!("{WIP}:{path}")]).run();
    if ran.code == 0 { String::from_utf8_lossy(&ran.stdout).into_owned() } else { "<none>".into() }
}

fn paths(lab: &Lab, revision: &str) -> String {
    lab.git(["ls-tree", "-r", "--name-only", revision]).succeeds().text()
}

#[test]
fn uncommitted_state_comes_as_a_commit_and_nothing_is_touched() {
    let lab = Lab::new();
    let app = lab.app();
    app.commit_on("feature", "gone.txt", "gone\n");
    let workspace = lab.pushed_feature();
    workspace
        .sh("echo '*.log' >.gitignore && git add .gitignore && git commit -qm ignore
            echo two >>feature.txt; rm gone.txt; git mv README.md READ.md
            printf '#!/bin/sh\\n' >run; chmod +x run; ln -s feature.txt link; ln -s /nowhere/else away
            mkdir -p new/dir; echo new >new/dir/file; : >empty; echo noise >x.log
            echo intent >intent; git add -N intent")
        .succeeds();
    let before = everything(&workspace);
    let (branches, head) = (app.refs("refs/heads"), workspace.tip("HEAD"));
    let said = fetch(&lab);
    assert!(
        said.contains("workspace 'app-feature', on branch feature: 10 files not committed"),
        "{said}"
    );
    assert_untouched(&workspace, &before);
    assert_eq!(app.refs("refs/heads"), branches);
    assert_eq!(app.tip(&format!("{WIP}^1")), head);
    let listed = lab.git(["ls-tree", "-r", WIP]).succeeds().text();
    for (mode, path) in [
        ("100644", ".gitignore"),
        ("120000", "away"),
        ("100644", "empty"),
        ("100644", "feature.txt"),
        ("100644", "intent"),
        ("120000", "link"),
        ("100644", "new/dir/file"),
        ("100644", "READ.md"),
        ("100755", "run"),
    ] {
        let is_it = |line: &str| line.starts_with(mode) && line.ends_with(&format!("\t{path}"));
        assert!(listed.lines().any(is_it), "{mode} {path}\n{listed}");
    }
    assert_eq!(listed.lines().count(), 9, "{listed}");
    assert_eq!(kept(&lab, "feature.txt"), "one\ntwo\n");
    assert_eq!(kept(&lab, "away"), "/nowhere/else");
    let message = lab.git(["log", "-1", "--format=%B", WIP]).succeeds().text();
    for part in [
        "work in progress in app-feature on feature",
        "Time by the host: ",
        " UTC",
        "HEAD: refs/heads/feature",
    ] {
        assert!(message.contains(part), "{message}");
    }
    lab.git("fsck --full --strict").succeeds();
    // Nothing stays behind in the VM.
    lab.guest_sh("ls -A .local/state/agentvm 2>/dev/null; true").succeeds().stdout_is("");
}

#[test]
fn staged_content_that_differs_is_kept_as_the_second_parent() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace
        .sh("echo staged >feature.txt; git add feature.txt; echo later >feature.txt
            echo once >gone-again; git add gone-again; rm gone-again")
        .succeeds();
    let before = everything(&workspace);
    fetch(&lab);
    assert_untouched(&workspace, &before);
    assert_eq!(kept(&lab, "feature.txt"), "later\n");
    let staged =
        |path: &str| lab.git(["cat-file", "blob", &format!("{WIP}^2:{path}")]).succeeds().text();
    assert_eq!((staged("feature.txt").as_str(), staged("gone-again").as_str()), ("staged", "once"));
    assert_eq!(kept(&lab, "gone-again"), "<none>");
    // git's own word for such a commit.
    lab.git("checkout -q feature").succeeds();
    lab.git(["stash", "apply", "-q", WIP]).succeeds();
    assert_eq!(lab.app().read("feature.txt"), "later\n");
}

#[test]
fn clean_workspace_is_its_head_and_an_unchanged_one_costs_nothing() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let said = fetch(&lab);
    assert!(said.contains("all is committed"), "{said}");
    let head = workspace.tip("HEAD");
    assert_eq!(lab.app().tip(WIP), head);
    workspace.write("big.bin", vec![7; 300_000]);
    fetch(&lab);
    let first = lab.app().tip(WIP);
    assert_ne!(first, head);
    let objects = || lab.git("count-objects -v").succeeds().text();
    let before = objects();
    lab.wait_until("the clock has moved on", |lab| {
        lab.git(["log", "-1", "--format=%ct", WIP]).succeeds().text()
            != lab.sh("date +%s").succeeds().text()
    });
    fetch(&lab);
    assert_eq!((lab.app().tip(WIP), objects()), (first.clone(), before));
    // What the ref was is in its reflog.
    workspace.write("big.bin", "small\n");
    fetch(&lab);
    let log = lab.git(["reflog", "show", "--format=%H", WIP]).succeeds().text();
    let log: Vec<&str> = log.lines().collect();
    assert_eq!(log, [lab.app().tip(WIP).as_str(), &first, &head]);
}

#[test]
fn merge_in_progress_comes_with_its_conflict_markers() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace
        .sh("echo both >other.txt; git add .; git commit -qm other
            git checkout -qb side HEAD~1; echo theirs >feature.txt; echo x >both; git add .; git commit -qm theirs
            git checkout -q feature; echo ours >feature.txt; git add .; git commit -qm ours
            ! git merge side 2>&1; echo staged >other.txt; git add other.txt; echo after >other.txt")
        .succeeds();
    workspace.sh("git ls-files -u | grep -q feature.txt").succeeds();
    let before = everything(&workspace);
    fetch(&lab);
    assert_untouched(&workspace, &before);
    let text = kept(&lab, "feature.txt");
    for part in ["<<<<<<< HEAD\nours\n", "theirs\n>>>>>>> side\n"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(
        lab.git(["cat-file", "blob", &format!("{WIP}^2:other.txt")]).succeeds().text(),
        "staged"
    );
    lab.git(["log", "-1", "--format=%B", WIP]).succeeds().stdout_has("In progress: merge");
}

#[test]
fn unborn_branch_and_an_empty_workspace_pass() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("git checkout -q --orphan fresh; git rm -rqf .").succeeds();
    let said = fetch(&lab);
    assert!(said.contains("'app-feature' has neither a file nor a commit yet"), "{said}");
    workspace.sh("echo first >first; echo staged >both; git add both; echo now >both").succeeds();
    let before = everything(&workspace);
    fetch(&lab);
    assert_untouched(&workspace, &before);
    assert_eq!(paths(&lab, WIP), "both\nfirst");
    assert_eq!(kept(&lab, "both"), "now\n");
    assert_eq!(lab.git(["cat-file", "blob", &format!("{WIP}^1:both")]).succeeds().text(), "staged");
}

#[test]
fn workspace_without_an_index_or_a_file_passes() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("rm .git/index *").succeeds();
    fetch(&lab);
    assert_eq!(paths(&lab, WIP), "");
    workspace.sh("! [ -e .git/index ]").succeeds();
    workspace.sh("echo new >feature.txt").succeeds();
    fetch(&lab);
    assert_eq!(kept(&lab, "feature.txt"), "new\n");
}

#[test]
fn hidden_changes_come_and_a_sparse_checkout_loses_nothing() {
    // jedbjorn/subfloor#574
    let lab = Lab::new();
    let app = lab.app();
    app.commit_on("feature", "cfg", "cfg\n");
    app.commit_on("feature", "far/away.txt", "far\n");
    let workspace = lab.pushed_feature();
    workspace
        .sh("git update-index --assume-unchanged feature.txt; git update-index --skip-worktree cfg
            echo changed >feature.txt; echo changed >cfg")
        .succeeds();
    let before = everything(&workspace);
    fetch(&lab);
    assert_untouched(&workspace, &before);
    assert_eq!(
        (kept(&lab, "feature.txt").as_str(), kept(&lab, "cfg").as_str()),
        ("changed\n", "changed\n")
    );
    assert_eq!(kept(&lab, "far/away.txt"), "far\n");
    // What a sparse checkout left out is not deleted.
    for kind in ["--cone", "--no-cone"] {
        workspace
            .sh(&format!("git update-index --no-assume-unchanged feature.txt; git update-index --no-skip-worktree cfg
                git checkout -q . && git sparse-checkout set {kind} near && ! [ -e far ]
                mkdir -p far near; echo new >far/new.txt; echo near >near/n.txt"))
            .succeeds();
        let before = everything(&workspace);
        fetch(&lab);
        assert_untouched(&workspace, &before);
        assert_eq!(kept(&lab, "far/away.txt"), "far\n");
        assert_eq!(
            (kept(&lab, "far/new.txt").as_str(), kept(&lab, "near/n.txt").as_str()),
            ("new\n", "near\n")
        );
    }
}

#[test]
fn settings_of_the_agent_hide_nothing_and_run_nothing() {
    // Digital-Process-Tools/claude-supertool#1290
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.guest_sh("echo '*.txt' >ignore; git config --global core.excludesFile ~/ignore
        git config --global init.defaultRefFormat reftable; git config --global init.templateDir ~/none")
        .succeeds();
    workspace
        .sh("git config status.showUntrackedFiles no; git config core.fsmonitor 'touch ~/ran; false'
            git config core.safecrlf true; git config core.autocrlf input
            git config core.splitIndex true; git config core.untrackedCache true
            git config diff.ignoreSubmodules all; git config core.hooksPath ~/hooks
            git update-index --split-index -q --refresh 2>/dev/null
            rm -f ~/ran; mkdir ~/hooks; printf '#!/bin/sh\\ntouch ~/ran' >~/hooks/post-index-change; chmod +x ~/hooks/*
            echo work >work.txt; printf 'a\\r\\nb\\n' >mixed.txt")
        .succeeds();
    fetch(&lab);
    assert_eq!(kept(&lab, "work.txt"), "work\n");
    assert_eq!(kept(&lab, "mixed.txt"), "a\nb\n");
    lab.guest_sh("! [ -e ran ]").succeeds();
}

#[test]
fn names_with_every_byte_come() {
    // career-ops-hq/career-ops#3417
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace
        .sh(r#"mkdir odd; i=1; while [ $i -lt 256 ]; do
                o=$(printf '\\%03o' $i); [ $i = 47 ] || { printf "$o.x" | xargs -0 -I{} sh -c 'echo "$0" >"odd/a$0"' {}; }
                i=$((i+1)); done; echo lf >"$(printf 'line\nend')"; mkdir -- '-d'; echo dash >'-d/--all'
            echo q >'q"q'; echo a >'x -> y'; echo s >' lead'; echo t >'trail '"#)
        .succeeds();
    let before = everything(&workspace);
    fetch(&lab);
    assert_untouched(&workspace, &before);
    let names = |script: &str| script.to_owned();
    let there = workspace
        .sh(&names("git -c core.excludesFile= add -A >/dev/null; git ls-files -s -z | cksum"))
        .succeeds();
    let here = lab.sh(&format!("GIT_INDEX_FILE=.git/x git read-tree {WIP} && GIT_INDEX_FILE=.git/x git ls-files -s -z | cksum"));
    assert_eq!(here.succeeds().text(), there.text());
    workspace.sh("git ls-files -z | tr -dc '\\0' | wc -c").succeeds().stdout_is("262");
}

#[test]
fn big_files_and_another_hash_come() {
    let lab = Lab::new();
    let repo = lab.init("app256");
    lab.host("sh", ["-c", "rm -rf app256 && git init -q --object-format=sha256 app256"]).succeeds();
    repo.commit("file", "text\n");
    repo.git("push -q agentvm::main main").succeeds();
    let workspace = lab.workspace("app256-main");
    workspace
        .sh("head -c 50000000 /dev/urandom >big; echo staged >file; git add file; echo now >file")
        .succeeds();
    let sum = workspace.sh("cksum <big").succeeds().text();
    let before = everything(&workspace);
    repo.git("agent-vm fetch --wip main").within_seconds(120).succeeds();
    assert_untouched(&workspace, &before);
    let script = "git cat-file blob refs/agentvm/wip/main:big | cksum";
    lab.host("sh", ["-c", script]).in_dir(repo.path()).succeeds().stdout_is(&sum);
    assert_eq!(repo.git("cat-file blob refs/agentvm/wip/main^2:file").succeeds().text(), "staged");
}

#[test]
fn commits_that_come_along_are_kept_whatever_the_workspace_does_later() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let commit = workspace.commit("agent.txt", "agent\n");
    fetch(&lab);
    workspace.git("reset -q --hard HEAD~1").succeeds();
    fetch(&lab);
    assert!(lab.app().refs("refs/agentvm/keep").contains(&commit));
    assert_eq!(lab.app().tip(WIP), workspace.tip("HEAD"));
}

#[test]
fn work_that_stops_a_clean_can_be_kept_here() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.write("work.txt", "work\n");
    let ran = lab.agent_vm("clean feature").fails(3).stderr_has("work.txt");
    ran.stderr_has("git agent-vm fetch --wip feature");
    fetch(&lab);
    lab.agent_vm("clean --force feature").succeeds();
    assert_eq!(kept(&lab, "work.txt"), "work\n");
}

#[test]
fn what_killed_sessions_left_is_taken_away_and_live_ones_stay() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.write("work.txt", "work\n");
    lab.guest_sh(
        "cd && mkdir -p .local/state/agentvm && cd .local/state/agentvm && mkdir wip-dead wip-live
        touch wip-dead/x wip-dead/lock && touch -d '1 hour ago' wip-dead wip-live",
    )
    .succeeds();
    let live = lab
        .guest_sh("cd && exec 8>.local/state/agentvm/wip-live/lock && flock 8 && touch -d '1 hour ago' .local/state/agentvm/wip-live && exec sleep 99")
        .background();
    lab.wait_until("the lock is held", |lab| {
        lab.guest_sh("cd .local/state/agentvm/wip-live && [ -e lock ] && ! flock -n lock true")
            .run()
            .code
            == 0
    });
    fetch(&lab);
    lab.guest_sh("ls .local/state/agentvm").succeeds().stdout_is("wip-live");
    live.signal(rustix::process::Signal::KILL);
    lab.kill_guest();
    live.finish();
}
