//! SHA-256: short names made of it, and what files are.

use std::io::Read as _;
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

/// The SHA-256 of what is in a file, in lower-case hex.
///
/// # Errors
/// The file cannot be read; it is named.
pub fn of_file(path: &Path) -> std::io::Result<String> {
    let mut file = fs_err::File::open(path)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hex(&digest.finalize()));
        }
        digest.update(&buffer[..count]);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn known_value() {
        assert_eq!(super::short("abc", 4), "ba7816bf");
    }
}
