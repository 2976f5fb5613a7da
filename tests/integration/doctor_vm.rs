//! `git agent-vm doctor`: the VM, the connections, the mount, and what was left behind, each of them
//! hanging, dead or gone, and that the command which is named mends it.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde_json::Value;

use crate::doctor::{SECONDS, apply, checks, doctor, fake, find, host, says};
use crate::limactl::{self, instance, put_limactl, remember_vm, run_vm};
use crate::mount;
use crate::mount_fails::{mounted_with_known_server, signal_server};
use crate::support::Lab;

fn age(path: &Path, days: u64) {
    let file = fs_err::File::create(path).unwrap().into_parts().0;
    file.set_modified(SystemTime::now() - Duration::from_secs(days * 86_400 + 60)).unwrap();
}

#[test]
fn locks_that_a_killed_git_left_are_named_here_and_in_workspaces() {
    // Dicklesworthstone/mcp_agent_mail_rust#234
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    for name in ["objects/maintenance.lock", "gc.pid"] {
        age(&lab.app().path().join(".git").join(name), 3);
        workspace.sh(&format!("touch -d '3 days ago' .git/{name}")).succeeds();
    }
    for count in 0..3 {
        lab.app().commit_on("feature", "count.txt", count.to_string());
        lab.git("push -q agentvm::feature").succeeds();
    }
    let found = doctor(&lab, 0);
    let locks: Vec<&Value> = found.iter().filter(|check| check["id"] == "git-lock").collect();
    assert_eq!(locks.len(), 4, "{locks:#?}");
    for lock in &locks {
        says(lock, "warning", &["3 days old", "killed"]);
        apply(&lab, lock);
    }
    assert!(!workspace.path().join(".git/gc.pid").exists() || lab.guest_is_foreign());
    let left = doctor(&lab, 0);
    says(find(&left, "git-lock"), "ok", &[]);
}

#[test]
fn a_clock_that_is_wrong_is_told_in_seconds() {
    // Sanne/incus-spawn#204
    let lab = Lab::new();
    says(find(&doctor(&lab, 0), "clock"), "ok", &[]);
    lab.guest_fake(
        "date",
        "case $* in +%s) echo $(($(/bin/date +%s) - 21600));; *) exec /bin/date \"$@\";; esac",
    );
    let found = doctor(&lab, 0);
    says(find(&found, "clock"), "warning", &["6 h behind (-21", "timesyncd"]);
}

#[test]
fn a_host_that_does_not_answer_is_an_error_with_how_to_see_why() {
    let lab = Lab::new();
    lab.stop_sshd();
    let found = doctor(&lab, 1);
    says(find(&found, "reachable"), "error", &["cannot reach", "ssh -F"]);
    assert!(!lab.home().join(".local").exists(), "state was made");
    lab.git_config("agentvm.sshConfig", "/no/such/file");
    says(find(&doctor(&lab, 1), "vm"), "error", &["/no/such/file"]);
}

#[test]
fn a_master_is_told_alive_dead_and_hanging_and_never_waited_for() {
    let lab = Lab::new();
    lab.pushed_feature();
    says(find(&doctor(&lab, 0), "master-connection"), "ok", &["answers"]);
    let masters = || -> Vec<String> {
        lab.host_processes().into_iter().filter(|line| line.contains("[mux]")).collect()
    };
    let pid = masters()[0].split(' ').next().unwrap().to_owned();
    lab.host("kill", ["-STOP", &pid]).succeeds();
    let ran = lab.agent_vm("doctor --json").succeeds().took_under_seconds(SECONDS);
    let found = checks(&ran);
    let check = find(&found, "master-connection");
    says(check, "warning", &["hangs", &format!("process {pid}")]);
    apply(&lab, check);
    lab.wait_until("the master is gone", |_| masters().is_empty());
    assert!(doctor(&lab, 0).iter().all(|check| check["id"] != "master-connection"));

    let dir = fs_err::read_dir(lab.home().join(".local/state/git-agent-vm/ssh")).unwrap();
    let socket = dir.map(|entry| entry.unwrap().path().join("master")).next().unwrap();
    drop(UnixListener::bind(&socket).unwrap());
    let found = doctor(&lab, 0);
    let check = find(&found, "master-connection");
    says(check, "info", &["nobody listens"]);
    apply(&lab, check);
    assert!(!socket.exists());
}

#[test]
fn a_qemu_that_lima_lost_sight_of_is_found_and_stop_ends_it() {
    // trailofbits/coop#37
    let lab = limactl::lab(&instance("Stopped"), "exit 0");
    lab.git_config("agentvm.accel", "tcg");
    remember_vm(&lab);
    let dir = lab.home().join(".lima/agent-vm");
    fs_err::create_dir_all(&dir).unwrap();
    says(find(&doctor(&lab, 1), "vm"), "error", &["has no disk"]);
    for name in ["disk", "diffdisk", "real"] {
        let disk = dir.join(name);
        fs_err::write(&disk, "").unwrap();
        if name == "real" {
            std::os::unix::fs::symlink(name, dir.join("disk")).unwrap();
        }
        says(find(&doctor(&lab, 0), "vm"), "ok", &["stopped"]);
        let script = "exec 3<\"$0\"; echo >\"$HOME/up\"; exec sleep 50";
        let qemu = lab.host("sh", ["-c", script, disk.to_str().unwrap()]).background();
        lab.wait_until("it has the disk", |lab| lab.home().join("up").exists());
        let found = doctor(&lab, 1);
        let pid = qemu.pid().as_raw_nonzero().to_string();
        let check = find(&found, "orphaned-vm");
        says(check, "error", &[&format!("process {pid}")]);
        assert_eq!(check["fix"], "git agent-vm stop");
        if name == "real" {
            lab.agent_vm("stop").env("GIT_AGENT_VM_TIME_LIMIT", "1").succeeds();
        } else {
            qemu.signal(Signal::KILL);
        }
        qemu.finish();
        assert!(doctor(&lab, 0).iter().all(|check| check["id"] != "orphaned-vm"));
        fs_err::remove_file(&disk).unwrap();
        fs_err::remove_file(lab.home().join("up")).unwrap();
    }
}

#[test]
fn a_vm_that_lima_lost_and_one_that_is_opened_to_the_host_are_errors() {
    let lab = host();
    remember_vm(&lab);
    says(find(&doctor(&lab, 1), "vm"), "error", &["made on 2026-01-01", "destroy --discard"]);

    let lab = limactl::lab(&instance("Stopped"), "exit 0");
    lab.git_config("agentvm.accel", "tcg");
    remember_vm(&lab);
    let dir = lab.home().join(".lima");
    fs_err::create_dir_all(dir.join("_config")).unwrap();
    fs_err::create_dir_all(dir.join("agent-vm")).unwrap();
    fs_err::write(dir.join("agent-vm/disk"), "").unwrap();
    fs_err::write(dir.join("_config/override.yaml"), "mounts:\n- location: \"~\"\n").unwrap();
    says(find(&doctor(&lab, 1), "lima-overrides"), "error", &["mounts", "override.yaml"]);
}

#[test]
fn nothing_that_hangs_holds_it_up() {
    let lab = limactl::lab("exec sleep 50", "exit 0");
    lab.git_config("agentvm.accel", "tcg");
    remember_vm(&lab);
    let found = doctor(&lab, 1);
    says(find(&found, "vm"), "error", &["gave no result"]);
    put_limactl(&lab, "#!/bin/sh\nexec sleep 50\n");
    says(find(&doctor(&lab, 1), "limactl"), "error", &["gave no result"]);
    fake(&lab, "git", "exec sleep 50");
    let ran = lab.host("git-agent-vm", "doctor --json").within_seconds(SECONDS).fails(1);
    says(find(&checks(&ran), "git"), "error", &["gave no result"]);
}

#[test]
fn a_vm_that_runs_and_does_not_answer_is_an_error() {
    let lab = limactl::lab(&instance("Running"), "exit 0");
    lab.git_config("agentvm.accel", "tcg");
    remember_vm(&lab);
    // It takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    run_vm(&lab, silent.local_addr().unwrap().port());
    let dir = lab.home().join(".lima/agent-vm");
    fs_err::write(dir.join("disk"), "").unwrap();
    let pid = dir.join("ha.pid");
    let written = fs_err::metadata(&pid).unwrap().modified().unwrap();
    let written = written.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    let record = lab.home().join(".local/state/git-agent-vm/vm/agent-vm/record.json");
    let mut text: Value = serde_json::from_slice(&fs_err::read(&record).unwrap()).unwrap();
    text["booted_run"] = format!("{}:{written}", std::process::id()).into();
    fs_err::write(&record, text.to_string()).unwrap();
    let found = doctor(&lab, 1);
    says(find(&found, "reachable"), "error", &["cannot reach the VM 'agent-vm'"]);
}

#[test]
fn what_is_left_of_a_repository_and_what_others_could_read_is_named() {
    let lab = Lab::new();
    lab.pushed_feature();
    says(find(&doctor(&lab, 0), "state-permissions"), "ok", &["yours alone"]);
    let state = lab.home().join(".local/state/git-agent-vm");
    fs_err::set_permissions(&state, std::fs::Permissions::from_mode(0o755)).unwrap();
    let found = doctor(&lab, 0);
    says(find(&found, "state-permissions"), "warning", &["mode 755", "chmod 700"]);
    apply(&lab, find(&found, "state-permissions"));
    assert_eq!(fs_err::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);

    fs_err::rename(lab.app().path(), lab.home().join("elsewhere")).unwrap();
    let ran = lab.host("git-agent-vm", "doctor --json").succeeds();
    let found = checks(&ran);
    let check = find(&found, "repository-record");
    says(check, "info", &["is gone", "/app/.git"]);
    let fix = check["fix"].as_str().unwrap();
    lab.host("sh", ["-c", fix]).succeeds();
    // It knows its workspaces still.
    let moved = lab.repo("elsewhere");
    moved.git("fetch -q agentvm::feature").succeeds();
}

#[test]
fn a_command_that_others_wait_for_and_one_that_is_stopped_are_told() {
    let lab = host();
    let dir = lab.home().join(".local/state/git-agent-vm/vm");
    fs_err::create_dir_all(&dir).unwrap();
    fs_err::set_permissions(dir.parent().unwrap(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let lock = dir.join("agent-vm.lock");
    let script = "exec 3>\"$0\"; flock 3; echo \"git agent-vm to finish making it (process $$)\" >&3; exec sleep 50";
    let holder = lab.host("sh", ["-c", script, lock.to_str().unwrap()]).background();
    lab.wait_until("it is held", |_| std::fs::read(&lock).is_ok_and(|text| !text.is_empty()));
    says(find(&doctor(&lab, 0), "lock"), "info", &["git agent-vm to finish making it"]);
    holder.signal(Signal::STOP);
    let found = doctor(&lab, 0);
    says(find(&found, "lock"), "warning", &["which is stopped"]);
    apply(&lab, find(&found, "lock"));
    says(find(&doctor(&lab, 0), "lock"), "info", &[]);
    holder.signal(Signal::KILL);
    holder.finish();
    assert!(doctor(&lab, 0).iter().all(|check| check["id"] != "lock"));
}

#[test]
fn a_hostile_guest_does_not_hold_it_up_and_shows_nothing_odd() {
    let lab = Lab::new();
    lab.hostile_guest("printf '\\033[2Jgarbage'; exec sleep 50");
    let ran = lab.agent_vm("doctor").within_seconds(SECONDS).fails(1).shows_clean_text();
    ran.stdout_has("[reachable]");
}

#[test]
fn a_mount_is_told_alive_hanging_and_dead_and_the_named_command_ends_it() {
    let lab = mounted_with_known_server("60");
    says(find(&doctor(&lab, 0), "mount"), "ok", &["answers"]);
    signal_server(&lab, "STOP");
    let session = "kill -s STOP \"$(ps -o ppid= -p \"$(cat server)\" | tr -d ' ')\"";
    lab.guest_sh(session).succeeds();
    let found = doctor(&lab, 1);
    says(find(&found, "mount"), "error", &["does not answer"]);
    apply(&lab, find(&found, "mount"));
    assert!(!mount::is_mounted(&lab));
    signal_server(&lab, "KILL");

    let lab = mount::mounted();
    let pids: Vec<String> = ["--keep-mount", "sshfs -f"]
        .iter()
        .flat_map(|text| mount::host_pids(&lab, text))
        .map(|pid| pid.as_raw_nonzero().to_string())
        .collect();
    lab.host("sh", ["-c", &format!("kill -STOP {0}; kill -KILL {0}", pids.join(" "))]).succeeds();
    lab.wait_until("it is dead", |lab| mount::state(lab) == "dead");
    let found = doctor(&lab, 1);
    says(find(&found, "mount"), "error", &["nobody serves it"]);
    apply(&lab, find(&found, "mount"));
    assert!(doctor(&lab, 0).iter().all(|check| check["id"] != "mount"));
}
