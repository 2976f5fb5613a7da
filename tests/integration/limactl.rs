//! What a Lima that is missing, old, hanging or confused leads to: an error that names the next
//! step, and never a second VM in the place of one that has work in it.
//!
//! limactl is a script here, since the real one cannot be made to do these things on demand. It
//! writes its calls down; `real_vm` has the real one.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::Lab;

/// What limactl 2 says of a VM that it does not have.
const NO_INSTANCE: &str =
    "echo 'time=\"x\" level=warning msg=\"No instance matching agent-vm found.\"' >&2
echo 'time=\"x\" level=fatal msg=\"unmatched instances\"' >&2; exit 1";

/// A host whose limactl does this on `list`, and that on `create`.
fn lab(list: &str, create: &str) -> Lab {
    let lab = Lab::host_only("home");
    lab.make_app().enrol("feature");
    let calls = lab.path().join("limactl-calls");
    let script = format!(
        "#!/bin/sh\necho \"$*\" >>'{}'\ncase \"$*\" in\n*--version*) echo limactl version 2.2.0 ;;\n\
         *list*) {list}\n;;\n*create*) {create}\n;;\n*) exit 9 ;;\nesac\n",
        calls.display()
    );
    put_limactl(&lab, &script);
    lab
}

fn put_limactl(lab: &Lab, script: &str) {
    let path = lab.path().join("bin/limactl");
    fs_err::write(&path, script).unwrap();
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The record of a VM that was made on 2026-01-01.
fn remember_vm(lab: &Lab) {
    let dir = lab.home().join(".local/state/git-agent-vm/vm/agent-vm");
    fs_err::create_dir_all(&dir).unwrap();
    let record = serde_json::json!({"version": 1, "made": 1_767_225_600, "finished": true,
        "lima_home": lab.home().join(".lima")});
    fs_err::write(dir.join("record.json"), record.to_string()).unwrap();
    // A host key is pinned, if none that anybody has.
    fs_err::write(dir.join("known_hosts"), "").unwrap();
}

/// What limactl says of a VM with 2 processors, 4 GiB of memory and a disk of 20 GiB.
fn instance(status: &str) -> String {
    r#"echo '{"name":"agent-vm","status":"STATUS","dir":"'"$HOME"'/.lima/agent-vm","cpus":2,"memory":4294967296,"disk":21474836480,"config":{"plain":true,"user":{"name":"agent"},"param":{"hostKey":"eA=="}}}'"#
        .replace("STATUS", status)
}

fn calls(lab: &Lab) -> String {
    std::fs::read_to_string(lab.path().join("limactl-calls")).unwrap_or_default()
}

#[test]
fn a_list_that_forgets_the_vm_never_leads_to_a_second_one() {
    // docker/desktop-feedback#252
    let unreadable = r#"echo '{"name":"agent-vm","status":"","dir":"/x/agent-vm"}'"#;
    for list in ["exit 0", "echo boom >&2; exit 3", "echo '}'", NO_INSTANCE, unreadable] {
        let lab = lab(list, "exit 0");
        remember_vm(&lab);
        for verb in ["start", "connect feature", "push feature", "stop"] {
            lab.agent_vm(verb)
                .fails(1)
                .stderr_has("made on 2026-01-01 00:00 UTC in ")
                .stderr_has("git config --global agentvm.vm agent-vm-2");
        }
        lab.git("push agentvm::feature").fails(128).stderr_has("made on 2026-01-01");
        let calls = calls(&lab);
        assert!(calls.contains("list"), "{calls}");
        assert!(!calls.contains("create") && !calls.contains("start"), "{list}: {calls}");
    }
}

#[test]
fn another_lima_home_is_named_with_the_way_back() {
    let lab = lab(NO_INSTANCE, "exit 0");
    remember_vm(&lab);
    let ran = lab.agent_vm("start").env("LIMA_HOME", lab.path().join("elsewhere")).fails(1);
    let way_back = format!("export LIMA_HOME={}", lab.home().join(".lima").display());
    ran.stderr_has(&way_back);
    assert_eq!(calls(&lab), "");
}

#[test]
fn a_create_that_fails_leaves_nothing_that_blocks_the_next() {
    let create = "mkdir -p \"$HOME/.lima/agent-vm\"; echo 'time=\"x\" level=fatal msg=\"no space \
                  left\"' >&2; exit 1";
    let delete = "*delete*) rm -r \"$HOME/.lima/agent-vm\" ;;";
    let lab = lab(NO_INSTANCE, &format!("{create}\n;;\n{delete} *never*)"));
    lab.agent_vm("start").fails(1).stderr_has("no space left");
    assert!(!lab.home().join(".lima/agent-vm").exists());
    assert!(!lab.home().join(".local/state/git-agent-vm/vm/agent-vm").exists());
    lab.agent_vm("stop").fails(4).stderr_has("git agent-vm start makes it");
    lab.agent_vm("start").fails(1).stderr_has("no space left");
}

#[test]
fn nothing_of_our_environment_reaches_lima() {
    // lima-vm/lima#697
    let lab = lab("env >\"$HOME/seen\"; exit 0", "exit 0");
    lab.agent_vm("stop")
        .env("http_proxy", "http://127.0.0.1:9")
        .env("API_KEY", "secret")
        .env("SSH_AUTH_SOCK", "/x")
        .env("QEMU_SYSTEM_X86_64", "evil")
        .env("LIMA_SSH_PORT_FORWARDER", "true")
        .fails(4);
    let seen = fs_err::read_to_string(lab.home().join("seen")).unwrap();
    for name in ["http_proxy", "API_KEY", "SSH_AUTH_SOCK", "QEMU_SYSTEM", "LIMA_SSH", "GIT_"] {
        assert!(!seen.contains(name), "{seen}");
    }
    assert!(seen.contains("HOME="), "{seen}");
}

#[test]
fn a_limactl_that_hangs_is_given_up() {
    let lab = lab("exec sleep 50", "exit 0");
    lab.agent_vm("start")
        .env("GIT_AGENT_VM_TIME_LIMIT", "1")
        .fails(6)
        .stderr_has("limactl")
        .took_under_seconds(15);
}

#[test]
fn a_missing_or_old_lima_is_exit_code_5() {
    let lab = lab(NO_INSTANCE, "exit 0");
    put_limactl(&lab, "#!/bin/sh\necho limactl version 1.2.1\n");
    lab.agent_vm("start").fails(5).stderr_has("Lima 1.2 is too old").stderr_has("lima-vm.io");

    fs_err::remove_file(lab.path().join("bin/limactl")).unwrap();
    let bare = lab.path().join("bare");
    fs_err::create_dir(&bare).unwrap();
    for program in ["git", "setsid", "sh", "ssh"] {
        std::os::unix::fs::symlink(which::which(program).unwrap(), bare.join(program)).unwrap();
    }
    let path = format!("{}:{}", lab.path().join("bin").display(), bare.display());
    for verb in ["start", "stop"] {
        lab.agent_vm(verb).env("PATH", &path).fails(5).stderr_has("'limactl' was not found");
    }
}

#[test]
fn an_override_that_opens_the_host_is_refused_and_named() {
    let instance = r#"echo '{"name":"agent-vm","status":"Stopped","dir":"'"$HOME"'/.lima/agent-vm",
        "config":{"plain":true,"user":{"name":"agent"},"ssh":{"forwardAgent":true},"param":{"hostKey":"eA=="}}}' | tr -d '\n'; echo"#;
    let lab = lab(instance, "exit 0");
    remember_vm(&lab);
    let dir = lab.home().join(".lima/_config");
    fs_err::create_dir_all(&dir).unwrap();
    fs_err::write(dir.join("override.yaml"), "ssh:\n  forwardAgent: true\n").unwrap();
    lab.agent_vm("start")
        .fails(1)
        .stderr_has("forward your ssh agent")
        .stderr_has(dir.join("override.yaml").to_str().unwrap());
    assert!(!calls(&lab).contains("start"), "{}", calls(&lab));
}

#[test]
fn a_broken_vm_is_shown_with_what_can_be_done() {
    let said = "echo 'time=\"x\" level=warning msg=\"it has errors\" errors=\"[no disk]\"' >&2";
    let lab = lab(&format!("{said}; {}", instance("Broken")), "exit 0");
    remember_vm(&lab);
    lab.agent_vm("status")
        .succeeds()
        .stdout_has("broken: it was made on 2026-01-01 00:00 UTC in ")
        .stdout_has("no disk")
        .stderr_has("hint: git agent-vm start tries to mend it");
    lab.agent_vm("destroy").fails(3).stderr_has("no disk").stderr_has("destroy --force");
    for verb in ["start", "stop"] {
        lab.agent_vm(verb).fails(1).stderr_has("is broken").stderr_has("no disk");
    }

    // Its own file is damaged: nothing that is offered may be in vain.
    let lab = self::lab(r#"echo '{"name":"agent-vm","status":"","dir":"/x/agent-vm"}'"#, "exit 0");
    remember_vm(&lab);
    lab.agent_vm("status")
        .succeeds()
        .stdout_has("broken")
        .stderr_has("put /x/agent-vm/lima.yaml right")
        .stderr_lacks("tries to mend it");
    lab.agent_vm("destroy").fails(3).stderr_has("lima.yaml").stderr_lacks("tries to mend it");
}
