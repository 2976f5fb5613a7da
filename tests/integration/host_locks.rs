//! Locks on the host that a git which was killed left: ours go, the user's own stay and are told.

use crate::support::{Lab, Run};

/// What stands in front of git: it is killed, and we with it, where it has locked all and would go on.
const KILLED: &str = "#!/bin/sh
case \" $* \" in *' update-ref '*) ;; *) exec REAL \"$@\" ;; esac
mkfifo \"$HOME/fifo\"
REAL \"$@\" <\"$HOME/fifo\" &
exec 3>\"$HOME/fifo\"
while read -r line; do
    [ \"$line\" != commit ] || { kill -9 $! $PPID; exit; }
    echo \"$line\" >&3
done\n";

/// Makes a commit that is kept here, and the branch and tag that are in the way of nothing; gives it.
fn kept(lab: &Lab, path: &str) -> String {
    let tip = lab.workspace("app-feature").commit(path, "x\n");
    lab.git("fetch -q agentvm::feature").succeeds();
    tip
}

fn drop(lab: &Lab, commit: &str) -> Run {
    // git would look for git in a place of its own first.
    lab.host("git-agent-vm", ["kept", "--force", "--drop", commit]).in_dir(lab.app().path())
}

fn is_kept(lab: &Lab, commit: &str) -> bool {
    lab.app().refs("refs/agentvm/keep").contains(commit)
}

#[test]
fn killed_drop_locks_nobody_out() {
    let lab = Lab::new();
    lab.pushed_feature();
    lab.git("branch spare").succeeds();
    let tip = kept(&lab, "a.txt");
    let real = lab.host("sh", ["-c", "command -v git"]).succeeds().text();
    lab.put_program("git", &KILLED.replace("REAL", &real));
    drop(&lab, &tip).fails(137);
    lab.put_program("git", &format!("#!/bin/sh\nexec {real} \"$@\"\n"));
    lab.wait_until("git is gone", |lab| !lab.host_processes().join("\n").contains("update-ref"));
    // That is what the user meets.
    lab.git("branch -d spare").fails(1).stderr_has("packed-refs.lock");
    assert!(is_kept(&lab, &tip));
    // The next fetch drops what it contains.
    lab.sh("find .git/refs/agentvm -name '*.lock' -exec touch -d '1 min ago' {} +").succeeds();
    let next = kept(&lab, "b.txt");
    assert!(is_kept(&lab, &next) && !is_kept(&lab, &tip));
    lab.sh("find .git -name '*.lock' ! -name agentvm.lock").succeeds().stdout_is("");
    lab.git("branch -d spare").succeeds();
}

#[test]
fn lock_of_the_users_own_git_stays_and_is_told() {
    let lab = Lab::new();
    lab.pushed_feature();
    let one = kept(&lab, "a.txt");
    for (age, told) in [("1 min ago", false), ("2 hours ago", true)] {
        lab.sh(&format!("touch -d '{age}' .git/packed-refs.lock")).succeeds();
        let two = lab.workspace("app-feature").commit("b.txt", age);
        let fetched = lab.git("fetch agentvm::feature").succeeds();
        if told {
            fetched.stderr_has("warning: cannot drop").stderr_has("/.git/packed-refs.lock");
        } else {
            fetched.stderr_lacks("packed-refs.lock");
        }
        assert!(is_kept(&lab, &one) && is_kept(&lab, &two));
    }
    drop(&lab, &one)
        .fails(1)
        .stderr_has("cannot drop")
        .stderr_has("the lock was made 2 h ago; if no git is at work here")
        .stderr_lacks("dropped ");
    assert!(is_kept(&lab, &one));
    // As told.
    lab.sh("rm .git/packed-refs.lock").succeeds();
    drop(&lab, &one).succeeds();
    assert!(!is_kept(&lab, &one));
}

#[test]
fn lock_on_a_state_of_a_workspace_hinders_no_look_at_it() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let lock = ".git/refs/agentvm/wip/feature.lock";
    for (text, verb, age) in [
        ("one\n", "fetch --wip feature", "1 hour ago"),
        ("two\n", "diff feature", "1 hour ago"),
        ("three\n", "fetch --wip feature", "2 days"),
        ("four\n", "fetch --wip feature", "now"),
    ] {
        workspace.write("new.txt", text);
        lab.sh(&format!("mkdir -p .git/refs/agentvm/wip && touch -d '{age}' {lock}")).succeeds();
        lab.agent_vm(verb).succeeds();
        lab.git("show refs/agentvm/wip/feature:new.txt").succeeds().stdout_is(text.trim());
        assert!(!lab.app().has(lock));
    }
}

#[test]
fn lock_on_the_configuration_is_waited_for_or_told() {
    let lab = Lab::new();
    lab.git("branch other").succeeds();
    let lock = lab.app().path().join(".git/config.lock");
    let told =
        format!("if no git is at work here, one that was killed left it: rm {}", lock.display());
    let pushes = |branch: &str| lab.git(["push", &format!("agentvm::{branch}"), branch]);
    // The first command names the repository.
    lab.sh("touch -d '3 hours ago' .git/config.lock").succeeds();
    pushes("feature").fails(128).stderr_has("the lock was made 3 h ago").stderr_has(&told);
    assert!(lock.exists(), "nobody knows whose it is");
    // One who writes there does so for a moment.
    fs_err::remove_file(&lock).unwrap();
    fs_err::write(&lock, "").unwrap();
    let push = pushes("feature").background();
    std::thread::sleep(std::time::Duration::from_millis(600));
    fs_err::remove_file(&lock).unwrap();
    assert_eq!(push.finish().code, 0);
    // What follows enrols a branch.
    lab.sh("touch -d '3 hours ago' .git/config.lock").succeeds();
    lab.agent_vm("connect other -- true").fails(125).stderr_has(&told);
    fs_err::remove_file(&lock).unwrap();
    lab.agent_vm("connect other -- true").succeeds();
}
