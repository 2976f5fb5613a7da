//! What git tells a helper with `option NAME VALUE` (gitremote-helpers(7)).

/// The options of one git command.
// Each is one of git's options, and independent of the others.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// 0 for `--quiet`, 1 normally, one more for each `--verbose`.
    pub verbosity: Verbosity,
    /// Whether progress is shown.
    pub progress: bool,
    /// Nothing is changed on the other side.
    pub dry_run: bool,
    /// `--force-with-lease=REF:ID`, one for each.
    pub leases: Vec<String>,
    /// `--force-if-includes`.
    pub force_if_includes: bool,
    /// All refs or none.
    pub atomic: bool,
    /// `--push-option`.
    pub push_options: Vec<String>,
    /// `--depth`.
    pub depth: Option<String>,
    /// `--shallow-since`.
    pub deepen_since: Option<String>,
    /// `--shallow-exclude`.
    pub deepen_not: Vec<String>,
    /// `--deepen`.
    pub deepen_relative: bool,
    /// Whether new shallow roots may come.
    pub update_shallow: bool,
    /// `git clone --reject-shallow`.
    pub reject_shallow: bool,
    /// `--refetch`: everything, whatever is here already.
    pub refetch: bool,
    /// The fetch is a clone's.
    pub cloning: bool,
    /// `--filter`.
    pub filter: Option<String>,
    /// git reads `:object-format` lines.
    pub object_format: bool,
}

/// How much git was asked to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Verbosity {
    /// `--quiet`.
    Quiet,
    /// Neither.
    #[default]
    Normal,
    /// `--verbose`.
    Verbose,
    /// `-vv` and more.
    Debug,
}

impl Options {
    /// Takes one option; `false` where it is not one that we obey.
    pub fn set(&mut self, name: &str, value: &str) -> bool {
        let flag = value == "true";
        match name {
            "verbosity" => {
                self.verbosity = match value.parse::<i32>() {
                    Ok(..=0) => Verbosity::Quiet,
                    Ok(1) => Verbosity::Normal,
                    Ok(2) => Verbosity::Verbose,
                    Ok(_) => Verbosity::Debug,
                    Err(_) => return false,
                }
            }
            "progress" => self.progress = flag,
            "dry-run" => self.dry_run = flag,
            "cas" => self.leases.push(value.to_owned()),
            "force-if-includes" => self.force_if_includes = flag,
            "atomic" => self.atomic = flag,
            "push-option" => self.push_options.push(unquote(value)),
            "depth" => self.depth = Some(value.to_owned()),
            "deepen-since" => self.deepen_since = Some(value.to_owned()),
            "deepen-not" => self.deepen_not.push(value.to_owned()),
            "deepen-relative" => self.deepen_relative = flag,
            "update-shallow" => self.update_shallow = flag,
            "rejectshallow" => self.reject_shallow = true,
            "refetch" => self.refetch = flag,
            "cloning" => self.cloning = flag,
            "filter" => self.filter = Some(value.to_owned()),
            "object-format" => self.object_format = true,
            // Asked for or not, no tags are listed.
            "followtags" => {}
            // A workspace never asks for one. Where it must be signed, git says that we cannot.
            "pushcert" => return value == "if-asked",
            _ => return false,
        }
        true
    }
}

/// git writes a value that holds odd characters in C quotes.
fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut out = Vec::new();
    let mut bytes = inner.bytes().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'n') => out.push(b'\n'),
            Some(b't') => out.push(b'\t'),
            Some(first @ b'0'..=b'3') => {
                let mut number = first - b'0';
                for _ in 0..2 {
                    if let Some(digit @ b'0'..=b'7') = bytes.peek().copied() {
                        number = number * 8 + (digit - b'0');
                        bytes.next();
                    }
                }
                out.push(number);
            }
            Some(other) => out.push(other),
            None => out.push(b'\\'),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_options_are_taken_and_others_are_not() {
        let mut options = Options::default();
        assert!(options.set("verbosity", "0"));
        assert!(options.set("cas", "refs/heads/a:0000"));
        assert!(options.set("push-option", "\"a\\\"b\\303\\244\""));
        assert!(!options.set("no-such-option", "true"));
        assert_eq!(options.verbosity, Verbosity::Quiet);
        assert_eq!(options.push_options, ["a\"bä"]);
    }
}
