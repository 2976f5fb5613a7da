//! `--force-with-lease` and `--force-if-includes`.

use super::Sides;

/// The host has amended its commit; the far side has one more.
fn diverged() -> Sides {
    let sides = Sides::pushed();
    sides.git("fetch -q vm").code(0).same();
    sides.far_sh("echo agent >agent.txt && git add agent.txt && git commit -qm agent");
    sides.sh("git checkout -q feature && echo host >host.txt && git add . && git commit -q --amend -m host");
    sides
}

#[test]
fn lease_on_the_tracking_ref() {
    let sides = diverged();
    sides.git("push --force-with-lease vm feature").code(1).same().says("(stale info)");
    sides.git("fetch -q vm").code(0).same();
    sides.git("push --force-with-lease vm feature").code(0).same().says("(forced update)");
}

#[test]
fn lease_on_an_object_id() {
    let sides = diverged();
    let (old, new) = (sides.plain().repo().tip("vm/feature"), sides.plain().far().tip("HEAD"));
    sides.git(&format!("push --force-with-lease=feature:{old} URL feature")).code(1).same();
    sides.git(&format!("push --force-with-lease=feature:{new} URL feature")).code(0).same();
}

#[test]
fn lease_by_url_has_no_tracking_ref() {
    diverged().git("push --force-with-lease URL feature").code(1).same().says("(stale info)");
}

#[test]
fn lease_that_the_ref_be_new() {
    let sides = diverged();
    sides.git("push --force-with-lease=topic: vm main:topic").code(0).same();
    sides.git("push --force-with-lease=feature: vm feature").code(1).same().says("(stale info)");
}

#[test]
fn lease_on_a_deletion() {
    let sides = diverged();
    sides.git("push vm main:topic").code(0).same();
    let (wrong, right) = (sides.plain().repo().tip("feature"), sides.plain().repo().tip("main"));
    sides.git(&format!("push --force-with-lease=topic:{wrong} vm :topic")).code(1).same();
    sides.git(&format!("push --force-with-lease=topic:{right} vm :topic")).code(0).same();
}

#[test]
fn lease_in_an_atomic_push() {
    let sides = diverged();
    let old = sides.plain().repo().tip("vm/feature");
    let lease = format!("--force-with-lease=feature:{old}");
    sides.git(&format!("push --atomic {lease} vm feature main")).code(1).same();
}

#[test]
fn force_if_includes_wants_the_fetched_tip_in_the_branch() {
    let sides = diverged();
    sides.git("fetch -q vm").code(0).same();
    sides
        .git("push --force-with-lease --force-if-includes vm feature")
        .code(1)
        .same()
        .says("remote ref updated since checkout");
    sides.sh("git -c pull.rebase=true rebase -q vm/feature 2>/dev/null || { git rebase --abort; git reset -q --hard vm/feature; }
        git commit -q --amend -m amended");
    sides.git("push --force-with-lease --force-if-includes vm feature").code(0).same();
}

#[test]
fn force_if_includes_by_setting() {
    let sides = diverged();
    sides.git("fetch -q vm").code(0).same();
    sides.git("-c push.useForceIfIncludes=true push --force-with-lease vm feature").code(1).same();
}

#[test]
fn lease_with_porcelain_and_progress() {
    // keybase/client#8912
    let sides = diverged();
    let words = "push --porcelain --progress --force-with-lease vm feature";
    sides.git(words).code(1).same_repositories().same_stdout().says("[rejected] (stale info)");
    sides.git("fetch -q vm").code(0).same();
    sides.git(words).code(0).same_repositories().same_stdout().says("(forced update)");
}
