//! What each stage does with its list.

use std::io::Write as _;
use std::time::Duration;

use git_agent_vm::error::{Kind, kind_of};
use git_agent_vm::hash::hex;
use git_agent_vm::provision::{Name, Outcome};
use sha2::{Digest as _, Sha256, Sha512};

use super::machine::Machine;

/// What curl will bring: an archive with a file in `package/bin/`.
fn archive(machine: &Machine) -> Vec<u8> {
    let script = "mkdir -p package/bin && echo '{\n \"version\": \"11.0.1\"\n}' >package/package.json \
        && echo it >package/bin/npm-cli.js && chmod 755 package/bin/npm-cli.js \
        && tar -czf download package && cat download";
    machine.lab.guest_sh(script).succeeds().stdout
}

#[test]
fn cut_off_installation_is_mended_before_anything_else() {
    let Some(machine) = Machine::new() else { return };
    machine.fake("dpkg", "[ \"$1\" != --audit ] || echo 'half-configured: git'");
    machine.list("apt-packages", "git\n");
    machine.apply(Name::Apt);
    let calls = machine.calls();
    let at = |text: &str| calls.iter().position(|call| call.contains(text)).unwrap();
    assert!(at("dpkg --configure -a") < at("--fix-broken install"), "{calls:#?}");
    assert!(at("--fix-broken install") < at("install git"), "{calls:#?}");
}

#[test]
fn mending_what_was_cut_off_ends_with_the_limit() {
    let Some(mut machine) = Machine::new() else { return };
    let long = machine.long_sleep();
    machine.fake(
        "dpkg",
        &format!("case $1 in --audit) echo 'half-configured: git' ;; --configure) {long} ;; esac"),
    );
    machine.list("apt-packages", "git\n");
    machine.limit = Duration::from_secs(2);
    let error = machine.try_apply(&[Name::Apt], false).unwrap_err();
    assert_eq!(kind_of(&error), Kind::TimedOut, "{error:#}");
    assert!(!machine.is_at_it());
    machine.fake("dpkg", ":");
    machine.limit = Duration::from_secs(60);
    assert_eq!(machine.apply(Name::Apt), Outcome::Done);
}

#[test]
fn pin_below_what_is_installed_may_downgrade() {
    let Some(machine) = Machine::new() else { return };
    machine.list("apt-packages", "git\njq=1.0\n");
    machine.apply(Name::Apt);
    let calls = machine.calls();
    assert!(calls.last().unwrap().contains(" --allow-downgrades install git jq=1.0"), "{calls:#?}");
    machine.list("apt-packages", "git\nripgrep\n");
    machine.apply(Name::Apt);
    let calls = machine.calls();
    assert!(calls.last().unwrap().ends_with(" install ripgrep"), "{calls:#?}");
    assert!(!calls.iter().any(|call| call.contains("--allow-downgrades")), "{calls:#?}");
}

#[test]
fn npm_packages_are_installed_one_by_one_as_pinned() {
    let Some(machine) = Machine::new() else { return };
    machine.list("npm-packages", "one\n@scope/two@1\nthree@2.0.0\n");
    assert_eq!(machine.apply(Name::Npm), Outcome::Done);
    machine.calls();
    // 1.2.3 is a version 1; another version was asked for of the rest.
    machine.list("npm-packages", "one@1.2\n@scope/two@1\nthree@3.0.0\nfour\n");
    machine.apply(Name::Npm);
    let calls = machine.calls();
    let installed: Vec<&str> = calls
        .iter()
        .filter(|call| call.starts_with("npm install"))
        .map(|call| call.rsplit_once(" -- ").unwrap().1)
        .collect();
    assert_eq!(installed, ["three@3.0.0", "four"]);

    machine.list("npm-packages", "five\nno-such\n");
    let text = machine.fails(Name::Npm);
    assert!(text.contains("npm: npm install --global no-such failed in the VM:\n"), "{text}");
    assert!(text.ends_with("'no-such' is not in this registry."), "{text}");
    // What was installed before it is not installed again.
    machine.calls();
    machine.list("npm-packages", "five\nsix\n");
    machine.apply(Name::Npm);
    let calls = machine.calls();
    assert!(!calls.iter().any(|call| call.ends_with(" five")), "{calls:#?}");
}

#[test]
fn npm_itself_comes_as_pinned() {
    let Some(machine) = Machine::new() else { return };
    let sum = hex(&Sha512::digest(archive(&machine)));
    machine.list("versions", &format!("NPM=11.0.1\nNPM_SHA512={}\n", "0".repeat(128)));
    let text = machine.fails(Name::Npm);
    assert!(text.ends_with("is not what versions.txt pins: it has another sha512 sum"), "{text}");
    machine.as_root("test -e /usr/local/bin/npm").fails(1);

    machine.list("versions", &format!("NPM=11.0.1\nNPM_SHA512={sum}\n"));
    assert_eq!(machine.apply(Name::Npm), Outcome::Done);
    machine
        .as_root("cat /usr/local/bin/npm /usr/local/lib/node_modules/npm/npmrc; ls /usr/local")
        .succeeds()
        .stdout_is("it\nprefix = /usr/local\nbin\nlib\nsbin");
    machine.as_root("cat asked").succeeds().stdout_has("/npm/-/npm-11.0.1.tgz\"\n");
    machine.calls();
    // Another list does not bring it again.
    machine.list("npm-packages", "one\n");
    machine.apply(Name::Npm);
    assert!(!machine.calls().iter().any(|call| call.starts_with("curl")));
}

#[test]
fn password_of_the_registry_is_on_no_command_line_and_in_no_message() {
    let Some(machine) = Machine::new() else { return };
    let registry = "https://me:hunter2@mirror.example/npm/";
    let more = format!("export npm_config_registry={registry}\n");
    machine.lab.guest_command("sh", ["-c", "cat >more"]).stdin(more).succeeds();
    archive(&machine);
    machine.list("versions", &format!("NPM=11.0.1\nNPM_SHA512={}\n", "0".repeat(128)));
    let wrong_sum = machine.fails(Name::Npm);
    machine
        .as_root("cat asked")
        .succeeds()
        .stdout_is("url = \"https://me:hunter2@mirror.example/npm/npm/-/npm-11.0.1.tgz\"");
    machine.fake("curl", "exit 22");
    let unreachable = machine.fails(Name::Npm);
    for text in [wrong_sum, unreachable] {
        assert!(text.contains(" https://mirror.example/npm/npm/-/npm-11.0.1.tgz "), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    let calls = machine.calls();
    assert!(calls.iter().filter(|call| call.starts_with("curl ")).count() == 2, "{calls:#?}");
    assert!(!calls.iter().any(|call| call.contains("hunter2")), "{calls:#?}");
}

#[test]
fn without_node_the_pin_of_npm_is_no_error_and_a_package_is() {
    let Some(machine) = Machine::new() else { return };
    // The Node of this machine is none of the guest's.
    machine
        .lab
        .guest_sh(": >none; echo '[ ! -e /usr/bin/node ] || mount --bind \"$HOME/none\" /usr/bin/node' >more")
        .succeeds();
    machine.lab.guest_sh("rm fakes/node").succeeds();
    machine.list("versions", &format!("NPM=11.0.1\nNPM_SHA512={}\n", "0".repeat(128)));
    let outcome = machine.apply(Name::Npm);
    assert_eq!(outcome, Outcome::Skipped("there is no Node in the VM".into()));
    // It is said once, and looked for each time.
    assert_eq!(machine.apply(Name::Npm), Outcome::Unchanged);
    machine.fake("node", ":");
    let sum = hex(&Sha512::digest(archive(&machine)));
    machine.list("versions", &format!("NPM=11.0.1\nNPM_SHA512={sum}\n"));
    machine.lab.guest_sh("rm fakes/node").succeeds();
    assert_eq!(machine.apply(Name::Npm), Outcome::Skipped("there is no Node in the VM".into()));
    machine.fake("node", ":");
    assert_eq!(machine.apply(Name::Npm), Outcome::Done);
    machine.lab.guest_sh("rm fakes/node").succeeds();
    machine.list("npm-packages", "one\n");
    let text = machine.fails(Name::Npm);
    assert!(text.ends_with("npm-packages.txt needs nodejs in apt-packages.txt"), "{text}");
}

#[test]
fn tools_are_installed_with_their_checksums_only() {
    let Some(machine) = Machine::new() else { return };
    machine
        .lab
        .guest_sh("printf '#!/bin/sh\\necho Haskell Dockerfile Linter 2.0.0\\n' >download")
        .succeeds();
    let bytes = machine.lab.guest_sh("cat download").succeeds().stdout;
    let versions = |sum: &str| {
        format!("HADOLINT=2.0.0\nHADOLINT_SHA256_AMD64={sum}\nHADOLINT_SHA256_ARM64={sum}\n")
    };
    machine.list("versions", &versions(&"0".repeat(64)));
    let text = machine.fails(Name::Tools);
    assert!(text.ends_with("is not what versions.txt pins: it has another sha256 sum"), "{text}");
    machine.list("versions", "HADOLINT=2.0.0\n");
    let text = machine.fails(Name::Tools);
    assert!(text.contains("versions.txt has no HADOLINT_SHA256_A"), "{text}");
    machine.list("versions", &versions(&hex(&Sha256::digest(&bytes))));
    assert_eq!(machine.apply(Name::Tools), Outcome::Done);
    machine.as_root("hadolint").succeeds().stdout_is("Haskell Dockerfile Linter 2.0.0");
    // It is there; another run downloads nothing.
    machine.calls();
    machine.try_apply(&[Name::Tools], true).unwrap();
    assert_eq!(machine.calls(), [""; 0]);

    machine.list("versions", "FOO=1\n");
    let text = machine.fails(Name::Tools);
    assert!(text.ends_with("versions.txt names FOO, which nothing here installs"), "{text}");
}

/// A server that sends little, and then nothing. Gives its port.
fn stalling_server() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming().flatten() {
            (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nx").ok();
            open.push(stream);
        }
    });
    port
}

#[test]
fn download_that_stalls_is_given_up_long_before_the_stage() {
    let Some(machine) = Machine::new() else { return };
    let server = format!("http://127.0.0.1:{}", stalling_server());
    // The real one with less patience; what has a host's name of its own comes from that server too.
    machine.fake(
        "curl",
        &format!(
            "for word; do shift; case $word in 60) word=1 ;; https://*) word={server} ;; esac\n\
             set -- \"$@\" \"$word\"; done\n/usr/bin/curl --retry-delay 1 \"$@\""
        ),
    );
    let more = format!("export npm_config_registry={server}\n");
    machine.lab.guest_command("sh", ["-c", "cat >more"]).stdin(more).succeeds();
    let sums = |name: &str, word: &str, digits| format!("{name}{word}={}\n", "0".repeat(digits));
    machine.list("versions", &format!("NPM=11.0.1\n{}", sums("NPM", "_SHA512", 128)));
    let npm = machine.fails(Name::Npm);
    assert!(npm.contains("npm-11.0.1.tgz failed in the VM:\n"), "{npm}");
    let sums = sums("GO", "_SHA256_AMD64", 64) + &sums("GO", "_SHA256_ARM64", 64);
    machine.list("versions", &format!("GO=1.2.3\n{sums}"));
    let go = machine.fails(Name::Tools);
    assert!(go.ends_with(".tar.gz can't be downloaded"), "{go}");
    for text in [npm, go] {
        assert!(text.contains("Operation too slow. Less than 1000 bytes/sec"), "{text}");
    }
}

#[test]
fn failed_download_is_named() {
    let Some(machine) = Machine::new() else { return };
    machine.fake("curl", "echo 'curl: (6) Could not resolve host: go.dev' >&2; exit 6");
    let sum = "0".repeat(64);
    machine.list("versions", &format!("GO=1.2.3\nGO_SHA256_AMD64={sum}\nGO_SHA256_ARM64={sum}\n"));
    let text = machine.fails(Name::Tools);
    assert!(text.contains("\n  curl: (6) Could not resolve host: go.dev\n"), "{text}");
    assert!(text.contains("https://go.dev/dl/go1.2.3.linux-"), "{text}");
    assert!(text.ends_with(".tar.gz can't be downloaded"), "{text}");
}

#[test]
fn podman_gets_ids_that_nobody_has_and_docker_a_group() {
    let Some(mut machine) = Machine::new() else { return };
    machine.extras = "podman docker";
    machine.fake("usermod", ":");
    machine.fake("loginctl", ":");
    machine.fake("systemctl", ":");
    machine.fake("id", "case $* in -u) echo 0 ;; *) echo agent ;; esac");
    machine.list("podman-packages", "podman\n");
    machine.list("docker-packages", "docker.io\n");
    machine.as_root("echo other:500000:1000 >/etc/subuid; echo agent:1:2 >/etc/subgid").succeeds();
    assert_eq!(machine.apply(Name::Podman), Outcome::Done);
    let calls = machine.calls();
    let changed: Vec<&String> = calls
        .iter()
        .filter(|call| call.starts_with("usermod") || call.starts_with("loginctl"))
        .collect();
    assert_eq!(
        changed,
        ["usermod --add-subuids 501000-566535 agent", "loginctl enable-linger agent"]
    );
    assert_eq!(machine.apply(Name::Docker), Outcome::Done);
    let calls = machine.calls();
    assert!(calls.contains(&"usermod --append --groups docker agent".to_owned()), "{calls:#?}");
    assert!(calls.contains(&"systemctl disable docker.service containerd.service".to_owned()));
}

#[test]
fn vms_in_the_vm_are_left_out_with_a_reason() {
    let Some(mut machine) = Machine::new() else { return };
    machine.extras = "nested";
    machine.list("versions", "LIMA=2.2.0\n");
    let why = "the VM has no /dev/kvm: this machine does not let a VM run others";
    assert_eq!(machine.apply(Name::Nested), Outcome::Skipped(why.into()));
    assert_eq!(machine.calls(), [""; 0]);
    // It is not said at each start.
    assert_eq!(machine.apply(Name::Nested), Outcome::Unchanged);
}

#[test]
fn vms_in_the_vm_are_left_out_where_nothing_vouches_for_their_lima() {
    let Some(mut machine) = Machine::new() else { return };
    if !std::path::Path::new("/dev/kvm").exists() {
        return eprintln!("left out: there is no /dev/kvm to be had");
    }
    machine.lab.guest_sh("echo 'mount --bind /dev/null /dev/kvm' >more").succeeds();
    machine.extras = "nested";
    machine.fake("uname", "echo aarch64");
    // A version of one's own without its checksum is a mistake.
    machine.list("versions", "LIMA=2.2.0\n");
    let text = machine.fails(Name::Nested);
    let why = "versions.txt has no checksum of Lima 2.2.0 for aarch64: LIMA_SHA256_ARM64";
    assert!(text.ends_with(why), "{text}");
    fs_err::remove_file(machine.common().join("packages/versions.txt")).unwrap();
    let Outcome::Skipped(why) = machine.apply(Name::Nested) else { panic!("it was not left out") };
    assert!(why.starts_with("there is no checksum of Lima "), "{why}");
    assert!(why.ends_with("a versions.txt of your own needs the line LIMA_SHA256_ARM64"), "{why}");
    assert!(!machine.calls().iter().any(|call| call.starts_with("apt-get")));
}
