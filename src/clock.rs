//! The guest's clock: a VM falls behind by as long as its host slept, and certificates, `apt` and
//! `make` then fail in odd ways. Lima's own synchronisation is part of what `plain` leaves out.

use crate::guest::{Call, Guest, now, skew_of, workspaces};
use crate::provision::program;
use crate::ui;

/// Below this, in seconds, a difference is ordinary: of rounding, and of a busy machine.
const TOLERATED: i64 = 2;

/// The guest's clock may be this far off before anybody is told, in seconds. A session takes up to a
/// second to open.
pub const NOTICED: i64 = 3;

/// Sets the guest's clock to ours if it is wrong by more than 2 seconds, and says so. `skew` is the
/// guest's time less ours, in seconds; what it is now comes back. A clock that can't be set is warned
/// about.
#[must_use]
pub fn mend(guest: &Guest, skew: i64) -> i64 {
    if skew.abs() <= TOLERATED {
        return skew;
    }
    let words = in_words(skew);
    let describe = guest.describe();
    match set(guest) {
        Ok(left) if left.abs() <= TOLERATED => {
            ui::note(&format!("the clock of the {describe} was {words} and is set right"));
            left
        }
        Ok(left) => {
            ui::warning(&format!(
                "the clock of the {describe} was {words}, was set, and is {}",
                in_words(left)
            ));
            left
        }
        Err(error) => {
            ui::warning(&format!(
                "the clock of the {describe} is {words} and cannot be set: {error:#}"
            ));
            skew
        }
    }
}

/// The time goes over a session that is open already: opening one may take seconds. Gives how far the
/// clock is off afterwards.
fn set(guest: &Guest) -> anyhow::Result<i64> {
    let call = Call::of(program::CLOCK, "clock");
    let mut session = guest.open(&call).map_err(|error| guest.explain(error))?;
    session.send(format!("{}\n", now()).as_bytes())?;
    let time = workspaces::single(session.fields()?, "time");
    let time = time.as_ref().and_then(|time| time.as_clean_str()?.parse().ok());
    time.map(skew_of).ok_or_else(|| anyhow::anyhow!("it does not tell what time it is now"))
}

/// `90 s behind`, `3 h ahead`.
#[must_use]
pub fn in_words(skew: i64) -> String {
    let seconds = skew.unsigned_abs();
    let amount = match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    };
    format!("{amount} {}", if skew < 0 { "behind" } else { "ahead" })
}

#[cfg(test)]
mod tests {
    use super::in_words;

    #[test]
    fn differences_are_said_in_a_fitting_unit() {
        assert_eq!(in_words(-3), "3 s behind");
        assert_eq!(in_words(600), "10 min ahead");
        assert_eq!(in_words(-21_600), "6 h behind");
        assert_eq!(in_words(-172_800), "2 days behind");
    }
}
