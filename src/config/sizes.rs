//! Numbers of processors, and sizes with units.

/// The smallest memory that a guest works with, in bytes.
pub const MIN_MEMORY: u64 = 1 << 30;
/// The smallest disk that holds the image, in bytes.
const MIN_DISK: u64 = 4 << 30;

/// A number of virtual processors, 1 to 256.
pub fn parse_cpus(value: &str) -> Result<u32, String> {
    value
        .trim()
        .parse()
        .ok()
        .filter(|cpus| (1..=256).contains(cpus))
        .ok_or_else(|| "it is a number from 1 to 256".into())
}

/// A size of memory in bytes, at least 1 GiB; see [`parse_size`].
pub fn parse_memory(value: &str) -> Result<u64, String> {
    at_least(value, MIN_MEMORY, "1 GiB")
}

/// A size of a disk in bytes, at least 4 GiB; see [`parse_size`].
pub fn parse_disk(value: &str) -> Result<u64, String> {
    at_least(value, MIN_DISK, "4 GiB")
}

fn at_least(value: &str, least: u64, name: &str) -> Result<u64, String> {
    parse_size(value).and_then(|bytes| {
        if bytes < least { Err(format!("the least is {name}")) } else { Ok(bytes) }
    })
}

/// A size in bytes: `8GiB`, `8G`, `8g`, `512MiB`, `1.5GiB`, `8GB`; a number without a unit is GiB.
/// As in Lima, every unit is a power of 1024.
pub fn parse_size(value: &str) -> Result<u64, String> {
    let wrong = || "it is a size such as 8GiB or 512MiB (a number alone is GiB)".to_owned();
    let value = value.trim();
    let split = value.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(value.len());
    let (number, unit) = value.split_at(split);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let power = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "g" | "gb" | "gib" => 30,
        "m" | "mb" | "mib" => 20,
        "t" | "tb" | "tib" => 40,
        "k" | "kb" | "kib" => 10,
        _ => return Err(wrong()),
    };
    let bytes = number * f64::from(2_u32).powi(power);
    if !(1.0..=1e17).contains(&bytes) {
        return Err(wrong());
    }
    // In range, so neither cut nor negative.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("8", 8 << 30),
            ("8GiB", 8 << 30),
            ("8g", 8 << 30),
            ("1.5 GiB", 3 << 29),
            ("512MiB", 512 << 20),
            ("1T", 1 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "x", "-1", "8 apples", "0", "1e9", "NaN", "inf"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
