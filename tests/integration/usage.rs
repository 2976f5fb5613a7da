//! Wrong words, wrong places, wrong settings: one clear error each, and nothing changed.

use crate::support::Lab;

const VERBS: [&str; 12] = [
    "start",
    "stop",
    "destroy",
    "status",
    "connect",
    "push",
    "fetch",
    "clean",
    "clean-all",
    "restore",
    "ssh-config",
    "completions",
];

#[test]
fn every_verb_has_help_of_its_own() {
    let lab = Lab::host_only("home");
    // `git agent-vm --help` would ask for the man page, so the program itself is asked.
    for verb in VERBS {
        let help =
            lab.host("git-agent-vm", [verb, "--help"]).succeeds().stdout_has("Usage:").text();
        assert!(help.lines().count() > 5, "{help}");
        lab.host("git-agent-vm", [verb, "-h"]).succeeds().stdout_has("Usage:");
    }
    lab.host("git-agent-vm", "--help").succeeds().stdout_has("git agent-vm");
    lab.host("git-agent-vm", "--version").succeeds().stdout_has("git-agent-vm ");
}

#[test]
fn no_verb_and_unknown_words_are_wrong_usage() {
    let lab = Lab::host_only("home");
    lab.host("git-agent-vm", "").fails(2);
    lab.host("git-agent-vm", "no-such-verb").fails(2).stderr_has("no-such-verb");
    lab.host("git-agent-vm", "status --no-such-flag").fails(2).stderr_has("--no-such-flag");
    for verb in ["push", "fetch", "clean"] {
        lab.host("git-agent-vm", verb).fails(2).stderr_has("BRANCH");
    }
}

#[test]
fn helper_run_by_hand_says_that_git_runs_it() {
    // radicle-dev/radicle-link#471
    let lab = Lab::host_only("home");
    for arguments in ["", "vm"] {
        let ran = lab.host("git-remote-agentvm", arguments).fails(2);
        assert!(ran.errors().contains("git"), "{ran}");
        ran.stderr_lacks("panicked");
    }
    lab.host("git-remote-agentvm", "--version").succeeds().stdout_has("git-remote-agentvm ");
}

#[test]
fn helper_that_git_leaves_at_once_ends_quietly() {
    let lab = Lab::new();
    lab.host("git-remote-agentvm", ["agentvm::feature", "feature"])
        .in_dir(lab.app().path())
        .succeeds()
        .stderr_is("");
}

#[test]
fn helper_that_fails_at_once_still_hears_git_out() {
    let lab = Lab::new();
    // Who writes to a pipe that nobody reads is ended by a signal, and says nothing more.
    lab.sh("{ sleep 0.5; echo capabilities; echo heard >&2; } | git-remote-agentvm vm 'a b'")
        .fails(128)
        .stderr_has("heard")
        .stderr_has("agentvm::BRANCH");
}

#[test]
fn bad_addresses_are_refused_with_the_grammar() {
    let lab = Lab::new();
    for url in [
        "agentvm::",
        "agentvm::-x",
        "agentvm::a b",
        "agentvm::a..b",
        "agentvm::HEAD",
        "agentvm::\u{1b}[2J",
        "agentvm::a\nb",
        "agentvm://",
        "agentvm://agent-vm",
        "agentvm://agent-vm/../x",
        "agentvm://agent-vm/a/b",
        "agentvm::\u{202e}x",
    ] {
        lab.git(["fetch", url]).fails(128).stderr_has("agentvm::BRANCH").shows_clean_text();
        lab.git(["push", url, "feature"])
            .fails(128)
            .stderr_has("agentvm::BRANCH")
            .shows_clean_text();
    }
    assert!(lab.workspaces().is_empty());
}

#[test]
fn unknown_workspace_in_an_address_names_status() {
    let lab = Lab::new();
    lab.git("fetch agentvm://agent-vm/no-such").fails(128).stderr_has("no-such");
    lab.host("git", "ls-remote agentvm://agent-vm/no-such").fails(128).stderr_has("no-such");
}

#[test]
fn bad_setting_names_key_file_and_rule() {
    let lab = Lab::new();
    for (key, value, word) in [
        ("agentvm.memory", "512MiB", "1 GiB"),
        ("agentvm.memory", "lots", "8GiB"),
        ("agentvm.cpus", "0", "1 to 256"),
        ("agentvm.disk", "1GiB", "4 GiB"),
        ("agentvm.provider", "docker", "lima"),
        ("agentvm.accel", "hvf", "kvm"),
        ("agentvm.vm", "-x", "VM name"),
        ("agentvm.autoStart", "perhaps", "true"),
        ("agentvm.mount", "perhaps", "true"),
    ] {
        lab.git(["config", key, value]).succeeds();
        let lower = key.to_ascii_lowercase();
        let ran = lab.agent_vm("status").fails(2).stderr_has(word).stderr_has("config");
        assert!(ran.errors().to_ascii_lowercase().contains(&lower), "{ran}");
        lab.git("push agentvm::feature").fails(128).stderr_has(word);
        lab.git(["config", "--unset", key]).succeeds();
    }
    assert!(lab.workspaces().is_empty());
}

#[test]
fn bad_size_on_the_command_line_names_the_rule() {
    let lab = Lab::host_only("home");
    for (flag, word) in [
        ("--memory 512MiB", "the least is 1 GiB"),
        ("--memory lots", "8GiB"),
        ("--disk 1", "the least is 4 GiB"),
        ("--cpus 0", "1 to 256"),
        ("--vcpu x", "1 to 256"),
    ] {
        lab.host("git-agent-vm", &format!("start {flag}")).fails(2).stderr_has(word);
    }
    assert!(!lab.home().join(".local").exists());
}

#[test]
fn setting_that_has_no_effect_yet_is_not_passed_over_in_silence() {
    let lab = Lab::new();
    lab.git("config agentvm.egress none").succeeds();
    lab.agent_vm("status")
        .succeeds()
        .stderr_has("warning: agentvm.egress in ")
        .stderr_has("has no effect in this version");
    lab.git("push agentvm::feature").succeeds().stderr_lacks("egress");
}

#[test]
fn missing_directories_and_files_of_settings_are_named_with_the_way_to_them() {
    let lab = Lab::new();
    for key in ["agentvm.common", "agentvm.sshConfig"] {
        lab.git(["-c", &format!("{key}=/no/such/place"), "agent-vm", "start"])
            .fails(2)
            .stderr_has("/no/such/place")
            .stderr_has(&format!("hint: git config --show-origin {key}"));
    }
}

#[test]
fn unknown_setting_stops_the_command_and_not_the_helper() {
    let lab = Lab::new();
    lab.git("config agentvm.memroy 8").succeeds();
    lab.agent_vm("status").fails(2).stderr_has("agentvm.memroy").stderr_has("config");
    lab.git("push agentvm::feature").succeeds();
}

#[test]
fn setting_of_one_command_counts() {
    let lab = Lab::new();
    lab.git("-c agentvm.sshHost=nowhere.invalid push agentvm::feature")
        .fails(128)
        .stderr_has("nowhere.invalid");
    lab.git("push agentvm::feature")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "agentvm.sshHost")
        .env("GIT_CONFIG_VALUE_0", "nowhere.invalid")
        .fails(128)
        .stderr_has("nowhere.invalid");
    lab.git("-c agentvm.sshHost=nowhere.invalid agent-vm push feature")
        .fails(1)
        .stderr_has("nowhere.invalid");
}

#[test]
fn ssh_provider_without_a_host_says_how_to_name_one() {
    let lab = Lab::new();
    lab.host("git", "config --global --unset agentvm.sshHost").succeeds();
    lab.agent_vm("status").fails(2).stderr_has("agentvm.sshHost");
    lab.git_config("agentvm.sshHost", "-oProxyCommand=touch");
    lab.agent_vm("status").fails(2).stderr_has("agentvm.sshhost");
}

#[test]
fn missing_ssh_configuration_is_named() {
    let lab = Lab::new();
    lab.git("-c agentvm.sshConfig=/no/such/file push agentvm::feature")
        .fails(128)
        .stderr_has("/no/such/file");
}

#[test]
fn unknown_host_key_is_refused() {
    let lab = Lab::new();
    fs_err::write(lab.path().join("ssh/known_hosts"), "").unwrap();
    lab.git("push agentvm::feature").fails(128).stderr_has("host 'vm'").stderr_has("key");
    assert!(lab.workspaces().is_empty());
}

#[test]
fn verbs_that_need_a_repository_say_so_outside_one() {
    let lab = Lab::new();
    for verb in ["push feature", "fetch feature", "clean feature", "connect feature"] {
        let code = if verb.starts_with("connect") { 125 } else { 1 };
        let ran = lab.host("git-agent-vm", verb).in_dir(lab.path()).run();
        assert!(ran.code == code || ran.code == 1, "{ran}");
        ran.stderr_has("not in a git repository");
    }
}

#[test]
fn deleted_directory_is_one_clear_line() {
    // max-sixty/worktrunk#1168
    let lab = Lab::new();
    let gone = |command: &str| {
        lab.host("sh", ["-c", &format!("mkdir gone; cd gone; rmdir ../gone; {command}")])
    };
    gone("exec git-agent-vm status").succeeds();
    gone("exec git-agent-vm ssh-config").succeeds().stdout_has("Host vm\n");
    for verb in ["push feature", "fetch feature", "clean feature"] {
        let ran = gone(&format!("exec git-agent-vm {verb}")).fails(1);
        assert!(!ran.errors().contains("panicked"), "{ran}");
    }
    let ran = gone("echo capabilities | git-remote-agentvm x feature").run();
    assert!(!ran.errors().contains("panicked"), "{ran}");
}

#[test]
fn variables_of_an_outer_git_do_not_lead_astray() {
    // evilmartians/lefthook#1265
    let lab = Lab::new();
    lab.git("worktree add -q ../linked -b other main").succeeds();
    let hook = "#!/bin/sh\ncat >/dev/null\ntest -z \"$IN_HOOK\" || exit 0\nexport IN_HOOK=1\n\
         git agent-vm status --json >/dev/null && git agent-vm push other\n";
    lab.app().write(".git/hooks/pre-push", hook);
    lab.sh("chmod +x .git/hooks/pre-push").succeeds();
    lab.repo("linked").git("push agentvm::feature").succeeds();
    assert_eq!(lab.workspace("app-feature").tip("HEAD"), lab.app().tip("feature"));
    assert_eq!(lab.workspace("app-other").tip("HEAD"), lab.app().tip("other"));
}

#[test]
fn missing_ssh_program_is_exit_code_5() {
    let lab = Lab::new();
    let tools = lab.path().join("tools");
    fs_err::create_dir(&tools).unwrap();
    for program in ["git", "sh", "setsid", "env"] {
        let real = lab.host("sh", ["-c", &format!("command -v {program}")]).succeeds().text();
        std::os::unix::fs::symlink(real, tools.join(program)).unwrap();
    }
    let path = format!("{}:{}", lab.path().join("bin").display(), tools.display());
    lab.host("git-agent-vm", "push feature")
        .in_dir(lab.app().path())
        .env("PATH", &path)
        .fails(5)
        .stderr_has("ssh");
    lab.git("push agentvm::feature").env("PATH", &path).fails(128).stderr_has("ssh");
}

#[test]
fn old_git_is_exit_code_5() {
    let lab = Lab::new();
    let real = lab.host("sh", ["-c", "command -v git"]).succeeds().text();
    let old = lab.path().join("old");
    fs_err::create_dir(&old).unwrap();
    let script = format!(
        "#!/bin/sh\ncase $1 in --version) echo git version 2.30.2 ;; *) exec {real} \"$@\" ;; esac\n"
    );
    fs_err::write(old.join("git"), script).unwrap();
    lab.host("chmod", ["+x", old.join("git").to_str().unwrap()]).succeeds();
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{}:{path}", old.display(), lab.path().join("bin").display());
    for (verb, code) in [("status", 5), ("push feature", 5), ("connect feature -- true", 125)] {
        lab.host("git-agent-vm", verb)
            .in_dir(lab.app().path())
            .env("PATH", &path)
            .fails(code)
            .stderr_has("git 2.30 is too old: 2.39 or newer is needed")
            .stderr_has("hint: ");
    }
    assert!(lab.workspaces().is_empty());
}

#[test]
fn missing_limactl_is_exit_code_5() {
    let lab = Lab::host_only("home");
    lab.make_app().enrol("feature");
    // Without an id there is no workspace, wherever one might look.
    lab.git(["config", "agentvm.id", &"a".repeat(32)]).succeeds();
    let tools = lab.path().join("tools");
    fs_err::create_dir(&tools).unwrap();
    for program in ["git", "sh", "setsid", "env", "ssh"] {
        let real = lab.host("sh", ["-c", &format!("command -v {program}")]).succeeds().text();
        std::os::unix::fs::symlink(real, tools.join(program)).unwrap();
    }
    let path = format!("{}:{}", lab.path().join("bin").display(), tools.display());
    for verb in ["start", "stop", "destroy", "push feature"] {
        lab.agent_vm(verb).env("PATH", &path).fails(5).stderr_has("limactl").stderr_has("hint: ");
    }
    lab.agent_vm("connect feature -- true").env("PATH", &path).fails(125).stderr_has("limactl");
    lab.git("push agentvm::feature").env("PATH", &path).fails(128).stderr_has("limactl");
    lab.git("fetch agentvm::feature").env("PATH", &path).fails(128).stderr_has("limactl");
    lab.agent_vm("status").env("PATH", &path).run().stderr_has("limactl");
    lab.agent_vm("status --json").env("PATH", &path).run().json();
}

#[test]
fn settings_in_a_repository_of_another_user_run_nothing() {
    let lab = Lab::new();
    if !lab.guest_is_foreign() {
        eprintln!("left out: there is no second user (AGENTVM_TEST_GUEST_USER)");
        return;
    }
    let planted =
        "umask 0; git init -q -b main trap && cd trap && git -c user.name=a -c user.email=a@b \
        commit -q --allow-empty -m x && printf '#!/bin/sh\ntouch pwned\n' >run && chmod +x run &&
        git config core.fsmonitor ./run && git config agentvm.sshConfig ./run &&
        for hook in pre-push post-checkout reference-transaction; do cp run .git/hooks/$hook; done";
    lab.guest_sh(planted).succeeds();
    let trap = lab.guest_home().join("trap");
    for verb in ["status", "push main", "fetch main", "connect main -- true", "clean main"] {
        let ran = lab.host("git-agent-vm", verb).in_dir(&trap).run();
        assert!(ran.code != 0, "{ran}");
        assert!(!trap.join("pwned").exists(), "{ran}");
        ran.stderr_has("dubious ownership");
    }
}

#[test]
fn read_only_repository_is_named_and_nothing_is_lost() {
    let lab = Lab::with_home("home");
    lab.make_app();
    if rustix::process::geteuid().is_root() {
        eprintln!("left out: nothing is read-only for root");
        return;
    }
    lab.sh("chmod -w .git .git/config").succeeds();
    let ran = lab.agent_vm("push feature").fails(1);
    lab.sh("chmod +w .git .git/config").succeeds();
    ran.stderr_has("config");
}
