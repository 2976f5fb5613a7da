//! Tags: sent as asked; with every push of ours, those of the default branch go along.

use super::Sides;

/// Tags on feature alone, which no push sends by itself.
const TAG: &str = "git checkout -q feature && git commit -q --allow-empty -m tagged &&
    git tag light && git tag -a -m annotated v1";

#[test]
fn tags_that_are_named() {
    let sides = Sides::pushed();
    sides.sh(TAG);
    sides.git("push vm tag v1").code(0).same().says("[new tag]");
    sides.git("push vm light").code(0).same();
    sides.git("push vm :refs/tags/light").code(0).same();
    sides.git("push --delete vm v1").code(0).same();
}

#[test]
fn all_tags() {
    let sides = Sides::pushed();
    sides.sh(TAG);
    sides.git("push --tags vm").code(0).same();
    sides.git("push --tags vm feature").code(0).same();
}

#[test]
fn follow_tags_sends_the_annotated_ones() {
    let sides = Sides::pushed();
    sides.sh(TAG);
    sides.git("push --follow-tags vm feature").code(0).same().says("v1 -> v1");
    let sides = Sides::pushed();
    sides.sh(TAG);
    sides.git("-c push.followTags=true push URL feature").code(0).same().says("v1 -> v1");
}

#[test]
fn tag_that_would_be_replaced() {
    let sides = Sides::pushed();
    sides.sh(TAG);
    sides.git("push vm v1").code(0).same();
    sides.sh("git tag -f -a -m other v1 >/dev/null");
    sides.git("push vm v1").code(1).same().says("(already exists)");
    sides.git("push --force vm v1").code(0).same();
}

#[test]
fn follow_tags_with_an_atomic_push() {
    let sides = Sides::pushed();
    sides.sh(TAG);
    sides.git("push --atomic --follow-tags vm feature").code(0).same();
}

#[test]
fn tags_of_the_default_branch_go_along_with_ours() {
    let sides = Sides::pushed();
    sides.sh("git tag base main && git checkout -q feature && git commit -q --allow-empty -m x");
    sides.git("push vm feature").code(0).same_output();
    sides.ours().for_each(|side| assert_eq!(side.far().tip("base"), side.repo().tip("main")));
    assert_eq!(sides.plain().far().refs("refs/tags"), "");
}

#[test]
fn tags_of_the_far_side_stay_there() {
    // Over ssh they would come, and refs/tags/origin/main would shadow a branch of that name.
    let sides = Sides::pushed();
    sides.far_sh("git commit -q --allow-empty -m agent && git tag v1 && git tag -a -m x v2");
    sides.git("fetch vm").plain_code(0).ours_code(0);
    sides.git("fetch --tags vm").plain_code(0).ours_code(0);
    sides.ours().for_each(|side| assert_eq!(side.repo().refs("refs/tags"), ""));
    assert_ne!(sides.plain().repo().refs("refs/tags"), "");
    sides.git("fetch URL tag v1").plain_code(0).ours_code(128);
    sides.git("fetch --no-tags vm").code(0);
}
