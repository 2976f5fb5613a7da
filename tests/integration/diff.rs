//! `diff`: what the workspace has and the branch here lacks, by the user's own git diff.

use crate::support::{Lab, Ran};
use crate::wip_fetch::{assert_untouched, everything};

fn diff(lab: &Lab, words: &str) -> Ran {
    lab.agent_vm(&format!("diff {words}")).succeeds()
}

#[test]
fn everything_that_the_branch_lacks_is_shown_and_nothing_is_touched() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.commit("agent.txt", "committed\n");
    workspace
        .sh("echo changed >>feature.txt; echo staged >staged; git add staged; echo new >new
            echo '*.log' >>.git/info/exclude; echo noise >x.log")
        .succeeds();
    let before = everything(&workspace);
    let branches = lab.app().refs("refs/heads");
    let ran = diff(&lab, "feature");
    assert_untouched(&workspace, &before);
    let ran = ran.stderr_has(
        "workspace 'app-feature' is on branch feature: 1 commit that branch 'feature' here lacks, 3 files not committed",
    );
    for part in ["+committed", "+changed", "+staged", "+new"] {
        assert!(ran.text().contains(part), "{part}\n{ran}");
    }
    assert!(!ran.text().contains("noise"), "{ran}");
    assert_eq!(lab.app().refs("refs/heads"), branches);
    diff(&lab, "feature --name-status")
        .stdout_is("A\tagent.txt\nM\tfeature.txt\nA\tnew\nA\tstaged");
    diff(&lab, "--name-only feature").stdout_is("agent.txt\nfeature.txt\nnew\nstaged");
    diff(&lab, "-q feature --stat -- new").stdout_has("1 file changed").stderr_is("");
    // What was shown is here.
    lab.git("cat-file -e refs/agentvm/wip/feature:new").succeeds();
    lab.git("apply --check -").stdin(diff(&lab, "feature").stdout).fails(1);
    lab.git("checkout -q feature").succeeds();
    lab.git("apply -").stdin(diff(&lab, "feature").stdout).succeeds();
    assert_eq!(lab.app().read("new"), "new\n");
}

#[test]
fn base_does_not_move_along_with_another_branch() {
    // sesori-ai/sesori_apps_monorepo#855
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace
        .sh("git checkout -q -b main HEAD; echo a >a; git add a; git commit -qm a; echo b >b")
        .succeeds();
    let ran = diff(&lab, "feature --name-only");
    ran.stdout_is("a\nb")
        .stderr_has("is on branch main: 1 commit that branch 'feature' here lacks");
    // The host takes the commit, on top of one of its own.
    lab.app().commit_on("feature", "host.txt", "host\n");
    lab.git("checkout -q feature").succeeds();
    lab.git("fetch -q agentvm::feature main").succeeds();
    lab.git("merge -q --no-edit FETCH_HEAD").succeeds();
    let ran =
        diff(&lab, "feature --name-only").stdout_is("b").stderr_has("is on branch main: 0 commits");
    ran.stderr_has("branch 'feature' here has 2 commits that the workspace lacks");
    workspace
        .sh("echo c >c; git add -A; git commit -qm bc; git tag x; git checkout -q feature")
        .succeeds();
    diff(&lab, "feature --name-only").stdout_is("").stderr_has("is on branch feature");
    // Commits on the workspace's own branch that are not in what is checked out there are told.
    workspace.sh("git merge -q x; git checkout -q HEAD~2").succeeds();
    diff(&lab, "feature")
        .stderr_has("is on no branch")
        .stderr_has("its branch 'feature' has 1 commit that");
}

#[test]
fn diverged_sides_are_compared_with_what_they_have_in_common() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.commit("agent.txt", "agent\n");
    lab.app().commit_on("feature", "host.txt", "host\n");
    let ran = diff(&lab, "feature --name-status").stdout_is("A\tagent.txt");
    ran.stderr_has(
        "branch 'feature' here has 1 commit that the workspace lacks; what they change is left out",
    );
}

#[test]
fn without_a_branch_here_the_default_branch_is_the_base() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.commit("agent.txt", "agent\n");
    lab.git("branch -qD feature").succeeds();
    let ran = diff(&lab, "feature --name-only").stdout_is("agent.txt\nfeature.txt");
    ran.stderr_has("'main' (there is no branch 'feature' here) lacks");
    lab.git("branch -qm main trunk").succeeds();
    diff(&lab, "feature --name-only").stdout_is("README.md\nagent.txt\nfeature.txt");
    workspace.sh("git checkout -q --orphan fresh; git rm -qrf .; echo x >x").succeeds();
    diff(&lab, "feature --name-only").stdout_is("x").stderr_has("has no commit in common");
}

#[test]
fn hidden_work_is_shown() {
    // Digital-Process-Tools/claude-supertool#1290, jedbjorn/subfloor#574
    let lab = Lab::new();
    lab.app().commit_on("feature", "cfg", "cfg\n");
    let workspace = lab.pushed_feature();
    workspace
        .sh("git config status.showUntrackedFiles no; echo work >work.txt
            git update-index --assume-unchanged feature.txt; git update-index --skip-worktree cfg
            echo hidden >feature.txt; echo hidden >cfg")
        .succeeds();
    diff(&lab, "feature --name-only").stdout_is("cfg\nfeature.txt\nwork.txt");
}

#[test]
fn fetch_that_leaves_files_behind_names_diff() {
    // dagger/container-use#50
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("echo edit >>feature.txt; echo new >new").succeeds();
    lab.git("checkout -q feature").succeeds();
    let hint =
        "hint: 2 files with uncommitted changes stay in the workspace (git agent-vm diff feature)";
    lab.git("pull agentvm::feature").succeeds().stderr_has(hint);
    lab.git("fetch agentvm::feature").succeeds().stderr_has(hint);
    lab.git("pull -q agentvm::feature").succeeds().stderr_is("");
    lab.git("fetch -q agentvm::feature").succeeds().stderr_is("");
    diff(&lab, "feature --name-only").stdout_is("feature.txt\nnew");
    workspace.sh("rm new").succeeds();
    lab.git("fetch agentvm::feature")
        .succeeds()
        .stderr_has("hint: 1 file with uncommitted changes stays in the workspace");
}

#[test]
fn branch_is_meant_where_a_tag_has_its_name() {
    // sourcegit-scm/sourcegit#2402
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.git("tag feature main").succeeds();
    workspace.write("new", "new\n");
    diff(&lab, "feature --name-only").stdout_is("new");
    lab.agent_vm("fetch --wip feature").succeeds();
    assert_eq!(workspace.git("tag").succeeds().text(), "");
}

#[test]
fn branch_with_shell_text_is_taken_literally() {
    // voxpupuli/g10k#44
    let lab = Lab::new();
    let names = [
        "a;touch${IFS}p",
        "$(touch${IFS}p)",
        "a'b",
        "a\"b",
        "a&b",
        "a!b",
        "a#b",
        "a%sb",
        "{a,b}",
        "$HOME",
        "<>",
        "a|b",
    ];
    for name in names {
        lab.git(["branch", name, "feature"]).succeeds();
        lab.git(["agent-vm", "push", "-q", name]).succeeds();
    }
    for (index, name) in names.iter().enumerate() {
        let list = lab.agent_vm("status --json").succeeds().json();
        let all = list["workspaces"].as_array().unwrap().clone();
        let ours = all.iter().find(|one| one["branch"] == *name).unwrap();
        let workspace = lab.workspace(ours["name"].as_str().unwrap());
        workspace.write("new", format!("{index}\n"));
        let ran = lab.git(["agent-vm", "diff", name, "--name-only"]).succeeds();
        assert_eq!(ran.text(), "new", "{ran}");
        lab.git(["agent-vm", "fetch", "--wip", name]).succeeds();
        let kept =
            lab.git(["cat-file", "blob", &format!("refs/agentvm/wip/{name}:new")]).succeeds();
        assert_eq!(kept.text(), index.to_string());
    }
    assert!(!lab.app().has("p"));
    lab.guest_sh("! [ -e p ] && ! [ -e workspace/p ] && ! ls workspace/*/p 2>/dev/null").succeeds();
}

#[test]
fn odd_paths_can_be_applied() {
    // career-ops-hq/career-ops#3417
    let lab = Lab::new();
    let app = lab.app();
    app.git("checkout -q feature").succeeds();
    let names = ["ä", "a b", "q\"", "t\tb", "l\nf", "x -> y", "old"];
    for name in names {
        app.write(name, "one\ntwo\nthree\n");
    }
    lab.sh("printf '1\\n' >\"$(printf '\\351')\"; git add -A; git commit -qm odd").succeeds();
    let workspace = lab.pushed_feature();
    workspace
        .sh(r#"for file in 'ä' 'a b' 'q"' "$(printf 't\tb')" "$(printf 'l\nf')" 'x -> y' "$(printf '\351')"; do
                [ -f "$file" ] || exit 1; echo more >>"$file"; echo new >"$file.new"; done
            git mv old new; git rm -q --cached 'a b'"#)
        .succeeds();
    let patch = diff(&lab, "feature");
    lab.git("apply -").stdin(&patch.stdout).succeeds();
    let here = lab.sh("git add -A && git write-tree").succeeds().text();
    let there = workspace.sh("git add -A && git write-tree").succeeds().text();
    assert_eq!(here, there);
    diff(&lab, "feature -M --name-status").stdout_has("R100\told\tnew");
}

#[test]
fn user_has_pager_colours_and_paths_of_the_current_directory() {
    let lab = Lab::new();
    lab.app().commit_on("feature", "sub/file", "one\n");
    let workspace = lab.pushed_feature();
    workspace.sh("echo two >>sub/file; echo two >>feature.txt").succeeds();
    lab.git("checkout -q feature").succeeds();
    let sub = lab.app().path().join("sub");
    let in_sub = |words: &str| lab.git(&format!("agent-vm diff {words}")).in_dir(&sub).succeeds();
    in_sub("feature --name-only -- file").stdout_is("sub/file");
    in_sub("feature --name-only --relative").stdout_is("file");
    in_sub("feature --name-only -- ..").stdout_is("feature.txt\nsub/file");
    diff(&lab, "--color=always feature").stdout_has("\u{1b}[");
    diff(&lab, "feature --stat --color=always").stdout_has("\u{1b}[");
    lab.git_config("color.ui", "always");
    diff(&lab, "--color=never feature").stdout_lacks("\u{1b}[");
    lab.git_config("color.ui", "auto");
    lab.git_config("diff.noprefix", "true");
    diff(&lab, "feature").stdout_has("--- sub/file");
    lab.git_config("core.pager", "sed s/^/paged:/");
    lab.on_terminal("git agent-vm diff feature --name-only").succeeds().stdout_has("paged:");
    lab.git_config("diff.external", "echo external");
    diff(&lab, "feature").stdout_has("external feature.txt");
}

#[test]
fn exit_code_is_that_of_git_diff() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.agent_vm("diff feature --exit-code").fails(0).stdout_is("");
    workspace.write("new", "new\n");
    lab.agent_vm("diff feature --exit-code").fails(1).stdout_has("+new");
    lab.agent_vm("diff feature --quiet").fails(1).stdout_is("");
    lab.agent_vm("diff feature --no-such-option").fails(129);
    lab.agent_vm("diff feature -S new --name-only").fails(0).stdout_is("new");
    for words in [
        "diff",
        "diff --stat",
        "diff feature main",
        "diff --cached feature",
        "diff a..b",
        "diff --no-index feature",
    ] {
        lab.agent_vm(words).fails(2);
    }
    lab.agent_vm("diff feature src").fails(2).stderr_has("paths come after --");
    lab.agent_vm("diff nothing").fails(4);
}

#[test]
fn what_the_agent_wrote_selects_no_program_here() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace
        .sh("git config diff.evil.command 'touch ran'; git config diff.evil.textconv 'touch ran'
            echo '* diff=evil' >.gitattributes; mkdir -p .git/hooks
            printf '[diff \"evil\"]\\n\\tcommand = touch ran\\n' >.gitconfig
            git config diff.external 'touch ran'; echo x >x; git checkout -qb \"$(printf 'x\\342\\200\\256y')\"")
        .succeeds();
    let ran = diff(&lab, "feature").stdout_has("+x");
    assert!(!ran.errors().contains('\u{202e}'), "{ran}");
    assert!(!lab.app().has("ran"));
    lab.git("checkout -q feature").succeeds();
    lab.git(["checkout", "-q", "refs/agentvm/wip/feature", "--", "."]).succeeds();
    diff(&lab, "feature").stdout_has("+x");
    assert!(!lab.app().has("ran"));
}

#[test]
fn linked_worktrees_and_bare_repositories_can_ask() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.write("new", "new\n");
    lab.git("worktree add -q ../linked feature").succeeds();
    let linked = lab.repo("linked");
    linked.git("agent-vm diff feature --name-only").succeeds().stdout_is("new");
    lab.host("git", "clone -q --bare app bare.git").in_dir(lab.home()).succeeds();
    let bare = lab.repo("bare.git");
    bare.git("agent-vm push -q main").succeeds();
    lab.workspace("bare-main").write("x", "x\n");
    bare.git("agent-vm diff main --name-only").succeeds().stdout_is("x");
}
