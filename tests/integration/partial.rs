//! A host that lacks objects: a partial clone of an origin over the user's own ssh.

use crate::support::{Lab, Repo};

/// A blobless clone, nothing checked out, of an origin in the guest's home.
fn partial(lab: &Lab) -> Repo<'_> {
    let script = "git init -q --bare origin.git && cd origin.git &&
        git config uploadpack.allowFilter true && git config uploadpack.allowAnySHA1InWant true";
    lab.guest_sh(script).succeeds();
    let ssh = format!("ssh -F '{}'", lab.path().join("ssh/config").display());
    lab.git_config("core.sshCommand", &ssh);
    lab.git("push -q ssh://vm/~/origin.git main feature").succeeds();
    let clone =
        "clone -q --no-checkout --filter=blob:none -b feature ssh://vm/~/origin.git partial";
    lab.host("git", clone).succeeds();
    let partial = lab.repo("partial");
    partial.enrol("feature");
    let missing = "rev-list --objects --all --missing=print";
    assert!(partial.git(missing).succeeds().text().contains('?'), "the clone is whole");
    partial
}

#[test]
fn missing_blobs_come_from_the_origin_with_the_users_own_ssh() {
    // can1357/oh-my-pi#1820
    let lab = Lab::new();
    let partial = partial(&lab);
    partial.git("push agentvm::feature").succeeds();
    let workspace = lab.workspace("partial-feature");
    assert_eq!(workspace.read("feature.txt"), "one\n");
    assert_eq!(workspace.status(), "");
    let agents = workspace.commit("agent.txt", "agent\n");
    partial.git("fetch agentvm::feature").succeeds();
    assert_eq!(partial.tip("FETCH_HEAD"), agents);
    partial.git("cat-file -e FETCH_HEAD:agent.txt").succeeds();
}

#[test]
fn origin_that_is_down_is_named_and_nothing_hangs() {
    let lab = Lab::new();
    let partial = partial(&lab);
    lab.guest_sh("mv origin.git gone.git").succeeds();
    partial
        .git("push agentvm::feature")
        .fails(1)
        .stderr_has("origin")
        .stderr_lacks("Everything up-to-date")
        .took_under_seconds(30);
    lab.guest_sh("mv gone.git origin.git").succeeds();
    partial.git("push -q agentvm::feature").succeeds();
    let agents = lab.workspace("partial-feature").commit("agent.txt", "agent\n");
    lab.guest_sh("mv origin.git gone.git").succeeds();
    partial.git("fetch agentvm::feature").succeeds().took_under_seconds(30);
    assert_eq!(partial.tip("FETCH_HEAD"), agents);
}
