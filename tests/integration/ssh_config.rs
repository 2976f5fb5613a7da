//! `ssh-config`: real ssh, scp and sftp with nothing but what it printed.

use std::path::{Path, PathBuf};

use crate::support::{Lab, Ran};

/// Every kind of character that ssh's configuration gives a meaning, and some more.
const ODD: &str = "a b'c\"d%h#e\\f\u{e9}$g{";

/// Prints the configuration into a file of a plain name.
fn printed(lab: &Lab) -> PathBuf {
    let ran = lab.host("git-agent-vm", "ssh-config").succeeds().stderr_has("ssh -F FILE ");
    let file = lab.path().join("printed.conf");
    fs_err::write(&file, &ran.stdout).unwrap();
    file
}

fn ssh(lab: &Lab, file: &Path, words: &[&str]) -> Ran {
    let mut all: Vec<std::ffi::OsString> = vec!["-F".into(), file.into()];
    all.extend(words.iter().map(std::ffi::OsString::from));
    lab.host("ssh", all).run()
}

/// The value of a key in the lab's own ssh configuration.
fn setting(lab: &Lab, key: &str) -> String {
    let text = fs_err::read_to_string(lab.path().join("ssh/config")).unwrap();
    let line = text.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap();
    line.trim().to_owned()
}

/// Makes the lab's guest a VM of Lima that runs, as its files have it, in the host's home.
fn as_lima(lab: &Lab) {
    lab.git_config("agentvm.provider", "lima");
    let state = lab.home().join(".local/state/git-agent-vm/vm/agent-vm");
    let instance = lab.home().join(".lima/agent-vm");
    fs_err::create_dir_all(&state).unwrap();
    fs_err::create_dir_all(&instance).unwrap();
    let record = serde_json::json!({"version": 1, "made": 1_767_225_600, "finished": true,
        "lima_home": lab.home().join(".lima").canonicalize().unwrap()});
    fs_err::write(state.join("record.json"), record.to_string()).unwrap();
    std::os::unix::fs::symlink(lab.path().join("ssh/id"), state.join("key")).unwrap();
    let known = fs_err::read_to_string(lab.path().join("ssh/known_hosts")).unwrap();
    let (_, key) = known.split_once(' ').unwrap();
    fs_err::write(state.join("known_hosts"), format!("agent-vm {key}")).unwrap();
    fs_err::write(instance.join("ha.pid"), std::process::id().to_string()).unwrap();
    let port = setting(lab, "Port");
    fs_err::write(instance.join("ssh.config"), format!("Host x\n  Port {port}\n")).unwrap();
}

#[test]
fn ssh_config_leads_into_the_vm_from_a_home_of_any_name() {
    // okteto/okteto#1101
    for name in ["home", ODD] {
        let lab = Lab::with_home(name);
        as_lima(&lab);
        let file = printed(&lab);
        // The lab's guest is not called `agent`; everything else comes from the file.
        let user = format!("User={}", setting(&lab, "User"));
        let log_in = |words: &[&str]| {
            let mut all = vec!["-o", user.as_str()];
            all.extend(words);
            ssh(&lab, &file, &all)
        };
        let ran = log_in(&["agent-vm", "echo in the guest"]);
        assert!(ran.code == 0 && ran.text() == "in the guest", "{name}\n{ran}");
        let ran = log_in(&["-W", &format!("127.0.0.1:{}", setting(&lab, "Port")), "agent-vm"]);
        assert!(ran.text().starts_with("SSH-2.0-"), "{name}\n{ran}");

        fs_err::write(lab.home().join("sent"), "sent\n").unwrap();
        let conf = file.to_str().unwrap();
        // Where sftp begins is the login's home, not the lab's.
        let there = lab.guest_home().display().to_string();
        let target = format!("agent-vm:{there}/by-scp");
        lab.host("scp", ["-q", "-F", conf, "-o", &user, "sent", &target]).succeeds();
        lab.host("sftp", ["-q", "-F", conf, "-o", &user, "-b", "-", "agent-vm"])
            .stdin(format!("put sent \"{there}/by-sftp\"\n"))
            .succeeds();
        lab.guest_sh("cat by-scp by-sftp").succeeds().stdout_is("sent\nsent");
    }
}

#[test]
fn ssh_config_pins_the_key_and_forwards_nothing() {
    // microsoft/vscode-remote-release#11014
    let lab = Lab::with_home(ODD);
    as_lima(&lab);
    let file = printed(&lab);
    let shown = ssh(&lab, &file, &["-G", "agent-vm"]).text();
    let state = lab.home().join(".local/state/git-agent-vm/vm/agent-vm");
    for line in [
        "hostname 127.0.0.1".to_owned(),
        format!("port {}", setting(&lab, "Port")),
        "user agent".to_owned(),
        "identitiesonly yes".to_owned(),
        "identityagent none".to_owned(),
        "hostkeyalias agent-vm".to_owned(),
        "stricthostkeychecking true".to_owned(),
        "updatehostkeys false".to_owned(),
        "forwardagent no".to_owned(),
        "forwardx11 no".to_owned(),
        "permitlocalcommand no".to_owned(),
        // Before it replaces `%%`.
        format!("identityfile {}", state.join("key").display().to_string().replace('%', "%%")),
    ] {
        assert!(shown.lines().any(|found| found == line), "{line}\n{shown}");
    }
    assert!(!shown.contains("sendenv"), "{shown}");

    // Another machine at that address.
    let known = fs_err::read_to_string(lab.path().join("ssh/id.pub")).unwrap();
    fs_err::write(state.join("known_hosts"), format!("agent-vm {known}")).unwrap();
    let ran = ssh(&lab, &file, &["agent-vm", "true"]);
    assert_eq!(ran.code, 255, "{ran}");
    ran.stderr_has("HOST IDENTIFICATION HAS CHANGED");
}

#[test]
fn ssh_config_lets_a_port_be_asked_for() {
    let lab = Lab::with_home("home");
    as_lima(&lab);
    let file = printed(&lab);
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let script = "ssh -F \"$1\" -l \"$2\" -o ExitOnForwardFailure=yes -f \\
            -L \"$3:127.0.0.1:$4\" agent-vm sleep 1 >/dev/null 2>&1 || exit
        exec 3<>\"/dev/tcp/127.0.0.1/$3\" && read -r line <&3 && echo \"$line\"";
    let (user, port) = (setting(&lab, "User"), setting(&lab, "Port"));
    let file = file.to_str().unwrap();
    lab.host("bash", ["-c", script, "bash", file, &user, &free.to_string(), &port])
        .succeeds()
        .stdout_has("SSH-2.0-");
}

#[test]
fn ssh_config_offers_no_key_of_an_agent() {
    // trailofbits/coop#68: sshd hangs up after two keys.
    let lab = Lab::with_home("home");
    as_lima(&lab);
    let file = printed(&lab);
    let script = "for i in 1 2 3 4; do
            ssh-keygen -q -t ed25519 -N '' -f k$i && ssh-add -q k$i || exit 9
        done
        ssh -F \"$1\" -l \"$2\" agent-vm echo in; status=$?
        kill \"$SSH_AGENT_PID\"; exit $status";
    let user = setting(&lab, "User");
    lab.host("ssh-agent", ["sh", "-c", script, "sh", file.to_str().unwrap(), &user])
        .succeeds()
        .stdout_is("in");
}

#[test]
fn ssh_config_of_a_host_of_others_repeats_its_configuration() {
    let lab = Lab::with_home(ODD);
    let theirs = lab.home().join("their config");
    let text = fs_err::read_to_string(lab.path().join("ssh/config")).unwrap();
    let more = " ForwardAgent yes\n StrictHostKeyChecking no\n SendEnv SECRET";
    fs_err::write(&theirs, text + more).unwrap();
    lab.git_config("agentvm.sshConfig", theirs.to_str().unwrap());
    let file = printed(&lab);
    let ran = ssh(&lab, &file, &["vm", "echo in the guest"]);
    assert!(ran.code == 0 && ran.text() == "in the guest", "{ran}");
    let shown = ssh(&lab, &file, &["-G", "vm"]).text();
    assert!(shown.contains("\nforwardagent no\n"), "{shown}");
    assert!(shown.contains("\nstricthostkeychecking true\n"), "{shown}");
    assert!(!shown.contains("sendenv"), "{shown}");

    lab.git_config("agentvm.sshHost", "them@vm");
    let shown = ssh(&lab, &printed(&lab), &["-G", "vm"]).text();
    assert!(shown.contains("user them\n"), "{shown}");
    lab.git_config("agentvm.sshHost", "ssh://vm:22");
    lab.host("git-agent-vm", "ssh-config").fails(1).stderr_has("'ssh://vm:22'").stdout_is("");
}

#[test]
fn ssh_config_says_which_name_cannot_be_written_down() {
    for (name, why) in [("a${b}c", "'${'"), ("a\nb", "control character")] {
        let lab = Lab::with_home(name);
        as_lima(&lab);
        let ran = lab.host("git-agent-vm", "ssh-config").fails(1).stdout_is("");
        ran.stderr_has(why).stderr_has("git agent-vm connect");
    }
}

#[test]
fn no_verb_touches_the_users_own_ssh_configuration() {
    // microsoft/vscode-remote-release#5562
    let lab = Lab::new();
    let script = "mkdir -m 700 ~/.ssh && echo 'Host vm' >~/.ssh/config && : >~/.ssh/known_hosts";
    lab.sh(script).succeeds();
    let look = || lab.sh("cd ~/.ssh && stat -c '%n %a %y' . * && sha256sum *").succeeds().text();
    let before = look();
    for verb in [
        "start",
        "push feature",
        "fetch feature",
        "status",
        "connect feature -- true",
        "ssh-config",
        "clean feature",
        "clean-all",
        "stop",
        "destroy",
    ] {
        lab.agent_vm(verb).run();
    }
    lab.git("push agentvm::feature").succeeds();
    lab.git("fetch agentvm::feature").succeeds();
    assert_eq!(look(), before);
}
