//! `push --wip` that is cut off: all of the files are there afterwards, or none.

use std::time::Duration;

use crate::support::{Lab, Repo, Workspace};
use crate::wip_push::{assert_settled, files_here, files_there, on_feature};

/// A workspace with many files, and as many changes here.
fn many(lab: &Lab) -> (Repo<'_>, Workspace<'_>) {
    let (app, _) = on_feature(lab);
    lab.host("bash", ["-c", "mkdir -p m; for i in {1..300}; do echo old $i >m/f$i; done; git add -A; git commit -qm many"])
        .in_dir(app.path()).succeeds();
    let workspace = lab.pushed_feature();
    lab.host("bash", ["-c", "for i in {1..100}; do echo new $i >m/f$i; done; rm m/f{101..200}
            mkdir -p n/d; for i in {1..100}; do echo added $i >n/d/a$i; done; rm m/f201; mkdir m/f201; echo x >m/f201/x; ln -s f1 m/link; chmod +x m/f202"])
        .in_dir(app.path()).succeeds();
    (app, workspace)
}

/// The guest's machine goes down, as far as a process can tell, in the N-th flush of a push: 1 and 2
/// are before a file moves, 3 is after the last one, 4 after the journal was closed.
fn die_in_flush(lab: &Lab, number: u32) {
    lab.guest_sh("rm -f ../flushes").succeeds();
    lab.guest_fake(
        "sync",
        &format!("echo >>\"$HOME/../flushes\"; [ $(wc -l <\"$HOME/../flushes\") != {number} ] || kill -9 $PPID; exit 0"),
    );
}

#[test]
fn kill_at_each_step_leaves_all_or_nothing() {
    let lab = Lab::new();
    let (app, workspace) = many(&lab);
    let (old, new) = (files_there(&workspace), files_here(&lab));
    for (step, outcome) in [(1, &old), (2, &old), (3, &old), (4, &new)] {
        die_in_flush(&lab, step);
        let ran = lab.agent_vm("push --wip feature").run();
        assert_ne!(ran.code, 0, "{ran}");
        lab.guest_fake("sync", "exit 0");
        lab.agent_vm("status").succeeds();
        assert_eq!(&files_there(&workspace), outcome, "step {step}");
        assert_settled(&workspace, &app.tip("feature"));
    }
    workspace.git("fsck --full").succeeds();
}

#[test]
fn what_the_agent_wrote_after_a_kill_is_kept() {
    let lab = Lab::new();
    let (_, workspace) = many(&lab);
    die_in_flush(&lab, 3);
    lab.agent_vm("push --wip feature").run();
    lab.guest_fake("sync", "exit 0");
    workspace.sh("echo mine >>m/f1; echo mine >n/d/a1; echo other >mine.txt; rm m/f2").succeeds();
    let said = lab.agent_vm("connect feature -- true").succeeds().errors();
    assert!(said.contains("refs/rescue"), "{said}");
    assert_eq!(workspace.read("m/f1"), "old 1\n");
    assert_eq!(workspace.read("mine.txt"), "other\n");
    let rescue = workspace.git("for-each-ref --format=%(refname) refs/rescue").succeeds().text();
    let kept = |path: &str| {
        workspace.git(["show", &format!("{}:{path}", rescue.trim())]).succeeds().text()
    };
    assert_eq!((kept("m/f1").as_str(), kept("n/d/a1").as_str()), ("new 1\nmine", "mine"));
    workspace.git("fsck --full --connectivity-only").succeeds();
    lab.agent_vm("push --wip feature").succeeds();
}

#[test]
fn kill_at_any_time_leaves_all_or_nothing() {
    let lab = Lab::new();
    let (app, workspace) = many(&lab);
    let (old, new) = (files_there(&workspace), files_here(&lab));
    let head = app.tip("feature");
    let next = [
        "agent-vm status",
        "agent-vm connect feature -- true",
        "push agentvm::feature",
        "fetch agentvm::feature",
        "agent-vm fetch --wip feature",
    ];
    // How long it takes here, at this hour.
    let began = std::time::Instant::now();
    lab.agent_vm("push --wip feature").succeeds();
    let whole = began.elapsed();
    let (mut all, mut nothing, mut cut) = (0, 0, 0);
    for round in 0..36_u32 {
        workspace
            .sh("git checkout -q . && git clean -qfd && git update-index -q --refresh")
            .succeeds();
        assert_eq!(files_there(&workspace), old);
        let push = lab.agent_vm("push --wip feature").background();
        std::thread::sleep(whole * (6 + round) / 42);
        lab.kill_guest();
        let ran = push.finish();
        cut += u32::from(workspace.sh("[ -s .git/agentvm-journal ]").run().code == 0);
        lab.git(next[round as usize % next.len()]).run();
        let is = files_there(&workspace);
        assert!(is == old || is == new, "round {round}\n{ran}\n{is}");
        assert!(is == new || ran.code != 0, "{ran}");
        assert_settled(&workspace, &head);
        if is == new { all += 1 } else { nothing += 1 }
    }
    workspace.git("fsck --full").succeeds();
    eprintln!("{all} all, {nothing} nothing, {cut} cut off while files moved");
    assert!(nothing > 0);
}

#[test]
fn host_that_goes_away_leaves_all_or_nothing() {
    let lab = Lab::new();
    let (app, workspace) = many(&lab);
    let (old, new) = (files_there(&workspace), files_here(&lab));
    for after in [60, 120, 180, 240, 300, 400] {
        workspace
            .sh("git checkout -q . && git clean -qfd && git update-index -q --refresh")
            .succeeds();
        let push = lab.agent_vm("push --wip feature").background();
        std::thread::sleep(Duration::from_millis(after));
        push.signal(rustix::process::Signal::KILL);
        push.finish();
        lab.wait_until("the guest has ended", |lab| {
            !lab.guest_processes().iter().any(|pid| {
                let script = format!("tr '\\0' ' ' </proc/{pid}/cmdline 2>/dev/null");
                lab.guest_sh(&script).run().text().contains("base64 -d")
            })
        });
        lab.agent_vm("status").succeeds();
        let is = files_there(&workspace);
        assert!(is == old || is == new, "after {after} ms\n{is}");
        assert_settled(&workspace, &app.tip("feature"));
    }
    lab.sh("git count-objects -v; rm -rf .git/objects/tmp_objdir-agentvm-*").succeeds();
}

/// As a push of commits does.
#[test]
fn what_is_written_to_a_file_that_is_being_replaced_is_kept() {
    let lab = Lab::new();
    let (app, _) = on_feature(&lab);
    app.commit("z.txt", "one\n");
    app.commit(".gitattributes", "a.txt filter=agent\n");
    app.commit("a.txt", "one\n");
    let workspace = lab.pushed_feature();
    let append = "git config filter.agent.smudge 'echo precious >>z.txt; sleep 0.1; cat'";
    workspace.sh(append).succeeds();
    app.write("z.txt", "two\n");
    app.write("a.txt", "two\n");
    lab.agent_vm("push --wip feature")
        .succeeds()
        .stderr_has("files were written to while the push replaced them")
        .stderr_has("warning:   z.txt");
    assert_eq!(workspace.read("z.txt"), "two\n");
    let rescued = workspace.git("for-each-ref --format=%(refname) refs/rescue").succeeds().text();
    let rescued = format!("{}:z.txt", rescued.trim());
    assert_eq!(workspace.git(["show", &rescued]).succeeds().text(), "one\nprecious");
    assert_settled(&workspace, &app.tip("feature"));
}

/// A git that has locked something and is killed leaves the lock.
#[test]
fn lock_that_a_killed_git_has_left_stops_no_later_command() {
    let lab = Lab::new();
    let (app, workspace) = on_feature(&lab);
    let git = lab.guest_sh("command -v git").succeeds().text();
    for (call, lock) in [
        ("update-ref refs/agentvm/wip/host", "refs/agentvm/wip/host.lock"),
        ("update-ref -d refs/agentvm/wip/host", "packed-refs.lock"),
    ] {
        app.write("feature.txt", format!("{lock}\n"));
        lab.guest_fake(
            "git",
            &format!(
                "case \"$*\" in *'{call}'*) mkdir -p .git/refs/agentvm/wip; : >.git/{lock}; kill -9 $$ ;; esac
                exec {git} \"$@\""
            ),
        );
        lab.agent_vm("push --wip feature").run();
        lab.guest_fake("git", &format!("exec {git} \"$@\""));
        lab.agent_vm("status").succeeds();
        assert_settled(&workspace, &app.tip("feature"));
        workspace.sh(&format!("! [ -e .git/{lock} ]")).succeeds();
        workspace.git("checkout -q feature.txt").succeeds();
        lab.agent_vm("push --wip feature").succeeds();
        assert_eq!(workspace.read("feature.txt"), format!("{lock}\n"));
        workspace.git("checkout -q feature.txt").succeeds();
    }
}
