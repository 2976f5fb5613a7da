//! Untrusted text to safe text.
//!
//! Whatever the VM says may hold escape sequences, bidirectional overrides and invalid UTF-8 that
//! would rewrite a user's terminal or disguise a name. [`GuestText`] holds such bytes and can be
//! shown only through its [`Display`](std::fmt::Display), which makes every such character visible.

use std::borrow::Cow;
use std::fmt;

/// Bytes that came from the VM. Comparing and parsing use the bytes; showing cleans them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GuestText(Vec<u8>);

impl GuestText {
    /// Takes the bytes as they came.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes as they came, for parsing. Never print them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text as UTF-8 if it is that and one safe line, for strict parsing.
    #[must_use]
    pub fn as_clean_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok().filter(|text| text.chars().all(is_safe))
    }
}

impl fmt::Display for GuestText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&line(&self.0))
    }
}

impl fmt::Debug for GuestText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GuestText({self})")
    }
}

impl serde::Serialize for GuestText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&line(&self.0))
    }
}

/// One line of safe text: control characters (C0, DEL, C1), line and paragraph separators,
/// bidirectional controls, invisible format characters and invalid bytes become visible escapes
/// (`\x1b`, `\u{202e}`). Borrowed where nothing had to change.
#[must_use]
pub fn line(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes)
        && text.chars().all(is_safe)
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_visible(&mut out, c);
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    Cow::Owned(out)
}

/// The same for text that the host holds as a string.
#[must_use]
pub fn text(text: &str) -> Cow<'_, str> {
    line(text.as_bytes())
}

fn push_visible(out: &mut String, c: char) {
    match c {
        _ if is_safe(c) => out.push(c),
        '\t' => out.push(' '),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        c if (c as u32) < 0x100 => out.push_str(&format!("\\x{:02x}", c as u32)),
        c => out.push_str(&format!("\\u{{{:x}}}", c as u32)),
    }
}

/// Whether a character shows as itself, in its place, on every terminal.
#[must_use]
pub fn is_safe(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// A path as a shell takes it, for commands that are shown to be typed.
#[must_use]
pub fn shell_path(path: &std::path::Path) -> String {
    let path = text(&path.to_string_lossy()).into_owned();
    if !path.is_empty() && path.chars().all(|c| c.is_alphanumeric() || "/._-+@".contains(c)) {
        return path;
    }
    format!("'{}'", path.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_borrowed() {
        assert!(matches!(line("grüße 漢字 🦀".as_bytes()), Cow::Borrowed("grüße 漢字 🦀")));
    }

    #[test]
    fn each_trick_becomes_visible() {
        for (dirty, clean) in [
            (&b"\x1b[31mred"[..], "\\x1b[31mred"),
            (b"\x1b]0;title\x07", "\\x1b]0;title\\x07"),
            (b"a\x08b\x7f", "a\\x08b\\x7f"),
            (b"line\nnext\r", "line\\nnext\\r"),
            ("c1\u{9b}31m".as_bytes(), "c1\\x9b31m"),
            ("abc\u{202e}txt".as_bytes(), "abc\\u{202e}txt"),
            ("zero\u{200b}width".as_bytes(), "zero\\u{200b}width"),
            ("tag\u{e0041}".as_bytes(), "tag\\u{e0041}"),
            (b"latin\xe9", "latin\\xe9"),
            (b"tab\there", "tab here"),
            (b"nul\0", "nul\\x00"),
        ] {
            assert_eq!(line(dirty), clean);
        }
    }

    #[test]
    fn debug_and_json_are_clean_too() {
        let text = GuestText::new(&b"\x1b[2J"[..]);
        assert_eq!(format!("{text:?}"), "GuestText(\\x1b[2J)");
        assert_eq!(serde_json::to_string(&text).unwrap(), "\"\\\\x1b[2J\"");
    }

    proptest::proptest! {
        #[test]
        fn no_unsafe_character_comes_through(bytes: Vec<u8>) {
            proptest::prop_assert!(line(&bytes).chars().all(is_safe));
        }
    }
}
