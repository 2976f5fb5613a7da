//! `git archive --remote`.

use super::Sides;

#[test]
fn archive_of_a_branch() {
    let sides = Sides::pushed();
    sides.git("archive --remote=URL feature").plain_code(0).ours_code(128);
}
