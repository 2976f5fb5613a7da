//! The variables that tell the VM's programs of a proxy.

use std::ffi::OsString;

use super::address::Address;
use super::faults::Knowledge;
use crate::config::Proxy;
use crate::error::Error;
use crate::secret::Secret;

/// Where the guest finds what listens on the host's loopback (Lima's network of user mode).
pub const HOST_IN_GUEST: &str = "192.168.5.2";

/// What never goes through a proxy: the guest itself, its gateway and its network. Not all programs
/// understand a network, so the addresses are there as well.
const EXEMPT: &[&str] = &[
    "localhost",
    "127.0.0.1",
    "::1",
    HOST_IN_GUEST,
    "192.168.5.15",
    "192.168.5.0/24",
    "host.lima.internal",
];

/// The names in lower case; each is set in upper case too.
const PROXIES: [&str; 3] = ["http_proxy", "https_proxy", "all_proxy"];
const NO_PROXY: &str = "no_proxy";

/// A variable for the VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value: printable ASCII without blanks, quotes, `#`, `$` and `\`.
    pub value: Secret,
}

/// The variables for the VM. `value_of` gives those that are set here. One that is no address is
/// wrong usage and named, without its value.
pub fn variables(
    proxy: &Proxy,
    value_of: impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<Variable>, Error> {
    let mut found: Vec<(&str, Secret)> = addresses(proxy, &value_of)?
        .into_iter()
        .map(|(name, address)| (name, address.text()))
        .collect();
    if !found.is_empty() {
        let list = exemptions(here(NO_PROXY, &value_of))?;
        found.push((NO_PROXY, Secret::new(list.into_bytes())));
    }
    let both = |(name, value): (&str, Secret)| {
        let upper = Variable { name: name.to_uppercase(), value: value.clone() };
        [Variable { name: name.to_owned(), value }, upper]
    };
    Ok(found.into_iter().flat_map(both).collect())
}

/// The proxies by the variable's name, as the guest reaches them.
fn addresses(
    proxy: &Proxy,
    value_of: impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<(&'static str, Address)>, Error> {
    let mut found = Vec::new();
    for name in PROXIES {
        let address = match proxy {
            Proxy::None => None,
            Proxy::Address(address) => Some(address.clone()),
            Proxy::Environment => {
                here(name, &value_of).map(|(name, value)| named(&name, &value)).transpose()?
            }
        };
        found.extend(address.map(|address| (name, for_guest(address))));
    }
    Ok(found)
}

/// What helps to tell the fault of a proxy from others.
pub fn knowledge(proxy: &Proxy, value_of: impl Fn(&str) -> Option<OsString>) -> Knowledge {
    let addresses = addresses(proxy, &value_of).unwrap_or_default();
    let kept_here = *proxy == Proxy::None && !set_here(&value_of).is_empty();
    Knowledge {
        proxies: addresses.into_iter().map(|(_, address)| address.place()).collect(),
        proxy_kept_here: kept_here,
    }
}

/// The names of the variables of a proxy that are set here.
pub fn set_here(value_of: impl Fn(&str) -> Option<OsString>) -> Vec<String> {
    PROXIES.iter().filter_map(|name| here(name, &value_of)).map(|(name, _)| name).collect()
}

/// A variable that is set here in lower or in upper case, with the name that it has.
fn here(name: &str, value_of: impl Fn(&str) -> Option<OsString>) -> Option<(String, String)> {
    [name.to_owned(), name.to_uppercase()].into_iter().find_map(|name| {
        let value = value_of(&name)?.to_string_lossy().into_owned();
        (!value.trim().is_empty()).then_some((name, value))
    })
}

fn named(name: &str, value: &str) -> Result<Address, Error> {
    Address::proxy(value.trim()).map_err(|why| {
        Error::usage(format!("{name} is not the address of a proxy: {why}"))
            .hint("agentvm.proxy is true, so the VM gets it; git config --global agentvm.proxy false keeps it here")
    })
}

fn for_guest(address: Address) -> Address {
    if address.is_loopback() { address.with_host(HOST_IN_GUEST) } else { address }
}

/// The user's list with ours behind it.
fn exemptions(theirs: Option<(String, String)>) -> Result<String, Error> {
    let mut list: Vec<String> = Vec::new();
    if let Some((name, value)) = theirs {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_*:/[]".contains(&byte);
        for word in value.split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty()) {
            if !word.bytes().all(plain) {
                return Err(Error::usage(format!(
                    "{name} is no list of hosts: it has characters that are in no name"
                )));
            }
            list.push(word.to_owned());
        }
    }
    for ours in EXEMPT {
        if !list.iter().any(|word| word == ours) {
            list.push((*ours).to_owned());
        }
    }
    Ok(list.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(proxy: &Proxy, here: &[(&str, &str)]) -> Result<Vec<(String, String)>, Error> {
        let value_of = |name: &str| {
            here.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        };
        let text = |value: &Secret| String::from_utf8(value.expose().to_vec()).unwrap();
        let found = variables(proxy, value_of)?;
        Ok(found.into_iter().map(|found| (found.name, text(&found.value))).collect())
    }

    #[test]
    fn nothing_is_carried_unless_it_is_asked_for() {
        let here = [("https_proxy", "http://proxy:1")];
        assert_eq!(set(&Proxy::None, &here).unwrap(), []);
        assert_eq!(set(&Proxy::Environment, &[("https_proxy", "")]).unwrap(), []);
        assert_eq!(set(&Proxy::Environment, &[("no_proxy", "x")]).unwrap(), []);
    }

    /// rancher-sandbox/rancher-desktop#3395
    #[test]
    fn loopback_is_rewritten_and_exemptions_are_added() {
        let here = [
            ("HTTPS_PROXY", "http://me:pw@localhost:3128"),
            ("all_proxy", "socks5h://proxy.example:1080"),
            ("NO_PROXY", "intern.example, localhost .corp"),
        ];
        let exempt = "intern.example,localhost,.corp,127.0.0.1,::1,192.168.5.2,192.168.5.15,192.168.5.0/24,host.lima.internal";
        let wanted = [
            ("https_proxy", "http://me:pw@192.168.5.2:3128"),
            ("HTTPS_PROXY", "http://me:pw@192.168.5.2:3128"),
            ("all_proxy", "socks5h://proxy.example:1080"),
            ("ALL_PROXY", "socks5h://proxy.example:1080"),
            ("no_proxy", exempt),
            ("NO_PROXY", exempt),
        ];
        let wanted = wanted.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(set(&Proxy::Environment, &here).unwrap(), wanted);
    }

    #[test]
    fn one_address_serves_everything() {
        let proxy = Proxy::Address(Address::proxy("http://127.0.0.1:8080").unwrap());
        let found = set(&proxy, &[("https_proxy", "http://other:1")]).unwrap();
        assert_eq!(found.len(), 8);
        assert!(
            found[..6].iter().all(|(_, value)| value == "http://192.168.5.2:8080"),
            "{found:?}"
        );
        let addresses = addresses(&proxy, |_| None).unwrap();
        assert_eq!(addresses[0].1.place(), ("192.168.5.2".to_owned(), "8080".to_owned()));
    }

    #[test]
    fn a_bad_variable_is_named_without_its_value() {
        for (name, value) in [
            ("HTTPS_PROXY", "http://u:hunter2@h:x"),
            ("no_proxy", "a;hunter2"),
            ("all_proxy", "ssh://hunter2"),
        ] {
            let here = [("http_proxy", "http://proxy:1"), (name, value)];
            let error = set(&Proxy::Environment, &here).unwrap_err();
            let said = error.to_string();
            assert!(said.starts_with(name) && !said.contains("hunter2"), "{said}");
            assert_eq!(error.kind(), crate::error::Kind::Usage);
        }
    }
}
