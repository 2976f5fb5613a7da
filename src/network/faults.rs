//! What a program in the VM says when the network is one that the VM was not told of, and the
//! setting that mends it.

/// A failure that a setting mends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A certificate is signed by nobody whom the VM knows.
    Certificate,
    /// A proxy refuses, or is not there.
    Proxy,
    /// There is no way out, and a proxy is used here that the VM knows nothing of.
    NoWayOut,
}

/// What programs say of certificates: OpenSSL (Python, Node, curl), GnuTLS (apt, git), Go, rustls,
/// Java.
const CERTIFICATE: &[&str] = &[
    "certificate verify failed",
    "certificate verification failed",
    "ssl certificate problem",
    "unable to get local issuer certificate",
    "self-signed certificate",
    "self signed certificate",
    "self_signed_cert_in_chain",
    "unable_to_get_issuer_cert_locally",
    "unable_to_verify_leaf_signature",
    "certificate is not trusted",
    "certificate issuer is unknown",
    "certificate signed by unknown authority",
    "unknownissuer",
    "pkix path building failed",
];

/// Where a certificate is known, and a strict program does not like it.
const TOO_STRICT: &[&str] =
    &["does not include key usage extension", "missing authority key identifier"];

/// What they say of proxies.
const PROXY: &[&str] = &[
    "proxy authentication required",
    "http code 407",
    "407 proxy",
    "could not resolve proxy",
    "proxyconnect tcp",
    "proxy connect aborted",
    "tunnel connection failed",
    "invalid response from proxy",
    "cannot connect to proxy",
    "unable to connect to proxy",
    "failed to connect to proxy",
    "proxy tunneling failed",
];

/// What they say where nothing leads out.
const NO_WAY_OUT: &[&str] = &[
    "could not resolve",
    "temporary failure in name resolution",
    "temporary failure resolving",
    "network is unreachable",
    "no route to host",
    "connection timed out",
    "could not connect to",
    "getaddrinfo",
    "etimedout",
    "enotfound",
];

/// What the host knows, for judging a text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Knowledge {
    /// Where the VM's proxies listen.
    pub proxies: Vec<(String, String)>,
    /// Whether a proxy is set here that the VM is not told of.
    pub proxy_kept_here: bool,
}

/// The fault that a text tells of, if it is one of these.
#[must_use]
pub fn recognise(text: &str, known: &Knowledge) -> Option<Fault> {
    let text = text.to_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    // apt names the place that does not answer, not that it is a proxy.
    let names_proxy = || {
        let place = |(host, port): &(String, String)| text.contains(&format!("{host}:{port} "));
        says(NO_WAY_OUT) && known.proxies.iter().any(place)
    };
    if says(CERTIFICATE) && !says(TOO_STRICT) {
        Some(Fault::Certificate)
    } else if says(PROXY) || names_proxy() {
        Some(Fault::Proxy)
    } else if says(NO_WAY_OUT) && known.proxy_kept_here {
        Some(Fault::NoWayOut)
    } else {
        None
    }
}

impl Fault {
    /// What is the matter, to stand after `in the VM`.
    #[must_use]
    pub fn subject(self) -> &'static str {
        match self {
            Self::Certificate => "a certificate is signed by nobody whom it knows",
            Self::Proxy => "the proxy refuses or is not there",
            Self::NoWayOut => {
                "nothing leads out, and the proxy that is set here is not known there"
            }
        }
    }

    /// What to type.
    #[must_use]
    pub fn fix(self) -> &'static str {
        match self {
            Self::Certificate => {
                "git config --global --add agentvm.caCerts FILE (your network's own certificates, in PEM), then git agent-vm start"
            }
            Self::Proxy => "git config --global agentvm.proxy URL, then git agent-vm start",
            Self::NoWayOut => "git config --global agentvm.proxy true, then git agent-vm start",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_say_of_certificates_is_known() {
        for text in [
            // Python, pip
            "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate in certificate chain (_ssl.c:1000)",
            // npm
            "npm error code SELF_SIGNED_CERT_IN_CHAIN",
            "npm error code UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
            // curl, git
            "curl: (60) SSL certificate problem: unable to get local issuer certificate",
            "fatal: unable to access 'https://x/': server certificate verification failed. CAfile: none CRLfile: none",
            // apt
            "Err:1 https://x trixie InRelease\n  Certificate verification failed: The certificate is NOT trusted. The certificate issuer is unknown.",
            // Go, uv, Java
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
            "invalid peer certificate: UnknownIssuer",
            "sun.security.validator.ValidatorException: PKIX path building failed",
        ] {
            assert_eq!(recognise(text, &Knowledge::default()), Some(Fault::Certificate), "{text}");
        }
    }

    #[test]
    fn what_programs_say_of_proxies_is_known() {
        let known = Knowledge {
            proxies: vec![("192.168.5.2".into(), "3128".into())],
            ..Knowledge::default()
        };
        for text in [
            "curl: (56) CONNECT tunnel failed, response 407\nHTTP code 407 from proxy",
            "OSError: Tunnel connection failed: 407 Proxy Authentication Required",
            "proxyconnect tcp: dial tcp 192.168.5.2:3128: connect: connection refused",
            "curl: (5) Could not resolve proxy: proxy.example",
            "  Could not connect to 192.168.5.2:3128 (192.168.5.2). - connect (111: Connection refused)",
        ] {
            assert_eq!(recognise(text, &known), Some(Fault::Proxy), "{text}");
        }
    }

    #[test]
    fn what_leads_nowhere_is_the_fault_of_a_proxy_only_where_one_is_set() {
        let text = "Could not resolve 'mirror.example'";
        assert_eq!(recognise(text, &Knowledge::default()), None);
        let known = Knowledge { proxy_kept_here: true, ..Knowledge::default() };
        assert_eq!(recognise(text, &known), Some(Fault::NoWayOut));
        assert_eq!(recognise("E: Unable to locate package x", &known), None);
        let strict = "certificate verify failed: CA cert does not include key usage extension";
        assert_eq!(recognise(strict, &known), None);
    }
}
