//! `push --wip`: what is not committed here goes into a workspace as changes that are not committed
//! there, all of it or nothing.

use crate::support::{Lab, Repo, Workspace};

/// The branch checked out here, and its workspace.
pub(crate) fn on_feature(lab: &Lab) -> (Repo<'_>, Workspace<'_>) {
    lab.git("checkout -q feature").succeeds();
    (lab.app(), lab.pushed_feature())
}

/// HEAD, refs, the bytes of the index and its time, and each file's times, mode and bytes.
fn host_state(lab: &Lab) -> String {
    lab.sh("cat .git/HEAD; git for-each-ref; cksum .git/index; stat -c %Y.%Z .git/index
        find . -path ./.git -prune -o -type f -exec stat -c '%n %y %z %a %s' {} + | sort
        find .git/objects | sort")
        .succeeds()
        .text()
}

/// Every file of the work tree with its mode and bytes.
fn files(run: &dyn Fn(&str) -> String) -> String {
    run("find . -path ./.git -prune -o ! -type d -printf '%p %M %l\\n' | LC_ALL=C sort
        find . -path ./.git -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 -r cksum")
}

pub(crate) fn files_here(lab: &Lab) -> String {
    files(&|script| lab.sh(script).succeeds().text())
}

pub(crate) fn files_there(workspace: &Workspace<'_>) -> String {
    files(&|script| workspace.sh(script).succeeds().text())
}

/// Nothing of a push is left that the next command would have to look at.
pub(crate) fn assert_settled(workspace: &Workspace<'_>, head: &str) {
    workspace.sh("! [ -s .git/agentvm-journal ] && ! [ -s .git/agentvm-received ] && ! [ -e .git/agentvm-wip ] && ! [ -e .git/agentvm-before ]").succeeds();
    assert_eq!(workspace.refs("refs/agentvm"), "");
    assert_eq!(workspace.tip("HEAD"), head);
    workspace.git("symbolic-ref HEAD").succeeds().stdout_is("refs/heads/feature");
    workspace.git("diff --cached --quiet").succeeds();
    workspace.sh("! [ -e .git/index.lock ]").succeeds();
}

#[test]
fn files_arrive_as_uncommitted_changes() {
    let lab = Lab::new();
    let (app, _) = on_feature(&lab);
    app.commit("gone.txt", "gone\n");
    app.commit("dir/file", "in a directory\n");
    app.commit("turned", "a file\n");
    app.commit("run", "plain\n");
    lab.sh("echo '*.log' >.gitignore; git add .; git commit -qm ignore").succeeds();
    let workspace = lab.pushed_feature();
    lab.sh("echo committed >c; git add c; git commit -qm c
        echo two >>feature.txt; rm gone.txt; rm -r dir; echo 'was a directory' >dir
        rm turned; mkdir turned; echo in >turned/in; chmod +x run; ln -s feature.txt link; ln -s /no/where away
        mkdir -p new/deep; echo new >new/deep/file; : >empty; echo noise >x.log
        echo staged >both; git add both; echo later >both; echo intent >intent; git add -N intent")
        .succeeds();
    let before = host_state(&lab);
    let ran = lab.agent_vm("push --wip feature").succeeds();
    let ran = ran.stderr_has("carried 13 files to workspace 'app-feature'");
    ran.stderr_lacks("error");
    let after = host_state(&lab);
    assert_eq!(after, before);
    assert_settled(&workspace, &app.tip("feature"));
    lab.sh("rm x.log").succeeds();
    assert_eq!(files_there(&workspace), files_here(&lab));
    let status = workspace.git("status --porcelain -uall").succeeds();
    assert_eq!(
        status.text(),
        " D dir/file\n M feature.txt\n D gone.txt\n M run\n D turned\n?? away\n?? both\n?? dir\n?? empty\n?? intent\n?? link\n?? new/deep/file\n?? turned/in"
    );
    workspace.git("fsck --full --strict").succeeds();
    // And back again.
    lab.agent_vm("diff feature --name-status").succeeds().stdout_has("M\tfeature.txt");
}

#[test]
fn nothing_to_carry_is_no_failure() {
    let lab = Lab::new();
    let (app, workspace) = on_feature(&lab);
    lab.agent_vm("push --wip feature").succeeds().stderr_has("there is nothing more to carry");
    app.write("new", "new\n");
    lab.agent_vm("push --wip -n feature").succeeds().stderr_has("would carry 1 file");
    assert_eq!(workspace.status(), "");
    // A workspace that is not there yet is made.
    lab.forget_workspaces();
    lab.agent_vm("push --wip feature").succeeds();
    assert_eq!(workspace.status(), "?? new");
    assert_settled(&workspace, &app.tip("feature"));
}

#[test]
fn branch_has_to_be_checked_out_here() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.agent_vm("push --wip feature").fails(1).stderr_has("hint: git switch feature");
    lab.git("worktree add -q ../linked feature").succeeds();
    lab.repo("linked").write("new", "new\n");
    let ran = lab.agent_vm("push --wip feature").fails(1).stderr_has("its files are there");
    ran.stderr_has("/linked agent-vm push --wip feature");
    assert_eq!(workspace.status(), "");
    lab.repo("linked").git("agent-vm push --wip feature").succeeds();
    assert_eq!(workspace.status(), "?? new");
    lab.host("git", "clone -q --bare app bare.git").in_dir(lab.home()).succeeds();
    lab.repo("bare.git").git("agent-vm push --wip main").fails(1);
}

#[test]
fn work_in_the_workspace_refuses_and_stays() {
    let lab = Lab::new();
    let (app, workspace) = on_feature(&lab);
    app.commit("cfg", "cfg\n");
    app.commit("sub/far", "far\n");
    lab.git("push -q agentvm::feature").succeeds();
    app.write("feature.txt", "host\n");
    app.write("new", "host\n");
    app.write(".env", "host\n");
    lab.sh("rm cfg").succeeds();
    let cases: &[(&str, &[&str], &str)] = &[
        (
            "echo agent >feature.txt",
            &["changes that are not committed", "feature.txt", "hint: commit them there"],
            "git checkout -q .",
        ),
        ("echo agent >README.md; git add README.md", &["README.md"], "git reset -q --hard"),
        (
            "git update-index --assume-unchanged feature.txt; echo agent >feature.txt",
            &["feature.txt"],
            "git update-index --no-assume-unchanged feature.txt; git checkout -q .",
        ),
        (
            "git update-index --assume-unchanged feature.txt",
            &["told not to look at", "feature.txt"],
            "git update-index --no-assume-unchanged feature.txt",
        ),
        (
            "git update-index --skip-worktree cfg",
            &["told not to look at", "cfg"],
            "git update-index --no-skip-worktree cfg",
        ),
        ("echo agent >new", &["does not track", "new"], "rm new"),
        (
            "echo .env >.git/info/exclude; echo secret >.env",
            &["does not track", ".env"],
            "rm .env .git/info/exclude",
        ),
        ("mkdir new; echo agent >new/x", &["does not track", "new/x"], "rm -r new"),
        (
            "git checkout -qb other",
            &[
                "is on refs/heads/other, not on feature",
                "hint: git agent-vm connect feature -- git switch feature",
            ],
            "git checkout -q feature",
        ),
        ("git checkout -q --detach", &["is on no branch"], "git checkout -q feature"),
        ("touch .git/index.lock", &["index.lock"], "rm .git/index.lock"),
        ("git rev-parse HEAD >.git/MERGE_HEAD", &["a merge is in progress"], "rm .git/MERGE_HEAD"),
    ];
    for (agent, words, undo) in cases {
        workspace.sh(agent).succeeds();
        let before = workspace.snapshot();
        let mut ran = lab.agent_vm("push --wip feature").fails(3);
        for word in *words {
            ran = ran.stderr_has(word);
        }
        assert_eq!(workspace.snapshot(), before, "{agent}");
        workspace.sh("! [ -s .git/agentvm-journal ] && ! [ -e .git/agentvm-wip ]").succeeds();
        assert_eq!(workspace.refs("refs/agentvm"), "");
        workspace.sh(undo).succeeds();
    }
    // Commits that are not here.
    let own = workspace.commit("own", "own\n");
    lab.agent_vm("push --wip feature").fails(1).stderr_has("git agent-vm fetch feature");
    assert_eq!(workspace.tip("HEAD"), own);
    workspace.sh("git reset -q --hard HEAD~1; echo mine >mine; git sparse-checkout set --no-cone '/*' '!/sub' 2>/dev/null; ! [ -e sub ]").succeeds();
    lab.agent_vm("push --wip feature").succeeds();
    assert_eq!(workspace.read("mine"), "mine\n");
    assert_eq!(workspace.status(), " D cfg\n M feature.txt\n?? .env\n?? mine\n?? new");
}

#[test]
fn sparse_workspace_takes_new_files_anywhere() {
    let lab = Lab::new();
    let (app, workspace) = on_feature(&lab);
    app.commit("far/away", "far\n");
    lab.git("push -q agentvm::feature").succeeds();
    workspace.sh("git sparse-checkout set --cone near && ! [ -e far ]").succeeds();
    app.write("far/new", "new\n");
    app.write("feature.txt", "changed\n");
    lab.agent_vm("push --wip feature").succeeds();
    assert_eq!(workspace.read("far/new"), "new\n");
    assert_eq!(workspace.read("feature.txt"), "changed\n");
    workspace.sh("! [ -e far/away ]; git sparse-checkout list").succeeds().stdout_is("near");
}

#[test]
fn odd_names_and_big_files_are_exact() {
    let lab = Lab::new();
    lab.host("sh", ["-c", "git init -q --object-format=sha256 app256"])
        .in_dir(lab.home())
        .succeeds();
    let repo = lab.repo("app256");
    repo.commit("file", "text\n");
    repo.commit("big", "small\n");
    repo.git("push -q agentvm::main main").succeeds();
    let workspace = lab.workspace("app256-main");
    let sh = |script: &str| lab.host("bash", ["-c", script]).in_dir(repo.path()).succeeds();
    sh(r#"head -c 50000000 /dev/urandom >big; : >empty; mkdir odd -- -d; echo dash >./-d/--all
        for i in {1..255}; do printf -v c "\\x$(printf %x $i)"; [ $i = 47 ] || echo $i >"odd/a$c"; done
        echo lf >$'line\nend'; echo q >'q"q'; echo a >'x -> y'; echo s >' lead'; echo t >'trail '; printf 'a\r\nb\0\n' >crlf"#);
    repo.git("agent-vm push --wip main")
        .within_seconds(120)
        .succeeds()
        .stderr_has("carried 263 files");
    let here = files(&|script| sh(script).text());
    assert_eq!(files_there(&workspace), here);
    workspace.git("fsck --full").succeeds();
}

#[test]
fn line_ends_and_filters_are_those_of_each_side() {
    let lab = Lab::new();
    let (app, workspace) = on_feature(&lab);
    app.git("config core.autocrlf true").succeeds();
    app.git("config core.safecrlf true").succeeds();
    app.git(["config", "filter.up.clean", "tr a-z A-Z"]).succeeds();
    app.write("crlf.txt", "a\r\nb\r\n");
    app.write(".gitattributes", "*.up filter=up\n");
    app.write("x.up", "loud\n");
    lab.agent_vm("push --wip feature").succeeds();
    assert_eq!(workspace.read("crlf.txt"), "a\nb\n");
    assert_eq!(workspace.read("x.up"), "LOUD\n");
}

#[test]
fn hidden_changes_and_repositories_inside_stay_here() {
    let lab = Lab::new();
    let (app, _) = on_feature(&lab);
    app.commit("cfg", "cfg\n");
    lab.sh("git init -q known; git -C known commit -q --allow-empty -m one; git add known 2>/dev/null; git commit -qm link").succeeds();
    let workspace = lab.pushed_feature();
    lab.sh("git update-index --assume-unchanged cfg; echo secret >cfg; git -C known commit -q --allow-empty -m two
        git init -q inner; git -C inner commit -q --allow-empty -m one; echo x >inner/x
        git init -q unborn; echo y >unborn/y; echo new >new")
        .succeeds();
    let ran = lab.agent_vm("push --wip feature").succeeds().stderr_has("carried 1 file");
    let ran = ran
        .stderr_has("warning: inner is a repository")
        .stderr_has("warning: unborn is a repository");
    ran.stderr_has("warning: known is a repository of its own; what is in it stays here");
    assert_eq!(workspace.status(), "?? new");
    assert_eq!(workspace.read("cfg"), "cfg\n");
}

#[test]
fn conflict_of_a_merge_here_goes_along_as_it_is() {
    let lab = Lab::new();
    let (app, workspace) = on_feature(&lab);
    lab.sh(
        "git checkout -qb side HEAD~1; echo theirs >feature.txt; git add .; git commit -qm theirs
        git checkout -q feature; ! git merge -q side",
    )
    .succeeds();
    lab.agent_vm("push --wip feature").succeeds();
    assert_eq!(workspace.read("feature.txt"), app.read("feature.txt"));
    assert!(app.read("feature.txt").contains("<<<<<<<"));
    app.git("ls-files -u").succeeds().stdout_has("feature.txt");
}

#[test]
fn file_here_that_cannot_be_read_is_named() {
    let lab = Lab::new();
    let (app, workspace) = on_feature(&lab);
    app.write("new", "new\n");
    app.git("config filter.gone.clean no-such-program-here").succeeds();
    app.git("config filter.gone.required true").succeeds();
    app.write(".gitattributes", "*.x filter=gone\n");
    app.write("a.x", "x\n");
    let ran = lab.agent_vm("push --wip feature").fails(1).stderr_has("cannot read all files here");
    ran.stderr_has("a.x");
    assert_eq!(workspace.status(), "");
    lab.sh("! ls -d .git/objects/tmp_objdir* 2>/dev/null").succeeds();
}

#[test]
fn checkout_that_fails_in_the_middle_is_put_back_at_once() {
    let lab = Lab::new();
    let (app, workspace) = on_feature(&lab);
    lab.guest_sh("echo").succeeds();
    app.write("a.txt", "a\n");
    app.write(".gitattributes", "*.x filter=gone\n");
    app.write("b.x", "b\n");
    app.write("feature.txt", "changed\n");
    workspace.sh("git config filter.gone.smudge no-such-program-here; git config filter.gone.required true").succeeds();
    let before = workspace.snapshot();
    let ran = lab.agent_vm("push --wip feature").fails(1).stderr_has("the workspace is as it was");
    ran.stderr_has("smudge filter gone failed");
    assert_eq!(workspace.snapshot(), before);
    assert_settled(&workspace, &app.tip("feature"));
}

#[test]
fn pushes_wait_for_each_other() {
    let lab = Lab::new();
    let (app, workspace) = on_feature(&lab);
    app.write("new", "new\n");
    let pushes: Vec<_> = (0..4).map(|_| lab.agent_vm("push --wip feature").background()).collect();
    let codes: Vec<i32> = pushes.into_iter().map(|push| push.finish().code).collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert!(codes.iter().all(|code| [0, 3].contains(code)), "{codes:?}");
    assert_eq!(workspace.status(), "?? new");
    assert_settled(&workspace, &app.tip("feature"));
}

/// What is to be carried lies beside the repository's objects meanwhile, as what a fetch brings does.
#[test]
fn fetch_meanwhile_does_not_take_the_files_away() {
    let lab = Lab::new();
    let (app, workspace) = on_feature(&lab);
    app.commit("more", "more\n");
    app.write("new", "host\n");
    app.write(".git/hooks/pre-push", "#!/bin/sh\nexec git fetch -q agentvm::feature\n");
    lab.sh("chmod +x .git/hooks/pre-push").succeeds();
    lab.agent_vm("push --wip feature").succeeds();
    assert_eq!(workspace.read("new"), "host\n");
    lab.sh("! ls -d .git/objects/tmp_objdir-*").succeeds();
}
