//! `git ls-remote`: heads and HEAD; tags are the agent's own business.

use super::Sides;

fn sides() -> Sides {
    let sides = Sides::pushed();
    sides.far_sh("git branch fix/a && git branch fix/b && git commit -q --allow-empty -m agent");
    sides
}

#[test]
fn everything_and_patterns() {
    let sides = sides();
    for words in [
        "ls-remote URL",
        "ls-remote vm",
        "ls-remote URL feature",
        "ls-remote URL fix/*",
        "ls-remote URL refs/heads/fix/a feature",
        "ls-remote URL HEAD",
        "ls-remote --heads URL",
        "ls-remote --heads URL fix/*",
        "ls-remote --refs URL",
        "ls-remote -q URL",
        "ls-remote --sort=-version:refname URL",
        "ls-remote --heads --exit-code vm b",
        "ls-remote --get-url vm",
    ] {
        sides.git(words).code(0).same();
    }
}

#[test]
fn exit_code_tells_that_nothing_matches() {
    let sides = sides();
    sides.git("ls-remote --exit-code URL nothing").code(2).same();
    sides.git("ls-remote --exit-code --tags URL").code(2).same();
    sides.git("ls-remote URL nothing").code(0).same();
}

#[test]
fn symref_of_head() {
    let sides = sides();
    sides.git("ls-remote --symref URL").code(0).same();
    sides.git("ls-remote --symref URL HEAD").code(0).same();
}

#[test]
fn head_is_the_workspaces_branch_whatever_is_checked_out() {
    let sides = sides();
    sides.far_sh("git checkout -q fix/a");
    let seen = sides.git("ls-remote --symref URL HEAD").code(0);
    seen.ours_stdout_has("ref: refs/heads/feature\tHEAD");
}

#[test]
fn tags_are_not_listed() {
    let sides = sides();
    sides.far_sh("git tag v1");
    sides.git("ls-remote --tags URL").code(0).ours_stdout_is("");
}

#[test]
fn outside_a_repository() {
    let sides = sides();
    let home = sides.lab().home().to_owned();
    let seen = sides.run(|side| side.git("ls-remote URL").in_dir(&home));
    // agentvm::BRANCH speaks of the repository that one is in.
    seen.plain_code(0).without("app").same();
}

#[test]
fn default_remote_of_a_branch() {
    let sides = sides();
    sides.git("push -q -u vm feature:other").code(0).same();
    sides.sh("git checkout -q feature");
    sides.git("ls-remote").code(0).same();
}
