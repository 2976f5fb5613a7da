//! What the documentation shows is what happens: its blocks of commands are run, and what they
//! print is compared.
//!
//! A block that is run by nobody fails `every_block_of_the_documentation_is_known`. The command
//! lines in between are parsed by `src/cli/documented.rs`, `start`'s output is compared in
//! `real_vm`.

use std::path::Path;

use crate::support::Lab;

/// A fenced block of a Markdown file, or an unfilled one of a manual page.
struct Block {
    file: &'static str,
    lines: Vec<String>,
}

fn read(file: &str) -> String {
    fs_err::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

fn markdown(file: &'static str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Vec<String>> = None;
    for line in read(file).lines() {
        match &mut open {
            _ if line.starts_with("```") => match open.take() {
                Some(lines) => blocks.push(Block { file, lines }),
                None => open = Some(Vec::new()),
            },
            Some(lines) => lines.push(line.to_owned()),
            None => {}
        }
    }
    assert!(open.is_none(), "a block of {file} has no end");
    blocks
}

fn manual(file: &'static str) -> Vec<Block> {
    let text = read(file);
    text.split("\n.nf\n")
        .skip(1)
        .map(|rest| {
            let (block, _) = rest.split_once("\n.fi").expect("an unfilled block has an end");
            let plain = ["\\fB", "\\fI", "\\fR"]
                .iter()
                .fold(block.to_owned(), |text, font| text.replace(font, ""));
            let plain = plain.replace("\\-", "-").replace("\\e", "\\");
            Block { file, lines: plain.lines().map(str::to_owned).collect() }
        })
        .collect()
}

/// The commands of a block below "Examples:", without the explanations beside them.
fn examples(block: &Block) -> Vec<String> {
    let lines = block.lines.iter().skip_while(|line| *line != "Examples:").skip(1);
    lines
        .map_while(|line| line.strip_prefix("  "))
        .map(|line| line.split("   ").next().unwrap_or_default().trim_end().to_owned())
        .collect()
}

/// The commands of a block, without the comments beside them.
fn commands(block: &Block) -> Vec<String> {
    let bare = |line: &String| line.split("  #").next().unwrap_or_default().trim_end().to_owned();
    block.lines.iter().map(bare).filter(|line| !line.is_empty()).collect()
}

/// The commands after `$ ` and what each prints.
fn sessions(block: &Block) -> Vec<(String, Vec<String>)> {
    let mut sessions: Vec<(String, Vec<String>)> = Vec::new();
    for line in &block.lines {
        if let Some(command) = line.strip_prefix("$ ") {
            sessions.push((command.to_owned(), Vec::new()));
        } else if let (Some((_, output)), false) = (sessions.last_mut(), line.is_empty()) {
            output.push(line.clone());
        }
    }
    sessions
}

/// What is another one each time: object names and numbers.
fn normal(text: &str) -> String {
    let word = |word: &str| {
        let name = |part: &str| part.len() == 7 && part.bytes().all(|b| b.is_ascii_hexdigit());
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        if bare.split("..").all(name) {
            return word.replace(|c: char| c.is_ascii_alphanumeric(), "");
        }
        if bare.starts_with(|c: char| c.is_ascii_digit()) {
            "#".to_owned()
        } else {
            word.to_owned()
        }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// The tour of the README: each command with what it prints.
fn tour() -> Vec<(String, Vec<String>)> {
    let blocks = markdown("README.md");
    blocks.iter().flat_map(sessions).collect()
}

/// The lines that the README has `git agent-vm start` print, in the shape that [`normal`] gives.
pub(crate) fn lines_of_start() -> Vec<String> {
    let start = tour().into_iter().find(|(command, _)| command == "git agent-vm start");
    start.expect("the README starts a VM").1.iter().map(|line| normal(line)).collect()
}

/// Fails if what was printed lacks one of the lines. The README's user is `me`.
pub(crate) fn assert_prints(lab: &Lab, printed: &str, lines: &[String]) {
    let printed = printed.replace(lab.home().to_str().unwrap(), "/home/me");
    let printed: Vec<String> = printed.lines().map(normal).collect();
    for line in lines {
        assert!(printed.contains(line), "the README shows {line:?}\nnot: {printed:#?}");
    }
}

#[test]
fn every_block_of_the_documentation_is_known() {
    // Who runs a block, by its first line.
    let known = [
        ("README.md", "git push agentvm::feature ", "three_commands_of_the_readme_work"),
        ("README.md", "scripts/quickstart ", "scripts_that_are_named_are_there"),
        ("README.md", "cargo install ", "programs_are_installed_as_by_quickstart"),
        ("README.md", "$ git ", "tour_of_the_readme_prints_what_it_shows, real_vm"),
        ("README.md", "git config --global agentvm.provider ssh", "host_of_others_is_set_as_shown"),
        ("common/README.md", "mkdir -p ~/.config/agentvm/packages", "common_is_replaced_as_shown"),
        (
            "README.md",
            "git config --global --add agentvm.caCerts",
            "settings_of_a_network_are_understood_as_shown",
        ),
        ("CONTRIBUTING.md", "cargo build ", "scripts_that_are_named_are_there"),
        ("CONTRIBUTING.md", "UPDATE_MAN=1 cargo test ", "scripts_that_are_named_are_there"),
        ("CONTRIBUTING.md", "UPDATE_HELP=1 cargo test ", "scripts_that_are_named_are_there"),
        // The drawing of host and VM.
        ("ARCHITECTURE.md", "host  ", ""),
        ("man/git-agent-vm.1", "Examples:", "examples_of_the_manual_work"),
        (
            "man/git-agent-vm.1",
            "git config --add remote.backup",
            "kept_work_is_published_by_nobody",
        ),
        ("man/git-agent-vm.1", "git config transfer.hideRefs", "kept_work_is_published_by_nobody"),
        ("man/git-agent-vm.1", "What is saved ", ""),
        ("man/git-remote-agentvm.1", "git push agentvm::BRANCH", "addresses are in other tests"),
    ];
    let all =
        ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md", "common/README.md"];
    let mut blocks: Vec<Block> = all.into_iter().flat_map(markdown).collect();
    blocks.extend(["man/git-agent-vm.1", "man/git-remote-agentvm.1"].into_iter().flat_map(manual));
    for Block { file, lines } in &blocks {
        let first = lines.first().map_or("", String::as_str);
        let found = known.iter().any(|(of, begin, _)| of == file && first.starts_with(begin));
        assert!(
            found,
            "nobody runs this block of {file}; add it to docs.rs:\n{}",
            lines.join("\n")
        );
    }
    for (of, begin, _) in known {
        let used = |block: &Block| block.file == of && block.lines[0].starts_with(begin);
        assert!(blocks.iter().any(used), "{of} has no block any more that begins with {begin:?}");
    }
}

#[test]
fn three_commands_of_the_readme_work() {
    let lab = Lab::new();
    let block = markdown("README.md").into_iter().next().unwrap();
    let commands = commands(&block);
    assert_eq!(commands.len(), 3, "{commands:?}");
    lab.git("checkout -q feature").succeeds();
    lab.sh(&commands[0]).succeeds().stderr_has("[new branch]");
    let work = "echo agent >agent.txt && git add . && git commit -qm agent\n";
    lab.sh(&commands[1]).stdin(work).succeeds();
    lab.sh(&commands[2]).succeeds();
    assert_eq!(lab.app().read("agent.txt"), "agent\n");
}

#[test]
fn tour_of_the_readme_prints_what_it_shows() {
    let lab = Lab::new();
    lab.git_config("agentvm.mount", "true");
    // The tour is that of scripts/quickstart.
    lab.host("sh", ["-c", "mv app agent-vm-demo && cd agent-vm-demo && git checkout -q feature"])
        .succeeds();
    let tour = tour();
    assert!(tour.len() >= 5, "{tour:?}");
    for (command, output) in tour {
        // A VM of Lima, in real_vm. `status` speaks of one too, in its first line.
        let output: Vec<String> = output
            .iter()
            .filter(|line| !line.starts_with("VM "))
            .map(|line| normal(line))
            .collect();
        if command != "git agent-vm start" {
            let ran = lab.host("sh", ["-c", &command]).in_dir(lab.repo("agent-vm-demo").path());
            let ran = ran.succeeds();
            assert_prints(&lab, &format!("{}\n{}", ran.text(), ran.errors()), &output);
        }
    }
}

#[test]
fn settings_of_a_network_are_understood_as_shown() {
    let lab = Lab::new();
    let first = "git config --global --add agentvm.caCerts";
    let blocks = markdown("README.md");
    let block = blocks.iter().find(|block| block.lines[0].starts_with(first)).unwrap();
    let file = lab.home().join("corporate-ca.pem");
    let shape = "-----BEGIN CERTIFICATE-----\nMAIwAA==\n-----END CERTIFICATE-----\n";
    fs_err::write(&file, shape).unwrap();
    for command in commands(block) {
        lab.sh(&command).env("https_proxy", "http://proxy.example:3128").succeeds();
    }
    // They are read for a VM of ours, and what is wrong in one of them is said before anything starts.
    let start = || lab.git("-c agentvm.provider=lima agent-vm start");
    start().env("https_proxy", "http://proxy.example:x").fails(2).stderr_has("https_proxy is not");
    fs_err::write(&file, "nothing").unwrap();
    start().fails(2).stderr_has("corporate-ca.pem: there is no certificate in it");
}

#[test]
fn scripts_that_are_named_are_there() {
    use std::os::unix::fs::PermissionsExt as _;
    for file in ["README.md", "CONTRIBUTING.md"] {
        for block in markdown(file) {
            for command in commands(&block) {
                let word = command.split(' ').find(|word| !word.contains('=')).unwrap();
                if word.starts_with("scripts/") {
                    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(word);
                    let mode = fs_err::metadata(path).unwrap().permissions().mode();
                    assert_ne!(mode & 0o111, 0, "{file}: {word} cannot be run");
                } else if file == "CONTRIBUTING.md" {
                    assert_eq!(word, "cargo", "{command}");
                }
            }
        }
    }
}

#[test]
fn programs_are_installed_as_by_quickstart() {
    let lab = Lab::host_only("home");
    let blocks = markdown("README.md");
    let block = blocks.iter().find(|block| block.lines[0].starts_with("cargo install ")).unwrap();
    let commands = commands(block);
    // It takes minutes, and quickstart does it.
    let install = commands[0].replace("cargo install ", "").replace('~', "\"$HOME");
    assert!(read("scripts/quickstart").contains(&format!("{install}\"")), "{install}");
    for command in &commands[1..] {
        lab.host("sh", ["-c", command]).in_dir(env!("CARGO_MANIFEST_DIR")).succeeds();
    }
    for page in ["git-agent-vm.1", "git-remote-agentvm.1"] {
        assert!(lab.home().join(".local/share/man/man1").join(page).is_file(), "{page}");
    }
}

#[test]
fn host_of_others_is_set_as_shown() {
    let lab = Lab::new();
    let blocks = markdown("README.md");
    let is_it = |block: &&Block| block.lines[0].ends_with("agentvm.provider ssh");
    let block = blocks.iter().find(is_it).unwrap();
    fs_err::create_dir(lab.home().join(".ssh")).unwrap();
    let config = fs_err::read_to_string(lab.path().join("ssh/config")).unwrap();
    let config = config.replace("Host vm", "Host build.example");
    fs_err::write(lab.home().join(".ssh/agentvm_config"), config).unwrap();
    for command in commands(block) {
        lab.sh(&command).succeeds();
    }
    let user = lab.git("config agentvm.sshHost").succeeds().text();
    let shown = lab.agent_vm("ssh-config").succeeds();
    shown.stdout_has("build.example");
    // There is no user `me` in the lab.
    assert_eq!(user, "me@build.example");
    lab.git_config("agentvm.sshHost", "build.example");
    lab.agent_vm("connect -- true").succeeds();
}

#[test]
fn common_is_replaced_as_shown() {
    let lab = Lab::new();
    for block in markdown("common/README.md") {
        for command in commands(&block) {
            lab.sh(&command).succeeds();
        }
    }
    let list = fs_err::read_to_string(lab.home().join(".config/agentvm/packages/npm-packages.txt"));
    assert_eq!(list.unwrap(), "@anthropic-ai/claude-code\n");
    lab.agent_vm("status").succeeds();
    lab.agent_vm("connect -- printenv ANTHROPIC_API_KEY")
        .env("ANTHROPIC_API_KEY", "key")
        .succeeds()
        .stdout_is("key");
}

#[test]
fn kept_work_is_published_by_nobody_who_follows_the_manual() {
    let lab = Lab::new();
    lab.pushed_feature().commit("agent.txt", "agent\n");
    lab.git("fetch -q agentvm::feature").succeeds();
    for (setup, push) in [
        ("git remote add --mirror=push backup ../backup", "git push -q backup"),
        ("git remote add backup ../backup", "git push -q --mirror backup"),
    ] {
        lab.sh(&format!("rm -rf ../backup && git init -q --bare ../backup && {setup}")).succeeds();
        let sent = || lab.repo("backup").refs("refs/");
        lab.sh(push).succeeds();
        assert!(sent().contains("refs/agentvm/keep/"), "{push}");
        lab.sh("rm -rf ../backup && git init -q --bare ../backup").succeeds();
        for command in manual("man/git-agent-vm.1").iter().flat_map(commands) {
            if command.starts_with("git config ") && command.contains("refs/") {
                lab.sh(&command).succeeds();
            }
        }
        lab.sh(push).succeeds();
        assert!(sent().contains("refs/heads/main") && !sent().contains("agentvm"), "{}", sent());
        lab.git("remote remove backup").succeeds();
    }
    lab.sh("git clone -q --mirror . ../copy").succeeds();
    assert!(!lab.repo("copy").refs("refs/").contains("agentvm"));
    lab.git("config --unset-all transfer.hideRefs").succeeds();
    lab.sh("git clone -q --mirror . ../whole").succeeds();
    assert!(lab.repo("whole").refs("refs/").contains("agentvm"));
}

#[test]
fn examples_of_the_manual_work() {
    let lab = Lab::new();
    // The manual speaks of a VM of Lima, whose name is agent-vm.
    let config = lab.path().join("ssh/config");
    let text = fs_err::read_to_string(&config).unwrap().replace("Host vm", "Host agent-vm");
    fs_err::write(config, text).unwrap();
    lab.git_config("agentvm.sshHost", "agent-vm");
    lab.sh("mkdir -p DIR ~/.config/fish/conf.d").succeeds();
    let app = lab.app();
    app.git("checkout -q feature").succeeds();
    app.commit("Makefile", "test:\n\t@echo tested\n");
    for (name, script) in [("a", "echo from a"), ("b", "cat; echo from b")] {
        lab.guest_fake(name, script);
    }
    // The system's profile sets PATH anew.
    lab.guest_sh("echo 'PATH=$HOME/../bin:$PATH' >.profile").succeeds();
    let lines: Vec<String> = manual("man/git-agent-vm.1").iter().flat_map(examples).collect();
    assert!(lines.len() > 15, "{lines:?}");
    for line in lines {
        // Copying it wants a file below the login's own home, which is not the lab's. Only a VM of
        // Lima is set up, in real_vm, and an image takes minutes to build.
        let elsewhere = ["scp ", "git agent-vm provision", "git agent-vm image build"];
        if elsewhere.iter().any(|beginning| line.starts_with(beginning)) {
            continue;
        }
        // Each is tried by itself: a workspace that was cleaned is there again.
        lab.git("push -q agentvm::feature").succeeds();
        let ran = lab.sh(&line).succeeds();
        if line.contains("push --wip") {
            lab.workspace("app-feature").sh("git clean -qfd && git checkout -q .").succeeds();
        }
        match line.rsplit(' ').next().unwrap() {
            "test" => _ = ran.stdout_has("tested"),
            "b'" => _ = ran.stdout_has("from a\nfrom b"),
            _ => {}
        }
    }
    for file in ["vm.conf", "a.tar", "DIR/_git-agent-vm"] {
        assert!(!fs_err::read(app.path().join(file)).unwrap().is_empty(), "{file} is empty");
    }
}

#[test]
fn keys_that_the_documentation_names_are_known() {
    let lab = Lab::new();
    let mut keys = std::collections::BTreeSet::new();
    for file in
        ["README.md", "common/README.md", "man/git-agent-vm.roff", "man/git-remote-agentvm.1"]
    {
        let text = read(file);
        let mut before = "";
        for part in text.split("agentvm.") {
            // The first part, and git's own `protocol.agentvm.allow`.
            let is_key = part.len() < text.len() && !before.is_empty() && !before.ends_with('.');
            before = part;
            if !is_key {
                continue;
            }
            let end = part.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(part.len());
            let (key, rest) = part.split_at(end);
            // `FILE.agentvm-new`, `agentvm.*`, a path.
            if !key.is_empty() && !rest.starts_with(['.', '/']) || rest.starts_with(". ") {
                keys.insert(key.to_owned());
            }
        }
    }
    assert!(keys.contains("fetchLimit") && keys.contains("common"), "{keys:?}");
    for key in keys {
        let setting = format!("agentvm.{key}=1");
        let ran = lab.git(["-c", &setting, "agent-vm", "ssh-config"]).run();
        assert!(!ran.errors().contains("unknown key"), "{ran}");
    }
}
