//! What we refuse on purpose, with our exact words; and what git refuses by itself.

use super::Sides;

#[test]
fn deletion_of_the_branch_itself_names_clean() {
    let sides = Sides::pushed();
    sides.git("push vm :feature").code(1).same_repositories().ours_says(
        "! [remote rejected] feature (it is the workspace's own branch; git agent-vm clean feature removes the workspace)",
    );
}

#[test]
fn deletion_of_commits_that_are_not_here() {
    let sides = Sides::pushed();
    sides.far_sh(
        "git checkout -q -b side && git commit -q --allow-empty -m side && git checkout -q feature",
    );
    sides
        .git("push vm :side")
        .plain_code(0)
        .ours_code(1)
        .ours_says("! [remote rejected] side (it has commits that are not here; fetch first)");
    sides.ours().for_each(|side| assert_ne!(side.far().tip("side"), ""));
}

#[test]
fn mirror_deletes_neither_the_branch_nor_unfetched_commits() {
    let sides = Sides::pushed();
    sides.far_sh(
        "git branch extra main 2>/dev/null || git branch extra
        git checkout -q -b side && git commit -q --allow-empty -m side && git checkout -q feature",
    );
    sides.sh("git checkout -q main && git branch -m feature renamed");
    sides
        .git("push --mirror vm")
        .ours_code(1)
        .ours_says("feature (it is the workspace's own branch; git agent-vm clean feature removes the workspace)")
        .ours_says("side (it has commits that are not here; fetch first)");
    sides.ours().for_each(|side| {
        assert_ne!(side.far().tip("feature"), "");
        assert_ne!(side.far().tip("side"), "");
        assert_eq!(side.far().tip("extra"), "", "what the host has may go");
        assert_eq!(side.far().tip("renamed"), side.repo().tip("renamed"));
    });
}

#[test]
fn prune_deletes_neither_the_branch_nor_unfetched_commits() {
    let sides = Sides::pushed();
    sides.far_sh(
        "git checkout -q -b side && git commit -q --allow-empty -m side && git checkout -q feature",
    );
    sides.sh("git branch -m feature renamed");
    sides
        .git(["push", "--prune", "URL", "refs/heads/*:refs/heads/*"])
        .ours_code(1)
        .ours_says("feature (it is the workspace's own branch")
        .ours_says("side (it has commits that are not here; fetch first)");
    sides.ours().for_each(|side| assert_ne!(side.far().tip("side"), ""));
}

#[test]
fn signed_push() {
    let sides = Sides::pushed();
    sides.sh("git checkout -q feature && git commit -q --allow-empty -m x");
    let words = "push --signed vm feature";
    // No repository here signs: neither has a nonce's seed.
    sides
        .git(words)
        .code(128)
        .same_repositories()
        .ours_says("fatal: helper agentvm does not support --signed");
    // Over ssh, git warns that it was not asked.
    sides.git("push --signed=if-asked vm feature").code(0).same_repositories().same_stdout();
    sides.sh("git commit -q --allow-empty -m y");
    sides.git("-c push.gpgSign=if-asked push vm feature").code(0).same_repositories();
}

#[test]
fn filter_on_a_fetch() {
    let sides = Sides::pushed();
    sides.far_sh("echo agent >agent.txt && git add . && git commit -qm agent");
    sides
        .git("fetch --filter=blob:none URL feature")
        .ours_code(128)
        .ours_says("error: a fetch from a workspace cannot be filtered")
        .ours_says("hint: leave --filter away: what the agent made exists nowhere else");
}
