//! What the fault suite found, each by hand and every time the same.

use crate::support::{Lab, Workspace};

/// A program of the guest's that is killed at its first call whose words match `pattern`; `when` is
/// done instead.
fn kill_once(lab: &Lab, program: &str, pattern: &str, when: &str) {
    let script = format!(
        "case \"$*\" in {pattern}) [ -e ~/fired ] || {{ : >~/fired; {when}; }} ;; esac
        PATH=${{PATH#*guest/bin:}}
        exec {program} \"$@\""
    );
    lab.guest_fake(program, &script);
}

/// The same at its `nth` such call, before it does anything.
fn kill_nth(lab: &Lab, program: &str, pattern: &str, nth: usize) {
    let script = format!(
        "case \"$*\" in {pattern}) echo >>~/calls; [ $(wc -l <~/calls) != {nth} ] || kill -9 $$ ;; esac
        PATH=${{PATH#*guest/bin:}}
        exec {program} \"$@\""
    );
    lab.guest_fake(program, &script);
}

fn assert_whole(workspace: &Workspace<'_>) {
    assert_eq!(workspace.status(), "");
    workspace.git("symbolic-ref HEAD").succeeds().stdout_is("refs/heads/feature");
    workspace.git("fsck --full").succeeds();
    workspace.sh("! [ -s .git/agentvm-journal ] && ! [ -s .git/agentvm-received ]").succeeds();
}

/// What of a push has happened when it is cut off: some files are there, or all of it but the ref.
const CUTS: [&str; 2] = [
    "echo app >README.md",
    "read -r _ _ new _ <.git/agentvm-journal; git checkout -q --detach $new",
];

/// The session is killed in the flush after the journal is written, as if it were later.
fn cut_next_push(lab: &Lab, later: &str) {
    let app = lab.app();
    app.commit_on("feature", "feature.txt", format!("changed {}\n", app.tip("feature")));
    app.commit_on("feature", "added.txt", format!("added {}\n", app.tip("feature")));
    kill_once(lab, "sync", "*agentvm-journal", &format!("{later}; kill -9 0"));
    lab.git("push agentvm::feature").run();
    lab.guest_sh("test -e fired && rm fired ../bin/sync").succeeds();
}

#[test]
fn status_mends_a_push_that_was_cut_off() {
    for later in CUTS {
        let lab = Lab::new();
        let workspace = lab.pushed_feature();
        let before = workspace.tip("HEAD");
        cut_next_push(&lab, later);
        workspace.sh("[ -s .git/agentvm-journal ]").succeeds();
        lab.agent_vm("status").succeeds();
        assert_whole(&workspace);
        assert_eq!(workspace.tip("HEAD"), before);
    }
}

#[test]
fn first_push_that_was_cut_off_leaves_no_tree_that_git_misses() {
    for later in CUTS {
        let lab = Lab::new();
        cut_next_push(&lab, later);
        let workspace = lab.workspace("app-feature");
        lab.git("fetch agentvm::feature").run();
        assert_whole(&workspace);
        workspace.sh("[ \"$(ls -A)\" = .git ]").succeeds();
        lab.git("push agentvm::feature").succeeds();
        assert_eq!(workspace.tip("HEAD"), lab.app().tip("feature"));
    }
}

/// Every program of a mend, killed at each of its calls, with a file in the tree that is neither old
/// nor new: that one is kept, whatever happens.
#[test]
fn work_found_by_a_mend_survives_a_kill_at_every_step_of_it() {
    for program in ["xargs", "sort", "comm", "rm", "sh", "find", "stat"] {
        let lab = Lab::new();
        let workspace = lab.pushed_feature();
        let mut call = 1;
        loop {
            cut_next_push(&lab, "echo only-here >feature.txt");
            let script = format!(
                "echo >>~/calls; [ $(/usr/bin/wc -l <~/calls) != {call} ] || {{ : >~/fired; kill -9 $$; }}
                exec /usr/bin/{program} \"$@\""
            );
            lab.guest_fake(program, &script);
            lab.git("fetch agentvm::feature").run();
            let fired = lab.guest_sh("test -e fired").run().code == 0;
            lab.guest_sh(&format!("/bin/rm -f fired calls ../bin/{program}")).succeeds();
            lab.git("fetch agentvm::feature").succeeds();
            assert_whole(&workspace);
            let kept = "git for-each-ref --format='%(refname)' refs/rescue | while read -r ref; do
                    git show $ref:feature.txt; done | grep -c only-here";
            workspace.sh(kept).succeeds();
            workspace.sh("git for-each-ref --format='delete %(refname)' refs/rescue | git update-ref --stdin")
                .succeeds();
            if !fired {
                break;
            }
            call += 1;
        }
        assert!(call > 1, "a mend does not call {program}");
    }
}

/// A program that looks for changes and is killed has not seen that there are none.
#[test]
fn push_is_refused_where_what_looks_for_changes_is_killed() {
    for (program, pattern, victim) in [
        ("grep", "*a-zS*", "$$"),
        ("grep", "*a-zS*", "$PPID"),
        ("tr", "*", "$$"),
        ("sed", "*a-zS*", "$$"),
        ("xargs", "*diff-files*", "$$"),
    ] {
        let lab = Lab::new();
        let workspace = lab.pushed_feature();
        lab.app().commit_on("feature", "feature.txt", "the user's\n");
        let hidden = "git update-index --assume-unchanged feature.txt; echo only >feature.txt";
        workspace.sh(hidden).succeeds();
        kill_once(&lab, program, pattern, &format!("kill -9 {victim}"));
        let ran = lab.git("push agentvm::feature").run();
        lab.guest_sh("test -e fired").succeeds();
        assert!(ran.code != 0, "{program}: {ran}");
        assert_eq!(workspace.read("feature.txt"), "only\n", "{program}: {ran}");
    }
}

#[test]
fn lock_of_a_cut_off_push_goes_though_the_clock_was_set_back() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    cut_next_push(&lab, "echo half >feature.txt");
    // The times of both, as a clock that jumps leaves them.
    workspace
        .sh("touch -d '-2 days' .git/refs/heads/side.lock && touch -d '+2 days' .git/agentvm-received")
        .succeeds();
    lab.git("branch side feature").succeeds();
    lab.git("push agentvm::feature feature side").succeeds();
    assert_whole(&workspace);
    workspace.sh("[ -z \"$(find .git -name '*.lock' ! -name agentvm.lock)\" ]").succeeds();
    assert_eq!(workspace.tip("refs/heads/side"), lab.app().tip("side"));
}

#[test]
fn git_in_a_linked_worktree_keeps_its_lock_and_its_refs() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("git worktree add -q -b linked ../linked").succeeds();
    cut_next_push(&lab, "echo half >feature.txt");
    let work = "cd ../linked && git -c core.editor='touch began; while ! [ -e go ]; do sleep 0.1; done; true' \
            commit -q --allow-empty --amend";
    let agent = workspace.sh(work).background();
    lab.wait_until("the agent's git waits", |_| {
        workspace.sh("[ -e ../linked/began ]").run().code == 0
    });
    let locks = ".git/refs/heads/linked.lock .git/worktrees/linked/index.lock";
    workspace.sh(&format!("touch {locks}")).succeeds();
    lab.agent_vm("status").succeeds();
    workspace.sh(&format!("ls {locks} && rm {locks}")).succeeds();
    workspace.sh("touch ../linked/go").succeeds();
    let ran = agent.finish();
    assert_eq!(ran.code, 0, "{ran}");
    lab.agent_vm("status").succeeds();
    assert_whole(&workspace);
}

/// Git would refuse each of the agent's commits.
#[test]
fn workspace_is_not_made_with_half_an_identity() {
    let lab = Lab::new();
    let mut cut = 0;
    for (program, pattern) in [("base64", "-d"), ("tr", "*'-d '*"), ("sed", "*'&/g'*")] {
        for nth in 1..=6 {
            kill_nth(&lab, program, pattern, nth);
            let ran = lab.git("push agentvm::feature").run();
            lab.guest_sh(&format!("rm -f ~/calls \"$HOME/../bin/{program}\"")).succeeds();
            cut += usize::from(ran.code != 0);
            lab.git("push agentvm::feature").succeeds();
            let name = lab.workspace("app-feature").git("config user.name").succeeds();
            assert_eq!(
                name.text(),
                lab.git("config user.name").succeeds().text(),
                "{program} {nth}"
            );
            lab.agent_vm("clean --force feature").succeeds();
        }
    }
    assert!(cut >= 3, "only {cut} were cut off");
}
