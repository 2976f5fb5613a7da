//! The settings by which the VM works in this machine's network: certificates, proxy, mirrors.
//!
//! An address may hold a password, so these values are shown nowhere.

use std::path::PathBuf;

use super::{expand_home, parse_bool};
use crate::network::address::Address;
use crate::sanitize;

/// Keys whose values are not shown in any message.
const HIDDEN: &[&str] = &["proxy", "aptmirror", "npmregistry", "pypiindex"];

/// Which proxy the VM's programs use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Proxy {
    /// None.
    #[default]
    None,
    /// That of the variables (`https_proxy` and so on) that are set where the VM is started.
    Environment,
    /// This one, for everything.
    Address(Address),
}

/// What the VM has to know of the network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Network {
    /// `agentvm.caCerts`: files with certificates that the VM trusts besides those it comes with.
    pub ca_certs: Vec<PathBuf>,
    /// `agentvm.proxy`.
    pub proxy: Proxy,
    /// `agentvm.aptMirror`: where `debian` and `debian-security` are found.
    pub apt_mirror: Option<Address>,
    /// `agentvm.npmRegistry`.
    pub npm_registry: Option<Address>,
    /// `agentvm.pypiIndex`.
    pub pypi_index: Option<Address>,
}

impl Network {
    /// Takes a value; `false` if the key is none of these.
    pub(super) fn apply(&mut self, key: &str, value: &str) -> Result<bool, String> {
        match key {
            // As with git's own lists, an empty value takes back what came before.
            "cacerts" if value.is_empty() => self.ca_certs.clear(),
            "cacerts" => self.ca_certs.push(absolute(value)?),
            "proxy" => self.proxy = proxy(value)?,
            "aptmirror" => self.apt_mirror = apt_mirror(value)?,
            "npmregistry" => self.npm_registry = web(value)?,
            "pypiindex" => self.pypi_index = web(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// The value of a key as a message says it: some may hold a password.
pub(crate) fn shown(key: &str, value: &str) -> String {
    if HIDDEN.contains(&key) { "wrong".into() } else { format!("'{}'", sanitize::text(value)) }
}

fn absolute(value: &str) -> Result<PathBuf, String> {
    Some(expand_home(value))
        .filter(|path| path.is_absolute())
        .ok_or_else(|| "it is a file's absolute path, or begins with ~/".to_owned())
}

fn proxy(value: &str) -> Result<Proxy, String> {
    match parse_bool(value) {
        Ok(true) => Ok(Proxy::Environment),
        Ok(false) => Ok(Proxy::None),
        Err(_) => Address::web_or_socks(value)
            .map(Proxy::Address)
            .map_err(|why| format!("it is 'true', 'false' or the URL of a proxy: {why}")),
    }
}

fn web(value: &str) -> Result<Option<Address>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    Address::web(value).map(Some).map_err(|why| format!("it is an http or https URL: {why}"))
}

/// What apt reads stands in a file for all.
fn apt_mirror(value: &str) -> Result<Option<Address>, String> {
    let address = web(value)?;
    if address.as_ref().is_some_and(Address::has_password) {
        return Err("every user of the VM could read the password in it".into());
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(key: &str, values: &[&str]) -> Result<Network, String> {
        let mut network = Network::default();
        for value in values {
            assert!(network.apply(key, value)?, "{key}");
        }
        Ok(network)
    }

    #[test]
    fn certificates_are_a_list_that_an_empty_value_clears() {
        assert_eq!(set("cacerts", &["/a", "/b"]).unwrap().ca_certs.len(), 2);
        assert_eq!(set("cacerts", &["/a", "", "/b"]).unwrap().ca_certs, [PathBuf::from("/b")]);
        assert!(set("cacerts", &["a.pem"]).unwrap_err().contains("absolute"));
    }

    #[test]
    fn a_proxy_is_a_word_or_an_address() {
        for (value, wanted) in [("true", Proxy::Environment), ("off", Proxy::None)] {
            assert_eq!(set("proxy", &[value]).unwrap().proxy, wanted);
        }
        let Proxy::Address(_) = set("proxy", &["http://proxy.example:3128"]).unwrap().proxy else {
            panic!("an address")
        };
        assert!(set("proxy", &["treu"]).is_err());
        let why = set("proxy", &["http://u:hunter2@host:port/"]).unwrap_err();
        assert!(!why.contains("hunter2") && why.contains("'true'"), "{why}");
    }

    #[test]
    fn a_mirror_of_apts_has_no_password() {
        assert!(set("aptmirror", &["https://mirror.example/x"]).unwrap().apt_mirror.is_some());
        assert!(set("aptmirror", &["https://u:p@mirror.example/"]).is_err());
        assert!(set("npmregistry", &["https://u:p@mirror.example/"]).is_ok());
        assert!(set("pypiindex", &["ftp://mirror.example/"]).is_err());
        assert_eq!(set("pypiindex", &["https://x/", ""]).unwrap().pypi_index, None);
    }
}
