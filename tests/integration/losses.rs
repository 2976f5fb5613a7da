//! What `clean` says that would be lost, and that the commands it gives save it: each is pasted as it
//! stands, and then the workspace can go.

use crate::support::{Lab, Ran, Workspace};

/// The commands of the table: what stands below its rows.
fn commands(text: &str) -> Vec<String> {
    let commands = text.lines().filter_map(|line| line.strip_prefix("    git "));
    commands.map(|rest| format!("git {rest}")).collect()
}

/// Pastes what is said to save it, in as many rounds as are named, and cleans.
fn save_and_clean(lab: &Lab, what: &str, rounds: usize) {
    for round in 1..=rounds {
        let ran = lab.agent_vm("clean feature").fails(3);
        let commands = commands(&ran.errors());
        assert!(!commands.is_empty(), "{what}: nothing to type\n{ran}");
        for command in commands {
            let ran = lab.sh(&command).run();
            assert!(ran.code == 0, "{what}, round {round}: {command}\n{ran}");
        }
    }
    let ran = lab.agent_vm("clean feature").run();
    assert!(ran.code == 0, "{what}: it is not saved\n{ran}");
}

/// What a script in the guest prints, without its last line end.
fn there(workspace: &Workspace<'_>, script: &str) -> String {
    workspace.sh(script).succeeds().text()
}

fn has(lab: &Lab, object: &str) {
    lab.git(["cat-file", "-e", object]).succeeds();
}

fn refused(lab: &Lab, words: &[&str]) -> Ran {
    let ran = lab.agent_vm("clean feature").fails(3).shows_clean_text();
    for word in words {
        assert!(ran.errors().contains(word), "{word:?} is not named\n{ran}");
    }
    ran
}

#[test]
fn uncommitted_work_is_saved_by_what_is_said() {
    for (what, script, file) in [
        ("changed", "echo x >feature.txt", "feature.txt"),
        ("staged", "echo x >new; git add new", "new"),
        ("untracked", "mkdir 'a b'; echo x >'a b/it'\\''s'", "a b/it's"),
        ("on another branch", "git checkout -qb side; echo x >new", "new"),
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
            "printf '#!/bin/sh\\nexit 1\\n' >.git/hooks/pre-commit; chmod +x .git/hooks/pre-commit; echo x >new",
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
            "git checkout -qb gone; git commit -qm x --allow-empty; git checkout -q feature; git branch -qD gone",
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
            git update-ref refs/mine/tree $(printf '100644 blob %s\\tf\\n' $(git rev-parse refs/mine/blob) | git mktree)")
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
        echo x >feature.txt; git stash -q; git notes add -m note; git rev-parse HEAD@{2} stash refs/notes/commits";
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
fn operations_in_progress_are_left_with_all_that_they_made() {
    let branches = "git checkout -qb other HEAD~; echo other >feature.txt; git add feature.txt; git commit -qm other; git checkout -q feature; echo mine >feature.txt; git commit -qam mine;";
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
    let commit = "git add -A; git -c user.name=a -c user.email=a@b commit -qm only";
    for (what, script) in [
        ("untracked", format!("git init -q sub; cd sub; echo only >copy; {commit}")),
        ("unborn", "git init -q sub; echo only >sub/copy".to_owned()),
        ("ignored", format!("echo sub >.git/info/exclude; git init -q sub; cd sub; echo only >copy; {commit}")),
        ("below what can be built", format!("echo target >.git/info/exclude; mkdir target; git init -q target/sub; cd target/sub; echo only >copy; {commit}")),
        ("a link without an entry", format!("(git init -q sub; cd sub; echo only >copy; {commit}); git add -A 2>/dev/null; git commit -qm link")),
        ("with a stash alone", format!("git init -q sub; cd sub; echo only >copy; {commit}; echo x >copy; git stash -q; git remote add o https://example.org/o; git update-ref refs/remotes/o/m HEAD")),
        ("a clone from inside the VM", "git clone -q . ../other; git -C ../other -c user.name=a -c user.email=a@b commit -q --allow-empty -m only; git clone -q ../other sub; rm -rf ../other".to_owned()),
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
    let script = "cd sub; git config user.email a@b; git config user.name a; git checkout -q --detach;
        echo only >only.txt; git add .; git commit -qm only; git rev-parse HEAD; echo more >more.txt
        echo stash >lib.txt; git stash -q; git rev-parse stash; echo .env >>\"$(git rev-parse --git-dir)/info/exclude\"; echo S >.env";
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
        "cd sub; git config user.email a@b; git config user.name a; git commit -q --allow-empty -m only; git rev-parse HEAD
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

#[test]
fn lfs_objects_that_the_host_lacks_are_saved() {
    let lab = Lab::new();
    if lab.git("lfs version").run().code != 0 {
        eprintln!("left out: there is no git-lfs here");
        return;
    }
    let workspace = lab.pushed_feature();
    // As git-lfs leaves it: a committed pointer, and the object beside git.
    let script = "printf contents >x; oid=$(sha256sum <x | cut -c1-64); mkdir -p .git/lfs/objects/$(echo $oid | cut -c1-2)/$(echo $oid | cut -c3-4)
        mv x .git/lfs/objects/$(echo $oid | cut -c1-2)/$(echo $oid | cut -c3-4)/$oid
        printf 'version https://git-lfs.github.com/spec/v1\\noid sha256:%s\\nsize 8\\n' $oid >a.bin; git add a.bin; git commit -qm lfs; echo $oid";
    let oid = there(&workspace, script);
    lab.git("fetch -q agentvm::feature").succeeds();
    refused(&lab, &["1 object of git-lfs"]);
    save_and_clean(&lab, "lfs", 1);
    let path = format!(".git/lfs/objects/{}/{}/{oid}", &oid[..2], &oid[2..4]);
    assert_eq!(lab.app().read(&path), "contents");
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

#[test]
fn process_that_writes_there_from_elsewhere_is_named_and_can_be_ended() {
    // anthropics/claude-code#88255
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let reader = lab.guest_sh("cat 7<workspace/app-feature/feature.txt; sleep 56").background();
    let agent =
        lab.guest_sh("exec 7>>workspace/app-feature/.git/agent.log; exec sleep 55").background();
    lab.wait_until("both run", |lab| {
        lab.guest_sh(
            "ps -A -o args= | grep -q '^sleep 5[5]' && ps -A -o args= | grep -q 'sleep 5[6]'",
        )
        .run()
        .code
            == 0
    });
    let ran = refused(&lab, &["1 process:", "sleep 55"]).stderr_lacks("sleep 56");
    assert_eq!(workspace.status(), "");
    for command in commands(&ran.errors()) {
        lab.sh(&command).succeeds();
    }
    agent.finish();
    lab.agent_vm("clean feature").succeeds();
    lab.guest_kill("KILL", &lab.guest_processes());
    reader.finish();
}

#[test]
fn dry_run_says_it_and_moves_nothing() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.agent_vm("clean --dry-run feature").succeeds().stdout_is("").stderr_has("nothing");
    lab.agent_vm("clean-all -n").succeeds().stdout_is("").stderr_has("1 workspace");
    workspace.write("notes.txt", "x\n");
    let before = workspace.snapshot();
    lab.agent_vm("clean -n feature")
        .fails(3)
        .stdout_has("untracked  1 file: notes.txt")
        .stderr_is("");
    lab.agent_vm("-q clean-all --dry-run").fails(3).stdout_has("notes.txt").stderr_is("");
    lab.agent_vm("clean --dry-run --force feature").fails(2);
    assert_eq!(workspace.snapshot(), before);
}

#[test]
fn table_is_short_and_narrow() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("for n in $(seq 30); do echo x >file-number-$n.txt; git branch b$n $(git commit-tree -m $n HEAD^{tree}); done; echo x >feature.txt").succeeds();
    let ran = refused(&lab, &["30 files:", "and 20 more", "30 commits on 30 branches:"]);
    let table: Vec<String> = ran.errors().lines().map(str::to_owned).collect();
    assert!(table.len() < 20, "{ran}");
    let rows = table.iter().filter(|line| !line.starts_with("    git "));
    assert!(rows.clone().all(|row| row.chars().count() <= 80), "{ran}");
    // What saves two kinds is given once.
    assert_eq!(commands(&ran.errors()).len(), 2, "{ran}");
}

#[test]
fn commands_for_a_copy_of_a_workspace_mean_the_copy() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("cp -a . ../backup").succeeds();
    let copy = lab.workspace("backup");
    copy.commit("only.txt", "only\n");
    copy.sh("echo x >new; echo y >.env; echo .env >.git/info/exclude; git checkout -qb side; git commit -q --allow-empty -m side; git stash -qu").succeeds();
    copy.write("later", "x\n");
    let ran = lab.agent_vm("clean-all").fails(3).stderr_has("agentvm://");
    for command in commands(&ran.errors()) {
        lab.sh(&command).succeeds();
    }
    lab.agent_vm("clean-all").succeeds();
    assert!(lab.workspaces().is_empty());
}

#[test]
fn look_that_takes_too_long_is_no_answer() {
    // netease-lcap/wave-agent#2169
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("mkdir d; echo x >d/x; mkfifo d/.gitignore").succeeds();
    lab.agent_vm("clean feature")
        .env("GIT_AGENT_VM_TIME_LIMIT", "1")
        .fails(6)
        .stderr_has("could not be learned")
        .took_under_seconds(20);
    lab.agent_vm("clean -n feature").env("GIT_AGENT_VM_TIME_LIMIT", "1").fails(6).stdout_is("");
    assert!(workspace.exists());
}
