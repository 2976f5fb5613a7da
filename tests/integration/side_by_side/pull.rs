//! `git pull` in its kinds.

use super::Sides;

/// The far side has a commit; feature is checked out here, and has one too where `diverged`.
fn sides(diverged: bool) -> Sides {
    let sides = Sides::pushed();
    sides.git("push -q -u vm feature").code(0).same();
    sides.sh("git checkout -q feature");
    if diverged {
        sides.sh("echo host >host.txt && git add . && git commit -qm host");
    }
    sides.far_sh("echo agent >agent.txt && git add . && git commit -qm agent");
    sides
}

#[test]
fn fast_forward() {
    sides(false).git("pull").code(0).same().says("Fast-forward");
    sides(false).git("pull --ff-only URL feature").code(0).same();
    sides(false).git("pull --ff-only URL").code(0).same();
    sides(false).git("pull -q vm").code(0).same();
}

#[test]
fn diverged_histories() {
    let sides = sides(true);
    sides.git("pull").code(128).same().says("divergent branches");
    sides.git("pull --ff-only").code(128).same().says("Not possible to fast-forward");
    // The merge's own message would name the URL.
    sides.git("pull --no-rebase --no-commit vm feature").code(0).same();
}

#[test]
fn rebase() {
    sides(true).git("pull --rebase").code(0).same();
    sides(true).git("pull --rebase URL feature").code(0).same();
    sides(true).git("-c pull.rebase=true pull vm feature").code(0).same();
    sides(true).git("pull --rebase=merges vm feature").code(0).same();
}

#[test]
fn squash_and_no_commit() {
    sides(true).git("pull --no-rebase --squash vm feature").code(0).same();
}

#[test]
fn autostash_and_conflicts() {
    let clean = sides(true);
    clean.sh("echo changed >>README.md");
    clean.git("pull --rebase --autostash").code(0).same_repositories();
    let conflict = sides(true);
    conflict.sh("echo other >agent.txt && git add . && git commit -qm other");
    conflict.git("pull --no-rebase vm feature").code(1).same().says("CONFLICT");
}

#[test]
fn dry_run_and_nothing_new() {
    let sides = sides(false);
    sides.git("pull --dry-run").code(0).same();
    sides.git("pull").code(0).same();
    sides.git("pull").code(0).same().says("Already up to date.");
}
