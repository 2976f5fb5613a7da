//! What `clean` says that would be lost, and that the commands it gives save it: each is pasted as it
//! stands, and then the workspace can go.

use crate::support::{Lab, Ran, Workspace};

mod commits;
mod files;
mod places;

/// The commands of the table: what stands below its rows.
fn commands(text: &str) -> Vec<String> {
    let commands = text.lines().filter_map(|line| line.strip_prefix("    git "));
    commands.map(|rest| format!("git {rest}")).collect()
}

/// Pastes what is said to save it, in as many rounds as are named, and cleans.
fn save_and_clean(lab: &Lab, what: &str, rounds: usize) {
    for round in 1..=rounds {
        let ran = lab.agent_vm("clean feature").fails(3);
        let commands = commands(&ran.errors());
        assert!(!commands.is_empty(), "{what}: nothing to type\n{ran}");
        for command in commands {
            let ran = lab.sh(&command).run();
            assert!(ran.code == 0, "{what}, round {round}: {command}\n{ran}");
        }
    }
    let ran = lab.agent_vm("clean feature").run();
    assert!(ran.code == 0, "{what}: it is not saved\n{ran}");
}

/// What a script in the guest prints, without its last line end.
fn there(workspace: &Workspace<'_>, script: &str) -> String {
    workspace.sh(script).succeeds().text()
}

fn has(lab: &Lab, object: &str) {
    lab.git(["cat-file", "-e", object]).succeeds();
}

fn refused(lab: &Lab, words: &[&str]) -> Ran {
    let ran = lab.agent_vm("clean feature").fails(3).shows_clean_text();
    for word in words {
        assert!(ran.errors().contains(word), "{word:?} is not named\n{ran}");
    }
    ran
}

#[test]
fn process_that_writes_there_from_elsewhere_is_named_and_can_be_ended() {
    // anthropics/claude-code#88255
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let reader = lab.guest_sh("cat 7<workspace/app-feature/feature.txt; sleep 56").background();
    let agent =
        lab.guest_sh("exec 7>>workspace/app-feature/.git/agent.log; exec sleep 55").background();
    lab.wait_until("both run", |lab| {
        lab.guest_sh(
            "ps -A -o args= | grep -q '^sleep 5[5]' && ps -A -o args= | grep -q 'sleep 5[6]'",
        )
        .run()
        .code
            == 0
    });
    let ran = refused(&lab, &["1 process:", "sleep 55"]).stderr_lacks("sleep 56");
    assert_eq!(workspace.status(), "");
    for command in commands(&ran.errors()) {
        lab.sh(&command).succeeds();
    }
    agent.finish();
    lab.agent_vm("clean feature").succeeds();
    lab.kill_guest();
    reader.finish();
}

#[test]
fn dry_run_says_it_and_moves_nothing() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.agent_vm("clean --dry-run feature").succeeds().stdout_is("").stderr_has("nothing");
    lab.agent_vm("clean-all -n").succeeds().stdout_is("").stderr_has("1 workspace");
    workspace.write("notes.txt", "x\n");
    let before = workspace.snapshot();
    lab.agent_vm("clean -n feature")
        .fails(3)
        .stdout_has("untracked  1 file: notes.txt")
        .stderr_is("");
    lab.agent_vm("-q clean-all --dry-run").fails(3).stdout_has("notes.txt").stderr_is("");
    lab.agent_vm("clean --dry-run --force feature").fails(2);
    assert_eq!(workspace.snapshot(), before);
}

#[test]
fn table_is_short_and_narrow() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace
        .sh("for n in $(seq 30); do echo x >file-number-$n.txt
            git branch b$n $(git commit-tree -m $n HEAD^{tree}); done; echo x >feature.txt")
        .succeeds();
    let ran = refused(&lab, &["30 files:", "and 20 more", "30 commits on 30 branches:"]);
    let table: Vec<String> = ran.errors().lines().map(str::to_owned).collect();
    assert!(table.len() < 20, "{ran}");
    let rows = table.iter().filter(|line| !line.starts_with("    git "));
    assert!(rows.clone().all(|row| row.chars().count() <= 80), "{ran}");
    // What saves two kinds is given once.
    assert_eq!(commands(&ran.errors()).len(), 2, "{ran}");
}

#[test]
fn commands_for_a_copy_of_a_workspace_mean_the_copy() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("cp -a . ../backup").succeeds();
    let copy = lab.workspace("backup");
    copy.commit("only.txt", "only\n");
    copy.sh("echo x >new; echo y >.env; echo .env >.git/info/exclude
        git checkout -qb side; git commit -q --allow-empty -m side; git stash -qu")
        .succeeds();
    copy.write("later", "x\n");
    let ran = lab.agent_vm("clean-all").fails(3).stderr_has("agentvm://");
    for command in commands(&ran.errors()) {
        lab.sh(&command).succeeds();
    }
    lab.agent_vm("clean-all").succeeds();
    assert!(lab.workspaces().is_empty());
}

#[test]
fn look_that_takes_too_long_is_no_answer() {
    // netease-lcap/wave-agent#2169
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("mkdir d; echo x >d/x; mkfifo d/.gitignore").succeeds();
    lab.agent_vm("clean feature")
        .env("GIT_AGENT_VM_TIME_LIMIT", "1")
        .fails(6)
        .stderr_has("could not be learned")
        .took_under_seconds(20);
    lab.agent_vm("clean -n feature").env("GIT_AGENT_VM_TIME_LIMIT", "1").fails(6).stdout_is("");
    assert!(workspace.exists());
}

/// What an agent wrote to a file while a push replaced it is nowhere else until the next command has
/// put it under a ref.
#[test]
fn what_a_push_that_was_cut_off_had_kept_beside_is_work() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let beside = "mkdir -p .git/agentvm-before/files && git rev-parse HEAD >.git/agentvm-before/moving
        : >.git/agentvm-before/since && sleep 0.1 && echo precious >.git/agentvm-before/files/feature.txt";
    workspace.sh(beside).succeeds();
    lab.agent_vm("clean --dry-run feature").fails(3).stdout_has("1 commit on ref refs/rescue/");
    let rescued = workspace.git("for-each-ref --format=%(refname) refs/rescue").succeeds().text();
    let kept = workspace.git(["show", &format!("{}:feature.txt", rescued.trim())]).succeeds();
    assert_eq!(kept.text(), "precious");
}

/// Half of what it had to list would pass for all of it.
#[test]
fn program_that_is_killed_while_it_looks_is_no_answer() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("git init -q inner && git -C inner -c user.name=a -c user.email=a@example.org commit -q --allow-empty -m inner && echo notes >notes.txt").succeeds();
    for (program, what) in [
        ("find", "*'-name .git -prune -print0'*"),
        ("find", "*/cwd*'-maxdepth 1'*"),
        ("find", "*/modules*"),
        ("tr", "*'\\0\\n \\n\\0'*"),
        ("sed", "'-E '*"),
    ] {
        let path = lab.guest_sh(&format!("command -v {program}")).succeeds().text();
        let script =
            format!("case \"$*\" in {what}) : >~/hit; kill -9 $$ ;; esac; exec {path} \"$@\"");
        lab.guest_fake(program, &script);
        let ran = lab.agent_vm("clean --dry-run feature").run();
        assert!(lab.guest_home().join("hit").exists(), "{program} {what} is not called\n{ran}");
        assert!(ran.code != 0 && ran.errors().contains("cannot look"), "{program} {what}\n{ran}");
        lab.guest_sh(&format!("rm ~/hit \"$HOME/../bin/{program}\"")).succeeds();
    }
}
