//! Pushes that would destroy something in the workspace, or that something stands in the way of.
//! Each is refused, names what is in the way, and leaves the workspace as it was.

use crate::support::{Lab, Ran, Workspace};

/// Pushes feature, expects a refusal of that ref, and that nothing changed in the workspace.
fn refused(lab: &Lab, workspace: &Workspace<'_>) -> Ran {
    let before = workspace.snapshot();
    let ran = lab.git("push agentvm::feature").fails(1).stderr_has("feature -> feature");
    assert!(workspace.snapshot() == before, "the refused push changed the workspace\n{ran}");
    ran
}

#[test]
fn changed_file_refuses_a_push() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.write("feature.txt", "the agent edits this\n");
    lab.app().commit_on("feature", "host.txt", "host\n");
    refused(&lab, &workspace).stderr_has("feature.txt");
}

#[test]
fn change_that_only_its_bytes_give_away_refuses_a_push() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    // Of the same size, in the second in which the last push wrote file and index.
    let change = "git config core.trustctime false && time=$(stat -c %y feature.txt) &&
        printf 'two\\n' >feature.txt && touch -d \"$time\" feature.txt .git/index";
    workspace.sh(change).succeeds();
    lab.app().commit_on("feature", "host.txt", "host\n");
    refused(&lab, &workspace).stderr_has("feature.txt");
}

#[test]
fn hint_of_a_refused_push_can_be_pasted_whatever_the_branch_is_called() {
    let lab = Lab::new();
    let branch = "it's;touch${IFS}pwned";
    lab.git(["branch", branch, "feature"]).succeeds();
    lab.agent_vm(["push", branch]).succeeds();
    let name = lab.workspaces().remove(0);
    lab.workspace(&name).write("feature.txt", "the agent edits this\n");
    lab.app().commit_on(branch, "host.txt", "host\n");
    lab.git(["push", &format!("agentvm::{branch}")])
        .fails(1)
        .stderr_has(r"git agent-vm connect 'it'\''s;touch${IFS}pwned'");
}

#[test]
fn rebase_after_a_refused_push_keeps_the_hosts_commit() {
    // glandium/git-cinnabar#81
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.git("checkout -q feature").succeeds();
    lab.app().commit("host.txt", "host\n");
    workspace.write("feature.txt", "two\n");
    lab.git("push agentvm::feature").fails(1);
    workspace.git("checkout -q -- feature.txt").succeeds();
    let agents = workspace.commit("agent.txt", "agent\n");
    lab.git("pull -q --rebase agentvm::feature").succeeds();
    assert_eq!(lab.app().tip("HEAD^"), agents);
    assert_eq!(lab.app().read("host.txt"), "host\n");
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(workspace.read("host.txt"), "host\n");
}

#[test]
fn staged_change_refuses_a_push() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.write("staged.txt", "staged\n");
    workspace.git("add staged.txt").succeeds();
    lab.app().commit_on("feature", "host.txt", "host\n");
    refused(&lab, &workspace).stderr_has("staged.txt");
}

#[test]
fn untracked_file_elsewhere_does_not_refuse_a_push() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.write("notes.txt", "notes\n");
    let tip = lab.app().commit_on("feature", "host.txt", "host\n");
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(workspace.tip("HEAD"), tip);
    assert_eq!(workspace.read("notes.txt"), "notes\n");
}

#[test]
fn push_keeps_untracked_file_in_the_way() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.write("notes.txt", "the agent's\n");
    lab.app().commit_on("feature", "notes.txt", "the host's\n");
    refused(&lab, &workspace).stderr_has("notes.txt");
}

#[test]
fn push_keeps_ignored_file_in_the_way() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("echo .env >>.git/info/exclude; echo SECRET >.env").succeeds();
    lab.app().commit_on("feature", ".env", "from the host\n");
    refused(&lab, &workspace).stderr_has(".env");
    assert_eq!(workspace.read(".env"), "SECRET\n");
    workspace.sh("mv .env ..").succeeds();
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(workspace.read(".env"), "from the host\n");
}

#[test]
fn hooks_path_of_the_agent_does_not_open_the_way_for_a_push() {
    // entireio/cli#228
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let script = "git config core.hooksPath .husky/_; echo SECRET >.env
        echo .env >>.git/info/exclude";
    workspace.sh(script).succeeds();
    lab.app().commit_on("feature", ".env", "from the host\n");
    refused(&lab, &workspace).stderr_has(".env");
}

#[test]
fn push_keeps_ignored_data_below_a_directory_that_becomes_a_file() {
    // vicenteguerra/git-deploy#45
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("echo /data >>.git/info/exclude; mkdir data; echo rows >data/app.db").succeeds();
    lab.app().commit_on("feature", "data", "a file now\n");
    refused(&lab, &workspace).stderr_has("data");
    assert_eq!(workspace.read("data/app.db"), "rows\n");
}

#[test]
fn push_that_removes_a_tracked_file_keeps_its_ignored_neighbour() {
    let lab = Lab::new();
    lab.app().commit_on("feature", "data/x", "x\n");
    let workspace = lab.pushed_feature();
    workspace.sh("echo /data/app.db >>.git/info/exclude; echo rows >data/app.db").succeeds();
    lab.sh("git checkout -q feature && git rm -q data/x && git commit -qm 'Remove x'").succeeds();
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(workspace.read("data/x"), "<none>");
    assert_eq!(workspace.read("data/app.db"), "rows\n");
}

#[test]
fn push_keeps_ignored_data_where_a_tracked_file_would_be() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("echo /data >>.git/info/exclude; mkdir data; echo rows >data/app.db").succeeds();
    lab.app().commit_on("feature", "data/app.db", "from the host\n");
    refused(&lab, &workspace).stderr_has("data/app.db");
}

#[test]
fn push_keeps_a_file_where_a_directory_would_be() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("echo /build >>.git/info/exclude; echo artefact >build").succeeds();
    lab.app().commit_on("feature", "build/x", "x\n");
    refused(&lab, &workspace).stderr_has("build");
}

#[test]
fn push_keeps_a_nested_repository_in_the_way() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let script = "git init -q sub && cd sub && echo only >copy.txt && git add . &&
        git -c user.name=a -c user.email=a@b commit -qm only";
    workspace.sh(script).succeeds();
    lab.app().commit_on("feature", "sub", "a file\n");
    refused(&lab, &workspace).stderr_has("sub");
    assert_eq!(workspace.read("sub/copy.txt"), "only\n");
}

#[test]
fn flagged_files_count_as_changed() {
    // jedbjorn/subfloor#574
    let lab = Lab::new();
    for flag in ["--assume-unchanged", "--skip-worktree"] {
        let workspace = lab.pushed_feature();
        workspace.git(["update-index", flag, "feature.txt"]).succeeds();
        workspace.write("feature.txt", "the agent's\n");
        lab.app().commit_on("feature", "feature.txt", format!("the host's {flag}\n"));
        refused(&lab, &workspace).stderr_has("feature.txt");
        lab.forget_workspaces();
    }
}

#[test]
fn operation_in_progress_refuses_a_push() {
    let lab = Lab::new();
    let conflict = "git checkout -q -b other $(git rev-list --max-parents=0 HEAD) && echo other >feature.txt && git add -A &&
        git commit -qm other && git checkout -q feature";
    for (operation, word) in [
        ("git merge other", "merge"),
        ("git rebase other", "rebase"),
        ("git cherry-pick other", "cherry-pick"),
        ("git revert --no-edit other", "revert"),
        ("git bisect start && git bisect bad && git bisect good HEAD~", "bisect"),
    ] {
        let workspace = lab.pushed_feature();
        workspace.sh(&format!("({conflict}) >&2 && {{ {operation} >&2 || true; }}")).succeeds();
        lab.app().commit_on("feature", "host.txt", word);
        refused(&lab, &workspace).stderr_has(word);
        lab.forget_workspaces();
    }
}

#[test]
fn finished_rebase_of_the_agent_keeps_working_after_a_refused_push() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let script = "git checkout -q -b other HEAD~ && echo other >feature.txt && git add -A &&
        git commit -qm other && git checkout -q feature && ! git rebase other >&2";
    workspace.sh(script).succeeds();
    lab.app().commit_on("feature", "host.txt", "host\n");
    refused(&lab, &workspace);
    workspace.git("rebase --abort").succeeds();
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(workspace.tip("HEAD"), lab.app().tip("feature"));
}

#[test]
fn lock_of_a_dead_git_refuses_and_is_named() {
    // NousResearch/hermes-agent#13232
    let lab = Lab::new();
    for name in ["HEAD.lock", "index.lock", "refs/heads/feature.lock", "packed-refs.lock"] {
        let workspace = lab.pushed_feature();
        workspace.sh(&format!("git pack-refs --all; touch .git/{name}")).succeeds();
        lab.app().commit_on("feature", "host.txt", name);
        refused(&lab, &workspace).stderr_has(name);
        workspace.sh(&format!("rm .git/{name}")).succeeds();
        lab.git("push agentvm::feature").succeeds();
        assert_eq!(workspace.tip("HEAD"), lab.app().tip("feature"));
        assert_eq!(workspace.status(), "");
    }
}

#[test]
fn deletion_of_the_workspaces_branch_names_clean() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let before = workspace.snapshot();
    for push in ["push agentvm::feature :feature", "push --delete agentvm::feature feature"] {
        lab.git(push).fails(1).stderr_has("git agent-vm clean feature");
    }
    assert_eq!(workspace.snapshot(), before);
}

#[test]
fn deletion_of_commits_that_the_host_lacks_is_refused() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("git checkout -q -b side").succeeds();
    let agents = workspace.commit("side.txt", "agent\n");
    workspace.sh("git checkout -q feature").succeeds();
    for push in [
        "push agentvm::feature :side",
        "push --mirror agentvm::feature",
        "push --prune agentvm::feature refs/heads/*:refs/heads/*",
    ] {
        lab.git(push).fails(1).stderr_has("side");
        assert_eq!(workspace.tip("refs/heads/side"), agents);
    }
}

#[test]
fn deletion_of_a_tag_that_was_made_in_the_workspace_is_refused() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let script =
        "git checkout -q --detach && git commit -q --allow-empty -m loose && git tag light &&
        git tag -a -m words heavy && git checkout -q feature";
    workspace.sh(script).succeeds();
    let before = workspace.refs("refs/tags");
    for push in [
        "push agentvm::feature :refs/tags/light",
        "push --delete agentvm::feature heavy",
        "push --mirror agentvm::feature",
        "push --prune agentvm::feature refs/tags/*:refs/tags/*",
    ] {
        lab.git(push).fails(1).stderr_has("made in the workspace");
        assert_eq!(workspace.refs("refs/tags"), before, "{push}");
    }
}

#[test]
fn tag_that_a_push_replaces_or_deletes_is_kept() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("git tag -a -m words v1").succeeds();
    let agents = workspace.tip("refs/tags/v1");
    lab.git("tag -a -m ours v1").succeeds();
    let ours = lab.app().tip("refs/tags/v1");
    lab.git("push --force agentvm::feature v1").succeeds();
    assert_eq!(workspace.tip("refs/tags/v1"), ours);
    lab.git("push --delete agentvm::feature v1").succeeds();
    let kept = workspace.refs("refs/rescue");
    assert!(kept.contains(&agents) && kept.contains(&ours), "{kept}");
}

#[test]
fn deletion_of_a_branch_that_the_host_has_is_allowed() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.git("push agentvm::feature feature:side").succeeds();
    lab.git("push agentvm::feature :side").succeeds().stderr_has("[deleted]");
    assert_eq!(workspace.tip("refs/heads/side"), "");
}

#[test]
fn directory_takes_the_place_of_a_link_that_git_tracks() {
    let lab = Lab::new();
    lab.git("checkout -q feature").succeeds();
    let link =
        "mkdir real && echo 1 >real/a && ln -s real link && git add -A && git commit -qm link";
    lab.sh(link).succeeds();
    let workspace = lab.pushed_feature();
    lab.sh("rm link && cp -r real link && git add -A && git commit -qm copy").succeeds();
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(workspace.tip("HEAD"), lab.app().tip("feature"));
    assert_eq!(workspace.status(), "");
    assert_eq!(workspace.read("real/a"), "1\n");
}

#[test]
fn objects_of_another_user_are_named_with_the_command_that_mends_it() {
    // deis/deis#1843
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.commit("agent.txt", "agent\n");
    lab.git("fetch -q agentvm::feature feature:feature").succeeds();
    let tip = lab.app().commit_on("feature", "host.txt", "host\n");
    // As what sudo git leaves. An ordinary user has no other: then nobody may write there.
    let script =
        "cd \"$1\" && { chown -R 0:0 objects/?? logs/HEAD 2>/dev/null && [ $(id -u) = 0 ]; } ||
        chmod -R a-w objects/?? logs/HEAD";
    let git_dir = workspace.path().join(".git");
    let own = |script: &str| {
        if lab.guest_is_foreign() && rustix::process::geteuid().is_root() {
            lab.host("sh", ["-c", script, "sh", git_dir.to_str().unwrap()])
        } else {
            lab.guest_command("sh", ["-c", script, "sh", git_dir.to_str().unwrap()])
        }
    };
    own(script).succeeds();
    // Every directory that a new object could come into.
    own("cd \"$1\"/objects && chmod a-w . && for i in 0 1 2 3 4 5 6 7 8 9 a b c d e f; do
        for j in 0 1 2 3 4 5 6 7 8 9 a b c d e f; do [ -d $i$j ] || mkdir -m 555 $i$j; done; done; true").succeeds();
    refused(&lab, &workspace)
        .stderr_has("error: in the workspace is what its user may not write: .git/objects")
        .stderr_has("hint: git agent-vm connect feature -- sudo chown -R ");
    lab.git("fetch -q agentvm::feature").succeeds();
    assert_eq!(lab.app().tip("FETCH_HEAD"), workspace.tip("HEAD"));
    lab.agent_vm("status").succeeds().stdout_has("app-feature");
    own("find \"$1\" -type d -exec chmod u+w {} +; chmod u+w \"$1\"/logs/HEAD; u=$(stat -c %U \"$1\"/config); chown -R $u \"$1\"").succeeds();
    lab.git("push agentvm::feature").succeeds();
    workspace.is_whole_at(&tip);
}

/// git writes its list in pieces that end anywhere, while other checks report, too.
#[test]
fn list_of_changes_that_comes_in_pieces_is_whole() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.write("feature.txt", "the agent edits this\n");
    let real = lab.guest_sh("command -v git").succeeds().text();
    let git = format!(
        "GIT_EXEC_PATH=$HOME/../exec; export GIT_EXEC_PATH
        case \" $* \" in *' status '*) printf ' M feature'; sleep 0.5; printf '.txt\\n' ;;
        *) exec {real} \"$@\" ;; esac"
    );
    // A hook finds git where git's own programs are.
    let exec =
        "mkdir ../exec && ln -s \"$(git --exec-path)\"/* ../exec/ && ln -sf ../bin/git ../exec/git";
    lab.guest_sh(exec).succeeds();
    lab.guest_fake("git", &git);
    lab.app().commit_on("feature", "host.txt", "host\n");
    lab.git("push agentvm::feature")
        .fails(1)
        .stderr_has("changes that are not committed")
        .stderr_has("error:   feature.txt");
}
