//! URLs of proxies and mirrors, which may hold a password.

use std::net::{IpAddr, Ipv6Addr};

use crate::secret::Secret;

/// A URL that is safe in every file that we write it to. Shown nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    scheme: &'static str,
    /// With its `@`, or empty.
    user: Secret,
    /// With the brackets of an IPv6 address.
    host: String,
    /// With its `:`, or empty.
    port: String,
    /// With its `/`, or empty.
    path: String,
}

const WEB: &[&str] = &["http", "https"];
const PROXIES: &[&str] = &["http", "https", "socks5h", "socks5", "socks4a", "socks4"];

impl Address {
    /// A variable's proxy; without a scheme it is http, as everywhere. The error is the rule, and
    /// does not repeat the value.
    pub fn proxy(text: &str) -> Result<Self, String> {
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        Self::web_or_socks(&whole)
    }

    /// The whole URL of a proxy.
    pub fn web_or_socks(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("it has no '://'")?;
        let address = Self::parse(PROXIES, scheme, rest)?;
        if !matches!(address.path.as_str(), "" | "/") {
            return Err("a proxy has no path".into());
        }
        Ok(Self { path: String::new(), ..address })
    }

    /// An http or https URL.
    pub fn web(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("it has no '://'")?;
        Self::parse(WEB, scheme, rest)
    }

    fn parse(schemes: &[&'static str], scheme: &str, rest: &str) -> Result<Self, String> {
        let known = schemes.iter().find(|known| scheme.eq_ignore_ascii_case(known));
        let scheme = known
            .ok_or_else(|| format!("it does not begin with {}", schemes.join("://, ") + "://"))?;
        if !rest.bytes().all(is_plain) {
            return Err("it has characters that have to be written as %XX in a URL".into());
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) if !user.contains('@') => (format!("{user}@"), place),
            Some(_) => return Err("an @ in a password is written as %40".into()),
            None => (String::new(), authority),
        };
        let after_host = place.rfind(']').map_or(0, |end| end + 1);
        let colon = place[after_host..].find(':').map_or(place.len(), |at| after_host + at);
        let (host, port) = place.split_at(colon);
        if !is_host(host) {
            return Err("it names no host".into());
        }
        if !port.is_empty() && port[1..].parse::<u16>().ok().is_none_or(|port| port == 0) {
            return Err("the port is no number from 1 to 65535".into());
        }
        Ok(Self {
            scheme,
            user: Secret::new(user.into_bytes()),
            host: host.to_ascii_lowercase(),
            port: port.to_owned(),
            path: path.to_owned(),
        })
    }

    /// Whether there is a user's name or a password in it.
    #[must_use]
    pub fn has_password(&self) -> bool {
        !self.user.expose().is_empty()
    }

    /// Whether it names this machine itself.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = self.host.trim_matches(['[', ']']);
        host == "localhost"
            || host.ends_with(".localhost")
            || host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback() || address.is_unspecified())
    }

    /// What `debian` and `debian-security` are added to; for a mirror, which holds no password. Many
    /// know one by its `…/debian`.
    #[must_use]
    pub fn mirror_base(&self) -> String {
        let text = String::from_utf8_lossy(self.text().expose()).into_owned();
        let text = text.trim_end_matches('/');
        text.strip_suffix("/debian").unwrap_or(text).trim_end_matches('/').to_owned()
    }

    /// The same on another host.
    #[must_use]
    pub fn with_host(self, host: &str) -> Self {
        Self { host: host.to_owned(), ..self }
    }

    /// Host and port, for somebody who shall see whether anything listens there.
    #[must_use]
    pub fn place(&self) -> (String, String) {
        let usual = match self.scheme {
            "http" => "80",
            "https" => "443",
            _ => "1080",
        };
        let port = self.port.strip_prefix(':').unwrap_or(usual);
        (self.host.trim_matches(['[', ']']).to_owned(), port.to_owned())
    }

    /// All of it, in printable ASCII without blanks, quotes, `#`, `$` and `\`.
    #[must_use]
    pub fn text(&self) -> Secret {
        let mut text = format!("{}://", self.scheme).into_bytes();
        text.extend_from_slice(self.user.expose());
        text.extend_from_slice(format!("{}{}{}", self.host, self.port, self.path).as_bytes());
        Secret::new(text)
    }
}

/// What neither a shell nor one of the readers of the VM's environment takes for anything else.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?@!&()*+,=%[]".contains(&byte)
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok()),
        None => {
            !host.is_empty()
                && !host.starts_with('-')
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(address: &Address) -> String {
        String::from_utf8(address.text().expose().to_vec()).unwrap()
    }

    #[test]
    fn the_url_of_a_proxy_is_taken_apart_and_put_together() {
        for (given, wanted) in [
            ("proxy.example:3128", "http://proxy.example:3128"),
            ("HTTP://Proxy.Example:3128/", "http://proxy.example:3128"),
            ("https://me:s%40cret@proxy.example", "https://me:s%40cret@proxy.example"),
            ("socks5h://[fd00::1]:1080", "socks5h://[fd00::1]:1080"),
        ] {
            assert_eq!(text(&Address::proxy(given).unwrap()), wanted);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        for bad in [
            "",
            "http://",
            "http://:3128",
            "http://u:hunter2@h@x:1",
            "http://u:hunter2@host:port",
            "http://u:hunter2@host:0",
            "http://u:hunter2@host:70000",
            "http://u:hunter2@host:1/path",
            "gopher://u:hunter2@host",
            "http://u:hun ter2@host",
            "http://u:hunter2'@host",
            "http://u:hunter2@host\nX=1",
            "http://u:hunter2$(id)@host",
            "http://u:hunter2#@host",
            "http://[::1:3128",
            "-x:3128",
        ] {
            let why = Address::proxy(bad).unwrap_err();
            assert!(!why.contains("hunter"), "{bad}: {why}");
        }
        assert!(Address::web("mirror.example/debian").is_err());
        assert!(Address::web("socks5://mirror.example/").is_err());
    }

    #[test]
    fn this_machine_is_known_by_all_its_names() {
        for (given, wanted) in [
            ("localhost:1", true),
            ("127.0.0.1:1", true),
            ("127.1.2.3:1", true),
            ("[::1]:1", true),
            ("0.0.0.0:1", true),
            ("foo.localhost:1", true),
            ("localhost.example:1", false),
            ("192.168.5.2:1", false),
        ] {
            assert_eq!(Address::proxy(given).unwrap().is_loopback(), wanted, "{given}");
        }
        let moved = Address::proxy("http://u:p@localhost:8080").unwrap().with_host("192.168.5.2");
        assert_eq!(text(&moved), "http://u:p@192.168.5.2:8080");
        assert_eq!(moved.place(), ("192.168.5.2".into(), "8080".into()));
        assert!(moved.has_password());
    }

    #[test]
    fn it_is_not_shown() {
        let shown = format!("{:?}", Address::proxy("http://u:hunter2@host:1").unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
