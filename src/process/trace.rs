//! The log of what is run.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::Command;

/// Logs a command line to stderr (`GIT_AGENT_VM_TRACE=1`) or to the end of a file.
pub(super) fn trace(command: &Command) {
    let Some(target) = std::env::var_os("GIT_AGENT_VM_TRACE").filter(|value| !value.is_empty())
    else {
        return;
    };
    let mut text = String::from("trace: run:");
    for word in std::iter::once(command.get_program()).chain(command.get_args()) {
        let word: OsString = word.to_owned();
        let shown = crate::sanitize::line(word.as_encoded_bytes()).into_owned();
        if shown.len() > 300 {
            let cut = shown.char_indices().nth(80).map_or(shown.len(), |(index, _)| index);
            text.push_str(&format!(" {}…[{} bytes]", &shown[..cut], shown.len()));
        } else {
            text.push(' ');
            text.push_str(&shown);
        }
    }
    text.push('\n');
    if target == "1" {
        io::stderr().write_all(text.as_bytes()).ok();
    } else if let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(target)
    {
        // A trace that cannot be written must not change what the command does.
        file.write_all(text.as_bytes()).ok();
    }
}
