//! Trees with everything in them that a tree can hold. Each comes over whole and comes back, or is
//! refused before a file moves.

use std::os::unix::ffi::OsStrExt as _;

use crate::support::{Lab, Workspace};

/// feature is checked out on the host.
fn on_feature() -> Lab {
    let lab = Lab::new();
    lab.git("checkout -q feature").succeeds();
    lab
}

/// Expects that the push is refused and changes nothing, and that the next one comes through.
fn is_refused(lab: &Lab, workspace: &Workspace<'_>, what: &str) {
    let good = lab.app().tip("feature~");
    let before = workspace.snapshot();
    let ran = lab.git("push agentvm::feature").fails(1).stderr_has(what);
    assert!(workspace.snapshot() == before, "the refused push changed the workspace\n{ran}");
    workspace.has_files_of(&good);
    lab.git("branch -q -f feature feature~").succeeds();
    let tip = lab.app().commit_on("feature", "next.txt", &good);
    lab.git("push agentvm::feature").succeeds();
    workspace.has_files_of(&tip);
}

#[test]
fn executable_bits_go_both_ways() {
    let lab = on_feature();
    lab.sh("echo run >run.sh; chmod 755 run.sh; echo plain >plain; chmod 600 plain").succeeds();
    lab.commit_all();
    let workspace = lab.app().goes_the_whole_round("feature");
    let modes = "stat -c '%a %n' run.sh plain";
    workspace
        .sh(&format!("umask; {modes}"))
        .succeeds()
        .stdout_has("55 run.sh")
        .stdout_has("44 plain");
    workspace.sh("chmod -x run.sh; chmod +x plain; git commit -qam modes").succeeds();
    lab.git("pull -q agentvm::feature").succeeds();
    lab.sh("test ! -x run.sh && test -x plain").succeeds();
    assert_eq!(lab.app().tip("HEAD"), workspace.tip("HEAD"));
}

#[test]
fn modes_stay_where_a_side_does_not_look_at_them() {
    let lab = on_feature();
    lab.sh("echo run >run.sh; chmod 755 run.sh").succeeds();
    lab.commit_all();
    lab.git("config core.fileMode false").succeeds();
    lab.sh("chmod -x run.sh").succeeds();
    lab.app().commit("more.txt", "more\n");
    let workspace = lab.app().goes_the_whole_round("feature");
    workspace.sh("test -x run.sh && git config core.fileMode false && chmod -x run.sh").succeeds();
    let tip = lab.app().commit("run.sh", "run faster\n");
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(workspace.tip("HEAD"), tip);
    workspace.git("ls-tree HEAD run.sh").succeeds().stdout_has("100755");
    lab.git("ls-tree HEAD run.sh").succeeds().stdout_has("100755");
}

#[test]
fn links_of_every_kind_go_both_ways() {
    let lab = on_feature();
    let long = "l".repeat(4000);
    let script = format!(
        "mkdir dir && echo 1 >dir/a && ln -s nowhere dangling && ln -s /etc/passwd absolute &&
         ln -s dir to-dir && ln -s loop-b loop-a && ln -s loop-a loop-b && ln -s . self &&
         ln -s ../../../../etc/shadow outside && ln -s '{long}' long && ln -s 'a\nb ' odd"
    );
    lab.sh(&script).succeeds();
    lab.commit_all();
    let workspace = lab.app().goes_the_whole_round("feature");
    let targets = "for l in dangling absolute to-dir loop-a loop-b self outside long odd; do
        readlink $l; done";
    assert_eq!(workspace.sh(targets).succeeds().text(), lab.sh(targets).succeeds().text());
    workspace
        .sh("ln -sfn elsewhere dangling; ln -sfn dir/a to-dir; git commit -qam links")
        .succeeds();
    lab.git("pull -q agentvm::feature").succeeds();
    assert_eq!(workspace.sh(targets).succeeds().text(), lab.sh(targets).succeeds().text());
    // A link in place of a file, a file in place of a link, and neither leads anywhere.
    lab.sh("rm absolute dir/a && echo file >absolute && ln -s ../dangling dir/a").succeeds();
    let tip = lab.commit_all();
    lab.git("push agentvm::feature").succeeds();
    workspace.is_whole_at(&tip);
}

#[test]
fn untracked_link_in_the_way_stays_whatever_it_leads_to() {
    let lab = on_feature();
    let workspace = lab.pushed_feature();
    workspace.sh("ln -s nowhere a; ln -s b b; ln -s README.md c").succeeds();
    let before = workspace.snapshot();
    for name in ["a", "b", "c"] {
        lab.app().commit(name, "file\n");
        lab.git("push agentvm::feature").fails(1).stderr_has(&format!("error:   {name}"));
        assert_eq!(workspace.snapshot(), before, "{name}");
        lab.git("reset -q --hard HEAD~").succeeds();
    }
}

#[test]
fn links_that_a_side_cannot_make_stay_links() {
    let lab = on_feature();
    lab.sh("ln -s feature.txt link").succeeds();
    lab.commit_all();
    lab.git("config core.symlinks false").succeeds();
    lab.sh("rm link && git checkout -q link && test ! -L link").succeeds();
    let workspace = lab.app().goes_the_whole_round("feature");
    workspace.sh("test -L link && git config core.symlinks false && rm link && git checkout -q link && test ! -L link").succeeds();
    let tip = lab.app().commit("more.txt", "more\n");
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(workspace.tip("HEAD"), tip);
    assert_eq!(workspace.status(), "");
    workspace.git("ls-tree HEAD link").succeeds().stdout_has("120000");
}

#[test]
fn file_names_of_every_byte_go_both_ways() {
    let lab = on_feature();
    let dir = lab.app().path().join("bytes");
    fs_err::create_dir(&dir).unwrap();
    let bytes: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
    for byte in &bytes {
        for name in [vec![b'x', *byte], vec![*byte, b'x'], vec![*byte, *byte, *byte]] {
            fs_err::write(dir.join(std::ffi::OsStr::from_bytes(&name)), [*byte]).unwrap();
        }
    }
    assert_eq!(bytes.len(), 254);
    fs_err::write(dir.join(std::ffi::OsStr::from_bytes(&bytes)), "all\n").unwrap();
    lab.commit_all();
    let workspace = lab.app().goes_the_whole_round("feature");
    let names = "find bytes -type f -print0 | LC_ALL=C sort -z | cksum";
    assert_eq!(workspace.sh(names).succeeds().text(), lab.sh(names).succeeds().text());
    // The agent changes each of them, and the push onto that is refused.
    workspace
        .sh("find bytes -type f -exec sh -c 'for f; do echo agent >\"$f\"; done' sh {} +")
        .succeeds();
    lab.app().commit("README.md", "changed\n");
    let before = workspace.snapshot();
    lab.git("push agentvm::feature").fails(1).stderr_has("more").shows_clean_text();
    assert_eq!(workspace.snapshot(), before);
    let status = lab.agent_vm("status --json").succeeds().shows_clean_text().json();
    // "xx" is made three times, x and the doubled byte once each.
    let files = lab.git("ls-files bytes").succeeds().text().lines().count();
    assert_eq!(status["workspaces"][0]["changed"], files);
    workspace.sh("git stash -q").succeeds();
    lab.git("push agentvm::feature").succeeds();
}

#[test]
fn untracked_files_of_every_byte_are_not_overwritten() {
    let lab = on_feature();
    let workspace = lab.pushed_feature();
    let bytes: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
    let name = std::ffi::OsStr::from_bytes(&bytes);
    fs_err::write(lab.app().path().join(name), "host\n").unwrap();
    lab.commit_all();
    // The same name, made by the agent.
    let script = "i=1; all=; while [ $i -le 255 ]; do
        [ $i -eq 47 ] || all=$all$(printf '\\\\%03o' $i); i=$((i + 1)); done
        name=$(printf \"$all.\"); printf agent >\"${name%.}\"; ls | wc -l";
    workspace.sh(script).succeeds();
    let before = workspace.snapshot();
    lab.git("push agentvm::feature").fails(1).stderr_has("overwrite").shows_clean_text();
    assert_eq!(workspace.snapshot(), before);
}

#[test]
fn longest_names_and_paths_go_both_ways() {
    let lab = on_feature();
    let name = "n".repeat(255);
    let wide = "ñ".repeat(127);
    // 4095 bytes are the most that a path may have, and some are kept for git's own suffixes.
    let deep = vec!["d".repeat(254); 15].join("/");
    let deep = format!("{deep}/{}", "f".repeat(250));
    assert_eq!(deep.len(), 15 * 255 + 250);
    for path in [&name, &wide, &deep] {
        lab.import(path);
    }
    lab.git("reset -q --hard").succeeds();
    let workspace = lab.app().goes_the_whole_round("feature");
    for path in [&name, &wide, &deep] {
        assert_eq!(workspace.read(path), "odd\n", "{path}");
        // The path from the root is too long to be opened.
        lab.sh(&format!("cat '{path}'")).succeeds().stdout_is("odd");
    }
    lab.agent_vm("clean feature").succeeds();
}

#[test]
fn two_hundred_directories_deep_goes_both_ways() {
    let lab = on_feature();
    let deep = (0..200).map(|level| level.to_string()).collect::<Vec<_>>().join("/");
    lab.app().commit(&format!("{deep}/file"), "deep\n");
    let workspace = lab.app().goes_the_whole_round("feature");
    workspace.write(&format!("{deep}/file"), "deeper\n");
    workspace.sh("git commit -qam deeper").succeeds();
    lab.git("pull -q agentvm::feature").succeeds();
    assert_eq!(lab.app().read(&format!("{deep}/file")), "deeper\n");
    lab.sh("git rm -qr 0 && git commit -qm gone").succeeds();
    lab.git("push agentvm::feature").succeeds();
    workspace.is_whole_at(&lab.app().tip("HEAD"));
    assert!(!workspace.sh("ls").succeeds().text().lines().any(|name| name == "0"));
}

#[test]
fn paths_that_no_file_system_takes_are_refused_whole() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    lab.import(&"n".repeat(256));
    is_refused(&lab, &workspace, "name too long");
    lab.import(&vec!["d".repeat(254); 18].join("/"));
    is_refused(&lab, &workspace, "cannot create directory");
}

#[test]
fn names_that_git_does_not_check_out_are_refused_whole() {
    let lab = Lab::new();
    let workspace = lab.pushed_feature();
    // Only plumbing makes such trees.
    let script = "blob=$(echo odd | git hash-object -w --stdin)
        bytes=$(printf %s $blob | sed 's/../\\\\x&/g')
        tree=$(printf \"100644 $1\\000$bytes\" | git hash-object -w -t tree --literally --stdin)
        git update-ref refs/heads/feature $(git commit-tree -p feature -m odd $tree)";
    for name in [".git", ".GIT", "git~1"] {
        let words = vec!["-c".into(), script.into(), "bash".into(), name.into()];
        lab.host("bash", words).in_dir(lab.app().path()).succeeds();
        is_refused(&lab, &workspace, "invalid path");
    }
}

#[test]
fn names_that_differ_only_in_case_stay_two() {
    let lab = on_feature();
    lab.sh("echo lower >readme; mkdir Dir dir; echo 1 >Dir/a; echo 2 >dir/a").succeeds();
    lab.commit_all();
    let workspace = lab.app().goes_the_whole_round("feature");
    workspace.sh("echo changed >readme; git commit -qam lower").succeeds();
    lab.git("pull -q agentvm::feature").succeeds();
    assert_eq!(lab.app().read("readme"), "changed\n");
    assert_eq!(lab.app().read("README.md"), "app\n");
    assert_eq!(lab.app().read("Dir/a") + &lab.app().read("dir/a"), "1\n2\n");
}

/// What each path holds, byte for byte.
const SUMS: &str = "cksum lf.txt crlf.txt auto.txt utf16.txt raw.bin";

/// Files of each kind of line end, with and without rules for them.
fn with_line_ends(lab: &Lab) {
    let script = "printf 'lf.txt text eol=lf\\ncrlf.txt text eol=crlf\\nauto.txt text=auto\\n' >.gitattributes
        printf 'utf16.txt text working-tree-encoding=UTF-16LE eol=crlf\\nraw.bin -text\\n' >>.gitattributes
        printf 'one\\ntwo\\n' >lf.txt; printf 'one\\r\\ntwo\\r\\n' >crlf.txt; printf 'one\\ntwo\\n' >auto.txt
        printf 'o\\0n\\0e\\0\\r\\0\\n\\0' >utf16.txt; printf 'a\\r\\nb\\nc\\r' >raw.bin";
    lab.sh(script).succeeds();
    lab.commit_all();
}

#[test]
fn line_ends_and_encodings_are_as_the_attributes_say() {
    let lab = on_feature();
    with_line_ends(&lab);
    let workspace = lab.app().goes_the_whole_round("feature");
    assert_eq!(workspace.sh(SUMS).succeeds().text(), lab.sh(SUMS).succeeds().text());
    workspace
        .sh("printf 't\\0w\\0o\\0\\r\\0\\n\\0' >utf16.txt; printf 'x\\r\\n' >crlf.txt; git commit -qam ends")
        .succeeds();
    lab.git("pull -q agentvm::feature").succeeds();
    assert_eq!(workspace.sh(SUMS).succeeds().text(), lab.sh(SUMS).succeeds().text());
    assert_eq!(lab.git("status --porcelain").succeeds().text(), "");
}

#[test]
fn line_ends_that_a_side_converts_are_converted_there_alone() {
    for (host, guest) in
        [("true", "false"), ("false", "true"), ("input", "true"), ("true", "input")]
    {
        let lab = on_feature();
        lab.sh("printf 'a\nb\n' >plain.txt").succeeds();
        lab.commit_all();
        lab.git(["config", "core.autocrlf", host]).succeeds();
        let workspace = lab.pushed_feature();
        workspace.git(["config", "core.autocrlf", guest]).succeeds();
        // A checkout anew, as each side writes files.
        lab.sh("rm plain.txt && git checkout -q plain.txt").succeeds();
        workspace.sh("rm plain.txt && git checkout -q plain.txt").succeeds();
        let ends = |setting: &str| if setting == "true" { "a\r\nb\r\n" } else { "a\nb\n" };
        assert_eq!(lab.app().read("plain.txt"), ends(host));
        assert_eq!(workspace.read("plain.txt"), ends(guest));
        assert_eq!(workspace.status(), "", "{host} {guest}");
        let tip = lab.app().commit("second.txt", "x\ny\n");
        lab.git("push agentvm::feature").succeeds();
        assert_eq!(workspace.tip("HEAD"), tip);
        assert_eq!(workspace.status(), "", "{host} {guest}");
        assert_eq!(workspace.read("second.txt"), ends(guest).replace('a', "x").replace('b', "y"));
        let agents = workspace.commit("third.txt", ends(guest));
        lab.git("pull -q agentvm::feature").succeeds();
        assert_eq!(lab.app().tip("HEAD"), agents);
        assert_eq!(lab.app().read("third.txt"), ends(host));
        let blob = lab.app().tip("HEAD:third.txt");
        assert_eq!(blob, lab.app().tip("HEAD:plain.txt"), "{host} {guest}");
        assert_eq!(lab.git("status --porcelain").succeeds().text(), "");
    }
}

#[test]
fn file_that_git_calls_changed_after_every_checkout_is_named_and_can_be_pushed_on() {
    // Line ends were committed against the rule of the attributes: such a file is never clean.
    let lab = on_feature();
    lab.sh("printf 'a\r\n' >bad.txt && git add bad.txt && git commit -qm bad &&
        echo '* text=auto eol=lf' >.gitattributes && git add .gitattributes && git commit -qm rules").succeeds();
    let workspace = lab.pushed_feature();
    assert_eq!(workspace.tip("HEAD"), lab.app().tip("HEAD"));
    let tip = lab.app().commit("next.txt", "next\n");
    let ran = lab.git("push agentvm::feature").run();
    if ran.code != 0 {
        assert!(ran.errors().contains("bad.txt"), "{ran}");
        workspace.sh("git add --renormalize . && git commit -qm normal").succeeds();
        lab.git("pull -q --no-rebase --no-edit agentvm::feature").succeeds();
        lab.git("push agentvm::feature").succeeds();
    } else {
        assert_eq!(workspace.tip("HEAD"), tip);
    }
}

#[test]
fn paths_that_the_workspaces_file_system_takes_for_one_are_refused_before_anything_moves() {
    let lab = on_feature();
    let workspace = lab.pushed_feature();
    // As on a file system that folds case: another spelling leads to the same file.
    workspace.sh("ln -s HEAD .git/hEAD").succeeds();
    for (one, two) in [("Name", "name"), ("caf\u{e9}", "cafe\u{301}"), ("Dir/a", "dir/b")] {
        lab.app().write(one, "1\n");
        lab.app().write(two, "2\n");
        lab.commit_all();
        let before = workspace.snapshot();
        let (first, second) = (one.split('/').next().unwrap(), two.split('/').next().unwrap());
        let ran = lab
            .git("push agentvm::feature")
            .fails(1)
            .stderr_has("the workspace's file system cannot hold both of: ");
        let errors = ran.errors();
        assert!(
            errors.contains(&format!("{first} and {second}"))
                || errors.contains(&format!("{second} and {first}")),
            "{ran}"
        );
        assert_eq!(workspace.snapshot(), before);
        assert!(workspace.git(["cat-file", "-e", &lab.app().tip("HEAD")]).run().code != 0);
        // Another branch is not checked out, so nothing is in the way.
        lab.git("push agentvm::feature +feature:side").succeeds();
        lab.git("reset -q --hard HEAD~").succeeds();
    }
    let tip = lab.app().commit("other.txt", "other\n");
    lab.git("push agentvm::feature").succeeds();
    workspace.is_whole_at(&tip);
}

#[test]
fn paths_that_the_host_takes_for_one_are_told_at_fetch() {
    let lab = on_feature();
    let workspace = lab.pushed_feature();
    workspace.commit("Name", "1\n");
    workspace.commit("name", "2\n");
    lab.git("fetch agentvm::feature").succeeds().stderr_lacks("cannot hold both");
    lab.git("update-ref -d refs/heads/nothing").run();
    let agents = workspace.commit("caf\u{e9}", "3\n");
    lab.git("-c core.ignoreCase=true fetch agentvm::feature")
        .succeeds()
        .stderr_has("warning: this repository's file system (core.ignoreCase) cannot hold both of: Name and name")
        .stderr_has("hint: rename one of them in the workspace");
    assert_eq!(lab.app().tip("FETCH_HEAD"), agents);
}

/// Lets the guest's disk seem to have this much left.
fn with_room(lab: &Lab, kib: u64) {
    let script = format!(
        "case \" $* \" in *' -f '*) echo {kib} 1024 1000000 ;; *) PATH=${{PATH#*:}}; exec stat \"$@\" ;; esac"
    );
    lab.guest_fake("stat", &script);
}

#[test]
fn push_whose_files_do_not_fit_is_refused_before_the_first_byte_moves() {
    let lab = on_feature();
    lab.app().commit("big.bin", vec![b'a'; 500 << 10]);
    let workspace = lab.pushed_feature();
    with_room(&lab, 300);
    // A new file, and one that grows by more than there is.
    for (name, size) in [("new.bin", 400 << 10), ("big.bin", 900 << 10)] {
        lab.app().commit(name, vec![b'b'; size]);
        let before = workspace.snapshot();
        lab.git("push agentvm::feature")
            .fails(1)
            .stderr_has(
                "the files of the push need 400 KiB more, and the disk of the VM has 300 KiB left",
            )
            .stderr_has("make room there");
        assert_eq!(workspace.snapshot(), before);
        workspace.sh("test ! -s .git/agentvm-journal").succeeds();
        lab.git("reset -q --hard HEAD~").succeeds();
    }
    // One that is replaced needs no more room, one that goes needs none, and a link has no files.
    let tip = lab.app().commit("big.bin", vec![b'c'; 500 << 10]);
    lab.git("push agentvm::feature").succeeds();
    workspace.is_whole_at(&tip);
    lab.sh("git rm -q big.bin && git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),sub && git commit -qm gone && mkdir sub").succeeds();
    lab.git("push agentvm::feature").succeeds();
    assert_eq!(workspace.tip("HEAD"), lab.app().tip("HEAD"));
    // The first push of all.
    lab.forget_workspaces();
    lab.app().commit("new.bin", vec![b'b'; 400 << 10]);
    lab.git("push agentvm::feature").fails(1).stderr_has("KiB more, and the disk");
    with_room(&lab, 500);
    lab.git("push agentvm::feature").succeeds();
}
