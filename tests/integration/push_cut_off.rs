//! Pushes that are cut off, wait for each other, or meet a live agent.

use crate::support::{Lab, Workspace};

/// The guest's processes whose command line contains `what`.
pub(crate) fn guest_pids(lab: &Lab, what: &str) -> Vec<String> {
    let is_it = |pid: &String| {
        let script = format!("tr '\\0' ' ' </proc/{pid}/cmdline 2>/dev/null");
        lab.guest_sh(&script).run().text().contains(what)
    };
    lab.guest_processes().into_iter().filter(is_it).collect()
}

/// A process of the guest that has the workspace's lock.
pub(crate) fn hold_lock(lab: &Lab, workspace: &Workspace<'_>) -> crate::support::Background {
    let holder = workspace.sh("exec flock .git/agentvm.lock sleep 99").background();
    lab.wait_until("the lock is held", |_| {
        workspace.sh("flock -n .git/agentvm.lock true").run().code != 0
    });
    holder
}

pub(crate) fn release_lock(lab: &Lab) {
    let holders = guest_pids(lab, "sleep 99");
    lab.guest_kill("KILL", &holders);
}

#[test]
fn push_without_a_report_is_no_success() {
    // keybase/client#15175
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.app().commit_on("feature", "host.txt", "host\n");
    let before = workspace.snapshot();
    let holder = hold_lock(&lab, &workspace);
    let push = lab.git("push agentvm::feature").background();
    lab.wait_until("the push waits", |lab| !guest_pids(lab, "receive-pack").is_empty());
    lab.wait_until("its hook waits", |lab| !guest_pids(lab, "flock -w").is_empty());
    let pids = guest_pids(&lab, "git receive-pack");
    lab.guest_kill("KILL", &if pids.is_empty() { guest_pids(&lab, "receive-pack") } else { pids });
    let ran = push.finish();
    release_lock(&lab);
    holder.finish();
    assert!(ran.code != 0, "{ran}");
    ran.stderr_has("feature").stderr_lacks("Everything up-to-date");
    assert_eq!(workspace.snapshot(), before);
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(workspace.tip("HEAD"), lab.app().tip("feature"));
}

#[test]
fn push_waits_for_another_and_says_so() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.app().commit_on("feature", "host.txt", "host\n");
    let holder = hold_lock(&lab, &workspace);
    let mut push = lab.git("push agentvm::feature").background();
    lab.wait_until("its hook waits", |lab| !guest_pids(lab, "flock -w").is_empty());
    assert!(push.is_running());
    release_lock(&lab);
    holder.finish();
    let ran = push.finish();
    assert_eq!(ran.code, 0, "{ran}");
    ran.stderr_has("waiting for another push");
    assert_eq!(workspace.tip("HEAD"), lab.app().tip("feature"));
}

#[test]
fn interrupted_push_lets_the_next_one_carry_on() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let app = lab.app();
    app.git("checkout -q feature").succeeds();
    for index in 0..300 {
        app.write(&format!("many/{index}"), "x".repeat(2000));
    }
    lab.sh("git add -A && git commit -qm many").succeeds();
    for after in [50, 150, 250, 400, 700] {
        let push = lab.git("push agentvm::feature").background();
        std::thread::sleep(std::time::Duration::from_millis(after));
        push.signal(rustix::process::Signal::INT);
        push.finish();
    }
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(workspace.tip("HEAD"), app.tip("feature"));
    workspace.git("symbolic-ref HEAD").succeeds().stdout_is("refs/heads/feature");
    assert_eq!(workspace.status(), "");
}

#[test]
fn killed_guest_session_is_mended_by_the_next_push() {
    let lab = Lab::new();
    let app = lab.app();
    app.git("checkout -q feature").succeeds();
    for index in 0..1500 {
        app.write(&format!("many/{index}"), "x".repeat(2000));
    }
    lab.sh("git add -A && git commit -qm many").succeeds();
    let old = app.tip("main");
    lab.git("push -q agentvm::feature main:refs/heads/feature").succeeds();
    let workspace = lab.workspace("app-feature");
    for after in [100, 200, 300, 450] {
        let push = lab.git("push agentvm::feature").background();
        std::thread::sleep(std::time::Duration::from_millis(after));
        lab.kill_guest();
        let ran = push.finish();
        // It may have been done by then, and then git says so rightly.
        let tip = workspace.tip("refs/heads/feature");
        assert!(ran.code != 0 || tip == app.tip("feature"), "{ran}");
        lab.git("push agentvm::feature").succeeds();
        assert_eq!(workspace.tip("HEAD"), app.tip("feature"));
        assert_eq!(workspace.status(), "");
        lab.git(&format!("push -q --force agentvm::feature {old}:refs/heads/feature")).succeeds();
        assert_eq!(workspace.status(), "");
    }
}

/// git is killed while it has the ref's lock, and the rest of the session ends as it should.
#[test]
fn lock_of_a_ref_that_a_killed_git_has_left_is_taken_away_by_its_own_session() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let before = workspace.tip("HEAD");
    // So many objects stay a pack, beside which git has a note.
    lab.git("checkout -q feature").succeeds();
    for index in 0..150 {
        lab.app().write(&format!("many/{index}"), format!("{index}\n"));
    }
    lab.sh("git add -A && git commit -qm many").succeeds();
    let hook = "set -- ~/.local/share/agentvm/hooks-*
        cat >\"$1/reference-transaction\" <<'END'
#!/bin/sh
[ \"$1\" != prepared ] || ! grep -q ' refs/heads/feature$' || kill -9 \"$PPID\"
END
        chmod +x \"$1/reference-transaction\"";
    lab.guest_sh(hook).succeeds();
    let ran = lab.git("push agentvm::feature").run();
    assert!(ran.code != 0, "{ran}");
    lab.guest_sh("rm ~/.local/share/agentvm/hooks-*/reference-transaction").succeeds();
    assert_eq!(workspace.tip("HEAD"), before);
    workspace
        .sh("! [ -e .git/refs/heads/feature.lock ] && ! [ -s .git/agentvm-received ]")
        .succeeds();
    workspace.sh("ls .git/objects/pack").succeeds().stdout_lacks(".keep").stdout_has(".pack");
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(workspace.tip("HEAD"), lab.app().tip("feature"));
    assert_eq!(workspace.status(), "");
}

#[test]
fn simultaneous_pushes_never_mix_their_files() {
    // git/git-scm.com#245
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.git("config gc.auto 1").succeeds();
    let app = lab.app();
    let count = 8;
    for index in 0..count {
        app.git(["checkout", "-q", "-b", &format!("variant{index}"), "feature"]).succeeds();
        app.write("shared.txt", format!("{index}\n"));
        app.commit(&format!("own{index}.txt"), format!("{index}\n"));
        app.commit("shared.txt", format!("{index}\n"));
    }
    app.git("checkout -q main").succeeds();
    let pushes: Vec<_> = (0..count)
        .map(|index| {
            lab.git(&format!("push agentvm::feature variant{index}:refs/heads/feature"))
                .background()
        })
        .collect();
    let mut accepted = Vec::new();
    for (index, push) in pushes.into_iter().enumerate() {
        let ran = push.finish();
        match ran.code {
            0 => accepted.push(index),
            1 => drop(ran.stderr_has("-> feature (")),
            _ => panic!("neither accepted nor refused\n{ran}"),
        }
    }
    assert_eq!(accepted.len(), 1);
    assert_eq!(workspace.tip("HEAD"), app.tip(&format!("variant{}", accepted[0])));
    assert_eq!(workspace.read("shared.txt"), format!("{}\n", accepted[0]));
    assert_eq!(workspace.status(), "");
    workspace.git("fsck --full").succeeds();
}

#[test]
fn simultaneous_first_pushes_make_one_workspace() {
    let lab = Lab::new();
    let pushes: Vec<_> = (0..4).map(|_| lab.git("push agentvm::feature").background()).collect();
    let codes: Vec<_> = pushes.into_iter().map(|push| push.finish().code).collect();
    assert!(codes.contains(&0), "{codes:?}");
    assert_eq!(lab.workspaces(), ["app-feature"]);
    let workspace = lab.workspace("app-feature");
    assert_eq!(workspace.tip("HEAD"), lab.app().tip("feature"));
    assert_eq!(workspace.status(), "");
}

#[test]
fn pushes_while_the_agent_commits_lose_nothing() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let script = "for i in 1 2 3 4 5 6 7 8; do
            echo $i >agent.txt && git add agent.txt && git commit -qm \"agent $i\" || true
        done 2>/dev/null; git for-each-ref --contains HEAD --format='%(refname)'; git rev-parse HEAD";
    let agent = workspace.sh(script).background();
    for index in 0..4 {
        lab.app().commit_on("feature", "host.txt", format!("{index}\n"));
        let ran = lab.git("push agentvm::feature").run();
        assert!(ran.code <= 1, "{ran}");
    }
    let ran = agent.finish();
    assert_eq!(ran.code, 0, "{ran}");
    assert!(ran.text().contains("refs/heads/feature"), "{ran}");
    workspace.git("fsck --full").succeeds();
    assert_eq!(workspace.status(), "");
}

#[test]
fn push_is_done_only_when_it_is_stored() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.app().commit_on("feature", "host.txt", "host\n");
    // The last flush of the session, after git's own report: the machine goes down in it.
    lab.guest_fake("sync", "case $1 in -f) kill -9 $PPID;; esac");
    lab.git("push agentvm::feature").fails(1).stderr_has("did not confirm that it is stored");
    lab.guest_fake("sync", "exit 0");
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(workspace.tip("HEAD"), lab.app().tip("feature"));
    assert_eq!(workspace.status(), "");
}

#[test]
fn push_into_a_workspace_that_was_moved_away_meanwhile_fails() {
    let lab = Lab::new();
    lab.pushed_feature();
    lab.app().commit_on("feature", "host.txt", "host\n");
    let hook = "printf '#!/bin/sh\ntouch began; while ! [ -e go ]; do sleep 0.1; done\n' \
        >.git/hooks/pre-push; chmod +x .git/hooks/pre-push";
    lab.sh(hook).succeeds();
    let push = lab.git("push agentvm::feature").background();
    lab.wait_until("the hook runs", |lab| lab.app().has("began"));
    lab.agent_vm("clean --force feature").succeeds();
    lab.app().write("go", "");
    let ran = push.finish();
    assert_eq!(ran.code, 1, "{ran}");
    ran.stderr_has("moved away");
    lab.git("push agentvm::feature").succeeds();
    let workspace = lab.workspace("app-feature");
    assert_eq!(workspace.tip("HEAD"), lab.app().tip("feature"));
}

#[test]
fn killed_receive_pack_is_mended_only_when_its_hook_has_ended() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.app().commit_on("feature", "host.txt", "host\n");
    // The flush of the journal, before the first file moves: the hook goes on without its git.
    let kill = "[ -e ~/killed ] || {
            : >~/killed
            read -r stat </proc/$PPID/stat
            set -- ${stat##*) }
            kill -9 $2
            sleep 1
        }";
    lab.guest_fake("sync", kill);
    lab.git("push agentvm::feature").fails(1);
    workspace.sh("[ -e ~/killed ]").succeeds();
    workspace.git("symbolic-ref HEAD").succeeds().stdout_is("refs/heads/feature");
    assert_eq!(workspace.status(), "");
    lab.git("push agentvm::feature").succeeds();
    workspace.git("symbolic-ref HEAD").succeeds().stdout_is("refs/heads/feature");
    assert_eq!(workspace.tip("HEAD"), lab.app().tip("feature"));
    assert_eq!(workspace.status(), "");
}

#[test]
fn locks_of_a_killed_push_stop_nobody() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let app = lab.app();
    // The lock of a ref is there when the machine's processes are killed.
    lab.guest_fake("sync", "case $* in *journal) : >.git/refs/heads/side.lock; sleep 9;; esac");
    app.commit_on("feature", "host.txt", "host\n");
    lab.git("branch side feature").succeeds();
    let push = lab.git("push agentvm::feature").background();
    lab.wait_until("the lock is there", |_| {
        workspace.sh("[ -e .git/refs/heads/side.lock ]").run().code == 0
    });
    lab.kill_guest();
    push.finish();
    lab.guest_fake("sync", "");
    lab.git("push agentvm::feature feature side").succeeds();
    assert_eq!(workspace.tip("refs/heads/side"), app.tip("side"));
    assert_eq!(workspace.tip("HEAD"), app.tip("feature"));
    workspace.sh("[ -z \"$(find .git -name '*.lock' ! -name agentvm.lock)\" ]").succeeds();
    workspace.sh("! [ -s .git/agentvm-received ]").succeeds();
}

#[test]
fn first_push_that_is_killed_while_it_unpacks_leaves_the_name_free() {
    let lab = Lab::new();
    let unpacking = "case $* in *receive-pack*)
            dir=$PWD/.git/objects
            (i=0; while :; do : >$dir/$i; i=$((i + 1)); done) >/dev/null 2>&1 </dev/null &
            sleep 0.1
            exit 137 ;;
        esac
        PATH=${PATH#*:}
        exec git \"$@\"";
    lab.guest_fake("git", unpacking);
    lab.git("push agentvm::feature").fails(128);
    lab.guest_sh("rm ../bin/git").succeeds();
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(lab.workspaces(), ["app-feature"]);
}

#[test]
fn push_that_fills_the_disk_leaves_the_files_as_they_were() {
    let lab = Lab::new();
    let disk = lab.guest_home().join("workspace");
    fs_err::create_dir(&disk).ok();
    let disk = disk.to_string_lossy();
    let mount = ["-t", "tmpfs", "-o", "size=4m", "tmpfs", &disk];
    if lab.guest_is_foreign() || lab.host("mount", mount).run().code != 0 {
        eprintln!("left out: only root can mount a small disk");
        return;
    }
    let _disk = Mounted(disk.to_string());
    let workspace = lab.pushed_feature();
    workspace.write("only.txt", "only\n");
    let app = lab.app();
    app.git("checkout -q feature").succeeds();
    for index in 0..300 {
        app.write(&format!("many/{index}"), "x".repeat(4000));
    }
    app.write("feature.txt", "changed\n");
    lab.sh("git add -A && git commit -qm many").succeeds();
    let free = "stat -f -c '%a * %S' . | tr -d '\n'";
    workspace.sh(&format!("head -c $(($({free}) - 900000)) /dev/zero >../filler")).succeeds();
    let before = workspace.snapshot();
    lab.git("push agentvm::feature").fails(1).stderr_has("feature");
    assert_eq!(workspace.snapshot(), before);
    workspace.sh("rm ../filler").succeeds();
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(workspace.tip("HEAD"), app.tip("feature"));
    assert_eq!(workspace.read("only.txt"), "only\n");
}

struct Mounted(String);

impl Drop for Mounted {
    fn drop(&mut self) {
        std::process::Command::new("umount").args(["-l", &self.0]).status().ok();
    }
}

#[test]
fn killed_checkout_leaves_no_lock_that_stops_the_next_push() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace
        .sh("git config filter.deadly.smudge 'touch .git/HEAD.lock; kill -9 $PPID'")
        .succeeds();
    let app = lab.app();
    app.git("checkout -q feature").succeeds();
    app.write(".gitattributes", "*.dead filter=deadly\n");
    app.write("a.txt", "a\n");
    app.write("b.dead", "b\n");
    lab.sh("git add -A && git commit -qm deadly").succeeds();
    let before = workspace.tip("HEAD");
    lab.git("push agentvm::feature").fails(1);
    assert_eq!(workspace.tip("HEAD"), before);
    assert_eq!(workspace.status(), "");
    workspace.sh("git config --unset filter.deadly.smudge").succeeds();
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(workspace.tip("HEAD"), app.tip("feature"));
    assert_eq!(workspace.status(), "");
}

/// The hook dies while it looks at flagged files, and git then ends with 0 all the same.
#[test]
fn lists_of_a_killed_hook_are_gone_when_the_push_ends() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.app().commit_on("feature", "feature.txt", "two\n");
    let deadly = "git update-index --assume-unchanged feature.txt
        sed -i 's/./x/' feature.txt
        git config filter.deadly.clean 'kill -9 $(ps -o ppid= -p $PPID); cat'
        echo 'feature.txt filter=deadly' >.git/info/attributes";
    workspace.sh(deadly).succeeds();
    lab.git("push agentvm::feature").fails(1).stderr_has("signal 9");
    workspace.sh("grep -q ^x feature.txt && ! ls -d .git/agentvm-[bp][ae]*").succeeds();
}

/// Git has found z.txt unchanged, and is about to replace it, when an agent appends to it.
#[test]
fn what_is_written_to_a_file_that_is_being_replaced_is_kept() {
    let lab = Lab::new();
    let app = lab.app();
    app.commit_on("feature", "z.txt", "one\n");
    app.commit_on("feature", ".gitattributes", "a.txt filter=agent\n");
    app.commit_on("feature", "a.txt", "one\n");
    let workspace = lab.pushed_feature();
    let append = "git config filter.agent.smudge 'echo precious >>z.txt; sleep 0.1; cat'";
    workspace.sh(append).succeeds();
    app.commit_on("feature", "z.txt", "two\n");
    let tip = app.commit_on("feature", "a.txt", "two\n");
    lab.git("push agentvm::feature")
        .succeeds()
        .stderr_has("files were written to while the push replaced them")
        .stderr_has("warning:   z.txt");
    assert_eq!(workspace.tip("HEAD"), tip);
    assert_eq!(workspace.read("z.txt"), "two\n");
    let rescued = workspace.git("for-each-ref --format=%(refname) refs/rescue").succeeds().text();
    let rescued = rescued.trim();
    assert_eq!(
        workspace.git(["show", &format!("{rescued}:z.txt")]).succeeds().text(),
        "one\nprecious"
    );
    workspace.sh("! [ -e .git/agentvm-before ]").succeeds();

    // Without such a thing, there is nothing to say.
    workspace.sh("git config filter.agent.smudge cat").succeeds();
    app.commit_on("feature", "z.txt", "three\n");
    lab.git("push agentvm::feature").succeeds().stderr_lacks("rescue");
    // And where the push is refused, nothing stays either.
    workspace.write("z.txt", "agent\n");
    app.commit_on("feature", "z.txt", "four\n");
    lab.git("push agentvm::feature").fails(1);
    workspace.sh("! [ -e .git/agentvm-before ]").succeeds();
    assert_eq!(workspace.read("z.txt"), "agent\n");
}
