//! What goes wrong in the guest on the way.

use super::Site;
use super::tls::Tls;

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
    site.write_in_guest("etc/apt/sources.list", "deb http://archive.example/debian trixie main\n");
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
