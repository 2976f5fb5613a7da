//! What is sent, and what git says about it.

use super::Sides;

const HOST_COMMIT: &str = "git checkout -q feature && echo host >host.txt && git add host.txt &&
    git commit -qm 'Change host.txt'";
const FAR_COMMIT: &str = "echo agent >agent.txt && git add agent.txt && git commit -qm agent";

#[test]
fn first_push() {
    Sides::new().git("push URL").code(0).same().says("[new branch]      feature -> feature");
}

#[test]
fn fast_forward_by_url_and_by_name() {
    let sides = Sides::pushed();
    sides.sh(HOST_COMMIT);
    sides.git("push URL feature").code(0).same();
    sides.sh("echo more >more.txt && git add . && git commit -qm more");
    sides.git("push vm feature").code(0).same();
}

#[test]
fn nothing_to_push() {
    Sides::pushed().git("push vm feature").code(0).same().says("Everything up-to-date");
}

#[test]
fn new_commits_on_the_far_side() {
    let sides = Sides::pushed();
    sides.far_sh(FAR_COMMIT);
    sides.sh(HOST_COMMIT);
    sides.git("push URL feature").code(1).same().says("(fetch first)");
    sides.git("fetch -q vm").code(0).same();
    sides.git("push vm feature").code(1).same().says("(non-fast-forward)");
}

#[test]
fn forced_push() {
    let sides = Sides::pushed();
    sides.far_sh(FAR_COMMIT);
    sides.sh(HOST_COMMIT);
    sides.git("push --force vm feature").code(0).same().says("(forced update)");
    sides.sh("git commit -q --amend -m amended");
    sides.git("push vm +feature").code(0).same().says("(forced update)");
}

#[test]
fn porcelain_quiet_verbose_and_dry_run() {
    for flags in ["--porcelain", "--porcelain --dry-run", "-q", "-v", "--dry-run", "--porcelain -v"]
    {
        let sides = Sides::pushed();
        sides.sh(HOST_COMMIT);
        sides.git(&format!("push {flags} vm feature main:topic")).code(0).same();
        sides.git(&format!("push {flags} vm feature")).code(0).same();
    }
}

#[test]
fn progress_on_request() {
    let sides = Sides::pushed();
    sides.sh(HOST_COMMIT);
    sides
        .git("push --progress vm feature")
        .code(0)
        .same_repositories()
        .says("Writing objects: 100%");
}

#[test]
fn several_refs_of_which_one_is_rejected() {
    let sides = Sides::pushed();
    sides.far_sh(
        "git checkout -q -b side && git commit -q --allow-empty -m side && git checkout -q feature",
    );
    sides.sh("git branch side main");
    sides.sh(HOST_COMMIT);
    sides.git("push vm feature side main").code(1).same();
}

#[test]
fn atomic_push_of_which_one_is_rejected() {
    let sides = Sides::pushed();
    sides.far_sh(
        "git checkout -q -b side && git commit -q --allow-empty -m side && git checkout -q feature",
    );
    sides.sh("git branch side main");
    sides.sh(HOST_COMMIT);
    // What git rejects itself it does not call remote; of a helper it can only be told so.
    sides
        .git("push --atomic vm feature side main")
        .code(1)
        .same_repositories()
        .says("[rejected]        side -> side (fetch first)")
        .ours_says("[remote rejected] feature -> feature (atomic push failed)")
        .ours_says("[remote rejected] main -> main (atomic push failed)");
    sides.git("push --atomic vm feature main").code(0).same();
}

#[test]
fn branches_that_are_created_renamed_and_deleted() {
    let sides = Sides::pushed();
    sides.git("push vm main:refs/heads/topic").code(0).same();
    sides.git("push vm HEAD~0:refs/heads/other").code(0).same();
    sides.git("push vm :topic").code(0).same().says("[deleted]");
    sides.git("push vm --delete other").code(0).same();
    sides.git("push vm --delete none").code(1).same();
    sides.git("push -d URL none").code(1).same();
}

#[test]
fn tracking_is_set_up() {
    let sides = Sides::pushed();
    sides.git("push -u vm feature").code(0).same().says("set up to track");
    sides.git("push --set-upstream URL main:main").code(0).same();
    sides.git("status -sb").code(0).same();
}

#[test]
fn all_branches() {
    let sides = Sides::pushed();
    sides.sh("git branch extra main");
    sides.git("push --all vm").code(0).same();
    sides.git("push vm :").code(0).same();
}

#[test]
fn refspecs_that_name_nothing() {
    let sides = Sides::pushed();
    sides.git("push vm nothing").code(1).same();
    sides.git("push vm nothing:feature").code(1).same();
    sides.git("push vm main:no/such/../ref").code(128).same();
}

#[test]
fn other_namespaces() {
    let sides = Sides::pushed();
    sides.git("push vm main:refs/wip/x").code(0).same();
    sides.git("push vm main:refs/for/review").code(0).same();
}

#[test]
fn options_of_a_push() {
    let sides = Sides::pushed();
    sides.sh(HOST_COMMIT);
    sides.git("push -o ci.skip -o a=b vm feature").code(0).same();
}

#[test]
fn pre_push_hook_sees_the_same() {
    let sides = Sides::pushed();
    sides.sh(
        "printf '#!/bin/sh\necho \"$1\"; cat\n' >.git/hooks/pre-push; chmod +x .git/hooks/pre-push",
    );
    sides.sh(HOST_COMMIT);
    sides.git("push vm feature main").code(0).same();
    sides.git("push URL :main").code(0).same();
    sides.git("push --no-verify vm main").code(0).same();
}

#[test]
fn thin_and_complete_packs() {
    for flag in ["--no-thin", "--thin"] {
        let sides = Sides::pushed();
        sides.sh(HOST_COMMIT);
        sides.git(&format!("push {flag} vm feature")).code(0).same();
    }
}
