//! `git agent-vm doctor`: what a user is told of a machine with this or that wrong with it, and
//! that the command which is named mends it.

use serde_json::Value;

use crate::limactl::{self, NO_INSTANCE, put_limactl};
use crate::support::{Lab, Ran};

/// Whatever hangs, the answer is there by then.
pub(crate) const SECONDS: u64 = 16;

/// A host with nothing wrong: a limactl that has no VM, and no KVM to be tried.
pub(crate) fn host() -> Lab {
    let lab = limactl::lab(NO_INSTANCE, "exit 0");
    lab.git_config("agentvm.accel", "tcg");
    lab
}

/// What doctor finds in `app`, with its exit code.
pub(crate) fn doctor(lab: &Lab, code: i32) -> Vec<Value> {
    checks(&lab.agent_vm("doctor --json").within_seconds(SECONDS).fails(code))
}

pub(crate) fn checks(ran: &Ran) -> Vec<Value> {
    let report = ran.json();
    assert_eq!(report["version"], 1);
    report["checks"].as_array().unwrap_or_else(|| panic!("no checks\n{ran}")).clone()
}

/// The one finding of that id.
#[track_caller]
pub(crate) fn find<'a>(checks: &'a [Value], id: &str) -> &'a Value {
    let found: Vec<&Value> = checks.iter().filter(|check| check["id"] == id).collect();
    assert_eq!(found.len(), 1, "{id} in {checks:#?}");
    found[0]
}

#[track_caller]
pub(crate) fn says(check: &Value, severity: &str, words: &[&str]) {
    assert_eq!(check["severity"], severity, "{check:#}");
    let text = check.to_string();
    for word in words {
        assert!(text.contains(word), "expected {word:?} in {check:#}");
    }
}

/// Types what doctor says.
#[track_caller]
pub(crate) fn apply(lab: &Lab, check: &Value) {
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
pub(crate) fn fake(lab: &Lab, name: &str, script: &str) {
    lab.put_program(name, &format!("#!/bin/sh\n{script}\n"));
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
        ("agentvm.egress", "x", "config", "warning", 0),
        ("safe.directory", "*", "safe-directory", "warning", 0),
        ("protocol.agentvm.allow", "never", "protocol", "error", 1),
        ("protocol.allow", "never", "protocol", "error", 1),
        ("protocol.agentvm.allow", "always", "protocol", "warning", 0),
        ("core.hooksPath", ".husky", "hooks-path", "warning", 0),
        ("fetch.fsck.largePathname", "ignore", "fsck", "warning", 0),
        ("remote.backup.mirror", "true", "mirror-remote", "warning", 0),
        ("remote.backup.push", "+refs/*:refs/*", "mirror-remote", "warning", 0),
        ("remote.backup.push", "refs/agentvm/*:refs/agentvm/*", "mirror-remote", "warning", 0),
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
