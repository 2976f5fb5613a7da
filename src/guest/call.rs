//! What is sent to the guest: the guest program `program/*.sh`, and a verb with its arguments.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::now;
use crate::hash;

/// The guest program: one text in files of one job each, in the order of their numbers. Whether git's
/// own commands need the part; what they do not would only be decoded and read by a shell each time.
const PARTS: [(&str, bool); 8] = [
    (include_str!("program/10-common.sh"), true),
    (include_str!("program/20-workspace.sh"), true),
    (include_str!("program/30-mend.sh"), true),
    (include_str!("program/40-receive.sh"), true),
    (include_str!("program/50-upload.sh"), true),
    (include_str!("program/60-inspect.sh"), false),
    (include_str!("program/70-run.sh"), false),
    (include_str!("program/90-main.sh"), true),
];

/// The program for a verb, as it is sent: without its comments.
fn program_for(verb: &str) -> &'static str {
    static WHOLE: LazyLock<String> = LazyLock::new(|| program(|_| true));
    static FOR_GIT: LazyLock<String> = LazyLock::new(|| program(|for_git| for_git));
    if matches!(verb, "receive" | "upload") { &FOR_GIT } else { &WHOLE }
}

/// The parts that are wanted, without the lines that are comments only. No text in quotes or of a
/// here-document in ours has such a line.
fn program(wanted: impl Fn(bool) -> bool) -> String {
    let parts = PARTS.iter().filter(|(_, for_git)| wanted(*for_git));
    let counts = |line: &&str| !matches!(line.trim_start().bytes().next(), None | Some(b'#'));
    let lines = parts.flat_map(|(part, _)| part.lines()).filter(counts);
    lines.flat_map(|line| [line, "\n"]).collect()
}

// One argument of a program may have 128 KiB on Linux; base64 makes four bytes of three.
const _: () = assert!(length() / 3 * 4 <= 90 << 10, "the guest program is too long to be sent");

const fn length() -> usize {
    let (mut sum, mut next) = (0, 0);
    while next < PARTS.len() {
        sum += PARTS[next].0.len();
        next += 1;
    }
    sum
}

/// A verb of the guest program with its arguments.
#[derive(Debug, Clone)]
pub struct Call {
    program: &'static str,
    verb: &'static str,
    args: Vec<Vec<u8>>,
}

impl Call {
    /// A call without arguments.
    #[must_use]
    pub fn new(verb: &'static str) -> Self {
        Self::of(program_for(verb), verb)
    }

    /// A call of another program that speaks as the guest program does; at most 90 KB in base64.
    #[must_use]
    pub fn of(program: &'static str, verb: &'static str) -> Self {
        Self { program, verb, args: Vec::new() }
    }

    /// Adds an argument: any bytes but NUL.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<[u8]>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// The command line for the login shell, whichever that is: it holds no character that any
    /// shell gives a meaning to, but for the one pair of quotes.
    pub(super) fn command_line(&self, nonce: &str) -> String {
        let hash = hash::short(self.program, 6);
        let mut line = format!(
            "exec sh -c 'eval \"$(printf %s \"$1\" | base64 -d)\"' agentvm {} {nonce} {hash} {} {}",
            BASE64.encode(self.program),
            now(),
            self.verb
        );
        for arg in &self.args {
            line.push(' ');
            line.push_str(&encode(arg));
        }
        line
    }
}

/// An argument as a plain word (`p` in front) where it is one, else in base64 (`b` in front).
fn encode(arg: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._/:@+,-".contains(byte);
    match std::str::from_utf8(arg) {
        Ok(text) if arg.iter().all(plain) => format!("p{text}"),
        _ => format!("b{}", BASE64.encode(arg)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_words_in_every_shell() {
        assert_eq!(encode(b"feature/a.b"), "pfeature/a.b");
        assert_eq!(encode(b""), "p");
        for arg in ["a b", "$(x)", "'", "ä", "~", "=x", "{a,b}", "!!", "\n"] {
            let word = encode(arg.as_bytes());
            assert!(word.starts_with('b'), "{arg:?}");
            assert!(word.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b)));
        }
    }
}
