//! What it takes a real mmdebstrap or a real image for, without a VM: nothing of the builder is in an
//! image, and a build that is broken off leaves nothing.

use std::io::Write as _;
use std::path::Path;

use rustix::process::Signal;

use crate::support::Lab;

/// Taking a whole system apart and reading it.
const LIMIT: u64 = 600;

/// What names the builder, or is the builder's alone.
struct Builder {
    words: Vec<String>,
}

impl Builder {
    /// Whoever runs the tests: it is the user who built the image.
    fn here() -> Self {
        let mut words = Vec::new();
        let home = std::env::var("HOME").unwrap_or_default();
        let host = fs_err::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let host = host.trim();
        let user = home.rsplit('/').next().unwrap_or_default();
        words.push(home.clone());
        words.push(format!("{user}@{host}"));
        // `debian` or `localhost` say nothing.
        if host.len() > 8 && host.contains(|c: char| c.is_ascii_digit() || c == '-') {
            words.push(host.to_owned());
        }
        let config = fs_err::read_to_string(Path::new(&home).join(".gitconfig"));
        words.extend(config.unwrap_or_default().lines().filter_map(|line| {
            let (key, value) = line.split_once('=')?;
            ["name", "email"].contains(&key.trim()).then(|| value.trim().to_owned())
        }));
        let private =
            ["PROXY", "REGISTRY", "INDEX", "MIRROR", "TOKEN", "KEY", "SECRET", "PASSWORD"];
        words.extend(std::env::vars().filter_map(|(name, value)| {
            let name = name.to_uppercase();
            private.iter().any(|word| name.contains(word)).then_some(value)
        }));
        // What is shorter is in every system by chance, and what is everybody's by its own right.
        let public = ["://registry.npmjs.org", "://pypi.org", ".debian.org"];
        words.retain(|word| word.len() >= 8 && !public.iter().any(|host| word.contains(host)));
        Self { words }
    }

    /// The certificates too that this machine trusts and Debian's do not know: a line of each.
    fn with_certificates(mut self, lab: &Lab) -> Self {
        let known = "cat /usr/share/ca-certificates/mozilla/* 2>/dev/null";
        let known = lab.host("sh", ["-c", known]).run().text();
        let store = std::env::var("SSL_CERT_FILE")
            .unwrap_or_else(|_| "/etc/ssl/certs/ca-certificates.crt".to_owned());
        let trusted = fs_err::read_to_string(store).unwrap();
        for certificate in trusted.split("-----END CERTIFICATE-----") {
            // The last whole line is a part of the signature.
            let line = certificate.lines().rfind(|line| line.len() == 64);
            self.words.extend(line.filter(|line| !known.contains(line)).map(str::to_owned));
        }
        self
    }
}

/// The files below `dir` that hold one of the words.
fn holding(lab: &Lab, dir: &Path, words: &[String]) -> String {
    let list = lab.path().join("words");
    let mut file = fs_err::File::create(&list).unwrap();
    for word in words {
        writeln!(file, "{word}").unwrap();
    }
    let grep = ["-rlaF", "-D", "skip", "-f", list.to_str().unwrap(), "."];
    let ran = lab.host("grep", grep).in_dir(dir).within_seconds(LIMIT).run();
    assert!(ran.code < 2, "{ran}");
    ran.text()
}

#[test]
fn a_built_image_has_nothing_of_its_builder() {
    let image = std::env::var("AGENTVM_TEST_IMAGE").expect("this test needs AGENTVM_TEST_IMAGE");
    let image = Path::new(&image);
    let lab = Lab::host_only("home");
    let place = |name: &str| lab.path().join(name);
    let (disk, root, boot) = (place("disk"), place("root"), place("boot"));
    fs_err::create_dir(&root).unwrap();
    fs_err::create_dir(&boot).unwrap();
    let words = [image.join("disk.qcow2"), disk.clone()].map(|path| path.display().to_string());
    // Lima reads no other compression itself.
    lab.host("qemu-img", ["info", &words[0]]).succeeds().stdout_has("compression type: zlib");
    lab.host("qemu-img", ["convert", "-O", "raw", &words[0], &words[1]])
        .within_seconds(LIMIT)
        .succeeds();
    let table = lab.host("/sbin/sfdisk", ["--json", &words[1]]).succeeds().json();
    let table = &table["partitiontable"]["partitions"];
    let start = |index: usize| table[index]["start"].as_u64().unwrap() * 512;
    // It cannot give the files to their owners, and says so for each.
    let whole = format!("{}?offset={}", words[1], start(1));
    let dump = format!("/sbin/debugfs -R 'rdump / {}' '{whole}' 2>/dev/null", root.display());
    lab.host("sh", ["-c", &dump]).within_seconds(LIMIT).succeeds();
    let files = format!("{}@@{}", words[1], start(0));
    lab.host("mcopy", ["-s", "-i", &files, "::*", boot.to_str().unwrap()]).succeeds();
    fs_err::remove_file(&disk).unwrap();
    lab.host("chmod", ["-R", "u+rwX", root.to_str().unwrap()]).succeeds();

    let at = |path: &str| root.join(path);
    let read = |path: &str| fs_err::read_to_string(at(path)).unwrap();
    // The search would find it: the guest's own name is there.
    assert!(holding(&lab, &at("etc"), &["agent-vm".to_owned()]).contains("./hostname"));
    let builder = Builder::here().with_certificates(&lab);
    for dir in [root.as_path(), boot.as_path(), image] {
        assert_eq!(holding(&lab, dir, &builder.words), "");
    }
    let named = lab.host("find", [root.to_str().unwrap()]).succeeds().text();
    for word in &builder.words {
        let below: Vec<&str> = named.lines().filter(|path| path.contains(word.as_str())).collect();
        assert!(below.is_empty(), "{word}: {below:?}");
    }

    // Firmware starts what a hypervisor does.
    for file in ["vmlinuz", "initrd.img"] {
        assert!(fs_err::read(boot.join(file)).unwrap() == fs_err::read(image.join(file)).unwrap());
    }
    let entry = fs_err::read_to_string(boot.join("loader/entries/agent-vm.conf")).unwrap();
    let cmdline = fs_err::read_to_string(image.join("cmdline")).unwrap();
    assert!(entry.contains(&format!("options {cmdline}")), "{entry}");

    // What two VMs must not share, and what tells when and where it was built.
    assert_eq!(read("etc/machine-id"), "");
    assert_eq!(read("etc/hostname"), "agent-vm\n");
    for line in read("etc/apt/sources.list").lines() {
        assert!(line.contains(".debian.org/debian"), "{line}");
    }
    let left = "find etc/ssh -name 'ssh_host_*'; find home root run tmp var/tmp -type f ! -name '.bashrc' ! -name .profile;
        find var/log -type f -size +0; find . -name '*_history' -o -name '*.pyc' -newer etc/hostname ! -path './opt/pipx/*'";
    lab.host("sh", ["-c", left]).in_dir(&root).succeeds().stdout_is("");
    lab.host("rm", ["-rf", root.to_str().unwrap()]).within_seconds(LIMIT).succeeds();
}

#[test]
fn a_build_that_is_broken_off_leaves_nothing() {
    let lab = Lab::host_only("home");
    lab.make_app();
    let temporary = lab.path().join("tmp");
    fs_err::create_dir(&temporary).unwrap();
    let entries = |dir: &Path| fs_err::read_dir(dir).map(Iterator::count).unwrap_or_default();
    let images = lab.home().join(".cache/git-agent-vm/images");
    for (signal, code) in [(Signal::INT, 130), (Signal::KILL, 137)] {
        let build = lab.agent_vm("image build").env("TMPDIR", &temporary).background();
        lab.wait_until("mmdebstrap runs", |lab| runs(lab, "mmdebstrap"));
        build.signal(signal);
        assert_eq!(build.finish().code, code);
        lab.wait_until("all of it has ended", |lab| {
            !runs(lab, "recipe/build") && !runs(lab, "mmdebstrap") && entries(&temporary) == 0
        });
        // The lock's file is no image.
        assert_eq!(entries(&images), 1);
    }
}

fn runs(lab: &Lab, word: &str) -> bool {
    lab.host_processes().iter().any(|line| line.contains(word))
}
