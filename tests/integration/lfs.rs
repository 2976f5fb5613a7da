//! git-lfs on the host: its objects are not carried, and its hook must not stop a push in riddles.

use crate::support::Lab;

/// With git-lfs and its pre-push hook; `None` where it is not installed.
fn lab() -> Option<Lab> {
    let lab = Lab::new();
    let there = lab.git("lfs version").run().code == 0;
    if !there {
        eprintln!("left out: there is no git-lfs here");
        return None;
    }
    lab.git("lfs install").succeeds();
    lab.git("checkout -q feature").succeeds();
    Some(lab)
}

#[test]
fn push_without_files_of_lfs_passes_its_hook() {
    // git-lfs/git-lfs#3695
    let Some(lab) = lab() else { return };
    lab.git("push agentvm::feature").succeeds().stderr_lacks("lfs");
    lab.app().commit("more.txt", "more\n");
    lab.git("push agentvm::feature").succeeds();
}

#[test]
fn push_with_files_of_lfs_names_the_switch() {
    // git-lfs/git-lfs#3695
    let Some(lab) = lab() else { return };
    lab.git("push -q agentvm::feature").succeeds();
    lab.git("lfs track *.bin").succeeds();
    lab.sh("echo big >a.bin && git add . && git commit -qm lfs").succeeds();
    lab.git("push agentvm::feature")
        .fails(1)
        .stderr_has("hint: the objects of git-lfs do not go to a workspace")
        .stderr_has("GIT_LFS_SKIP_PUSH=1");
    lab.git("push agentvm::feature")
        .env("GIT_LFS_SKIP_PUSH", "1")
        .succeeds()
        .stderr_has("warning: files of git-lfs are pointers in the workspace");
    lab.sh("echo bigger >a.bin && git commit -qam more").succeeds();
    lab.agent_vm("push feature").succeeds().stderr_has("pointers");
    let workspace = lab.workspace("app-feature");
    assert_eq!(workspace.tip("HEAD"), lab.app().tip("feature"));
    assert!(workspace.read("a.bin").starts_with("version https://git-lfs"));
}
