//! Histories that are cut off, on either side.

use super::{Side, Sides};

/// Four commits of the agent, a day apart, on feature.
fn sides() -> Sides {
    let sides = Sides::pushed();
    sides.far_sh(
        "for day in 3 4 5 6; do
            GIT_AUTHOR_DATE=\"2024-05-0${day}T12:00:00+00:00\"; GIT_COMMITTER_DATE=$GIT_AUTHOR_DATE
            echo $day >agent.txt; git add .; git commit -qm \"day $day\"; [ $day != 4 ] || git branch day4
        done",
    );
    sides
}

/// An empty repository beside the host's, with the same remote.
fn fresh(side: &Side<'_>) {
    side.sh("rm -rf .git README.md && git init -q && git remote add vm URL").succeeds();
}

/// Without an id of its own, `agentvm::feature` names nothing in a new repository.
fn fresh_sides() -> Sides {
    let mut sides = sides();
    sides.ours.retain(|name| *name != "app");
    sides.each(fresh);
    sides
}

#[test]
fn depth_deepen_and_unshallow() {
    let sides = fresh_sides();
    for words in [
        "fetch --depth=1 vm feature",
        "fetch --depth=2 vm",
        "fetch --deepen=1 vm",
        "fetch --depth=1 vm",
        "log --format=%s vm/feature",
        "fetch --unshallow vm",
        "log --format=%s vm/feature",
    ] {
        sides.git(words).code(0).same();
    }
    sides.git("fetch --unshallow vm").code(128).same();
}

#[test]
fn since_a_date() {
    let sides = fresh_sides();
    sides.git("fetch --shallow-since=2024-05-05 vm feature").code(0).same();
    sides.git("log --format=%s FETCH_HEAD").code(0).same();
    sides.git("fetch --shallow-since=2024-05-04 vm feature").code(0).same();
    sides.git("log --format=%s FETCH_HEAD").code(0).same();
    sides
        .git("fetch --shallow-since=2030-01-01 vm feature")
        .code(128)
        .same_repositories()
        .says("no commits selected for shallow requests");
}

#[test]
fn without_what_a_branch_has() {
    let sides = fresh_sides();
    sides.git("fetch --shallow-exclude=day4 vm feature").code(0).same();
    sides.git("log --format=%s FETCH_HEAD").code(0).same();
    sides.git("fetch --shallow-exclude=nothing vm feature").code(128).same_repositories();
}

#[test]
fn by_branch_in_the_repository_itself() {
    let sides = sides();
    for words in [
        "fetch --depth=2 URL",
        "log --format=%s FETCH_HEAD",
        "fetch --depth=1 vm",
        "fetch --deepen=2 vm",
        "fetch --unshallow vm",
        "log --format=%s vm/feature",
    ] {
        sides.git(words).code(0).same();
    }
}

#[test]
fn clone_of_a_part() {
    let sides = fresh_sides();
    for words in [
        "clone --depth=2 URL one",
        "clone --shallow-since=2024-05-05 URL two",
        "clone --shallow-exclude=day4 URL three",
        "clone --depth=1 --no-single-branch URL four",
    ] {
        sides.git(words).code(0).same();
    }
    for dir in ["one", "two", "three", "four"] {
        sides.git(&format!("-C {dir} log --all --format=%s")).code(0).same();
    }
}

/// Hosts that were cloned at depth 1 from the app of the first.
fn shallow_hosts() -> Sides {
    Sides::pushed_with(
        "git checkout -q feature && git commit -q --allow-empty -m a && git commit -q --allow-empty -m b
         cd .. && mv app whole && git clone -q --depth=1 -b feature file://$PWD/whole app
         cd app && git remote rename origin home &&
         git config remote.agentvm::feature.push refs/heads/feature:refs/heads/feature",
    )
}

#[test]
fn shallow_host_pushes_and_pulls() {
    let sides = shallow_hosts();
    sides.sh("echo host >host.txt && git add . && git commit -qm host");
    sides.git("push vm feature").code(0).same();
    sides.far_sh("echo agent >agent.txt && git add . && git commit -qm agent");
    sides.git("pull --ff-only vm feature").code(0).same();
    sides.git("log --format=%s").code(0).same();
    sides.git("fetch --unshallow home").code(0).same();
    sides.sh("echo host >more.txt && git add . && git commit -qm more");
    sides.git("push vm feature").code(0).same();
}

#[test]
fn both_shallow_at_different_depths() {
    // rwx-cloud/rwx#576
    let sides = shallow_hosts();
    sides.git("fetch -q --deepen=1 home").code(0).same();
    sides.far_sh("echo agent >agent.txt && git add . && git commit -qm agent");
    sides.git("fetch vm").code(0).same();
    sides.git("fetch --depth=1 vm").code(0).same();
    sides.git("merge -q --ff-only vm/feature").same();
    sides.sh("echo host >host.txt && git add . && git commit -qm host");
    sides.git("push vm feature").same();
    sides.ours().for_each(|side| assert_ne!(side.far().tip("HEAD"), ""));
}

#[test]
fn clone_of_a_shallow_workspace() {
    let sides = shallow_hosts();
    sides.git("clone URL copy").plain_code(0).without("app").same();
    sides.git("clone --reject-shallow URL other").plain_code(128).ours_code(128);
}
