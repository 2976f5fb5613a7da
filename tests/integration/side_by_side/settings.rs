//! Settings that say where a remote is, and what is sent there.

use super::Sides;

/// On feature, with something to push.
fn sides() -> Sides {
    let sides = Sides::pushed();
    sides.sh("git checkout -q feature && echo host >host.txt && git add . && git commit -qm host");
    sides
}

#[test]
fn address_in_place_of_another() {
    let sides = sides();
    sides.sh("git config url.URL.insteadOf short: && git remote add other short:");
    sides.git("push short: feature").code(0).same();
    sides.far_sh("git commit -q --allow-empty -m agent");
    sides.git("fetch short: feature").code(0).same();
    sides.git("fetch other").code(0).same();
    sides.git("ls-remote --get-url other").code(0).same();
    sides.git("ls-remote short:").code(0).same();
}

#[test]
fn address_in_place_of_another_for_pushes() {
    let sides = sides();
    sides.sh("git config url.URL.pushInsteadOf https://example.invalid/app &&
        git remote add other https://example.invalid/app");
    sides.git("push other feature").code(0).same();
    sides.git("push https://example.invalid/app main").code(0).same();
}

#[test]
fn short_address_sends_the_branch_that_it_names() {
    // As agentvm::feature does, and unlike other remotes.
    let sides = sides();
    sides.sh("git config url.agentvm::.insteadOf ws: && git checkout -q main");
    let side = sides.ours().next().unwrap();
    side.git("push ws:feature")
        .succeeds()
        .stderr_has("main -> feature")
        .stderr_has("hint: agentvm::feature sends feature, whatever is checked out");
    assert_eq!(side.far().tip("HEAD"), side.repo().tip("feature"));
    assert_eq!(side.far().tip("refs/heads/main"), "");
    side.git("push ws:feature main:main").succeeds();
    assert_eq!(side.far().tip("refs/heads/main"), side.repo().tip("main"));
    side.sh("git commit -q --allow-empty -m more && git push -q ws:feature").succeeds();
    assert_ne!(side.far().tip("refs/heads/main"), side.repo().tip("main"));
}

#[test]
fn remote_with_refspecs_of_its_own() {
    let sides = sides();
    sides.sh("git config remote.vm.push 'refs/heads/*:refs/heads/from-host/*'");
    sides.git("push vm").code(0).same();
    sides.sh("git config --replace-all remote.vm.push +HEAD:refs/heads/feature && git commit -q --amend -m other");
    sides.git("push vm").code(0).same();
    sides.sh("git config remote.vm.fetch '+refs/heads/feature:refs/remotes/one/feature'");
    sides.git("fetch vm").code(0).same();
}

#[test]
fn remote_with_two_addresses_to_push_to() {
    let sides = sides();
    sides.sh("git init -q --bare ../spare-$(basename $PWD).git &&
        git remote set-url --add --push vm URL &&
        git remote set-url --add --push vm ../spare-$(basename $PWD).git");
    sides.git("push vm feature").code(0).same_repositories();
    sides.each(|side| {
        side.sh("git --git-dir=../spare-$(basename $PWD).git rev-parse feature")
            .succeeds()
            .stdout_is(&side.repo().tip("feature"));
    });
}

#[test]
fn mirror_remote() {
    let sides = sides();
    sides.sh("git config remote.vm.mirror true");
    sides.git("push vm feature").code(128).same();
}

#[test]
fn tags_and_pruning_by_setting() {
    let sides = sides();
    sides.sh("git config remote.vm.tagOpt --no-tags && git config remote.vm.prune true");
    sides.far_sh("git branch topic");
    sides.git("fetch vm").code(0).same();
    sides.far_sh("git branch -D topic");
    sides.git("fetch vm").code(0).same().says("[deleted]");
}

#[test]
fn advice_can_be_switched_off() {
    let sides = sides();
    sides.far_sh("git commit -q --allow-empty -m agent");
    sides.git("-c advice.pushUpdateRejected=false push vm feature").code(1).same();
}
