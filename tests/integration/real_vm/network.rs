//! Credentials, certificates and a proxy in a real VM, where PAM and systemd hand variables on.

use super::{START, Vm, step};
use crate::handover::leaks::leaks;
use crate::handover::tls::Tls;

const PLACE: &str = "/etc/google/application_default_credentials.json";
/// The host, as the guest reaches it.
const HOST: &str = "192.168.5.2";

/// Where the guest has the word that stands on standard input: in files of root's file system, in
/// command lines and environments.
const SEARCH: &str = "cat >~/word; cd /
sudo -n grep -rlaF -D skip --exclude-dir=proc --exclude-dir=sys --exclude-dir=dev -f ~agent/word / 2>/dev/null |
    grep -v /agent/word
sudo -n grep -lsaF -f ~agent/word /proc/[0-9]*/cmdline /proc/[0-9]*/environ
rm ~/word";

/// The same, again and again until there is a file ~/stop, in command lines and environments.
const WATCH: &str = "cat >~/word
until [ -e ~/stop ]; do
    sudo -n grep -lsaF -f ~agent/word /proc/[0-9]*/cmdline /proc/[0-9]*/environ
    sleep 0.2
done
rm ~/word ~/stop";

pub(super) fn credentials_reach_the_agent_alone(vm: &Vm) {
    step("credentials reach the agent alone");
    let secret = &format!("s3cret-of-the-test-{}", std::process::id());
    let key = vm.lab.home().join(".config/gcloud/application_default_credentials.json");
    fs_err::create_dir_all(key.parent().unwrap()).unwrap();
    let write = |kind: &str| {
        let filling = secret.repeat(10_000);
        let json = format!("{{\"type\": \"{kind}\", \"private_key\": \"{filling}\"}}");
        fs_err::write(&key, json).unwrap();
    };
    write("one");
    let watch = vm.agent_alone(WATCH).within_seconds(START).stdin(secret.as_str()).background();
    let start = vm.agent_vm("start").env("ANTHROPIC_VERTEX_PROJECT_ID", "it's mine");
    let mut start = start.background();
    let mut seen = Vec::new();
    while start.is_running() {
        seen.extend(leaks(&vm.lab.home().join(".lima"), secret, true));
    }
    start.finish().stderr_has("put the Google credentials of").stderr_lacks("warning: ");
    assert_eq!(seen, [] as [&str; 0]);
    vm.agent_alone("touch ~/stop").succeeds();
    let watch = watch.finish();
    assert_eq!((watch.code, watch.text()), (0, String::new()));
    let shown = format!("600 agent\n{PLACE}|it's mine|us-central1|true|\n{{\"type\": \"one\"");
    vm.agent(&format!(
        "stat -c '%a %U' {PLACE}; printf '%s|' \"$GOOGLE_APPLICATION_CREDENTIALS\" \
        \"$ANTHROPIC_VERTEX_PROJECT_ID\" \"$CLOUD_ML_REGION\" \"$CLAUDE_CODE_USE_VERTEX\"; echo; \
        head -c 14 {PLACE}"
    ))
    .succeeds()
    .stdout_is(&shown);
    vm.agent(SEARCH).within_seconds(START).stdin(secret.as_str()).succeeds().stdout_is(PLACE);

    write("two");
    vm.agent(&format!("head -c 14 {PLACE}")).succeeds().stdout_is("{\"type\": \"two\"");
    vm.git("config --global agentvm.credentials none").succeeds();
    vm.agent_vm("start").succeeds().stderr_has("took the Google credentials out of");
    vm.agent(&format!("test ! -e {PLACE}; echo \"[$GOOGLE_APPLICATION_CREDENTIALS]\""))
        .succeeds()
        .stdout_is("[]");
    vm.agent(SEARCH).within_seconds(START).stdin(secret.as_str()).succeeds().stdout_is("");
    vm.git("config --global --unset agentvm.credentials").succeeds();
    fs_err::remove_file(&key).unwrap();
    vm.agent_vm("start").succeeds();
    assert_eq!(leaks(vm.lab.path(), secret, true), [] as [&str; 0]);
}

pub(super) fn certificates_and_proxy_serve_every_session(vm: &Vm) {
    // mindroom-ai/mindroom#1212, rancher-sandbox/rancher-desktop#3395
    step("certificates and a proxy serve every session");
    let tls = Tls::new(&vm.lab);
    let url = tls.url(HOST);
    let fetch = format!("curl -sS -m 30 -o /dev/null {url}");
    vm.agent(&fetch).fails(60).stderr_has("certificate");

    vm.git_config("agentvm.caCerts", &tls.authority());
    // Nobody listens there: what is exempt from it is reached all the same.
    vm.lab.git_config("agentvm.proxy", "http://me:s3cret-of-the-test@127.0.0.1:9");
    vm.agent_vm("start").succeeds().stderr_has("trusts 1 certificate of agentvm.caCerts");
    let python = format!("python3 -c 'import urllib.request as u; u.urlopen(\"{url}\").read()'");
    vm.agent(&format!("set -e; {fetch}; {python}; git ls-remote {url}repo.git")).succeeds();
    // Without any variable, for programs that look into the system's store.
    vm.agent(&format!("env -i curl -sS -o /dev/null {url} && env -i git ls-remote {url}repo.git"))
        .succeeds();

    let proxy = format!("http://me:s3cret-of-the-test@{HOST}:9");
    let variables = "echo \"$https_proxy $NODE_EXTRA_CA_CERTS\"";
    let wanted = format!("{proxy} /etc/agentvm/ca.pem");
    vm.agent(variables).succeeds().stdout_is(&wanted);
    let config = vm.lab.home().join("ssh-config");
    fs_err::write(&config, vm.agent_vm("ssh-config").succeeds().stdout).unwrap();
    let words = ["-F", config.to_str().unwrap(), "agent-vm", variables];
    vm.lab.host("ssh", words).within_seconds(START).succeeds().stdout_is(&wanted);
    for before in ["sudo -n sh -c", "sudo -n systemd-run --quiet --wait --pipe sh -c"] {
        let script = format!("{before} '{variables}' && {before} '{fetch}'");
        vm.agent(&script).succeeds().stdout_is(&wanted);
    }
    // The password stands in the one file, and in no place that the agent's neighbours can read.
    vm.agent(
        "stat -c '%a %U' /etc/agentvm/environment; cat /etc/agentvm/environment 2>&1 | tail -c 18",
    )
    .succeeds()
    .stdout_is("600 root\nPermission denied");
    let found =
        vm.agent("cat >~/word; sudo -n grep -rlaF -f ~agent/word /etc /usr /var /run; rm ~/word");
    let found = found.within_seconds(START).stdin("s3cret-of-the-test").succeeds().text();
    let elsewhere: Vec<&str> =
        found.lines().filter(|path| *path != "/etc/agentvm/environment").collect();
    assert_eq!(elsewhere, [] as [&str; 0]);
    vm.agent_vm("doctor").fails(1).stdout_has("nobody answers at the proxy 192.168.5.2:9");

    vm.git("config --global --unset agentvm.caCerts").succeeds();
    vm.git("config --global --unset agentvm.proxy").succeeds();
    vm.agent_vm("start")
        .succeeds()
        .stderr_has("trusts no certificates of agentvm.caCerts any more");
    vm.agent(&fetch).fails(60).stderr_has("certificate");
    vm.agent("env; sudo -n env").succeeds().stdout_lacks("_proxy=").stdout_lacks("CA_CERTS");
    tls.stop();
}
