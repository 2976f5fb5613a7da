//! Trees of great size. They take minutes and gigabytes where others work on the machine, so that a
//! quick run leaves them out with `--skip scale::`.

use std::fmt::Write as _;

use crate::support::Lab;

#[test]
fn hundred_thousand_files_go_both_ways() {
    let lab = Lab::new();
    let mut script = String::from(
        "blob\nmark :1\ndata 5\nhello\ncommit refs/heads/feature\n\
         committer H <h@example.org> 1714564800 +0000\ndata 4\nmany\nfrom refs/heads/feature^0\n",
    );
    for index in 0..100_000 {
        writeln!(script, "M 100644 :1 files/{}/{}/{index}", index / 1000, index / 100 % 10)
            .unwrap();
    }
    lab.git("fast-import --quiet --force").stdin(script + "\n").succeeds();
    lab.git("push agentvm::feature").within_seconds(300).succeeds();
    let workspace = lab.workspace("app-feature");
    assert_eq!(workspace.tip("HEAD"), lab.app().tip("feature"));
    workspace
        .sh("git ls-files | wc -l && find files -type f | wc -l")
        .succeeds()
        .stdout_is("100002\n100000");
    assert_eq!(workspace.git("status --porcelain").within_seconds(120).succeeds().text(), "");
    let agents = workspace.commit("files/0/0/0", "agent\n");
    lab.git("fetch agentvm::feature feature:feature").within_seconds(120).succeeds();
    assert_eq!(lab.app().tip("feature"), agents);
    lab.import("one-more.txt");
    lab.git("push agentvm::feature").within_seconds(300).succeeds();
    assert_eq!(workspace.read("one-more.txt"), "odd\n");
    // A change of the agent's among all of them is found.
    workspace.write("files/99/9/99999", "agent\n");
    lab.import("two-more.txt");
    lab.git("push agentvm::feature").within_seconds(300).fails(1).stderr_has("files/99/9/99999");
}

#[test]
fn file_of_more_than_two_gigabytes_goes_both_ways() {
    let lab = Lab::new();
    let free =
        lab.host("stat", ["-f", "-c", "%a %S", lab.path().to_str().unwrap()]).succeeds().text();
    let free: u64 = free.split(' ').map(|word| word.parse::<u64>().unwrap()).product();
    if free < 8 << 30 {
        eprintln!("left out: there are less than 8 GiB free for temporary files");
        return;
    }
    // 2 GiB and a byte, without a work tree on the host.
    let size = (2_u64 << 30) + 1;
    let script = format!(
        "blob=$(yes agentvm | head -c {size} | git -c core.compression=1 hash-object -w --stdin) &&
         export GIT_INDEX_FILE=.git/big && git read-tree feature &&
         git update-index --add --cacheinfo 100644,$blob,big.bin &&
         git update-ref refs/heads/feature $(git commit-tree -p feature -m big $(git write-tree))"
    );
    lab.sh(&script).within_seconds(600).succeeds();
    lab.git("push agentvm::feature").within_seconds(900).succeeds();
    let workspace = lab.workspace("app-feature");
    assert_eq!(workspace.tip("HEAD"), lab.app().tip("feature"));
    workspace.sh("stat -c %s big.bin").succeeds().stdout_is(&size.to_string());
    let sum = format!("cksum <big.bin; yes agentvm | head -c {size} | cksum");
    let sums = workspace.sh(&sum).within_seconds(600).succeeds().text();
    let (one, two) = sums.split_once('\n').unwrap();
    assert_eq!(one, two);
    // A byte of it changes in the workspace, and it comes back whole.
    let change = "printf x | dd of=big.bin bs=1 seek=1000000000 conv=notrunc 2>/dev/null &&
        git -c core.compression=1 commit -qam byte";
    workspace.sh(change).within_seconds(600).succeeds();
    lab.git("fetch agentvm::feature").within_seconds(900).succeeds();
    assert_eq!(lab.app().tip("FETCH_HEAD"), workspace.tip("HEAD"));
    lab.sh("git cat-file -s FETCH_HEAD:big.bin").succeeds().stdout_is(&size.to_string());
    lab.git("fsck --connectivity-only").within_seconds(300).succeeds();
}
