//! `git agent-vm status`, for people and as JSON.

use serde_json::Value;

use crate::support::Lab;

/// Every key of the document, with the kinds of value that it may have.
const DOCUMENT: &[(&str, &[&str])] = &[
    ("version", &["number"]),
    ("vm", &["object"]),
    ("mount", &["object", "null"]),
    ("workspaces", &["array", "null"]),
];
const VM: &[(&str, &[&str])] = &[
    ("name", &["string"]),
    ("provider", &["string"]),
    ("status", &["string"]),
    ("cpus", &["number", "null"]),
    ("memory_bytes", &["number", "null"]),
    ("disk_bytes", &["number", "null"]),
    ("disk_used_bytes", &["number", "null"]),
    ("trash_entries", &["number", "null"]),
    ("trash_bytes", &["number", "null"]),
    ("clock_skew_s", &["number", "null"]),
    ("provision", &["array", "null"]),
];
const WORKSPACE: &[(&str, &[&str])] = &[
    ("name", &["string"]),
    ("repository", &["string", "null"]),
    ("branch", &["string", "null"]),
    ("here", &["bool"]),
    ("head", &["string", "null"]),
    ("checked_out", &["string", "null"]),
    ("commits_unfetched", &["number", "null"]),
    ("commits_unpushed", &["number", "null"]),
    ("changed", &["number", "null"]),
    ("untracked", &["number", "null"]),
    ("ignored_bytes", &["number", "null"]),
    ("stashes", &["number", "null"]),
    ("operation", &["string", "null"]),
    ("last_commit", &["object", "null"]),
    ("error", &["string", "null"]),
];

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn follows(value: &Value, schema: &[(&str, &[&str])]) {
    for (key, kinds) in schema {
        let found = value.get(key).unwrap_or_else(|| panic!("no key {key} in {value:#}"));
        assert!(kinds.contains(&kind(found)), "{key} is {}: {value:#}", kind(found));
    }
}

/// The document of `status --json`, checked against the schema.
fn status(lab: &Lab) -> Value {
    let document = lab.agent_vm("status --json").succeeds().json();
    follows(&document, DOCUMENT);
    assert_eq!(document["version"], 1);
    follows(&document["vm"], VM);
    for workspace in document["workspaces"].as_array().into_iter().flatten() {
        follows(workspace, WORKSPACE);
    }
    document
}

/// The only workspace.
fn workspace(lab: &Lab) -> Value {
    let document = status(lab);
    let workspaces = document["workspaces"].as_array().unwrap();
    assert_eq!(workspaces.len(), 1, "{document:#}");
    workspaces[0].clone()
}

#[test]
fn guest_without_workspaces_has_an_empty_list() {
    let lab = Lab::new();
    let document = status(&lab);
    assert_eq!(document["workspaces"], Value::Array(Vec::new()));
    assert_eq!(document["vm"]["provider"], "ssh");
    assert_eq!(document["vm"]["status"], "running");
    lab.agent_vm("status").succeeds();
}

#[test]
fn clean_workspace_is_described() {
    let lab = Lab::new();
    lab.pushed_feature();
    let tip = lab.app().tip("feature");
    let found = workspace(&lab);
    assert_eq!(found["name"], "app-feature");
    assert_eq!(found["branch"], "feature");
    assert_eq!(found["here"], true);
    assert_eq!(found["head"], tip.as_str());
    assert_eq!(found["checked_out"], "feature");
    for key in ["commits_unfetched", "commits_unpushed", "changed", "untracked", "stashes"] {
        assert_eq!(found[key], 0, "{key}: {found:#}");
    }
    assert_eq!(found["operation"], Value::Null);
    assert_eq!(found["error"], Value::Null);
    assert_eq!(found["last_commit"]["id"], tip.as_str());
    assert_eq!(found["last_commit"]["subject"], "Change feature.txt");
    lab.agent_vm("status").succeeds().stdout_has("app-feature").stdout_has("feature");
}

#[test]
fn work_of_the_agent_is_counted() {
    let lab = Lab::new();
    let agent = lab.pushed_feature();
    agent.commit("one.txt", "one\n");
    agent.commit("two.txt", "two\n");
    agent.write("stashed.txt", "x\n");
    agent
        .sh("git stash -q -u; echo '*.log' >.git/info/exclude; head -c 8192 /dev/zero >big.log")
        .succeeds();
    agent.write("one.txt", "changed\n");
    agent.write("new1.txt", "x\n");
    agent.write("dir/new2.txt", "x\n");
    let found = workspace(&lab);
    assert_eq!(found["commits_unfetched"], 2, "{found:#}");
    assert_eq!(found["changed"], 1, "{found:#}");
    assert_eq!(found["untracked"], 2, "{found:#}");
    assert_eq!(found["stashes"], 1, "{found:#}");
    assert!(found["ignored_bytes"].as_u64().unwrap() >= 8192, "{found:#}");
}

#[test]
fn commits_count_as_fetched_once_the_host_keeps_them() {
    let lab = Lab::new();
    let agent = lab.pushed_feature();
    agent.commit("one.txt", "one\n");
    assert_eq!(workspace(&lab)["commits_unfetched"], 1);
    lab.git("fetch agentvm::feature").succeeds();
    assert_eq!(workspace(&lab)["commits_unfetched"], 0);
}

#[test]
fn commits_of_the_host_that_were_not_pushed_are_counted() {
    let lab = Lab::new();
    lab.pushed_feature();
    lab.app().commit_on("feature", "one.txt", "one\n");
    lab.app().commit_on("feature", "two.txt", "two\n");
    assert_eq!(workspace(&lab)["commits_unpushed"], 2);
}

#[test]
fn what_the_agent_has_checked_out_and_is_doing_is_told() {
    let lab = Lab::new();
    let agent = lab.pushed_feature();
    agent.sh("git checkout -q -b other").succeeds();
    assert_eq!(workspace(&lab)["checked_out"], "other");
    agent.sh("git checkout -q --detach").succeeds();
    assert_eq!(workspace(&lab)["checked_out"], Value::Null);
    let merge = "git checkout -q feature && echo a >feature.txt && git commit -qam a &&
        git checkout -q other && echo b >feature.txt && git commit -qam b && ! git merge feature >&2";
    agent.sh(merge).succeeds();
    assert_eq!(workspace(&lab)["operation"], "merge");
}

#[test]
fn settings_of_the_agent_hide_nothing() {
    // Digital-Process-Tools/claude-supertool#1290
    let lab = Lab::new();
    let agent = lab.pushed_feature();
    agent.git("config status.showUntrackedFiles no").succeeds();
    agent.git("config core.excludesFile .git/hidden").succeeds();
    agent.write(".git/hidden", "*\n");
    agent.write("work.txt", "x\n");
    agent.git("update-index --assume-unchanged feature.txt").succeeds();
    agent.write("feature.txt", "changed\n");
    let found = workspace(&lab);
    assert_eq!(found["untracked"], 1, "{found:#}");
    assert_eq!(found["changed"], 1, "{found:#}");
}

#[test]
fn workspaces_of_another_repository_are_not_here() {
    let lab = Lab::new();
    lab.pushed_feature();
    let other = lab.init("other");
    other.commit("a.txt", "a\n");
    other.enrol("main");
    other.git("push -q agentvm::main").succeeds();
    let document = status(&lab);
    for found in document["workspaces"].as_array().unwrap() {
        assert_eq!(found["here"], found["name"] == "app-feature", "{found:#}");
    }
}

#[test]
fn status_works_outside_a_repository() {
    let lab = Lab::new();
    lab.pushed_feature();
    let ran = lab.host("git", "agent-vm status --json").in_dir(lab.path()).succeeds();
    assert_eq!(ran.json()["workspaces"][0]["here"], false);
    lab.host("git", "agent-vm status").in_dir(lab.path()).succeeds().stdout_has("app-feature");
}

#[test]
fn all_workspaces_are_asked_in_one_session() {
    let lab = Lab::new();
    for branch in ["a", "b", "c"] {
        lab.git(["branch", branch, "feature"]).succeeds();
        lab.git(&format!("push -q agentvm::{branch} {branch}")).succeeds();
    }
    let sessions = lab.ssh_sessions_of(|| drop(lab.agent_vm("status --json").succeeds()));
    assert_eq!(sessions, 1);
}

#[test]
fn unreachable_guest_gives_a_document_without_inventions() {
    let lab = Lab::new();
    lab.pushed_feature();
    lab.stop_sshd();
    let ran = lab.agent_vm("status --json").run();
    let document = ran.json();
    follows(&document, DOCUMENT);
    assert_eq!(document["workspaces"], Value::Null, "{ran}");
    assert_eq!(document["vm"]["disk_used_bytes"], Value::Null, "{ran}");
    lab.agent_vm("status").run().stderr_has("host 'vm'");
}

#[test]
fn workspace_that_cannot_be_looked_into_is_null_with_a_reason() {
    // netease-lcap/wave-agent#2169
    let lab = Lab::new();
    let agent = lab.pushed_feature();
    agent.write("untracked.txt", "x\n");
    agent.sh("echo garbage >.git/index").succeeds();
    let found = workspace(&lab);
    assert_eq!(found["changed"], Value::Null, "{found:#}");
    assert_eq!(found["untracked"], Value::Null, "{found:#}");
    assert!(found["error"].is_string(), "{found:#}");
    lab.agent_vm("clean feature").fails(3);
    assert!(agent.exists());
}

#[test]
fn one_slow_workspace_does_not_hold_up_the_others() {
    // max-sixty/worktrunk#592
    let lab = Lab::new();
    lab.pushed_feature();
    lab.git("push -q agentvm::slow feature:refs/heads/slow").succeeds();
    lab.guest_fake(
        "git",
        "case $PWD in */app-slow) exec sleep 1000 ;; esac; PATH=${PATH#*:}; exec git \"$@\"",
    );
    let ran = lab.agent_vm("status --json").succeeds().took_under_seconds(20);
    let document = ran.json();
    for found in document["workspaces"].as_array().unwrap() {
        if found["name"] == "app-slow" {
            assert_eq!(found["changed"], Value::Null, "{ran}");
            assert!(found["error"].is_string(), "{ran}");
        } else {
            assert_eq!(found["changed"], 0, "{ran}");
        }
    }
}

#[test]
fn stdout_is_one_document_whatever_else_there_is_to_say() {
    // nao1215/gup#291
    let lab = Lab::new();
    let agent = lab.pushed_feature();
    lab.agent_vm("status --json")
        .env("CLICOLOR_FORCE", "1")
        .env("GIT_TRACE", "1")
        .succeeds()
        .shows_clean_text()
        .json();
    lab.agent_vm("--color always status --json").succeeds().shows_clean_text().json();
    lab.on_terminal("git agent-vm status --json 2>/dev/null").succeeds().json();
    agent.sh("chmod 000 .git/HEAD").succeeds();
    lab.agent_vm("status --json").succeeds().json();
    agent.sh("chmod 644 .git/HEAD").run();
}

#[test]
fn status_starts_nothing_and_makes_nothing() {
    let lab = Lab::new();
    lab.agent_vm("status").succeeds();
    lab.guest_sh("test ! -e workspace").succeeds();
    let before = lab.app().config_bytes();
    lab.agent_vm("status").succeeds();
    assert_eq!(lab.app().config_bytes(), before);
}

#[test]
fn colour_is_left_out_where_nobody_wants_it() {
    let lab = Lab::new();
    lab.pushed_feature();
    lab.agent_vm("status").succeeds().shows_clean_text();
    let colours = |script: &str| {
        let text = lab.on_terminal(script).env("TERM", "xterm-256color").succeeds().text();
        text.split("\u{1b}[").skip(1).any(|rest| {
            rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m')
        })
    };
    assert!(!colours("NO_COLOR=1 git agent-vm status"));
    assert!(!colours("git agent-vm --color never status"));
    assert!(colours("git agent-vm --color always fetch not-there || true"));
}

#[test]
fn changed_file_of_gigabytes_holds_nothing_up() {
    // git-for-windows/git#3833
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.commit("big.bin", "small\n");
    lab.git("fetch -q agentvm::feature").succeeds();
    // It takes no room on the disk.
    workspace.sh("truncate -s 3G big.bin").succeeds();
    let shown = lab.agent_vm("status --json").succeeds().took_under_seconds(20).json();
    let row = &shown["workspaces"][0];
    assert_eq!((&row["changed"], &row["error"]), (&1.into(), &serde_json::Value::Null));
    lab.git("fetch agentvm::feature").succeeds().took_under_seconds(20).stderr_has("1 file");
    lab.git("push agentvm::feature FETCH_HEAD:refs/heads/feature").succeeds();
    lab.git("push --force agentvm::feature feature")
        .fails(1)
        .took_under_seconds(20)
        .stderr_has("big.bin");
}
