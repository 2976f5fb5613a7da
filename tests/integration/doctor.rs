//! `git agent-vm doctor`: what a user is told of a machine with this or that wrong with it, and
//! that the command which is named mends it.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde_json::Value;

use crate::limactl::{self, NO_INSTANCE, instance, put_limactl, remember_vm, run_vm};
use crate::mount;
use crate::mount_fails::{mounted_with_known_server, signal_server};
use crate::support::{Lab, Ran};

/// Whatever hangs, the answer is there by then.
const SECONDS: u64 = 16;

/// A host with nothing wrong: a limactl that has no VM, and no KVM to be tried.
fn host() -> Lab {
    let lab = limactl::lab(NO_INSTANCE, "exit 0");
    lab.git_config("agentvm.accel", "tcg");
    lab
}

/// What doctor finds in `app`, with its exit code.
fn doctor(lab: &Lab, code: i32) -> Vec<Value> {
    checks(&lab.agent_vm("doctor --json").within_seconds(SECONDS).fails(code))
}

fn checks(ran: &Ran) -> Vec<Value> {
    let report = ran.json();
    assert_eq!(report["version"], 1);
    report["checks"].as_array().unwrap_or_else(|| panic!("no checks\n{ran}")).clone()
}

/// The one finding of that id.
#[track_caller]
fn find<'a>(checks: &'a [Value], id: &str) -> &'a Value {
    let found: Vec<&Value> = checks.iter().filter(|check| check["id"] == id).collect();
    assert_eq!(found.len(), 1, "{id} in {checks:#?}");
    found[0]
}

#[track_caller]
fn says(check: &Value, severity: &str, words: &[&str]) {
    assert_eq!(check["severity"], severity, "{check:#}");
    let text = check.to_string();
    for word in words {
        assert!(text.contains(word), "expected {word:?} in {check:#}");
    }
}

/// Types what doctor says.
#[track_caller]
fn apply(lab: &Lab, check: &Value) {
    let fix = check["fix"].as_str().unwrap_or_else(|| panic!("no fix: {check:#}"));
    lab.sh(fix).succeeds();
}

/// A directory with these programs alone, for PATH.
fn bare_path(lab: &Lab, programs: &[&str]) -> String {
    let bare = lab.path().join("bare");
    fs_err::create_dir(&bare).unwrap();
    for program in programs {
        let found = which::which(program).unwrap();
        std::os::unix::fs::symlink(found, bare.join(program)).unwrap();
    }
    bare.to_str().unwrap().to_owned()
}

/// Puts a program in front of the host's real one of that name.
fn fake(lab: &Lab, name: &str, script: &str) {
    let path = lab.path().join("bin").join(name);
    std::fs::remove_file(&path).ok();
    fs_err::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn age(path: &Path, days: u64) {
    let file = fs_err::File::create(path).unwrap().into_parts().0;
    file.set_modified(SystemTime::now() - Duration::from_secs(days * 86_400 + 60)).unwrap();
}

#[test]
fn a_clean_host_has_nothing_wrong_and_nothing_is_made() {
    let lab = host();
    let ran = lab.agent_vm("doctor").succeeds().stderr_is("").shows_clean_text();
    let last = ran.text().lines().last().unwrap_or_default().to_owned();
    assert!(!last.contains("error"), "{ran}");
    ran.stdout_has("ok       git 2.")
        .stdout_has("Lima 2.2.0")
        .stdout_has("there is no VM 'agent-vm' yet");
    for made in [".local", ".lima", ".ssh"] {
        assert!(!lab.home().join(made).exists(), "{made}");
    }
    assert!(limactl::calls(&lab).lines().all(|call| call.contains("--version")));
    assert!(!lab.app().read(".git/config").contains("agentvm\"]\n\tid"));
}

#[test]
fn every_finding_has_its_entry_in_the_manual() {
    let manual = include_str!("../../man/git-agent-vm.roff").replace("\\-", "-");
    for id in git_agent_vm::doctor::IDS {
        assert!(manual.contains(&format!("\\fB{id}\\fR")), "{id} is not in the manual");
    }
    for check in doctor(&host(), 0) {
        let id = check["id"].as_str().unwrap();
        assert!(git_agent_vm::doctor::IDS.contains(&id), "{id} is none of the ids");
        for key in ["severity", "subject", "detail", "fix"] {
            assert!(check.get(key).is_some(), "{key} in {check:#}");
        }
    }
}

#[test]
fn standard_output_is_one_document_whatever_is_set() {
    // nao1215/gup#291
    let lab = host();
    lab.git_config("agentvm.egress", "none");
    let ran = lab.agent_vm("doctor --json").env("CLICOLOR_FORCE", "1").succeeds();
    says(find(&checks(&ran), "config"), "warning", &["agentvm.egress", ".gitconfig", "no effect"]);
    let ran = lab.on_terminal("git agent-vm doctor --json 2>/dev/null").env("TERM", "xterm");
    checks(&ran.succeeds().shows_clean_text());
    let colours = lab.agent_vm("--color=always doctor").succeeds().text();
    assert!(colours.contains("\x1b[32mok"), "{colours}");
}

#[test]
fn it_works_outside_a_repository_and_in_a_directory_that_is_gone() {
    // max-sixty/worktrunk#1168
    let lab = host();
    lab.host("git-agent-vm", "doctor").in_dir("/").succeeds().stderr_is("");
    lab.sh("mkdir d && cd d && rmdir ../d && git-agent-vm doctor --json").succeeds().json();
    let gone = lab.app().path().join(".git");
    fs_err::remove_dir_all(gone).unwrap();
    lab.host("git-agent-vm", "doctor").in_dir(lab.app().path()).succeeds();
}

#[test]
fn a_missing_limactl_is_named_with_how_to_get_it() {
    let lab = host();
    fs_err::remove_file(lab.path().join("bin/limactl")).unwrap();
    let path = bare_path(&lab, &["setsid", "git", "ssh", "ssh-keygen", "sh"]);
    let path = format!("{}:{path}", lab.path().join("bin").display());
    let ran = lab.agent_vm("doctor").env("PATH", &path).fails(5);
    ran.stdout_has("error    the program 'limactl' was not found").stdout_has("lima");
    let ran = lab.agent_vm("doctor --json").env("PATH", &path).fails(5);
    let found = checks(&ran);
    says(find(&found, "limactl"), "error", &["Lima"]);
    says(find(&found, "qemu"), "error", &["qemu-system-"]);
}

#[test]
fn a_lima_that_is_too_old_or_refuses_is_named() {
    let lab = host();
    put_limactl(&lab, "#!/bin/sh\necho limactl version 1.0.7\n");
    says(find(&doctor(&lab, 5), "limactl"), "error", &["1.0", "too old"]);
    put_limactl(&lab, "#!/bin/sh\necho 'limactl: must not run as the root user' >&2; exit 1\n");
    says(find(&doctor(&lab, 1), "limactl"), "error", &["as an ordinary user"]);
}

#[test]
fn without_anything_in_path_all_that_is_missing_is_named_at_once() {
    let lab = host();
    let binary = env!("CARGO_BIN_EXE_git-agent-vm");
    for path in ["", "/nonexistent"] {
        let script = "PATH=$1; exec \"$0\" doctor --json";
        let ran = lab.host("sh", ["-c", script, binary, path]).fails(5).stderr_is("");
        let found = checks(&ran);
        for id in ["git", "ssh", "ssh-keygen", "limactl", "helper"] {
            assert!(find(&found, id)["fix"].is_string(), "{id}");
            says(find(&found, id), "error", &[]);
        }
    }
}

#[test]
fn a_git_that_is_too_old_is_an_error_and_one_that_nobody_mends_a_warning() {
    let lab = host();
    fake(&lab, "git", "echo git version 2.30.2");
    let ran = lab.host("git-agent-vm", "doctor --json").fails(5);
    says(find(&checks(&ran), "git"), "error", &["2.30.2 is too old", "2.39 or newer"]);

    let real = which::which("git").unwrap();
    fake(
        &lab,
        "git",
        &format!(
            "case $1 in --version) echo git version 2.47.2;; *) exec {} \"$@\";; esac",
            real.display()
        ),
    );
    let ran = lab.host("git-agent-vm", "doctor --json").in_dir(lab.app().path()).succeeds();
    let found = checks(&ran);
    says(find(&found, "git"), "ok", &["2.47.2"]);
    says(find(&found, "git-fixes"), "warning", &["CVE-2025-48384"]);
}

#[test]
fn the_helper_is_looked_for_and_its_version_compared() {
    let lab = host();
    fake(&lab, "git-remote-agentvm", "echo git-remote-agentvm 0.0.1");
    says(find(&doctor(&lab, 0), "helper"), "warning", &["is 0.0.1, and this is", "cargo install"]);
    fake(&lab, "git-agent-vm", "echo git-agent-vm 0.0.1");
    let ran = lab.host(env!("CARGO_BIN_EXE_git-agent-vm"), "doctor --json").succeeds();
    says(find(&checks(&ran), "command"), "warning", &["0.0.1"]);

    let lab = host();
    fs_err::remove_file(lab.path().join("bin/git-remote-agentvm")).unwrap();
    let path = bare_path(&lab, &["setsid", "git", "ssh", "ssh-keygen", "sh"]);
    let path = format!("{}:{path}", lab.path().join("bin").display());
    let ran = lab.agent_vm("doctor --json").env("PATH", &path).fails(5);
    let fix = find(&checks(&ran), "helper")["fix"].as_str().unwrap().to_owned();
    let script = format!("{fix}; exec git-remote-agentvm --version");
    lab.sh(&script).env("PATH", &path).succeeds().stdout_has("git-remote-agentvm ");
}

#[test]
fn what_a_desktop_does_not_find_is_named_with_the_link_to_make() {
    // keybase/client#10738
    let lab = host();
    let git = which::which("git").unwrap();
    let bare = bare_path(&lab, &["setsid", "git", "sh"]);
    lab.host(&git.display().to_string(), "fetch agentvm::feature")
        .in_dir(lab.app().path())
        .env("PATH", bare)
        .fails(128)
        .stderr_has("remote-agentvm");
    let found = doctor(&lab, 0);
    let check = find(&found, "gui-path");
    let helper = lab.path().join("bin/git-remote-agentvm");
    says(check, "info", &["find no", "git-remote-agentvm", "ln -s", "/usr/local/bin/"]);
    assert!(check["fix"].as_str().unwrap().contains(helper.to_str().unwrap()), "{check:#}");
}

#[test]
fn each_risky_setting_is_found_with_its_file_and_the_named_command_mends_it() {
    for (key, value, id, severity, code) in [
        ("agentvm.memroy", "8", "config", "error", 1),
        ("agentvm.cpus", "many", "config", "error", 1),
        ("agentvm.proxy", "x", "config", "warning", 0),
        ("safe.directory", "*", "safe-directory", "warning", 0),
        ("protocol.agentvm.allow", "never", "protocol", "error", 1),
        ("protocol.allow", "never", "protocol", "error", 1),
        ("protocol.agentvm.allow", "always", "protocol", "warning", 0),
        ("core.hooksPath", ".husky", "hooks-path", "warning", 0),
        ("fetch.fsck.largePathname", "ignore", "fsck", "warning", 0),
        ("remote.backup.mirror", "true", "mirror-remote", "warning", 0),
        ("remote.backup.push", "+refs/*:refs/*", "mirror-remote", "warning", 0),
        ("safe.bareRepository", "all", "bare-repository", "info", 0),
    ] {
        let lab = host();
        lab.git_config(key, value);
        let found = doctor(&lab, code);
        let check = find(&found, id);
        says(check, severity, &[]);
        let file = lab.home().join(".gitconfig");
        if id != "bare-repository" {
            says(check, severity, &[file.to_str().unwrap()]);
        }
        apply(&lab, check);
        let left = doctor(&lab, 0);
        assert!(
            !left.iter().any(|check| check["id"] == id && check["severity"] != "ok"),
            "{key} after its fix: {left:#?}"
        );
    }
}

#[test]
fn all_unknown_keys_are_found_at_once_wherever_they_stand() {
    let lab = host();
    lab.git_config("agentvm.memroy", "8");
    lab.git("config agentvm.colour red").succeeds();
    let ran = lab.git("-c agentvm.nonsense=1 agent-vm doctor").fails(1);
    ran.stdout_has("agentvm.memroy in ")
        .stdout_has("agentvm.memory may be meant")
        .stdout_has("git config --local --unset-all agentvm.colour")
        .stdout_has("agentvm.nonsense in command line")
        .stdout_has("3 errors");
}

#[test]
fn a_protocol_that_the_environment_forbids_is_found() {
    let lab = host();
    let ran = lab.agent_vm("doctor --json").env("GIT_ALLOW_PROTOCOL", "https:ssh").fails(1);
    let found = checks(&ran);
    let fix = find(&found, "protocol")["fix"].as_str().unwrap();
    let script = format!("{fix}; exec git agent-vm doctor");
    lab.sh(&script).env("GIT_ALLOW_PROTOCOL", "https:ssh").succeeds();
}

#[test]
fn a_configuration_that_git_cannot_read_is_an_error_and_still_one_document() {
    let lab = host();
    fs_err::write(lab.home().join(".gitconfig"), "[broken\n").unwrap();
    let ran = lab.host("git-agent-vm", "doctor --json").fails(1);
    says(find(&checks(&ran), "git-config"), "error", &[".gitconfig"]);
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
    says(find(&doctor(&lab, 1), "vm"), "error", &["made on 2026-01-01", "destroy --force"]);

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
