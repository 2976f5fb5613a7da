//! `destroy --force`: what is nowhere else is saved on the host before the VM goes, and comes back into
//! a new one.
//!
//! limactl is a script that says that the lab's guest is a VM of Lima's, and ssh one that logs in as
//! the lab's user; `real_vm` has the real ones.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::Value;

use crate::limactl::{instance, put_limactl, remember_vm, run_vm};
use crate::support::{Lab, Ran, Workspace};

/// A lab with the workspace of feature, whose guest passes for the VM 'agent-vm'.
fn lab() -> Lab {
    let lab = Lab::new();
    lab.pushed_feature();
    as_vm(&lab);
    lab
}

fn as_vm(lab: &Lab) {
    lab.git_config("agentvm.provider", "lima");
    remember_vm(lab);
    let read = |name: &str| fs_err::read_to_string(lab.path().join("ssh").join(name)).unwrap();
    let config = read("config");
    let value = |key: &str| {
        config.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap().trim().to_owned()
    };
    run_vm(lab, value("Port ").parse().unwrap());
    let state = lab.home().join(".local/state/git-agent-vm/vm/agent-vm");
    let known = read("known_hosts");
    let (_, key) = known.split_once(' ').unwrap();
    fs_err::write(state.join("known_hosts"), format!("agent-vm {key}")).unwrap();
    let link = state.join("key");
    std::os::unix::fs::symlink(lab.path().join("ssh/id"), link).ok();
    let ssh = format!(
        "#!/bin/sh\nfor word; do shift; case $word in agent@127.0.0.1) word={}@127.0.0.1 ;; esac
         set -- \"$@\" \"$word\"; done\nexec {} \"$@\"\n",
        value("User "),
        which::which("ssh").unwrap().display()
    );
    lab.put_program("ssh", &ssh);
    put_limactl(
        lab,
        &format!(
            "#!/bin/sh\ncase \"$*\" in\n*--version*) echo limactl version 2.2.0 ;;\n\
             *list*) test ! -e \"$HOME/.lima/agent-vm\" || {} ;;\n\
             *delete*) rm -r \"$HOME/.lima/agent-vm\" ;;\n*) exit 9 ;;\nesac\n",
            instance("Running")
        ),
    );
}

/// A new VM, without anything in it.
fn new_vm(lab: &Lab) {
    lab.forget_workspaces();
    as_vm(lab);
}

fn is_there(lab: &Lab) -> bool {
    lab.home().join(".lima/agent-vm").exists()
}

fn saved(lab: &Lab) -> PathBuf {
    lab.home().join(".local/state/git-agent-vm/saved/agent-vm")
}

/// The directories in which something was saved, unfinished ones too.
fn saves(lab: &Lab) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(saved(lab)).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn manifest(lab: &Lab) -> Value {
    let [dir] = &saves(lab)[..] else { panic!("{:?}", saves(lab)) };
    serde_json::from_slice(&fs_err::read(dir.join("manifest.json")).unwrap()).unwrap()
}

/// The names by which what was saved is restored, of what was called so.
fn name_of(lab: &Lab, called: &str) -> String {
    let manifest = manifest(lab);
    let items = manifest["items"].as_array().unwrap();
    let item = items.iter().find(|item| item["workspace"] == called);
    item.unwrap_or_else(|| panic!("{manifest:#}"))["name"].as_str().unwrap().to_owned()
}

fn destroy(lab: &Lab) -> Ran {
    lab.agent_vm("destroy --force").succeeds()
}

fn everything(workspace: &Workspace<'_>) -> String {
    let script = "git rev-list --all --reflog --objects | sort; git for-each-ref; git stash list
        cat .git/logs/HEAD .git/HEAD; git status --porcelain --ignored";
    format!("{}{}", workspace.sh(script).succeeds().text(), workspace.snapshot())
}

const UNSAVED: &str = "echo x >feature.txt; git stash -q; git commit -q --allow-empty -m gone
    git reset -q --hard HEAD~; git notes add -m note; echo untracked >notes.txt
    echo '.env' >.git/info/exclude; echo secret >.env; chmod 600 .env
    git commit -q --allow-empty -m only; mkdir -p ro; echo r >ro/r; chmod a-w ro";

#[test]
fn unsaved_work_is_saved_whole_and_comes_back_into_a_new_vm() {
    let lab = lab();
    let workspace = lab.workspace("app-feature");
    workspace.sh(UNSAVED).succeeds();
    let before = everything(&workspace);
    lab.agent_vm("destroy").fails(3).stderr_has("destroy --force saves all of it");
    destroy(&lab).stderr_has("saved 1 thing of the VM 'agent-vm' in ").stderr_has("deleted the VM");
    assert!(!is_there(&lab));
    let [dir] = &saves(&lab)[..] else { panic!("{:?}", saves(&lab)) };
    let mode =
        |path: &std::path::Path| fs_err::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(dir), 0o700);
    let mut files: Vec<String> = fs_err::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            assert_eq!(mode(&entry.path()), 0o600);
            entry.file_name().into_string().unwrap()
        })
        .collect();
    files.sort();
    assert_eq!(files, ["1.tar.gz", "manifest.json"]);
    let item = &manifest(&lab)["items"][0];
    assert_eq!(item["ref"], "refs/heads/feature");
    assert_eq!(item["bytes"], fs_err::metadata(dir.join("1.tar.gz")).unwrap().len());

    lab.agent_vm("restore")
        .succeeds()
        .stdout_has("app-feature.")
        .stdout_has("saved of VM 'agent-vm'");
    new_vm(&lab);
    let name = name_of(&lab, "app-feature");
    lab.agent_vm(["restore", &name])
        .succeeds()
        .stderr_has("as workspace 'app-feature' of branch 'feature'")
        .stderr_has("out of effect");
    assert!(everything(&workspace) == before, "{before}\n{}", everything(&workspace));
    workspace.git("stash pop -q").succeeds();
    assert_eq!(workspace.read("feature.txt"), "x\n");
    lab.git("fetch agentvm::feature").succeeds();
    lab.agent_vm(["restore", "--drop", "--force", &name]).succeeds();
    assert!(saves(&lab).is_empty());
}

#[test]
fn branch_names_what_was_saved_and_a_newer_workspace_stays() {
    let lab = lab();
    lab.workspace("app-feature").write("notes.txt", "one\n");
    destroy(&lab);
    new_vm(&lab);
    lab.pushed_feature().write("notes.txt", "two\n");
    lab.agent_vm("restore feature").succeeds().stderr_has("'app-feature-restored'");
    assert_eq!(lab.workspace("app-feature").read("notes.txt"), "two\n");
    assert_eq!(lab.workspace("app-feature-restored").read("notes.txt"), "one\n");
}

#[test]
fn what_is_here_already_is_not_saved() {
    let lab = lab();
    destroy(&lab).stderr_has("there is nothing to save").stderr_has("deleted the VM");
    assert!(!is_there(&lab) && saves(&lab).is_empty());
}

#[test]
fn trash_other_repositories_and_other_files_are_saved_too() {
    let lab = lab();
    lab.workspace("app-feature").write("notes.txt", "trashed\n");
    lab.agent_vm("clean --force feature").succeeds();
    let other = lab.init("other");
    other.commit("a.txt", "a\n");
    other.enrol("main");
    other.git("push -q agentvm::main").succeeds();
    let script = "cd workspace && echo f >file && mkdir -p dir/deep && echo d >dir/deep/d &&
        ln -s /etc/passwd link && echo odd >\"$(printf 'odd\\033[31m\\n../name')\" 2>/dev/null;
        mkdir \"$(printf 'odd\\033[31m\\nname')\" && echo odd >\"$(printf 'odd\\033[31m\\nname')\"/f";
    lab.guest_sh(script).succeeds();
    destroy(&lab).shows_clean_text().stderr_has("saved 6 things");
    let text = fs_err::read_to_string(saves(&lab)[0].join("manifest.json")).unwrap();
    assert!(!text.contains('\u{1b}') && !text.contains("u001b"), "{text}");
    new_vm(&lab);
    for (called, script, wanted) in [
        ("app-feature", "cat app-feature/notes.txt", "trashed"),
        ("other-main", "cat other-main/a.txt", "a"),
        ("file", "cat file", "f"),
        ("dir", "cat dir/deep/d", "d"),
        ("link", "readlink link", "/etc/passwd"),
        ("odd__31m_name", "cat odd__31m_name/f", "odd"),
    ] {
        lab.agent_vm(["restore", &name_of(&lab, called)]).succeeds();
        lab.guest_sh(&format!("cd workspace && {script}")).succeeds().stdout_is(wanted);
    }
    other.git("fetch agentvm::main").succeeds();
}

#[test]
fn linked_worktrees_elsewhere_come_along() {
    let lab = lab();
    let script = "git worktree add -q ~/away/x -b x && echo w >~/away/x/w &&
        git worktree add -q ../beside -b beside && echo b >../beside/b";
    lab.workspace("app-feature").sh(script).succeeds();
    destroy(&lab);
    lab.guest_sh("rm -r away").succeeds();
    new_vm(&lab);
    lab.agent_vm(["restore", &name_of(&lab, "app-feature")])
        .succeeds()
        .stderr_has("its linked worktree is ~/workspace/app-feature-x");
    lab.agent_vm(["restore", &name_of(&lab, "beside")]).succeeds();
    for (dir, untracked, branch) in [("app-feature-x", "?? w", "x"), ("beside", "?? b", "beside")] {
        let git = |words: &str| lab.guest_sh(&format!("git -C workspace/{dir} {words}")).succeeds();
        git("status --short").stdout_is(untracked);
        git("symbolic-ref --short HEAD").stdout_is(branch);
    }
    let listed = lab.workspace("app-feature").git("worktree list --porcelain").succeeds();
    listed.stdout_has("app-feature-x").stdout_has("beside").stdout_lacks("prunable");
}

#[test]
fn hooks_and_settings_that_run_something_come_back_without_effect() {
    let lab = lab();
    let trap = "printf '#!/bin/sh\\ntouch ~/pwned\\n' >.git/hooks/post-checkout &&
        chmod +x .git/hooks/post-checkout && cp .git/hooks/post-checkout ~/run &&
        git config core.fsmonitor ~/run && git config alias.st '!~/run' &&
        git config core.hooksPath ~/hooks && git config include.path ~/include &&
        git config remote.origin.url https://example.org/x && git config remote.evil.url 'ext::~/run' &&
        git config branch.feature.merge refs/heads/feature &&
        git init -q sub && cp .git/hooks/post-checkout sub/.git/hooks/ &&
        git -C sub config core.sshCommand ~/run && echo only >sub/only";
    let workspace = lab.workspace("app-feature");
    workspace.sh(trap).succeeds();
    destroy(&lab);
    let find = format!("find '{}' -name post-checkout -o -name config", saved(&lab).display());
    lab.sh(&find).succeeds().stdout_is("");
    new_vm(&lab);
    lab.agent_vm("restore feature").succeeds();
    workspace.sh("git checkout -q -b new && git status && git -C sub status").succeeds();
    lab.guest_sh("test ! -e pwned").succeeds();
    let settings = workspace.git("config --local --list").succeeds();
    let settings = settings
        .stdout_has("remote.origin.url=https://example.org/x")
        .stdout_has("branch.feature.merge")
        .stdout_has("agentvm.ref=refs/heads/feature")
        .stdout_has("gc.pruneexpire=never");
    for gone in ["fsmonitor", "alias.", "hookspath", "include.", "evil"] {
        assert!(!settings.text().contains(gone), "{settings}");
    }
    workspace.sh("git -C sub config --list --local").succeeds().stdout_lacks("ssh");
    let kept = "grep -q fsmonitor .git/config.saved && cat .git/hooks.saved/post-checkout &&
        test -e sub/.git/hooks.saved && cat sub/only";
    workspace.sh(kept).succeeds().stdout_has("touch ~/pwned").stdout_has("only");
}

#[test]
fn failure_of_any_kind_stops_it() {
    let lab = lab();
    let workspace = lab.workspace("app-feature");
    workspace.write("notes.txt", "only\n");
    let refuses = |word: &str| {
        lab.agent_vm("destroy --force")
            .env("GIT_AGENT_VM_TIME_LIMIT", "10")
            .run()
            .stderr_has("so it stays")
            .stderr_has(word)
            .stderr_has("hint: git agent-vm destroy --discard");
        assert!(is_there(&lab), "{word}");
        assert_eq!(workspace.read("notes.txt"), "only\n");
        assert!(saves(&lab).is_empty(), "{word}: {:?}", saves(&lab));
    };
    for (program, script, word) in [
        ("tar", "/bin/tar \"$@\"; exit 2", "could not read all of it"),
        ("tar", "echo no such luck >&2; exit 2", "no such luck"),
        ("tar", "/bin/tar \"$@\" | head -c 2000; exit 1", "it changes while it is saved"),
        ("gzip", "/bin/gzip \"$@\" | head -c 300; exit 1", "could not read all of it"),
        ("sha256sum", "echo 0000; cat >/dev/null", "not all of it arrived"),
        ("tee", "kill -9 $(ps -o ppid= -p $PPID); exit 1", ""),
        ("du", "exit 1", "cannot measure"),
        ("mkfifo", "exit 1", "cannot write"),
    ] {
        lab.guest_fake(program, script);
        refuses(word);
        lab.guest_sh(&format!("rm \"$HOME/../bin/{program}\"")).succeeds();
    }
    // A VM that says little and sends much.
    lab.guest_fake("du", "printf '1\\t.\\n'");
    lab.guest_fake("gzip", "head -c 20000000 /dev/urandom; cat >/dev/null");
    refuses("sends more than it has");
    lab.guest_sh("rm \"$HOME/../bin/gzip\"").succeeds();
    // More than this machine has.
    lab.guest_fake("du", "printf '999999999999\\t.\\n'");
    refuses("there is no room to save");
    lab.guest_sh("rm \"$HOME/../bin/du\"").succeeds();
    destroy(&lab);
    assert_eq!(saves(&lab).len(), 1);
}

#[test]
fn agent_that_goes_on_working_is_noticed() {
    let lab = lab();
    let workspace = lab.workspace("app-feature");
    workspace.write("notes.txt", "only\n");
    // It writes while the last thing is packed, elsewhere than there.
    lab.git("push -q agentvm::other feature:refs/heads/other").succeeds();
    lab.guest_fake("gzip", "echo late >~/workspace/app-other/late.txt; exec /bin/gzip \"$@\"");
    lab.agent_vm("destroy --force").fails(3).stderr_has("app-other/late.txt");
    assert!(is_there(&lab) && saves(&lab).is_empty());
    lab.guest_sh("rm \"$HOME/../bin/gzip\"").succeeds();
    destroy(&lab);
    new_vm(&lab);
    lab.agent_vm("restore other").succeeds();
    assert_eq!(lab.workspace("app-other").read("late.txt"), "late\n");
}

/// What the first look after a start mends is no change by anybody.
#[test]
fn vm_that_was_stopped_is_saved() {
    let lab = lab();
    let workspace = lab.workspace("app-feature");
    workspace.write("notes.txt", "only\n");
    workspace.sh("echo another >.git/agentvm-boot").succeeds();
    destroy(&lab);
    assert_eq!(saves(&lab).len(), 1);
}

/// Its linked worktrees are saved with a workspace, wherever they are.
#[test]
fn agent_that_goes_on_working_elsewhere_is_noticed() {
    let lab = lab();
    lab.workspace("app-feature").sh("git worktree add -q ~/outside -b outside").succeeds();
    lab.guest_fake("gzip", "/bin/gzip \"$@\"; code=$?; echo late >~/outside/late.txt; exit $code");
    lab.agent_vm("destroy --force").fails(3).stderr_has("/outside/late.txt");
    assert!(is_there(&lab) && saves(&lab).is_empty());
}

/// Nobody knows then what has changed.
#[test]
fn look_for_changes_that_is_killed_is_no_answer() {
    let lab = lab();
    lab.workspace("app-feature").write("notes.txt", "only\n");
    let find = "case \"$*\" in *-cnewer*) kill -9 $$ ;; esac; exec /usr/bin/find \"$@\"";
    lab.guest_fake("find", find);
    lab.agent_vm("destroy --force").fails(3).stderr_has("nobody knows what has changed");
    assert!(is_there(&lab) && saves(&lab).is_empty());
}

#[test]
fn destroy_that_is_killed_deletes_nothing_and_leaves_nothing() {
    let lab = lab();
    lab.workspace("app-feature").write("notes.txt", "only\n");
    lab.guest_fake("gzip", "head -c 100000; touch ~/packing; exec sleep 55");
    let destroy = lab.agent_vm("destroy --force").background();
    lab.wait_until("it saves", |lab| lab.guest_home().join("packing").exists());
    // What another one left goes, whichever VM it was of, but not before it is sure.
    lab.sh("cd ~/.local/state/git-agent-vm/saved && mkdir -p old/17.part && echo x >old/17.part/1.tar.gz").succeeds();
    lab.agent_vm("restore").succeeds().stdout_is("");
    let unfinished = "ls -d ~/.local/state/git-agent-vm/saved/*/*.part 2>/dev/null | wc -l";
    lab.sh(unfinished).succeeds().stdout_is("2");
    destroy.signal(rustix::process::Signal::KILL);
    destroy.finish();
    assert!(is_there(&lab));
    let left = saves(&lab);
    assert!(left.iter().all(|dir| dir.to_string_lossy().ends_with(".part")), "{left:?}");
    lab.agent_vm("restore").succeeds().stdout_is("");
    lab.sh(unfinished).succeeds().stdout_is("0");
    lab.kill_guest();
    lab.guest_sh("rm \"$HOME/../bin/gzip\"").succeeds();
    self::destroy(&lab);
    assert_eq!(manifest(&lab)["items"].as_array().unwrap().len(), 1);
}

#[test]
fn unpacking_that_is_killed_leaves_no_half_of_a_workspace() {
    let lab = lab();
    lab.workspace("app-feature").write("notes.txt", "only\n");
    destroy(&lab);
    new_vm(&lab);
    lab.guest_fake("tar", "/bin/tar \"$@\"; touch ~/unpacked; exec sleep 55");
    let restore = lab.agent_vm("restore feature").background();
    lab.wait_until("it is unpacked", |lab| lab.guest_home().join("unpacked").exists());
    lab.kill_guest();
    restore.finish();
    assert!(lab.workspaces().is_empty());
    lab.guest_sh("rm \"$HOME/../bin/tar\"").succeeds();
    lab.agent_vm("restore").succeeds().stdout_has("saved of").stdout_lacks("trash");
    lab.agent_vm("restore feature").succeeds().stderr_has("as workspace 'app-feature'");
    assert_eq!(lab.workspace("app-feature").read("notes.txt"), "only\n");
    lab.agent_vm("clean --force feature").succeeds();
    lab.guest_sh("ls -A workspace/.trash").succeeds().stdout_lacks(".restoring");
}

#[test]
fn saved_file_that_was_damaged_is_not_restored() {
    let lab = lab();
    lab.workspace("app-feature").write("notes.txt", "only\n");
    destroy(&lab);
    new_vm(&lab);
    let file = saves(&lab)[0].join("1.tar.gz");
    let good = fs_err::read(&file).unwrap();
    let mut bad = good.clone();
    let at = bad.len() / 2;
    bad[at] ^= 1;
    for bytes in [&bad[..], &good[..good.len() - 1], &[]] {
        fs_err::write(&file, bytes).unwrap();
        lab.agent_vm("restore feature").fails(1).stderr_has("is not what was saved");
        lab.guest_sh("ls -A workspace workspace/.trash").succeeds().stdout_lacks("app");
    }
    fs_err::write(&file, good).unwrap();
    lab.agent_vm("restore feature").succeeds();
}

#[test]
fn discard_wants_the_name_and_says_what_goes() {
    let lab = lab();
    lab.workspace("app-feature").write("notes.txt", "only\n");
    lab.agent_vm("destroy --discard").fails(3).stderr_has("--discard=agent-vm");
    lab.agent_vm("destroy --force --discard").fails(3);
    lab.agent_vm("destroy --discard=other").fails(2).stderr_has("'agent-vm'");
    lab.on_terminal("git agent-vm destroy --discard")
        .stdin("yes\n")
        .fails(3)
        .stdout_has("workspaces: app-feature")
        .stdout_has("nothing is deleted");
    assert!(is_there(&lab));
    lab.on_terminal("git agent-vm destroy --discard")
        .stdin("agent-vm\n")
        .succeeds()
        .stdout_has("deleted the VM");
    assert!(!is_there(&lab) && saves(&lab).is_empty());
    as_vm(&lab);
    // One that hangs does not keep anybody waiting for long.
    lab.hostile_guest("exec sleep 50");
    as_vm(&lab);
    lab.agent_vm("destroy --discard=agent-vm")
        .succeeds()
        .stderr_has("cannot be learned")
        .took_under_seconds(30);
    assert!(!is_there(&lab));
}

#[test]
fn unreachable_vm_is_not_deleted_unsaved() {
    let lab = lab();
    lab.workspace("app-feature").write("notes.txt", "only\n");
    lab.hostile_guest("exit 1");
    as_vm(&lab);
    let ran = lab.agent_vm("destroy --force").env("GIT_AGENT_VM_TIME_LIMIT", "2").run();
    assert!([3, 6].contains(&ran.code), "{ran}");
    ran.stderr_has("so it stays").stderr_has("git agent-vm destroy --discard");
    assert!(is_there(&lab));
}
