//! Credentials and the network's settings on their way into the guest, over a real ssh.
//!
//! `start` does this for a VM of Lima only; here the library does it to the lab's guest, below a
//! directory of the guest's, with a sudo that stays the guest's user.

use std::path::PathBuf;

use git_agent_vm::guest::Guest;
use git_agent_vm::handover::{Group, Handover, Placed, Unset};

use crate::support::{Lab, Ran, config};

mod credentials;
pub(crate) mod leaks;
mod network;
mod other_shell;
pub(crate) mod tls;
mod trouble;

const ALL: &[Group] = &[Group::Credentials, Group::Network];
const KEY: &str = "etc/google/application_default_credentials.json";
const PROFILE: &str = "etc/profile.d/ai-agent-env.sh";
const VARIABLES: &str = "etc/agentvm/environment";

/// A guest with a place that stands for its root directory.
struct Site {
    lab: Lab,
    /// Without blanks, which update-ca-certificates cannot do with.
    root: PathBuf,
}

impl Site {
    fn new() -> Self {
        let lab = Lab::new();
        lab.guest_fake("sudo", "[ \"$1\" != -n ] || shift; exec \"$@\"");
        let root = lab.path().join("guest/root");
        let script = "mkdir root && ln -s \"$PWD/root\" \"$1\" && cd root && mkdir -p etc/apt \
            etc/ssl/certs etc/pam.d usr/local/share";
        lab.guest_command("sh", ["-c", script, "sh", root.to_str().unwrap()]).succeeds();
        Self { lab, root }
    }

    /// Whether PAM is set up already as it shall be. Only root could set it up.
    fn pam_reads_variables(&self, yes: bool) {
        let line = "session optional pam_env.so envfile=/etc/agentvm/environment\n";
        self.write_in_guest("etc/pam.d/common-session", if yes { line } else { "" });
    }

    fn guest(&self) -> Guest {
        self.lab.library_guest()
    }

    fn root(&self) -> &str {
        self.root.to_str().unwrap()
    }

    /// What these settings and variables mean to `start`. `~` is the host's home in both.
    fn load(&self, settings: &[(&str, &str)], here: &[(&str, &str)]) -> anyhow::Result<Handover> {
        self.load_for(Unset::Goes, settings, here)
    }

    fn load_for(
        &self,
        unset: Unset,
        settings: &[(&str, &str)],
        here: &[(&str, &str)],
    ) -> anyhow::Result<Handover> {
        let home = self.lab.home().to_str().unwrap();
        let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).into(), value.replace('~', home))).collect()
        };
        let (settings, mut here) = (own(settings), own(here));
        here.push(("CLOUDSDK_CONFIG".into(), format!("{home}/gcloud")));
        let settings: Vec<_> = settings.iter().map(|(key, value)| (&**key, &**value)).collect();
        let config = config(&settings);
        let value_of = |name: &str| {
            here.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone().into())
        };
        Handover::load_with(&config, unset, value_of)
    }

    fn place(&self, handover: &Handover) -> anyhow::Result<Placed> {
        handover.place(&self.guest(), self.root(), ALL)
    }

    /// Places what these mean, and gives what that changed.
    fn changes(&self, settings: &[(&str, &str)], here: &[(&str, &str)]) -> Vec<String> {
        self.place(&self.load(settings, here).unwrap()).unwrap().changed
    }

    fn host_file(&self, path: &str, text: &str) {
        let path = self.lab.home().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        let path = self.root.join(path);
        self.lab.guest_command("cat", [path.to_str().unwrap()]).succeeds().text()
    }

    fn exists(&self, path: &str) -> bool {
        let path = self.root.join(path);
        self.lab.guest_command("test", ["-e", path.to_str().unwrap()]).run().code == 0
    }

    fn stat(&self, path: &str) -> String {
        let path = self.root.join(path);
        self.lab.guest_command("stat", ["-c", "%a %U", path.to_str().unwrap()]).succeeds().text()
    }

    fn guest_user(&self) -> String {
        self.lab.guest_command("id", ["-un"]).succeeds().text()
    }

    fn write_in_guest(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        self.lab
            .guest_command(
                "sh",
                ["-c", "mkdir -p \"${1%/*}\" && cat >\"$1\"", "sh", path.to_str().unwrap()],
            )
            .stdin(text)
            .succeeds();
    }

    /// A program in the guest, with the variables that were put there and no others.
    fn with_variables(&self, words: &[&str]) -> Ran {
        let root = self.root.to_str().unwrap();
        let mut all: Vec<std::ffi::OsString> = vec!["-i".into(), "PATH=/usr/bin:/bin".into()];
        let text = if self.exists(VARIABLES) { self.read(VARIABLES) } else { String::new() };
        all.extend(text.lines().map(|line| line.replace("=/", &format!("={root}/")).into()));
        all.extend(words.iter().map(std::ffi::OsString::from));
        self.lab.guest_command("env", all).run()
    }
}
