//! What the host hands over to the VM besides `common/`: credentials, and what the VM has to know of
//! the network. It all goes over ssh's standard input, and is there as long as the settings say so.
//!
//! The guest's part, `guest/handover.sh`, knows where each thing belongs; this one what it is.

use std::ffi::OsString;
use std::time::Duration;

use crate::config::Config;
use crate::credentials::{Google, Search};
use crate::error::Error;
use crate::guest::{Call, Guest};
use crate::hash;
use crate::network::faults::{self, Knowledge};
use crate::network::proxy::{self, Variable};
use crate::network::trust::Certificates;
use crate::secret::Secret;
use crate::ui::{self, Progress};

mod record;
mod refresh;

use record::{Record, Sent, Written};
pub use refresh::refresh;

/// The guest program.
const PROGRAM: &str = include_str!("../guest/handover.sh");
/// Where the guest's own root directory is.
pub const ROOT: &str = "/";

/// All certificates that the VM trusts, its system's and ours.
const STORE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Ours alone.
const OWN: &str = "/etc/agentvm/ca.pem";
/// What makes programs trust the certificates that do not look into the system's store by
/// themselves. git, curl, wget, Go, apt and Debian's Java do.
const TRUSTING: &[(&str, &str)] = &[
    ("NODE_EXTRA_CA_CERTS", OWN),
    ("SSL_CERT_FILE", STORE),
    ("REQUESTS_CA_BUNDLE", STORE),
    ("PIP_CERT", STORE),
    ("CURL_CA_BUNDLE", STORE),
    ("CARGO_HTTP_CAINFO", STORE),
];

/// Which part of it is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// The credentials and the variables that belong to them.
    Credentials,
    /// The credentials' file alone.
    Key,
    /// Certificates, proxy, mirrors.
    Network,
}

impl Group {
    fn word(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Key => "key",
            Self::Network => "network",
        }
    }

    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Credentials => &["credentials", "profile"],
            Self::Key => &["credentials"],
            Self::Network => &["certificates", "environment", "mirror"],
        }
    }
}

/// What the VM is to have, read and checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Handover {
    google: Option<Google>,
    profile: Secret,
    certificates: Certificates,
    variables: Vec<Variable>,
    mirror: Secret,
    known: Knowledge,
    /// For each program that the guest runs for it.
    limit: Duration,
}

/// What came of it: names of the guest program.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placed {
    /// What was not there before, or is gone now.
    pub changed: Vec<String>,
}

impl Handover {
    /// Reads what the settings name, and the variables that are set here. What is wrong is said with
    /// its file or variable.
    pub fn load(config: &Config) -> anyhow::Result<Self> {
        Self::load_with(config, |name| std::env::var_os(name))
    }

    /// The same with other variables.
    pub fn load_with(
        config: &Config,
        value_of: impl Fn(&str) -> Option<OsString>,
    ) -> anyhow::Result<Self> {
        let google = if config.credentials { Search::new(&value_of)?.found() } else { None };
        let profile = google.as_ref().map(|_| Google::profile(&value_of)).unwrap_or_default();
        let network = &config.network;
        let certificates = Certificates::load(&network.ca_certs)?;
        let mut variables = proxy::variables(&network.proxy, &value_of)?;
        let known = proxy::knowledge(&network.proxy, &value_of);
        let mut set = |name: &str, value: Secret| {
            variables.push(Variable { name: name.to_owned(), value });
        };
        if !certificates.is_empty() {
            for (name, path) in TRUSTING {
                set(name, Secret::new(path.as_bytes().to_vec()));
            }
        }
        if let Some(registry) = &network.npm_registry {
            set("npm_config_registry", registry.text());
        }
        if let Some(index) = &network.pypi_index {
            set("PIP_INDEX_URL", index.text());
            set("UV_DEFAULT_INDEX", index.text());
        }
        let mirror = network.apt_mirror.as_ref().map(|address| address.mirror_base().into_bytes());
        let mirror = mirror.map(Secret::new).unwrap_or_default();
        Ok(Self {
            google,
            profile,
            certificates,
            variables,
            mirror,
            known,
            limit: config.stage_limit,
        })
    }

    /// The values of its variables, some of which may hold a password.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Secret> {
        self.variables.iter().map(|variable| &variable.value)
    }

    fn is_empty(&self) -> bool {
        self.items(&[Group::Credentials, Group::Network]).is_empty()
    }

    /// The setting that mends a failure, where the text of the failure tells that one does.
    #[must_use]
    pub fn advice(&self, said: &str) -> Option<String> {
        faults::recognise(said, &self.known).map(|fault| fault.fix().to_owned())
    }

    /// Makes the VM such: what changed since is put there, what is wanted no more is taken away.
    /// Does nothing where nothing is wanted and nothing was. `root` is [`ROOT`].
    pub fn apply(&self, guest: &Guest, root: &str) -> anyhow::Result<()> {
        let record = Record::at(&guest.endpoint().dir);
        if self.is_empty() && !record.exists() {
            return Ok(());
        }
        let _lock = record.lock(guest)?;
        // Until it is done, nobody knows what is there.
        record.write(&Written::default())?;
        let all = Written { google: self.google.as_ref().map(Sent::of) };
        let placed =
            self.place_and(guest, root, &[Group::Credentials, Group::Network], |name| {
                // They are there, whatever becomes of the rest.
                if name == "credentials" { record.write(&all) } else { Ok(()) }
            })?;
        if self.is_empty() {
            record.remove()?;
        }
        self.say(guest, &placed);
        Ok(())
    }

    /// Puts the groups below `root` in the guest, and takes away what this one does not have.
    pub fn place(&self, guest: &Guest, root: &str, groups: &[Group]) -> anyhow::Result<Placed> {
        self.place_and(guest, root, groups, |_| Ok(()))
    }

    /// The same, and calls `done` with what is there as soon as it is.
    fn place_and(
        &self,
        guest: &Guest,
        root: &str,
        groups: &[Group],
        mut done: impl FnMut(&str) -> anyhow::Result<()>,
    ) -> anyhow::Result<Placed> {
        let limit = self.limit.as_secs().max(1).to_string();
        let mut call = Call::of(PROGRAM, "place").arg(root).arg(limit);
        for group in groups {
            call = call.arg(group.word());
        }
        let mut session = guest.open(&call).map_err(|error| guest.explain(error))?;
        let describe = guest.describe();
        let text = format!("setting up the {describe}: credentials and network");
        let progress = Progress::start(&text);
        let mut placed = Placed::default();
        let items = self.items(groups);
        let mut missing: Vec<_> = items.iter().map(|(name, _)| *name).collect();
        while let Some(field) = session.field()? {
            let value = field.value.to_string();
            match field.key.as_str() {
                "send" => session.send_by(|pipe| {
                    for (name, content) in &items {
                        pipe.write_all(&header(name, content))?;
                        pipe.write_all(content.expose())?;
                    }
                    pipe.write_all(b"end 0 -\n").map_err(Into::into)
                })?,
                "done" => {
                    done(&value)?;
                    missing.retain(|name| *name != value);
                }
                "stage" => progress.update(&format!("{text}: {value}")),
                "changed" => placed.changed.push(value),
                "kept" => progress.suspend(|| {
                    ui::warning(&format!(
                        "{value} was changed in the {describe}, and goes on naming the mirror"
                    ));
                }),
                _ => {}
            }
        }
        if placed.changed.iter().any(|name| name == "environment") {
            // PAM gave the open connection its variables when it was made.
            guest.endpoint().forget_master();
        }
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(Error::failed(format!(
                "the {describe} did not take what it was sent: {missing}"
            ))
            .into());
        }
        Ok(placed)
    }

    fn items(&self, groups: &[Group]) -> Vec<(&'static str, Secret)> {
        let certificates: String = self.certificates.iter().map(named_certificate).collect();
        let all = [
            (
                "credentials",
                self.google.as_ref().map(|google| google.json.clone()).unwrap_or_default(),
            ),
            ("profile", self.profile.clone()),
            ("certificates", Secret::new(certificates.into_bytes())),
            ("environment", self.environment()),
            ("mirror", self.mirror.clone()),
        ];
        let wanted = |name: &str| groups.iter().any(|group| group.names().contains(&name));
        all.into_iter()
            .filter(|(name, content)| wanted(name) && !content.expose().is_empty())
            .collect()
    }

    /// Lines that PAM and systemd read: no value has a character that either takes for another one.
    fn environment(&self) -> Secret {
        let mut text = Vec::new();
        for Variable { name, value } in &self.variables {
            text.extend_from_slice(name.as_bytes());
            text.push(b'=');
            text.extend_from_slice(value.expose());
            text.push(b'\n');
        }
        Secret::new(text)
    }

    fn say(&self, guest: &Guest, placed: &Placed) {
        let describe = guest.describe();
        for name in &placed.changed {
            match (name.as_str(), &self.google) {
                ("credentials", Some(google)) => {
                    let source = google.source.display();
                    ui::note(&format!(
                        "put the Google credentials of {source} into the {describe}"
                    ));
                    ui::hint("git config --global agentvm.credentials none keeps them out of it");
                }
                ("credentials", None) => {
                    ui::note(&format!("took the Google credentials out of the {describe}"));
                }
                ("certificates", _) if self.certificates.is_empty() => ui::note(&format!(
                    "the {describe} trusts no certificates of agentvm.caCerts any more"
                )),
                ("certificates", _) => {
                    let count = ui::count(self.certificates.iter().count() as u64, "certificate");
                    ui::note(&format!("the {describe} trusts {count} of agentvm.caCerts"));
                }
                _ => {}
            }
        }
    }
}

fn header(name: &str, content: &Secret) -> Vec<u8> {
    let bytes = content.expose();
    format!("{name} {} {}\n", bytes.len(), hash::short(bytes, 32)).into_bytes()
}

/// With the line that names its file in the system's store.
fn named_certificate(pem: &str) -> String {
    format!("# agentvm-{}.crt\n{pem}", hash::short(pem, 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(settings: &[(&str, &str)], here: &[(&str, &str)]) -> Handover {
        let mut settings = settings.to_vec();
        settings.push(("agentvm.credentials", "none"));
        let value_of = |name: &str| {
            here.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        };
        Handover::load_with(&Config::of(&settings), value_of).unwrap()
    }

    fn environment(handover: &Handover) -> String {
        String::from_utf8(handover.environment().expose().to_vec()).unwrap()
    }

    #[test]
    fn nothing_is_handed_over_unless_something_says_so() {
        let here = [("http_proxy", "http://127.0.0.1:9"), ("SSL_CERT_FILE", "/x")];
        assert!(load(&[], &here).is_empty());
    }

    #[test]
    fn variables_are_lines_of_names_and_plain_values() {
        let settings = [
            ("agentvm.proxy", "true"),
            ("agentvm.npmregistry", "https://mirror.example/npm/"),
            ("agentvm.pypiindex", "https://u:p@mirror.example/simple"),
        ];
        let text = environment(&load(&settings, &[("HTTPS_PROXY", "http://localhost:3128")]));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "https_proxy=http://192.168.5.2:3128");
        let wanted = [
            "npm_config_registry=https://mirror.example/npm/",
            "PIP_INDEX_URL=https://u:p@mirror.example/simple",
            "UV_DEFAULT_INDEX=https://u:p@mirror.example/simple",
        ];
        assert_eq!(lines[lines.len() - 3..], wanted);
    }

    #[test]
    fn a_failure_that_a_setting_mends_names_it() {
        let here = [("https_proxy", "http://proxy:3128")];
        let handover = load(&[], &here);
        let said = "cannot set up the VM: Certificate verification failed: not trusted";
        assert!(handover.advice(said).unwrap().contains("agentvm.caCerts"));
        let said = "Temporary failure resolving 'mirror.example'";
        assert!(handover.advice(said).unwrap().contains("agentvm.proxy true"));
        assert_eq!(load(&[], &[]).advice(said), None);
    }

    #[test]
    fn a_mirror_is_known_by_its_base() {
        for given in ["https://mirror.example/x", "https://mirror.example/x/debian/"] {
            let handover = load(&[("agentvm.aptmirror", given)], &[]);
            assert_eq!(handover.mirror.expose(), b"https://mirror.example/x");
        }
    }
}
