//! Locks on the host that a git which was killed left: ours go, the user's own stay and are told.

use crate::support::Lab;

#[test]
fn lock_on_a_state_of_a_workspace_hinders_no_look_at_it() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let lock = ".git/refs/agentvm/wip/feature.lock";
    for (text, verb, age) in [
        ("one\n", "fetch --wip feature", "1 hour ago"),
        ("two\n", "diff feature", "1 hour ago"),
        ("three\n", "fetch --wip feature", "now"),
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
