//! `git agent-vm restore`: what was cleaned comes back whole, and takes nothing's place.

use crate::support::{Lab, Workspace};

/// The only entry of the trash that begins so.
fn in_trash(lab: &Lab, begin: &str) -> String {
    let script = "cd workspace/.trash && ls -d \"$0\"*";
    let listed = lab.guest_command("sh", ["-c", script, begin]).succeeds().text();
    assert_eq!(listed.lines().count(), 1, "{listed}");
    listed
}

/// Cleans feature, whatever is in it; its name in the trash.
fn cleaned(lab: &Lab) -> String {
    lab.agent_vm("clean --force feature").succeeds();
    in_trash(lab, "app-feature")
}

/// All that a workspace holds: objects, refs, reflogs, index, files.
fn everything(workspace: &Workspace<'_>) -> String {
    let script = "git rev-list --all --reflog --objects | sort; git for-each-ref; git stash list
        cat .git/logs/HEAD .git/HEAD; git status --porcelain --ignored";
    format!("{}{}", workspace.sh(script).succeeds().text(), workspace.snapshot())
}

#[test]
fn restore_brings_all_back() {
    // desktop/desktop#13714
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let script = "echo x >feature.txt; git stash -q
        git commit -q --allow-empty -m gone; git reset -q --hard HEAD~
        git notes add -m note; echo untracked >notes.txt; echo staged >staged.txt; git add staged.txt
        echo '.env' >.git/info/exclude; echo secret >.env; chmod 600 .env; mkdir -p ro; echo r >ro/r
        chmod a-w ro";
    workspace.sh(script).succeeds();
    let before = everything(&workspace);
    lab.agent_vm("clean feature").fails(3).stderr_has("1 stash").stderr_has("reflog");
    let name = cleaned(&lab);
    assert!(!workspace.exists());
    lab.agent_vm(["restore", &name])
        .succeeds()
        .stderr_has(&format!("restored {name} as workspace 'app-feature' of branch 'feature'"))
        .stderr_has("hint: git agent-vm fetch feature");
    assert!(everything(&workspace) == before, "{before}\n{}", everything(&workspace));
    lab.guest_sh("ls workspace/.trash").succeeds().stdout_is("");
    workspace.sh("git stash pop -q && cat feature.txt").succeeds().stdout_is("x");
    // It is the branch's workspace again.
    workspace.sh("chmod u+w ro && git checkout -q -f && git clean -qfd").succeeds();
    lab.app().commit_on("feature", "more.txt", "more\n");
    lab.git("push -q agentvm::feature").succeeds();
    assert_eq!(workspace.read("more.txt"), "more\n");
}

#[test]
fn branch_brings_back_the_newest_of_its_workspaces() {
    let lab = Lab::new();
    for text in ["one\n", "two\n"] {
        lab.pushed_feature().write("notes.txt", text);
        lab.agent_vm("clean --force feature").succeeds();
    }
    let old = lab.guest_sh("cd workspace/.trash && mv app-feature.*[!+] app-feature.1700000000");
    old.run();
    lab.agent_vm("restore feature").succeeds();
    assert_eq!(lab.workspace("app-feature").read("notes.txt"), "two\n");
    lab.agent_vm("restore no-such-thing").fails(4).stderr_has("git agent-vm restore shows");
    lab.agent_vm(["restore", "../../etc"]).fails(4);
}

#[test]
fn both_are_kept_where_the_branch_has_a_workspace_again() {
    // zed-industries/zed#57441
    let lab = Lab::new();
    let first = lab.pushed_feature();
    let commit = first.commit("first.txt", "first\n");
    first.write("uncommitted.txt", "x\n");
    let name = cleaned(&lab);
    let second = lab.pushed_feature();
    second.commit("second.txt", "second\n");
    let before = everything(&second);
    lab.agent_vm(["restore", &name]).succeeds().stderr_has(
        "as workspace 'app-feature-restored' of branch 'feature-restored' (it was 'feature')",
    );
    assert!(everything(&second) == before);
    let restored = lab.workspace("app-feature-restored");
    assert_eq!(restored.read("uncommitted.txt"), "x\n");
    restored.git("symbolic-ref HEAD").succeeds().stdout_is("refs/heads/feature-restored");
    assert_eq!(restored.refs("refs/heads").lines().count(), 1, "{}", restored.refs("refs/heads"));
    restored.git("reflog feature-restored").succeeds().stdout_has("Agent changes first.txt");

    // Both ways to its commits.
    lab.git("fetch agentvm://agent-vm/app-feature-restored").succeeds();
    assert_eq!(lab.app().tip("FETCH_HEAD"), commit);
    lab.agent_vm("fetch feature-restored").succeeds();
    assert_eq!(lab.app().tip("feature-restored"), commit);
    lab.agent_vm("connect feature-restored -- cat first.txt").succeeds().stdout_is("first");
    // And the other one is still what it was.
    lab.agent_vm("connect feature -- cat second.txt").succeeds().stdout_is("second");
    lab.agent_vm("fetch feature").succeeds();
    lab.git("show feature:second.txt").succeeds().stdout_is("second");
}

#[test]
fn third_one_gets_a_number_and_branches_of_this_repository_are_left_alone() {
    let lab = Lab::new();
    lab.pushed_feature().write("notes.txt", "one\n");
    let name = cleaned(&lab);
    lab.pushed_feature();
    lab.git("branch feature-restored main").succeeds();
    lab.agent_vm(["restore", &name]).succeeds().stderr_has("'app-feature-restored-2'");
    let restored = lab.workspace("app-feature-restored-2");
    assert_eq!(restored.read("notes.txt"), "one\n");
    restored.git("symbolic-ref HEAD").succeeds().stdout_is("refs/heads/feature-restored-2");
}

#[test]
fn name_that_something_else_has_is_left_and_the_branch_stays() {
    let lab = Lab::new();
    let tip = lab.pushed_feature().commit("agent.txt", "agent\n");
    let name = cleaned(&lab);
    lab.guest_sh("mkdir workspace/App-Feature && echo x >workspace/App-Feature/file").succeeds();
    lab.agent_vm(["restore", &name])
        .succeeds()
        .stderr_has("'app-feature-restored' of branch 'feature'\n");
    lab.guest_sh("cat workspace/App-Feature/file").succeeds().stdout_is("x");
    lab.git("fetch agentvm::feature").succeeds();
    assert_eq!(lab.app().tip("FETCH_HEAD"), tip);
}

#[test]
fn it_can_become_the_workspace_of_another_branch() {
    let lab = Lab::new();
    lab.pushed_feature().commit("agent.txt", "agent\n");
    let name = cleaned(&lab);
    lab.git("push -q agentvm::other feature:refs/heads/other").succeeds();
    lab.agent_vm(["restore", &name, "--as", "other"])
        .fails(1)
        .stderr_has("the name other is taken");
    assert_eq!(in_trash(&lab, "app-feature"), name);
    lab.agent_vm(["restore", &name, "--as", "tried/first"])
        .succeeds()
        .stderr_has("'app-tried-first' of branch 'tried/first' (it was 'feature')");
    lab.agent_vm("connect tried/first -- git branch").succeeds().stdout_is("* tried/first");
    assert_eq!(lab.workspace("app-tried-first").read("agent.txt"), "agent\n");
    lab.agent_vm("status").succeeds().stdout_has("tried/first");
}

#[test]
fn operation_in_progress_goes_on_under_the_new_name() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let script = "git checkout -q -b side HEAD~ && echo side >feature.txt && git add . &&
        git commit -qm side && git checkout -q feature && ! git rebase -q side 2>/dev/null";
    workspace.sh(script).succeeds();
    let name = cleaned(&lab);
    lab.pushed_feature();
    lab.agent_vm(["restore", &name]).succeeds();
    let restored = lab.workspace("app-feature-restored");
    let script =
        "echo both >feature.txt && git add . && GIT_EDITOR=true git rebase --continue >&2 &&
        git symbolic-ref HEAD && git log --format=%s -2";
    restored
        .sh(script)
        .succeeds()
        .stdout_is("refs/heads/feature-restored\nChange feature.txt\nside");
    assert_eq!(restored.refs("refs/heads").lines().count(), 2);
}

#[test]
fn linked_worktrees_work_again() {
    // openclaw/openclaw#129414
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let script = "git worktree add -q ../x -b x && echo w >../x/w &&
        git worktree add -q .trees/y -b y && echo w >.trees/y/w";
    workspace.sh(script).succeeds();
    lab.agent_vm("clean feature").fails(3).stderr_has("/x");
    let name = cleaned(&lab);
    lab.agent_vm(["restore", &name]).succeeds();
    let status = |dir: &str| lab.guest_sh(&format!("git -C workspace/{dir} status --short")).run();
    for dir in ["x", "app-feature/.trees/y"] {
        assert_eq!(status(dir).text(), "?? w", "{}", status(dir));
    }
    // Under another name, too.
    let name = cleaned(&lab);
    let newer = lab.pushed_feature();
    lab.agent_vm(["restore", &name]).succeeds().stderr_has("app-feature-restored");
    for (dir, branch) in [("x", "x"), ("app-feature-restored/.trees/y", "y")] {
        assert_eq!(status(dir).text(), "?? w", "{}", status(dir));
        let on = lab.guest_sh(&format!("git -C workspace/{dir} symbolic-ref --short HEAD"));
        on.succeeds().stdout_is(branch);
    }
    let listed = lab.workspace("app-feature-restored").git("worktree list --porcelain").succeeds();
    let listed = listed.stdout_lacks("prunable");
    assert!(listed.text().contains("/workspace/x\n"), "{listed}");
    newer.git("worktree list").succeeds().stdout_lacks("/x");
}

#[test]
fn worktree_that_a_newer_workspace_made_in_the_same_place_stays_with_that_one() {
    let lab = Lab::new();
    lab.pushed_feature().sh("git worktree add -q ../x -b x").succeeds();
    let name = cleaned(&lab);
    lab.guest_sh("rm -r workspace/x").succeeds();
    lab.pushed_feature().sh("git worktree add -q ../x -b x && echo w >../x/w").succeeds();
    lab.agent_vm(["restore", &name]).succeeds().stderr_has("app-feature-restored");
    let dir = lab.guest_sh("git -C workspace/x rev-parse --git-common-dir").succeeds().text();
    assert!(dir.ends_with("/app-feature/.git"), "{dir}");
}

/// Whatever it was about to change.
#[test]
fn locks_that_a_killed_git_has_left_stop_no_later_restore() {
    let lab = Lab::new();
    let tip = lab.pushed_feature().commit("agent.txt", "agent\n");
    lab.workspace("app-feature").sh("git worktree add -q .trees/y -b y").succeeds();
    let name = cleaned(&lab);
    lab.pushed_feature();
    let leave = format!(
        "cd workspace/.trash/{name}/.git && for name in config HEAD index packed-refs refs/heads/feature \\
        refs/heads/feature-restored worktrees/y/HEAD; do : >$name.lock; done"
    );
    lab.guest_sh(&leave).succeeds();
    lab.agent_vm(["restore", &name]).succeeds().stderr_has("'app-feature-restored'");
    let restored = lab.workspace("app-feature-restored");
    assert_eq!(restored.tip("refs/heads/feature-restored"), tip);
    restored.sh("[ -z \"$(find .git -name '*.lock' ! -name agentvm.lock)\" ]").succeeds();
}

#[test]
fn restore_killed_anywhere_is_all_or_nothing() {
    let lab = Lab::new();
    let tip = lab.pushed_feature().commit("agent.txt", "agent\n");
    lab.workspace("app-feature").sh("git worktree add -q .trees/y -b y").succeeds();
    let name = cleaned(&lab);
    lab.pushed_feature();
    let real = lab.guest_sh("command -v git; command -v mv").succeeds().text();
    let (git, mv) = real.split_once('\n').unwrap();
    let restored = lab.workspace("app-feature-restored");
    let mut cut = 0;
    // The n-th program that it starts kills it instead; the next try has to come through.
    for step in 1_u32.. {
        let count = format!(
            "n=$(cat ~/count 2>/dev/null || echo 0); n=$((n + 1)); echo $n >~/count
             [ $n -ne {step} ] || {{ kill -9 $PPID; sleep 0.2; exit 9; }}"
        );
        lab.guest_fake("git", &format!("{count}\nexec {git} \"$@\""));
        lab.guest_fake("mv", &format!("{count}\nexec {mv} \"$@\""));
        lab.guest_sh("rm -f count").succeeds();
        let ran = lab.agent_vm(["restore", &name]).run();
        for program in ["git", "mv"] {
            lab.guest_fake(
                program,
                &format!("exec {} \"$@\"", if program == "git" { git } else { mv }),
            );
        }
        let reached: u32 = lab.guest_sh("cat count").succeeds().text().parse().unwrap();
        if reached < step {
            assert_eq!(ran.code, 0, "{ran}");
            break;
        }
        cut += 1;
        let there = restored.exists();
        let waits = lab.guest_sh(&format!("test -d workspace/.trash/{name}")).run().code == 0;
        assert!(there != waits, "step {step}: {there} {waits}\n{ran}");
        if !there {
            lab.agent_vm(["restore", &name]).succeeds().stderr_has("'app-feature-restored'");
        }
        assert_eq!(restored.tip("refs/heads/feature-restored"), tip, "step {step}");
        restored.git("symbolic-ref HEAD").succeeds().stdout_is("refs/heads/feature-restored");
        restored.git("reflog feature-restored").succeeds().stdout_has("Agent changes agent.txt");
        assert_eq!(
            restored.refs("refs/heads").lines().count(),
            2,
            "{}",
            restored.refs("refs/heads")
        );
        restored.git("fsck --strict").succeeds();
        restored.sh("git -C .trees/y status --short").succeeds().stdout_is("");
        let marker = "git config --file .git/config --get-regexp '^agentvm[.](ref|becomes)'";
        restored.sh(marker).succeeds().stdout_is("agentvm.ref refs/heads/feature-restored");
        assert_eq!(restored.status(), "?? .trees/y/");
        // Back to where it was, as the first time.
        let back = "git branch -m feature feature && git config agentvm.ref refs/heads/feature &&
            mv ~/workspace/app-feature-restored \"$HOME/workspace/.trash/$1\"";
        restored.sh("git branch -m feature-restored feature").succeeds();
        restored.sh_with(back, [&name]).succeeds();
    }
    assert!(cut > 15, "only {cut} places were tried");
}

#[test]
fn half_renamed_branch_gets_its_own_name_back_where_that_is_free_again() {
    let lab = Lab::new();
    let tip = lab.pushed_feature().commit("agent.txt", "agent\n");
    let name = cleaned(&lab);
    // As a restore leaves it that was killed before the marker changed, beside a newer workspace.
    let script = "cd \"workspace/.trash/$0\" && git branch -m feature feature-restored &&
        git config agentvm.becomes refs/heads/feature-restored";
    lab.guest_command("sh", ["-c", script, &name]).succeeds();
    lab.agent_vm(["restore", &name]).succeeds().stderr_has("'app-feature' of branch 'feature'\n");
    let workspace = lab.workspace("app-feature");
    assert_eq!(workspace.refs("refs/heads"), format!("{tip} refs/heads/feature"));
    workspace.git("symbolic-ref HEAD").succeeds().stdout_is("refs/heads/feature");
    workspace.git("config agentvm.becomes").fails(1);
}

#[test]
fn restore_goes_on_beside_another_session() {
    let lab = Lab::new();
    lab.pushed_feature().write("notes.txt", "x\n");
    let name = cleaned(&lab);
    lab.git("push -q agentvm::other feature:refs/heads/other").succeeds();
    let lock = "workspace/app-other/.git/agentvm.lock";
    let push = lab.guest_sh(&format!("exec flock {lock} sleep 55")).background();
    let shell = lab.agent_vm("connect other -- sleep 54").background();
    lab.wait_until("both are there", |lab| {
        lab.guest_sh("ps -A -o args= | grep -c '^sleep 5[45]'").run().text() == "2"
    });
    lab.agent_vm(["restore", &name]).succeeds().took_under_seconds(20);
    assert_eq!(lab.workspace("app-feature").read("notes.txt"), "x\n");
    lab.kill_guest();
    push.finish();
    shell.finish();
}

#[test]
fn list_says_what_there_is_and_whose() {
    let lab = Lab::new();
    lab.agent_vm("restore").succeeds().stdout_is("").stderr_has("the trash is empty");
    lab.pushed_feature().sh("head -c 2000000 /dev/urandom >big").succeeds();
    let name = cleaned(&lab);
    let other = lab.init("other");
    other.commit("a.txt", "a\n");
    other.enrol("main");
    other.git("push -q agentvm::main").succeeds();
    other.git("agent-vm clean --force main").succeeds();
    lab.guest_sh("printf x >\"workspace/.trash/$(printf 'esc\\033[31m\\nline')\"").succeeds();
    let ran = lab.agent_vm("restore").succeeds().shows_clean_text();
    let text = ran.text();
    let line = |word: &str| text.lines().find(|line| line.contains(word)).unwrap().to_owned();
    assert!(line(&name).contains("  feature  ") && line(&name).ends_with("  trash"), "{ran}");
    assert!(line(&name).contains("MiB") && line(&name).contains(" s ago"), "{ran}");
    assert!(line("other-main").contains("main (another repository)"), "{ran}");
    let json = lab.agent_vm("restore --json").succeeds().json();
    assert_eq!(json["version"], 1);
    let entries = json["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 3, "{json:#}");
    let entry = entries.iter().find(|entry| entry["name"] == *name).unwrap();
    assert_eq!((&entry["here"], &entry["branch"]), (&true.into(), &"feature".into()), "{json:#}");
    assert!(entry["bytes"].as_u64().unwrap() > 2_000_000, "{json:#}");
    assert!(entry["time"].as_i64().unwrap() > 1_700_000_000, "{json:#}");
    // Of another repository: it comes back all the same.
    let theirs = in_trash(&lab, "other-main");
    lab.agent_vm(["restore", &theirs])
        .succeeds()
        .stderr_has("git fetch agentvm://agent-vm/other-main brings its commits");
    assert!(lab.workspace("other-main").exists());
    lab.agent_vm(["restore", &name, "--as", "x"]).succeeds();
}

#[test]
fn drop_asks_for_the_name() {
    let lab = Lab::new();
    lab.pushed_feature().write("notes.txt", "x\n");
    let name = cleaned(&lab);
    let there = || lab.guest_sh(&format!("test -d workspace/.trash/{name}")).run().code == 0;
    lab.agent_vm(["restore", "--drop", &name]).fails(3).stderr_has("--drop --force");
    let on_terminal = |typed: &str| {
        lab.on_terminal(&format!("git agent-vm restore --drop {name}")).stdin(format!("{typed}\n"))
    };
    on_terminal("yes").fails(3).stdout_has("nothing is removed");
    assert!(there());
    on_terminal(&name).succeeds().stdout_has("removed app-feature");
    assert!(!there());
    let name = {
        lab.pushed_feature();
        cleaned(&lab)
    };
    lab.agent_vm(["restore", "--drop", "--force", &name]).succeeds();
    lab.agent_vm(["restore", "--drop", "--force", &name]).fails(4);
    lab.agent_vm("restore --force").fails(2);
}

#[test]
fn names_that_look_like_shell_text_stay_text() {
    // voxpupuli/g10k#44, sourcegit-scm/sourcegit#2402
    let lab = Lab::new();
    for branch in
        ["a;touch${IFS}p", "$(touch${IFS}p)", "it's\"q\"", "a&b!#%s", "{a,b}$HOME", "<x>|y"]
    {
        lab.git(["branch", branch, "feature"]).succeeds();
        lab.git(["tag", branch, "main"]).succeeds();
        lab.agent_vm(["push", branch]).succeeds();
        lab.agent_vm(["clean", branch]).succeeds();
        lab.agent_vm(["push", branch]).succeeds();
        lab.agent_vm("restore --json").succeeds().json();
        lab.agent_vm(["restore", branch]).succeeds().stderr_has(&format!("'{branch}-restored'"));
        let renamed = format!("{branch}-restored");
        lab.agent_vm(["connect", &renamed, "--", "git", "symbolic-ref", "HEAD"])
            .succeeds()
            .stdout_is(&format!("refs/heads/{renamed}"));
        lab.forget_workspaces();
    }
    lab.guest_sh("! find . -name p | grep .").succeeds();
    lab.sh("! find . -name p | grep .").succeeds();
}

#[test]
fn old_names_with_odd_files_come_back_unharmed() {
    // career-ops-hq/career-ops#3417
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let script = "for n in 'ä' 'a b' 'q\"' 'x -> y' \"$(printf 'tab\\there')\" \"$(printf 'new\\nline')\" \
        \"$(printf 'latin-\\351')\"; do echo x >\"$n\"; done; git mv feature.txt 'x -> z'";
    workspace.sh(script).succeeds();
    let before = everything(&workspace);
    let name = cleaned(&lab);
    lab.agent_vm(["restore", &name]).succeeds();
    assert!(everything(&workspace) == before);
}
