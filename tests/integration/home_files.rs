//! The files of `common/homedir/` on their way into the agent's home, over a real ssh.
//!
//! `start` does this for a VM of Lima only; here the library does it to the lab's guest.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use git_agent_vm::home_files::HomeFiles;
use git_agent_vm::provision::{Outcome, Stage, Way};

use crate::support::Lab;

fn homedir(lab: &Lab) -> PathBuf {
    lab.home().join("common/homedir")
}

fn write(lab: &Lab, path: &str, text: &str, mode: u32) {
    let path = homedir(lab).join(path);
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(&path, text).unwrap();
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn install(lab: &Lab) -> anyhow::Result<Outcome> {
    let way = Way { limit: std::time::Duration::from_secs(60), force: false };
    let files = HomeFiles::read(&homedir(lab))?;
    Stage::of_home(files).run(&lab.library_guest(), way)
}

fn read(lab: &Lab, path: &str) -> String {
    lab.guest_command("cat", [path]).succeeds().text()
}

fn mode(lab: &Lab, path: &str) -> String {
    lab.guest_command("stat", ["-c", "%a", path]).succeeds().text()
}

#[test]
fn files_arrive_with_their_modes_and_bytes() {
    let lab = Lab::new();
    write(&lab, ".config/tool/settings", "one = 1\n", 0o644);
    write(&lab, ".local/bin/do-it", "#!/bin/sh\necho done\n", 0o755);
    write(&lab, ".netrc", "secret", 0o600);
    write(&lab, " odd 'name'\\ ", "", 0o644);
    let bytes: String = (0..100_000_u32).map(|n| char::from((n % 128) as u8)).collect();
    write(&lab, "bytes", &bytes, 0o640);
    install(&lab).unwrap();
    assert_eq!(read(&lab, ".config/tool/settings"), "one = 1");
    lab.guest_sh("\"$HOME\"/.local/bin/do-it").succeeds().stdout_is("done");
    assert_eq!(mode(&lab, ".netrc"), "600");
    assert_eq!(mode(&lab, "bytes"), "640");
    assert_eq!(mode(&lab, " odd 'name'\\ "), "644");
    assert_eq!(lab.guest_command("cat", ["bytes"]).succeeds().stdout, bytes.as_bytes());
    lab.guest_sh("ls .local/state/agentvm/home | grep -c incoming").fails(1);
}

#[test]
fn file_changed_in_the_vm_stays_and_the_new_one_is_beside_it() {
    let lab = Lab::new();
    write(&lab, "ours", "one\n", 0o644);
    write(&lab, "theirs", "one\n", 0o644);
    lab.guest_sh(
        "echo 'was there' >before; cp /etc/skel/.profile .; ln -s nowhere link; mkdir dir",
    )
    .succeeds();
    for path in ["before", ".profile", "link", "dir"] {
        write(&lab, path, "from the host\n", 0o644);
    }
    install(&lab).unwrap();
    assert_eq!(read(&lab, "before"), "was there");
    assert_eq!(read(&lab, "before.agentvm-new"), "from the host");
    assert_eq!(read(&lab, "link.agentvm-new"), "from the host");
    assert_eq!(read(&lab, "dir.agentvm-new"), "from the host");
    // As the system made it, it is nobody's work.
    assert_eq!(read(&lab, ".profile"), "from the host");

    // The time says nothing, what is in it does. What lies beside a file already is not put there
    // again.
    lab.guest_sh("rm before.agentvm-new; echo changed >theirs; touch -d 2001-01-01 theirs ours")
        .succeeds();
    write(&lab, "ours", "two\n", 0o644);
    write(&lab, "theirs", "two\n", 0o755);
    install(&lab).unwrap();
    assert_eq!(read(&lab, "ours"), "two");
    assert_eq!(read(&lab, "theirs"), "changed");
    assert_eq!(read(&lab, "theirs.agentvm-new"), "two");
    lab.guest_sh("test -e before.agentvm-new").fails(1);
    // Put right there, it is ours again.
    lab.guest_sh("mv theirs.agentvm-new theirs").succeeds();
    write(&lab, "theirs", "three\n", 0o644);
    install(&lab).unwrap();
    assert_eq!(read(&lab, "theirs"), "three");
    lab.guest_sh("test -e theirs.agentvm-new").fails(1);
}

#[test]
fn unchanged_files_are_not_sent_again() {
    let lab = Lab::new();
    write(&lab, "file", "one\n", 0o644);
    install(&lab).unwrap();
    lab.guest_sh("rm file").succeeds();
    install(&lab).unwrap();
    lab.guest_sh("test -e file").fails(1);
    // A mode is a change too.
    write(&lab, "file", "one\n", 0o755);
    install(&lab).unwrap();
    assert_eq!(mode(&lab, "file"), "755");
}

#[test]
fn what_cannot_be_written_is_said_and_tried_again() {
    let lab = Lab::new();
    write(&lab, "a", "a\n", 0o644);
    write(&lab, "dir/b", "b\n", 0o644);
    lab.guest_sh("echo in the way >dir").succeeds();
    let error = format!("{:#}", install(&lab).unwrap_err());
    let why = "cannot make the directory of ~/dir/b in the VM";
    assert_eq!(error, format!("cannot set up the VM 'agent-vm': home: {why}"));
    assert_eq!(read(&lab, "dir"), "in the way");
    lab.guest_sh("rm dir").succeeds();
    install(&lab).unwrap();
    assert_eq!(read(&lab, "dir/b"), "b");
}

#[test]
fn bad_file_is_wrong_usage_before_anything_starts() {
    let lab = Lab::new();
    write(&lab, "file", "one\n", 0o644);
    std::os::unix::fs::symlink("/etc/passwd", homedir(&lab).join("link")).unwrap();
    lab.git_config("agentvm.common", lab.home().join("common").to_str().unwrap());
    let sessions = lab.ssh_sessions_of(|| {
        lab.agent_vm("start").fails(2).stderr_has("common/homedir/link: a symbolic link cannot be");
    });
    assert_eq!(sessions, 0);
    lab.git_config("agentvm.provider", "lima");
    lab.agent_vm("start").fails(2).stderr_has("common/homedir/link: a symbolic link cannot be");
}
