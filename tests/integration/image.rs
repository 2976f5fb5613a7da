//! `git agent-vm image`, and the image that `start` takes by itself: what can be seen without
//! building one. `real_vm` searches one that was built.

use std::path::PathBuf;

use crate::limactl::{self, NO_INSTANCE, calls};
use crate::support::Lab;

/// A host whose limactl keeps the template that it gets, and fails to make anything of it.
fn host() -> Lab {
    let lab = limactl::lab(NO_INSTANCE, "cat >\"$HOME/template\"; exit 1");
    lab.git_config("agentvm.accel", "tcg");
    lab.git_config("agentvm.credentials", "none");
    lab
}

fn images(lab: &Lab) -> PathBuf {
    lab.home().join(".cache/git-agent-vm/images")
}

/// The name of the image for the settings.
fn wanted(lab: &Lab) -> String {
    let list = lab.agent_vm("image list --json").succeeds().json();
    assert_eq!(list["version"], 1);
    list["wanted"].as_str().unwrap().to_owned()
}

/// The header of a disk of 8 GiB in QEMU's format.
pub(crate) fn disk() -> Vec<u8> {
    let mut head = vec![0; 512];
    let numbers: [(usize, &[u8]); 5] = [
        (0, b"QFI\xfb"),
        (4, &3_u32.to_be_bytes()),
        (20, &16_u32.to_be_bytes()),
        (24, &(8_u64 << 30).to_be_bytes()),
        (100, &112_u32.to_be_bytes()),
    ];
    for (at, bytes) in numbers {
        head[at..at + bytes.len()].copy_from_slice(bytes);
    }
    head
}

/// Puts a small image of that name there.
fn make(lab: &Lab, name: &str) -> PathBuf {
    let dir = images(lab).join(name);
    fs_err::create_dir_all(&dir).unwrap();
    for file in ["disk.qcow2", "vmlinuz", "initrd.img", "cmdline"] {
        let text = if file == "disk.qcow2" { disk() } else { format!("{file}\n").into() };
        fs_err::write(dir.join(file), text).unwrap();
    }
    let sums = "sha256sum disk.qcow2 vmlinuz initrd.img cmdline >SHA256SUMS";
    lab.host("sh", ["-c", sums]).in_dir(&dir).succeeds();
    let record = serde_json::json!({"version": 1, "made": 1_767_225_600, "arch": "x86_64"});
    fs_err::write(dir.join("image.json"), record.to_string()).unwrap();
    dir
}

#[test]
fn images_are_listed_with_the_one_that_start_takes() {
    let lab = host();
    let wanted = wanted(&lab);
    lab.agent_vm("image list")
        .succeeds()
        .stdout_is("")
        .stderr_has("no image was built here")
        .stderr_has(&format!(
            "hint: git agent-vm image build makes the one for these settings, {wanted}"
        ));
    let dir = make(&lab, &wanted);
    make(&lab, "0123456789ab");
    let list = lab.agent_vm("image list --json").succeeds().json();
    let rows = list["images"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{list:#}");
    let row = rows.iter().find(|row| row["name"] == *wanted).unwrap();
    assert_eq!(row["matches"], true);
    assert_eq!(row["made"], 1_767_225_600);
    assert_eq!(row["arch"], "x86_64");
    assert_eq!(row["path"], dir.to_str().unwrap());
    assert!(row["bytes"].as_u64().unwrap() > 100 && row["error"].is_null(), "{row:#}");
    lab.agent_vm("image list")
        .succeeds()
        .stdout_has(&format!("{wanted}  "))
        .stdout_has("x86_64        takes it for a new VM")
        .stdout_has("0123456789ab  ")
        .stdout_has("x86_64        -")
        .stderr_lacks("hint: ");

    // What the settings name comes first.
    lab.git("-c agentvm.image=/x.qcow2 agent-vm image list")
        .succeeds()
        .stdout_lacks("takes it")
        .stderr_has("agentvm.image is set");
    // One that was damaged is shown as such.
    fs_err::remove_file(dir.join("image.json")).unwrap();
    lab.agent_vm("image list").succeeds().stdout_has("damaged: ");
    let list = lab.agent_vm("image list --json").succeeds().json();
    assert!(list["images"].to_string().contains("there is no such file"), "{list:#}");
}

#[test]
fn an_image_fits_the_settings_that_it_was_built_by() {
    let lab = host();
    let usual = wanted(&lab);
    lab.git_config("agentvm.extras", "none");
    assert_ne!(wanted(&lab), usual);
    lab.git_config("agentvm.extras", "podman");
    assert_eq!(wanted(&lab), usual);
    let common = lab.home().join("common");
    fs_err::create_dir_all(common.join("packages")).unwrap();
    lab.git_config("agentvm.common", common.to_str().unwrap());
    assert_eq!(wanted(&lab), usual);
    fs_err::write(common.join("packages/apt-packages.txt"), "git\nhello\n").unwrap();
    assert_ne!(wanted(&lab), usual);
    fs_err::write(common.join("packages/apt-packages.txt"), "git\n-y\n").unwrap();
    for verb in ["build", "list", "remove --unused"] {
        lab.agent_vm(&format!("image {verb}")).fails(2).stderr_has("apt-packages.txt:2: '-y'");
    }
}

#[test]
fn images_are_removed_by_name_or_as_a_kind() {
    let lab = host();
    let wanted = wanted(&lab);
    lab.agent_vm("image remove").fails(2);
    lab.agent_vm("image remove --all --unused").fails(2);
    lab.agent_vm("image remove --all").succeeds().stderr_has("no image was built here");
    for name in ["0123456789ab", "../images", "lock", ""] {
        lab.agent_vm(["image", "remove", name])
            .fails(4)
            .stderr_has(&format!("there is no image '{name}'"))
            .stderr_has("hint: git agent-vm image list");
    }
    make(&lab, &wanted);
    make(&lab, "0123456789ab");
    make(&lab, "123456789abc");
    fs_err::create_dir(images(&lab).join(".making-1")).unwrap();
    lab.agent_vm("image remove 0123456789ab")
        .succeeds()
        .stderr_has("removed 1 image (")
        .stderr_has("their disks are copies");
    assert!(!images(&lab).join(".making-1").exists());
    lab.agent_vm("image remove --unused").succeeds().stderr_has("removed 1 image (");
    assert!(images(&lab).join(&wanted).exists());
    lab.agent_vm("image remove --all").succeeds();
    assert!(!images(&lab).join(&wanted).exists());
}

#[test]
fn start_takes_the_image_that_fits() {
    let lab = host();
    let hint = "hint: git agent-vm image build makes an image for these settings";
    lab.agent_vm("start").fails(1).stderr_has("downloading Debian's image").stderr_has(hint);
    let template = || fs_err::read_to_string(lab.home().join("template")).unwrap();
    assert!(!template().contains(".cache"), "{}", template());

    make(&lab, "0123456789ab");
    lab.agent_vm("start").fails(1).stderr_has("downloading Debian's image");
    let dir = make(&lab, &wanted(&lab));
    lab.agent_vm("start")
        .fails(1)
        .stderr_has("checking the image\n")
        .stderr_has("(copying the image)")
        .stderr_lacks(hint);
    for file in ["disk.qcow2", "vmlinuz", "initrd.img"] {
        let path = dir.join(file);
        assert!(template().contains(path.to_str().unwrap()), "{}", template());
    }

    // What the settings name comes first.
    let other = lab.home().join("other.qcow2");
    let mut disk = vec![0; 8192];
    disk[512..520].copy_from_slice(b"EFI PART");
    fs_err::write(&other, disk).unwrap();
    lab.git(["-c", &format!("agentvm.image={}", other.display()), "agent-vm", "start"]).fails(1);
    assert!(template().contains("other.qcow2") && !template().contains(".cache"), "{}", template());
}

#[test]
fn a_damaged_image_is_named_and_nothing_is_made_from_it() {
    let lab = host();
    let wanted = wanted(&lab);
    let dir = make(&lab, &wanted);
    fs_err::write(dir.join("disk.qcow2"), "altered").unwrap();
    for verb in ["start", "connect feature"] {
        lab.agent_vm(verb)
            .fails(1)
            .stderr_has(&format!("the image {wanted} is damaged: "))
            .stderr_has("disk.qcow2 is not what")
            .stderr_has("hint: git agent-vm image build --force makes it anew");
    }
    assert!(!calls(&lab).contains("create"), "{}", calls(&lab));
}

#[test]
fn an_image_for_other_machines_is_refused() {
    let lab = host();
    let wanted = wanted(&lab);
    let dir = make(&lab, &wanted);
    let other = if cfg!(target_arch = "x86_64") { [0x64, 0xaa] } else { [0x64, 0x86] };
    let mut kernel = vec![0; 0x3c];
    kernel.extend_from_slice(b"\x40\0\0\0PE\0\0");
    kernel.extend_from_slice(&other);
    fs_err::write(dir.join("vmlinuz"), kernel).unwrap();
    let sums = "sha256sum disk.qcow2 vmlinuz initrd.img cmdline >SHA256SUMS";
    lab.host("sh", ["-c", sums]).in_dir(&dir).succeeds();
    let words = format!(", and this machine is {}", std::env::consts::ARCH);
    lab.agent_vm("start").fails(1).stderr_has(&words);
    lab.git(["-c", &format!("agentvm.image={}", dir.display()), "agent-vm", "start"])
        .fails(2)
        .stderr_has(&words);
}

#[test]
fn an_image_that_leads_to_another_file_of_this_machine_is_refused() {
    let lab = host();
    let wanted = wanted(&lab);
    let dir = make(&lab, &wanted);
    let mut difference = disk();
    difference[15] = 1;
    difference[19] = 11;
    fs_err::write(dir.join("disk.qcow2"), difference).unwrap();
    let sums = "sha256sum disk.qcow2 vmlinuz initrd.img cmdline >SHA256SUMS";
    lab.host("sh", ["-c", sums]).in_dir(&dir).succeeds();
    let words = "disk.qcow2: it is the difference to another file, which it names";
    lab.agent_vm("start").fails(1).stderr_has("is damaged: ").stderr_has(words);
    lab.git(["-c", &format!("agentvm.image={}", dir.display()), "agent-vm", "start"])
        .fails(2)
        .stderr_has(words);
    make(&lab, &wanted);
    fs_err::write(dir.join("cmdline"), "ro\ninit=/bin/sh\n").unwrap();
    lab.host("sh", ["-c", sums]).in_dir(&dir).succeeds();
    lab.agent_vm("start").fails(1).stderr_has("cmdline is not one line");
    assert!(!calls(&lab).contains("create"), "{}", calls(&lab));
}

#[test]
fn what_building_needs_is_named_with_the_command_that_installs_it() {
    let lab = host();
    if which::which("apt-get").is_err() {
        // Elsewhere it is built in a VM, which this limactl cannot make.
        lab.agent_vm("image build").fails(1).stderr_has("cannot make the VM 'agentvm-image'");
        return;
    }
    // A Debian with nothing but what every one has.
    let bare = lab.path().join("bare");
    fs_err::create_dir(&bare).unwrap();
    for program in ["setsid", "git", "sh", "apt-get"] {
        std::os::unix::fs::symlink(which::which(program).unwrap(), bare.join(program)).unwrap();
    }
    let ours = lab.path().join("bin/git-agent-vm");
    std::os::unix::fs::symlink(ours, bare.join("git-agent-vm")).unwrap();
    // An ordinary user's PATH lacks /usr/sbin, and it is looked into all the same.
    lab.agent_vm("image build")
        .env("PATH", &bare)
        .fails(5)
        .stderr_has("cannot build an image without mmdebstrap, newuidmap, ")
        .stderr_has("apt-get install mmdebstrap uidmap ");
    let complete =
        ["mmdebstrap", "newuidmap", "qemu-img"].iter().all(|name| which::which(name).is_ok());
    let root = rustix::process::geteuid().is_root();
    if root && complete {
        lab.agent_vm("image build").fails(1).stderr_has("by an ordinary user, not by root");
    }
    if !root && complete {
        let refuses =
            "#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2; exit 1";
        lab.put_program("unshare", refuses);
        lab.agent_vm("image build")
            .fails(1)
            .stderr_has("no namespace with other users can be had: unshare: unshare failed")
            .stderr_has("hint: git agent-vm image build --in-vm does without, in a VM");
    }
    assert!(!images(&lab).exists());
}

/// What another namespace has mounted below /proc, as systemd does in its own, cannot be unmounted by
/// itself. Once it ended every build on a machine that systemd runs.
#[test]
#[cfg(target_os = "linux")]
fn the_recipe_does_with_what_is_mounted_below_proc() {
    let lab = Lab::host_only("home");
    let root = lab.home().join("root");
    fs_err::create_dir(&root).unwrap();
    let script = r#"
        PATH=$PATH:/usr/sbin:/sbin
        mount -t tmpfs below /proc/sys/fs/binfmt_misc
        exec unshare --map-root-user --mount sh -euc '
            root=$1
            sed -n "/^in_root() {/,/^}/p" "$2" >"$root.sh"
            . "$root.sh"
            mkdir "$root/dev" "$root/proc" "$root/usr"
            for dir in bin sbin lib lib64; do ln -s "usr/$dir" "$root/$dir"; done
            mount --rbind /usr "$root/usr"
            in_root sh -c "test -e /proc/self && echo it runs"
            find "$root/dev" "$root/proc" -mindepth 1' sh "$@""#;
    let customize = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/image/customize");
    let words = ["--map-root-user", "--mount", "sh", "-euc", script, "sh"];
    let mut words: Vec<std::ffi::OsString> = words.iter().map(Into::into).collect();
    words.extend([root.into(), customize.into()]);
    lab.host("unshare", words).succeeds().stdout_is("it runs");
}

/// `little_tree PROGRAM…` makes `tree`, a system in which a stage can run, of programs of this machine.
pub(crate) const LITTLE_TREE: &str = r#"
little_tree() {
    mkdir -p tree/usr/bin tree/usr/local tree/etc tree/dev tree/proc tree/run tree/root tree/tmp tree/opt
    ln -s usr/bin tree/bin
    PATH=$PATH:/usr/sbin:/sbin
    for name in sh env cat sed mkdir rm mv ln cp date flock timeout tail head tr grep wc cut id sleep \
        setpriv umount "$@"; do
        file=$(command -v "$name")
        cp -L "$file" "tree/usr/bin/$name"
        ldd "$file" | grep -o '/[^ ]*' | xargs -I{} cp -L --parents {} tree
    done
}
"#;

/// A program that is installed, and looks for a way to the host: to the file MARKER, to the process PID,
/// and to what it would take to get to more. It says what it has found.
pub(crate) const STRANGER: &str = r#"
exec >/tmp/found 2>/dev/null
for process in /proc/[0-9]*; do
    for way in "$process"/root "$process"/cwd "$process"/fd/*; do
        for up in '' /.. /../.. /../../../../../../../..; do
            [ ! -e "$way${up}MARKER" ] || echo "a file by $way"
        done
    done
    [ "$(readlink "$process/root")" = / ] || echo "a process with another root: $process"
done
[ ! -e /proc/self/fd/7 ] || echo 'an open file'
kill -0 PID && echo 'a process'
perl -e 'opendir my $top, "/"; mkdir "/tmp/x"; chroot "/tmp/x" or exit; print "chroot\n";
    chdir $top; chdir ".." for 1 .. 50; chroot "."; print "a file by chroot\n" if -e "MARKER"'
mknod /tmp/null c 1 3 && echo 'a device'
mkdir /tmp/mounted
mount -t tmpfs none /tmp/mounted && echo 'a mount'
umount /run && echo 'a mount less'
unshare --user --map-root-user true && echo 'a namespace of its own'
cat /proc/sys/kernel/hostname
echo looked"#;
/// What `STRANGER` takes besides what every tree has.
pub(crate) const STRANGERS: &str = "perl readlink mknod mount unshare";

/// `STRANGER` as a script that looks for this file.
pub(crate) fn stranger(marker: &std::path::Path) -> String {
    let pid = std::process::id().to_string();
    STRANGER.replace("MARKER", marker.to_str().unwrap()).replace("PID", &pid)
}

#[test]
#[cfg(target_os = "linux")]
fn what_is_installed_into_an_image_finds_no_way_to_the_host() {
    let lab = Lab::host_only("home");
    let marker = lab.path().join("marker");
    fs_err::write(&marker, "").unwrap();
    let input = lab.path().join("input");
    fs_err::create_dir(&input).unwrap();
    fs_err::write(input.join("tools"), format!("\n{}\n", stranger(&marker))).unwrap();
    for name in ["ca.pem", "resolv.conf"] {
        fs_err::write(input.join(name), "").unwrap();
    }
    let script = r#"
        cd "$1"
        cat "$2"/src/guest/setup/1[01]-*.sh "$2"/src/guest/setup/20-tools.sh "$2"/src/guest/setup/90-main.sh \
            >input/tools.sh
        exec 7<"$1"
        exec unshare --map-root-user --mount sh "$2/scripts/image/programs" "$1/tree" "$1/input""#;
    let script = format!("{LITTLE_TREE}\nlittle_tree {STRANGERS}\n{script}");
    let dir = lab.path().to_str().unwrap();
    let words = ["-euc", &script, "sh", dir, env!("CARGO_MANIFEST_DIR")];
    lab.host("sh", words).in_dir(lab.path()).succeeds().stdout_is("").stderr_is("");
    let tree = lab.path().join("tree");
    let found = fs_err::read_to_string(tree.join("tmp/found")).unwrap();
    assert_eq!(found, "agent-vm\nlooked\n");
    for dir in ["dev", "proc", "run"] {
        assert_eq!(fs_err::read_dir(tree.join(dir)).unwrap().count(), 0, "{dir}");
    }
}

#[test]
fn a_tree_with_a_password_of_the_builder_becomes_no_image() {
    let lab = Lab::host_only("home");
    let (root, input) = (lab.home().join("root"), lab.home().join("input"));
    for dir in [&root.join("opt/tool"), &input] {
        fs_err::create_dir_all(dir).unwrap();
    }
    let file = root.join("opt/tool/settings.json");
    fs_err::write(&file, "\0{\"registry\": \"https://me:hunter2@mirror.example/\"}").unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/image/search");
    let search = || lab.host("sh", [script, root.to_str().unwrap(), input.to_str().unwrap()]);
    search().succeeds();
    fs_err::write(input.join("secrets"), "").unwrap();
    search().succeeds();
    fs_err::write(input.join("secrets"), "you:hunter3@\n").unwrap();
    search().succeeds();
    fs_err::write(input.join("secrets"), "you:hunter3@\nme:hunter2@\n").unwrap();
    search()
        .fails(1)
        .stderr_has("a password of yours")
        .stderr_has("./opt/tool/settings.json")
        .stderr_lacks("hunter2");
}
