//! What the VM has to know of this machine's network, and has not been told: certificates, a proxy;
//! and the credentials that go into it.

use std::ffi::OsString;
use std::path::Path;

use super::vm::{PATIENCE, PROGRAM};
use super::{Check, Situation, shell_path, shell_word};
use crate::config::{Config, ProviderKind, Proxy};
use crate::credentials::{Search, gone};
use crate::error::Error;
use crate::guest::wire::Field;
use crate::guest::{Call, Guest};
use crate::image;
use crate::network::faults::{Fault, Knowledge, recognise};
use crate::network::proxy;
use crate::network::trust::Certificates;

/// Where set-up leaves its logs in the VM, and what tells how far it came.
const LOGS: &str = "/var/log/agentvm";
const STAMPS: &str = "/var/lib/agentvm/stages";
/// By which programs here are told of certificates.
const TRUSTING: &[&str] = &[
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
];

pub(super) fn look(situation: &Situation) -> Vec<Check> {
    // Nothing is put onto a host that is run by others.
    if situation.config.provider != ProviderKind::Lima {
        return Vec::new();
    }
    let value_of = |name: &str| std::env::var_os(name);
    let from_git = situation.setting("http.sslcainfo");
    let mut checks = certificates(&situation.config, from_git, value_of);
    checks.extend(proxies(&situation.config, value_of));
    checks.extend(credentials(&situation.config, value_of));
    checks
}

fn failed(id: &'static str, error: &Error) -> Check {
    Check::error(id, error.to_string())
        .why("git agent-vm start refuses to work with it")
        .maybe_fix(error.hints().first().cloned())
}

fn certificates(
    config: &Config,
    from_git: Option<&str>,
    value_of: impl Fn(&str) -> Option<OsString>,
) -> Vec<Check> {
    const ID: &str = "ca-certs";
    let files = &config.network.ca_certs;
    if !files.is_empty() {
        return vec![match Certificates::load(files) {
            Ok(all) => Check::ok(ID, format!("the VM is told of {} more", count(&all))),
            Err(error) => failed(ID, &error),
        }];
    }
    let here = |name| Some((name, value_of(name).filter(|value| !value.is_empty())?));
    let told = TRUSTING.iter().copied().find_map(here);
    let told = told.or_else(|| from_git.map(|file| ("http.sslCAInfo", file.into())));
    let Some((name, file)) = told else { return Vec::new() };
    let file = Path::new(&file);
    vec![
        Check::info(ID, format!("{name} names {} here, and the VM knows nothing of it", file.display()))
            .why("in a network that signs with certificates of its own, nothing can be downloaded in the VM without them")
            .fix(format!("git config --global --add agentvm.caCerts {}", shell_path(file))),
    ]
}

fn count(all: &Certificates) -> String {
    crate::ui::count(all.iter().count() as u64, "certificate")
}

fn proxies(config: &Config, value_of: impl Fn(&str) -> Option<OsString>) -> Vec<Check> {
    const ID: &str = "proxy";
    let proxy = &config.network.proxy;
    let mut checks = Vec::new();
    match proxy::variables(proxy, &value_of) {
        Err(error) => checks.push(failed(ID, &error)),
        Ok(set) if !set.is_empty() => checks.push(Check::ok(ID, "the VM is told of a proxy")),
        Ok(_) if *proxy == Proxy::Environment => checks.push(
            Check::info(ID, "agentvm.proxy is true, and no proxy is set here")
                .why("the VM is told of those that are set where it is started"),
        ),
        Ok(_) => {}
    }
    let set = proxy::set_here(&value_of);
    if set.is_empty() {
        return checks;
    }
    let set = set.join(", ");
    if *proxy == Proxy::None {
        checks.push(
            Check::info(ID, format!("a proxy is set ({set}), and the VM is not told of it"))
                .why("where nothing leads out but through it, nothing can be downloaded in the VM")
                .fix("git config --global agentvm.proxy true"),
        );
    }
    let untold = Check::info(ID, format!("a proxy is set ({set}), and Lima is not told of it"));
    let why = "a proxy often holds a password, which would stay readable in the VM's processes";
    // Elsewhere it would take a VM from Debian's image.
    checks.push(if image::build::is_possible() {
        untold
            .why(format!("{why}; where Debian's image cannot be fetched directly, build one"))
            .fix("git agent-vm image build")
    } else {
        untold.why(why)
    });
    checks
}

fn credentials(config: &Config, value_of: impl Fn(&str) -> Option<OsString>) -> Option<Check> {
    const ID: &str = "credentials";
    if !config.credentials {
        return None;
    }
    match Search::new(value_of) {
        Ok(Search::Found(google)) => Some(Check::ok(
            ID,
            format!("the VM gets the Google credentials of {}", google.source.display()),
        )),
        Ok(Search::Gone(path)) => Some(
            Check::warning(ID, gone(&path))
                .why("the VM gets no credentials, and loses those that it has")
                .fix("unset GOOGLE_APPLICATION_CREDENTIALS"),
        ),
        Ok(Search::Nothing) => None,
        Err(error) => Some(failed(ID, &error)),
    }
}

/// What set-up in the VM failed by, and proxies that nobody answers at there.
pub(super) fn in_guest(config: &Config, guest: &Guest) -> Vec<Check> {
    let known = proxy::knowledge(&config.network.proxy, |name| std::env::var_os(name));
    // What is wrong in common/ is for start to say. The other stages download nothing.
    let stages = crate::provision::downloads(config).unwrap_or_default();
    let stages: Vec<&str> = stages.iter().map(|stage| stage.name().word()).collect();
    let mut call = Call::of(PROGRAM, "network").arg(LOGS).arg(STAMPS).arg(stages.join(","));
    let mut asked = known.proxies.clone();
    asked.dedup();
    for (host, port) in &asked {
        call = call.arg(host).arg(port);
    }
    // That the VM cannot be reached is said elsewhere.
    let Ok(mut session) = guest.open_apart(&call) else { return Vec::new() };
    session.set_patience(crate::guest::time_limit(PATIENCE));
    judge(&session.fields().unwrap_or_default(), &known)
}

fn judge(fields: &[Field], known: &Knowledge) -> Vec<Check> {
    const ID: &str = "vm-network";
    let mut checks = Vec::new();
    let mut log = String::new();
    for field in fields {
        match field.key.as_str() {
            "log" => log = field.value.to_string(),
            "text" => {
                let text = String::from_utf8_lossy(field.value.as_bytes());
                let Some(fault) = recognise(&text, known) else { continue };
                checks.push(
                    Check::error(ID, format!("in the VM, {}", fault.subject()))
                        .why(format!(
                            "so says {log} there: git agent-vm connect -- tail {}",
                            shell_word(&log)
                        ))
                        .fix(fault.fix()),
                );
            }
            "closed" => checks.push(
                Check::error(ID, format!("in the VM, nobody answers at the proxy {}", field.value))
                    .why("programs there use it for every download")
                    .fix(Fault::Proxy.fix()),
            ),
            _ => {}
        }
    }
    checks.truncate(10);
    checks
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;

    #[test]
    fn certificates_that_only_this_machine_knows_are_named_with_the_setting() {
        let here = |name: &str| (name == "NODE_EXTRA_CA_CERTS").then(|| "/etc/it's.pem".into());
        let check = certificates(&Config::of(&[]), None, here).remove(0);
        assert_eq!(
            check.fix.unwrap(),
            r"git config --global --add agentvm.caCerts '/etc/it'\''s.pem'"
        );
        let check = certificates(&Config::of(&[]), Some("/x.pem"), |_| None).remove(0);
        assert!(check.subject.contains("http.sslCAInfo"), "{check:?}");
        assert_eq!(certificates(&Config::of(&[]), None, |_| None), []);
        let check =
            certificates(&Config::of(&[("agentvm.cacerts", "/no/file")]), None, here).remove(0);
        assert_eq!(check.severity, Severity::Error);
    }

    #[test]
    fn a_proxy_is_named_without_its_value() {
        let here = |name: &str| (name == "https_proxy").then(|| "http://u:hunter2@h:x".into());
        let checks = proxies(&Config::of(&[]), here);
        assert_eq!(checks[0].fix.as_deref(), Some("git config --global agentvm.proxy true"));
        let checks = proxies(&Config::of(&[("agentvm.proxy", "true")]), here);
        assert_eq!(checks[0].severity, Severity::Error);
        assert!(!format!("{checks:?}").contains("hunter2"));
        let checks = proxies(&Config::of(&[("agentvm.proxy", "true")]), |_| None);
        assert_eq!(checks[0].severity, Severity::Info);
        assert_eq!(proxies(&Config::of(&[]), |_| None), []);
    }

    #[test]
    fn credentials_that_go_into_the_vm_are_said() {
        let here = |name: &str| (name == "GOOGLE_APPLICATION_CREDENTIALS").then(|| "/none".into());
        let check = credentials(&Config::of(&[]), here).unwrap();
        assert_eq!(check.severity, Severity::Warning);
        assert_eq!(credentials(&Config::of(&[("agentvm.credentials", "none")]), here), None);
        let here = |name: &str| (name == "GOOGLE_APPLICATION_CREDENTIALS").then(|| "/".into());
        assert_eq!(credentials(&Config::of(&[]), here).unwrap().severity, Severity::Error);
    }

    /// The guest is a Linux machine.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_log_tells_and_a_proxy_that_is_not_there_name_the_setting() {
        use crate::process::Cmd;
        use crate::sanitize::GuestText;

        let dir = tempfile::tempdir().unwrap();
        let (logs, stages) = (dir.path().join("log/agentvm"), dir.path().join("stages"));
        std::fs::create_dir_all(&logs).unwrap();
        std::fs::create_dir(&stages).unwrap();
        let log = logs.join("apt.log");
        let text = "Get:1\n  Certificate verification failed: The certificate is NOT trusted.\n";
        std::fs::write(&log, text).unwrap();
        std::fs::write(stages.join("apt.begun"), "").unwrap();
        // One that came to its end, and one that nobody wants any more.
        std::fs::write(logs.join("npm.log"), text).unwrap();
        std::fs::write(logs.join("docker.log"), text).unwrap();
        std::fs::write(stages.join("docker.begun"), "").unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap().port();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = free.local_addr().unwrap().port();
        drop(free);
        let words = ["program", "nonce", "hash", "1", "network"].map(str::to_owned);
        let mut run = Cmd::new("sh").args(["-c", PROGRAM, "sh"]).args(words);
        run = run.args([format!("p{}", logs.display()), format!("p{}", stages.display())]);
        run = run.arg("papt,npm");
        for port in [open, closed] {
            run = run.args(["p127.0.0.1".to_owned(), format!("p{port}")]);
        }
        let output = run.output().unwrap();
        let said = output.stdout.splitn(2, |byte| *byte == b'\n').nth(1).unwrap();
        let fields: Vec<Field> = said
            .split(|byte| *byte == 0)
            .filter_map(|field| {
                let at = field.iter().position(|byte| *byte == b'=')?;
                let key = String::from_utf8(field[..at].to_vec()).unwrap();
                Some(Field { key, value: GuestText::new(&field[at + 1..]) })
            })
            .collect();
        let checks = judge(&fields, &Knowledge::default());
        assert_eq!(checks.len(), 2, "{checks:#?}");
        assert!(checks[0].fix.as_ref().unwrap().contains("agentvm.caCerts"));
        assert!(checks[0].detail.as_ref().unwrap().contains(log.to_str().unwrap()));
        assert!(checks[1].subject.ends_with(&format!("127.0.0.1:{closed}")), "{checks:#?}");
        assert!(checks[1].fix.as_ref().unwrap().contains("agentvm.proxy"));
    }
}
