//! The variables that `connect` carries from the host into the VM.
//!
//! `common/packages/envvars.txt` names them; those that are set here travel over standard input,
//! as a script that the guest's shell reads after its own start-up files. Knows names and quoting,
//! nothing of how they get there.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use crate::common::List;
use crate::config::Config;
use crate::embedded;
use crate::secret::Secret;

/// The list's name in `common/`.
const LIST: &str = "packages/envvars.txt";

/// The names that may travel: each is one that a shell can set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names(Vec<String>);

impl Names {
    /// Reads the list. A line that is no name, or one that would change how the VM's own shells
    /// and programs are found or started, is wrong usage and named with its file.
    pub fn load(config: &Config) -> anyhow::Result<Self> {
        Self::parse(&List::load(config, LIST, embedded::ENVVARS)?)
    }

    fn parse(list: &List) -> anyhow::Result<Self> {
        let names = list.words(|word| {
            if !is_name(word) {
                let why = "is not the name of a variable: one NAME a line, without a value";
                return Some(why.to_owned());
            }
            refused(word).map(|why| format!("cannot be passed on: {why}"))
        });
        Ok(Self(names?))
    }

    /// A shell script that sets those that are set here; `None` where none is.
    #[must_use]
    pub fn values(&self) -> Option<Secret> {
        self.script(|name| std::env::var_os(name))
    }

    fn script(&self, value_of: impl Fn(&str) -> Option<OsString>) -> Option<Secret> {
        let mut script = Vec::new();
        for name in &self.0 {
            let Some(value) = value_of(name) else { continue };
            export(&mut script, name, value.as_bytes());
        }
        (!script.is_empty()).then(|| Secret::new(script))
    }
}

/// Adds a line by which every shell sets a variable, whatever is in its value.
pub(crate) fn export(script: &mut Vec<u8>, name: &str, value: &[u8]) {
    script.extend_from_slice(format!("export {name}='").as_bytes());
    for &byte in value {
        match byte {
            b'\'' => script.extend_from_slice(br"'\''"),
            _ => script.push(byte),
        }
    }
    script.extend_from_slice(b"'\n");
}

/// A name that every shell can set, and none reads as anything else.
fn is_name(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !word.starts_with(|first: char| first.is_ascii_digit())
}

/// Why a name is not for this list.
fn refused(name: &str) -> Option<&'static str> {
    match name {
        "PATH" | "HOME" | "SHELL" | "USER" | "LOGNAME" | "PWD" | "OLDPWD" => {
            Some("the VM has its own")
        }
        "TERM" => Some("it goes along by itself, as with ssh"),
        "IFS" | "ENV" | "PROMPT_COMMAND" | "PS4" | "SHELLOPTS" | "SHLVL" | "UID" | "EUID"
        | "PPID" | "GROUPS" => Some("it changes what a shell does"),
        "GIT_AUTHOR_NAME" | "GIT_AUTHOR_EMAIL" | "GIT_COMMITTER_NAME" | "GIT_COMMITTER_EMAIL" => {
            None
        }
        _ if name.starts_with("BASH") => Some("it changes what a shell does"),
        _ if name.starts_with("LD_") || name.starts_with("DYLD_") => {
            Some("it changes which code programs run")
        }
        _ if name.starts_with("GIT_") => {
            Some("it changes which repository or program git works with")
        }
        _ if name.starts_with("AGENTVM_") => Some("the guest's hooks use it"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Names> {
        Names::parse(&List::new(text.as_bytes().to_vec(), LIST.into()).unwrap())
    }

    #[test]
    fn the_built_in_list_is_good_and_passes_nothing_on() {
        assert_eq!(parse(embedded::ENVVARS).unwrap(), Names(Vec::new()));
    }

    #[test]
    fn names_with_comments_are_read_once() {
        let names = parse("# keys\nAPI_KEY # ours\n\n_x1\nAPI_KEY\nGIT_AUTHOR_NAME\n").unwrap();
        assert_eq!(names.0, ["API_KEY", "_x1", "GIT_AUTHOR_NAME"]);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in
            ["A=1", "*", "A*", "BASH_FUNC_x%%", "A B", "1A", "-n", "$A", "Ä", "A.B", "\u{feff}A"]
        {
            let error = parse(&format!("GOOD\n{bad}\n")).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with("packages/envvars.txt:2: '"), "{text}");
            assert!(
                text.ends_with("is not the name of a variable: one NAME a line, without a value")
            );
        }
    }

    #[test]
    fn names_that_change_how_the_vm_works_are_refused() {
        for bad in [
            "PATH",
            "HOME",
            "SHELL",
            "BASH_ENV",
            "BASHOPTS",
            "ENV",
            "IFS",
            "PROMPT_COMMAND",
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "GIT_DIR",
            "GIT_SSH_COMMAND",
            "GIT_CONFIG_COUNT",
            "TERM",
        ] {
            let text = parse(bad).unwrap_err().to_string();
            assert!(
                text.starts_with(&format!("packages/envvars.txt:1: '{bad}' cannot be")),
                "{text}"
            );
        }
    }

    /// The guest is a Linux machine; elsewhere sh and bash are too old to tell.
    #[cfg(target_os = "linux")]
    mod shells {
        use super::*;
        use crate::process::Cmd;
        use proptest::prelude::*;
        use std::os::unix::ffi::OsStringExt as _;

        proptest! {
            /// What a shell makes of the script is the value, to the byte.
            #[test]
            fn values_survive_a_shell(value in prop::collection::vec(1..=255_u8, 0..60)) {
                let names = Names(vec!["VALUE".into()]);
                let script = names.script(|_| Some(OsString::from_vec(value.clone()))).unwrap();
                for shell in ["sh", "bash"] {
                    let mut text = script.expose().to_vec();
                    text.extend_from_slice(b"printf %s \"$VALUE\"");
                    let output = Cmd::new(shell).stdin_bytes(text).output().unwrap();
                    prop_assert_eq!(&output.stdout, &value);
                }
            }
        }
    }
}
