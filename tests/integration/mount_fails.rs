//! What a hostile, lost or hanging VM, and a host that is not fit, do to the mount.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::doctor::fake;
use crate::mount::{host_kill, host_pids, is_mounted, lab, mounted, place, state};
use crate::support::Lab;

/// A mount whose server in the guest can be found again: it hides from those who look for a mark.
pub(crate) fn mounted_with_known_server(seconds: &str) -> Lab {
    let lab = lab();
    lab.pushed_feature();
    let script = "echo $$ >\"$HOME/server\"; exec /usr/lib/openssh/sftp-server";
    lab.guest_fake("sftp-server", script);
    lab.agent_vm("mount").env("GIT_AGENT_VM_TIME_LIMIT", seconds).succeeds();
    lab
}

pub(crate) fn signal_server(lab: &Lab, signal: &str) {
    lab.guest_sh(&format!("kill -s {signal} \"$(cat server)\"")).succeeds();
}

/// Mounts the guest's home there, as a user might by hand.
fn plain_sshfs(lab: &Lab, dir: &Path) {
    let config = lab.path().join("ssh/config");
    let script = "exec sshfs -F \"$1\" vm: \"$2\" >/dev/null 2>&1";
    let words = [config.to_str().unwrap(), dir.to_str().unwrap()];
    lab.host("sh", ["-c", script, "sh", words[0], words[1]]).succeeds();
}

#[test]
fn sshfs_that_says_yes_and_mounts_nothing_is_a_failure() {
    // libfuse/sshfs#183
    let lab = lab();
    fake(&lab, "sshfs", "case $1 in --help) echo contain_symlinks passive ;; esac; exit 0");
    lab.agent_vm("mount").fails(1).stderr_has("cannot mount");
    assert!(!is_mounted(&lab));
    assert_eq!(fs_err::read_dir(place(&lab)).unwrap().count(), 0);
    assert_eq!(host_pids(&lab, "sftp"), []);
}

#[test]
fn interrupt_while_mounting_leaves_no_broken_mount() {
    // libfuse/sshfs#122
    let lab = lab();
    lab.pushed_feature();
    lab.guest_fake("sftp-server", "echo $$ >\"$HOME/server\"; kill -STOP $$");
    let mount = lab.agent_vm("mount").background();
    lab.wait_until("sshfs waits", |lab| !host_pids(lab, "sshfs -f").is_empty());
    std::thread::sleep(Duration::from_millis(500));
    mount.signal(Signal::INT);
    let ran = mount.finish();
    assert_eq!(ran.code, 130, "{ran}");
    lab.wait_until("the keeper has ended", |lab| host_pids(lab, "keep-mount").is_empty());
    signal_server(&lab, "KILL");
    assert!(!is_mounted(&lab));
    assert_eq!(fs_err::read_dir(place(&lab)).unwrap().count(), 0);
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let lab = lab();
    lab.pushed_feature();
    lab.guest_fake("sftp-server", "exec sleep 1000");
    let ran = lab.agent_vm("mount").env("GIT_AGENT_VM_TIME_LIMIT", "2").run();
    assert!(matches!(ran.code, 1 | 6), "{ran}");
    let ran = ran.took_under_seconds(15);
    ran.stderr_has("cannot mount");
    assert!(!is_mounted(&lab));
    lab.guest_sh("rm \"$HOME/../bin/sftp-server\"").succeeds();
    lab.agent_vm("mount").succeeds();
}

#[test]
fn no_command_of_ours_hangs_with_the_mount() {
    // libfuse/sshfs#223
    let lab = mounted_with_known_server("60");
    signal_server(&lab, "STOP");
    let session = "kill -s STOP \"$(ps -o ppid= -p \"$(cat server)\" | tr -d ' ')\"";
    lab.guest_sh(session).succeeds();
    let mut stuck = lab.host("sh", ["-c", "exec stat -f .agent-vm-mounts/workspace"]).background();
    std::thread::sleep(Duration::from_millis(300));
    for verb in ["status", "status --json", "clean feature", "completions bash", "mount"] {
        lab.agent_vm(verb).succeeds().took_under_seconds(15);
    }
    lab.agent_vm("stop").fails(1).took_under_seconds(15);
    lab.agent_vm("connect -- true").succeeds().took_under_seconds(15);
    assert!(stuck.is_running(), "the mount does not hang");
    lab.agent_vm("unmount --force").succeeds().took_under_seconds(15);
    assert!(!is_mounted(&lab));
    // Whoever waited was given an error.
    let ran = stuck.finish();
    assert_ne!(ran.code, 0, "{ran}");
    signal_server(&lab, "KILL");
}

#[test]
fn a_hang_is_ended_by_our_own_limit() {
    let lab = mounted_with_known_server("2");
    // Idle for longer than the limit is no hang.
    std::thread::sleep(Duration::from_secs(3));
    assert!(is_mounted(&lab));
    signal_server(&lab, "STOP");
    let script = "stat -f .agent-vm-mounts/workspace; cat .agent-vm-mounts/workspace/app-feature/feature.txt";
    let ran = lab.host("sh", ["-c", script]).run().took_under_seconds(15);
    assert_ne!(ran.code, 0, "{ran}");
    lab.wait_until("the mount is gone", |lab| !is_mounted(lab));
    signal_server(&lab, "KILL");
    lab.agent_vm("mount").succeeds();
    assert!(place(&lab).join("app-feature/feature.txt").exists());
}

#[test]
fn whatever_is_killed_the_next_mount_mends_it() {
    let lab = mounted();
    for killed in ["sshfs -f", "--keep-mount", "ssh -F"] {
        host_kill(&lab, killed, Signal::KILL);
        lab.wait_until("all of it has ended", |lab| host_pids(lab, "sshfs -f").is_empty());
        lab.agent_vm("connect feature -- true").succeeds();
        assert_eq!(state(&lab), "mounted", "{killed}");
        let file = place(&lab).join("app-feature/feature.txt");
        assert_eq!(fs_err::read_to_string(file).unwrap(), "one\n", "{killed}");
    }
}

#[test]
fn a_dead_mount_is_shown_and_mended() {
    let lab = mounted();
    // All at once: nobody is left to unmount.
    let pids: Vec<String> = ["--keep-mount", "sshfs -f"]
        .iter()
        .flat_map(|text| host_pids(&lab, text))
        .map(|pid| pid.as_raw_nonzero().to_string())
        .collect();
    lab.host("sh", ["-c", &format!("kill -STOP {0}; kill -KILL {0}", pids.join(" "))]).succeeds();
    lab.wait_until("they are gone", |lab| host_pids(lab, "sshfs -f").is_empty());
    assert!(is_mounted(&lab), "a mount without a server stays in the table");
    assert_eq!(state(&lab), "dead");
    lab.agent_vm("status").succeeds().stdout_has("git agent-vm mount mends it");
    lab.agent_vm("mount").succeeds();
    assert_eq!(state(&lab), "mounted");
    assert!(place(&lab).join("app-feature/feature.txt").exists());
}

#[test]
fn a_mount_whose_vm_went_away_comes_back_with_it() {
    let lab = mounted();
    lab.stop_sshd();
    lab.wait_until("the mount is gone", |lab| !is_mounted(lab));
    lab.start_sshd();
    lab.agent_vm("connect feature -- true").succeeds();
    assert_eq!(state(&lab), "mounted");
    assert!(place(&lab).join("app-feature/feature.txt").exists());
}

#[test]
fn whoever_uses_the_mount_is_named() {
    let lab = mounted();
    let user = lab.host("sleep", "50").in_dir(place(&lab).join("app-feature")).background();
    let named = format!("sleep (process {})", user.pid().as_raw_nonzero());
    lab.wait_until("it sleeps there", |lab| host_pids(lab, "sleep 50").contains(&user.pid()));
    lab.agent_vm("unmount")
        .fails(1)
        .stderr_has(&named)
        .stderr_has("git agent-vm unmount --force")
        .took_under_seconds(15);
    assert_eq!(state(&lab), "mounted");
    // From inside, we ourselves are not in our way, but the one who called us is.
    lab.agent_vm("unmount --force").succeeds().stderr_has(&named);
    assert!(!is_mounted(&lab));
    user.signal(Signal::KILL);
    user.finish();
    assert_eq!(lab.workspace("app-feature").read("feature.txt"), "one\n");
}

#[test]
fn git_on_the_host_runs_nothing_that_the_vm_planted() {
    let lab = mounted();
    let canary = lab.path().join("canary");
    let agent = lab.workspace("app-feature");
    let plant = format!(
        "git config core.fsmonitor 'touch {0}'; git config alias.st '!touch {0}'
         git config diff.external 'touch {0}'; git config core.sshCommand 'touch {0}'
         mkdir ../elsewhere; cd ../elsewhere; echo 'gitdir: ../app-feature/.git' >.git",
        canary.display()
    );
    agent.sh(&plant).succeeds();
    for dir in ["app-feature", "elsewhere"] {
        for command in ["status", "log -1", "st", "fetch ssh://x/y"] {
            let ran = lab.host("git", command).in_dir(place(&lab).join(dir)).run();
            assert_ne!(ran.code, 0, "{ran}");
            // An alias is looked for without a word; there is none that git believes.
            let word = if command == "st" { "not a git command" } else { "dubious ownership" };
            ran.stderr_has(word);
        }
    }
    assert!(!canary.exists());
}

#[test]
fn links_do_not_lead_out_of_the_mount() {
    let lab = mounted();
    let secret = lab.home().join("secret");
    fs_err::write(&secret, "secret\n").unwrap();
    let agent = lab.workspace("app-feature");
    let up = "../".repeat(20);
    agent
        .sh(&format!("ln -s '{0}' absolute; ln -s '{up}{0}' relative", secret.display()))
        .succeeds();
    for name in ["absolute", "relative"] {
        let link = place(&lab).join("app-feature").join(name);
        assert!(fs_err::read(&link).is_err(), "{name}");
        assert!(fs_err::write(&link, "overwritten").is_err(), "{name}");
    }
    assert_eq!(fs_err::read_to_string(&secret).unwrap(), "secret\n");
}

#[test]
fn nothing_in_the_mount_is_executed() {
    let lab = mounted();
    let agent = lab.workspace("app-feature");
    agent.sh("printf '#!/bin/sh\\ntouch ran\\n' >run; chmod 755 run").succeeds();
    lab.host("sh", ["-c", "exec ./run"]).in_dir(place(&lab).join("app-feature")).fails(126);
    let options = lab.mounts().pop().unwrap().1;
    for option in ["nosuid", "nodev", "noexec"] {
        assert!(options.contains(option), "{options}");
    }
    assert!(!options.contains("allow_other") && !options.contains("default_permissions"));
}

#[test]
fn trust_in_every_owner_keeps_the_mount_away() {
    let lab = lab();
    lab.pushed_feature();
    lab.git("-c safe.directory=* agent-vm mount").fails(1).stderr_has("safe.directory=*");
    lab.agent_vm("mount")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .fails(1)
        .stderr_has("safe.directory=*");
    let one = place(&lab).join("app-feature");
    lab.git(["-c", &format!("safe.directory={}", one.display()), "agent-vm", "mount"]).fails(1);
    // What a repository says of itself does not count.
    lab.git("config safe.directory *").succeeds();
    lab.git_config("safe.directory", "*");
    let ran = lab.agent_vm("mount").fails(1);
    ran.stderr_has("would run on this machine").stderr_has("--unset-all safe.directory");
    assert!(!is_mounted(&lab));
    // It is a warning for whoever wants something else, and only the first time.
    lab.agent_vm("connect feature -- true")
        .succeeds()
        .stderr_has("warning: the workspaces are not");
    lab.agent_vm("connect feature -- true").succeeds().stderr_lacks("warning");
    lab.host("git", ["config", "--global", "--unset-all", "safe.directory", r"\*"]).succeeds();
    lab.agent_vm("mount").succeeds();
}

#[test]
fn a_directory_with_something_in_it_is_not_hidden() {
    let lab = lab();
    fs_err::create_dir_all(place(&lab)).unwrap();
    fs_err::write(place(&lab).join("mine"), "x").unwrap();
    lab.agent_vm("mount").fails(1).stderr_has("is not empty");
    assert!(place(&lab).join("mine").exists());
    assert!(!is_mounted(&lab));
}

#[test]
fn a_link_in_the_way_is_refused_and_one_above_is_followed() {
    // osxfuse/sshfs#71
    let lab = lab();
    lab.pushed_feature();
    let elsewhere = lab.home().join("elsewhere");
    fs_err::create_dir(&elsewhere).unwrap();
    fs_err::create_dir(lab.home().join(".agent-vm-mounts")).unwrap();
    symlink(&elsewhere, place(&lab)).unwrap();
    lab.agent_vm("mount").fails(1).stderr_has("is a symbolic link");
    assert!(lab.mounts().is_empty());
    fs_err::remove_file(place(&lab)).unwrap();
    fs_err::remove_dir(lab.home().join(".agent-vm-mounts")).unwrap();
    symlink(&elsewhere, lab.home().join(".agent-vm-mounts")).unwrap();
    lab.agent_vm("mount").succeeds();
    assert!(elsewhere.join("workspace/app-feature/feature.txt").exists());
    lab.agent_vm("mount").succeeds().stderr_has("already");
    lab.agent_vm("unmount").succeeds();
    assert!(lab.mounts().is_empty());
}

#[test]
fn a_mount_in_a_mount_is_refused_before_anything_is_made() {
    // osxfuse/sshfs#71
    let lab = lab();
    let outer = lab.home().join(".agent-vm-mounts");
    fs_err::create_dir(&outer).unwrap();
    plain_sshfs(&lab, &outer);
    lab.agent_vm("mount").fails(1).stderr_has("lies in another mount");
    lab.guest_sh("test ! -e workspace").succeeds();
    lab.host("fusermount3", ["-u", outer.to_str().unwrap()]).succeeds();
}

#[test]
fn sshfs_that_is_missing_or_cannot_contain_links_is_exit_code_5() {
    let lab = lab();
    lab.pushed_feature();
    fake(&lab, "sshfs", "echo '-o follow_symlinks -o passive'");
    lab.agent_vm("mount")
        .fails(5)
        .stderr_has("contain_symlinks")
        .stderr_has("apt-get install sshfs");
    let started = Instant::now();
    lab.agent_vm("connect feature -- true")
        .succeeds()
        .stderr_has("warning: the workspaces are not mounted")
        .stderr_has("git config --global agentvm.mount false");
    lab.agent_vm("connect feature -- true").succeeds().stderr_lacks("warning");
    assert!(started.elapsed() < Duration::from_secs(15));
    fs_err::remove_file(lab.path().join("bin/sshfs")).unwrap();
    let bare = lab.path().join("bare");
    fs_err::create_dir(&bare).unwrap();
    for program in ["ssh", "sh"] {
        let found = lab.host("sh", ["-c", &format!("command -v {program}")]).succeeds().text();
        symlink(found, bare.join(program)).unwrap();
    }
    for program in ["git", "git-agent-vm"] {
        let found = lab.host("sh", ["-c", &format!("command -v {program}")]).succeeds().text();
        symlink(found, bare.join(program)).unwrap();
    }
    let script = "PATH=\"$1\" exec git agent-vm mount";
    lab.host("sh", ["-c", script, "sh", bare.to_str().unwrap()])
        .in_dir(lab.app().path())
        .fails(5)
        .stderr_has("'sshfs' was not found");
}

#[test]
fn there_is_one_place_for_two_vms() {
    let lab = mounted();
    let user = lab.guest_sh("id -un").succeeds().text();
    let other = format!("agentvm.sshHost={user}@vm");
    let with_other = |verb: &str| {
        let words: Vec<_> = ["-c", &other, "agent-vm"].into_iter().chain(verb.split(' ')).collect();
        lab.git(words.iter().map(std::ffi::OsString::from).collect::<Vec<_>>())
    };
    assert_eq!(with_other("status --json").succeeds().json()["mount"]["state"], "other");
    with_other("mount").fails(1).stderr_has("the workspaces of 'ssh-vm' are mounted at");
    with_other("connect -- true").succeeds().stderr_has("warning: the workspaces are not mounted");
    assert_eq!(state(&lab), "mounted");
    with_other("unmount").succeeds();
    with_other("mount").succeeds();
    assert_eq!(state(&lab), "other");
}

#[test]
fn what_the_vm_says_does_not_fill_the_log() {
    let lab = lab();
    let script = "head -c 3000000 /dev/zero | tr '\\0' x >&2; exec /usr/lib/openssh/sftp-server";
    lab.guest_fake("sftp-server", script);
    lab.pushed_feature();
    lab.agent_vm("mount").succeeds();
    let log = lab.home().join(".local/state/git-agent-vm/mount/log");
    assert!(fs_err::metadata(log).unwrap().len() < 200_000);
}

#[test]
fn a_server_that_lacks_sftp_or_refuses_us_is_named() {
    let lab = lab();
    lab.pushed_feature();
    lab.guest_fake("mkdir", "exit 1");
    lab.agent_vm("mount").fails(1).stderr_has("cannot make ~/workspace");
    lab.stop_sshd();
    lab.agent_vm("mount").fails(1).stderr_has("host 'vm'");
    assert!(!is_mounted(&lab));
}

#[test]
fn what_others_mounted_there_is_left_alone() {
    let lab = lab();
    fs_err::create_dir_all(place(&lab)).unwrap();
    plain_sshfs(&lab, &place(&lab));
    assert_eq!(state(&lab), "foreign");
    for verb in ["mount", "unmount"] {
        lab.agent_vm(verb).fails(1).stderr_has("not by git-agent-vm");
    }
    assert!(is_mounted(&lab));
    lab.host("fusermount3", ["-u", place(&lab).to_str().unwrap()]).succeeds();
}
