//! Branches that a workspace rewrites, rewinds or deletes after they were fetched.

use crate::support::{Lab, Ran};

/// The ref that a message says something is kept as.
fn kept_as(ran: &Ran) -> String {
    let errors = ran.errors();
    let at = errors.find("refs/agentvm/keep/").unwrap_or_else(|| panic!("nothing is kept\n{ran}"));
    let end = |c: char| c == ')' || c.is_whitespace();
    errors[at..].split(end).next().unwrap().to_owned()
}

fn fetch(lab: &Lab) -> Ran {
    lab.git("fetch agentvm::feature").succeeds()
}

#[test]
fn rewritten_branch_is_told_once_and_what_it_had_is_kept() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.commit("a.txt", "a\n");
    let first = workspace.commit("b.txt", "b\n");
    fetch(&lab).stderr_lacks("warning:");
    workspace.sh("git reset -q --soft HEAD~2 && git commit -q -m squashed").succeeds();
    let ran = fetch(&lab).stderr_has(
        "warning: workspace 'app-feature' has rewritten branch 'feature': \
         it lacks 2 commits that it had before (kept as refs/agentvm/keep/",
    );
    assert_eq!(lab.app().tip(&kept_as(&ran)), first);
    fetch(&lab).stderr_lacks("warning:");
    workspace.commit("c.txt", "c\n");
    fetch(&lab).stderr_lacks("warning:");
    lab.git("gc -q --prune=now").succeeds();
    lab.git(["cat-file", "-e", &first]).succeeds();
}

#[test]
fn rewound_branch_is_told_each_time_it_is_rewound() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let first = workspace.commit("a.txt", "a\n");
    let second = workspace.commit("b.txt", "b\n");
    fetch(&lab).stderr_lacks("warning:");
    for _ in 0..2 {
        workspace.git(["reset", "-q", "--hard", &first]).succeeds();
        let ran = fetch(&lab).stderr_has("has rewound branch 'feature': it lacks 1 commit");
        assert_eq!(lab.app().tip(&kept_as(&ran)), second);
        fetch(&lab).stderr_lacks("warning:");
        workspace.git(["reset", "-q", "--hard", &second]).succeeds();
        fetch(&lab).stderr_lacks("warning:");
    }
}

#[test]
fn pull_and_the_fetch_verb_tell_it_too() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.commit("a.txt", "a\n");
    lab.git("checkout -q feature").succeeds();
    lab.git("pull -q agentvm::feature").succeeds().stderr_is("");
    workspace.git("reset -q --hard HEAD~").succeeds();
    lab.git("pull agentvm::feature").succeeds().stderr_has("has rewound branch 'feature'");
    workspace.commit("b.txt", "b\n");
    lab.git("checkout -q main").succeeds();
    lab.agent_vm("fetch feature").fails(1).stderr_lacks("has rew");
    workspace.git("commit -q --amend -m again").succeeds();
    lab.agent_vm("fetch feature").fails(1).stderr_has("has rewritten branch 'feature'");
}

#[test]
fn pushed_commits_that_the_agent_drops_are_told() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let tip = lab.app().tip("feature");
    workspace.git("commit -q --amend -m other").succeeds();
    let short = &tip[..10];
    fetch(&lab).stderr_has("has rewritten branch 'feature'").stderr_has(short);
    // They are on the branch here, and need no other ref.
    assert_eq!(lab.app().refs("refs/agentvm/keep").lines().count(), 1);
}

#[test]
fn workspace_is_not_blamed_for_a_forced_push_of_ours() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.commit("a.txt", "a\n");
    fetch(&lab);
    lab.app().commit_on("feature", "b.txt", "b\n");
    lab.git("push --force agentvm::feature").succeeds();
    fetch(&lab).stderr_lacks("warning:");
    workspace.commit("c.txt", "c\n");
    fetch(&lab).stderr_lacks("warning:");
}

#[test]
fn deleted_branch_is_told_with_what_brings_it_back() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let tip = workspace.commit("a.txt", "a\n");
    fetch(&lab);
    workspace.sh("git checkout -q -b renamed && git branch -q -D feature").succeeds();
    let ran = lab
        .git("fetch agentvm::feature")
        .fails(128)
        .stderr_has("workspace 'app-feature' has deleted branch 'feature'")
        .stderr_has("hint: git branch feature-kept refs/agentvm/keep/");
    lab.git(["branch", "feature-kept", &kept_as(&ran)]).succeeds();
    assert_eq!(lab.app().tip("feature-kept"), tip);
    lab.git("branch -q -D feature").succeeds();
    let ran = lab.git("fetch agentvm::feature").fails(128);
    let ran = ran.stderr_has("hint: git branch feature refs/agentvm/keep/");
    lab.git(["branch", "feature", &kept_as(&ran)]).succeeds();
    lab.git("fetch agentvm::feature").fails(128).stderr_has("branch 'feature' here has all of it");
}

/// The git commands that a command of the product runs besides those that the user typed.
fn git_commands(lab: &Lab, action: impl FnOnce()) -> Vec<String> {
    let before = lab.trace().len();
    action();
    let ours = lab.trace().split_off(before);
    let git = |line: &String| line.contains("run: git ") || line.contains("/git ");
    let known = ["config", "fetch-pack", "rev-list", "update-ref", "rev-parse", "merge-base"];
    let name = |line: String| {
        known.iter().find(|&&word| line.contains(word)).map_or(line.clone(), |word| (*word).into())
    };
    let mut names: Vec<String> = ours.into_iter().filter(git).map(name).collect();
    names.sort();
    names
}

#[test]
fn looking_for_rewritten_branches_costs_no_process() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let nothing = git_commands(&lab, || drop(fetch(&lab)));
    workspace.commit("a.txt", "a\n");
    fetch(&lab);
    workspace.commit("b.txt", "b\n");
    let one = git_commands(&lab, || drop(fetch(&lab)));
    let transfer = ["fetch-pack", "rev-list", "update-ref"].map(str::to_owned);
    let mut both = [&nothing[..], &transfer[..]].concat();
    both.sort();
    assert_eq!(one, both);
    assert_eq!(git_commands(&lab, || drop(fetch(&lab))), nothing);
    // Nor do many that were rewritten: one asks about all.
    for text in ["c", "d", "e", "f"] {
        workspace.git(["commit", "-q", "--amend", "-m", text]).succeeds();
        fetch(&lab);
    }
    workspace.commit("g.txt", "g\n");
    let many = git_commands(&lab, || drop(fetch(&lab)));
    assert_eq!(many.len(), both.len() + 1, "{many:?}");
    assert_eq!(lab.app().refs("refs/agentvm/keep").lines().count(), 5);
}

#[test]
fn ten_thousand_branches_are_fetched_and_kept_in_a_moment() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let point = |few: &str, rest: &str| {
        let script = format!(
            "{{ echo '# pack-refs with: peeled fully-peeled sorted'
                for i in $(seq 10000 | LC_ALL=C sort); do
                    if [ $i -le 1000 ]; then tip={few}; else tip={rest}; fi
                    echo $tip refs/heads/many/$i
                done
            }} >.git/packed-refs"
        );
        workspace.sh(&script).succeeds();
    };
    let first = workspace.commit("a.txt", "a\n");
    point(&first, &first);
    // Those that are here already are on a ref, and need no other.
    fetch(&lab).took_under_seconds(5);
    let all = || lab.git("fetch -q agentvm::feature refs/heads/*:refs/vm/*");
    all().succeeds().took_under_seconds(30);
    let next = workspace.commit("b.txt", "b\n");
    point(&next, &first);
    all().succeeds().took_under_seconds(30);
    assert_eq!(lab.app().refs("refs/agentvm/keep").lines().count(), 1001);
    assert_eq!(lab.app().refs("refs/vm/many").matches(&next).count(), 1000);
}

#[test]
fn branch_that_is_no_commit_is_not_kept_and_harms_no_other() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.commit("a.txt", "a\n");
    // As only a hostile git writes it.
    let script = "git rev-parse HEAD:a.txt >.git/refs/heads/blob; git tag -a -m t v1
        git rev-parse v1 >.git/refs/heads/tag";
    workspace.sh(script).succeeds();
    lab.git("fetch agentvm::feature +refs/heads/*:refs/vm/*").run().stderr_has("is no commit");
    let kept = lab.app().git("for-each-ref --format=%(objecttype) refs/agentvm/keep").run().text();
    assert_eq!(kept, "commit");
    fetch(&lab);
}
