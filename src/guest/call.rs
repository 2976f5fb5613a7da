//! What is sent to the guest: the guest program `program/*.sh`, and a verb with its arguments.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::now;
use crate::hash;

/// The guest program: one text in files of one job each, in the order of their numbers, and the jobs
/// that need them. What a verb does not need would only be decoded and read by a shell each time, and
/// all of it together is too long to be sent.
const PARTS: [(&str, u8); 15] = [
    (include_str!("program/10-common.sh"), EVERY),
    (include_str!("program/20-workspace.sh"), EVERY),
    (include_str!("program/30-mend.sh"), EVERY),
    (include_str!("program/32-incoming.sh"), GIT),
    (include_str!("program/40-receive.sh"), EVERY),
    (include_str!("program/50-upload.sh"), EVERY),
    (include_str!("program/60-inspect.sh"), LOOK),
    (include_str!("program/62-losses.sh"), LOOK | SAVE),
    (include_str!("program/63-disk.sh"), LOOK | TRASH | SAVE),
    (include_str!("program/64-trash.sh"), TRASH | SAVE),
    (include_str!("program/65-restore.sh"), TRASH),
    (include_str!("program/66-save.sh"), SAVE),
    (include_str!("program/68-wip.sh"), WIP),
    (include_str!("program/70-run.sh"), RUN),
    (include_str!("program/90-main.sh"), EVERY),
];

/// The jobs: serving git itself, looking into workspaces, what is removed, running commands, work that
/// is not committed, what is saved on the host.
const GIT: u8 = 1;
const LOOK: u8 = 2;
const TRASH: u8 = 4;
const RUN: u8 = 8;
const WIP: u8 = 16;
const SAVE: u8 = 32;
const EVERY: u8 = GIT | LOOK | TRASH | RUN | WIP | SAVE;

/// The job that a verb is part of.
fn job(verb: &str) -> u8 {
    match verb {
        "receive" | "upload" => GIT,
        "discard" | "trash" | "sweep" | "drop" | "restore" => TRASH,
        "list-for-saving" | "save" | "changed-since" | "unpack" => SAVE,
        "env" | "run" | "ended" => RUN,
        "snapshot" | "apply" => WIP,
        _ => LOOK,
    }
}

/// The program for a verb, as it is sent: without its comments.
fn program_for(verb: &str) -> &'static str {
    static TEXTS: [LazyLock<String>; 6] = [
        LazyLock::new(|| program(GIT)),
        LazyLock::new(|| program(LOOK)),
        LazyLock::new(|| program(TRASH)),
        LazyLock::new(|| program(RUN)),
        LazyLock::new(|| program(WIP)),
        LazyLock::new(|| program(SAVE)),
    ];
    &TEXTS[job(verb).trailing_zeros() as usize]
}

/// The parts that a job needs, without the lines that are comments only. No text in quotes or of a
/// here-document in ours has such a line.
fn program(job: u8) -> String {
    let parts = PARTS.iter().filter(|(_, jobs)| jobs & job != 0);
    let counts = |line: &&str| !matches!(line.trim_start().bytes().next(), None | Some(b'#'));
    let lines = parts.flat_map(|(part, _)| part.lines()).filter(counts);
    lines.flat_map(|line| [line, "\n"]).collect()
}

// One argument of a program may have 128 KiB on Linux; base64 makes four bytes of three.
const _: () = assert!(
    length(GIT) <= LONGEST
        && length(LOOK) <= LONGEST
        && length(TRASH) <= LONGEST
        && length(RUN) <= LONGEST
        && length(WIP) <= LONGEST
        && length(SAVE) <= LONGEST,
    "the guest program is too long to be sent"
);
const LONGEST: usize = (90 << 10) / 4 * 3;

/// The length of what a job is sent, in bytes.
const fn length(job: u8) -> usize {
    let (mut sum, mut next) = (0, 0);
    while next < PARTS.len() {
        if PARTS[next].1 & job != 0 {
            sum += LENGTHS[next];
        }
        next += 1;
    }
    sum
}

/// The lengths of the parts, as they are sent.
const LENGTHS: [usize; PARTS.len()] = {
    let (mut lengths, mut next) = ([0; PARTS.len()], 0);
    while next < PARTS.len() {
        lengths[next] = sent_of(PARTS[next].0.as_bytes());
        next += 1;
    }
    lengths
};

/// How many bytes of a part are in lines that are sent.
const fn sent_of(text: &[u8]) -> usize {
    let (mut sum, mut line, mut at) = (0, 0, 0);
    // What the line's first character says, once it was seen.
    let (mut counts, mut seen) = (false, false);
    while at < text.len() {
        match text[at] {
            b'\n' => {
                if counts {
                    sum += at + 1 - line;
                }
                line = at + 1;
                (counts, seen) = (false, false);
            }
            b' ' | b'\t' => {}
            first if !seen => (counts, seen) = (first != b'#', true),
            _ => {}
        }
        at += 1;
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

/// Text that the guest program decodes itself, later.
#[must_use]
pub fn encode_text(text: &str) -> String {
    BASE64.encode(text)
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
    fn what_is_sent_is_as_long_as_the_build_checks() {
        for job in [GIT, LOOK, TRASH, RUN, WIP, SAVE] {
            assert_eq!(program(job).len(), length(job), "{job}");
        }
    }

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
