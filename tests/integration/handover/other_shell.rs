//! A VM that starts by itself, for a program that lacks the variables of the terminal that ran `start`.

use git_agent_vm::handover::{self, Unset};

use super::{ALL, KEY, PROFILE, Site, VARIABLES, config};

const PROXY: (&str, &str) = ("agentvm.proxy", "true");
const SHELL: [(&str, &str); 3] = [
    ("GOOGLE_APPLICATION_CREDENTIALS", "~/key.json"),
    ("ANTHROPIC_VERTEX_PROJECT_ID", "mine"),
    ("HTTPS_PROXY", "http://proxy.example:3128"),
];

/// What `start` did in the user's shell.
fn started(settings: &[(&str, &str)]) -> Site {
    let site = Site::new();
    site.pam_reads_variables(true);
    site.host_file("key.json", "{\"type\": \"one\"}");
    site.load(settings, &SHELL).unwrap().apply(&site.guest(), site.root()).unwrap();
    assert!(site.read(PROFILE).contains("mine") && site.read(VARIABLES).contains("proxy.example"));
    site
}

/// What a start does that comes by itself where these variables are set.
fn by_itself(site: &Site, settings: &[(&str, &str)], here: &[(&str, &str)]) {
    let handover = site.load_for(Unset::Stays, settings, here).unwrap();
    handover.apply(&site.guest(), site.root()).unwrap();
}

#[test]
fn what_only_the_users_shell_knows_stays_in_a_vm_that_starts_by_itself() {
    let site = started(&[PROXY]);
    let (profile, variables) = (site.read(PROFILE), site.read(VARIABLES));
    by_itself(&site, &[PROXY], &[]);
    assert_eq!(site.read(KEY), "{\"type\": \"one\"}");
    assert_eq!((site.read(PROFILE), site.read(VARIABLES)), (profile.clone(), variables));

    // What is known of the file is used, here and by the next `connect`.
    site.host_file("key.json", "{\"type\": \"two\"}");
    by_itself(&site, &[PROXY], &[]);
    assert_eq!(site.read(KEY), "{\"type\": \"two\"}");
    site.host_file("key.json", "{\"type\": \"three\"}");
    handover::refresh(&config(&[]), &site.guest(), site.root());
    assert_eq!(site.read(KEY), "{\"type\": \"three\"}");
    // gcloud's own file is not what the user named.
    site.host_file("gcloud/application_default_credentials.json", "{\"type\": \"gcloud\"}");
    by_itself(&site, &[PROXY], &[]);
    assert_eq!(site.read(KEY), "{\"type\": \"three\"}");
    assert_eq!(site.read(PROFILE), profile);
    // Nor is a damaged one a reason to have none.
    site.host_file("key.json", "damaged");
    by_itself(&site, &[PROXY], &[]);
    fs_err::remove_file(site.lab.home().join("key.json")).unwrap();
    by_itself(&site, &[PROXY], &[]);
    assert_eq!(site.read(KEY), "{\"type\": \"three\"}");
    site.host_file("key.json", "{\"type\": \"four\"}");
    handover::refresh(&config(&[]), &site.guest(), site.root());
    assert_eq!(site.read(KEY), "{\"type\": \"four\"}");
}

#[test]
fn what_is_set_where_a_vm_starts_by_itself_is_used() {
    let site = started(&[PROXY]);
    site.host_file("other.json", "{\"type\": \"other\"}");
    let here = [
        ("GOOGLE_APPLICATION_CREDENTIALS", "~/other.json"),
        ("ANTHROPIC_VERTEX_PROJECT_ID", "theirs"),
        ("http_proxy", "http://other.example:1"),
    ];
    let registry = ("agentvm.npmregistry", "https://mirror.example/npm/");
    by_itself(&site, &[PROXY, registry], &[]);
    let text = site.read(VARIABLES);
    assert!(text.contains("HTTPS_PROXY=http://proxy.example:3128\n"), "{text}");
    assert!(text.contains("npm_config_registry=https://mirror.example/npm/"), "{text}");
    by_itself(&site, &[PROXY], &here);
    assert_eq!(site.read(KEY), "{\"type\": \"other\"}");
    assert!(site.read(PROFILE).contains("theirs"));
    let text = site.read(VARIABLES);
    assert!(text.contains("http_proxy=http://other.example:1\n"), "{text}");
    assert!(!text.contains("proxy.example:3128") && !text.contains("registry"), "{text}");
}

/// The settings are the same everywhere.
#[test]
fn settings_take_away_by_any_start() {
    let site = started(&[PROXY]);
    site.pam_reads_variables(false);
    by_itself(&site, &[("agentvm.credentials", "none")], &[]);
    assert!(!site.exists(KEY) && !site.exists(PROFILE) && !site.exists(VARIABLES));
    assert!(!site.lab.path().join("endpoint/handed-over.json").exists());
}

#[test]
fn what_start_takes_away_is_told_by_name() {
    let site = started(&[PROXY]);
    site.host_file("key.json", "{\"type\": \"one\"}");
    let place = |here: &[(&str, &str)]| {
        let handover = site.load(&[PROXY], here).unwrap();
        handover.place(&site.guest(), site.root(), ALL).unwrap()
    };
    assert_eq!(place(&SHELL).gone, [""; 0]);
    let vertex = ["ANTHROPIC_VERTEX_PROJECT_ID", "CLOUD_ML_REGION", "CLAUDE_CODE_USE_VERTEX"];
    assert_eq!(place(&[SHELL[0], SHELL[2]]).gone, vertex);
    site.pam_reads_variables(false);
    assert_eq!(place(&SHELL[..1]).gone, ["https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"]);
    assert_eq!(place(&[]).gone, ["GOOGLE_APPLICATION_CREDENTIALS"]);
}

/// Nobody sends what another command has sent meanwhile, or has taken away.
#[test]
fn connect_looks_again_when_another_command_is_done() {
    let site = started(&[PROXY]);
    let (guest, root) = (site.guest(), site.root());
    let record = site.lab.path().join("endpoint/handed-over.json");
    let lock = std::fs::File::open(record.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    site.host_file("key.json", "{\"type\": \"two\"}");
    std::thread::scope(|scope| {
        let connects = scope.spawn(|| handover::refresh(&config(&[]), &guest, root));
        std::thread::sleep(std::time::Duration::from_secs(1));
        assert!(!connects.is_finished());
        fs_err::write(&record, "{\"google\": null}").unwrap();
        drop(lock);
    });
    assert_eq!(site.read(KEY), "{\"type\": \"one\"}");
    assert_eq!(fs_err::read_to_string(&record).unwrap(), "{\"google\": null}");
}
