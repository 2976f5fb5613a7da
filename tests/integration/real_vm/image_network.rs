//! What of the settings and the environment reaches the programs that build an image, and what does
//! not. mmdebstrap, curl, npm and pipx are scripts that write down what they get; the recipe and the
//! stages are real, so it takes what they take: an ordinary user with a range of ids.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use crate::image::{LITTLE_TREE, STRANGERS, stranger};
use crate::support::{Background, Lab, Run};

/// Makes `tree.tar`, a guest in which the stages can run and that the recipe can finish, in the current
/// directory, and prints the checksum of the npm in it. What is in `shared` everybody can write to.
const TREE: &str = r#"
little_tree tar gzip sha512sum find chmod PERL
mkdir -p tree/package/bin tree/boot tree/etc/apt tree/etc/pam.d tree/etc/systemd/system tree/lib/modules/1 \
    tree/usr/lib/systemd/system tree/usr/lib/systemd/boot/efi
mkdir -m 1777 tree/shared
for name in apt-mark systemctl modprobe; do printf '#!/bin/sh\n' >"tree/usr/bin/$name"; done
printf '#!/bin/sh\nexec cat\n' >tree/usr/bin/busybox
echo VERSION_CODENAME=trixie >tree/usr/lib/os-release
: >tree/usr/lib/systemd/system/ssh.service
: >tree/etc/pam.d/sshd
echo 'deb SECRET' >tree/etc/apt/sources.list
for file in tree/boot/vmlinuz-1 tree/usr/lib/systemd/boot/efi/systemd-bootx64.efi; do echo "$file" >"$file"; done
cat >tree/usr/bin/curl <<'END'
#!/bin/sh
env >/shared/curl
cat >/shared/curl.input
while [ "$1" != -o ]; do shift; done
cp /npm.tgz "$2"
END
cat >tree/usr/bin/pipx <<'END'
#!/bin/sh
env >/shared/pipx.new
STRANGER
mv /shared/pipx.new /shared/pipx
while [ ! -e /shared/go ]; do sleep 0.1; done
END
cat >tree/package/bin/npm-cli.js <<'END'
#!/bin/sh
env >/shared/npm
cat "$NODE_EXTRA_CA_CERTS" >/shared/ca
END
ln -s env tree/usr/bin/node
echo '{"version": "1.2.3"}' >tree/package/package.json
chmod 0755 tree/usr/bin/* tree/package/bin/*
tar -C tree -czf tree/npm.tgz package
rm -r tree/package
tar -C tree --owner=0 --group=0 -cf tree.tar .
sha512sum tree/npm.tgz | cut -d' ' -f1
"#;

/// Variables of the recipe and of what it runs that hold nothing of the user's.
const ITS_OWN: &[&str] = &[
    "BUILD_CA",
    "CURL_CA_BUNDLE",
    "DEBIAN_FRONTEND",
    "HOME",
    "LC_ALL",
    "NODE_EXTRA_CA_CERTS",
    "OLDPWD",
    "PATH",
    "PIPX_BIN_DIR",
    "PIPX_HOME",
    "PIPX_MAN_DIR",
    "PIP_CERT",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_DISABLE_PIP_VERSION_CHECK",
    "PIP_NO_INPUT",
    "PIP_RETRIES",
    "PWD",
    "REQUESTS_CA_BUNDLE",
    "SHLVL",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
    "WATCH_STDIN",
    "_",
];
const PROXIES: &[(&str, &str)] = &[
    ("http_proxy", "http://proxy.example:1"),
    ("https_proxy", "http://proxy.example:2"),
    ("all_proxy", "http://proxy.example:3"),
    ("ftp_proxy", "http://proxy.example:4"),
    ("no_proxy", "one.example"),
    ("HTTPS_PROXY", "http://proxy.example:5"),
    ("ALL_PROXY", "http://proxy.example:6"),
    ("NO_PROXY", "two.example"),
];
/// What a user may have set, and what would tell these programs something.
const PRIVATE: &[&str] = &[
    "API_KEY",
    "APT_CONFIG",
    "AWS_SECRET_ACCESS_KEY",
    "BASH_ENV",
    "NODE_OPTIONS",
    "NPM_TOKEN",
    "PIP_EXTRA_INDEX_URL",
    "TZ",
    "npm_config__auth",
];

/// A host whose mmdebstrap writes down its words, the sources, and its environment, and then does this.
fn host(then: &str) -> Lab {
    let lab = Lab::host_only("home");
    lab.make_app();
    let dir = lab.path().display();
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$@\" >'{dir}/words'\ncat >'{dir}/sources'\nenv >'{dir}/record.mmdebstrap'\n\
         mkdir -p '{dir}/etc/apt/apt.conf.d'\n\
         for word; do case $word in\n*.tar) tar=$word; stat -c %a \"$tar\" >'{dir}/mode' ;;\n\
         --setup-hook=*) sh -ec \"${{word#*=}}\" exec '{dir}'; cat '{dir}'/etc/apt/apt.conf.d/* >'{dir}/apt.conf' ;;\n\
         --customize-hook=*) sh -ec \"${{word#*=}}\" exec '{dir}' ;;\nesac; done\n{then}\n"
    );
    lab.put_program("mmdebstrap", &script);
    fs_err::create_dir(temporary(&lab)).unwrap();
    lab
}

fn temporary(lab: &Lab) -> PathBuf {
    lab.path().join("tmp")
}

fn build(lab: &Lab) -> Run {
    let build = lab.agent_vm("image build").env("TMPDIR", temporary(lab));
    let build = PROXIES.iter().fold(build, |build, (name, value)| build.env(name, value));
    PRIVATE.iter().fold(build, |build, name| build.env(name, "private"))
}

/// The variables that a program got.
fn variables(file: &Path) -> Vec<(String, String)> {
    let text = fs_err::read_to_string(file).unwrap();
    // A value may have several lines.
    let begins = |line: &&str| {
        line.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        })
    };
    let pairs = text.lines().filter(begins).filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Checks that a program got these variables, those of the proxies, and nothing else of the user's.
fn assert_got(file: &Path, wanted: &[(&str, &str)]) {
    let all = variables(file);
    let wanted = || PROXIES.iter().chain(wanted);
    for (name, value) in wanted() {
        let found = all.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
        assert_eq!(found, Some(*value), "{name} in {}", file.display());
    }
    let known = |name: &str| ITS_OWN.contains(&name) || wanted().any(|(known, _)| *known == name);
    let others: Vec<_> = all.iter().filter(|(name, _)| !known(name)).collect();
    assert!(others.is_empty(), "{others:?} in {}", file.display());
    assert!(all.iter().all(|(_, value)| value != "private"), "{all:?}");
}

/// What mmdebstrap was given to read. None of it is on its command line, which everybody can read.
fn sources(lab: &Lab) -> String {
    let read = |name: &str| fs_err::read_to_string(lab.path().join(name)).unwrap();
    let (sources, words) = (read("sources"), read("words"));
    let last = words.trim_end().rsplit('\n').next().unwrap();
    assert!(if sources.is_empty() { last.ends_with("root.tar") } else { last == "-" }, "{words}");
    assert!(!words.contains(".example"), "{words}");
    assert_eq!(read("mode"), "600\n");
    sources.trim_end().to_owned()
}

/// Puts `tree.tar` there, in which a program looks for this file, and the lists that it is for.
fn make_tree(lab: &Lab, marker: &Path) -> PathBuf {
    let stranger = stranger(marker).replace("/tmp/found", "/shared/found");
    let script = TREE.replace("STRANGER", &format!("(\n{stranger}\n)")).replace("PERL", STRANGERS);
    let script = format!("{LITTLE_TREE}{script}");
    let sum = lab.host("sh", ["-euc", &script]).in_dir(lab.path()).succeeds().text();
    let packages = lab.home().join("common/packages");
    fs_err::create_dir_all(&packages).unwrap();
    fs_err::write(packages.join("versions.txt"), format!("NPM=1.2.3\nNPM_SHA512={sum}\n")).unwrap();
    fs_err::write(packages.join("npm-packages.txt"), "semver@7\n").unwrap();
    lab.git_config("agentvm.common", lab.home().join("common").to_str().unwrap());
    packages
}

/// A file of the user's that is found by a program that can get at the user's files.
fn marker(lab: &Lab) -> PathBuf {
    let marker = lab.path().join("marker");
    fs_err::write(&marker, "").unwrap();
    marker
}

/// What has become of the directory of what is temporary, and of the store of images.
fn left(lab: &Lab) -> usize {
    let images = lab.home().join(".cache/git-agent-vm/images");
    let count = |dir: PathBuf| fs_err::read_dir(dir).unwrap().count();
    // The lock's file is no image.
    count(temporary(lab)) + count(images) - 1
}

/// The guest's tree, once pipx is run in it.
fn wait_for_pipx(lab: &Lab, build: &mut Background) -> PathBuf {
    loop {
        let works = fs_err::read_dir(temporary(lab)).unwrap();
        let mut roots = works.map(|entry| entry.unwrap().path().join("guest/root"));
        if let Some(root) = roots.find(|root| root.join("shared/pipx").exists()) {
            return root;
        }
        assert!(build.is_running(), "pipx was not run");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Those that run it, as directories of `/proc`. They are another user's, and have nothing of the lab's.
fn pipx_processes() -> Vec<PathBuf> {
    let all = fs_err::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let runs = |process: &PathBuf| {
        fs_err::read(process.join("cmdline"))
            .is_ok_and(|words| words.starts_with(b"/bin/sh\0/usr/bin/pipx\0"))
    };
    all.filter(runs).collect()
}

#[test]
fn settings_of_the_network_reach_what_builds_an_image() {
    let lab = host("cp \"${0%/bin/*}/tree.tar\" \"$tar\"");
    make_tree(&lab, &marker(&lab));

    let trusted = fs_err::read_to_string("/etc/ssl/certs/ca-certificates.crt").unwrap();
    let end = "-----END CERTIFICATE-----\n";
    let (certificate, _) = trusted.split_once(end).unwrap();
    let (own, usual) = (lab.path().join("own.pem"), lab.path().join("usual.pem"));
    fs_err::write(&own, format!("{certificate}{end}")).unwrap();
    fs_err::write(&usual, "# what is trusted here\n").unwrap();

    let (npm, pypi) = ("https://npm.example/registry/", "https://pypi.example/simple");
    lab.git_config("agentvm.aptMirror", "https://apt.example/x");
    lab.git_config("agentvm.npmRegistry", npm);
    lab.git_config("agentvm.pypiIndex", pypi);
    lab.git_config("agentvm.caCerts", own.to_str().unwrap());
    let mut build = build(&lab).env("SSL_CERT_FILE", &usual).background();
    let root = wait_for_pipx(&lab, &mut build);
    let at = |name: &str| root.join("shared").join(name);
    let read = |name: &str| fs_err::read_to_string(at(name)).unwrap();

    let line = |rest: &str| format!("deb https://apt.example/x/{rest} main");
    let mirrors = ["debian trixie", "debian trixie-updates", "debian-security trixie-security"];
    assert_eq!(sources(&lab), mirrors.map(line).join("\n"));
    let mirror = mirrors.map(line)[0].clone();
    let mirror = ("AGENTVM_APT_MIRROR", mirror.as_str());
    let ca = root.ancestors().nth(2).unwrap().join("input/ca.pem");
    let ca = ca.to_str().unwrap();
    assert_got(&lab.path().join("record.mmdebstrap"), &[mirror, ("BUILD_CA", ca)]);
    let apts = fs_err::read_to_string(lab.path().join("apt.conf")).unwrap();
    assert_eq!(apts, format!("Acquire::https::CAInfo \"{ca}\";\n"));
    let kept = fs_err::read_dir(lab.path().join("etc/apt/apt.conf.d")).unwrap();
    assert_eq!(kept.count(), 0);

    assert_eq!(read("curl.input"), "url = \"https://npm.example/registry/npm/-/npm-1.2.3.tgz\"\n");
    let places = [("npm_config_registry", npm), ("PIP_INDEX_URL", pypi)];
    for program in ["curl", "npm", "pipx"] {
        assert_got(&at(program), &places);
    }
    let of = |program: &str, name: &str| {
        let all = variables(&at(program));
        all.into_iter().find(|(known, _)| known == name).map(|(_, value)| value).unwrap()
    };
    for (program, name) in
        [("curl", "CURL_CA_BUNDLE"), ("npm", "NODE_EXTRA_CA_CERTS"), ("pipx", "PIP_CERT")]
    {
        assert_eq!(of(program, name), "/run/build-ca.pem", "{program}");
    }
    let certificates = read("ca");
    assert_eq!(certificates, fs_err::read_to_string(ca).unwrap());
    assert!(certificates.starts_with("# what is trusted here\n"), "{certificates}");
    assert!(certificates.contains(certificate), "{certificates}");

    // Nor has what is installed found the host, or is it anything of the user's.
    assert_eq!(read("found"), "agent-vm\nlooked\n");
    let owner = fs_err::metadata(at("found")).unwrap().uid();
    assert_ne!(owner, rustix::process::geteuid().as_raw());
    let list = fs_err::read_to_string(root.join("etc/apt/sources.list")).unwrap();
    assert!(list.contains(".debian.org/debian ") && !list.contains("SECRET"), "{list}");

    fs_err::write(at("go"), "").unwrap();
    let ran = build.finish();
    assert_eq!(ran.code, 0, "{ran}");
    lab.agent_vm("image list").succeeds().stdout_has("takes it for a new VM");
    assert_eq!(left(&lab), 1);
}

#[test]
fn stage_that_takes_too_long_ends_the_build() {
    let lab = host("cp \"${0%/bin/*}/tree.tar\" \"$tar\"");
    make_tree(&lab, &marker(&lab));
    lab.git_config("agentvm.stageLimit", "8s");
    build(&lab)
        .fails(6)
        .stderr_has("cannot make the image: python: the limit of 8 s is over")
        .stderr_has("hint: agentvm.stageLimit is the longest that a stage may take");
    assert_eq!(left(&lab), 0);
}

#[test]
fn build_that_takes_too_long_ends() {
    let lab = host("sleep 600");
    lab.git_config("agentvm.stageLimit", "1s");
    build(&lab)
        .fails(6)
        .stderr_has("cannot make the image: that did not end in 5 s")
        .stderr_has("hint: agentvm.stageLimit allows it, 5 times");
    assert_eq!(left(&lab), 0);
    assert!(!lab.host_processes().iter().any(|line| line.contains("recipe/build")));
}

#[test]
fn build_that_is_broken_off_in_a_stage_leaves_nothing() {
    for (signal, code) in [(Signal::INT, 130), (Signal::KILL, 137)] {
        let lab = host("cp \"${0%/bin/*}/tree.tar\" \"$tar\"");
        make_tree(&lab, &marker(&lab));
        let mut build = build(&lab).background();
        wait_for_pipx(&lab, &mut build);
        let processes = pipx_processes();
        assert!(!processes.is_empty());
        build.signal(signal);
        assert_eq!(build.finish().code, code);
        lab.wait_until("all of it has ended", |lab| {
            left(lab) == 0 && !processes.iter().any(|process| process.exists())
        });
    }
}

#[test]
fn mirror_of_the_environment_comes_before_that_of_the_settings() {
    let lab = host("echo 'E: no route' >&2; exit 1");
    let mirror = "deb http://nearer.example/debian trixie main";
    build(&lab).fails(1).stderr_has("cannot make the image: E: no route");
    assert_eq!(sources(&lab), "");
    lab.git_config("agentvm.aptMirror", "https://apt.example/x");
    build(&lab).env("AGENTVM_APT_MIRROR", mirror).fails(1);
    assert_eq!(sources(&lab), mirror);
    assert_got(&lab.path().join("record.mmdebstrap"), &[("AGENTVM_APT_MIRROR", mirror)]);
    let address = "http://me:hunter2@nearer.example/debian";
    build(&lab).env("AGENTVM_APT_MIRROR", address).fails(1);
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    assert_eq!(sources(&lab), format!("deb [signed-by={keyring}] {address} trixie main"));
}
