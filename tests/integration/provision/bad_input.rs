//! What is wrong in `common/` or in a setting is said before anything starts.

use git_agent_vm::provision::Name;

use super::machine::Machine;
use crate::support::Lab;

#[test]
fn bad_line_is_wrong_usage_with_its_file_and_line() {
    let lab = Lab::new();
    let common = lab.home().join("common");
    fs_err::create_dir_all(common.join("packages")).unwrap();
    lab.git_config("agentvm.common", common.to_str().unwrap());
    lab.git_config("agentvm.provider", "lima");
    for (list, bytes, message) in [
        ("apt-packages", &b"git\n\nno good\n"[..], "3: 'no good' is not a package: "),
        ("podman-packages", b"-y\n", "1: '-y' is not a package: "),
        ("npm-packages", b"# x\na@^1\n", "2: 'a@^1' is not an npm package: "),
        ("python-packages", b"uv>=1\n", "1: 'uv>=1' is not a Python package: "),
        ("versions", b"GO\n", "1: 'GO' is not NAME=VERSION"),
        ("apt-packages", b"git\r\njq\r\n", "1: the line ends with a carriage return; "),
        ("npm-packages", b"one\ntw\xe9\n", "2: this is not text in UTF-8"),
    ] {
        let path = common.join(format!("packages/{list}.txt"));
        fs_err::write(&path, bytes).unwrap();
        let message = format!("error: {}:{message}", path.display());
        lab.agent_vm("start").fails(2).stderr_has(&message);
        lab.agent_vm("provision").fails(2).stderr_has(&message);
        fs_err::remove_file(&path).unwrap();
    }
    fs_err::create_dir(common.join("scripts")).unwrap();
    fs_err::write(common.join("scripts/install-tools.sh"), b"#!/bin/sh\r\n").unwrap();
    lab.agent_vm("start").fails(2).stderr_has("install-tools.sh:1: the line ends with a carriage");
    assert!(!lab.home().join(".lima").exists());
}

#[test]
fn bad_setting_is_named() {
    let lab = Lab::new();
    lab.agent_vm("status").succeeds();
    for (key, value, rule) in [
        ("extras", "podmann", "it is 'none', or some of 'podman', 'docker' and 'nested'"),
        ("stageLimit", "soon", "it is a time such as 90s, 30m or 2h, at most a day"),
    ] {
        let lower = key.to_lowercase();
        lab.git(&format!("-c agentvm.{key}={value} agent-vm status"))
            .fails(2)
            .stderr_has(&format!("agentvm.{lower} in command line is '{value}': {rule}"));
    }
}

#[test]
fn stage_without_anything_to_do_is_named() {
    let lab = Lab::new();
    lab.git_config("agentvm.provider", "lima");
    lab.agent_vm("provision docker")
        .fails(2)
        .stderr_has("error: there is nothing for the stage docker to do")
        .stderr_has("hint: git config --global agentvm.extras 'docker' switches it on");
    lab.agent_vm("provision tools").fails(2).stderr_has("nothing for the stage tools to do");
    lab.agent_vm("provision nonsense").fails(2).stderr_has("possible values: home, system, apt");
}

#[test]
fn host_of_others_is_not_set_up() {
    let lab = Lab::new();
    let sessions = lab.ssh_sessions_of(|| {
        lab.agent_vm("provision").fails(2).stderr_has("the host is run by others");
    });
    assert_eq!(sessions, 0);
}

#[test]
fn disk_that_is_full_is_said() {
    let Some(machine) = Machine::new() else { return };
    machine.list("apt-packages", "git\n");
    // A file system without room in place of the one that holds the stamps.
    let script =
        "mount -t tmpfs -o size=4k,nr_inodes=3 tmpfs /var/lib; mkdir -p /var/lib/agentvm/stages";
    machine.lab.guest_command("tee", ["more"]).stdin(script).succeeds();
    let text = machine.fails(Name::Apt);
    assert!(text.ends_with("apt: cannot write to /var/lib/agentvm/stages in the VM"), "{text}");
    machine.lab.guest_command("rm", ["more"]).succeeds();
    machine.apply(Name::Apt);
}
