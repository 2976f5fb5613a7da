//! The certificates that `agentvm.caCerts` names: read here, checked, and taken out of their files
//! one by one, so that nothing else in such a file ever gets into the VM.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::error::Error;
use crate::sanitize;
use crate::small_file;

/// The largest file, in bytes. A system's whole bundle has a quarter of a megabyte.
const LARGEST: u64 = 4 << 20;
/// The most certificates; the VM works for a moment on each.
const MOST: usize = 1000;

/// Certificates in PEM, as every program reads it; each once, in the order in which they were found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Certificates(Vec<String>);

impl Certificates {
    /// Reads all files. One that holds anything but certificates is wrong usage, and named.
    pub fn load(files: &[PathBuf]) -> Result<Self, Error> {
        let mut all = Self::default();
        for path in files {
            let refused = |why: String| {
                let path = sanitize::text(&path.to_string_lossy()).into_owned();
                Error::usage(format!("agentvm.caCerts: {path}: {why}")).hint(
                    "git config --show-origin --get-all agentvm.caCerts shows where it is set",
                )
            };
            let bytes = small_file::read(path, LARGEST).map_err(|error| error.to_string());
            for der in bytes.and_then(|bytes| parse(&bytes)).map_err(refused)? {
                let pem = pem(&der);
                if !all.0.contains(&pem) {
                    all.0.push(pem);
                }
            }
            if all.0.len() > MOST {
                return Err(refused(format!("with it there are more than {MOST} certificates")));
            }
        }
        Ok(all)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each in PEM.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// The certificates in a text, decoded. The text between them is left out.
fn parse(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    if bytes.starts_with(&[0x30]) {
        return Err("it is not in PEM; if it is one certificate in DER: openssl x509 -inform der -in FILE -out FILE.pem".into());
    }
    let text = String::from_utf8_lossy(bytes);
    let mut found = Vec::new();
    let mut lines = text.lines().map(str::trim).enumerate();
    while let Some((index, line)) = lines.next() {
        let Some(label) = label_of(line, "BEGIN") else { continue };
        let number = index + 1;
        accept(label).map_err(|why| format!("line {number}: {why}"))?;
        let mut base64 = String::new();
        loop {
            match lines.next() {
                Some((_, line)) if label_of(line, "END") == Some(label) => break,
                Some((_, line)) if !line.starts_with("-----") => base64.push_str(line),
                _ => return Err(format!("the certificate in line {number} has no end")),
            }
        }
        let der = BASE64.decode(&base64).ok().filter(|der| is_sequence(der));
        found.push(der.ok_or_else(|| format!("the certificate in line {number} is damaged"))?);
    }
    if found.is_empty() {
        return Err("there is no certificate in it (-----BEGIN CERTIFICATE-----)".into());
    }
    Ok(found)
}

fn label_of<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    line.strip_prefix("-----")?.strip_prefix(word)?.strip_prefix(' ')?.strip_suffix("-----")
}

fn accept(label: &str) -> Result<(), String> {
    match label {
        "CERTIFICATE" | "X509 CERTIFICATE" => Ok(()),
        _ if label.contains("PRIVATE KEY") => {
            Err("it holds a private key, which must never get into a VM; name a file with certificates alone".into())
        }
        _ => Err(format!(
            "it holds something else than certificates ({})",
            sanitize::text(&label.chars().take(40).collect::<String>())
        )),
    }
}

/// Whether the bytes are one ASN.1 sequence that begins with another one, as every certificate
/// does. What a certificate says is for the VM's own programs to judge.
fn is_sequence(der: &[u8]) -> bool {
    let [0x30, first, rest @ ..] = der else { return false };
    let (length, body) = match *first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x83 => {
            let count = usize::from(*first & 0x0f);
            let Some((length, body)) = rest.split_at_checked(count) else { return false };
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), body)
        }
        _ => return false,
    };
    body.len() == length && body.first() == Some(&0x30)
}

fn pem(der: &[u8]) -> String {
    let base64 = BASE64.encode(der);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for start in (0..base64.len()).step_by(64) {
        pem.push_str(&base64[start..base64.len().min(start + 64)]);
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A sequence in a sequence: what stands for a certificate here.
    fn der(content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        let mut der = vec![0x30, length + 2, 0x30, length];
        der.extend_from_slice(content);
        der
    }

    fn file(dir: &Path, name: &str, text: &str) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn certificates_of_several_files_are_taken_once_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (pem(&der(b"one")), pem(&der(&[b'2'; 100])));
        let bundle =
            format!("# Issuer: hunter2\r\n{one}\n\nsubject=x\n{}", two.replace('\n', "\r\n"));
        let files = [file(dir.path(), "a", &bundle), file(dir.path(), "b", &two)];
        let all = Certificates::load(&files).unwrap();
        assert_eq!(all.iter().collect::<Vec<_>>(), [one.as_str(), two.as_str()]);
        assert!(Certificates::load(&[]).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_certificate_is_refused_with_its_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let good = pem(&der(b"one"));
        let block = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        for (text, why) in [
            (block("PRIVATE KEY"), "line 1: it holds a private key"),
            (format!("{good}{}", block("EC PRIVATE KEY")), "line 4: it holds a private key"),
            (block("ENCRYPTED PRIVATE KEY"), "a private key"),
            (block("OPENSSH PRIVATE KEY"), "a private key"),
            (
                block("CERTIFICATE REQUEST"),
                "something else than certificates (CERTIFICATE REQUEST)",
            ),
            (block("TRUSTED CERTIFICATE"), "something else"),
            (block("CERTIFICATE"), "line 1 is damaged"),
            (good.replace("-----END", "-----and"), "has no end"),
            (good.lines().take(2).collect::<Vec<_>>().join("\n"), "has no end"),
            (String::new(), "there is no certificate"),
            ("<html>".into(), "there is no certificate"),
            ("0\u{3}".into(), "not in PEM"),
        ] {
            let path = file(dir.path(), "bad", &text);
            let error = Certificates::load(std::slice::from_ref(&path)).unwrap_err();
            let said = error.to_string();
            assert!(said.contains(why) && said.contains("/bad: "), "{said}");
            assert_eq!(error.kind(), crate::error::Kind::Usage);
        }
        let missing = Certificates::load(&[dir.path().join("none")]).unwrap_err().to_string();
        assert!(missing.contains("there is no such file"), "{missing}");
        let directory = Certificates::load(&[dir.path().to_owned()]).unwrap_err().to_string();
        assert!(directory.contains("it is a directory"), "{directory}");
    }

    #[test]
    fn lengths_of_one_to_four_bytes() {
        let long = |count: usize| {
            let length = count + 2;
            let mut der = vec![
                0x30,
                0x82,
                u8::try_from(length >> 8).unwrap(),
                u8::try_from(length & 0xff).unwrap(),
            ];
            der.extend_from_slice(&[0x30, 0x80]);
            der.extend(std::iter::repeat_n(0, count));
            der
        };
        assert!(is_sequence(&long(1000)) && is_sequence(&der(b"x")));
        let mut cut = long(1000);
        cut.pop();
        assert!(
            !is_sequence(&cut) && !is_sequence(b"0") && !is_sequence(&[0x30, 0x84, 0, 0, 0, 0])
        );
    }
}
