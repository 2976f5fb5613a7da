//! `git agent-vm connect [BRANCH] [-- CMD]`.

use crate::support::Lab;

#[test]
fn exit_code_is_the_commands_own() {
    // NVIDIA/NemoClaw#6458
    let lab = Lab::new();
    for code in [0, 1, 2, 3, 4, 5, 6, 42, 125, 126, 127, 130, 254, 255] {
        let exit = format!("exit {code}");
        lab.agent_vm(["connect", "feature", "--", "sh", "-c", &exit]).fails(code);
    }
    lab.agent_vm(["connect", "feature", "--", "sh", "-c", "kill -9 $$"]).fails(137);
    lab.agent_vm(["connect", "feature", "--", "sh", "-c", "kill -SEGV $$"]).fails(139);
    lab.agent_vm("connect feature -- no-such-program").fails(127).stderr_has("no-such-program");
}

#[test]
fn arguments_arrive_exact_to_the_byte() {
    let lab = Lab::new();
    let words = [
        "",
        " ",
        "a b",
        "'",
        "\"",
        "$HOME",
        "`id`",
        "$(id)",
        "*",
        "~",
        "\\",
        "!x",
        "#",
        "-n",
        "--",
        "{a,b}",
        "ä",
        "tab\there",
        "line\nbreak",
        "%s",
        "a;b",
        "&",
        "|",
        ">x",
        "\u{a0}",
    ];
    let mut command = vec!["connect", "feature", "--", "printf", "%s\\0"];
    command.extend(words);
    let command: Vec<std::ffi::OsString> = command.iter().map(std::ffi::OsString::from).collect();
    let ran = lab.agent_vm(command).succeeds();
    let wanted: Vec<u8> = words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
    assert!(ran.stdout == wanted, "{ran}");
}

#[test]
fn binary_output_and_input_pass_unchanged() {
    let lab = Lab::new();
    lab.pushed_feature();
    let bytes: Vec<u8> = (0..=255).cycle().step_by(7).take(100_000).collect();
    let ran = lab.agent_vm("connect feature -- cat").stdin(&bytes).succeeds();
    assert!(ran.stdout == bytes);
}

#[test]
fn output_that_could_not_be_written_is_an_error() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("head -c 5000000 /dev/urandom >big").succeeds();
    for file in ["feature.txt", "big"] {
        for command in
            [format!("cat {file}"), format!("tar c {file}"), format!("sh -c 'cat {file}; exit 3'")]
        {
            lab.sh(&format!("git agent-vm connect -n feature -- {command} >/dev/full"))
                .fails(125)
                .stderr_has("error: cannot write what 'ssh' printed: No space left on device");
        }
        // In a file it is whole, behind what was there, too, and with errors in it.
        let sum = workspace.sh(&format!("cat {file} {file} | cksum")).succeeds().text();
        let cat = format!("git agent-vm connect feature -- cat {file}");
        lab.sh(&format!("{cat} >out; {cat} >>out; cksum <out")).succeeds().stdout_is(&sum);
        lab.sh(&format!("({cat}; {cat}) >out 2>&1; cksum <out")).succeeds().stdout_is(&sum);
    }
    lab.sh("echo in | git agent-vm connect feature -- cat >out; cat out")
        .succeeds()
        .stdout_is("in");
    lab.sh("git agent-vm connect feature -- sh -c 'cat feature.txt; exit 3' >out").fails(3);
    // Who reads no further ends it, as ever.
    lab.sh("git agent-vm connect feature -- yes | head -n 1").succeeds().stdout_is("y");
}

#[test]
fn command_runs_in_the_workspace_without_a_terminal() {
    let lab = Lab::new();
    lab.agent_vm(["connect", "feature", "--", "sh", "-c", "pwd; tty; git branch --show-current"])
        .succeeds()
        .stdout_has("/workspace/app-feature\n")
        .stdout_has("not a tty\nfeature");
}

#[test]
fn output_and_errors_of_the_command_stay_apart() {
    let lab = Lab::new();
    lab.pushed_feature();
    lab.agent_vm(["-q", "connect", "feature", "--", "sh", "-c", "echo out; echo err >&2"])
        .succeeds()
        .stdout_is("out")
        .stderr_has("err");
}

#[test]
fn login_shells_settings_reach_the_command() {
    let lab = Lab::new();
    lab.guest_sh("echo 'export FROM_PROFILE=yes' >.bash_profile").succeeds();
    lab.agent_vm("connect feature -- printenv FROM_PROFILE").succeeds().stdout_is("yes");
}

#[test]
fn connect_pushes_first() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let tip = lab.app().commit_on("feature", "host.txt", "host\n");
    lab.agent_vm("connect feature -- cat host.txt").succeeds().stdout_is("host");
    assert_eq!(workspace.tip("HEAD"), tip);
}

#[test]
fn connect_enrols_the_branch() {
    let lab = Lab::with_home("home");
    lab.make_app();
    lab.agent_vm("connect feature -- true").succeeds();
    let tip = lab.app().commit_on("feature", "host.txt", "host\n");
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(lab.workspace("app-feature").tip("HEAD"), tip);
}

#[test]
fn connect_makes_a_branch_that_nobody_has() {
    let lab = Lab::new();
    lab.agent_vm("connect idea -- git branch --show-current").succeeds().stdout_is("idea");
    assert_eq!(lab.app().tip("idea"), lab.app().tip("main"));
}

#[test]
fn connect_opens_a_workspace_whose_branch_the_host_lacks() {
    let lab = Lab::new();
    lab.git("push -q agentvm::idea main:refs/heads/idea").succeeds();
    let workspace = lab.workspace("app-idea");
    let agents = workspace.commit("agent.txt", "agent\n");
    lab.agent_vm("connect idea -- cat agent.txt").succeeds().stdout_is("agent");
    assert_eq!(workspace.tip("HEAD"), agents);
    assert_eq!(lab.app().tip("idea"), "");
}

#[test]
fn connect_opens_a_dirty_workspace_with_a_warning() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.write("feature.txt", "the agent edits this\n");
    lab.app().commit_on("feature", "host.txt", "host\n");
    lab.agent_vm("connect feature -- cat feature.txt")
        .succeeds()
        .stdout_is("the agent edits this")
        .stderr_has("warning: ");
}

#[test]
fn connect_opens_a_workspace_with_commits_that_the_host_lacks() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let agents = workspace.commit("agent.txt", "agent\n");
    lab.app().commit_on("feature", "host.txt", "host\n");
    lab.agent_vm("connect feature -- git rev-parse HEAD")
        .succeeds()
        .stdout_is(&agents)
        .stderr_has("warning: ")
        .stderr_has("git agent-vm fetch feature");
}

#[test]
fn connect_without_a_branch_opens_the_directory_of_workspaces() {
    let lab = Lab::new();
    let shell = lab.agent_vm("connect").stdin("pwd\nexit 7\n").fails(7);
    shell.stdout_has("/workspace");
    lab.agent_vm("connect -- pwd").succeeds().stdout_has("/home/workspace");
    lab.host("git", "agent-vm connect -- pwd").in_dir(lab.path()).succeeds();
}

#[test]
fn shell_on_a_terminal_is_a_terminal() {
    let lab = Lab::new();
    if !lab.guest_has_terminals() {
        return;
    }
    lab.pushed_feature();
    let script = "git agent-vm connect feature";
    lab.on_terminal(script)
        .stdin("tty; echo $((6*7))\nexit 3\n")
        .fails(3)
        .stdout_has("/dev/")
        .stdout_has("42");
}

#[test]
fn terminal_type_that_the_guest_does_not_know_is_replaced() {
    // ghostty-org/ghostty#4155
    let lab = Lab::new();
    if !lab.guest_has_terminals() {
        return;
    }
    lab.pushed_feature();
    let with = |term: &str| {
        let script = "git agent-vm connect feature -- sh -c 'tput cols && echo \"<$TERM>\"'";
        lab.on_terminal(script).env("TERM", term).succeeds().stderr_lacks("unknown terminal")
    };
    // Whether the guest knows the first two is its own business.
    for term in ["xterm-ghostty", "xterm-kitty"] {
        let known = lab.guest_command("infocmp", [term]).run().code == 0;
        let seen = if known { term } else { "xterm-256color" };
        with(term).stdout_has(&format!("<{seen}>"));
    }
    with("nosuch").stdout_has("<xterm-256color>");
    with("").stdout_has("<xterm-256color>");
    with("dumb").stdout_has("<dumb>");
    with("vt100").stdout_has("<vt100>");
}

#[test]
fn guest_that_cannot_be_reached_is_125() {
    // docker/sbx-releases#504
    let lab = Lab::new();
    lab.pushed_feature();
    lab.stop_sshd();
    lab.agent_vm("connect feature -- true").fails(125).stderr_has("host 'vm'");
    lab.agent_vm("connect -- true").fails(125).stderr_has("host 'vm'");
}

#[test]
fn connection_lost_under_a_command_is_125() {
    let lab = Lab::new();
    let command = lab.agent_vm("connect feature -- sleep 77").background();
    lab.wait_until("the command runs", |lab| {
        lab.guest_sh("ps -A -o args= | grep -q '^sleep 7[7]'").run().code == 0
    });
    lab.stop_sshd();
    let ran = command.finish();
    assert_eq!(ran.code, 125, "{ran}");
}

#[test]
fn one_word_that_looks_like_a_script_gets_a_hint() {
    let lab = Lab::new();
    lab.pushed_feature();
    lab.agent_vm(["connect", "feature", "--", "echo hello"]).fails(127).stderr_has("sh -c");
}

#[test]
fn other_verbs_leave_standard_input_alone() {
    // lima-vm/lima#2924
    let lab = Lab::new();
    lab.pushed_feature();
    let script = "git agent-vm status >/dev/null\ngit agent-vm push feature\n\
                  git push agentvm::feature\ngit fetch agentvm::feature\n\
                  git agent-vm fetch feature\ngit agent-vm clean feature\necho END\n";
    lab.host("sh", "-s").in_dir(lab.app().path()).stdin(script).run().stdout_has("END");
}

#[test]
fn bad_branch_name_is_wrong_usage() {
    let lab = Lab::new();
    for branch in ["a..b", "-x", "HEAD", "a b"] {
        lab.agent_vm(["connect", branch]).fails(2).shows_clean_text();
        // With a command, every code below 125 is the command's.
        lab.agent_vm(["connect", branch, "--", "true"]).fails(125).shows_clean_text();
    }
    assert!(lab.workspaces().is_empty());
}
