//! The guest's clock: a VM falls behind by as long as its host slept, and certificates, `apt` and
//! `make` then fail in odd ways. Lima's own synchronisation is part of what `plain` leaves out.

use crate::guest::{Call, Guest, now};
use crate::provision::program;
use crate::ui;

/// Below this, in seconds, a difference is ordinary: of rounding, and of a busy machine.
const TOLERATED: i64 = 2;

/// Sets the guest's clock to ours if it is wrong by more than 2 seconds, and says so. `skew` is the
/// guest's time less ours, in seconds. A clock that can't be set is warned about.
pub fn mend(guest: &Guest, skew: i64) {
    if skew.abs() <= TOLERATED {
        return;
    }
    let words = in_words(skew);
    let describe = guest.describe();
    match set(guest) {
        Ok(()) => ui::note(&format!("the clock of the {describe} was {words} and is set right")),
        Err(error) => ui::warning(&format!(
            "the clock of the {describe} is {words} and cannot be set: {error:#}"
        )),
    }
}

/// The time goes over a session that is open already: opening one may take seconds.
fn set(guest: &Guest) -> anyhow::Result<()> {
    let call = Call::of(program::CLOCK, "clock");
    let mut session = guest.open(&call).map_err(|error| guest.explain(error))?;
    session.send(format!("{}\n", now()).as_bytes())?;
    session.fields().map(|_| ())
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
