//! What a hostile agent puts into the history that the host fetches.

use crate::support::{Lab, Workspace};

const EMPTY_BLOB: [u8; 20] = [
    0xe6, 0x9d, 0xe2, 0x9b, 0xb2, 0xd1, 0xd6, 0x43, 0x4b, 0x8b, 0x29, 0xae, 0x77, 0x5a, 0xd8, 0xc2,
    0xe4, 0x8c, 0x53, 0x91,
];

/// A tree entry as it stands in a tree object.
fn entry(mode: &str, name: &str, id: &[u8]) -> Vec<u8> {
    [mode.as_bytes(), b" ", name.as_bytes(), b"\0", id].concat()
}

fn file(name: &str) -> Vec<u8> {
    entry("100644", name, &EMPTY_BLOB)
}

/// Writes an object without git's own checks; gives its id.
fn object(workspace: &Workspace<'_>, kind: &str, bytes: &[u8]) -> String {
    let words = ["hash-object", "-w", "-t", kind, "--literally", "--stdin"];
    workspace.git(words).stdin(bytes).succeeds().text()
}

fn bytes_of(id: &str) -> Vec<u8> {
    (0..id.len()).step_by(2).map(|at| u8::from_str_radix(&id[at..at + 2], 16).unwrap()).collect()
}

/// Makes a commit of this tree the tip of feature.
fn commit_tree(workspace: &Workspace<'_>, tree: &[u8]) -> String {
    object(workspace, "blob", b"");
    let tree = object(workspace, "tree", tree);
    let script = "git update-ref refs/heads/feature $(git commit-tree -p HEAD -m odd $1)";
    workspace.sh_with(script, [&tree]).succeeds();
    workspace.tip("feature")
}

fn is_refused(lab: &Lab, what: &str) {
    let ran = lab.git("fetch agentvm::feature").run();
    assert!(ran.code == 128, "{what} was not refused\n{ran}");
    assert_eq!(lab.app().refs("refs/agentvm"), "", "{what}");
    lab.git("rev-parse -q --verify FETCH_HEAD").run();
}

#[test]
fn trees_that_would_write_where_they_must_not_are_refused() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let empty_tree = bytes_of(&object(&workspace, "tree", b""));
    for (what, tree) in [
        (".git", file(".git")),
        (".GIT", file(".GIT")),
        (".git as a directory", entry("40000", ".git", &empty_tree)),
        ("a short name of .git", file("git~1")),
        (".git with an invisible character", file(".g\u{200c}it")),
        ("..", entry("40000", "..", &empty_tree)),
        (".", entry("40000", ".", &empty_tree)),
        ("a path as a name", file("a/b")),
        (".gitmodules as a link", entry("120000", ".gitmodules", &EMPTY_BLOB)),
        ("two entries of one name", [file("a"), file("a")].concat()),
    ] {
        commit_tree(&workspace, &tree);
        is_refused(&lab, what);
    }
}

#[test]
fn gitmodules_that_would_run_something_are_refused() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    for text in [
        "[submodule \"x\"]\n\tpath = x\n\turl = --upload-pack=touch\n",
        "[submodule \"x\"]\n\tpath = -x\n\turl = https://example.org/x\n",
        "[submodule \"../../x\"]\n\tpath = x\n\turl = https://example.org/x\n",
    ] {
        let blob = bytes_of(&object(&workspace, "blob", text.as_bytes()));
        commit_tree(&workspace, &entry("100644", ".gitmodules", &blob));
        is_refused(&lab, text);
    }
}

#[test]
fn refusal_of_an_object_names_it_and_its_fault() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    commit_tree(&workspace, &file(".git"));
    lab.git("fetch agentvm::feature").fails(128).stderr_has("hasDotgit");
}

#[test]
fn honest_old_history_is_accepted_with_a_warning() {
    // django-commons/django-debug-toolbar#1050
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let inner = bytes_of(&object(&workspace, "tree", &file("a.txt")));
    let tree = [entry("040000", "dir", &inner), file("z.txt")].concat();
    let tip = commit_tree(&workspace, &tree);
    lab.git("fetch agentvm::feature").succeeds().stderr_has("zeroPaddedFilemode");
    assert_eq!(lab.app().tip("FETCH_HEAD"), tip);
    let clone = "clone -q agentvm://agent-vm/app-feature copy";
    lab.host("git", clone).succeeds().stderr_has("zeroPaddedFilemode");
    assert_eq!(lab.repo("copy").tip("HEAD"), tip);
}

#[test]
fn commit_with_an_impossible_time_zone_is_accepted() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let text = format!(
        "tree {}\nparent {}\nauthor A <a@example.org> 1288372641 +051800\n\
         committer A <a@example.org> 1288372641 +051800\n\nold\n",
        workspace.tip("HEAD^{tree}"),
        workspace.tip("HEAD"),
    );
    let tip = object(&workspace, "commit", text.as_bytes());
    workspace.git(["update-ref", "refs/heads/feature", &tip]).succeeds();
    lab.git("fetch agentvm::feature").succeeds();
    assert_eq!(lab.app().tip("FETCH_HEAD"), tip);
}

#[test]
fn users_own_looser_settings_do_not_open_the_gate() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    for (key, value) in [
        ("fetch.fsckObjects", "false"),
        ("transfer.fsckObjects", "false"),
        ("fetch.fsck.hasDotgit", "ignore"),
        ("fsck.hasDotgit", "ignore"),
    ] {
        lab.git(["config", key, value]).succeeds();
    }
    commit_tree(&workspace, &file(".git"));
    is_refused(&lab, "with looser settings, .git");
}

#[test]
fn missing_object_is_noticed_before_anything_is_kept() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let tree = file("ghost.txt");
    let tree = object(&workspace, "tree", &tree);
    let script = "rm -f .git/objects/e6/9de29*; git update-ref refs/heads/feature $(git commit-tree -p HEAD -m ghost $1)";
    workspace.sh_with(script, [&tree]).succeeds();
    is_refused(&lab, "a missing blob");
}

#[test]
fn delta_bomb_is_refused_before_it_unpacks() {
    // 361 bytes that unpack to one file of 3 GB, served by a git that skips its own checks.
    let lab = Lab::new();
    lab.pushed_feature();
    let bomb = include_bytes!("data/delta-bomb.pack");
    lab.guest_command("sh", ["-c", "cat >bomb.pack"]).stdin(bomb).succeeds();
    serve_pack(&lab, "e098d01a36d1a692cfff27b1124739c43ae78c36", "bomb.pack");
    lab.git("fetch agentvm::feature").fails(128).stderr_has("memory").took_under_seconds(20);
    assert_eq!(lab.app().refs("refs/agentvm"), "");
}

/// Makes the guest's upload-pack claim that feature is `tip` and answer with that pack.
fn serve_pack(lab: &Lab, tip: &str, pack: &str) {
    let line = format!("{tip} refs/heads/feature\\0ofs-delta agent=git/2\\n");
    let length = 4 + line.len() - 2;
    let script = format!(
        "case \" $* \" in *' upload-pack '*) ;; *) PATH=${{PATH#*:}}; exec git \"$@\" ;; esac
         printf '{length:04x}{line}0000'
         sed -n '/done$/q'
         printf '0008NAK\\n'
         exec cat \"$HOME/{pack}\""
    );
    lab.guest_fake("git", &script);
}

#[test]
fn pack_that_never_ends_stops_at_the_limit() {
    let lab = Lab::new();
    lab.pushed_feature();
    lab.guest_sh("mkfifo endless.pack").succeeds();
    serve_pack(&lab, "e098d01a36d1a692cfff27b1124739c43ae78c36", "endless.pack");
    let feeder = lab
        .guest_sh("exec 3>endless.pack; printf 'PACK\\0\\0\\0\\2\\377\\377\\377\\377' >&3; exec cat /dev/urandom >&3")
        .background();
    lab.git("-c agentvm.fetchLimit=2MiB fetch agentvm::feature").fails(128);
    drop(feeder);
}

#[test]
fn refs_with_hostile_names_reach_neither_terminal_nor_host() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.commit("agent.txt", "agent\n");
    for name in ["\u{1b}[2Jx", "x\u{202e}y", "x\u{9b}31m", "a\rb"] {
        // Not every one is a name that git itself would make.
        let script = "mkdir -p .git/refs/heads && git rev-parse HEAD >\".git/refs/heads/$1\"";
        workspace.sh_with(script, [name]).run();
        workspace
            .sh_with("git rev-parse HEAD | sed \"s|$|\trefs/heads/$1|\" >>.git/packed-refs", [name])
            .run();
    }
    lab.git("ls-remote agentvm::feature").run().shows_clean_text();
    lab.git("fetch agentvm::feature").run().shows_clean_text();
    lab.agent_vm("status").run().shows_clean_text();
    lab.git("push agentvm::feature").run().shows_clean_text();
    assert_eq!(lab.app().refs("refs/remotes"), "");
}

#[test]
fn subjects_with_escape_sequences_are_cleaned() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace
        .sh("git commit -q --allow-empty -m \"$(printf 'red \\033[31m and \\302\\2332J')\"")
        .succeeds();
    lab.agent_vm("status").succeeds().shows_clean_text();
    let status = lab.agent_vm("status --json").succeeds().shows_clean_text().json();
    let subject = status["workspaces"][0]["last_commit"]["subject"].as_str().unwrap();
    assert!(subject.starts_with("red "), "{subject}");
}
