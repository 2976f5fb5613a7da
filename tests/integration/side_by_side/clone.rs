//! `git clone agentvm://VM/WORKSPACE`.

use super::Sides;

#[test]
fn clones_of_every_kind() {
    let sides = sides();
    for words in [
        "clone URL plainly",
        "clone -q URL quiet",
        "clone --bare URL bare.git",
        "clone --mirror URL mirror.git",
        "clone -b topic URL branch",
        "clone --single-branch URL single",
        "clone --no-checkout URL unchecked",
        "clone -o elsewhere URL named",
        "clone --no-tags URL untagged",
        "clone --separate-git-dir=apart.git URL separate",
        "clone --reference . URL referring",
        "clone --dissociate --reference . URL apart",
        "clone --recurse-submodules URL recursing",
        "clone --sparse URL sparse",
        "clone -c core.eol=lf URL configured",
    ] {
        let dir = words.split(' ').next_back().unwrap();
        sides.git(words).code(0).same();
        sides.git(["-C", dir, "for-each-ref"]).code(0).same();
        sides.git(["-C", dir, "symbolic-ref", "HEAD"]).code(0).same();
    }
    sides.git("clone -b nothing URL none").code(128).same().says("Remote branch nothing not found");
}

#[test]
fn clone_goes_on_like_any_other() {
    let sides = sides();
    sides.git("clone -q URL copy").code(0).same();
    sides.far_sh("git commit -q --allow-empty -m more");
    sides.git("-C copy pull").code(0).same();
    sides.git("-C copy commit -q --allow-empty -m host").code(0).same();
    sides.git("-C copy push").code(0).same().says("feature -> feature");
    sides.git("-C copy status -sb").code(0).same();
}

#[test]
fn clone_by_branch_is_refused() {
    Sides::pushed()
        .git("clone URL copy")
        .without("full")
        .plain_code(0)
        .ours_code(128)
        .ours_says("error: agentvm::feature names a branch of \"this repository\", which a new clone is not")
        .ours_says("hint: git clone agentvm://agent-vm/WORKSPACE");
}

/// Only the address that is for clones, and the ordinary one.
fn sides() -> Sides {
    let mut sides = Sides::pushed();
    sides.ours.retain(|name| *name == "full");
    sides.far_sh("git branch topic && git commit -q --allow-empty -m agent");
    sides
}
