//! `git agent-vm mount`: what works through the mount, and how long it lives.

use std::path::PathBuf;
use std::time::Duration;

use crate::support::Lab;

/// A lab in which nothing keeps `start` and `connect` from mounting.
pub(crate) fn lab() -> Lab {
    let lab = Lab::new();
    lab.git("config --global --unset agentvm.mount").succeeds();
    lab
}

/// Where the workspaces are mounted.
pub(crate) fn place(lab: &Lab) -> PathBuf {
    lab.home().canonicalize().unwrap().join(".agent-vm-mounts/workspace")
}

pub(crate) fn state(lab: &Lab) -> String {
    let document = lab.agent_vm("status --json").run().json();
    document["mount"]["state"].as_str().unwrap_or("null").to_owned()
}

pub(crate) fn is_mounted(lab: &Lab) -> bool {
    lab.mounts().iter().any(|(path, _)| *path == place(lab))
}

/// A lab with the workspace of feature, mounted.
pub(crate) fn mounted() -> Lab {
    let lab = lab();
    lab.pushed_feature();
    lab.agent_vm("mount").succeeds().stderr_has(".agent-vm-mounts/workspace");
    assert!(is_mounted(&lab));
    lab
}

/// Process ids of this lab's programs on the host whose command line holds this text.
pub(crate) fn host_pids(lab: &Lab, text: &str) -> Vec<rustix::process::Pid> {
    let lines = lab.host_processes().into_iter().filter(|line| line.contains(text));
    lines
        .filter_map(|line| line.split(' ').next()?.parse().ok())
        .filter_map(rustix::process::Pid::from_raw)
        .collect()
}

pub(crate) fn host_kill(lab: &Lab, text: &str, signal: rustix::process::Signal) {
    let pids = host_pids(lab, text);
    assert!(!pids.is_empty(), "no {text} among {:#?}", lab.host_processes());
    for pid in pids {
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

#[test]
fn an_edit_through_the_mount_is_in_the_workspace() {
    let lab = mounted();
    let workspace = lab.workspace("app-feature");
    fs_err::write(place(&lab).join("app-feature/feature.txt"), "edited\n").unwrap();
    assert_eq!(workspace.read("feature.txt"), "edited\n");
    let document = lab.agent_vm("status --json").succeeds().json();
    assert_eq!(document["workspaces"][0]["changed"], 1, "{document:#}");
    assert_eq!(document["mount"]["state"], "mounted");
    assert_eq!(document["mount"]["path"], place(&lab).to_str().unwrap());
    assert_eq!(document["mount"]["read_only"], false);
    lab.agent_vm("status").succeeds().stdout_has(place(&lab).to_str().unwrap());
    workspace.write("agent.txt", "agent\n");
    lab.wait_until("the agent's file is seen", |lab| {
        fs_err::read_to_string(place(lab).join("app-feature/agent.txt"))
            .is_ok_and(|t| t == "agent\n")
    });
}

#[test]
fn what_editors_do_works() {
    let lab = mounted();
    let script = "set -e; echo one >a; echo two >b; mv b a; test \"$(cat a)\" = two; chmod 755 a
        touch -d 2020-01-01 a; mkdir d; mv a d/a; flock d/a true; ln -s feature.txt link
        test \"$(cat link)\" = one; rm -r d link; python3 -c '
import mmap
f = open(\"feature.txt\", \"r+b\"); m = mmap.mmap(f.fileno(), 0); m[0:1] = b\"O\"; m.flush()'";
    lab.host("sh", ["-c", script]).in_dir(place(&lab).join("app-feature")).succeeds();
    assert_eq!(lab.workspace("app-feature").read("feature.txt"), "One\n");
}

#[test]
fn mounting_twice_is_one_mount() {
    // osxfuse/sshfs#71
    let lab = mounted();
    lab.agent_vm("mount").succeeds().stderr_has("mounted already");
    lab.agent_vm("unmount").succeeds();
    let two = [lab.agent_vm("mount").background(), lab.agent_vm("mount").background()];
    for one in two {
        let ran = one.finish();
        assert_eq!(ran.code, 0, "{ran}");
    }
    assert_eq!(lab.mounts().len(), 1, "{:#?}", lab.mounts());
    assert_eq!(host_pids(&lab, "sshfs -f").len(), 1);
}

#[test]
fn unmounting_leaves_nothing() {
    let lab = mounted();
    lab.agent_vm("unmount").succeeds().stderr_has("unmounted");
    assert!(!is_mounted(&lab));
    assert!(!place(&lab).exists());
    assert_eq!(host_pids(&lab, "sshfs"), []);
    assert_eq!(lab.workspace("app-feature").read("feature.txt"), "one\n");
    lab.agent_vm("unmount").succeeds().stderr_has("not mounted");
    assert_eq!(state(&lab), "none");
}

#[test]
fn a_mount_that_cannot_be_written_to() {
    let lab = lab();
    lab.pushed_feature();
    lab.agent_vm("mount --read-only").succeeds();
    let file = place(&lab).join("app-feature/feature.txt");
    assert_eq!(fs_err::read_to_string(&file).unwrap(), "one\n");
    let error = fs_err::write(&file, "x").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    lab.agent_vm("status").succeeds().stdout_has("read-only");
    lab.agent_vm("unmount").succeeds();
    lab.git_config("agentvm.mount", "ro");
    lab.agent_vm("connect feature -- true").succeeds();
    assert!(fs_err::write(&file, "x").is_err());
    lab.agent_vm("unmount").succeeds();
    lab.git_config("agentvm.mount", "true");
    lab.agent_vm("mount").succeeds();
    lab.agent_vm("mount --read-only").fails(1).stderr_has("git agent-vm unmount");
}

#[test]
fn connect_and_start_mount_unless_told_not_to() {
    let lab = lab();
    lab.git_config("agentvm.mount", "false");
    lab.agent_vm("connect feature -- true").succeeds();
    assert!(!is_mounted(&lab));
    lab.git_config("agentvm.mount", "true");
    lab.agent_vm("connect feature -- true").succeeds().stderr_has(".agent-vm-mounts/workspace");
    assert!(is_mounted(&lab));
    // No program is run for a mount that is there.
    let before = lab.trace().len();
    lab.agent_vm("connect feature -- true").succeeds().stderr_lacks("mounts");
    let sshfs = lab.trace()[before..].iter().any(|line| line.contains("sshfs"));
    assert!(!sshfs, "{:#?}", lab.trace());
    lab.git_config("agentvm.mount", "maybe");
    lab.agent_vm("status").fails(2).stderr_has("'true', 'false' or 'ro'");
}

#[test]
fn cleaning_keeps_the_mount() {
    let lab = mounted();
    lab.agent_vm("clean feature").succeeds();
    assert!(is_mounted(&lab));
    lab.wait_until("the workspace is gone from the mount", |lab| {
        !place(lab).join("app-feature").exists()
    });
    lab.git("push -q agentvm::feature").succeeds();
    lab.wait_until("the workspace is in the mount again", |lab| {
        place(lab).join("app-feature/feature.txt").exists()
    });
}

#[test]
fn the_users_ssh_configuration_has_no_say() {
    // osxfuse/sshfs#63
    let lab = lab();
    let ssh = lab.home().join(".ssh");
    fs_err::create_dir(&ssh).unwrap();
    let hostile =
        "Host *\n RequestTTY force\n RemoteCommand tmux\n SessionType none\n ProxyCommand false\n";
    fs_err::write(ssh.join("config"), hostile).unwrap();
    let config = lab.path().join("ssh/config");
    let ours = fs_err::read_to_string(&config).unwrap();
    fs_err::write(&config, ours + hostile.replace(" ProxyCommand false\n", "").as_str()).unwrap();
    lab.pushed_feature();
    lab.agent_vm("mount").succeeds();
    assert!(place(&lab).join("app-feature/feature.txt").exists());
    lab.agent_vm("connect -- true").succeeds();
    lab.git("fetch agentvm::feature").succeeds();
}

#[test]
fn login_files_may_print() {
    // lablup/backend.ai#11772
    let lab = lab();
    let noise = "mkdir -p .ssh; for file in .bashrc .zshenv .profile .bash_profile .ssh/rc
        do echo 'echo HELLO' >\"$file\"; done";
    lab.guest_sh(noise).succeeds();
    lab.git("push agentvm::feature").succeeds();
    lab.git("fetch agentvm::feature").succeeds();
    lab.agent_vm("status").succeeds();
    lab.agent_vm("mount").succeeds();
    assert!(place(&lab).join("app-feature/feature.txt").exists());
}

#[test]
fn any_name_of_a_home_directory_will_do() {
    // okteto/okteto#1101
    for home in
        ["a b", "it's", "100%h", "#x", "é", "\"q\"", "a,b", "back\\slash", "tab\there", "$x"]
    {
        let lab = Lab::with_home(home);
        lab.make_app().enrol("feature");
        lab.pushed_feature();
        lab.agent_vm("mount").succeeds();
        assert!(place(&lab).join("app-feature/feature.txt").exists(), "{home}");
        lab.agent_vm("unmount").succeeds();
        assert!(!place(&lab).exists(), "{home}");
    }
}

#[test]
fn files_that_a_desktop_strews_about_do_not_stop_a_push() {
    // libfuse/sshfs#108
    let lab = mounted();
    for name in [".DS_Store", "._feature.txt", ".directory"] {
        fs_err::write(place(&lab).join("app-feature").join(name), "x").unwrap();
    }
    lab.app().commit_on("feature", "more.txt", "more\n");
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(lab.workspace("app-feature").read("more.txt"), "more\n");
}

#[test]
fn the_mount_takes_no_secret_along_and_keeps_no_stream_open() {
    let lab = lab();
    lab.pushed_feature();
    // `Run` fails where a process that is left behind holds the streams.
    lab.agent_vm("mount").env("API_KEY", "secret").succeeds().took_under_seconds(20);
    for pid in host_pids(&lab, "sshfs").into_iter().chain(host_pids(&lab, "sftp")) {
        let path = format!("/proc/{}/environ", pid.as_raw_nonzero());
        let environ = fs_err::read(path).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&environ).contains("secret"));
    }
    std::thread::sleep(Duration::from_millis(200));
    assert!(is_mounted(&lab), "it lives on without the command that made it");
}
