//! What a git service says first: its refs and capabilities, in pkt-lines of protocol version 0
//! (gitprotocol-pack(5)).
//!
//! It is read once, given to git as the answer to `list`, and replayed byte for byte to
//! `git fetch-pack` or `git send-pack`.

use crate::git::ObjectId;
use crate::guest::wire::{Reader, WireError};
use crate::sanitize::{self, GuestText};

/// The most refs that a workspace may have; an honest one has a handful.
const REFS_CAP: usize = 200_000;
/// The most bytes of an advertisement.
const BYTES_CAP: usize = 64 << 20;

/// A ref as the guest lists it. The name is one that git allows, in safe characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ref {
    /// What it points to.
    pub id: ObjectId,
    /// The full name.
    pub name: String,
}

/// All that a service said before it waits for us.
#[derive(Debug, Clone, Default)]
pub struct Advertisement {
    /// The refs below `refs/heads/` and `refs/tags/`, without peeled entries.
    pub refs: Vec<Ref>,
    /// The refs below `refs/remotes/host/`, which earlier pushes wrote.
    pub host_refs: Vec<Ref>,
    /// The bytes as they came, the flush packet included.
    pub raw: Vec<u8>,
    /// How many refs have names that cannot be shown or stored safely. They are left out.
    pub unsafe_names: usize,
    /// Whether its history is cut off somewhere.
    pub shallow: bool,
    /// `sha1` or `sha256`.
    pub object_format: String,
}

impl Advertisement {
    /// Reads up to and including the flush packet.
    pub fn read(reader: &mut Reader) -> Result<Self, WireError> {
        let mut advertisement = Self { object_format: "sha1".into(), ..Self::default() };
        loop {
            let header = reader.exactly(4)?.to_owned();
            advertisement.raw.extend_from_slice(&header);
            let length = std::str::from_utf8(&header)
                .ok()
                .and_then(|hex| usize::from_str_radix(hex, 16).ok())
                .ok_or(WireError::Nonsense("git's answer is no pkt-line"))?;
            match length {
                0 => return Ok(advertisement),
                4..=65_520 => {
                    let line = reader.exactly(length - 4)?.to_owned();
                    advertisement.raw.extend_from_slice(&line);
                    advertisement.line(&line)?;
                }
                _ => return Err(WireError::Nonsense("git's answer has a malformed pkt-line")),
            }
            if advertisement.raw.len() > BYTES_CAP || advertisement.refs.len() > REFS_CAP {
                return Err(WireError::Nonsense("the workspace has too many refs"));
            }
        }
    }

    /// What the ref points to, if it is listed.
    #[must_use]
    pub fn tip(&self, name: &str) -> Option<&ObjectId> {
        self.refs.iter().find(|listed| listed.name == name).map(|listed| &listed.id)
    }

    /// What a ref below `refs/remotes/host/` points to.
    #[must_use]
    pub fn host_tip(&self, name: &str) -> Option<&ObjectId> {
        self.host_refs.iter().find(|listed| listed.name == name).map(|listed| &listed.id)
    }

    /// The names of all branches, without `refs/heads/`.
    pub fn branches(&self) -> impl Iterator<Item = &str> {
        self.refs.iter().filter_map(|listed| listed.name.strip_prefix("refs/heads/"))
    }

    fn line(&mut self, line: &[u8]) -> Result<(), WireError> {
        let mut parts = line.splitn(2, |&byte| byte == 0);
        let entry = parts.next().unwrap_or_default();
        if let Some(capabilities) = parts.next() {
            let text = String::from_utf8_lossy(capabilities);
            if let Some(format) =
                text.split_ascii_whitespace().find_map(|word| word.strip_prefix("object-format="))
            {
                if !matches!(format, "sha1" | "sha256") {
                    return Err(WireError::Nonsense("it uses an unknown hash"));
                }
                format.clone_into(&mut self.object_format);
            }
        }
        let entry = entry.strip_suffix(b"\n").unwrap_or(entry);
        if entry.starts_with(b"shallow ") {
            self.shallow = true;
            return Ok(());
        }
        if entry.starts_with(b"version ") {
            return Ok(());
        }
        if entry.starts_with(b"ERR ") {
            return Err(WireError::Nonsense("git there reports an error"));
        }
        let text = GuestText::new(entry);
        let Some((id, name)) = text.as_clean_str().and_then(|line| line.split_once(' ')) else {
            self.unsafe_names += 1;
            return Ok(());
        };
        let id = ObjectId::new(id).ok_or(WireError::Nonsense("an object id is malformed"))?;
        if name.starts_with("refs/remotes/host/") {
            self.host_refs.push(Ref { id, name: name.to_owned() });
            return Ok(());
        }
        let ours = name.starts_with("refs/heads/") || name.starts_with("refs/tags/");
        if !ours || name.ends_with("^{}") {
            return Ok(());
        }
        let safe = gix::validate::reference::name(name.into()).is_ok()
            && name.chars().all(sanitize::is_safe)
            && !name.starts_with("refs/heads/-");
        if safe {
            self.refs.push(Ref { id, name: name.to_owned() });
        } else {
            self.unsafe_names += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Cmd;
    use std::time::Duration;

    fn read(lines: &[&str]) -> Result<Advertisement, WireError> {
        let mut bytes = String::new();
        for line in lines {
            bytes.push_str(&format!("{:04x}{line}", line.len() + 4));
        }
        bytes.push_str("0000");
        let mut child = Cmd::new("cat").spawn().unwrap();
        let mut stdin = child.stdin().unwrap();
        std::io::Write::write_all(&mut stdin, bytes.as_bytes()).unwrap();
        drop(stdin);
        let outcome =
            Advertisement::read(&mut Reader::new(child.stdout().unwrap(), Duration::from_secs(5)));
        if let Ok(advertisement) = &outcome {
            assert_eq!(advertisement.raw, bytes.as_bytes());
        }
        outcome
    }

    const ID: &str = "1234567890123456789012345678901234567890";

    #[test]
    fn heads_and_tags_are_listed_and_nothing_else() {
        let all = read(&[
            &format!("{ID} HEAD\0multi_ack object-format=sha1 agent=git/2\n"),
            &format!("{ID} refs/heads/main\n"),
            &format!("{ID} refs/notes/x\n"),
            &format!("{ID} refs/tags/v1\n"),
            &format!("{ID} refs/tags/v1^{{}}\n"),
            &format!("{ID} .have\n"),
            "shallow 1234567890123456789012345678901234567890",
        ])
        .unwrap();
        let names: Vec<_> = all.refs.iter().map(|listed| listed.name.as_str()).collect();
        assert_eq!(names, ["refs/heads/main", "refs/tags/v1"]);
        assert_eq!((all.unsafe_names, all.object_format.as_str()), (0, "sha1"));
    }

    #[test]
    fn hostile_names_are_left_out_and_counted() {
        let all = read(&[
            &format!("{ID} refs/heads/\x1b[31mred\n"),
            &format!("{ID} refs/heads/a..b\n"),
            &format!("{ID} refs/heads/-x\n"),
            &format!("{ID} refs/heads/\u{202e}x\n"),
            &format!("{ID} refs/heads/../../x\n"),
            &format!("{ID} refs/heads/good\n"),
        ])
        .unwrap();
        assert_eq!((all.refs.len(), all.unsafe_names), (1, 5));
    }

    #[test]
    fn an_empty_repository_has_no_refs() {
        let zero = "0".repeat(40);
        let all = read(&[&format!("{zero} capabilities^{{}}\0report-status object-format=sha256")]);
        let all = all.unwrap();
        assert_eq!((all.refs.len(), all.object_format.as_str()), (0, "sha256"));
    }

    #[test]
    fn malformed_answers_are_refused() {
        for lines in [&["no-id refs/heads/x\n"][..], &["ERR no such repository"]] {
            assert!(matches!(read(lines), Err(WireError::Nonsense(_))));
        }
    }
}
