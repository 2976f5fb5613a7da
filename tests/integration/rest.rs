//! After a rest, when the host slept or the VM was paused, the shared connection is not what it was;
//! and in the course of time a disk fills.

use git_agent_vm::clock;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::Lab;

/// Every way to open a session, as words for git.
const COMMANDS: [&str; 5] = [
    "fetch agentvm::feature",
    "push agentvm::feature",
    "agent-vm status",
    "agent-vm connect feature -- true",
    "agent-vm push feature",
];
/// Two to notice it, and what a command takes on a busy machine.
const SECONDS: u64 = 5;

/// Our ssh masters, but for those that a test has stopped.
fn masters(lab: &Lab, stopped: &[Pid]) -> Vec<Pid> {
    let lines = lab.host_processes().into_iter().filter(|line| line.contains("[mux]"));
    let pids = lines.filter_map(|line| Pid::from_raw(line.split(' ').next()?.parse().ok()?));
    pids.filter(|pid| !stopped.contains(pid)).collect()
}

#[test]
fn master_that_hangs_is_replaced_within_seconds() {
    let lab = Lab::new();
    lab.pushed_feature();
    let mut stopped = Vec::new();
    for command in COMMANDS {
        let found = masters(&lab, &stopped);
        assert_eq!(found.len(), 1, "{command}");
        kill_process(found[0], Signal::STOP).unwrap();
        stopped.extend(&found);
        lab.git(command).succeeds().took_under_seconds(SECONDS).stderr_lacks("mux");
        assert_eq!(masters(&lab, &stopped).len(), 1, "{command}");
    }
    for pid in stopped {
        kill_process(pid, Signal::KILL).unwrap();
    }
}

#[test]
fn peer_that_does_not_answer_any_more_is_left_within_seconds() {
    let lab = Lab::new();
    lab.pushed_feature();
    let mut mute: Vec<String> = Vec::new();
    for command in COMMANDS {
        let session = "p=$$; until case $(cat /proc/$p/comm) in sshd*) ;; *) false ;; esac; do
            p=$(ps -o ppid= -p $p | tr -d ' '); done; echo $p";
        let server = lab.agent_vm(["connect", "--", "sh", "-c", session]).succeeds().text();
        assert!(!mute.contains(&server), "{command}: {server}");
        lab.guest_kill("STOP", std::slice::from_ref(&server));
        mute.push(server);
        lab.git(command).succeeds().took_under_seconds(SECONDS).stderr_lacks("mux");
    }
    lab.guest_kill("KILL", &mute);
}

#[test]
fn session_that_was_given_up_does_nothing() {
    let lab = Lab::new();
    lab.pushed_feature();
    lab.app().commit_on("feature", "two.txt", "two\n");
    // The first one's connection stands still when the guest program has begun.
    lab.guest_fake(
        "date",
        "if [ \"$*\" = +%s ] && mkdir ~/first 2>/dev/null; then
             p=$$; until case $(cat /proc/$p/comm) in sshd*) ;; *) false ;; esac; do
                 p=$(ps -o ppid= -p $p | tr -d ' '); done
             kill -STOP $p && echo $p >~/still
         fi
         PATH=${PATH#*:} exec date \"$@\"",
    );
    lab.guest_fake(
        "git",
        "case $* in *receive-pack*) echo x >>~/ran ;; esac; PATH=${PATH#*:} exec git \"$@\"",
    );
    lab.git("push agentvm::feature").succeeds();
    let still = lab.guest_sh("cat still").succeeds().text();
    lab.guest_kill("CONT", &[still]);
    lab.wait_until("the first has ended", |lab| lab.guest_processes().is_empty());
    lab.guest_sh("cat ran").succeeds().stdout_is("x");
}

/// A disk with as many KiB free and in all.
fn disk(lab: &Lab, free: &str, all: &str) {
    let script = format!(
        "case $* in *%a*) echo {free} 1024 {all};; *) PATH=${{PATH#*:}} exec stat \"$@\";; esac"
    );
    lab.guest_fake("stat", &script);
}

#[test]
fn disk_that_fills_is_told_by_status_connect_and_push() {
    const HINT: &str = "hint: git agent-vm clean BRANCH, then git agent-vm restore --drop NAME";
    let warning = "warning: the disk of the host 'vm' is nearly full: 976.56 MiB is left\n";
    let lab = Lab::new();
    lab.pushed_feature();
    disk(&lab, "1000000", "11000000");
    let ran = lab.agent_vm("status").succeeds().stderr_has(HINT);
    ran.stdout_has("Its disk is nearly full: 976.56 MiB is left");
    lab.agent_vm("status --json").succeeds().stderr_lacks("full").json();
    lab.agent_vm("connect -- true").succeeds().stderr_has(warning).stderr_has(HINT);
    lab.agent_vm("connect feature -- true").succeeds().stderr_has(warning).stderr_has(HINT);
    for (count, command) in
        ["push agentvm::feature", "agent-vm push feature", "agent-vm connect feature -- true"]
            .iter()
            .enumerate()
    {
        lab.app().commit_on("feature", "count.txt", count.to_string());
        let ran = lab.git(*command).succeeds().stderr_has("nearly full: 976 MiB are left");
        assert_eq!(ran.errors().matches("warning:").count(), 1, "{ran}");
    }
    lab.git("fetch agentvm::feature").succeeds().stderr_lacks("full");
}

#[test]
fn disk_with_room_is_not_told() {
    let lab = Lab::new();
    lab.pushed_feature();
    // An eighth; 6 GiB of a large one; more than there can be; none that makes sense.
    for (free, all) in [
        ("1000000", "8000000"),
        ("6291456", "1000000000"),
        ("9", "8"),
        ("x", "8000000"),
        ("-1", "8000000"),
        ("", ""),
    ] {
        disk(&lab, free, all);
        lab.agent_vm("status").succeeds().stdout_lacks("full").stderr_lacks("full");
        lab.agent_vm("connect -- true").succeeds().stderr_lacks("full");
        lab.app().commit_on("feature", "free.txt", format!("{free} {all}"));
        lab.git("push agentvm::feature").succeeds().stderr_lacks("full");
    }
}

#[test]
fn clock_is_right_only_where_the_guest_says_so_afterwards() {
    let lab = Lab::new();
    let guest = |script: &str| {
        let greeting = "nonce=$(printf %s \"$SSH_ORIGINAL_COMMAND\" | grep -oE ' [0-9a-f]{32} ')
            printf 'agentvm/1 %s %s\\n' ${nonce% } 1; read -r go; read -r now";
        lab.hostile_guest(&format!("{greeting}; {script}"));
        lab.library_guest()
    };
    let left = |script: &str| clock::mend(&guest(script), -21_600);
    assert!(left("printf 'time=%s\\0end=ok\\0' $now").abs() <= 2);
    let wrong = left("printf 'time=%s\\0end=ok\\0' $((now + 50))");
    assert!((48..=52).contains(&wrong), "{wrong}");
    for lie in ["time=soon\\0end=ok", "end=ok", "fail=failed date failed in the VM"] {
        assert_eq!(left(&format!("printf '{lie}\\0'")), -21_600, "{lie}");
    }
    // What is right is left alone.
    assert_eq!(clock::mend(&guest("exit 1"), 2), 2);
}
