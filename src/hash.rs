//! Short names made of hashes.

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

#[cfg(test)]
mod tests {
    #[test]
    fn known_value() {
        assert_eq!(super::short("abc", 4), "ba7816bf");
    }
}
