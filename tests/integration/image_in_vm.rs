//! `git agent-vm image build` where the image is built in a VM. limactl and the recipe are fakes, the way
//! into the VM leads to the lab's guest; what is installed there, sent, run and brought back is real.

use std::path::PathBuf;

use rustix::process::Signal;

use crate::image::disk;
use crate::limactl::{calls, put_limactl};
use crate::provision::machine::Machine;
use crate::support::{Lab, Run};

const NAME: &str = "agentvm-image";

/// Makes an instance of whatever template it gets, and has it run.
const LIMACTL: &str = r#"#!/bin/sh
echo "$*" >>"$HOME/../../limactl-calls"
dir=$HOME/.lima/agentvm-image
case "$*" in
*--version*) echo limactl version 2.2.0 ;;
*list*)
    test ! -e "$dir/made" || exec cat "$dir/made"
    echo 'time="x" level=warning msg="No instance matching agentvm-image found."' >&2
    exit 1 ;;
*create*)
    cat >"$HOME/template"
    mkdir -p "$dir"
    key=$(sed -n 's/.*hostKey: //p' "$HOME/template")
    echo '{"name":"agentvm-image","status":"Stopped","dir":"'"$dir"'","config":{"plain":true,"user":{"name":"agent"},"param":{"hostKey":"'"$key"'"}}}' >"$dir/made" ;;
*start*)
    echo PID >"$dir/ha.pid"
    echo 'Port 1' >"$dir/ssh.config" ;;
*delete*) rm -r "$dir" ;;
*) exit 9 ;;
esac
"#;

/// Says that the VM has booted, and leads all else to the lab's guest.
const SSH: &str = r#"#!/bin/sh
for last; do :; done
case $last in
*/run/agentvm/booted*)
    echo '1 0d5fe8a1-2e6b-4f5c-9d5c-0123456789ab'
    exec date +%s ;;
esac
case " $* " in *' -O '*) exit 0 ;; esac
exec 'SSH' -F 'CONFIG' vm "$last"
"#;

/// The recipe, and whatever a test has it do before.
const RECIPE: &str = r#"
input=$2 out=$4
ls -l "$input/.." "$input" >"$HOME/seen"
cat "$input/environment" "$input/secrets" >>"$HOME/seen"
echo "mirror: $AGENTVM_APT_MIRROR, watching: $WATCH_STDIN" >>"$HOME/seen"
echo "downloading and unpacking Debian's packages"
[ ! -e "$HOME/more-of-the-recipe" ] || . "$HOME/more-of-the-recipe"
cp "$HOME/result/"* "$out""#;

/// A host, the guest that is its builder, and what the recipe makes there.
struct Site {
    machine: Machine,
}

impl Site {
    fn new() -> Option<Self> {
        let machine = Machine::new()?;
        let lab = &machine.lab;
        lab.make_app();
        put_limactl(lab, &LIMACTL.replace("PID", &std::process::id().to_string()));
        let real = which::which("ssh").unwrap();
        let config = lab.path().join("ssh/config");
        let script = SSH.replace("SSH", real.to_str().unwrap());
        lab.put_program("ssh", &script.replace("CONFIG", config.to_str().unwrap()));
        lab.guest_fake("bash", RECIPE);
        machine.fake("usermod", ":");
        lab.git_config("agentvm.accel", "tcg");
        lab.git_config("agentvm.common", machine.common().to_str().unwrap());
        lab.git_config("agentvm.extras", "none");
        let site = Self { machine };
        site.result("disk.qcow2", &disk());
        for name in ["vmlinuz", "initrd.img"] {
            site.result(name, name.as_bytes());
        }
        site.result("cmdline", b"root=LABEL=agentvm-root ro\n");
        site.sums();
        Some(site)
    }

    fn lab(&self) -> &Lab {
        &self.machine.lab
    }

    /// A file that the recipe makes.
    fn result(&self, name: &str, content: &[u8]) {
        let write = "mkdir -p result && cat >\"result/$1\"";
        self.lab().guest_command("sh", ["-c", write, "sh", name]).stdin(content).succeeds();
    }

    fn sums(&self) {
        let script = "cd result && sha256sum disk.qcow2 vmlinuz initrd.img cmdline >SHA256SUMS";
        self.lab().guest_sh(script).succeeds();
    }

    /// What the recipe does besides.
    fn recipe(&self, script: &str) {
        let write = ["-c", "cat >more-of-the-recipe"];
        self.lab().guest_command("sh", write).stdin(script).succeeds();
    }

    /// It runs until its standard input ends, as the real one ends then.
    fn long_recipe(&self) {
        self.recipe(&format!("{} & cat >/dev/null; kill $!; exit 143", self.machine.long_sleep()));
    }

    fn build(&self) -> Run {
        self.lab().agent_vm("image build --in-vm")
    }

    fn instance(&self) -> PathBuf {
        self.lab().home().join(".lima").join(NAME)
    }

    fn record(&self) -> PathBuf {
        self.lab().home().join(".local/state/git-agent-vm/vm").join(NAME)
    }

    /// What is in the place of images, the lock's file aside.
    fn images(&self) -> Vec<String> {
        let dir = self.lab().home().join(".cache/git-agent-vm/images");
        let entries = std::fs::read_dir(dir).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "lock").collect()
    }

    fn is_gone(&self) -> bool {
        !self.instance().exists() && !self.record().exists()
    }

    /// Neither the VM nor anything of an image is there.
    fn left_nothing(&self) {
        assert!(self.is_gone(), "{}", calls(self.lab()));
        assert_eq!(self.images(), [""; 0]);
        assert!(calls(self.lab()).contains("delete --force agentvm-image"));
    }

    /// Why what the recipe made is refused.
    fn refuses(&self, why: &str) {
        self.build().fails(1).stderr_has("error: ").stderr_has(why).stderr_lacks("made the image");
        self.left_nothing();
        self.lab().guest_sh("rm -r image").succeeds();
    }
}

#[test]
fn an_image_is_built_in_a_vm_that_goes_with_it() {
    let Some(site) = Site::new() else { return };
    let lab = site.lab();
    // What is handed over is root's, which the guest's user is in its namespace.
    lab.guest_fake("sudo", "[ \"$1\" != -n ] || shift; exec \"$@\"");
    site.machine.fake("systemctl", ":");
    let line = "session optional pam_env.so envfile=/etc/agentvm/environment";
    site.machine.as_root(&format!("echo '{line}' >/etc/pam.d/common-session")).succeeds();
    let share = "mkdir -p \"$HOME/share\"; mount --bind \"$HOME/share\" /usr/share/pam-configs";
    lab.guest_command("sh", ["-c", "cat >more"]).stdin(share).succeeds();
    lab.git_config("agentvm.npmRegistry", "https://me:hunter2@mirror.example/npm/");
    let ran = site.build().env("AGENTVM_APT_MIRROR", "https://you:hunter3@mirror.example/debian");
    let wanted = lab.agent_vm("image list --json").succeeds().json()["wanted"].clone();
    let wanted = wanted.as_str().unwrap();
    ran.succeeds()
        .stderr_has("making the VM 'agentvm-image' (downloading Debian's image)")
        .stderr_has("starting the VM 'agentvm-image'")
        .stderr_has(&format!("making the image {wanted}: installing "))
        .stderr_has(&format!(
            "making the image {wanted}: downloading and unpacking Debian's packages"
        ))
        .stderr_has(&format!("making the image {wanted}: bringing its disk.qcow2 (512 B)"))
        .stderr_has(&format!("making the image {wanted}: deleting the VM 'agentvm-image'"))
        .stderr_has(&format!("made the image {wanted}: "))
        .stderr_lacks("hunter")
        .stderr_lacks("warning");
    assert!(site.is_gone());
    assert_eq!(site.images(), [wanted]);
    let dir = lab.home().join(".cache/git-agent-vm/images").join(wanted);
    assert_eq!(fs_err::read(dir.join("disk.qcow2")).unwrap(), disk());
    lab.agent_vm("image list").succeeds().stdout_has("takes it for a new VM");

    // It has nothing of this machine, and all that the recipe needs.
    let template = fs_err::read_to_string(lab.home().join("template")).unwrap();
    assert!(template.contains("plain: true") && template.contains("mounts: []"), "{template}");
    let seen = lab.guest_sh("cat seen").succeeds();
    seen.stdout_has("recipe")
        .stdout_has("npm_config_registry=https://me:hunter2@mirror.example/npm/")
        .stdout_has("\nme:hunter2@\n")
        .stdout_has("\nyou:hunter3@\n")
        .stdout_has("mirror: https://you:hunter3@mirror.example/debian, watching")
        .stdout_has("watching: 1");
    let apt = site.machine.calls().into_iter().find(|call| call.contains(" install ")).unwrap();
    for package in ["mmdebstrap", "uidmap", "qemu-utils", "ca-certificates"] {
        assert!(apt.contains(package), "{apt}");
    }
    let closed = lab.guest_sh("stat -c %a image/input/secrets image/mirror").succeeds().text();
    assert_eq!(closed, "600\n600");
    // No command of ours had a password among its words.
    assert!(!lab.trace().iter().any(|line| line.contains("hunter")));

    lab.agent_vm("image build --in-vm").succeeds().stderr_has("is there already");
}

#[test]
fn what_comes_back_is_taken_only_if_it_is_an_image() {
    let Some(site) = Site::new() else { return };
    let mut difference = disk();
    difference[15] = 1;
    difference[19] = 11;
    site.result("disk.qcow2", &difference);
    site.sums();
    site.refuses("disk.qcow2: it is the difference to another file");

    site.result("disk.qcow2", &[disk(), b"more".to_vec()].concat());
    site.refuses("disk.qcow2 is not what");

    site.result("cmdline", b"root=LABEL=agentvm-root\n\x1b[2Jro\n");
    site.sums();
    site.refuses("cmdline is not one line");

    site.result("cmdline", &[b'x'; 5000]);
    site.refuses("its cmdline has 4.88 KiB, and may have 4.00 KiB at most");

    site.lab().guest_sh("rm result/initrd.img; echo ro >result/cmdline").succeeds();
    site.refuses("there is no initrd.img");
}

#[test]
fn a_file_that_is_longer_than_it_was_said_is_refused() {
    let Some(site) = Site::new() else { return };
    site.recipe("echo 'echo 5' >\"$HOME/../bin/stat\"; chmod +x \"$HOME/../bin/stat\"");
    site.refuses("its SHA256SUMS is longer than it was said");
}

#[test]
fn a_recipe_that_fails_is_explained_as_on_the_host() {
    let Some(site) = Site::new() else { return };
    site.machine.list("apt-packages", "ripgrep\n");
    site.recipe(
        "printf 'E: Unable to locate package ripgrep\\nE: \\033[2Jsetup failed\\nE: setup failed: x\\n' >&2; exit 3",
    );
    site.build()
        .fails(1)
        .stderr_has("error: cannot make the image: E: Unable to locate package ripgrep\n")
        .stderr_has("error: E: \\x1b[2Jsetup failed\n")
        .stderr_lacks("\x1b")
        .stderr_has("hint: 'ripgrep' is named in ")
        .stderr_has("apt-packages.txt");
    site.left_nothing();
}

#[test]
fn a_recipe_that_does_not_end_is_given_up() {
    let Some(site) = Site::new() else { return };
    site.long_recipe();
    // The guest shows every 5 s that it is alive.
    site.build()
        .env("GIT_AGENT_VM_TIME_LIMIT", "12")
        .fails(6)
        .stderr_has("error: cannot make the image: the recipe did not end in 12 s");
    site.left_nothing();
}

#[test]
fn what_the_recipe_says_is_cleaned() {
    let Some(site) = Site::new() else { return };
    site.recipe("printf 'nice\\033]0;title\\007 \\0 work\\r\\n'");
    site.build().succeeds().stderr_lacks("\x1b").stderr_lacks("\x07").stderr_has("nice\\x1b]0;");
}

#[test]
fn packages_that_the_recipe_needs_and_cannot_be_had_are_named() {
    let Some(site) = Site::new() else { return };
    site.machine.fake(
        "apt-get",
        "case $* in *' update') echo \"E: Temporary failure resolving 'deb.debian.org'\"; exit 100 ;; esac",
    );
    site.build()
        .fails(1)
        .stderr_has("error: cannot make the image: apt-get update failed in the VM:\n")
        .stderr_has("Temporary failure resolving 'deb.debian.org'");
    site.left_nothing();
}

#[test]
fn a_vm_that_cannot_be_made_or_started_is_explained() {
    let Some(site) = Site::new() else { return };
    let limactl = LIMACTL.replace("*start*)", "*start*) exit 1 ;;\n*never*)");
    put_limactl(site.lab(), &limactl);
    site.build()
        .fails(1)
        .stderr_has("error: cannot make the image: the VM 'agentvm-image' did not start")
        .stderr_lacks("logs: ");
    site.left_nothing();
    let full =
        "*create*) echo 'time=\"x\" level=fatal msg=\"no space left\"' >&2; exit 1 ;;\n*never*)";
    put_limactl(site.lab(), &LIMACTL.replace("*create*)", full));
    site.build()
        .fails(1)
        .stderr_has("cannot make the image: cannot make the VM 'agentvm-image': no space left");
    assert!(site.is_gone());
}

#[test]
fn a_build_that_is_broken_off_takes_the_vm_away() {
    let Some(site) = Site::new() else { return };
    site.long_recipe();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::KILL, 137)] {
        let build = site.build().background();
        site.lab().wait_until("the recipe runs", |_| site.machine.is_at_it());
        assert!(site.instance().exists());
        build.signal(signal);
        assert_eq!(build.finish().code, code);
        site.lab().wait_until("the VM is gone", |_| site.is_gone() && site.images().is_empty());
        site.left_nothing();
        site.lab().wait_until("the recipe has ended", |_| !site.machine.is_at_it());
        site.lab().guest_sh("rm -r image").succeeds();
    }
    // The next one begins anew.
    site.recipe(":");
    site.build().succeeds();
}

#[test]
fn what_a_build_has_left_is_taken_away_by_the_next() {
    let Some(site) = Site::new() else { return };
    site.long_recipe();
    let build = site.build().background();
    site.lab().wait_until("the recipe runs", |_| site.machine.is_at_it());
    // As in an outage: nobody is left.
    for line in site.lab().host_processes() {
        if line.contains("--end-builder") {
            let pid = line.split(' ').next().and_then(|pid| pid.parse().ok());
            let pid = pid.and_then(rustix::process::Pid::from_raw).unwrap();
            rustix::process::kill_process(pid, Signal::KILL).unwrap();
        }
    }
    build.signal(Signal::KILL);
    build.finish();
    assert!(site.instance().exists() && site.record().exists());
    site.lab().wait_until("the recipe has ended", |_| !site.machine.is_at_it());
    site.lab().guest_sh("rm -r image").succeeds();
    site.recipe(":");
    let before = calls(site.lab()).matches("delete --force").count();
    site.build().succeeds();
    assert_eq!(calls(site.lab()).matches("delete --force").count(), before + 2);
    assert!(site.is_gone());
}

#[test]
fn a_vm_of_that_name_that_is_not_ours_is_left_alone() {
    let Some(site) = Site::new() else { return };
    let what = "Lima has one of that name that was not made for it";
    fs_err::create_dir_all(site.instance()).unwrap();
    fs_err::write(site.instance().join("disk"), "another's").unwrap();
    site.build().fails(1).stderr_has(what).stderr_has("hint: limactl rename agentvm-image ");
    // Nor is one of an older version's, which had a user's work in it,
    let record = |purpose: &str| {
        let record = serde_json::json!({"version": 1, "made": 1_767_225_600, "finished": true,
            "purpose": purpose, "lima_home": site.lab().home().join(".lima")});
        fs_err::create_dir_all(site.record()).unwrap();
        fs_err::write(site.record().join("record.json"), record.to_string()).unwrap();
    };
    record("work");
    site.build().fails(1).stderr_has(what);
    // or one that somebody made in the place of ours.
    record("build");
    let made = format!(
        r#"{{"name":"{NAME}","status":"Stopped","dir":"{}","config":{{"plain":true,"user":{{"name":"agent"}},"param":{{"hostKey":"eA=="}}}}}}"#,
        site.instance().display()
    );
    fs_err::write(site.instance().join("made"), made).unwrap();
    site.build().fails(1).stderr_has(what);
    assert_eq!(fs_err::read_to_string(site.instance().join("disk")).unwrap(), "another's");
    let calls = calls(site.lab());
    assert!(!calls.contains("delete") && !calls.contains("create"), "{calls}");
}

#[test]
fn the_vm_is_nobodys_own() {
    let lab = Lab::host_only("home");
    lab.make_app();
    for verb in ["start", "destroy --discard=agentvm-image", "image build --in-vm"] {
        lab.git(&format!("-c agentvm.vm={NAME} agent-vm {verb}"))
            .fails(2)
            .stderr_has("'agentvm-image' is the VM in which git agent-vm image build works");
    }
}
