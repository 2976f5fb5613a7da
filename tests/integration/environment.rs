//! The variables that `connect` carries into the VM, and what of the host's must not get there.

use crate::support::{Lab, Run};

/// A host whose `common/` names these variables.
fn lab(names: &str) -> Lab {
    let lab = Lab::new();
    name(&lab, names);
    lab
}

fn name(lab: &Lab, names: impl AsRef<[u8]>) {
    let packages = lab.home().join("common/packages");
    fs_err::create_dir_all(&packages).unwrap();
    fs_err::write(packages.join("envvars.txt"), names).unwrap();
    lab.git_config("agentvm.common", lab.home().join("common").to_str().unwrap());
}

/// What a command in the workspace has in its environment.
fn environment(run: Run) -> Vec<Vec<u8>> {
    run.succeeds().stdout.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
}

const PRINTENV: &str = "-q connect feature -- printenv -0";

#[test]
fn variables_arrive_exact_to_the_byte() {
    // docker/compose#9106
    use std::os::unix::ffi::OsStringExt as _;
    let lab = lab("A\nB\nC\nD\nE\nF # long\nG\n");
    lab.pushed_feature();
    let every_byte = std::ffi::OsString::from_vec((1..=255).collect());
    let long = "x'".repeat(50_000);
    let values: Vec<(&str, std::ffi::OsString)> = vec![
        ("A", "one\n; touch p\ntouch p".into()),
        ("B", "'\"`touch p`$(touch p)\\".into()),
        ("C", "".into()),
        ("E", "end\n\n".into()),
        ("F", long.into()),
        ("G", every_byte),
    ];
    let mut run = lab.agent_vm(PRINTENV).env("H", "not named");
    for (name, value) in &values {
        run = run.env(name, value);
    }
    let found = environment(run);
    for (name, value) in values {
        let entry = [name.as_bytes(), b"=", &value.into_vec()].concat();
        assert!(found.contains(&entry), "{name} is another one: {}", found.len());
    }
    for absent in ["D=", "H="] {
        assert!(!found.iter().any(|entry| entry.starts_with(absent.as_bytes())), "{absent}");
    }
    lab.workspace("app-feature").sh("test ! -e p").succeeds();
    lab.guest_sh("ls .local/state/agentvm").run().stdout_is("");
}

#[test]
fn only_what_is_named_travels_and_only_then_is_there_another_session() {
    // lima-vm/lima#4826
    let lab = lab("NAMED\n");
    lab.pushed_feature();
    let run = || lab.agent_vm("connect feature -- env").env("OTHER", "x").env("THIRD", "y");
    let without = lab.ssh_sessions_of(|| {
        run().succeeds().stdout_lacks("NAMED=").stdout_lacks("OTHER=").stdout_lacks("THIRD=");
    });
    let with = lab.ssh_sessions_of(|| {
        run().env("NAMED", "n").succeeds().stdout_has("NAMED=n").stdout_lacks("OTHER=");
    });
    assert_eq!(with, without + 1);
    lab.agent_vm("connect -- env").env("NAMED", "n").succeeds().stdout_has("NAMED=n");
    // git's sessions have no use for them.
    let before = lab.trace().len();
    lab.app().commit_on("feature", "more.txt", "more\n");
    lab.git("push agentvm::feature").env("NAMED", "n").succeeds();
    lab.git("fetch agentvm::feature").env("NAMED", "n").succeeds();
    assert!(!lab.trace()[before..].iter().any(|line| line.contains(" env ")));
}

#[test]
fn variables_win_over_the_profile_in_commands_and_shells() {
    let lab = lab("NAMED\nname\nid\n");
    lab.guest_sh("echo 'export NAMED=profile FROM_PROFILE=yes; greet() { echo hello; }' >.profile")
        .succeeds();
    lab.pushed_feature();
    let mine = |run: Run| run.env("NAMED", "mine").env("name", "n").env("id", "i");
    mine(lab.agent_vm([
        "connect",
        "feature",
        "--",
        "sh",
        "-c",
        "echo $NAMED $name $id $FROM_PROFILE",
    ]))
    .succeeds()
    .stdout_is("mine n i yes");
    mine(lab.agent_vm("connect feature"))
        .stdin("echo $NAMED $FROM_PROFILE\npwd\nls /dev/fd\nexit 7\n")
        .fails(7)
        .stdout_has("mine yes\n")
        .stdout_has("/workspace/app-feature\n0\n1\n2\n3");
    if lab.guest_has_terminals() {
        mine(lab.on_terminal("git agent-vm connect feature"))
            .stdin("echo \"<$NAMED $FROM_PROFILE>\"; greet; ls /dev/fd | tr '\\n' .; exit 3\n")
            .fails(3)
            .stdout_has("<mine yes>")
            .stdout_has("hello\r\n")
            .stdout_has("0.1.2.3.");
    }
}

#[test]
fn bad_list_is_wrong_usage_before_anything_starts() {
    // lima-vm/lima#4826
    let lab = lab("GOOD\n");
    let file = lab.home().join("common/packages/envvars.txt").display().to_string();
    let bad: [(&[u8], &str); 9] = [
        (b"A=1", "'A=1' is not the name of a variable"),
        (b"*", "'*' is not the name of a variable"),
        (b"BASH_FUNC_x%%", "'BASH_FUNC_x%%' is not the name of a variable"),
        (b"A B", "'A B' is not the name of a variable"),
        (b"LD_PRELOAD", "'LD_PRELOAD' cannot be passed on: it changes which code programs run"),
        (b"PATH", "'PATH' cannot be passed on: the VM has its own"),
        (b"GIT_SSH_COMMAND", "'GIT_SSH_COMMAND' cannot be passed on: "),
        (b"A\r", "the line ends with a carriage return"),
        (b"\xff", "this is not text in UTF-8"),
    ];
    for (line, message) in bad {
        name(&lab, [b"# list\n\nGOOD\n", line, b"\n"].concat());
        let sessions = lab.ssh_sessions_of(|| {
            let message = format!("error: {file}:4: {message}");
            lab.agent_vm("connect feature").env("GOOD", "x").fails(2).stderr_has(&message);
            lab.agent_vm("connect feature -- true").fails(125).stderr_has(&message);
            lab.agent_vm("connect").fails(2).stderr_has(&message);
            lab.agent_vm("start").fails(2).stderr_has(&message);
        });
        assert_eq!(sessions, 0);
    }
    assert!(lab.workspaces().is_empty());
    lab.git_config("agentvm.common", "/no/such/directory");
    lab.agent_vm("connect feature")
        .fails(2)
        .stderr_has("agentvm.common: there is no directory /no/such/directory");
}

/// The command lines on this machine, which everybody can read, that hold a text.
fn command_lines_with(secret: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        if words.contains(secret) {
            found.push(format!("{} {words}", entry.file_name().display()));
        }
    }
    found
}

#[test]
fn values_stand_on_no_command_line_and_in_no_log_or_file_of_others() {
    let lab = lab("API_KEY\n");
    lab.pushed_feature();
    let secret = "s3cret-in-the-variable";
    // A profile that takes its time: what is there meanwhile is looked at.
    let profile = "touch ~/waiting; until test -e ~/go; do sleep 0.05; done";
    lab.guest_sh(&format!("echo '{profile}' >.bash_profile")).succeeds();
    let command = lab.agent_vm("connect feature -- sleep 1").env("API_KEY", secret).background();
    lab.wait_until("the profile runs", |lab| lab.guest_sh("test -e waiting").run().code == 0);
    let mut lines = command_lines_with(secret);
    // The guest's processes do not have it yet, nor is it in a file.
    let environments = "for pid in $0; do
        tr '\\0' '\\n' <\"/proc/$pid/environ\" | grep -c ^API_KEY=; done 2>/dev/null | sort -u";
    let having = || {
        let pids = lab.guest_processes().join(" ");
        lab.guest_command("sh", ["-c", environments, &pids]).run().text()
    };
    assert_eq!(having(), "0");
    lab.guest_sh("ls .local/state/agentvm").succeeds().stdout_is("");
    lab.guest_sh("touch go").succeeds();
    lab.wait_until("the command runs", |_| having() == "0\n1");
    for _ in 0..10 {
        lines.extend(command_lines_with(secret));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let ran = command.finish();
    assert_eq!(ran.code, 0, "{ran}");
    assert_eq!(lines, Vec::<String>::new());
    assert!(!lab.trace().concat().contains(secret));
    assert!(!lab.sshd_log().contains(secret));
    let everywhere = "grep -rl -- \"$0\" \"$HOME\" 2>/dev/null; true";
    lab.guest_command("sh", ["-c", everywhere, secret]).succeeds().stdout_is("");
    lab.host("sh", ["-c", everywhere, secret]).succeeds().stdout_is("");
}

#[test]
fn file_with_the_variables_is_the_agents_alone() {
    let lab = lab("API_KEY\n");
    lab.pushed_feature();
    // The file as it is between the two sessions.
    lab.guest_fake("rm", "for file; do case $file in */env-*) ls -ln \"$file\" >>\"$HOME/seen\" ;; esac; done; exec /bin/rm \"$@\"");
    lab.agent_vm("connect feature -- true").env("API_KEY", "x").succeeds();
    lab.guest_sh("cat seen").succeeds().stdout_has("-rw------- 1 ");
}

#[test]
fn leftovers_are_removed_by_the_next() {
    let lab = lab("NAMED\n");
    lab.pushed_feature();
    let make =
        "mkdir -p .local/state/agentvm; cd .local/state/agentvm; touch env-new ended-new other
        touch -d '-2 minutes' env-old ended-old";
    let left = || lab.guest_sh("ls .local/state/agentvm").succeeds();
    lab.guest_sh(make).succeeds();
    lab.agent_vm("connect feature -- true").env("NAMED", "x").succeeds();
    left().stdout_is("ended-new\nenv-new\nother");
    lab.guest_sh(make).succeeds();
    lab.agent_vm("connect feature -- true").succeeds();
    left().stdout_is("ended-new\nenv-new\nother");
}

#[test]
fn command_does_not_run_without_its_variables() {
    let lab = lab("NAMED\n");
    lab.pushed_feature();
    // Somebody takes the file away between the two sessions.
    lab.guest_fake("cat", "/bin/cat \"$@\"; /bin/rm -f \"$HOME\"/.local/state/agentvm/env-*");
    lab.agent_vm("connect feature -- touch ran")
        .env("NAMED", "x")
        .fails(125)
        .stderr_has("error: the variables for the command are gone");
    assert!(!lab.guest_home().join("workspace/app-feature/ran").exists());
}

#[test]
fn place_for_the_variables_that_cannot_be_written_is_said() {
    let lab = lab("NAMED\n");
    lab.pushed_feature();
    lab.guest_sh("rm -rf .local/state; mkdir -p .local; echo >.local/state").succeeds();
    lab.agent_vm("connect feature -- touch ran")
        .env("NAMED", "x")
        .fails(125)
        .stderr_has("error: cannot write to ")
        .stderr_has("/.local/state/agentvm in the VM");
    assert!(!lab.guest_home().join("workspace/app-feature/ran").exists());
}

#[test]
fn standard_input_is_the_commands_whole() {
    let lab = lab("NAMED\n");
    lab.pushed_feature();
    let cat = lab.agent_vm("connect feature -- cat").env("NAMED", "x").stdin("in\n");
    cat.succeeds().stdout_is("in");
}

#[test]
fn proxies_of_the_host_are_not_used_on_the_way_to_the_vm() {
    // rancher-sandbox/rancher-desktop#3395
    let lab = Lab::new();
    lab.git_config("http.proxy", "http://127.0.0.1:9");
    let dead = |run: Run| {
        ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "http_proxy", "HTTP_PROXY"]
            .iter()
            .fold(run, |run, name| run.env(name, "socks5h://127.0.0.1:9"))
    };
    dead(lab.agent_vm("start")).succeeds();
    dead(lab.git("push agentvm::feature")).succeeds();
    lab.workspace("app-feature").commit("agent.txt", "agent\n");
    dead(lab.git("fetch agentvm::feature")).succeeds();
    dead(lab.agent_vm("fetch feature")).succeeds();
    dead(lab.agent_vm("push feature")).succeeds();
    dead(lab.agent_vm("status --json")).succeeds().stdout_has("app-feature");
    let seen = dead(lab.agent_vm("connect feature -- env")).succeeds();
    assert!(!seen.text().to_lowercase().contains("_proxy="), "{seen}");
    dead(lab.agent_vm("ssh-config")).succeeds().stdout_lacks("127.0.0.1:9");
    dead(lab.agent_vm("clean feature")).succeeds();
    dead(lab.agent_vm("clean-all")).succeeds();
}

#[test]
fn users_ssh_directory_is_the_same_after_all_verbs() {
    // microsoft/vscode-remote-release#5562
    let lab = Lab::new();
    let dir = lab.home().join(".ssh");
    fs_err::create_dir(&dir).unwrap();
    for (name, text) in [("config", "Host *\n Port 1\n"), ("known_hosts", ""), ("id_rsa", "key\n")]
    {
        fs_err::write(dir.join(name), text).unwrap();
    }
    let sum = || {
        let script = "find .ssh -printf '%p %m %T@ %s\\n' | sort; cat .ssh/* | cksum";
        lab.host("sh", ["-c", script]).succeeds().text()
    };
    let before = sum();
    lab.agent_vm("start").succeeds();
    lab.git("push agentvm::feature").succeeds();
    lab.git("fetch agentvm::feature").succeeds();
    for verb in [
        "push feature",
        "fetch feature",
        "connect feature -- true",
        "connect -- true",
        "status",
        "status --json",
        "ssh-config",
        "completions bash",
        "clean feature",
        "clean-all",
    ] {
        lab.agent_vm(verb).succeeds();
    }
    for verb in ["stop", "destroy --force"] {
        lab.agent_vm(verb).fails(1);
    }
    assert_eq!(sum(), before);
}

/// Who makes a commit in the workspace of feature.
fn author(lab: &Lab) -> String {
    let script = "git commit -q --allow-empty -m x && git log -1 --format='%an <%ae>|%cn <%ce>'";
    let both =
        lab.agent_vm(["-q", "connect", "feature", "--", "sh", "-c", script]).succeeds().text();
    let (author, committer) = both.split_once('|').unwrap();
    assert_eq!(author, committer);
    author.to_owned()
}

#[test]
fn agent_has_the_identity_that_is_in_effect_in_the_repository() {
    // GSA-TTS/agentic-coding-quickstart#438
    let lab = Lab::new();
    fs_err::write(lab.home().join("work.conf"), "[user]\n\temail = me@work.example\n").unwrap();
    lab.git_config("includeIf.gitdir:~/app/.path", "~/work.conf");
    lab.pushed_feature();
    assert_eq!(author(&lab), "Host User <me@work.example>");

    // Set in the repository alone.
    let lab = Lab::new();
    lab.host("git", "config --global --remove-section user").succeeds();
    lab.git_config("user.useConfigOnly", "true");
    lab.git("config user.email me@repo.example").succeeds();
    lab.pushed_feature();
    assert_eq!(author(&lab), "Agent User <me@repo.example>");
    lab.git(["config", "user.name", "  R. \"Quote\" \\ #;\u{e9}"]).succeeds();
    let mine = lab.git("config user.name").succeeds().text();
    assert_eq!(author(&lab), format!("{} <me@repo.example>", mine.trim()));
}

#[test]
fn identity_that_changes_on_the_host_changes_in_the_workspace_unless_it_was_changed_there() {
    // GSA-TTS/agentic-coding-quickstart#438
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.git("config user.email one@example.org").succeeds();
    assert_eq!(author(&lab), "Host User <one@example.org>");
    lab.git("config user.email -two@example.org").succeeds();
    assert_eq!(author(&lab), "Host User <-two@example.org>");
    workspace.git("config user.name Agent").succeeds();
    lab.git("config user.name Somebody").succeeds();
    lab.git("config user.email three@example.org").succeeds();
    for _ in 0..2 {
        assert_eq!(author(&lab), "Agent <three@example.org>");
    }
    workspace.git("status --porcelain").succeeds().stdout_is("");
}
