//! `push.default` in all its values, with and without an upstream, from each kind of HEAD.

use super::Sides;

const VALUES: &[&str] =
    &["nothing", "current", "upstream", "tracking", "simple", "matching", "nonsense"];

fn push_in_all_ways(sides: &Sides, value: &str) {
    for words in ["push", "push vm", "push URL main:refs/heads/other"] {
        sides.git(&format!("-c push.default={value} {words}")).same();
    }
}

#[test]
fn with_an_upstream_of_the_same_name() {
    let sides = Sides::pushed();
    sides.git("push -q -u vm feature").code(0).same();
    sides.sh("git checkout -q feature");
    for value in VALUES {
        sides.sh(&format!("git commit -q --allow-empty -m {value}"));
        push_in_all_ways(&sides, value);
    }
}

#[test]
fn with_an_upstream_of_another_name() {
    let sides = Sides::pushed();
    sides.git("push -q -u vm feature:elsewhere").code(0).same();
    sides.sh("git checkout -q feature");
    for value in VALUES {
        sides.sh(&format!("git commit -q --allow-empty -m {value}"));
        push_in_all_ways(&sides, value);
    }
}

#[test]
fn without_an_upstream() {
    let sides = Sides::pushed();
    for value in VALUES {
        sides
            .sh(&format!("git checkout -q -b on-{value} main && git commit -q --allow-empty -m x"));
        push_in_all_ways(&sides, value);
    }
}

#[test]
fn on_a_detached_head() {
    let sides = Sides::pushed();
    sides.sh("git checkout -q --detach feature");
    for value in VALUES {
        push_in_all_ways(&sides, value);
    }
}

#[test]
fn auto_setup_of_a_remote() {
    let sides = Sides::pushed();
    sides.sh("git checkout -q -b topic main && git config push.autoSetupRemote true &&
        git config remote.pushDefault vm");
    sides.git("push").code(0).same().says("topic -> topic");
    sides.git("status -sb").code(0).same();
    sides.git("push").code(0).same().says("Everything up-to-date");
}

#[test]
fn default_remote_to_push_to() {
    let sides = Sides::pushed();
    sides.sh("git remote add origin /nowhere && git checkout -q feature &&
        git commit -q --allow-empty -m x");
    sides.git("push").code(128).same();
    sides.git("-c remote.pushDefault=vm push").code(0).same().says("feature -> feature");
}

#[test]
fn remote_of_one_branch_to_push_to() {
    let sides = Sides::pushed();
    sides.sh(
        "git remote add origin /nowhere && git checkout -q feature &&
        git commit -q --allow-empty -m x && git config branch.feature.pushRemote vm &&
        git config branch.feature.remote origin && git config branch.feature.merge refs/heads/main",
    );
    sides.git("push").code(0).same().says("feature -> feature");
    sides.sh("git commit -q --allow-empty -m y");
    sides.git("push vm HEAD").code(0).same();
    sides.sh("git commit -q --allow-empty -m z");
    sides.git("push vm @:feature").code(0).same();
}

#[test]
fn address_itself_as_the_remote_of_a_branch() {
    let sides = Sides::pushed();
    sides.sh("git checkout -q feature && git config branch.feature.remote URL &&
        git config branch.feature.merge refs/heads/feature && git commit -q --allow-empty -m x");
    sides.git("push").code(0).same();
    sides.far_sh("git commit -q --allow-empty -m agent");
    sides.git("pull").code(0).same();
    sides.git("fetch").code(0).same();
}
