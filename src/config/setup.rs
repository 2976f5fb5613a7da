//! The settings of what a VM is set up with.

use std::time::Duration;

/// What a VM can have besides the packages of `common/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extra {
    /// Containers without root.
    Podman,
    /// Docker.
    Docker,
    /// QEMU and Lima, for VMs in the VM.
    Nested,
}

impl Extra {
    /// Those that a VM has where nothing else is said.
    pub const DEFAULT: &[Self] = &[Self::Podman];

    const ALL: &[Self] = &[Self::Podman, Self::Docker, Self::Nested];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Podman => "podman",
            Self::Docker => "docker",
            Self::Nested => "nested",
        }
    }
}

/// The default of `agentvm.stageLimit`: an emulated guest unpacks a hundred packages in five minutes.
pub(super) const STAGE_LIMIT: Duration = Duration::from_secs(30 * 60);
/// The longest that can be asked for.
const LONGEST: u64 = 24 * 60 * 60;

/// Words between blanks, or `none`.
pub(super) fn parse_extras(value: &str) -> Result<Vec<Extra>, String> {
    if value.trim() == "none" {
        return Ok(Vec::new());
    }
    let wrong = || "it is 'none', or some of 'podman', 'docker' and 'nested'".to_owned();
    let mut extras = value
        .split_whitespace()
        .map(|word| Extra::ALL.iter().copied().find(|extra| extra.word() == word))
        .collect::<Option<Vec<_>>>()
        .filter(|extras| !extras.is_empty())
        .ok_or_else(wrong)?;
    extras.sort_unstable();
    extras.dedup();
    Ok(extras)
}

/// A length of time: `90s`, `30m`, `2h`; a number alone is minutes. From a second to a day.
pub(super) fn parse_limit(value: &str) -> Result<Duration, String> {
    let value = value.trim();
    let (number, unit) =
        value.split_at(value.trim_end_matches(|c: char| !c.is_ascii_digit()).len());
    let unit = match unit.trim() {
        "s" => Some(1),
        "m" | "" => Some(60),
        "h" => Some(3600),
        _ => None,
    };
    let seconds = unit.and_then(|unit| number.parse::<u64>().ok()?.checked_mul(unit));
    seconds
        .filter(|seconds| (1..=LONGEST).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| "it is a time such as 90s, 30m or 2h, at most a day".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extras_are_words_in_any_order() {
        assert_eq!(parse_extras("nested  podman nested"), Ok(vec![Extra::Podman, Extra::Nested]));
        assert_eq!(parse_extras("none"), Ok(Vec::new()));
        for wrong in ["", "true", "podman none", "podman,docker", "Docker"] {
            assert!(parse_extras(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn limits_have_a_unit_or_are_minutes() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("2 h", 7200), ("5", 300)] {
            assert_eq!(parse_limit(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "0", "h", "-1", "1d", "25h", "1.5h", "99999999999999999999h", "１m"] {
            assert!(parse_limit(wrong).is_err(), "{wrong}");
        }
    }
}
