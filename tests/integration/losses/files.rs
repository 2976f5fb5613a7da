//! Work that is not committed.

use super::{commands, has, refused, save_and_clean, there};
use crate::support::Lab;

#[test]
fn uncommitted_work_is_saved_by_what_is_said() {
    for (what, script, file) in [
        ("changed", "echo x >feature.txt", "feature.txt"),
        ("staged", "echo x >new; git add new", "new"),
        ("untracked", "mkdir 'a b'; echo x >'a b/it'\\''s'", "a b/it's"),
        ("on another branch", "git checkout -qb side; echo x >new", "new"),
        ("on an unborn branch", "git checkout -q --orphan new; echo x >new", "new"),
        ("on a detached HEAD", "git checkout -q --detach; echo x >new", "new"),
        (
            "ignored by the agent alone",
            "git config core.excludesFile .git/no; echo new >.git/no; echo x >new",
            "new",
        ),
        (
            "assume-unchanged",
            "git update-index --assume-unchanged feature.txt; echo x >feature.txt",
            "feature.txt",
        ),
        (
            "skip-worktree",
            "git update-index --skip-worktree feature.txt; echo x >feature.txt",
            "feature.txt",
        ),
        (
            "refused by a hook",
            "printf '#!/bin/sh\\nexit 1\\n' >.git/hooks/pre-commit; chmod +x .git/hooks/*; echo x >new",
            "new",
        ),
    ] {
        let lab = Lab::new();
        let workspace = lab.pushed_feature();
        workspace.sh(script).succeeds();
        save_and_clean(&lab, what, 1);
        let kept =
            lab.git("for-each-ref --format=%(objectname) refs/agentvm/keep").succeeds().text();
        let has = |tip: &str| lab.git(["show", &format!("{tip}:{file}")]).run().text() == "x";
        assert!(kept.lines().any(has), "{what}: the file is not here\n{kept}");
    }
}

#[test]
fn staged_content_that_the_file_no_longer_has_is_saved_too() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace
        .sh("echo staged >feature.txt; git add feature.txt; echo later >feature.txt")
        .succeeds();
    let staged = there(&workspace, "git rev-parse :feature.txt");
    save_and_clean(&lab, "MM", 1);
    has(&lab, &staged);
    lab.git("show feature:feature.txt").succeeds().stdout_is("later");
}

#[test]
fn ignored_files_are_copied_with_their_sizes_told() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace
        .sh("printf '*.env\\ndata\\n' >.git/info/exclude; echo SECRET >.env; mkdir data
            head -c 3000000 /dev/urandom >data/model.bin; echo x >'-x y.env'")
        .succeeds();
    let sum = there(&workspace, "cksum <data/model.bin");
    refused(&lab, &["3 files, 2.8", " MiB: data/ (2.8", ".env"]);
    save_and_clean(&lab, "ignored", 1);
    lab.sh("tar xf app-feature.kept-1.tar && cat .env './-x y.env' && cksum <data/model.bin")
        .succeeds()
        .stdout_is(&format!("SECRET\nx\n{sum}"));
}

#[test]
fn nothing_is_removed_where_there_is_no_room_for_the_copy() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let script =
        "git init -q sub; printf only >sub/x; printf only >.env; echo .env >.git/info/exclude";
    workspace.sh(script).succeeds();
    let ran = refused(&lab, &["ignored", "nested"]);
    let commands = commands(&ran.errors());
    for (file, command) in [("sub/x", &commands[0]), (".env", &commands[1])] {
        let (before, after) = command.split_once(" >app-feature.kept-").unwrap();
        let (_, after) = after.split_once(' ').unwrap();
        lab.sh(&format!("{before} >/dev/full {after}")).fails(125).stderr_has("No space left");
        assert_eq!(workspace.read(file), "only", "{command}");
        lab.sh(command).succeeds();
        assert_eq!(workspace.read(file), "<none>", "{command}");
    }
    for number in [1, 2] {
        lab.sh(&format!("tar xOf app-feature.kept-{number}.tar")).succeeds().stdout_has("only");
    }
}

#[test]
fn many_ignored_files_and_names_that_cannot_be_typed_are_copied_by_a_list() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace
        .sh("echo '*.log' >.git/info/exclude; for n in $(seq 12); do echo $n >$n.log; done")
        .succeeds();
    workspace.write("new\nline.log", "13\n");
    // A file here is never overwritten.
    lab.app().write("app-feature.kept-1.tar", "mine");
    save_and_clean(&lab, "many", 1);
    assert_eq!(lab.app().read("app-feature.kept-1.tar"), "mine");
    lab.sh(
        "mkdir out && tar xf app-feature.kept-2.tar -C out && cat out/*.log | sort -n | tail -1",
    )
    .succeeds()
    .stdout_is("13");
}

#[test]
fn operations_in_progress_are_left_with_all_that_they_made() {
    let branches =
        "git checkout -qb other HEAD~; echo other >feature.txt; git add .; git commit -qm other;
        git checkout -q feature; echo mine >feature.txt; git commit -qam mine;";
    for (what, script, rounds) in [
        ("merge", "git merge other", 1),
        ("rebase", "git rebase other", 1),
        ("cherry-pick", "git cherry-pick other", 1),
        (
            "revert",
            "git commit -q --allow-empty -m x; git revert --no-commit HEAD~; git revert --no-commit HEAD~2",
            1,
        ),
        ("am", "git format-patch -1 --stdout other >../p; git am -q ../p", 1),
        ("bisect", "git bisect start -q; git bisect bad; git bisect good HEAD~", 1),
    ] {
        let lab = Lab::new();
        let workspace = lab.pushed_feature();
        workspace.sh(&format!("{branches} {{ {script}; }} >/dev/null 2>&1; true")).succeeds();
        let mine = workspace.tip("feature");
        refused(&lab, &[&format!("a {what} in progress")]);
        save_and_clean(&lab, what, rounds);
        has(&lab, &mine);
    }
}

#[test]
fn unreadable_directory_is_not_taken_for_an_empty_one() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("mkdir closed; echo x >closed/x; chmod 0 closed").succeeds();
    refused(&lab, &["unreadable", "closed"]);
    save_and_clean(&lab, "unreadable", 2);
}

#[test]
fn settings_cannot_point_the_look_elsewhere() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.write("work.txt", "x\n");
    for setting in [
        "core.worktree /tmp",
        "core.bare true",
        "status.showUntrackedFiles no",
        "submodule.sub.ignore all",
    ] {
        workspace.git(&format!("config {setting}")).run();
        refused(&lab, &["work.txt"]);
        workspace
            .sh(&format!(
                "git config --file .git/config --unset {}",
                setting.split(' ').next().unwrap()
            ))
            .succeeds();
    }
}
