//! Fetches and pushes whose processes are killed: what they leave, and what the next one finds.

use std::time::{Duration, Instant};

use crate::support::{Lab, Repo, Workspace};

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// `AGENTVM_TEST_ROUNDS` makes it thorough.
fn rounds() -> usize {
    let set = std::env::var("AGENTVM_TEST_ROUNDS").ok();
    set.and_then(|set| set.parse().ok()).unwrap_or(8)
}

const BIG: &str = "head -c 20000000 /dev/urandom >big && git add big && git commit -qm big";

/// Half-written objects, locks and directories that git or we left.
const LEFT: &str = "find \"$(git rev-parse --git-dir)\" ! -name agentvm.lock '(' -name 'tmp_*' -o \
    -name '*.lock' -o -name '.tmp*' ')'";

fn assert_clean(lab: &Lab, repo: &Repo<'_>) {
    repo.git("fsck --full --strict").succeeds().stderr_lacks("error");
    repo.git("count-objects -v").succeeds().stdout_has("garbage: 0");
    lab.host("sh", ["-c", LEFT]).in_dir(repo.path()).succeeds().stdout_is("");
}

fn assert_clean_workspace(workspace: &Workspace<'_>) {
    workspace.git("fsck --full").succeeds().stderr_lacks("error");
    workspace.git("count-objects -v").succeeds().stdout_has("garbage: 0");
    workspace.sh(LEFT).succeeds().stdout_is("");
    assert_eq!(workspace.status(), "");
}

/// The processes of a fetch on the host, the ssh that outlives it aside.
fn of_the_fetch(lab: &Lab) -> Vec<String> {
    let mut found = lab.host_processes();
    found.retain(|line| line.contains("git") && !line.contains("[mux]"));
    found
}

fn kill_host(lines: &[String]) {
    for line in lines {
        let pid = line.split(' ').next().and_then(|pid| pid.parse().ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
        }
    }
}

#[test]
fn killed_fetch_leaves_nothing_after_the_next() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh(BIG).succeeds();
    let app = lab.app();
    // What a killed gc leaves is git's own.
    app.git("config maintenance.auto false").succeeds();
    let started = Instant::now();
    lab.git("fetch -q agentvm::feature").succeeds();
    let length = usize::try_from(started.elapsed().as_millis()).unwrap();
    let mut dice = Dice(2024);
    let mut left = 0;
    for round in 0..rounds() {
        let tip = workspace.commit("small.txt", &format!("{round}\n"));
        // Everything comes again, whatever is here.
        // By index-pack or by unpack-objects.
        let limit = if round % 4 == 3 { 100 } else { 1 };
        let fetch = lab
            .git(&format!("-c fetch.unpackLimit={limit} fetch --refetch agentvm::feature"))
            .background();
        std::thread::sleep(Duration::from_millis(dice.below(length) as u64));
        let all = of_the_fetch(&lab);
        match dice.below(all.len() * 2 + 1) {
            which if which < all.len() => kill_host(&all[which..=which]),
            _ => kill_host(&all),
        }
        fetch.finish();
        lab.wait_until("what belongs to the fetch is gone", |lab| of_the_fetch(lab).is_empty());
        left += usize::from(lab.sh("ls -d .git/objects/tmp_objdir-*").run().code == 0);
        lab.git("fetch -q agentvm::feature").succeeds();
        assert_eq!(app.tip("FETCH_HEAD"), tip, "round {round}");
        assert!(app.refs("refs/agentvm/keep").contains(&tip), "round {round}");
        assert_clean(&lab, &app);
    }
    eprintln!("{left} of {} killed fetches left something for the next", rounds());
    lab.git("gc -q --prune=now").succeeds();
    assert_clean(&lab, &app);
}

#[test]
fn killed_push_leaves_nothing_after_the_next() {
    let lab = Lab::new();
    lab.git("checkout -q feature").succeeds();
    lab.sh(BIG).succeeds();
    let started = Instant::now();
    let workspace = lab.pushed_feature();
    let length = usize::try_from(started.elapsed().as_millis()).unwrap();
    let mut dice = Dice(7);
    let mut left = 0;
    for round in 0..rounds() {
        lab.forget_workspaces();
        let limit = if round % 4 == 3 { 100 } else { 1 };
        lab.guest_sh(&format!("git config --global receive.unpackLimit {limit}")).succeeds();
        let push = lab.git("push agentvm::feature").background();
        std::thread::sleep(Duration::from_millis(dice.below(length) as u64));
        let all = lab.guest_processes();
        match dice.below(all.len() * 2 + 1) {
            which if which < all.len() => lab.guest_kill("KILL", &all[which..=which]),
            _ => lab.guest_kill("KILL", &all),
        }
        push.finish();
        let objects = "ls -d workspace/app-feature/.git/objects/tmp_objdir-*";
        left += usize::from(lab.guest_sh(objects).run().code == 0);
        lab.wait_until("git in the guest is gone", |lab| {
            crate::push_cut_off::guest_pids(lab, "git").is_empty()
        });
        lab.git("push -q agentvm::feature").succeeds();
        assert_eq!(workspace.tip("HEAD"), lab.app().tip("feature"), "round {round}");
        assert_clean_workspace(&workspace);
    }
    eprintln!("{left} of {} killed pushes left something for the next", rounds());
}

#[test]
fn refused_fetch_leaves_none_of_its_objects() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let before = lab.git("count-objects -v").succeeds().text();
    let script = "blob=$(git rev-parse HEAD:README.md)
        tree=$(printf '100644 blob %s\\t.git\\n' $blob | git mktree)
        git update-ref refs/heads/feature $(git commit-tree -p HEAD -m evil $tree)";
    workspace.sh(script).succeeds();
    lab.git("fetch agentvm::feature").fails(128).stderr_has("nothing was changed");
    workspace.sh(&format!("git reset -q --hard HEAD~; {BIG}")).succeeds();
    lab.git("-c agentvm.fetchLimit=1MiB fetch agentvm::feature").fails(128);
    assert_eq!(lab.git("count-objects -v").succeeds().text(), before);
    assert_clean(&lab, &lab.app());
    lab.git("fetch agentvm::feature").succeeds();
}

#[test]
fn helper_that_is_killed_takes_its_transfer_along() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh(BIG).succeeds();
    // It stops in the middle, and would go on for ever.
    let script = "PATH=${PATH#*:}; case \"$*\" in *upload-pack*) ;; *) exec git \"$@\" ;; esac
        git \"$@\" | { dd bs=65536 count=80 2>/dev/null; sleep 300; }";
    lab.guest_fake("git", script);
    let fetch = lab.git("-c fetch.unpackLimit=1 fetch agentvm::feature").background();
    lab.wait_until("objects come", |lab| {
        lab.sh("ls .git/objects/tmp_objdir-agentvm-*/pack/tmp_pack_*").run().code == 0
    });
    let helper: Vec<String> = of_the_fetch(&lab)
        .into_iter()
        .filter(|line| line.contains("git-remote-agentvm agentvm::"))
        .collect();
    assert!(!helper.is_empty());
    kill_host(&helper);
    assert!(fetch.finish().code != 0);
    lab.wait_until("all of it is gone", |lab| of_the_fetch(lab).is_empty());
    let slow = crate::push_cut_off::guest_pids(&lab, "sleep 300");
    lab.guest_kill("KILL", &slow);
    lab.guest_sh("rm ../bin/git").succeeds();
    lab.git("fetch agentvm::feature").succeeds();
    assert_clean(&lab, &lab.app());
}

#[test]
fn objects_of_a_push_that_still_runs_are_left_alone() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("mkdir -p .git/objects/tmp_objdir-incoming-x/pack").succeeds();
    let there = || workspace.sh("ls .git/objects").succeeds().text().contains("tmp_objdir");
    // Whatever receives a push works in the repository itself.
    let live = workspace.sh("cd .git && exec git cat-file --batch").stdin("").background();
    drop(live);
    let live = workspace.sh("cd .git && sleep 99 | git cat-file --batch").background();
    lab.wait_until("git runs there", |lab| {
        !crate::push_cut_off::guest_pids(lab, "cat-file").is_empty()
    });
    lab.app().commit_on("feature", "a.txt", "a\n");
    lab.git("push -q agentvm::feature").succeeds();
    assert!(there());
    lab.guest_kill("KILL", &crate::push_cut_off::guest_pids(&lab, "cat-file"));
    lab.guest_kill("KILL", &crate::push_cut_off::guest_pids(&lab, "sleep 99"));
    live.finish();
    lab.git("push -q agentvm::feature").succeeds();
    assert!(!there());
}

#[test]
fn lock_that_a_killed_git_left_on_a_keep_ref_hinders_no_fetch() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.commit("a.txt", "a\n");
    lab.git("fetch -q agentvm::feature").succeeds();
    let name = lab.app().refs("refs/agentvm/keep").split_once(' ').unwrap().1.to_owned();
    let dir = name.rsplit_once('/').unwrap().0.to_owned();
    let tip = workspace.commit("b.txt", "b\n");
    // One on what is to be dropped, an old one and a young one on what is to be made.
    for (lock, age) in [(name.clone(), "now"), (format!("{dir}/{tip}"), "1 hour ago")] {
        lab.sh(&format!("touch -d '{age}' .git/{lock}.lock")).succeeds();
    }
    lab.git("fetch -q agentvm::feature").succeeds().took_under_seconds(8);
    assert!(lab.app().refs(&dir).contains(&tip));
    lab.sh(&format!("rm .git/{name}.lock")).succeeds();
    let next = workspace.commit("c.txt", "c\n");
    lab.sh(&format!("touch .git/{dir}/{next}.lock")).succeeds();
    lab.git("fetch -q agentvm::feature").succeeds();
    let kept = lab.app().refs(&dir);
    assert!(kept.contains(&next) && kept.lines().count() == 1, "{kept}");
    // And on our own record of it.
    let last = workspace.commit("d.txt", "d\n");
    lab.sh("touch -d '1 hour ago' \"$(echo .git/agentvm/seen/*)\".lock").succeeds();
    lab.git("fetch -q agentvm::feature").succeeds();
    assert!(lab.sh("cat .git/agentvm/seen/*").succeeds().text().starts_with(&last));
    assert_clean(&lab, &lab.app());
}

#[test]
fn fetch_verb_is_not_led_astray_by_another_fetch() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let app = lab.app();
    let wrong = app.commit_on("main", "wrong.txt", "wrong\n");
    // As an editor that fetches in the background, right after each fetch of ours.
    let real = lab.host("sh", ["-c", "command -v git"]).succeeds().text();
    let script = format!(
        "#!/bin/sh\n\"{real}\" \"$@\"\ncode=$?\ncase \" $* \" in *' fetch '*)\n\
         \"{real}\" -C '{}' fetch -q . {wrong} ;; esac\nexit $code\n",
        app.path().display()
    );
    let git = lab.path().join("bin/git");
    fs_err::write(&git, script).unwrap();
    lab.sh(&format!("chmod 755 '{}'", git.display())).succeeds();
    // git would look for git in a place of its own first.
    let fetch = || lab.host("git-agent-vm", "fetch feature").in_dir(app.path());
    let tip = workspace.commit("a.txt", "a\n");
    fetch().succeeds();
    assert_eq!(app.tip("feature"), tip);
    assert_eq!(app.tip("FETCH_HEAD"), wrong, "the race took place");
    lab.git("checkout -q feature").succeeds();
    let tip = workspace.commit("b.txt", "b\n");
    fetch().succeeds();
    assert_eq!((app.tip("feature"), app.has("wrong.txt")), (tip, false));
    // Both sides have commits of their own.
    app.commit("c.txt", "c\n");
    workspace.commit("d.txt", "d\n");
    lab.git("config pull.rebase true").succeeds();
    fetch().succeeds();
    assert!(app.has("c.txt") && app.has("d.txt") && !app.has("wrong.txt"));
    assert_eq!(app.tip("HEAD~"), workspace.tip("HEAD"));
    lab.git("config pull.rebase false").succeeds();
    workspace.commit("e.txt", "e\n");
    fetch().succeeds();
    assert!(app.has("c.txt") && app.has("e.txt") && !app.has("wrong.txt"));
    assert_eq!(app.tip("HEAD^2"), workspace.tip("HEAD"));
}

#[test]
fn connection_that_takes_nothing_is_given_up() {
    let lab = Lab::new();
    lab.pushed_feature();
    let many = "for i in $(seq 8000); do
            printf 'commit refs/many/%s\\ncommitter A <a@b> %s +0000\\ndata 1\\nx\\n' $i $i
        done | git fast-import --quiet";
    lab.sh(many).succeeds();
    // More than a pipe holds is sent to an ssh that greets and never reads.
    let script = "#!/bin/sh
        nonce=$(printf %s \"$*\" | grep -oE ' [0-9a-f]{32} ' | head -n 1 | tr -d ' ')
        printf 'agentvm/1 %s %s\\n' \"$nonce\" \"$(date +%s)\"
        exec sleep 1000\n";
    let ssh = lab.path().join("bin/ssh");
    fs_err::write(&ssh, script).unwrap();
    lab.sh(&format!("chmod 755 '{}'", ssh.display())).succeeds();
    for words in ["status", "clean feature"] {
        lab.agent_vm(words)
            .env("GIT_AGENT_VM_TIME_LIMIT", "1")
            .within_seconds(40)
            .fails(6)
            .stderr_has("it reads nothing for 1 s");
    }
}
