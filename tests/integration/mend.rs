//! What the next command makes of a push that was cut off, for each state it can leave.
//!
//! The states are laid out by hand: the journal, the files, HEAD and the ref as a kill, or a VM that
//! went down, leaves them.

use crate::push_cut_off::{guest_pids, hold_lock, release_lock};
use crate::support::{Lab, Workspace};

/// Old and new commit of a push that changes one file, adds one and removes one.
struct CutOff {
    old: String,
    new: String,
}

/// A workspace at `old` that has the objects of `new`.
fn cut_off(lab: &Lab) -> (Workspace<'_>, CutOff) {
    let app = lab.app();
    app.commit_on("feature", "gone.txt", "gone\n");
    let workspace = lab.pushed_feature();
    let old = workspace.tip("HEAD");
    lab.git("checkout -q feature").succeeds();
    app.write("feature.txt", "changed\n");
    app.write("new/added.txt", "added\n");
    lab.sh("git rm -q gone.txt && git add -A && git commit -qm next").succeeds();
    // Another branch brings the objects, and moves no file.
    lab.git("push agentvm::feature feature:refs/heads/objects").succeeds();
    let new = app.tip("feature");
    assert_eq!(workspace.tip("HEAD"), old);
    (workspace, CutOff { old, new })
}

/// The same once the files are at `new`, and the ref is not.
fn checked_out(lab: &Lab) -> (Workspace<'_>, CutOff) {
    let (workspace, cut) = cut_off(lab);
    workspace.git(["checkout", "-q", "--detach", &cut.new]).succeeds();
    (workspace, cut)
}

/// The journal as `session` wrote it, in this boot or an earlier one.
fn write_journal(workspace: &Workspace<'_>, cut: &CutOff, boot: &str) {
    let script = format!(
        "echo refs/heads/feature {} {} killed {boot} end >.git/agentvm-journal",
        cut.old, cut.new
    );
    workspace.sh(&script).succeeds();
}

const THIS_BOOT: &str = "$(cat /proc/sys/kernel/random/boot_id)";

/// A command that changes nothing itself, but opens a session.
fn next_command(lab: &Lab) -> String {
    lab.git("fetch agentvm::feature").succeeds().errors()
}

fn assert_whole_at(workspace: &Workspace<'_>, commit: &str) {
    assert_eq!(workspace.tip("HEAD"), commit);
    assert_eq!(workspace.git("symbolic-ref HEAD").succeeds().text().trim(), "refs/heads/feature");
    assert_eq!(workspace.status(), "");
    workspace.git("fsck --full").succeeds();
    workspace.sh("! [ -s .git/agentvm-journal ]").succeeds();
}

#[test]
fn files_that_were_half_moved_go_back() {
    let lab = Lab::new();
    let (workspace, cut) = cut_off(&lab);
    write_journal(&workspace, &cut, THIS_BOOT);
    workspace
        .sh("echo changed >feature.txt; mkdir new; echo added >new/added.txt; rm gone.txt; touch .git/index.lock")
        .succeeds();
    next_command(&lab);
    assert_whole_at(&workspace, &cut.old);
    workspace.sh("! [ -e new ] && [ -e gone.txt ]").succeeds();
    assert_eq!(workspace.refs("refs/rescue"), "");
    lab.git("push agentvm::feature").succeeds();
    assert_whole_at(&workspace, &cut.new);
}

#[test]
fn file_that_is_neither_old_nor_new_is_kept_first() {
    let lab = Lab::new();
    let (workspace, cut) = cut_off(&lab);
    write_journal(&workspace, &cut, THIS_BOOT);
    workspace.sh("echo half >feature.txt; mkdir new; echo part >new/added.txt").succeeds();
    let said = next_command(&lab);
    assert!(said.contains("refs/rescue"), "{said}");
    assert_whole_at(&workspace, &cut.old);
    let rescue = workspace.git("for-each-ref --format=%(refname) refs/rescue").succeeds().text();
    let kept =
        |path: &str| workspace.git(["show", &format!("{}:{path}", rescue.trim())]).succeeds();
    assert_eq!(kept("feature.txt").text(), "half");
    assert_eq!(kept("new/added.txt").text(), "part");
}

#[test]
fn what_was_staged_meanwhile_is_kept() {
    let lab = Lab::new();
    let (workspace, cut) = cut_off(&lab);
    write_journal(&workspace, &cut, THIS_BOOT);
    workspace
        .sh("echo staged >feature.txt && git add feature.txt && git checkout-index -f feature.txt")
        .succeeds();
    workspace.sh("git show HEAD:feature.txt >feature.txt").succeeds();
    let said = next_command(&lab);
    assert!(said.contains("what was staged is kept as"), "{said}");
    assert_whole_at(&workspace, &cut.old);
    let rescued = workspace.git("for-each-ref --format=%(refname) refs/rescue").succeeds().text();
    let staged = workspace.git(["show", &format!("{}:feature.txt", rescued.trim())]).succeeds();
    assert_eq!(staged.text(), "staged");
}

#[test]
fn other_files_of_the_agent_stay() {
    let lab = Lab::new();
    let (workspace, cut) = cut_off(&lab);
    write_journal(&workspace, &cut, THIS_BOOT);
    workspace.sh("echo mine >mine.txt; echo secret >.env; rm gone.txt").succeeds();
    next_command(&lab);
    assert_eq!(workspace.read("mine.txt"), "mine\n");
    assert_eq!(workspace.read(".env"), "secret\n");
    assert_eq!(workspace.tip("HEAD"), cut.old);
}

#[test]
fn checkout_without_its_ref_goes_back() {
    let lab = Lab::new();
    let (workspace, cut) = checked_out(&lab);
    write_journal(&workspace, &cut, THIS_BOOT);
    next_command(&lab);
    assert_whole_at(&workspace, &cut.old);
}

#[test]
fn checkout_without_its_ref_goes_on_where_the_agent_has_changed_files() {
    let lab = Lab::new();
    let (workspace, cut) = checked_out(&lab);
    write_journal(&workspace, &cut, THIS_BOOT);
    workspace.write("feature.txt", "the agent's\n");
    next_command(&lab);
    assert_eq!(workspace.tip("refs/heads/feature"), cut.new);
    assert_eq!(workspace.git("symbolic-ref HEAD").succeeds().text().trim(), "refs/heads/feature");
    assert_eq!(workspace.read("feature.txt"), "the agent's\n");
    assert!(workspace.refs("refs/rescue").contains(&cut.old));
}

#[test]
fn files_that_a_power_cut_emptied_are_put_back() {
    let lab = Lab::new();
    let (workspace, cut) = checked_out(&lab);
    write_journal(&workspace, &cut, "another-boot");
    workspace.sh(": >feature.txt; : >new/added.txt").succeeds();
    next_command(&lab);
    assert_whole_at(&workspace, &cut.old);
    lab.git("push agentvm::feature").succeeds();
    assert_whole_at(&workspace, &cut.new);
}

#[test]
fn files_that_a_power_cut_emptied_after_the_ref_moved_are_brought_up_to_it() {
    for head_is_back in [false, true] {
        let lab = Lab::new();
        let (workspace, cut) = cut_off(&lab);
        workspace.git(["checkout", "-q", "--detach", &cut.new]).succeeds();
        workspace.git(["update-ref", "refs/heads/feature", &cut.new]).succeeds();
        if head_is_back {
            workspace.git("symbolic-ref HEAD refs/heads/feature").succeeds();
        }
        write_journal(&workspace, &cut, "another-boot");
        workspace.sh(": >feature.txt; : >new/added.txt").succeeds();
        next_command(&lab);
        assert_whole_at(&workspace, &cut.new);
    }
}

#[test]
fn journal_that_is_not_whole_means_that_no_file_has_moved() {
    let lab = Lab::new();
    let (workspace, cut) = cut_off(&lab);
    workspace
        .sh(&format!("printf 'refs/heads/feature {} ' >.git/agentvm-journal", cut.old))
        .succeeds();
    next_command(&lab);
    assert_whole_at(&workspace, &cut.old);
    lab.git("push agentvm::feature").succeeds();
    assert_whole_at(&workspace, &cut.new);
}

#[test]
fn moved_ref_only_lacks_its_head() {
    let lab = Lab::new();
    let (workspace, cut) = checked_out(&lab);
    workspace.git(["update-ref", "refs/heads/feature", &cut.new]).succeeds();
    write_journal(&workspace, &cut, THIS_BOOT);
    next_command(&lab);
    assert_whole_at(&workspace, &cut.new);
}

#[test]
fn agent_that_went_on_by_itself_is_left_alone() {
    let lab = Lab::new();
    let (workspace, cut) = cut_off(&lab);
    workspace.git("checkout -q --detach HEAD").succeeds();
    write_journal(&workspace, &cut, THIS_BOOT);
    let commit = workspace.commit("own.txt", "own\n");
    next_command(&lab);
    assert_eq!(workspace.tip("HEAD"), commit);
    assert_eq!(workspace.tip("refs/heads/feature"), cut.old);
    workspace.sh("! [ -s .git/agentvm-journal ]").succeeds();
}

/// Else nobody would ever fetch them, and the next push would not find the branch checked out.
#[test]
fn commits_made_on_what_a_failed_push_checked_out_come_onto_the_branch() {
    let lab = Lab::new();
    let (workspace, cut) = checked_out(&lab);
    write_journal(&workspace, &cut, THIS_BOOT);
    let commit = workspace.commit("own.txt", "own\n");
    next_command(&lab);
    assert_whole_at(&workspace, &commit);
}

/// The agent amends its commit between our look and our checkout, and git then refuses the push.
#[test]
fn checkout_of_a_branch_that_the_agent_moved_meanwhile_goes_back_to_where_it_moved() {
    let lab = Lab::new();
    let (workspace, cut) = cut_off(&lab);
    let moved = workspace.commit("own.txt", "own\n");
    workspace.git(["checkout", "-q", "--detach", &cut.new]).succeeds();
    write_journal(&workspace, &cut, THIS_BOOT);
    next_command(&lab);
    assert_whole_at(&workspace, &moved);
}

#[test]
fn branch_that_moved_while_head_did_is_kept_and_the_commits_on_head_come_onto_it() {
    let lab = Lab::new();
    let (workspace, cut) = cut_off(&lab);
    let moved = workspace.commit("moved.txt", "moved\n");
    workspace.git(["checkout", "-q", "--detach", &cut.new]).succeeds();
    write_journal(&workspace, &cut, THIS_BOOT);
    let commit = workspace.commit("own.txt", "own\n");
    let said = next_command(&lab);
    assert_whole_at(&workspace, &commit);
    assert!(said.contains("both 'feature' and HEAD have gone on"), "{said}");
    assert!(workspace.refs("refs/rescue").contains(&moved));
}

#[test]
fn lock_from_before_the_machine_went_down_stops_nobody() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.app().commit_on("feature", "host.txt", "host\n");
    workspace
        .sh("echo another >.git/agentvm-boot
            for lock in index HEAD refs/heads/feature packed-refs; do touch -d 2001-01-01 .git/$lock.lock; done")
        .succeeds();
    lab.git("push agentvm::feature").succeeds();
    assert_whole_at(&workspace, &lab.app().tip("feature"));
}

/// A push that replaces `one`, made by the script `old`, by what the script `new` makes of it; the
/// objects are there, nothing else is.
fn cut_off_between<'a>(lab: &'a Lab, old: &str, new: &str) -> (Workspace<'a>, CutOff) {
    let app = lab.app();
    lab.git("checkout -q feature").succeeds();
    lab.sh(&format!("{old}; git add -Af . && git commit -qm old")).succeeds();
    let workspace = lab.pushed_feature();
    lab.sh(&format!("{new}; git add -Af . && git commit -qm new")).succeeds();
    lab.git("push agentvm::feature feature:refs/heads/objects").succeeds();
    let cut = CutOff { old: workspace.tip("HEAD"), new: app.tip("feature") };
    (workspace, cut)
}

#[test]
fn directory_that_becomes_a_file_goes_back_from_either_state() {
    for at_new in [false, true] {
        let lab = Lab::new();
        let (workspace, cut) =
            cut_off_between(&lab, "mkdir one; echo 1 >one/a", "rm -r one; echo 2 >one");
        write_journal(&workspace, &cut, THIS_BOOT);
        if at_new {
            workspace.sh("rm -r one; echo 2 >one").succeeds();
        }
        next_command(&lab);
        assert_whole_at(&workspace, &cut.old);
        assert_eq!(workspace.refs("refs/rescue"), "");
        lab.git("push agentvm::feature").succeeds();
        assert_whole_at(&workspace, &cut.new);
    }
}

#[test]
fn link_that_becomes_a_directory_goes_back_and_what_it_leads_to_stays() {
    let lab = Lab::new();
    let old = "mkdir real; echo 1 >real/a; ln -s real one";
    let (workspace, cut) = cut_off_between(&lab, old, "rm one; mkdir one; echo 2 >one/a");
    write_journal(&workspace, &cut, THIS_BOOT);
    next_command(&lab);
    assert_whole_at(&workspace, &cut.old);
    assert_eq!(workspace.read("real/a"), "1\n");
}

#[test]
fn files_beside_those_of_the_push_survive_a_directory_that_becomes_a_file_again() {
    let lab = Lab::new();
    let (workspace, cut) = cut_off_between(&lab, "echo 1 >one", "rm one; mkdir one; echo 2 >one/a");
    write_journal(&workspace, &cut, THIS_BOOT);
    workspace
        .sh("rm one; mkdir one; echo 2 >one/a; echo only >one/mine
            echo .env >.git/info/exclude; echo secret >one/.env")
        .succeeds();
    let said = next_command(&lab);
    assert!(said.contains("one.found-"), "{said}");
    assert_eq!(workspace.tip("HEAD"), cut.old);
    assert_eq!(workspace.read("one"), "1\n");
    workspace.sh("cat one.found-*/mine one.found-*/.env").succeeds().stdout_is("only\nsecret");
}

#[test]
fn ignored_file_of_the_agent_survives_a_checkout_that_goes_back() {
    let lab = Lab::new();
    let (workspace, cut) = cut_off_between(&lab, "echo 1 >.env", "rm .env; echo .env >.gitignore");
    workspace.git(["checkout", "-q", "--detach", &cut.new]).succeeds();
    write_journal(&workspace, &cut, THIS_BOOT);
    workspace.write(".env", "the agent's\n");
    next_command(&lab);
    assert_eq!(workspace.read(".env"), "the agent's\n");
    workspace.git("symbolic-ref HEAD").succeeds().stdout_is("refs/heads/feature");
}

#[test]
fn cut_off_push_that_ends_only_while_the_next_waits_is_mended_first() {
    let lab = Lab::new();
    let (workspace, cut) = cut_off(&lab);
    // What is left of the first session still has the lock when the second one begins.
    let holder = hold_lock(&lab, &workspace);
    let push = lab.git("push agentvm::feature").background();
    lab.wait_until("the push waits", |lab| !guest_pids(lab, "flock -w").is_empty());
    workspace.git(["checkout", "-q", "--detach", &cut.old]).succeeds();
    write_journal(&workspace, &cut, THIS_BOOT);
    release_lock(&lab);
    holder.finish();
    let ran = push.finish();
    assert_eq!(ran.code, 0, "{ran}");
    assert_whole_at(&workspace, &cut.new);
}

#[test]
fn cut_off_push_is_not_given_up_because_a_git_that_was_to_tell_is_killed() {
    let lab = Lab::new();
    let (workspace, cut) = checked_out(&lab);
    // Where the ref is no file of its own, git has to tell.
    workspace.git("pack-refs --all").succeeds();
    write_journal(&workspace, &cut, THIS_BOOT);
    lab.guest_fake(
        "git",
        "case $* in *'rev-parse -q --verify refs/heads/feature')
            [ -e ~/died ] || { : >~/died; kill -9 $$; } ;;
        esac
        PATH=${PATH#*:}
        exec git \"$@\"",
    );
    next_command(&lab);
    workspace.sh("[ -e ~/died ]").succeeds();
    next_command(&lab);
    assert_whole_at(&workspace, &cut.old);
}

#[test]
fn cut_off_push_to_another_branch_does_not_mislead_this_one() {
    let lab = Lab::new();
    let (workspace, cut) = cut_off(&lab);
    workspace.git("checkout -q -b other").succeeds();
    workspace
        .sh(&format!(
            "echo refs/heads/other {} {} killed {THIS_BOOT} end >.git/agentvm-journal",
            cut.old, cut.new
        ))
        .succeeds();
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(workspace.tip("refs/heads/feature"), cut.new);
    assert_eq!(workspace.tip("refs/heads/other"), cut.old);
    workspace.git("symbolic-ref HEAD").succeeds().stdout_is("refs/heads/other");
}

#[test]
fn commits_made_before_head_is_back_on_its_branch_come_along() {
    let lab = Lab::new();
    let (workspace, cut) = checked_out(&lab);
    workspace.git(["update-ref", "refs/heads/feature", &cut.new]).succeeds();
    write_journal(&workspace, &cut, THIS_BOOT);
    let commit = workspace.commit("own.txt", "own\n");
    next_command(&lab);
    assert_whole_at(&workspace, &commit);
}

/// Mending had written all files and the index, and the power was cut once more.
#[test]
fn files_that_a_second_power_cut_emptied_are_put_back() {
    for index_only in [true, false] {
        let lab = Lab::new();
        let (workspace, cut) = cut_off(&lab);
        // What a checkout to the old commit leaves: with HEAD at the new one still, or not.
        workspace.git(["checkout", "-q", "--detach", &cut.old]).succeeds();
        if index_only {
            workspace.git(["update-ref", "--no-deref", "HEAD", &cut.new]).succeeds();
        }
        workspace.sh(": >feature.txt; : >gone.txt").succeeds();
        write_journal(&workspace, &cut, "another-boot");
        next_command(&lab);
        assert_whole_at(&workspace, &cut.old);
    }
}

/// The helper that gives files a second name was killed when it had hardly begun.
#[test]
fn second_names_that_were_never_given_stop_nobody() {
    let lab = Lab::new();
    let (workspace, cut) = checked_out(&lab);
    let old = &cut.old;
    let begun =
        format!("mkdir -p .git/agentvm-before/files; echo {old} >.git/agentvm-before/moving");
    workspace.sh(&begun).succeeds();
    write_journal(&workspace, &cut, THIS_BOOT);
    next_command(&lab);
    assert_whole_at(&workspace, &cut.old);
    workspace.sh("! [ -e .git/agentvm-before ] && ! [ -s .git/agentvm-received ]").succeeds();
}

/// The process that gives them outlives a hook that is killed, and the session.
#[test]
fn second_names_that_were_given_too_late_are_taken_away() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let late = "mkdir -p .git/agentvm-before/files; : >.git/agentvm-before/since
        cp -l feature.txt .git/agentvm-before/files";
    workspace.sh(late).succeeds();
    lab.agent_vm("status").succeeds().stderr_lacks("kept");
    workspace.sh("! [ -e .git/agentvm-before ] && ! [ -s .git/agentvm-received ]").succeeds();
}

/// Files whose content a power cut took go back, though going back is cut off at any step: an index
/// that is at the old commit before the files are would make them the agent's changes.
#[test]
fn going_back_after_a_power_cut_may_be_cut_off_at_every_step() {
    let lab = Lab::new();
    let (workspace, cut) = cut_off(&lab);
    for (what, then) in [("git", "kill -9 $$"), ("the shell", "git \"$@\"; kill -9 $PPID")] {
        for call in 1.. {
            workspace.git(["checkout", "-q", "--detach", &cut.new]).succeeds();
            write_journal(&workspace, &cut, "another-boot");
            workspace.sh(": >feature.txt; : >new/added.txt").succeeds();
            let script = format!(
                "PATH=${{PATH#*:}}; echo >>~/calls
                [ $(wc -l <~/calls) != {call} ] || {{ : >~/fired; {then}; }}
                exec git \"$@\""
            );
            lab.guest_fake("git", &script);
            lab.git("fetch agentvm::feature").run();
            lab.guest_sh("rm ../bin/git calls").succeeds();
            next_command(&lab);
            assert_eq!(workspace.status(), "", "{what} killed at call {call}");
            assert_whole_at(&workspace, &cut.old);
            if lab.guest_sh("rm fired").run().code != 0 {
                assert!(call > 5, "going back takes more than {call} calls of git");
                break;
            }
        }
    }
}
