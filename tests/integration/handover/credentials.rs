//! Google's credentials: where they are, who can see them, what is no such file.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use git_agent_vm::handover;

use super::leaks::leaks;
use super::{KEY, PROFILE, Site, VARIABLES, config};

#[test]
fn credentials_arrive_for_the_agent_alone_and_go_again() {
    let site = Site::new();
    let json = "{\"type\": \"authorized_user\",\n \"refresh_token\": \"1//one\"}\n";
    site.host_file("gcloud/application_default_credentials.json", json);
    let project = [("ANTHROPIC_VERTEX_PROJECT_ID", "it's $HOME")];
    assert_eq!(site.changes(&[], &project), ["credentials", "profile"]);
    assert_eq!(site.read(KEY) + "\n", json);
    assert_eq!(site.stat(KEY), format!("600 {}", site.guest_user()));
    assert!(site.stat(PROFILE).starts_with("644 "));
    let profile = site.root.join(PROFILE);
    let script = ". \"$1\" && printf '%s|' \"$GOOGLE_APPLICATION_CREDENTIALS\" \
        \"$ANTHROPIC_VERTEX_PROJECT_ID\" \"$CLOUD_ML_REGION\" \"$CLAUDE_CODE_USE_VERTEX\"";
    let shown = "/etc/google/application_default_credentials.json|it's $HOME|us-central1|true|";
    for shell in ["sh", "bash"] {
        let words = ["-c", script, "sh", profile.to_str().unwrap()];
        site.lab.guest_command(shell, words).succeeds().stdout_is(shown);
    }

    assert_eq!(site.changes(&[], &project), [] as [&str; 0]);
    // A mode that somebody opened is closed again.
    site.lab.guest_command("chmod", ["644", site.root.join(KEY).to_str().unwrap()]).succeeds();
    assert_eq!(site.changes(&[], &project), ["credentials"]);
    assert!(site.stat(KEY).starts_with("600 "));

    site.host_file("key.json", "{\"type\": \"service_account\"}");
    let named = [("GOOGLE_APPLICATION_CREDENTIALS", "~/key.json")];
    assert_eq!(site.changes(&[], &named), ["credentials", "profile"]);
    assert_eq!(site.read(KEY), "{\"type\": \"service_account\"}");
    assert!(!site.read(PROFILE).contains("VERTEX"));

    assert_eq!(
        site.changes(&[("agentvm.credentials", "none")], &named),
        ["credentials", "profile"]
    );
    assert!(!site.exists(KEY) && !site.exists(PROFILE));
    assert_eq!(site.changes(&[], &named), ["credentials", "profile"]);
    fs_err::remove_file(site.lab.home().join("key.json")).unwrap();
    assert_eq!(site.changes(&[], &named), ["credentials", "profile"]);
    assert!(!site.exists(KEY) && !site.exists(PROFILE));
    assert_eq!(site.changes(&[], &named), [] as [&str; 0]);
}

#[test]
fn connect_brings_a_changed_key_and_leaves_the_rest_to_start() {
    let site = Site::new();
    let path = "gcloud/application_default_credentials.json";
    let key = site.root.join(KEY);
    let guest = site.guest();
    let refresh = |settings: &[(&str, &str)]| {
        handover::refresh(&config(settings), &guest, site.root());
    };
    // Where nothing is wanted and nothing was, nobody is asked.
    site.lab.stop_sshd();
    site.load(&[], &[]).unwrap().apply(&guest, site.root()).unwrap();
    refresh(&[]);
    site.lab.start_sshd();

    site.host_file(path, "{\"type\": \"one\"}");
    site.load(&[], &[]).unwrap().apply(&guest, site.root()).unwrap();
    assert_eq!(site.read(KEY), "{\"type\": \"one\"}");
    site.lab.guest_command("chmod", ["400", key.to_str().unwrap()]).succeeds();
    refresh(&[]);
    assert!(site.stat(KEY).starts_with("400 "), "it was sent again");
    site.host_file(path, "{\"type\": \"two\"}");
    refresh(&[]);
    assert_eq!(site.read(KEY), "{\"type\": \"two\"}");
    assert!(site.stat(KEY).starts_with("600 ") && site.exists(PROFILE));
    site.host_file(path, "damaged");
    refresh(&[]);
    assert_eq!(site.read(KEY), "{\"type\": \"two\"}");
    fs_err::remove_file(site.lab.home().join(path)).unwrap();
    refresh(&[]);
    assert!(site.exists(KEY));
    refresh(&[("agentvm.credentials", "none")]);
    assert!(!site.exists(KEY) && !site.exists(PROFILE));

    site.host_file(path, "{\"type\": \"three\"}");
    refresh(&[]);
    assert!(!site.exists(KEY));
    site.load(&[], &[]).unwrap().apply(&guest, site.root()).unwrap();
    assert!(site.exists(KEY));
    fs_err::remove_file(site.lab.home().join(path)).unwrap();
    site.load(&[], &[]).unwrap().apply(&guest, site.root()).unwrap();
    assert!(!site.exists(KEY) && !site.exists(PROFILE));
    let record = site.lab.path().join("endpoint/handed-over.json");
    assert!(!record.exists());
}

#[test]
fn secret_is_seen_nowhere_but_in_its_place() {
    // No other run on this machine has the same.
    let secret = &format!("s3cret-of-the-test-{}", std::process::id());
    let site = Site::new();
    let root = fs_err::canonicalize(&site.root).unwrap();
    // The search finds what there is to find.
    let shown = site.lab.host("sh", ["-c", "sleep 60; :", secret]).background();
    site.lab.wait_until("the search finds the word", |_| !leaks(&root, secret, false).is_empty());
    shown.signal(rustix::process::Signal::KILL);
    shown.finish();
    site.lab.wait_until("it is gone", |_| leaks(&root, secret, false).is_empty());

    site.pam_reads_variables(true);
    let done = AtomicBool::new(false);
    let registry = format!("https://u:{secret}@mirror.example/npm/");
    let settings = [("agentvm.proxy", "true"), ("agentvm.npmregistry", registry.as_str())];
    let proxy = format!("http://u:{secret}@127.0.0.1:9");
    let here = [("https_proxy", proxy.as_str())];
    let mut seen = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = Vec::new();
            while !done.load(Ordering::Relaxed) {
                seen.extend(leaks(&root, secret, false));
            }
            seen
        });
        for round in 0..8 {
            let filling = format!("{round}{secret}").repeat(20_000);
            let json = format!("{{\"type\": \"x\", \"private_key\": \"{filling}\"}}");
            site.host_file("gcloud/application_default_credentials.json", &json);
            assert!(site.changes(&settings, &here).contains(&"credentials".to_owned()));
        }
        done.store(true, Ordering::Relaxed);
        watcher.join().unwrap()
    });
    seen.dedup();
    assert_eq!(seen, [] as [&str; 0]);
    assert!(site.stat(VARIABLES).starts_with("600 "));
    fs_err::remove_dir_all(site.lab.home().join("gcloud")).unwrap();
    let places = leaks(site.lab.path(), secret, true);
    let ours = |path: &String| path.contains(KEY) || path.contains(VARIABLES);
    // Where the guest is another user, an ordinary one of ours cannot read them.
    assert!(places.iter().all(|path| ours(path) && path.ends_with("100600")), "{places:#?}");
    site.pam_reads_variables(false);
    assert_eq!(site.changes(&[], &[]), ["credentials", "profile", "environment"]);
    assert_eq!(leaks(site.lab.path(), secret, true), [] as [&str; 0]);
}

#[test]
fn bad_credentials_are_wrong_usage_before_anything_starts() {
    let site = Site::new();
    site.lab.git_config("agentvm.provider", "lima");
    let path = site.lab.home().join("named.json");
    let start = || {
        site.lab
            .agent_vm("start")
            .env("GOOGLE_APPLICATION_CREDENTIALS", &path)
            .fails(2)
            .stderr_has("error: GOOGLE_APPLICATION_CREDENTIALS: ")
            .stderr_has("hint: git config --global agentvm.credentials none")
            .stderr_lacks("hunter2")
    };
    for (text, why) in [
        ("hunter2", "named.json: it is no JSON (line 1, column 1)"),
        ("{\"private_key\": \"hunter2\"}", "named.json: it has no 'type'"),
        (&"hunter2 ".repeat(200_000), "over 1024 KiB"),
    ] {
        fs_err::write(&path, text).unwrap();
        start().stderr_has(why);
    }
    fs_err::remove_file(&path).unwrap();
    fs_err::create_dir(&path).unwrap();
    start().stderr_has("named.json: it is a directory");
    // A pipe would be waited for.
    fs_err::remove_dir(&path).unwrap();
    site.lab.host("mkfifo", [path.to_str().unwrap()]).succeeds();
    start().stderr_has("named.json: it is no ordinary file");
}

#[test]
fn what_cannot_be_written_is_said_and_put_right_by_the_next_run() {
    let site = Site::new();
    site.host_file("gcloud/application_default_credentials.json", "{\"type\": \"x\"}");
    site.lab.guest_sh("echo in the way >root/etc/google").succeeds();
    let handover = site.load(&[], &[]).unwrap();
    let error = format!("{:#}", site.place(&handover).unwrap_err());
    assert_eq!(
        error,
        "cannot make the directory of /etc/google/application_default_credentials.json in the VM"
    );
    site.lab.guest_sh("ls root/etc/agentvm").succeeds().stdout_is("lock");
    site.lab.guest_sh("rm root/etc/google").succeeds();
    assert_eq!(site.changes(&[], &[]), ["credentials", "profile"]);
    // A kill leaves what came so far, closed; the next run takes it away.
    site.lab
        .guest_sh("umask 077; mkdir root/etc/agentvm/incoming; echo x >root/etc/agentvm/incoming/credentials")
        .succeeds();
    assert_eq!(site.changes(&[], &[]), [] as [&str; 0]);
    assert!(!site.exists("etc/agentvm/incoming"));
}

#[test]
fn a_damaged_stream_changes_nothing() {
    // Whoever talks to the guest program is cut off in the middle.
    let site = Site::new();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guest/handover.sh");
    let script = "program=$(base64 -w0 <\"$1\"); printf 'go\\ncredentials 5 %064d\\nhello' 0 |
        AGENTVM_LOGIN=$(id -un) sh -c 'eval \"$(printf %s \"$1\" | base64 -d)\"' agentvm \"$program\" n h 1 place \"p$2\" p60 pcredentials";
    let copy = site.lab.guest_home().join("program");
    site.lab
        .guest_command("sh", ["-c", "cat >program"])
        .stdin(fs_err::read(program).unwrap())
        .succeeds();
    let words = ["-c", script, "sh", copy.to_str().unwrap(), site.root.to_str().unwrap()];
    site.lab.guest_command("sh", words).fails(1).stdout_has("did not arrive whole");
    assert!(!site.exists(KEY) && !site.exists("etc/agentvm/incoming"));
}
