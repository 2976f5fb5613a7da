//! Certificates, proxies and mirrors.

use super::tls::Tls;
use super::{KEY, Site, VARIABLES};
use crate::support::Lab;

#[test]
fn guest_trusts_the_networks_own_certificates_as_long_as_it_is_told_to() {
    // mindroom-ai/mindroom#1212
    let site = Site::new();
    let tls = Tls::new(&site.lab);
    let python =
        format!("import urllib.request as u; u.urlopen('{}').read()", tls.url("127.0.0.1"));
    let url = tls.url("127.0.0.1");
    let programs: [&[&str]; 2] =
        [&["curl", "-sS", "-o", "/dev/null", &url], &["python3", "-c", &python]];
    let bundle = fs_err::read_to_string(tls.authority()).unwrap();
    site.host_file("bundle.pem", &format!("# ours\n{bundle}\n{bundle}"));
    let settings = [("agentvm.cacerts", "~/bundle.pem")];

    // Java's store listens for changes in this way.
    let heard = format!("#!/bin/sh\ncat >>'{}/heard'\n", site.root());
    site.write_in_guest("etc/ca-certificates/update.d/listener", &heard);
    site.lab.guest_sh("chmod 755 root/etc/ca-certificates/update.d/listener").succeeds();

    for words in programs {
        let ran = site.with_variables(words);
        assert!(ran.code != 0 && ran.errors().to_lowercase().contains("certificate"), "{ran}");
    }
    site.pam_reads_variables(true);
    assert_eq!(site.changes(&settings, &[]), ["certificates", "environment"]);
    for words in programs {
        let ran = site.with_variables(words);
        assert!(ran.code == 0, "{ran}");
    }
    assert!(site.read(VARIABLES).contains("NODE_EXTRA_CA_CERTS=/etc/agentvm/ca.pem"));
    assert_eq!(site.read("etc/agentvm/ca.pem").matches("BEGIN CERTIFICATE").count(), 1);
    assert!(site.stat("etc/agentvm/ca.pem").starts_with("644 "));
    assert_eq!(site.changes(&settings, &[]), [] as [&str; 0]);
    // What an agent took away is put back.
    site.lab.guest_sh("rm -r root/usr/local/share/ca-certificates/agentvm").succeeds();
    assert_eq!(site.changes(&settings, &[]), ["certificates"]);

    site.pam_reads_variables(false);
    assert!(site.read("heard").contains("/etc/ssl/certs/agentvm-"));
    site.lab.guest_sh("rm root/heard").succeeds();
    assert_eq!(site.changes(&[], &[]), ["certificates", "environment"]);
    let heard = site.read("heard");
    let ours: Vec<&str> = heard.lines().filter(|line| line.contains("/agentvm-")).collect();
    assert!(ours.len() == 1 && ours[0].starts_with('-'), "{heard}");
    for words in programs {
        assert!(site.with_variables(words).code != 0);
    }
    site.lab
        .guest_sh("find root/ -name '*agentvm*' ! -path root/etc/agentvm")
        .succeeds()
        .stdout_is("");
    tls.stop();
}

#[test]
fn a_file_with_a_private_key_never_leaves_the_host() {
    let site = Site::new();
    site.host_file("key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    site.lab.git_config("agentvm.caCerts", site.lab.home().join("key.pem").to_str().unwrap());
    site.lab.git_config("agentvm.provider", "lima");
    let sessions = site.lab.ssh_sessions_of(|| {
        site.lab
            .agent_vm("start")
            .fails(2)
            .stderr_has("key.pem: line 1: it holds a private key, which must never get into a VM")
            .stderr_has("hint: git config --show-origin");
    });
    assert_eq!(sessions, 0);
    // A host that is run by others gets nothing, so nobody reads it.
    site.lab.git_config("agentvm.provider", "ssh");
    let credentials = site.lab.home().join("named.json");
    fs_err::write(&credentials, "damaged").unwrap();
    site.lab.agent_vm("start").env("GOOGLE_APPLICATION_CREDENTIALS", &credentials).succeeds();
    assert!(!site.exists(KEY));
    site.lab.guest_sh("find . -name '*.pem'").succeeds().stdout_is("");
}

#[test]
fn proxies_are_variables_that_root_alone_can_read() {
    // rancher-sandbox/rancher-desktop#3395
    let site = Site::new();
    let here =
        [("HTTPS_PROXY", "http://me:pa%40ss@localhost:3128"), ("no_proxy", "intern.example")];
    assert_eq!(site.changes(&[], &here), [] as [&str; 0]);
    let on = [("agentvm.proxy", "true")];
    site.pam_reads_variables(true);
    assert_eq!(site.changes(&on, &here), ["environment"]);
    let text = site.read(VARIABLES);
    for line in [
        "https_proxy=http://me:pa%40ss@192.168.5.2:3128",
        "HTTPS_PROXY=http://me:pa%40ss@192.168.5.2:3128",
    ] {
        assert!(text.lines().any(|known| known == line), "{text}");
    }
    let exempt = text.lines().find_map(|line| line.strip_prefix("no_proxy=")).unwrap();
    for word in ["intern.example", "localhost", "127.0.0.1", "192.168.5.0/24"] {
        assert!(exempt.split(',').any(|known| known == word), "{exempt}");
    }
    assert!(site.stat(VARIABLES).starts_with("600 "));
    let service = site.read("etc/systemd/system/service.d/10-agentvm.conf");
    assert_eq!(service, "[Service]\nEnvironmentFile=-/etc/agentvm/environment");
    assert_eq!(site.changes(&on, &here), [] as [&str; 0]);
    site.pam_reads_variables(false);
    assert_eq!(site.changes(&on, &[]), ["environment"]);
    assert!(
        !site.exists(VARIABLES) && !site.exists("etc/systemd/system/service.d/10-agentvm.conf")
    );
}

#[test]
fn debians_own_lists_lead_to_the_mirror_and_back() {
    let site = Site::new();
    let (list, sources) = ("etc/apt/sources.list", "etc/apt/sources.list.d/debian.sources");
    let old_list = "# ours\ndeb http://ftp.de.debian.org/debian trixie main\n\
        deb-src [signed-by=/x] https://security.debian.org/debian-security/ trixie-security main\n\
        deb https://tool.example/apt stable main\n";
    let old_sources = "Types: deb\nURIs: mirror+file:///etc/apt/mirrors/debian.list\nSuites: trixie\n\
        \nTypes: deb\nURIs: mirror+file:///etc/apt/mirrors/debian-security.list\nSuites: trixie-security\n";
    site.write_in_guest(list, old_list);
    site.write_in_guest(sources, old_sources);
    let mirror = [("agentvm.aptmirror", "https://mirror.example/a&b/debian/")];
    assert_eq!(site.changes(&mirror, &[]), ["mirror", "mirror"]);
    assert_eq!(
        site.read(list),
        "# ours\ndeb https://mirror.example/a&b/debian trixie main\n\
        deb-src [signed-by=/x] https://mirror.example/a&b/debian-security trixie-security main\n\
        deb https://tool.example/apt stable main"
    );
    let text = site.read(sources);
    assert!(text.contains("URIs: https://mirror.example/a&b/debian\nSuites: trixie\n"), "{text}");
    assert!(text.contains("URIs: https://mirror.example/a&b/debian-security\n"), "{text}");
    assert!(site.stat(list).starts_with("644 "));
    assert_eq!(site.changes(&mirror, &[]), [] as [&str; 0]);

    // The image's own set-up writes its list anew at a boot.
    site.write_in_guest(sources, old_sources);
    assert_eq!(site.changes(&mirror, &[]), ["mirror"]);
    let other = [("agentvm.aptmirror", "http://other.example")];
    assert_eq!(site.changes(&other, &[]), ["mirror", "mirror"]);
    assert!(site.read(list).contains("deb http://other.example/debian trixie main\n"));
    // What was changed there meanwhile is not thrown away.
    site.lab
        .guest_sh("echo 'deb https://more.example/apt x main' >>root/etc/apt/sources.list")
        .succeeds();
    assert_eq!(site.changes(&[], &[]), ["mirror"]);
    assert_eq!(site.read(sources) + "\n", old_sources);
    assert!(site.read(list).contains("https://more.example"));
}

/// Their packages are not on a mirror of Debian's.
#[test]
fn archives_of_others_are_not_led_to_a_mirror() {
    let site = Site::new();
    let list = "etc/apt/sources.list";
    let others = "deb https://download.docker.com/linux/debian trixie stable\n\
        deb http://deb.debian.org.example/debian trixie main\n\
        deb http://cache.example/deb.debian.org/debian trixie main\n\
        deb http://snapshot.debian.org/archive/debian/20260101T000000Z/ trixie main\n\
        deb mirror+file:/srv/others/debian.list trixie main\n";
    site.write_in_guest(list, others);
    assert_eq!(site.changes(&[("agentvm.aptmirror", "https://one.example/a.b")], &[]), [""; 0]);
    let debian = "deb http://deb.debian.org/debian trixie main\n\
        deb http://security.debian.org/debian-security trixie-security main\n";
    site.write_in_guest(list, &format!("{others}{debian}"));
    let led_to = |base: &str| {
        format!(
            "{others}deb {base}/debian trixie main\n\
            deb {base}/debian-security trixie-security main"
        )
    };
    for base in ["https://one.example/a.b", "https://two.example", "https://three.example/x"] {
        assert_eq!(site.changes(&[("agentvm.aptmirror", base)], &[]), ["mirror"]);
        assert_eq!(site.read(list), led_to(base));
    }
    // Names alike are not ours.
    let alike = "deb https://one.example/aXb/debian trixie main\n";
    site.write_in_guest(list, alike);
    assert_eq!(site.changes(&[("agentvm.aptmirror", "https://four.example")], &[]), [""; 0]);
}

#[test]
fn list_that_was_changed_under_a_mirror_is_not_taken_for_how_it_was() {
    let site = Site::new();
    let list = "etc/apt/sources.list";
    let old = "deb http://ftp.de.debian.org/debian trixie main\n";
    site.write_in_guest(list, old);
    let mirror =
        |name: &str| vec![("agentvm.aptmirror".to_owned(), format!("http://{name}.example"))];
    let changes = |settings: &[(String, String)]| {
        let settings: Vec<_> = settings.iter().map(|(key, value)| (&**key, &**value)).collect();
        site.changes(&settings, &[])
    };
    changes(&mirror("one"));
    site.lab.guest_sh(&format!("echo '# mine' >>root/{list}")).succeeds();
    changes(&mirror("two"));
    assert_eq!(site.read(list), "deb http://two.example/debian trixie main\n# mine");
    assert_eq!(site.read("etc/agentvm/apt/sources.list") + "\n", old);
    // What they wrote stays, and that it names the mirror is said.
    assert_eq!(changes(&[]), [] as [&str; 0]);
    assert_eq!(site.read(list), "deb http://two.example/debian trixie main\n# mine");

    site.write_in_guest(list, old);
    changes(&mirror("one"));
    changes(&mirror("two"));
    assert_eq!(changes(&[]), ["mirror"]);
    assert_eq!(site.read(list) + "\n", old);
}

#[test]
fn a_wrong_address_is_refused_and_its_password_not_shown() {
    let lab = Lab::new();
    for (key, value, why) in [
        ("agentvm.proxy", "http://u:hunter2@host:port", "the port is no number"),
        ("agentvm.npmRegistry", "mirror.example/hunter2", "it is an http or https URL"),
        ("agentvm.aptMirror", "https://u:hunter2@mirror.example", "could read the password"),
    ] {
        let set = format!("{key}={value}");
        for words in [["agent-vm", "status"], ["agent-vm", "doctor"]] {
            let mut all = vec!["-c".into(), set.clone().into()];
            all.extend(words.map(std::ffi::OsString::from));
            let ran = lab.git(all).run();
            let said = format!("{}{}", ran.text(), ran.errors());
            // The text may be broken into lines anywhere.
            let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(ran.code != 0 && said.contains(why) && !said.contains("hunter2"), "{ran}");
        }
    }
}
