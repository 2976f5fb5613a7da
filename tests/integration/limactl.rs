//! What a Lima that is missing, old, hanging or confused leads to: an error that names the next
//! step, and never a second VM in the place of one that has work in it.
//!
//! limactl is a script here, since the real one cannot be made to do these things on demand. It
//! writes its calls down; `real_vm` has the real one.

use crate::support::Lab;

/// What limactl 2 says of a VM that it does not have.
pub(crate) const NO_INSTANCE: &str =
    "echo 'time=\"x\" level=warning msg=\"No instance matching agent-vm found.\"' >&2
echo 'time=\"x\" level=fatal msg=\"unmatched instances\"' >&2; exit 1";

/// A host whose limactl does this on `list`, and that on `create`.
pub(crate) fn lab(list: &str, create: &str) -> Lab {
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

pub(crate) fn put_limactl(lab: &Lab, script: &str) {
    lab.put_program("limactl", script);
}

/// The record of a VM that was made on 2026-01-01.
pub(crate) fn remember_vm(lab: &Lab) {
    let dir = lab.home().join(".local/state/git-agent-vm/vm/agent-vm");
    fs_err::create_dir_all(&dir).unwrap();
    let record = serde_json::json!({"version": 1, "made": 1_767_225_600, "finished": true,
        "lima_home": lab.home().join(".lima")});
    fs_err::write(dir.join("record.json"), record.to_string()).unwrap();
    // A host key is pinned, if none that anybody has.
    fs_err::write(dir.join("known_hosts"), "").unwrap();
}

/// What limactl says of a VM with 2 processors, 4 GiB of memory and a disk of 20 GiB.
pub(crate) fn instance(status: &str) -> String {
    r#"echo '{"name":"agent-vm","status":"STATUS","dir":"'"$HOME"'/.lima/agent-vm","cpus":2,"memory":4294967296,"disk":21474836480,"config":{"plain":true,"user":{"name":"agent"},"param":{"hostKey":"eA=="}}}'"#
        .replace("STATUS", status)
}

/// The files of a VM whose host agent is alive, with its ssh on this port of the loopback.
pub(crate) fn run_vm(lab: &Lab, port: u16) {
    let dir = lab.home().join(".lima/agent-vm");
    fs_err::create_dir_all(&dir).unwrap();
    fs_err::write(dir.join("ha.pid"), std::process::id().to_string()).unwrap();
    fs_err::write(dir.join("ssh.config"), format!("Host lima-agent-vm\n  Port {port}\n")).unwrap();
}

pub(crate) fn calls(lab: &Lab) -> String {
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
fn what_others_made_in_another_lima_home_is_not_destroyed() {
    let lab = lab("", "exit 0");
    let dir = lab.home().join(".lima/agent-vm");
    let list = format!(
        r#"echo '{{"name":"agent-vm","status":"Stopped","dir":"{}","config":{{}}}}'"#,
        dir.display()
    );
    let calls_file = lab.path().join("limactl-calls");
    put_limactl(&lab, &format!("#!/bin/sh\necho \"$*\" >>'{}'\n{list}\n", calls_file.display()));
    remember_vm(&lab);
    let record = lab.home().join(".local/state/git-agent-vm/vm/agent-vm/record.json");
    let text = std::fs::read_to_string(&record).unwrap().replace("/.lima", "/.lima-that-is-gone");
    fs_err::write(&record, text).unwrap();
    fs_err::create_dir_all(&dir).unwrap();
    fs_err::write(dir.join("disk"), "another's").unwrap();
    lab.agent_vm("destroy").fails(3);
    lab.agent_vm("destroy --force").fails(3).stderr_has("destroy --discard");
    lab.agent_vm("destroy --discard=agent-vm").succeeds().stderr_has("stays");
    assert!(dir.join("disk").exists());
    assert!(!calls(&lab).contains("delete"), "{}", calls(&lab));
    assert!(!record.exists());
}

#[test]
fn disk_that_limactl_does_not_know_is_never_cleared_for_a_new_vm() {
    let lab = lab(NO_INSTANCE, "exit 0");
    let dir = lab.home().join(".lima/agent-vm");
    fs_err::create_dir_all(&dir).unwrap();
    fs_err::write(dir.join("disk"), "work").unwrap();
    lab.agent_vm("start").fails(1).stderr_has("though there is");
    assert!(dir.join("disk").exists());
    assert!(!calls(&lab).contains("delete"), "{}", calls(&lab));
}

#[test]
fn an_override_that_mounts_the_host_is_refused_and_named() {
    let lab = lab(&instance("Stopped"), "exit 0");
    remember_vm(&lab);
    let dir = lab.home().join(".lima/_config");
    fs_err::create_dir_all(&dir).unwrap();
    let file = dir.join("default.yaml");
    fs_err::write(&file, "mounts:\n- location: \"~\"\n").unwrap();
    lab.agent_vm("start").fails(1).stderr_has("mounts").stderr_has(file.to_str().unwrap());
    assert!(!calls(&lab).contains("start"), "{}", calls(&lab));
}

#[test]
fn an_image_that_is_missing_or_altered_is_named_and_nothing_is_made() {
    let lab = lab(NO_INSTANCE, "exit 0");
    let image = lab.path().join("image");
    fs_err::create_dir(&image).unwrap();
    fs_err::write(image.join("disk.qcow2"), "altered").unwrap();
    let sums = format!("{}  disk.qcow2\n", "0".repeat(64));
    fs_err::write(image.join("SHA256SUMS"), sums).unwrap();
    let text = lab.path().join("page.qcow2");
    fs_err::write(&text, "<!DOCTYPE html>\n").unwrap();
    let cut = lab.path().join("cut.qcow2");
    fs_err::write(&cut, b"QFI\xfb\0\0\0\x03").unwrap();
    let pipe = lab.path().join("pipe");
    lab.host("mkfifo", [pipe.to_str().unwrap()]).succeeds();
    for (value, word) in [
        (text.to_str().unwrap(), "neither a disk in the format qcow2 nor one with a partition"),
        (cut.to_str().unwrap(), "its header is cut off"),
        (pipe.to_str().unwrap(), "it is no ordinary file"),
        ("/no/such/image.qcow2", "cannot read /no/such/image.qcow2"),
        (image.to_str().unwrap(), "disk.qcow2 is not what"),
        ("https://example.org/disk.qcow2", "a URL needs a digest"),
        ("disk.qcow2", "an absolute path"),
    ] {
        lab.git(["-c", &format!("agentvm.image={value}"), "agent-vm", "start"])
            .fails(2)
            .stderr_has(word)
            .stderr_has("hint: ");
    }
    assert!(!calls(&lab).contains("create"), "{}", calls(&lab));
    assert!(!lab.home().join(".local/state/git-agent-vm/vm/agent-vm").exists());
}

#[test]
fn a_stopped_vm_is_shown_as_it_is_and_left_so() {
    let lab = lab(&instance("Stopped"), "exit 0");
    remember_vm(&lab);
    lab.git(["config", "agentvm.id", &"a".repeat(32)]).succeeds();
    lab.agent_vm("status")
        .succeeds()
        .stdout_has("VM agent-vm: stopped, 2 CPUs, 4.00 GiB memory, 20.00 GiB disk")
        .stderr_has("git agent-vm start starts it");
    let status = lab.agent_vm("status --json").succeeds().json();
    assert_eq!(status["vm"]["status"], "stopped");
    assert!(status["workspaces"].is_null(), "{status:#}");
    lab.agent_vm("stop").succeeds().stderr_has("is stopped already");
    // Stopped by hand, so a fetch in the background does not start it.
    lab.git("fetch agentvm::feature").fails(128).stderr_has("hint: git agent-vm start starts it");
    for verb in ["fetch feature", "clean feature", "push feature"] {
        lab.git(&format!("-c agentvm.autoStart=false agent-vm {verb}"))
            .fails(1)
            .stderr_has("the VM 'agent-vm' is stopped")
            .stderr_has("hint: git agent-vm start starts it");
    }
    assert!(!calls(&lab).contains("start"), "{}", calls(&lab));
}

#[test]
fn a_vm_that_does_not_come_up_is_waited_for_until_the_limit() {
    let lab = lab(&instance("Running"), "exit 0");
    remember_vm(&lab);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    run_vm(&lab, closed);
    let status = lab.agent_vm("status --json").succeeds().json();
    assert_eq!(status["vm"]["status"], "starting");
    lab.agent_vm("start")
        .env("GIT_AGENT_VM_TIME_LIMIT", "1")
        .fails(6)
        .stderr_has("did not finish booting in 1 s")
        .stderr_has("hint: git agent-vm start waits on");
    lab.git("push agentvm::feature")
        .env("GIT_AGENT_VM_TIME_LIMIT", "1")
        .fails(128)
        .stderr_has("did not finish booting in 1 s");
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
    // It is tried to start it, to save what it holds.
    lab.agent_vm("destroy --force")
        .fails(3)
        .stderr_has("trying to start it")
        .stderr_has("so it stays")
        .stderr_has("destroy --discard");
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
    for verb in ["destroy", "destroy --force"] {
        lab.agent_vm(verb)
            .fails(3)
            .stderr_has("lima.yaml")
            .stderr_has("destroy --discard")
            .stderr_lacks("tries to mend it");
    }
    assert!(!calls(&lab).contains("delete") && !calls(&lab).contains("start"), "{}", calls(&lab));
}

#[test]
fn resources_of_a_vm_change_while_it_is_stopped() {
    let lab = lab(&instance("Stopped"), "exit 0\n;;\n*edit*) exit 0");
    lab.git_config("agentvm.accel", "tcg");
    remember_vm(&lab);
    lab.agent_vm("start --disk 10")
        .fails(2)
        .stderr_has("has 20.00 GiB and cannot shrink to 10.00 GiB")
        .stderr_has("hint: a smaller disk needs a new VM");
    assert!(!calls(&lab).contains("edit"), "{}", calls(&lab));
    // The start itself is more than this limactl can do.
    lab.agent_vm("start --cpus 4 --memory 4GiB --disk 30")
        .fails(1)
        .stderr_has("did not start")
        .stderr_has("hint: logs: ");
    let calls = calls(&lab);
    assert!(calls.contains("edit --cpus=4 --disk=30 agent-vm"), "{calls}");
}

#[test]
fn resources_of_a_running_vm_stay_and_the_way_to_change_them_is_said() {
    let lab = lab(&instance("Running"), "exit 0");
    remember_vm(&lab);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    run_vm(&lab, closed);
    lab.agent_vm("start --memory 6GiB --cpus 2")
        .env("GIT_AGENT_VM_TIME_LIMIT", "1")
        .fails(6)
        .stderr_has("runs with 2 cpus, 4.00 GiB memory, 20.00 GiB disk")
        .stderr_has("hint: git agent-vm stop && git agent-vm start --memory 6");
    assert!(!calls(&lab).contains("edit"), "{}", calls(&lab));
    // Each takes longer than all the rest of such a start.
    assert_eq!(calls(&lab).lines().filter(|line| line.contains("list")).count(), 1);
}

/// Whether the process of a line `PID COMMAND` has the VM's lock open.
fn has_lock_open(process: &str) -> bool {
    let pid = process.split(' ').next().unwrap_or_default();
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut targets = files.filter_map(|file| std::fs::read_link(file.path()).ok());
    targets.any(|target| target.ends_with("vm/agent-vm.lock"))
}

/// A limactl that knows the VM from the moment on that it has made it.
const LIST_WHAT_IS_MADE: &str =
    "test ! -e \"$HOME/.lima/agent-vm/made\" || exec cat \"$HOME/.lima/agent-vm/made\"";

#[test]
fn two_starts_at_once_make_one_vm_wherever_they_are_started() {
    // denoland/clawpatrol#670
    let create = format!(
        "until test -e \"$HOME/go\"; do sleep 0.05; done; mkdir -p \"$HOME/.lima/agent-vm\"
        {} >\"$HOME/.lima/agent-vm/made\"",
        instance("Stopped")
    );
    let lab = lab(&format!("{LIST_WHAT_IS_MADE}\n{NO_INSTANCE}"), &create);
    lab.git_config("agentvm.accel", "tcg");
    let run_dir = lab.path().join("run");
    fs_err::create_dir(&run_dir).unwrap();
    let count = |word: &str| calls(&lab).lines().filter(|line| line.contains(word)).count();
    let first = lab.agent_vm("start").env("XDG_RUNTIME_DIR", &run_dir).env("TMPDIR", &run_dir);
    let first = first.background();
    lab.wait_until("the first makes the VM", |_| count("create") == 1);
    let second = lab.agent_vm("start").background();
    let waits = |lab: &Lab| lab.host_processes().iter().filter(|line| has_lock_open(line)).count();
    lab.wait_until("the second waits for it", |lab| waits(lab) == 2);
    std::thread::sleep(std::time::Duration::from_millis(500));
    fs_err::write(lab.home().join("go"), "").unwrap();
    // The start itself is more than this limactl can do.
    first.finish().stderr_has("did not start");
    second
        .finish()
        .stderr_has("waiting for git agent-vm to finish making the VM 'agent-vm' (process ")
        .stderr_has("did not start");
    assert_eq!(count("create"), 1, "{}", calls(&lab));
}

#[test]
fn an_interrupted_start_lets_the_next_one_carry_on() {
    let create = format!(
        "mkdir -p \"$HOME/.lima/agent-vm\"; test -e \"$HOME/go\" || exec sleep 50
        {} >\"$HOME/.lima/agent-vm/made\"
        ;;\n*delete*) rm -r \"$HOME/.lima/agent-vm\"",
        instance("Stopped")
    );
    let lab = lab(&format!("{LIST_WHAT_IS_MADE}\n{NO_INSTANCE}"), &create);
    lab.git_config("agentvm.accel", "tcg");
    let start = lab.agent_vm("start").background();
    lab.wait_until("it makes the VM", |lab| lab.home().join(".lima/agent-vm").exists());
    start.signal(rustix::process::Signal::INT);
    let ran = start.finish();
    assert_eq!(ran.code, 130, "{ran}");
    fs_err::write(lab.home().join("go"), "").unwrap();
    // The start itself is more than this limactl can do.
    lab.agent_vm("start").fails(1).stderr_has("did not start");
    let calls = calls(&lab);
    assert!(calls.contains("delete --force agent-vm"), "{calls}");
    assert!(lab.home().join(".lima/agent-vm/made").exists());
}

#[test]
fn a_stranger_on_the_vms_port_gets_no_login() {
    // lima-vm/lima#1514
    let lab = Lab::new();
    lab.git_config("agentvm.provider", "lima");
    lab.git(["config", "agentvm.id", &"a".repeat(32)]).succeeds();
    let calls = lab.path().join("limactl-calls");
    let list = instance("Running");
    put_limactl(&lab, &format!("#!/bin/sh\necho \"$*\" >>'{}'\n{list}\n", calls.display()));
    remember_vm(&lab);
    let ssh = lab.path().join("ssh");
    let config = fs_err::read_to_string(ssh.join("config")).unwrap();
    let port = config.lines().find_map(|line| line.trim().strip_prefix("Port ")).unwrap();
    run_vm(&lab, port.parse().unwrap());
    // Another key than the stranger's is pinned, and our own would open the door.
    let state = lab.home().join(".local/state/git-agent-vm/vm/agent-vm");
    let pinned = format!("agent-vm {}", fs_err::read_to_string(ssh.join("id.pub")).unwrap());
    fs_err::write(state.join("known_hosts"), pinned).unwrap();
    fs_err::create_dir(lab.home().join(".lima/_config")).unwrap();
    fs_err::copy(ssh.join("id"), lab.home().join(".lima/_config/user")).unwrap();
    for command in ["fetch agentvm::feature", "push agentvm::feature"] {
        lab.git(command)
            .env("GIT_AGENT_VM_TIME_LIMIT", "1")
            .fails(128)
            .stderr_has("Host key verification failed");
    }
    let log = lab.sshd_log();
    assert!(log.contains("[preauth]"), "nobody came\n{log}");
    assert!(!log.contains("user agent") && !log.contains("Accepted"), "{log}");
}

#[test]
fn ssh_config_starts_nothing() {
    let none = lab(NO_INSTANCE, "exit 0");
    none.agent_vm("ssh-config").fails(4).stdout_is("").stderr_has("git agent-vm start");
    let stopped = lab(&instance("Stopped"), "exit 0");
    remember_vm(&stopped);
    stopped.agent_vm("ssh-config").fails(1).stdout_is("").stderr_has("stopped");
    let lost = lab(NO_INSTANCE, "exit 0");
    remember_vm(&lost);
    lost.agent_vm("ssh-config").fails(1).stdout_is("").stderr_has("made on 2026-01-01");
    for lab in [&none, &stopped, &lost] {
        assert!(!calls(lab).contains("start") && !calls(lab).contains("create"));
    }
}
