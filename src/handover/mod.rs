//! What the host hands over to the VM besides `common/`: credentials, and what the VM has to know of
//! the network. It all goes over ssh's standard input, and is there as long as the settings say so.
//!
//! The guest's part, `guest/handover.sh`, knows where each thing belongs; this one what it is.

use std::ffi::OsString;
use std::time::Duration;

use crate::config::{Config, Proxy};
use crate::credentials::{self, Google, Search};
use crate::hash;
use crate::network::faults::{self, Knowledge};
use crate::network::proxy::{self, Variable};
use crate::network::trust::Certificates;
use crate::secret::Secret;

mod place;
mod record;
mod refresh;

pub use place::Placed;
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

/// What becomes of that in the VM which variables brought there, where they are not set here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unset {
    /// It goes: `start` and `provision` are for the user to say.
    Goes,
    /// It stays: a VM that starts by itself may do so for an editor, which lacks the variables of the
    /// terminal that ran `start`.
    Stays,
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
    unseen: Unseen,
    /// For each program that the guest runs for it.
    limit: Duration,
}

/// What the variables that are set here do not tell, so that it stays as it is in the VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Unseen {
    /// Which file the credentials are from.
    source: bool,
    /// The project for Google's models.
    project: bool,
    proxy: bool,
}

impl Unseen {
    fn new(
        config: &Config,
        google: Option<&Google>,
        variables: &[Variable],
        value_of: impl Fn(&str) -> Option<OsString>,
    ) -> Self {
        let here = |name| value_of(name).is_some_and(|value| !value.is_empty());
        Self {
            source: config.credentials && (google.is_none() || !here(credentials::VARIABLE)),
            project: config.credentials && !here(credentials::PROJECT),
            proxy: config.network.proxy == Proxy::Environment && variables.is_empty(),
        }
    }
}

/// One thing on its way to the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    name: &'static str,
    /// Empty where there is none.
    content: Secret,
    /// Whether what the VM has of it already stays.
    stays: bool,
}

impl Handover {
    /// Reads what the settings name, and the variables that are set here. What is wrong is said with
    /// its file or variable.
    pub fn load(config: &Config, unset: Unset) -> anyhow::Result<Self> {
        Self::load_with(config, unset, |name| std::env::var_os(name))
    }

    /// The same with other variables.
    pub fn load_with(
        config: &Config,
        unset: Unset,
        value_of: impl Fn(&str) -> Option<OsString>,
    ) -> anyhow::Result<Self> {
        let google = if config.credentials {
            Search::new(&value_of)?.found(match unset {
                Unset::Goes => "the VM gets no credentials",
                Unset::Stays => "what the VM has of them stays",
            })
        } else {
            None
        };
        let profile = Google::profile(&value_of);
        let network = &config.network;
        let certificates = Certificates::load(&network.ca_certs)?;
        let mut variables = proxy::variables(&network.proxy, &value_of)?;
        let unseen = match unset {
            Unset::Goes => Unseen::default(),
            Unset::Stays => Unseen::new(config, google.as_ref(), &variables, &value_of),
        };
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
            unseen,
            limit: config.stage_limit,
        })
    }

    /// The values of its variables, some of which may hold a password.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Secret> {
        self.variables.iter().map(|variable| &variable.value)
    }

    /// The setting that mends a failure, where the text of the failure tells that one does.
    #[must_use]
    pub fn advice(&self, said: &str) -> Option<String> {
        faults::recognise(said, &self.known).map(|fault| fault.fix().to_owned())
    }

    /// What is sent of these groups, or stays. What is neither is taken away.
    fn items(&self, groups: &[Group]) -> Vec<Item> {
        let google = self.google.as_ref();
        let certificates: String = self.certificates.iter().map(named_certificate).collect();
        let no_source = self.unseen.source && google.is_none();
        let item = |name, content, stays| Item { name, content, stays };
        let all = [
            item(
                "credentials",
                google.map(|google| google.json.clone()).unwrap_or_default(),
                no_source,
            ),
            item(
                "profile",
                google.map(|_| self.profile.clone()).unwrap_or_default(),
                no_source || self.unseen.project,
            ),
            item("certificates", Secret::new(certificates.into_bytes()), false),
            item("environment", self.environment(), self.unseen.proxy),
            item("mirror", self.mirror.clone(), false),
        ];
        let wanted = |name: &str| groups.iter().any(|group| group.names().contains(&name));
        all.into_iter()
            .filter(|item| wanted(item.name) && (item.has_content() || item.stays))
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
}

impl Item {
    fn has_content(&self) -> bool {
        !self.content.expose().is_empty()
    }

    /// The line before its content.
    fn header(&self) -> Vec<u8> {
        let bytes = self.content.expose();
        let stays = if self.stays { " stays" } else { "" };
        format!("{} {} {}{stays}\n", self.name, bytes.len(), hash::short(bytes, 32)).into_bytes()
    }
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
        Handover::load_with(&Config::of(&settings), Unset::Goes, value_of).unwrap()
    }

    fn environment(handover: &Handover) -> String {
        String::from_utf8(handover.environment().expose().to_vec()).unwrap()
    }

    #[test]
    fn nothing_is_handed_over_unless_something_says_so() {
        let here = [("http_proxy", "http://127.0.0.1:9"), ("SSL_CERT_FILE", "/x")];
        assert_eq!(load(&[], &here).items(&[Group::Credentials, Group::Network]), []);
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
