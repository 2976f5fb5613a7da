//! `fetch --wip` where not everything can be had: files that change or cannot be read, repositories
//! inside, filters that are missing, objects that do harm.

use crate::support::Lab;
use crate::wip_fetch::{WIP, assert_untouched, everything, fetch, kept};

/// An identity for repositories that the agent makes itself.
fn know_the_agent(lab: &Lab) {
    lab.guest_sh("git config --global user.name Agent; git config --global user.email a@localhost")
        .succeeds();
}

#[test]
fn agent_that_writes_all_the_time_breaks_nothing() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    let script = "i=0; while [ -e going ]; do i=$((i+1))
            head -c $((40000 + i % 7 * 9000)) /dev/zero | tr '\\0' $((i % 10)) >big
            echo $i >feature.txt; echo $i >new.$((i % 5)); rm -f new.$(((i + 2) % 5))
            mkdir -p d.$((i % 3)); echo $i >d.$((i % 3))/f; rm -rf d.$(((i + 1) % 3))
            case $((i % 20)) in 0) git add -A; git commit -qm $i;; esac
        done 2>/dev/null; true";
    workspace.write("going", "");
    let agent = workspace.sh(script).within_seconds(170).background();
    for _ in 0..20 {
        lab.agent_vm("fetch --wip feature").succeeds();
        lab.git(["rev-list", "--objects", "--quiet", WIP]).succeeds();
        // What was read is what was there at some time.
        let big = kept(&lab, "big");
        assert!(big == "<none>" || big.len() <= 94_000, "{}", big.len());
    }
    workspace.sh("rm going").succeeds();
    agent.finish();
    lab.git("fsck --full --strict").succeeds();
    workspace.git("fsck --full").succeeds();
}

/// git that gives up as where a file changes while it is read.
const CONFUSED: &str = "case \" $* \" in
    *' add -A '*) echo 'fatal: confused by unstable object source data' >&2; exit 128;; esac
    exec /usr/bin/env PATH=\"${PATH#*:}\" git \"$@\"";

#[test]
fn files_that_never_hold_still_are_copied_first() {
    let lab = Lab::new();
    lab.app().commit_on("feature", "gone.txt", "gone\n");
    lab.app().commit_on("feature", "turned", "a file\n");
    let workspace = lab.pushed_feature();
    lab.guest_fake("git", CONFUSED);
    know_the_agent(&lab);
    workspace
        .sh("echo changed >feature.txt; rm gone.txt; rm turned; mkdir turned; echo in >turned/in
            ln -s feature.txt link; echo x >'odd
name'; printf x >run; chmod +x run; mkfifo pipe
            git init -q inner; git -C inner commit -q --allow-empty -m one; echo i >inner/i")
        .succeeds();
    let before = everything(&workspace);
    let said = fetch(&lab);
    assert_untouched(&workspace, &before);
    let listed = lab.git(["ls-tree", "-r", "-z", WIP]).succeeds().text().replace('\0', "\n");
    let names = "README.md feature.txt inner link odd\nname run turned/in";
    let found: Vec<&str> = listed
        .split('\t')
        .skip(1)
        .map(|part| part.trim_end_matches(|c| c != '\n').trim_end())
        .collect();
    assert_eq!(found.join(" ").trim(), names, "{listed}");
    assert!(
        listed.contains("100755") && listed.contains("120000") && listed.contains("160000"),
        "{listed}"
    );
    assert!(said.contains("inner is a repository of its own"), "{said}");
}

#[test]
fn file_that_cannot_be_read_is_named_and_the_rest_comes() {
    let lab = Lab::new();
    if !lab.guest_is_foreign() {
        return;
    }
    let workspace = lab.pushed_feature();
    workspace
        .sh("echo a >closed; chmod 0 closed; echo b >open; mkdir shut; echo c >shut/c; chmod 0 shut
            echo secret >feature.txt; chmod 0 feature.txt")
        .succeeds();
    let said = lab.agent_vm("fetch --wip feature").fails(1).errors();
    for name in ["closed", "feature.txt", "shut"] {
        assert!(said.contains(&format!("error: {name}")), "{name}\n{said}");
    }
    assert_eq!((kept(&lab, "open").as_str(), kept(&lab, "feature.txt").as_str()), ("b\n", "one\n"));
    lab.agent_vm("diff --stat feature").fails(1).stdout_has("open").stderr_has("could not be read");
    workspace.sh("chmod 755 shut").succeeds();
}

#[test]
fn repositories_inside_are_named() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    know_the_agent(&lab);
    workspace
        .sh("git init -q new; git -C new commit -q --allow-empty -m one; echo x >new/x
            git init -q bare-inside/unborn; echo y >bare-inside/unborn/y
            git init -q known; git -C known commit -q --allow-empty -m one; git add known 2>/dev/null; git commit -qm link
            echo kept >kept.txt")
        .succeeds();
    let before = everything(&workspace);
    let ran = lab.agent_vm("fetch --wip feature").succeeds();
    assert_untouched(&workspace, &before);
    let ran = ran.stderr_has("warning: new is a repository of its own");
    let ran = ran.stderr_has("warning: bare-inside/unborn is a repository of its own");
    ran.stderr_lacks("warning: known");
    assert_eq!(kept(&lab, "kept.txt"), "kept\n");
    workspace.write("known/dirty", "z\n");
    lab.agent_vm("fetch --wip feature").succeeds().stderr_has("warning: known is a repository");
}

#[test]
fn filter_that_the_vm_lacks_is_named() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace
        .sh("git config filter.lfs.clean 'git-lfs-is-not-here clean -- %f'; git config filter.lfs.required true
            echo '*.bin filter=lfs' >.gitattributes; echo x >x.bin")
        .succeeds();
    let ran = lab.agent_vm("fetch --wip feature").fails(1);
    ran.stderr_has("x.bin: clean filter 'lfs' failed in the VM").stderr_has("cannot be taken");
    assert_eq!(lab.app().tip(WIP), "");
    // Without one, pointers are files as any other.
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";
    workspace.sh("git config --remove-section filter.lfs").succeeds();
    workspace.write("x.bin", pointer);
    fetch(&lab);
    assert_eq!(kept(&lab, "x.bin"), pointer);
}

#[test]
fn what_git_never_takes_is_named() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace.sh("ln -s /etc/passwd .gitmodules; echo kept >kept").succeeds();
    lab.agent_vm("fetch --wip feature").fails(1).stderr_has("error: .gitmodules could not be read");
    assert_eq!(kept(&lab, "kept"), "kept\n");
}

#[test]
fn snapshot_with_a_harmful_object_is_refused() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    workspace
        .sh("blob=$(echo x | git hash-object -w --stdin)
            tree=$(printf '100644 blob %s\\t.GIT\\n' $blob | git mktree)
            git update-ref HEAD $(git commit-tree -p HEAD -m harm $tree)")
        .succeeds();
    lab.agent_vm("fetch --wip feature")
        .fails(1)
        .stderr_has("hasDotgit")
        .stderr_has("nothing was changed");
    assert_eq!(lab.app().tip(WIP), "");
}

#[test]
fn what_is_missing_is_said() {
    let lab = Lab::new();
    lab.agent_vm("fetch --wip feature")
        .fails(4)
        .stderr_has("there is no workspace of branch 'feature'");
    let workspace = lab.pushed_feature();
    lab.app().git("push -q agentvm::main").succeeds();
    lab.agent_vm("fetch --wip other").fails(4).stderr_has("git agent-vm push other makes it");
    // A ref of a branch that is gone is in the way of one below it.
    workspace.write("x", "x\n");
    lab.git(["update-ref", "refs/agentvm/wip/feature/old", "main"]).succeeds();
    let ran = lab.agent_vm("fetch --wip feature").fails(1);
    ran.stderr_has("hint: it is in the way")
        .stderr_has("git update-ref -d refs/agentvm/wip/feature/old");
}

#[test]
fn disk_that_is_read_only_gives_its_work_away() {
    let lab = Lab::new();
    if !lab.guest_is_foreign() {
        return;
    }
    let workspace = lab.pushed_feature();
    workspace.sh("echo work >work; mkdir -p ~/.local/state/agentvm; chmod a-w ~/.local/state/agentvm .git .").succeeds();
    fetch(&lab);
    assert_eq!(kept(&lab, "work"), "work\n");
    workspace.sh("chmod u+w ~/.local/state/agentvm .git .").succeeds();
}
