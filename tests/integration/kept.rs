//! `git agent-vm kept`: what was fetched and is kept, and dropping it.

use crate::support::{Lab, Workspace};

/// A lab whose workspace has rewritten a commit that was fetched; gives the old and the new one.
fn rewritten(lab: &Lab) -> (Workspace<'_>, String, String) {
    let workspace = lab.pushed_feature();
    let old = workspace.commit("a.txt", "old\n");
    lab.git("fetch -q agentvm::feature").succeeds();
    workspace.git("commit -q --amend -m rewritten").succeeds();
    lab.git("fetch -q agentvm::feature").succeeds();
    let new = workspace.tip("HEAD");
    (workspace, old, new)
}

fn kept(lab: &Lab) -> serde_json::Value {
    let document = lab.agent_vm("kept --json").succeeds().json();
    assert_eq!(document["version"], 1);
    document["kept"].clone()
}

fn ids(lab: &Lab) -> Vec<String> {
    let kept = kept(lab);
    let mut ids: Vec<String> =
        kept.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().into()).collect();
    ids.sort();
    ids
}

/// Makes everything that is kept look as if it had been fetched long ago.
fn age(lab: &Lab) {
    lab.sh("find .git/logs/refs/agentvm -type f -exec sed -i 's/> [0-9]* /> 1700000000 /' {} +")
        .succeeds();
}

#[test]
fn list_says_whence_and_whether_it_is_elsewhere() {
    let lab = Lab::new();
    lab.agent_vm("kept").succeeds().stdout_is("").stderr_has("nothing is kept");
    lab.agent_vm("-q kept").succeeds().stdout_is("").stderr_is("");
    let (_, old, new) = rewritten(&lab);
    lab.git(["branch", "taken", &new]).succeeds();
    let text = lab.agent_vm("kept").succeeds().stderr_has("hint: git branch NAME COMMIT").text();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split("  ").collect()).collect();
    let columns = ["WORKSPACE", "BRANCH", "COMMIT", "AGE", "ELSEWHERE", "SUBJECT"];
    let words = |line: &[&str]| -> Vec<String> {
        line.iter().map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
    };
    assert_eq!(words(&lines[0]), columns);
    let row = |id: &str, elsewhere: &str, subject: &str| {
        ["app-feature", "feature", &id[..10], "0 min", elsewhere, subject].map(str::to_owned)
    };
    let rows = [words(&lines[1]), words(&lines[2])];
    assert!(rows.contains(&row(&old, "no", "Agent changes a.txt").to_vec()), "{text}");
    assert!(rows.contains(&row(&new, "yes", "rewritten").to_vec()), "{text}");

    let all = kept(&lab);
    let one = all.as_array().unwrap().iter().find(|one| one["id"] == *old).unwrap();
    let name = one["ref"].as_str().unwrap();
    assert_eq!(lab.app().tip(name), old);
    assert_eq!(
        [&one["vm"], &one["workspace"], &one["branch"], &one["subject"]],
        ["agent-vm", "app-feature", "feature", "Agent changes a.txt"]
    );
    assert_eq!(one["elsewhere"], false);
    assert!(one["time"].as_i64().unwrap() > 1_700_000_000, "{one}");
}

#[test]
fn only_what_is_elsewhere_is_dropped_unless_forced() {
    let lab = Lab::new();
    let (_, old, new) = rewritten(&lab);
    lab.git(["branch", "taken", &new]).succeeds();
    let before = ids(&lab);
    // All of them or none.
    lab.agent_vm(&format!("kept --drop {} {}", &old[..8], &new[..8]))
        .fails(3)
        .stderr_has(&old[..10])
        .stderr_lacks(&new[..10])
        .stderr_has("hint: git branch NAME")
        .stderr_has("--force");
    assert_eq!(ids(&lab), before);
    lab.agent_vm(&format!("kept --drop {}", &new[..8])).succeeds().stderr_has(&new);
    assert_eq!(ids(&lab), std::slice::from_ref(&old));
    lab.agent_vm(&format!("kept --drop {} --force", &old[..8])).succeeds().stderr_has(&old);
    assert_eq!(kept(&lab).as_array().unwrap().len(), 0);
    assert_eq!(lab.app().refs("refs/agentvm"), "");
    // The next fetch keeps what the workspace has, as the first did.
    lab.git("branch -D taken").succeeds();
    lab.git("fetch agentvm::feature").succeeds().stderr_lacks("warning:");
    assert_eq!(ids(&lab), [new]);
}

#[test]
fn what_is_to_be_dropped_is_named_exactly() {
    let lab = Lab::new();
    let (_, old, _) = rewritten(&lab);
    lab.agent_vm("kept --drop 0000000").fails(1).stderr_has("git agent-vm kept lists them");
    lab.agent_vm(&format!("kept --drop {}", &old[..3])).fails(1);
    lab.agent_vm("kept --force").fails(2);
    lab.agent_vm("kept --older-than 3.days").fails(2);
    lab.agent_vm("kept --prune --older-than soon").fails(2).stderr_has("30.days");
    let by_ref =
        kept(&lab).as_array().unwrap().iter().find(|one| one["id"] == *old).unwrap()["ref"]
            .as_str()
            .unwrap()
            .to_owned();
    lab.agent_vm(&format!("kept --force --drop {by_ref}")).succeeds();
    assert_eq!(lab.app().tip(&by_ref), "");
}

#[test]
fn prune_drops_what_is_old_and_on_a_branch() {
    let lab = Lab::new();
    let (workspace, taken, alone) = rewritten(&lab);
    age(&lab);
    workspace.git("commit -q --amend -m young").succeeds();
    let young = workspace.tip("HEAD");
    lab.git("fetch -q agentvm::feature").succeeds();
    for commit in [&taken, &young] {
        lab.git(["branch", &format!("b{commit}"), commit]).succeeds();
    }
    // What another side can move is no safe place, nor what goes when it was of use.
    lab.git("config --add remote.other.fetch +refs/heads/up/*:refs/heads/up/*").succeeds();
    lab.git("config --add remote.other.fetch refs/heads/main:theirs").succeeds();
    lab.git("config --add remote.other.fetch ^refs/heads/b*").succeeds();
    for name in [
        "remotes/vm/x",
        "prefetch/remotes/other/x",
        "pull/1/head",
        "stash",
        "bisect/bad",
        "heads/up/x",
        "heads/theirs",
    ] {
        lab.git(["update-ref", &format!("refs/{name}"), &alone]).succeeds();
    }
    let mut all = vec![taken, alone.clone(), young.clone()];
    all.sort();
    assert_eq!(ids(&lab), all);
    lab.agent_vm("kept --prune").succeeds().stderr_has("no longer kept: 1 commit");
    let mut left = vec![alone.clone(), young];
    left.sort();
    assert_eq!(ids(&lab), left);
    lab.agent_vm("kept --prune --older-than 0.days").succeeds();
    assert_eq!(ids(&lab), std::slice::from_ref(&alone));
    lab.git(["tag", "-am", "mine", "mine", &alone]).succeeds();
    lab.git("config remote.mirror.fetch +refs/*:refs/*").succeeds();
    lab.agent_vm("kept --prune --older-than 0.days").succeeds();
    assert_eq!(ids(&lab), [alone]);
    lab.git("config --unset remote.mirror.fetch").succeeds();
    lab.agent_vm("kept --prune --older-than 0.days").succeeds();
    assert_eq!(ids(&lab).len(), 0);
}

#[test]
fn fetch_verb_drops_what_is_old_and_on_a_branch_of_this_workspace_alone() {
    let lab = Lab::new();
    lab.app().git("branch other feature").succeeds();
    lab.git("push -q agentvm::other other").succeeds();
    let other = lab.workspace("app-other");
    let others = other.commit("o.txt", "o\n");
    lab.git("fetch -q agentvm::other").succeeds();
    other.git("commit -q --amend -m again").succeeds();
    lab.git("fetch -q agentvm::other").succeeds();
    let (_, one, two) = rewritten(&lab);
    age(&lab);
    let fetch = || lab.agent_vm("fetch feature").succeeds();
    fetch();
    assert!(ids(&lab).contains(&one), "it is on no branch");
    for commit in [&one, &two, &others] {
        lab.git(["branch", &format!("b{commit}"), commit]).succeeds();
    }
    fetch().stderr_has("no longer kept");
    let left = ids(&lab);
    assert!(!left.contains(&one) && left.contains(&others), "{left:?}");
    assert!(left.contains(&two), "the last one stays: {left:?}");
    fetch().stderr_lacks("no longer kept");
}

#[test]
fn what_is_not_known_any_more_is_shown_by_its_hash() {
    let lab = Lab::new();
    rewritten(&lab);
    lab.sh("rm -r .git/agentvm .git/logs/refs/agentvm").succeeds();
    let all = kept(&lab);
    assert!(all[0]["workspace"].is_null() && all[0]["time"].is_i64(), "{all}");
    let key = all[0]["ref"].as_str().unwrap().split('/').nth(3).unwrap().to_owned();
    lab.agent_vm("kept").succeeds().stdout_has(&format!("{key}  ?"));
}

#[test]
fn subjects_of_an_agent_change_no_terminal() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace
        .sh("printf '\\033[31mred \\342\\200\\256' | git commit -q --allow-empty -F -")
        .succeeds();
    lab.git("fetch -q agentvm::feature").succeeds();
    lab.agent_vm("kept").succeeds().stdout_has("red").shows_clean_text();
    let json = lab.agent_vm("kept --json").succeeds().shows_clean_text().json();
    assert!(json["kept"][0]["subject"].as_str().unwrap().contains("red"), "{json}");
}

#[test]
fn squash_merged_work_can_be_cleaned_by_its_keep_ref() {
    // anthropics/claude-code#88239
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.commit("a.txt", "a\n");
    lab.git("fetch -q agentvm::feature").succeeds();
    lab.git("merge -q --squash FETCH_HEAD").succeeds();
    lab.git("commit -qm squashed").succeeds();
    lab.git("branch -q -D feature").succeeds();
    lab.agent_vm("kept --prune --older-than 0.days").succeeds();
    lab.agent_vm("clean feature").succeeds();
    assert!(!workspace.exists());
}

#[test]
fn kept_work_survives_collection_of_garbage_and_reflogs() {
    let lab = Lab::new();
    let (_, old, _) = rewritten(&lab);
    lab.git("reflog expire --expire=all --all").succeeds();
    lab.git("gc -q --prune=now").succeeds();
    lab.git("pack-refs --all").succeeds();
    let all = kept(&lab);
    let one = all.as_array().unwrap().iter().find(|one| one["id"] == *old).unwrap();
    assert_eq!(one["workspace"], "app-feature", "{all}");
    lab.git(["cat-file", "-e", &old]).succeeds();
}

#[test]
fn kept_work_is_listed_and_dropped_where_refs_are_in_tables() {
    let lab = Lab::new();
    if lab.git("refs migrate --ref-format=reftable").run().code != 0 {
        eprintln!("left out: this git has no reftables");
        return;
    }
    let (workspace, old, new) = rewritten(&lab);
    let mut both = vec![old.clone(), new.clone()];
    both.sort();
    assert_eq!(ids(&lab), both);
    workspace.git("reset -q --hard HEAD~").succeeds();
    lab.git("fetch agentvm::feature").succeeds().stderr_has("has rewound branch 'feature'");
    workspace.git(["reset", "-q", "--hard", &new]).succeeds();
    let next = workspace.commit("next.txt", "next\n");
    lab.git("fetch agentvm::feature").succeeds().stderr_lacks("warning:");
    let mut both = vec![old.clone(), next];
    both.sort();
    assert_eq!(ids(&lab), both);
    lab.agent_vm(&format!("kept --force --drop {}", &old[..8])).succeeds();
    assert_eq!(ids(&lab).len(), 1);
}

#[test]
fn push_spares_what_is_kept_once_the_doctors_word_is_followed() {
    let lab = Lab::new();
    rewritten(&lab);
    let app = lab.app();
    for setting in [
        "mirror true",
        "push +refs/*:refs/*",
        "push refs/*:refs/copy/*",
        "push refs/agentvm/*:refs/copy/*",
    ] {
        lab.sh(
            "rm -rf ../backup && git init -q --bare ../backup && git remote add backup ../backup",
        )
        .succeeds();
        let (key, value) = setting.split_once(' ').unwrap();
        app.git(["config", &format!("remote.backup.{key}"), value]).succeeds();
        let found = lab.agent_vm("doctor --json").run().json();
        let check = found["checks"].as_array().unwrap().iter();
        let check: Vec<_> = check.filter(|check| check["id"] == "mirror-remote").collect();
        assert_eq!(check.len(), 1, "{setting}: {found}");
        assert_eq!(check[0]["severity"], "warning");
        let fix = check[0]["fix"].as_str().unwrap();
        lab.sh(fix).succeeds();
        // One that sent nothing else has nothing left to send.
        lab.git("push -q backup").run();
        if key == "mirror" {
            lab.git("push -q --mirror backup").succeeds();
        }
        let sent = lab.repo("backup").refs("refs/");
        assert!(!sent.contains("/keep/"), "{setting}: {sent}");
        assert!(key != "mirror" || sent.contains("refs/heads/feature"), "{setting}: {sent}");
        let found = lab.agent_vm("doctor --json").run().json().to_string();
        assert!(!found.contains("mirror-remote"), "{setting}: {found}");
        lab.git("remote remove backup").succeeds();
    }
}
