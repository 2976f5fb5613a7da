//! `git fetch`, where the far side has something new each time.

use super::Sides;

/// Something new on feature; the same on every side.
fn commit(sides: &Sides, subject: &str) {
    sides.far_sh(&format!(
        "echo '{subject}' >>agent.txt && git add . && git commit -qm '{subject}'"
    ));
}

#[test]
fn into_fetch_head_and_into_refs() {
    let sides = Sides::pushed();
    for words in [
        "fetch URL",
        "fetch URL feature",
        "fetch vm",
        "fetch vm feature",
        "fetch vm feature:refs/heads/copy",
        "fetch vm +feature:refs/heads/copy main",
        "fetch --append vm feature",
        "fetch --no-write-fetch-head vm",
        "fetch --atomic vm",
        "fetch --set-upstream vm feature",
        "fetch --refmap= vm feature",
        "fetch URL refs/heads/*:refs/remotes/all/*",
    ] {
        commit(&sides, words);
        // `main` is not there; git says so alike.
        sides.git(words).same();
    }
}

#[test]
fn dry_run_verbose_and_quiet() {
    let sides = Sides::pushed();
    for words in ["fetch --dry-run vm", "fetch -v vm", "fetch -v vm", "fetch -q vm", "fetch vm"] {
        commit(&sides, words);
        sides.git(words).code(0).same();
    }
}

#[test]
fn porcelain() {
    let sides = Sides::pushed();
    commit(&sides, "agent");
    // Since git 2.41. An older one says with its usage that it knows none.
    sides.git("fetch --porcelain vm").same();
    sides.git("fetch --porcelain --dry-run URL feature:copy").same();
}

#[test]
fn forced_update_of_the_tracking_ref() {
    let sides = Sides::pushed();
    sides.git("fetch vm").code(0).same();
    sides.far_sh("git commit -q --amend -m amended");
    sides.git("fetch vm feature:feature").code(1).same().says("(non-fast-forward)");
    sides.git("fetch vm").code(0).same();
    sides.far_sh("git commit -q --amend -m again");
    sides.git("fetch vm").code(0).same().says("(forced update)");
    sides.git("fetch vm +feature:feature").code(0).same();
}

#[test]
fn prune_of_branches_that_are_gone() {
    let sides = Sides::pushed();
    sides.far_sh("git branch topic");
    sides.git("fetch vm").code(0).same().says("topic");
    sides.far_sh("git branch -D topic");
    sides.git("fetch vm").code(0).same();
    sides.git("fetch --prune --dry-run vm").code(0).same().says("[deleted]");
    sides.git("fetch --prune vm").code(0).same().says("[deleted]");
    sides.far_sh("git branch topic");
    sides.git("-c fetch.prune=true fetch vm").code(0).same();
    sides.far_sh("git branch -D topic");
    sides.git("remote prune vm").code(0).same().says("[pruned]");
}

#[test]
fn names_that_are_not_there() {
    let sides = Sides::pushed();
    sides.git("fetch vm nothing").code(128).same().says("couldn't find remote ref nothing");
    sides.git("fetch URL refs/heads/nothing:refs/heads/x").code(128).same();
}

#[test]
fn object_ids() {
    let sides = Sides::pushed();
    commit(&sides, "one");
    let (tip, old) = (sides.plain().far().tip("HEAD"), sides.plain().far().tip("HEAD~"));
    sides.git(&format!("fetch vm {tip}")).code(0).same();
    sides.git(&format!("fetch vm {old}")).code(0).same();
}

#[test]
fn into_the_branch_that_is_checked_out() {
    // phantompane/phantom#203
    let sides = Sides::pushed();
    commit(&sides, "agent");
    sides.sh("git checkout -q feature");
    sides
        .git("fetch URL feature:feature")
        .code(128)
        .same_repositories()
        .says("refusing to fetch into branch");
    sides.git("fetch --update-head-ok vm feature:feature").code(0).same();
}

#[test]
fn everything_again() {
    let sides = Sides::pushed();
    commit(&sides, "agent");
    sides.git("fetch vm").code(0).same();
    sides.each(|side| {
        // A blob that both sides have, lost on the host.
        side.sh("id=$(git rev-parse vm/feature:agent.txt) && git unpack-objects -q <$(ls .git/objects/pack/*.pack 2>/dev/null | head -n1) 2>/dev/null
            rm -f .git/objects/$(echo $id | cut -c1-2)/$(echo $id | cut -c3-)")
            .succeeds();
    });
    sides.git("-c maintenance.auto=false fetch --refetch vm").code(0).same();
    // Fetched, an object of ours is in a pack, since all are checked; hence no look at the files.
    sides.git("cat-file -p vm/feature:agent.txt").code(0).same();
    sides.git("fsck --full --no-dangling").code(0);
}

#[test]
fn negotiation_tips() {
    let sides = Sides::pushed();
    commit(&sides, "agent");
    // git has no way to tell a helper, says so, and fetches all the same.
    sides
        .git("fetch --negotiation-tip=feature vm")
        .code(0)
        .same_repositories()
        .ours_says("gnoring --negotiation-");
}

#[test]
fn path_of_the_service() {
    let sides = Sides::pushed();
    commit(&sides, "agent");
    // What the guest runs is ours to say; git warns that it could not pass the wish on.
    sides
        .git("fetch --upload-pack=/nowhere vm")
        .plain_code(128)
        .ours_code(0)
        .ours_says("warning: setting remote service path not supported by protocol");
}

#[test]
fn remote_and_its_head() {
    let sides = Sides::pushed();
    commit(&sides, "agent");
    sides.git("remote show vm").code(0).same();
    sides.git("fetch -q vm").code(0).same();
    sides.git("remote set-head vm -a").code(0).same();
    sides.git("remote show vm").code(0).same();
    sides.git("remote update vm").code(0).same();
    sides.git("fetch --multiple vm vm").code(0).same();
}

#[test]
fn output_can_be_aligned_as_set() {
    let sides = Sides::pushed();
    commit(&sides, "agent");
    sides.git("-c fetch.output=compact fetch vm").code(0).same();
}
