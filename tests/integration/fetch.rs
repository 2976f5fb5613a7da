//! `git fetch` and `git pull agentvm::BRANCH`.

use crate::support::Lab;

#[test]
fn pull_merges_what_the_agent_committed() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let agents = workspace.commit("agent.txt", "agent\n");
    lab.git("checkout -q feature").succeeds();
    lab.git("pull agentvm::feature").succeeds().stderr_has("From agentvm::feature");
    let app = lab.app();
    assert_eq!(app.tip("feature"), agents);
    assert_eq!(app.read("agent.txt"), "agent\n");
    assert_eq!(app.tip("HEAD^{tree}"), workspace.tip("HEAD^{tree}"));
}

#[test]
fn fetch_brings_the_tip_and_writes_no_tracking_ref() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let agents = workspace.commit("agent.txt", "agent\n");
    lab.git("fetch agentvm::feature").succeeds();
    assert_eq!(lab.app().tip("FETCH_HEAD"), agents);
    assert_eq!(lab.app().refs("refs/remotes"), "");
    assert_eq!(lab.app().refs("refs/tags"), "");
}

#[test]
fn fetch_takes_one_ssh_session() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.commit("agent.txt", "agent\n");
    let fetch = || drop(lab.git("fetch agentvm::feature").succeeds());
    assert_eq!((lab.ssh_sessions_of(fetch), lab.ssh_sessions_of(fetch)), (1, 1));
}

#[test]
fn pull_takes_the_workspaces_own_branch_whatever_the_agent_has_checked_out() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let wanted = workspace.commit("agent.txt", "agent\n");
    for state in ["git checkout -q -b other", "git checkout -q --detach"] {
        workspace.sh(state).succeeds();
        workspace.commit("elsewhere.txt", state);
        lab.git("fetch agentvm::feature").succeeds();
        assert_eq!(lab.app().tip("FETCH_HEAD"), wanted, "after {state}");
    }
}

#[test]
fn fetch_from_no_workspace_says_that_there_is_none_and_makes_none() {
    let lab = Lab::new();
    lab.git("fetch agentvm::feature")
        .fails(128)
        .stderr_has("feature")
        .stderr_has("git agent-vm push feature");
    assert!(lab.workspaces().is_empty());
}

#[test]
fn fetch_of_a_branch_that_is_gone_says_which_there_are() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("git checkout -q -b renamed && git branch -D feature").succeeds();
    lab.git("fetch agentvm::feature").fails(128).stderr_has("renamed");
}

#[test]
fn another_branch_of_the_workspace_can_be_fetched() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("git checkout -q -b side").succeeds();
    let agents = workspace.commit("side.txt", "side\n");
    lab.git("fetch agentvm::feature side:side").succeeds();
    assert_eq!(lab.app().tip("side"), agents);
}

#[test]
fn ls_remote_shows_branches_and_nothing_else() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let script = "git tag v1; git update-ref refs/tags/origin/main HEAD; git notes add -m x;
        git update-ref refs/wip/x HEAD";
    workspace.sh(script).succeeds();
    let tip = workspace.tip("HEAD");
    let listed = lab.git("ls-remote agentvm::feature").succeeds().text();
    let mut lines: Vec<_> = listed.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, [format!("{tip}\tHEAD"), format!("{tip}\trefs/heads/feature")]);
}

#[test]
fn tags_of_the_agent_do_not_come() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.commit("agent.txt", "agent\n");
    workspace.sh("git tag v1; git update-ref refs/tags/origin/main HEAD").succeeds();
    lab.git("fetch --tags agentvm::feature").run();
    lab.git("fetch agentvm::feature").succeeds();
    assert_eq!(lab.app().refs("refs/tags"), "");
}

#[test]
fn fetched_tips_are_kept_after_the_agent_rewinds() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let first = workspace.commit("agent.txt", "first\n");
    lab.git("fetch agentvm::feature").succeeds();
    assert!(lab.app().refs("refs/agentvm/keep").contains(&first));
    workspace.sh("git reset -q --hard HEAD~").succeeds();
    let second = workspace.commit("agent.txt", "second\n");
    lab.git("fetch --prune agentvm::feature").succeeds();
    lab.git("gc -q --prune=now").succeeds();
    let kept = lab.app().refs("refs/agentvm/keep");
    assert!(kept.contains(&first) && kept.contains(&second), "{kept}");
    lab.git(["cat-file", "-e", &first]).succeeds();
}

#[test]
fn keep_refs_do_not_pile_up_along_one_line_of_history() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    for text in ["one\n", "two\n", "three\n"] {
        workspace.commit("agent.txt", text);
        lab.git("fetch agentvm::feature").succeeds();
    }
    assert_eq!(lab.app().refs("refs/agentvm/keep").lines().count(), 1);
}

#[test]
fn tip_that_lay_about_unreferenced_is_kept_too() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let agents = workspace.commit("agent.txt", "agent\n");
    lab.git("fetch agentvm::feature").succeeds();
    lab.sh("git for-each-ref --format='delete %(refname)' refs/agentvm | git update-ref --stdin")
        .succeeds();
    // git does not even ask for objects now: it has them.
    lab.git("fetch agentvm::feature").succeeds();
    assert!(lab.app().refs("refs/agentvm/keep").contains(&agents));
}

#[test]
fn uncommitted_work_that_stays_behind_is_counted() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.write("feature.txt", "changed\n");
    workspace.write("new.txt", "new\n");
    lab.git("fetch agentvm::feature").succeeds().stderr_has("2 files").stderr_has("git agent-vm");
    lab.git("fetch -q agentvm::feature").succeeds().stderr_is("");
}

#[test]
fn counting_what_stays_behind_holds_no_fetch_up() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let script = "echo '*.slow filter=slow' >.git/info/attributes; echo 1 >a.slow; git add a.slow
        git commit -qm slow; git config filter.slow.clean 'sleep 66; cat'
        touch -d '1 hour ago' a.slow";
    workspace.sh(script).succeeds();
    let started = std::time::Instant::now();
    lab.git("fetch agentvm::feature").succeeds();
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
    let left = lab.guest_sh("ps -A -o args= | grep '^sleep 6[6]'").run().text();
    assert_eq!(left, "");
}

#[test]
fn workspace_that_cannot_be_written_to_can_still_be_fetched() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let tip = workspace.commit("agent.txt", "agent\n");
    // Nobody, root included, can open a directory for writing.
    workspace.sh("rm .git/agentvm.lock; mkdir .git/agentvm.lock").succeeds();
    lab.git("fetch agentvm::feature").succeeds().stderr_lacks("cannot write to");
    assert_eq!(lab.app().tip("FETCH_HEAD"), tip);
    // A push that was cut off cannot be mended then.
    workspace.write(".git/agentvm-journal", "refs/heads/feature");
    lab.git("fetch agentvm::feature").succeeds().stderr_has("cannot write to");
    lab.git("push agentvm::feature").fails(128).stderr_has("cannot write to");
    lab.agent_vm("clean --force feature").fails(1).stderr_has("cannot write to");
}

#[test]
fn shallow_fetch_brings_one_commit() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.commit("a.txt", "a\n");
    let tip = workspace.commit("b.txt", "b\n");
    let other = lab.init("other");
    let url = "agentvm://agent-vm/app-feature";
    other.git(["fetch", "--depth=1", url, "feature"]).succeeds();
    assert_eq!(other.tip("FETCH_HEAD"), tip);
    other.git("rev-list --count FETCH_HEAD").succeeds().stdout_is("1");
}

#[test]
fn filter_is_refused() {
    let lab = Lab::new();
    lab.pushed_feature().commit("a.txt", "a\n");
    lab.git("fetch --filter=blob:none agentvm::feature")
        .within_seconds(20)
        .fails(128)
        .stderr_has("filter");
    // git has noted the remote as a source of missing objects by then.
    lab.git("fetch agentvm::feature").within_seconds(20).succeeds();
}

#[test]
fn workspace_can_be_cloned_by_its_full_address() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let tip = workspace.commit("agent.txt", "agent\n");
    lab.host("git", "clone agentvm://agent-vm/app-feature copy").succeeds();
    let copy = lab.repo("copy");
    assert_eq!((copy.tip("HEAD"), copy.read("agent.txt")), (tip, "agent\n".to_owned()));
}

#[test]
fn clone_by_branch_is_refused_with_the_form_for_it() {
    let lab = Lab::new();
    lab.pushed_feature();
    lab.host("git", "clone agentvm::feature copy").fails(128).stderr_has("agentvm://");
    assert!(!lab.repo("copy").has(".git"));
}

#[test]
fn fetch_into_the_branch_that_is_checked_out_is_refused() {
    // phantompane/phantom#203
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.commit("agent.txt", "agent\n");
    lab.git("checkout -q feature").succeeds();
    let before = lab.app().tip("feature");
    lab.git("fetch agentvm::feature feature:feature")
        .fails(128)
        .stderr_has("refusing to fetch into branch");
    assert_eq!(lab.app().tip("feature"), before);
}

#[test]
fn interrupted_fetch_leaves_a_sound_repository() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace
        .sh("head -c 20000000 /dev/urandom >big && git add big && git commit -qm big")
        .succeeds();
    for after in [100, 300, 600] {
        let fetch = lab.git("fetch agentvm::feature").background();
        std::thread::sleep(std::time::Duration::from_millis(after));
        fetch.signal(rustix::process::Signal::INT);
        fetch.finish();
    }
    lab.git("fsck --full").succeeds();
    lab.git("fetch agentvm::feature").succeeds();
    assert_eq!(lab.app().tip("FETCH_HEAD"), workspace.tip("HEAD"));
    lab.wait_until("no helper runs any more", |lab| {
        !lab.host_processes().iter().any(|line| line.contains("git-remote-agentvm"))
    });
}

#[test]
fn limit_on_bytes_stops_a_fetch() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace
        .sh("head -c 3000000 /dev/urandom >big && git add big && git commit -qm big")
        .succeeds();
    lab.git("-c agentvm.fetchLimit=1MiB fetch agentvm::feature")
        .fails(128)
        .stderr_has("agentvm.fetchLimit");
    assert_eq!(lab.app().refs("refs/agentvm"), "");
    lab.git("fetch agentvm::feature").succeeds();
}

#[test]
fn kept_tips_of_rewritten_work_are_shown_by_no_log() {
    // stablyai/orca#17857
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    for index in 0..12 {
        workspace.sh(&format!("git commit -q --allow-empty --amend -m {index}")).succeeds();
        lab.git("fetch -q agentvm::feature").succeeds();
    }
    assert_eq!(lab.app().refs("refs/agentvm/keep").lines().count(), 12);
    lab.git("log --all --decorate=full").succeeds().stdout_lacks("refs/agentvm");
    lab.git("branch -a").succeeds().stdout_lacks("agentvm");
    // A push of everything that is the user's own does not send them.
    lab.sh("git init -q --bare ../backup").succeeds();
    let backup = lab.repo("backup");
    lab.git("push -q --all ../backup").succeeds();
    lab.git("push -q --tags ../backup").succeeds();
    assert_eq!(backup.refs("refs/agentvm"), "");
}

#[test]
fn fetch_brings_nothing_that_was_not_committed() {
    // open-mercato/cezar#62
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.write(".env", "IGNORED-SECRET\n");
    workspace.write(".env.local", "UNTRACKED-SECRET\n");
    workspace.sh("echo .env >.git/info/exclude").succeeds();
    workspace.commit("agent.txt", "agent\n");
    lab.git("fetch agentvm::feature").succeeds();
    for secret in [".env", ".env.local"] {
        let blob = workspace.git(["hash-object", secret]).succeeds().text();
        lab.git(["cat-file", "-e", &blob]).fails(1);
    }
}

#[test]
fn fetch_of_many_objects_leaves_a_pack_that_git_can_repack() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    // From a hundred objects on, git keeps them packed.
    for round in ["1", "2"] {
        let script =
            "for i in $(seq 150); do echo $i $1 >file-$i; done; git add . && git commit -qm many";
        workspace.sh_with(script, [round]).succeeds();
        lab.git("-c maintenance.auto=false fetch agentvm::feature").succeeds();
        assert_eq!(lab.app().tip("FETCH_HEAD"), workspace.tip("HEAD"));
    }
    lab.sh("ls .git/objects/pack/*.pack | wc -l; ls .git/objects/pack/*.keep 2>/dev/null; true")
        .succeeds()
        .stdout_is("2");
    lab.host("git", "clone -q agentvm://agent-vm/app-feature copy").succeeds();
    assert_eq!(lab.repo("copy").tip("HEAD"), workspace.tip("HEAD"));
    lab.sh("ls ../copy/.git/objects/pack/*.keep 2>/dev/null; true").succeeds().stdout_is("");
    lab.git("gc -q").succeeds();
    lab.sh("ls .git/objects/pack/*.pack | wc -l").succeeds().stdout_is("1");
    lab.git("fsck --strict").succeeds();
}

#[test]
fn content_of_links_that_came_is_told_as_not_here() {
    // gsd-build/gsd-2#3044
    let lab = Lab::new();
    let lib = lab.init("lib");
    lib.commit("lib.txt", "lib\n");
    lab.sh("git checkout -q feature && git -c protocol.file.allow=always submodule -q add ../lib lib &&
        git commit -qm submodule && git checkout -q main")
        .succeeds();
    let workspace = lab.pushed_feature();
    let add = "add() { git init -q \"$1\" && git -C \"$1\" -c user.name=a -c user.email=a@b \
        commit -q --allow-empty -m \"$1\" && git add \"$1\" 2>/dev/null && git commit -qm \"$1\"; }";
    workspace.sh(&format!("{add}; add sub")).succeeds();
    let told =
        "warning: a fetch carries no contents of submodules and of repositories inside; not here: ";
    lab.git("remote add vm agentvm::feature").succeeds();
    lab.git("fetch vm")
        .succeeds()
        .stderr_has(&format!("{told}sub\n"))
        .stderr_has("the rest is in the workspace alone: git agent-vm connect feature\n");
    // Said where they come, not at every fetch, nor where the commit is here.
    workspace.commit("a.txt", "a\n");
    lab.git("fetch vm").succeeds().stderr_lacks("not here");
    let next = lab.repo("app/lib").commit("lib.txt", "next\n");
    workspace
        .sh_with("git update-index --cacheinfo 160000,$1,lib; git commit -qm bump", [&next])
        .succeeds();
    lab.git("fetch vm").succeeds().stderr_lacks("not here");
    // Few are named, and none as a terminal would have it.
    workspace
        .sh(&format!("{add}; for n in 1 2 3 4; do add d/$n; done; add \"$(printf 'a\\033[31m')\""))
        .succeeds();
    lab.git("fetch -q agentvm::feature")
        .succeeds()
        .stderr_has(&format!("{told}a"))
        .stderr_has(", d/1, d/2 and 2 more\n")
        .stderr_lacks("hint:")
        .shows_clean_text();
}
