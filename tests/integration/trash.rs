//! The trash of the VM: how long it keeps what is in it, and what makes room when the disk is full.

use crate::support::{Lab, Ran};

const DAY: u64 = 86_400;

/// The host's time, some days ago.
fn days_ago(days: u64) -> u64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() - days * DAY
}

/// Puts a workspace into the trash as if that had been so long ago; its name there.
fn trashed(lab: &Lab, name: &str, days: u64) -> String {
    let name = format!("{name}.{}", days_ago(days));
    let script =
        "mkdir -p \"workspace/.trash/$0/deep\" && echo x >\"workspace/.trash/$0/deep/file\"";
    lab.guest_command("sh", ["-c", script, &name]).succeeds();
    name
}

fn trash(lab: &Lab) -> Vec<String> {
    let listed = lab.guest_sh("ls -A workspace/.trash 2>/dev/null; true").succeeds().text();
    listed.lines().map(str::to_owned).collect()
}

/// Cleans a workspace without anything of its own.
fn clean(lab: &Lab) -> Ran {
    lab.pushed_feature();
    lab.agent_vm("clean feature").succeeds()
}

#[test]
fn what_is_older_than_thirty_days_goes_with_the_next_clean() {
    let lab = Lab::new();
    let old = trashed(&lab, "app-old", 31);
    let young = trashed(&lab, "app-young", 29);
    clean(&lab).stderr_has(&format!("removed {old} from the trash")).stderr_lacks(&young);
    let left = trash(&lab);
    assert!(left.contains(&young) && !left.contains(&old) && left.len() == 2, "{left:?}");
    let old = trashed(&lab, "app-old", 31);
    lab.agent_vm("clean-all").run();
    lab.agent_vm("start").succeeds().stderr_has(&format!("removed {old} from the trash"));
}

#[test]
fn git_itself_removes_nothing() {
    let lab = Lab::new();
    let old = trashed(&lab, "app-old", 400);
    lab.pushed_feature();
    lab.git("fetch -q agentvm::feature").succeeds();
    lab.agent_vm("connect feature -- true").succeeds();
    lab.agent_vm("status").succeeds();
    assert_eq!(trash(&lab), [old]);
}

#[test]
fn setting_says_how_long() {
    let lab = Lab::new();
    let entries = [trashed(&lab, "app-a", 3), trashed(&lab, "app-b", 20), trashed(&lab, "c", 400)];
    lab.git_config("agentvm.keepTrash", "never");
    lab.agent_vm("start").succeeds();
    assert_eq!(trash(&lab), entries);
    lab.git_config("agentvm.keepTrash", "2.weeks");
    lab.agent_vm("start").succeeds();
    assert_eq!(trash(&lab), entries[..1]);
    for bad in ["now", "12.hours", "0"] {
        lab.git_config("agentvm.keepTrash", bad);
        lab.agent_vm("start")
            .fails(2)
            .stderr_has("agentvm.keeptrash")
            .stderr_has("30.days")
            .stderr_has(".gitconfig");
    }
    assert_eq!(trash(&lab), entries[..1]);
}

#[test]
fn name_that_tells_no_time_is_never_removed() {
    let lab = Lab::new();
    let odd = [
        "by-hand",
        "app.17",
        "app.0700000000",
        "1500000000",
        ".hidden.1500000000",
        "a b.1500000000",
    ];
    for name in odd {
        lab.guest_command("mkdir", ["-p", &format!("workspace/.trash/{name}")]).succeeds();
    }
    let later = trashed(&lab, "app-later", 0).replace(&days_ago(0).to_string()[..2], "39");
    lab.guest_command("mkdir", ["-p", &format!("workspace/.trash/{later}")]).succeeds();
    lab.agent_vm("start").succeeds();
    let left = trash(&lab);
    assert!(odd.iter().all(|name| left.contains(&(*name).to_owned())), "{left:?}");
    assert!(left.contains(&later), "{left:?}");
}

#[test]
fn clock_of_the_guest_does_not_matter() {
    let lab = Lab::new();
    let young = trashed(&lab, "app-young", 2);
    let old = trashed(&lab, "app-old", 31);
    for years in [-20, 20] {
        // Whatever asks for the time there.
        lab.guest_fake("date", &format!("exec /bin/date -d '{years} years' \"$@\""));
        lab.agent_vm("start").succeeds();
        assert_eq!(trash(&lab), [&*young], "{old}");
    }
}

#[test]
fn removal_follows_no_link_and_read_only_directories_do_not_stop_it() {
    let lab = Lab::new();
    let old = trashed(&lab, "app-old", 31);
    let script = "mkdir -p keep/me && echo precious >keep/me/file && cd \"workspace/.trash/$0\" &&
        ln -s ../../../keep link && ln -s \"$HOME/keep\" deep/link &&
        mkdir -p go/pkg/mod/a@v1 && echo x >go/pkg/mod/a@v1/f && chmod -R a-w go &&
        mkdir -p none/in && echo x >none/in/f && chmod 0 none && chmod a-w .";
    lab.guest_command("sh", ["-c", script, &old]).succeeds();
    let link = format!("app-link.{}", days_ago(40));
    lab.guest_command("ln", ["-s", "../../keep", &format!("workspace/.trash/{link}")]).succeeds();
    lab.agent_vm("start").succeeds().stderr_has(&old).stderr_has(&link);
    assert!(trash(&lab).is_empty(), "{:?}", trash(&lab));
    lab.guest_sh("cat keep/me/file").succeeds().stdout_is("precious");
}

#[test]
fn what_is_mounted_in_it_is_not_emptied() {
    let lab = Lab::new();
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: only root can mount");
        return;
    }
    let old = trashed(&lab, "app-old", 31);
    lab.guest_sh("mkdir precious && echo x >precious/file").succeeds();
    let place = lab.guest_home().join("workspace/.trash").join(&old).join("deep");
    let bind = |words: Vec<std::ffi::OsString>| lab.host("mount", words).run().code == 0;
    // Of the same file system, which rm cannot tell from its own.
    if !bind(vec!["--bind".into(), lab.guest_home().join("precious").into(), place.clone().into()])
    {
        eprintln!("left out: mounting is not allowed here");
        return;
    }
    let ran = lab.agent_vm("start").run();
    let drop = lab.agent_vm(["restore", "--drop", "--force", &old]).run();
    lab.host("umount", vec![place.into()]).succeeds();
    ran.stderr_has("something is mounted in").stderr_has(&old);
    assert_eq!(drop.code, 1, "{drop}");
    lab.guest_sh("cat precious/file").succeeds().stdout_is("x");
    assert_eq!(trash(&lab), [old]);
}

#[test]
fn trash_that_is_a_link_is_left_alone() {
    let lab = Lab::new();
    let script = "mkdir -p workspace elsewhere/x.1500000000 && ln -s ../elsewhere workspace/.trash";
    lab.guest_sh(script).succeeds();
    lab.agent_vm("start").succeeds();
    lab.guest_sh("test -d elsewhere/x.1500000000").succeeds();
}

#[test]
fn what_a_killed_removal_left_is_removed_and_is_nobodys_workspace() {
    let lab = Lab::new();
    let left = format!("workspace/.trash/.removing.0123.app-x.{}", days_ago(31));
    lab.guest_command("mkdir", ["-p", &left]).succeeds();
    lab.agent_vm("restore").succeeds().stdout_lacks("removing").stderr_has("the trash is empty");
    assert_eq!(lab.agent_vm("status --json").succeeds().json()["vm"]["trash_entries"], 0);
    lab.agent_vm("start").succeeds();
    assert!(trash(&lab).is_empty());
}

#[test]
fn full_disk_takes_the_oldest_first_and_names_each() {
    let lab = Lab::new();
    let entries = [20, 10, 0].map(|days| trashed(&lab, "app-x", days));
    // Nearly full as long as the first of them is there.
    let df = |word: &str| {
        format!(
            "free=900000; ls ~/workspace/.trash | grep -q '{word}' && free=40000
             printf 'Filesystem 1024-blocks Used Available Capacity Mounted\\n/dev/x 1000000 1 %s 1%% /\\n' $free"
        )
    };
    lab.guest_fake("df", &df(&entries[0]));
    lab.agent_vm("connect -- true")
        .succeeds()
        .stderr_has(&format!(
            "warning: the disk of the host 'vm' is nearly full: removed {}",
            entries[0]
        ))
        .stderr_lacks(&entries[1]);
    assert_eq!(trash(&lab), entries[1..]);
    // Whatever is removed, it stays full: what is younger than a day stays all the same.
    lab.guest_fake("df", &df("x"));
    lab.pushed_feature();
    lab.agent_vm("connect feature -- true")
        .succeeds()
        .stderr_has(&entries[1])
        .stderr_has("is nearly full\n")
        .stderr_has("git agent-vm restore --drop");
    assert_eq!(trash(&lab), entries[2..]);
}

#[test]
fn status_measures_it() {
    let lab = Lab::new();
    let vm = || lab.agent_vm("status --json").succeeds().json()["vm"].clone();
    assert_eq!((vm()["trash_entries"].clone(), vm()["trash_bytes"].clone()), (0.into(), 0.into()));
    lab.agent_vm("status").succeeds().stdout_lacks("Trash");
    let name = trashed(&lab, "app-x", 1);
    let fill = format!("head -c 3000000 /dev/urandom >workspace/.trash/{name}/big");
    lab.guest_sh(&fill).succeeds();
    assert_eq!(vm()["trash_entries"], 1);
    let bytes = vm()["trash_bytes"].as_u64().unwrap();
    assert!((3_000_000..4_000_000).contains(&bytes), "{bytes}");
    lab.agent_vm("status").succeeds().stdout_has("Trash: 1 entry, 2.8");
    lab.guest_fake("du", "sleep 30");
    let vm = lab.agent_vm("status --json").env("GIT_AGENT_VM_TIME_LIMIT", "1").succeeds().json();
    assert_eq!(vm["vm"]["trash_entries"], 1);
    assert!(vm["vm"]["trash_bytes"].is_null(), "{vm:#}");
}
