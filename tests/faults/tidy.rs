//! Many pushes do not end in thousands of loose objects, and tidying up loses none of them.

use crate::support::{Lab, Workspace};

/// Loose objects and packs.
fn counts(workspace: &Workspace<'_>) -> (usize, usize) {
    let said = workspace.git("count-objects -v").succeeds().text();
    let number = |key: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|rest| rest.trim().parse().ok()).expect("git counts")
    };
    (number("count:"), number("packs:"))
}

#[test]
fn loose_objects_are_packed_and_those_without_a_name_stay() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    // What nothing refers to: blobs that an agent once added.
    let script = "mkdir ../many && cd ../many && for i in $(seq 3000); do echo only-$i >$i; done
        ls | GIT_DIR=../app-feature/.git git -c core.fsync=none hash-object -w --stdin-paths >../ids
        cd .. && rm -r many && wc -l <ids";
    workspace.sh(script).succeeds().stdout_is("3000");
    assert!(counts(&workspace).0 > 3000);
    lab.app().commit_on("feature", "host.txt", "host\n");
    lab.git("push agentvm::feature").succeeds();
    let (loose, packs) = counts(&workspace);
    assert!(loose < 100 && packs < 10, "{loose} loose objects, {packs} packs");
    let missing = "git cat-file --batch-check <../ids | grep -c missing; true";
    workspace.sh(missing).succeeds().stdout_is("0");
    workspace.git("fsck --full").succeeds();
    assert_eq!(workspace.tip("HEAD"), lab.app().tip("feature"));
}

#[test]
fn many_packs_become_few_and_keep_what_only_they_have() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let script = "for i in $(seq 60); do
            echo only-$i | git hash-object -w --stdin | git pack-objects -q .git/objects/pack/pack >/dev/null
            echo only-$i | git hash-object --stdin
        done >../ids; git prune-packed";
    workspace.sh(script).succeeds();
    assert!(counts(&workspace).1 >= 60);
    lab.app().commit_on("feature", "host.txt", "host\n");
    lab.git("push agentvm::feature").succeeds();
    let (_, packs) = counts(&workspace);
    assert!(packs < 15, "{packs} packs");
    let missing = "git cat-file --batch-check <../ids | grep -c missing; true";
    workspace.sh(missing).succeeds().stdout_is("0");
}
