//! `agentvm.keepTrash`: how long the trash keeps things, in git's style for times of expiry.

/// For how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepTrash {
    /// Until someone empties it.
    Forever,
    /// This many seconds, at least a day's.
    Seconds(u64),
}

const DAY: u64 = 86_400;
/// What a clean that was not meant can be taken back for without anybody's doing.
const DEFAULT: u64 = 30 * DAY;

impl Default for KeepTrash {
    fn default() -> Self {
        Self::Seconds(DEFAULT)
    }
}

impl KeepTrash {
    /// `never`, or a number and a unit as git takes them: `30.days`, `2 weeks`, `1.month.ago`. A month
    /// is 30 days, a year 365. Under a day, the trash would be none.
    pub fn parse(value: &str) -> Result<Self, String> {
        let wrong =
            || "it is 'never' or a time such as 30.days or 2.weeks, at least 1.day".to_owned();
        let words = value.split(['.', ' ']).filter(|word| !word.is_empty());
        let words: Vec<String> = words.map(str::to_ascii_lowercase).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (number, unit) = match words[..] {
            ["never"] => return Ok(Self::Forever),
            [number, unit] | [number, unit, "ago"] => (number, unit),
            _ => return Err(wrong()),
        };
        let seconds = match unit.strip_suffix('s').unwrap_or(unit) {
            "hour" => 3600,
            "day" => DAY,
            "week" => 7 * DAY,
            "month" => 30 * DAY,
            "year" => 365 * DAY,
            _ => return Err(wrong()),
        };
        let number: u32 = number.parse().map_err(|_| wrong())?;
        let seconds = u64::from(number) * seconds;
        if seconds < DAY { Err(wrong()) } else { Ok(Self::Seconds(seconds)) }
    }

    /// As the guest's verbs take it.
    #[must_use]
    pub fn word(self) -> String {
        match self {
            Self::Forever => "never".to_owned(),
            Self::Seconds(seconds) => seconds.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_gits() {
        for (text, days) in [
            ("30.days", 30),
            ("1.day", 1),
            ("2.weeks", 14),
            ("2 weeks ago", 14),
            ("48.hours", 2),
            ("1.month", 30),
            ("1.Year", 365),
        ] {
            assert_eq!(KeepTrash::parse(text), Ok(KeepTrash::Seconds(days * DAY)), "{text}");
        }
        assert_eq!(KeepTrash::parse("never"), Ok(KeepTrash::Forever));
    }

    #[test]
    fn what_would_empty_the_trash_at_once_is_refused() {
        for text in
            ["now", "all", "", "0", "30", "0.days", "23.hours", "-3.days", "false", "x.days"]
        {
            assert!(KeepTrash::parse(text).is_err(), "{text}");
        }
    }
}
