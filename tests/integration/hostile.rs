//! A guest that hangs, chatters or lies. Every wait has a limit, every answer a cap, everything
//! printed is clean, and no process stays behind (each lab checks that as it goes).

use git_agent_vm::ssh::{Endpoint, Master, Tty};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Lab, Run};

/// Greets as our guest program does; what follows is up to the script.
const GREETING: &str = "nonce=$(printf %s \"$SSH_ORIGINAL_COMMAND\" | grep -oE ' [0-9a-f]{32} ' | head -n 1 | tr -d ' ')
    printf 'agentvm/1 %s %s\\n' \"$nonce\" \"$(date +%s)\"\n";
/// The fields before the service's own words.
const FIELDS: &str =
    "printf 'workspace=app-feature\\0created=0\\0branch=refs/heads/feature\\0end=ok\\0'\n";

/// The guest was an honest one when feature was pushed, so a fetch asks it too.
fn lab_with_guest(script: &str) -> Lab {
    let lab = Lab::new();
    lab.pushed_feature();
    lab.hostile_guest(script);
    lab
}

/// Waits of the product are cut to one second.
fn impatient(run: Run) -> Run {
    run.env("GIT_AGENT_VM_TIME_LIMIT", "1").within_seconds(30)
}

fn push_and_fetch_fail(lab: &Lab, word: &str) {
    for command in ["push agentvm::feature", "fetch agentvm::feature"] {
        impatient(lab.git(command)).fails(128).stderr_has(word).shows_clean_text();
    }
}

#[test]
fn guest_that_never_answers_is_given_up() {
    let lab = lab_with_guest("exec sleep 1000");
    push_and_fetch_fail(&lab, "no answer");
    impatient(lab.agent_vm("push feature")).fails(6).stderr_has("no answer");
    impatient(lab.agent_vm("clean feature")).fails(6).stderr_has("no answer");
}

#[test]
fn status_of_a_guest_that_never_answers_is_still_a_status() {
    let lab = lab_with_guest("exec sleep 1000");
    impatient(lab.agent_vm("status")).run().shows_clean_text().took_under_seconds(15);
    let status = impatient(lab.agent_vm("status --json")).run().json();
    assert!(status["workspaces"].is_null(), "{status}");
}

#[test]
fn time_from_beyond_all_ages_is_only_a_wrong_clock() {
    let greeting = GREETING.replace("$(date +%s)", "-9223372036854775808");
    let lab = lab_with_guest(&format!("{greeting} exec sleep 1000"));
    impatient(lab.git("fetch agentvm::feature")).fails(128).stderr_has("behind");
}

#[test]
fn what_the_guests_shell_complains_about_is_told_in_a_few_words() {
    let lab = Lab::new();
    lab.pushed_feature();
    // A directory in which nobody can make a file.
    let script = "cd .local/share/agentvm && for dir in hooks-*; do
        mv \"$dir\" \"away-$dir\"; ln -s /proc/self \"$dir\"; done";
    lab.guest_sh(script).succeeds();
    let ran = lab.git("push agentvm::feature").fails(128).stderr_has("cannot write to");
    assert!(ran.errors().len() < 1000, "{ran}");
}

#[test]
fn guest_that_closes_without_a_word_is_an_error() {
    let lab = lab_with_guest("exit 0");
    push_and_fetch_fail(&lab, "host 'vm'");
}

#[test]
fn garbage_is_an_error() {
    let lab = lab_with_guest("head -c 5000 /dev/urandom");
    push_and_fetch_fail(&lab, "host 'vm'");
    lab.hostile_guest("exec cat /dev/urandom");
    push_and_fetch_fail(&lab, "host 'vm'");
    lab.hostile_guest("exec yes");
    push_and_fetch_fail(&lab, "start-up files");
}

#[test]
fn greeting_with_another_nonce_is_not_ours() {
    let script = "printf 'agentvm/1 00000000000000000000000000000000 1\\nend=ok\\0'; sleep 1000";
    push_and_fetch_fail(&lab_with_guest(script), "no answer");
}

#[test]
fn answer_that_stops_in_the_middle_is_given_up() {
    let script = format!("{GREETING} printf 'workspace=app-fea'; exec sleep 1000");
    push_and_fetch_fail(&lab_with_guest(&script), "no answer");
}

#[test]
fn endless_field_and_endless_fields_are_refused() {
    let long = format!("{GREETING} printf 'workspace='; exec tr '\\0' a </dev/zero");
    let lab = lab_with_guest(&long);
    push_and_fetch_fail(&lab, "host 'vm'");
    lab.hostile_guest(&format!("{GREETING} yes x=y | tr '\\n' '\\0'"));
    impatient(lab.git("push agentvm::feature")).fails(128).shows_clean_text();
    impatient(lab.agent_vm("status")).run().shows_clean_text();
}

#[test]
fn nonsense_in_place_of_fields_is_refused() {
    let lab = lab_with_guest("exit 0");
    for answer in ["no-key\\0", "=x\\0", "UPPER=x\\0", "end=ok"] {
        lab.hostile_guest(&format!("{GREETING} printf '{answer}'"));
        push_and_fetch_fail(&lab, "host 'vm'");
    }
}

#[test]
fn refusals_in_the_guests_words_are_cleaned() {
    let script = format!("{GREETING} printf 'fail=failed \\033]0;title\\007 \\302\\23331m red\\0'");
    push_and_fetch_fail(&lab_with_guest(&script), "title");
}

#[test]
fn what_the_guest_prints_on_stderr_is_cleaned() {
    let script = format!("printf '\\033[2Jforged\\r\\033[1A' >&2\n{GREETING}{FIELDS} exit 1");
    let lab = lab_with_guest(&script);
    impatient(lab.git("push agentvm::feature")).fails(128).shows_clean_text();
    impatient(lab.git("fetch agentvm::feature")).fails(128).shows_clean_text();
}

#[test]
fn advertisement_that_is_no_advertisement_is_refused() {
    let lab = lab_with_guest("exit 0");
    for words in ["SSH-2.0-x\\n", "zzzz", "0005", "0003", "fff0short", "0000"] {
        lab.hostile_guest(&format!("{GREETING}{FIELDS} printf '{words}'"));
        let ran = impatient(lab.git("fetch agentvm::feature")).run().shows_clean_text();
        assert!(ran.code != 0, "{words}\n{ran}");
    }
}

#[test]
fn endless_advertisement_is_refused() {
    let id = "1".repeat(40);
    let line = format!("{id} refs/heads/x\\n");
    let script = format!(
        "{GREETING}{FIELDS} printf '{:04x}{line}' | sed 'p;p;p' >/dev/null
         yes '{:04x}{id} refs/heads/x'",
        4 + line.len() - 1,
        4 + line.len() - 1,
    );
    let lab = lab_with_guest(&script);
    impatient(lab.git("fetch agentvm::feature")).fails(128).shows_clean_text();
}

#[test]
fn advertisement_that_stalls_is_given_up() {
    let script = format!("{GREETING}{FIELDS} printf 003f; exec sleep 1000");
    push_and_fetch_fail(&lab_with_guest(&script), "no answer");
}

#[test]
fn service_that_stalls_after_its_advertisement_is_given_up() {
    let id = "1".repeat(40);
    let line = format!("{id} refs/heads/feature\\0ofs-delta report-status\\n");
    let script = format!(
        "{GREETING}{FIELDS} printf '{:04x}{line}0000'; exec sleep 1000",
        4 + line.len() - 2
    );
    let lab = lab_with_guest(&script);
    impatient(lab.git("fetch agentvm::feature")).fails(128).shows_clean_text();
}

#[test]
fn chatty_start_up_files_do_no_harm() {
    // lablup/backend.ai#11772
    let lab = Lab::new();
    let chatter = "for file in .bashrc .profile .bash_profile .zshenv; do
            printf 'echo HELLO\necho HELLO >&2\n' >$file; done; touch .hushlogin";
    lab.guest_sh(chatter).succeeds();
    let workspace = lab.pushed_feature();
    let agents = workspace.commit("agent.txt", "agent\n");
    lab.git("fetch agentvm::feature").succeeds();
    assert_eq!(lab.app().tip("FETCH_HEAD"), agents);
    lab.agent_vm("status --json").succeeds().json();
}

#[test]
fn locale_of_the_user_does_not_reach_what_we_read() {
    // docker-archive-public/docker.machine#1481
    let lab = Lab::new();
    let config = lab.path().join("ssh/config");
    let text = fs_err::read_to_string(&config).unwrap() + " SendEnv LANG LC_*\n";
    fs_err::write(&config, text).unwrap();
    let odd = |run: Run| run.env("LANG", "ko_KR.UTF-8").env("LC_ALL", "xx_YY.UTF-8");
    odd(lab.git("push agentvm::feature")).succeeds().stderr_lacks("setlocale");
    odd(lab.git("fetch agentvm::feature")).succeeds().stderr_lacks("setlocale");
    odd(lab.agent_vm("status --json")).succeeds().stderr_lacks("setlocale").json();
    for verb in [
        "start",
        "push feature",
        "fetch feature",
        "status",
        "connect feature -- true",
        "connect -- sh -c true",
        "ssh-config",
        "clean feature",
        "clean-all",
    ] {
        odd(lab.agent_vm(verb)).succeeds().stderr_lacks("setlocale").stderr_lacks("locale");
    }
}

#[test]
fn terminal_forced_in_an_ssh_configuration_does_no_harm() {
    // osxfuse/sshfs#63
    let lab = Lab::new();
    let config = lab.path().join("ssh/config");
    let text = fs_err::read_to_string(&config).unwrap()
        + " RequestTTY force\n RemoteCommand tmux\n SessionType none\n StdinNull yes\n \
           ForkAfterAuthentication yes\n ControlMaster no\n ForwardAgent yes\n";
    fs_err::write(&config, text).unwrap();
    lab.git("push agentvm::feature").succeeds();
    lab.git("fetch agentvm::feature").succeeds();
    lab.agent_vm("connect feature -- true").succeeds();
}

#[test]
fn users_own_ssh_settings_are_neither_used_nor_touched() {
    // microsoft/vscode-remote-release#5562
    let lab = Lab::new();
    fs_err::create_dir(lab.home().join(".ssh")).unwrap();
    fs_err::write(lab.home().join(".ssh/config"), "Host *\n ProxyCommand false\n Port 1\n")
        .unwrap();
    lab.git_config("core.sshCommand", "false");
    let odd = |run: Run| run.env("GIT_SSH_COMMAND", "false").env("GIT_SSH", "false");
    odd(lab.git("push agentvm::feature")).succeeds();
    odd(lab.git("fetch agentvm::feature")).succeeds();
    odd(lab.agent_vm("connect feature -- true")).succeeds();
    odd(lab.agent_vm("status")).succeeds();
    let listed = lab.host("sh", ["-c", "ls -A .ssh"]).succeeds();
    listed.stdout_is("config");
}

#[test]
fn keys_of_the_users_agent_are_not_offered() {
    // trailofbits/coop#68
    let lab = Lab::new();
    let socket = lab.path().join("agent");
    let agent = lab.host("ssh-agent", ["-D", "-a", socket.to_str().unwrap()]).background();
    lab.wait_until("the agent is there", |_| socket.exists());
    let with_agent = |run: Run| run.env("SSH_AUTH_SOCK", &socket);
    let keys = "for n in 0 1 2 3 4 5 6 7 8 9; do ssh-keygen -q -t ed25519 -N '' -f ../key$n; done
        ssh-add -q ../key?";
    with_agent(lab.sh(keys)).succeeds();

    // The guest sends away whoever offers them all.
    let ssh = lab.path().join("ssh");
    let config = fs_err::read_to_string(ssh.join("config")).unwrap();
    let loose = config.lines().filter(|line| !line.contains("Identit") || line.contains("File"));
    let loose: String = loose.map(|line| format!("{line}\n")).collect();
    fs_err::write(ssh.join("loose"), loose).unwrap();
    with_agent(lab.host("ssh", ["-F", ssh.join("loose").to_str().unwrap(), "vm", "true"]))
        .fails(255)
        .stderr_has("Too many authentication failures");

    for command in ["push agentvm::feature", "fetch agentvm::feature"] {
        with_agent(lab.git(command)).succeeds();
    }
    for verb in ["status", "connect feature -- true", "clean feature"] {
        with_agent(lab.agent_vm(verb)).succeeds();
    }
    // The way into a VM of Lima: the key is named by us, and not by a configuration of the user's.
    let vm = Endpoint {
        dir: ssh.clone(),
        destination: "vm".into(),
        port: None,
        identity: Some("id".into()),
        pinned: None,
        config: Some(ssh.join("loose")),
    };
    let login = vm.command("echo in", Tty::No, Master::Never).env("SSH_AUTH_SOCK", &socket);
    let output = login.output().unwrap();
    assert_eq!(output.stdout, b"in\n", "{}", output.stderr_tail(3));
    agent.signal(Signal::TERM);
    agent.finish();
}

/// The pid of our ssh master.
fn master_pid(lab: &Lab) -> Pid {
    let masters: Vec<_> =
        lab.host_processes().into_iter().filter(|line| line.contains("[mux]")).collect();
    assert_eq!(masters.len(), 1, "{masters:?}");
    let pid = masters[0].split(' ').next().unwrap().parse().unwrap();
    Pid::from_raw(pid).unwrap()
}

#[test]
fn sessions_share_one_master_connection() {
    let lab = Lab::new();
    lab.pushed_feature();
    let first = master_pid(&lab);
    lab.git("fetch agentvm::feature").succeeds();
    assert_eq!(master_pid(&lab), first);
}

#[test]
fn master_that_hangs_is_left_behind() {
    // asheshgoplani/agent-deck#1442
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let agents = workspace.commit("agent.txt", "agent\n");
    let stopped = master_pid(&lab);
    kill_process(stopped, Signal::STOP).unwrap();
    lab.git("fetch agentvm::feature").succeeds().took_under_seconds(15);
    assert_eq!(lab.app().tip("FETCH_HEAD"), agents);
    impatient(lab.agent_vm("status")).succeeds().stderr_lacks("mux");
    kill_process(stopped, Signal::KILL).unwrap();
    lab.git("fetch agentvm::feature").succeeds().took_under_seconds(15).stderr_lacks("mux");
}

#[test]
fn master_that_was_killed_is_replaced() {
    let lab = Lab::new();
    lab.pushed_feature();
    let dead = master_pid(&lab);
    kill_process(dead, Signal::KILL).unwrap();
    lab.git("fetch agentvm::feature").succeeds().took_under_seconds(15).stderr_lacks("mux");
    lab.git("push agentvm::feature").succeeds();
    assert!(master_pid(&lab) != dead);
}
