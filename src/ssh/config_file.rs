//! An endpoint as an `ssh_config(5)` file, for programs that run ssh themselves: `ssh -F`, scp,
//! sftp, rsync, editors.
//!
//! Such a file is read anywhere, so its paths are absolute and have to be written by ssh's own
//! rules, as OpenSSH has them since 8.7: a word in double quotes, with `\` before `"` and `\`; and
//! in file names `%%` for `%`. There is no way to write `${` and none to write a line's end.

use std::os::unix::ffi::OsStrExt as _;

use anyhow::Context as _;

use super::Endpoint;
use crate::error::Error;

/// What the commands of ours insist on as well; forwarded ports alone are the user's to ask for.
const OPTIONS: &[&str] = &[
    "CheckHostIP no",
    "ControlMaster no",
    "ControlPath none",
    "ForwardAgent no",
    "ForwardX11 no",
    "ForwardX11Trusted no",
    "GlobalKnownHostsFile /dev/null",
    "NoHostAuthenticationForLocalhost no",
    "PermitLocalCommand no",
    "ServerAliveCountMax 3",
    "ServerAliveInterval 10",
    "StrictHostKeyChecking yes",
    "Tunnel no",
    "UpdateHostKeys no",
    "VerifyHostKeyDNS no",
];

impl Endpoint {
    /// The configuration, with `alias` for the name that ssh is given. Without one it is the
    /// destination's own host, which a configuration of the user's may know.
    ///
    /// The user's configuration file is repeated, not included: in an `Include`, `%` means itself
    /// in some versions of ssh and not in others.
    pub fn config_file(&self, alias: Option<&str>) -> anyhow::Result<Vec<u8>> {
        let (user, host) = match self.destination.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, self.destination.as_str()),
        };
        let alias = alias.unwrap_or(host);
        check_name(alias)?;
        let mut out = format!("Host {alias}\n").into_bytes();
        let mut line = |key: &str, value: &[u8]| {
            out.extend([b"  ", key.as_bytes(), b" ", value, b"\n"].concat());
        };
        if alias != host {
            check_name(host)?;
            line("HostName", host.as_bytes());
        }
        if let Some(port) = self.port {
            line("Port", port.to_string().as_bytes());
        }
        if let Some(user) = user {
            check_name(user)?;
            line("User", user.as_bytes());
        }
        if let Some(identity) = &self.identity {
            line("IdentityFile", &file_name(&self.absolute(identity)?)?);
            line("IdentitiesOnly", b"yes");
            line("IdentityAgent", b"none");
            line("PreferredAuthentications", b"publickey");
        }
        if let Some((file, key)) = &self.pinned {
            line("UserKnownHostsFile", &file_name(&self.absolute(file)?)?);
            line("HostKeyAlias", key.as_bytes());
        }
        for option in OPTIONS {
            out.extend(format!("  {option}\n").bytes());
        }
        if let Some(file) = &self.config {
            let theirs = std::fs::read(file)
                .with_context(|| format!("cannot read agentvm.sshConfig, {}", file.display()))?;
            // Of two values ssh takes the first. Variables to send add up, and are taken back.
            out.extend_from_slice(b"\n# What follows is agentvm.sshConfig.\nHost *\n");
            out.extend_from_slice(&theirs);
            out.extend(format!("\nHost {alias}\n  SendEnv -*\n").bytes());
        }
        Ok(out)
    }

    fn absolute(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        Ok(std::path::absolute(self.dir.join(name))?.as_os_str().as_bytes().to_owned())
    }
}

/// A file name as the value of an option in which ssh replaces `%` and `${}`.
fn file_name(path: &[u8]) -> anyhow::Result<Vec<u8>> {
    let cannot = |what: &str| {
        Error::failed(format!(
            "an ssh configuration cannot name the file '{}': {what}",
            String::from_utf8_lossy(path)
        ))
        .hint("git agent-vm connect works all the same")
    };
    if path.iter().any(u8::is_ascii_control) {
        return Err(cannot("there is a control character in it").into());
    }
    if path.windows(2).any(|pair| pair == b"${") {
        return Err(cannot("'${' stands for a variable there").into());
    }
    let mut quoted = vec![b'"'];
    for &byte in path {
        match byte {
            b'"' | b'\\' => quoted.push(b'\\'),
            b'%' => quoted.push(b'%'),
            _ => {}
        }
        quoted.push(byte);
    }
    quoted.push(b'"');
    Ok(quoted)
}

/// Refuses a host's or user's name that ssh would take for a pattern, a comment or two words.
fn check_name(name: &str) -> anyhow::Result<()> {
    let special = |c: char| c.is_whitespace() || c.is_control() || "\"'\\*?!,#%$/".contains(c);
    if name.is_empty() || name.contains(special) {
        return Err(Error::failed(format!(
            "an ssh configuration cannot have the name '{name}' in it"
        ))
        .hint("give the host a plain name in agentvm.sshConfig, and agentvm.sshHost that name")
        .into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_quoted_by_the_rules_of_ssh() {
        for (path, quoted) in [
            ("/a b", r#""/a b""#),
            ("/a'b#é", r#""/a'b#é""#),
            ("/100%h", r#""/100%%h""#),
            (r#"/a"b\c"#, r#""/a\"b\\c""#),
            ("/a$b{", r#""/a$b{""#),
        ] {
            assert_eq!(file_name(path.as_bytes()).unwrap(), quoted.as_bytes(), "{path}");
        }
        assert_eq!(file_name(b"/\xff").unwrap(), b"\"/\xff\"");
        for path in ["/a\nb", "/a\x1bb", "/${HOME}"] {
            assert!(file_name(path.as_bytes()).is_err(), "{path:?}");
        }
    }

    #[test]
    fn names_with_a_meaning_of_their_own_are_refused() {
        for name in ["vm", "build.example", "::1", "é"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "*", "a b", "!x", "#x", "ssh://x", "%h", "a\nb", "\"x\""] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
