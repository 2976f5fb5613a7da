//! What of the settings and the environment reaches the programs that build an image, and what does
//! not. mmdebstrap, curl, npm and pipx are scripts that write down what they get; the recipe and the
//! stages are real, so it takes what they take: an ordinary user with a range of ids.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{Lab, Run};

/// Makes `tree.tar`, a guest in which the stages can run, in the current directory, and prints the
/// checksum of the npm in it.
const TREE: &str = r#"
mkdir -p tree/usr/bin tree/usr/local tree/etc tree/dev tree/proc tree/run tree/root tree/boot tree/package/bin
ln -s usr/bin tree/bin
for name in sh env cat sed mkdir rm mv ln cp date flock timeout tail head tr grep wc cut id sleep \
    tar gzip sha512sum; do
    file=$(command -v "$name")
    cp -L "$file" "tree/usr/bin/$name"
    ldd "$file" | grep -o '/[^ ]*' | xargs -I{} cp -L --parents {} tree
done
cat >tree/usr/bin/curl <<'END'
#!/bin/sh
env >/record.curl
cat >/record.curl.input
while [ "$1" != -o ]; do shift; done
cp /npm.tgz "$2"
END
cat >tree/usr/bin/pipx <<'END'
#!/bin/sh
env >/record.pipx.new
mv /record.pipx.new /record.pipx
while [ ! -e /go ]; do sleep 0.1; done
exit 1
END
cat >tree/package/bin/npm-cli.js <<'END'
#!/bin/sh
env >/record.npm
cat "$NODE_EXTRA_CA_CERTS" >/record.ca
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

/// A host whose mmdebstrap writes down its words and its environment, and then does this.
fn host(then: &str) -> Lab {
    let lab = Lab::host_only("home");
    lab.make_app();
    let dir = lab.path().display();
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$@\" >'{dir}/words'\nenv >'{dir}/record.mmdebstrap'\n\
         mkdir -p '{dir}/etc/apt/apt.conf.d'\n\
         for word; do case $word in\n*.tar) tar=$word ;;\n\
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

fn last_words(lab: &Lab) -> String {
    let words = fs_err::read_to_string(lab.path().join("words")).unwrap();
    words.split_once("root.tar\n").unwrap().1.trim_end().to_owned()
}

#[test]
fn settings_of_the_network_reach_what_builds_an_image() {
    let lab = host("cp \"${0%/bin/*}/tree.tar\" \"$tar\"");
    let sum = lab.host("sh", ["-euc", TREE]).in_dir(lab.path()).succeeds().text();
    let packages = lab.home().join("common/packages");
    fs_err::create_dir_all(&packages).unwrap();
    fs_err::write(packages.join("versions.txt"), format!("NPM=1.2.3\nNPM_SHA512={sum}\n")).unwrap();
    fs_err::write(packages.join("npm-packages.txt"), "semver@7\n").unwrap();

    let trusted = fs_err::read_to_string("/etc/ssl/certs/ca-certificates.crt").unwrap();
    let end = "-----END CERTIFICATE-----\n";
    let (certificate, _) = trusted.split_once(end).unwrap();
    let (own, usual) = (lab.path().join("own.pem"), lab.path().join("usual.pem"));
    fs_err::write(&own, format!("{certificate}{end}")).unwrap();
    fs_err::write(&usual, "# what is trusted here\n").unwrap();

    let (npm, pypi) = ("https://npm.example/registry/", "https://pypi.example/simple");
    lab.git_config("agentvm.common", lab.home().join("common").to_str().unwrap());
    lab.git_config("agentvm.aptMirror", "https://apt.example/x");
    lab.git_config("agentvm.npmRegistry", npm);
    lab.git_config("agentvm.pypiIndex", pypi);
    lab.git_config("agentvm.caCerts", own.to_str().unwrap());
    let mut build = build(&lab).env("SSL_CERT_FILE", &usual).background();
    let root = || {
        let works = fs_err::read_dir(temporary(&lab)).unwrap();
        let mut roots = works.map(|entry| entry.unwrap().path().join("root"));
        roots.find(|root| root.join("record.pipx").exists())
    };
    while root().is_none() && build.is_running() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let Some(root) = root() else { panic!("pipx was not run\n{}", build.finish()) };
    let at = |name: &str| root.join(name);
    let read = |name: &str| fs_err::read_to_string(at(name)).unwrap();

    let line = |rest: &str| format!("deb https://apt.example/x/{rest} main");
    let mirrors = ["debian trixie", "debian trixie-updates", "debian-security trixie-security"];
    assert_eq!(last_words(&lab), mirrors.map(line).join("\n"));
    let mirror = mirrors.map(line)[0].clone();
    let mirror = ("AGENTVM_APT_MIRROR", mirror.as_str());
    let ca = root.parent().unwrap().join("input/ca.pem");
    let ca = ca.to_str().unwrap();
    assert_got(&lab.path().join("record.mmdebstrap"), &[mirror, ("BUILD_CA", ca)]);
    let apts = fs_err::read_to_string(lab.path().join("apt.conf")).unwrap();
    assert_eq!(apts, format!("Acquire::https::CAInfo \"{ca}\";\n"));
    let kept = fs_err::read_dir(lab.path().join("etc/apt/apt.conf.d")).unwrap();
    assert_eq!(kept.count(), 0);

    assert_eq!(
        read("record.curl.input"),
        "url = \"https://npm.example/registry/npm/-/npm-1.2.3.tgz\"\n"
    );
    let places = [("npm_config_registry", npm), ("PIP_INDEX_URL", pypi), mirror];
    for program in ["curl", "npm", "pipx"] {
        assert_got(&at(&format!("record.{program}")), &places);
    }
    let of = |program: &str, name: &str| {
        let all = variables(&at(&format!("record.{program}")));
        all.into_iter().find(|(known, _)| known == name).map(|(_, value)| value).unwrap()
    };
    for (program, name) in
        [("curl", "CURL_CA_BUNDLE"), ("npm", "NODE_EXTRA_CA_CERTS"), ("pipx", "PIP_CERT")]
    {
        assert_eq!(of(program, name), "/run/build-ca.pem", "{program}");
    }
    let certificates = read("record.ca");
    assert_eq!(certificates, fs_err::read_to_string(ca).unwrap());
    assert!(certificates.starts_with("# what is trusted here\n"), "{certificates}");
    assert!(certificates.contains(certificate), "{certificates}");

    fs_err::write(at("go"), "").unwrap();
    build.finish().stderr_has("cannot make the image: python: pipx install uv failed in the VM");
    assert!(!root.exists());
}

#[test]
fn mirror_of_the_environment_comes_before_that_of_the_settings() {
    let lab = host("echo 'E: no route' >&2; exit 1");
    let mirror = "deb http://nearer.example/debian trixie main";
    build(&lab).fails(1).stderr_has("cannot make the image: E: no route");
    assert_eq!(last_words(&lab), "");
    lab.git_config("agentvm.aptMirror", "https://apt.example/x");
    build(&lab).env("AGENTVM_APT_MIRROR", mirror).fails(1);
    assert_eq!(last_words(&lab), mirror);
    assert_got(&lab.path().join("record.mmdebstrap"), &[("AGENTVM_APT_MIRROR", mirror)]);
}
