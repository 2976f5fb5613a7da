//! SHA-256: short names made of it, and what files are.

use std::io::Read;
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// The first `bytes` (1 to 32) of the SHA-256 of `input`, in lower-case hex.
#[must_use]
pub fn short(input: impl AsRef<[u8]>, bytes: usize) -> String {
    hex(&Sha256::digest(input)[..bytes])
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether all of it is lower-case hex digits.
#[must_use]
pub fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The SHA-256 of all that there is to read, in lower-case hex, and how many bytes that is.
pub fn of_reader(mut from: impl Read) -> std::io::Result<(String, u64)> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut size = 0;
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok((hex(&digest.finalize()), size));
        }
        digest.update(&buffer[..count]);
        size += count as u64;
    }
}

/// The SHA-256 of what is in a file, in lower-case hex.
pub fn of_file(path: &Path) -> std::io::Result<String> {
    Ok(of_reader(std::fs::File::open(path)?)?.0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn known_value() {
        assert_eq!(super::short("abc", 4), "ba7816bf");
    }
}
