//! `git archive --remote`: refused, since git would print what the guest says as it is.

use super::Sides;

#[test]
fn archive_of_a_branch_is_refused_with_the_way_to_one() {
    let sides = Sides::pushed();
    sides
        .git("archive --remote=URL --format=tar -o a.tar feature")
        .plain_code(0)
        .ours_code(128)
        .ours_says(": a workspace makes no archives");
    sides
        .git("archive --remote=vm -o b.tar feature")
        .without("full")
        .ours_code(128)
        .ours_says("hint: make it here: git fetch agentvm::feature && git archive FETCH_HEAD");
    sides.ours().for_each(|side| {
        side.sh("git fetch -q URL && git archive FETCH_HEAD | tar -t")
            .succeeds()
            .stdout_is("README.md\nfeature.txt");
    });
}
