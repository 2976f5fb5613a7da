//! Commits, tags and what git-lfs keeps.

use super::{has, refused, save_and_clean, there};
use crate::support::Lab;

#[test]
fn commits_are_saved_wherever_they_are() {
    for (what, script, rev) in [
        ("own branch", "git commit -qm x --allow-empty", "feature"),
        (
            "another branch",
            "git checkout -qb 'side;x'; git commit -qm x --allow-empty; git checkout -q feature",
            "side;x",
        ),
        (
            "many branches",
            "for n in $(seq 60); do git branch b$n $(git commit-tree -m $n HEAD^{tree}); done",
            "b60",
        ),
        ("detached HEAD", "git checkout -q --detach; git commit -qm x --allow-empty", "HEAD"),
        (
            "reflog",
            "git commit -qm x --allow-empty; git commit -qm y --allow-empty; git reset -q --hard HEAD~2",
            "HEAD@{1}",
        ),
        (
            "several in the reflog",
            "for n in 1 2 3; do git commit -qm x$n --allow-empty; git reset -q --hard HEAD~; done",
            "HEAD@{5}",
        ),
        (
            "a deleted branch",
            "git checkout -qb gone; git commit -qm x --allow-empty; git checkout -q feature;
             git branch -qD gone",
            "HEAD@{1}",
        ),
        ("a stash", "echo x >feature.txt; git stash -q", "stash@{0}"),
        (
            "two stashes",
            "echo x >feature.txt; git stash -q; echo y >new; git stash -qu",
            "stash@{1}",
        ),
        (
            "a stash without its reflog",
            "echo x >feature.txt; git stash -q; git reflog expire --expire=now --all",
            "refs/stash",
        ),
        ("a note", "git notes add -m note", "refs/notes/commits"),
        (
            "some other ref",
            "git update-ref refs/mine/x $(git commit-tree -m x HEAD^{tree})",
            "refs/mine/x",
        ),
        (
            "rescue",
            "git update-ref refs/rescue/1 $(git commit-tree -m x HEAD^{tree})",
            "refs/rescue/1",
        ),
        (
            "behind a replacement",
            "git commit -qm x --allow-empty; git replace HEAD HEAD~; git reset -q --hard HEAD~",
            "refs/replace/$(git rev-parse HEAD@{1})^{}",
        ),
        ("a lightweight tag", "git tag t $(git commit-tree -m x HEAD^{tree})", "t"),
    ] {
        let lab = Lab::new();
        let workspace = lab.pushed_feature();
        workspace.sh(script).succeeds();
        let id = there(&workspace, &format!("git rev-parse \"{rev}\""));
        save_and_clean(&lab, what, 1);
        has(&lab, &id);
        lab.git("fsck --no-dangling --connectivity-only").succeeds();
    }
}

#[test]
fn tags_with_messages_are_saved_as_they_are() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace
        .sh("git tag -am 'the only copy' v1; git tag -am two v2 $(git commit-tree -m x HEAD^{tree})
            git update-ref refs/mine/blob $(echo file | git hash-object -w --stdin)
            blob=$(git rev-parse refs/mine/blob)
            git update-ref refs/mine/tree $(printf '100644 blob %s\\tf\\n' $blob | git mktree)")
        .succeeds();
    let ids = there(&workspace, "git rev-parse v1 v2 refs/mine/blob refs/mine/tree");
    refused(&lab, &["2 tags with a message: v1, v2", "1 commit on tag v2"]);
    save_and_clean(&lab, "tags", 1);
    for id in ids.lines() {
        has(&lab, id);
    }
    lab.sh(
        "git cat-file tag $(git for-each-ref --format='%(objectname)' refs/agentvm/tags | head -1)",
    )
    .succeeds();
    lab.git("fsck --no-dangling --strict").succeeds();
}

#[test]
fn stash_reflog_and_note_are_counted_beside_each_other() {
    // desktop/desktop#13714
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let script = "git commit -q --allow-empty -m gone; git reset -q --hard HEAD~
        echo x >feature.txt; git stash -q; git notes add -m note
        git rev-parse HEAD@{2} stash refs/notes/commits";
    let ids = there(&workspace, script);
    lab.git("fetch -q agentvm::feature").succeeds();
    refused(&lab, &["1 stash: WIP on feature", "1 commit in reflogs alone", "refs/notes/commits"]);
    save_and_clean(&lab, "all three", 1);
    for id in ids.lines() {
        has(&lab, id);
    }
}

#[test]
fn tag_that_the_host_sent_is_no_work() {
    let lab = Lab::new();
    lab.git(["tag", "-a", "-m", "release", "v1", "main"]).succeeds();
    lab.pushed_feature();
    assert!(!lab.workspace("app-feature").tip("v1").is_empty());
    lab.agent_vm("clean feature").succeeds();
}

#[test]
fn lfs_objects_that_the_host_lacks_are_saved() {
    let lab = Lab::new();
    if lab.git("lfs version").run().code != 0 {
        eprintln!("left out: there is no git-lfs here");
        return;
    }
    let workspace = lab.pushed_feature();
    // As git-lfs leaves it: a committed pointer, and the object beside git.
    let script = "printf contents >x; oid=$(sha256sum <x | cut -c1-64)
        dir=.git/lfs/objects/$(echo $oid | sed 's|^\\(..\\)\\(..\\).*|\\1/\\2|'); mkdir -p $dir; mv x $dir/$oid
        printf 'version https://git-lfs.github.com/spec/v1\\noid sha256:%s\\nsize 8\\n' $oid >a.bin
        git add a.bin; git commit -qm lfs; echo $oid";
    let oid = there(&workspace, script);
    lab.git("fetch -q agentvm::feature").succeeds();
    refused(&lab, &["1 object of git-lfs"]);
    save_and_clean(&lab, "lfs", 1);
    let path = format!(".git/lfs/objects/{}/{}/{oid}", &oid[..2], &oid[2..4]);
    assert_eq!(lab.app().read(&path), "contents");
}

#[test]
fn what_was_fetched_once_and_is_gone_here_counts_again() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let id = workspace.commit("agent.txt", "agent\n");
    lab.git("fetch -q agentvm::feature").succeeds();
    lab.agent_vm("clean --dry-run feature").succeeds();
    lab.sh(
        "git for-each-ref --format='delete %(refname)' refs/agentvm/keep | git update-ref --stdin",
    )
    .succeeds();
    // The commit itself still lies about.
    has(&lab, &id);
    refused(&lab, &["1 commit on branch feature"]);
}
