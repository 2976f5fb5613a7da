//! What goes wrong in the guest on the way.

use git_agent_vm::error::{Kind, kind_of};
use git_agent_vm::handover::{Group, ROOT, Unset};

use super::tls::Tls;
use super::{Site, config};
use crate::provision::machine::{Machine, TICKS_FOR_EVER};
use crate::support::has_time_limit;

/// The certificates of a test's own network, and the setting that names them.
fn with_certificates(site: &Site) {
    let tls = Tls::new(&site.lab);
    let bundle = fs_err::read_to_string(tls.authority()).unwrap();
    site.host_file("bundle.pem", &bundle);
    tls.stop();
}

/// A program that is told of each change of the certificates.
fn hook(site: &Site, script: &str) {
    let text = format!("#!/bin/sh\ncd '{}' || exit\n{script}\n", site.root());
    site.write_in_guest("etc/ca-certificates/update.d/hook", &text);
    site.lab.guest_sh("chmod 755 root/etc/ca-certificates/update.d/hook").succeeds();
}

const CERTIFICATES: [(&str, &str); 1] = [("agentvm.cacerts", "~/bundle.pem")];

#[test]
fn two_at_once_wait_for_each_other() {
    let site = Site::new();
    with_certificates(&site);
    site.pam_reads_variables(true);
    hook(&site, "cat >/dev/null; : >begun; until [ -e go ]; do sleep 0.1; done");
    site.write_in_guest("etc/apt/sources.list", "deb http://deb.debian.org/debian trixie main\n");
    let settings = [CERTIFICATES[0], ("agentvm.aptmirror", "http://mirror.example")];
    let (first, second) =
        (site.load(&CERTIFICATES, &[]).unwrap(), site.load(&settings, &[]).unwrap());
    let (one, other, root) = (site.guest(), site.guest(), site.root());
    std::thread::scope(|scope| {
        let one = scope.spawn(|| first.place(&one, root, super::ALL));
        site.lab.wait_until("the first is at it", |_| site.exists("begun"));
        let other = scope.spawn(|| second.place(&other, root, super::ALL));
        std::thread::sleep(std::time::Duration::from_secs(2));
        assert!(!one.is_finished() && !other.is_finished());
        site.lab.guest_sh(": >root/go").succeeds();
        assert_eq!(one.join().unwrap().unwrap().changed, ["certificates", "environment"]);
        assert_eq!(other.join().unwrap().unwrap().changed, ["mirror"]);
    });
}

#[test]
fn what_the_guest_does_not_confirm_is_no_success() {
    let site = Site::new();
    site.host_file("gcloud/application_default_credentials.json", "{\"type\": \"x\"}");
    let answer = "[ \"$3\" = agentvm ] || exec /bin/sh \"$@\"\n\
        printf 'agentvm/1 %s 1\\nsend=\\0' \"$5\"; cat >/dev/null\n\
        printf 'done=profile\\0end=ok\\0'";
    site.lab.guest_fake("sh", answer);
    let error = site.place(&site.load(&[], &[]).unwrap()).unwrap_err();
    assert_eq!(
        format!("{error:#}"),
        "the VM 'agent-vm' did not take what it was sent: credentials"
    );
}

/// Its link and what Java knows of it would stay.
#[test]
fn certificate_goes_even_where_its_removal_was_cut_off() {
    let site = Site::new();
    with_certificates(&site);
    site.pam_reads_variables(true);
    hook(&site, "cat >>heard");
    let certificate = "agentvm-0123456789abcdef";
    for wanted in [&CERTIFICATES[..], &[]] {
        site.changes(&CERTIFICATES, &[]);
        // So far the run came that was to take this one away: its file is gone, its link is there.
        site.lab
            .guest_sh(&format!(
                "cd root && ln -s /no/file etc/ssl/certs/{certificate}.pem && \
                 echo >>etc/agentvm/ca.pem && rm -f heard"
            ))
            .succeeds();
        if wanted.is_empty() {
            site.pam_reads_variables(false);
            site.lab.guest_sh("rm -r root/usr/local/share/ca-certificates/agentvm").succeeds();
        }
        site.changes(wanted, &[]);
        let heard = site.read("heard");
        let gone = format!("-{}/etc/ssl/certs/{certificate}.pem", site.root());
        assert!(heard.lines().any(|line| line == gone), "{heard}");
        site.lab
            .guest_sh("cd root/etc/ssl/certs && find . -name '*agentvm-0123*'")
            .succeeds()
            .stdout_is("");
    }
    site.lab.guest_sh("cd root/etc/ssl/certs && ls").succeeds().stdout_lacks("agentvm");
}

/// Everything of it is gone then, but for what Java has in a store of its own.
#[test]
fn java_is_told_of_a_certificate_that_goes_though_the_machine_went_down_in_between() {
    let site = Site::new();
    with_certificates(&site);
    site.pam_reads_variables(true);
    site.changes(&CERTIFICATES, &[]);
    let certificate = site.lab.guest_sh("cd root/etc/ssl/certs && ls agentvm-*.pem").succeeds();
    site.pam_reads_variables(false);
    hook(&site, "cat >/dev/null; : >begun; sleep 60");
    let (nothing, guest, root) = (site.load(&[], &[]).unwrap(), site.guest(), site.root());
    std::thread::scope(|scope| {
        let run = scope.spawn(|| nothing.place(&guest, root, super::ALL));
        site.lab.wait_until("it is at it", |_| site.exists("begun"));
        site.lab.kill_guest();
        run.join().unwrap().unwrap_err();
    });
    site.lab.guest_sh("cd root/etc/ssl/certs && ls").succeeds().stdout_lacks("agentvm");
    hook(&site, "cat >>heard");
    site.changes(&[], &[]);
    let gone = format!("-{}/etc/ssl/certs/{}", site.root(), certificate.text().trim());
    let heard = site.read("heard");
    assert!(heard.lines().any(|line| line == gone), "{heard}");
    assert!(!site.exists("etc/agentvm/ca.going"));
    assert!(site.changes(&[], &[]).is_empty());
}

/// A guest in which we are root, with a program of Debian's that only root can use.
fn with_pam(script: &str) -> Option<Machine> {
    let machine = Machine::new()?;
    machine.lab.guest_fake("sudo", "[ \"$1\" != -n ] || shift; exec \"$@\"");
    machine
        .lab
        .guest_sh("echo 'mkdir -p \"$root/pam\"; mount --bind \"$root/pam\" /usr/share/pam-configs' >more")
        .succeeds();
    machine.fake("systemctl", ":");
    machine.fake("pam-auth-update", script);
    Some(machine)
}

/// What needs that program.
fn tell_of_registry(machine: &Machine, more: &[(&str, &str)]) -> anyhow::Result<Vec<String>> {
    let mut settings = vec![
        ("agentvm.credentials", "none"),
        ("agentvm.npmregistry", "https://mirror.example/npm/"),
    ];
    settings.extend(more);
    let handover =
        git_agent_vm::handover::Handover::load_with(&config(&settings), Unset::Goes, |_| None)?;
    Ok(handover.place(&machine.guest(), ROOT, &[Group::Network])?.changed)
}

#[test]
fn debconf_that_is_busy_is_waited_for() {
    let script = "if [ \"$(grep -c pam-auth \"$HOME/calls\")\" -lt 3 ]; then\n\
        echo 'debconf: DbDriver \"config\": config.dat is locked by another process: Resource'\n\
        exit 1\nfi\n\
        echo 'session optional pam_env.so envfile=/etc/agentvm/environment' >>/etc/pam.d/common-session";
    let Some(machine) = with_pam(script) else { return };
    assert_eq!(tell_of_registry(&machine, &[]).unwrap(), ["environment"]);
    let calls = machine.calls();
    assert_eq!(calls.iter().filter(|call| call.starts_with("pam-auth")).count(), 3, "{calls:#?}");
    // Another failure is said at once.
    machine.fake("pam-auth-update", "echo 'hint: no'; exit 1");
    machine.as_root("sed -i /agentvm/d root/etc/pam.d/common-session").succeeds();
    let error = tell_of_registry(&machine, &[]).unwrap_err();
    assert_eq!(format!("{error:#}"), "pam-auth-update failed in the VM:\n  hint: no");
    assert_eq!(machine.calls().len(), 1);
}

#[test]
fn program_of_the_guest_that_hangs_ends_with_the_limit() {
    let Some(machine) = with_pam("sleep 60") else { return };
    let error = tell_of_registry(&machine, &[("agentvm.stagelimit", "1s")]).unwrap_err();
    assert_eq!(kind_of(&error), Kind::TimedOut);
    assert_eq!(
        format!("{error:#}"),
        "pam-auth-update does not end in the VM: the limit of 1 s is over"
    );

    let site = Site::new();
    with_certificates(&site);
    site.pam_reads_variables(true);
    hook(&site, "sleep 60");
    let settings = [CERTIFICATES[0], ("agentvm.stagelimit", "1s")];
    let error = site.place(&site.load(&settings, &[]).unwrap()).unwrap_err();
    assert_eq!(kind_of(&error), Kind::TimedOut);
    assert!(format!("{error:#}").starts_with("update-ca-certificates does not end"), "{error:#}");
}

/// As the kernel does where there is no memory left.
#[test]
fn program_of_the_guest_that_is_killed_is_not_said_to_be_slow() {
    let site = Site::new();
    with_certificates(&site);
    site.pam_reads_variables(true);
    for (script, why) in [
        ("kill -9 $$", " was killed in the VM, whose memory may be full"),
        ("exit 124", " failed in the VM:\n"),
    ] {
        hook(&site, script);
        // What runs hooks says only that one failed, so it is told of one that went.
        site.lab
            .guest_sh("ln -sf /no/file root/etc/ssl/certs/agentvm-0123456789abcdef.pem")
            .succeeds();
        let error = site.place(&site.load(&CERTIFICATES, &[]).unwrap()).unwrap_err();
        assert_eq!(kind_of(&error), Kind::Failed);
        let text = format!("{error:#}");
        assert!(text.starts_with(&format!("update-ca-certificates{why}")), "{text}");
    }
}

#[test]
fn guest_that_never_ends_is_given_up() {
    if !has_time_limit("3", "handover::trouble::guest_that_never_ends_is_given_up") {
        return;
    }
    let site = Site::new();
    site.host_file("gcloud/application_default_credentials.json", "{\"type\": \"x\"}");
    site.lab.guest_fake("sh", TICKS_FOR_EVER);
    let error = site.place(&site.load(&[], &[]).unwrap()).unwrap_err();
    assert_eq!(kind_of(&error), Kind::TimedOut);
    assert_eq!(format!("{error:#}"), "lost the VM 'agent-vm': it is not done after 3 s");
}

/// What is there is brought up to date and taken away, though the start that put it there failed.
#[test]
fn credentials_are_known_where_the_network_fails_after_them() {
    let site = Site::new();
    let path = "gcloud/application_default_credentials.json";
    site.host_file(path, "{\"type\": \"one\"}");
    // Only root can have PAM read the variables.
    site.pam_reads_variables(false);
    let guest = site.guest();
    let settings = [("agentvm.npmregistry", "https://mirror.example/npm/")];
    let handover = site.load(&settings, &[]).unwrap();
    handover.apply(&guest, site.root()).unwrap_err();
    site.host_file(path, "{\"type\": \"two\"}");
    git_agent_vm::handover::refresh(&config(&[]), &guest, site.root());
    assert_eq!(site.read(super::KEY), "{\"type\": \"two\"}");
    let none = config(&[("agentvm.credentials", "none")]);
    git_agent_vm::handover::refresh(&none, &guest, site.root());
    assert!(!site.exists(super::KEY));
}
