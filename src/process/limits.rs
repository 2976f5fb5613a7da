//! Limits of time over all that this process runs, for a command that has to answer soon whatever
//! hangs.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

struct Hurry {
    each: Duration,
    end: Instant,
}

static HURRY: OnceLock<Hurry> = OnceLock::new();

/// From now on no program runs longer than `each`, and none after `all` is over.
pub fn hurry(each: Duration, all: Duration) {
    // Whoever was first has said it for the whole process.
    HURRY.set(Hurry { each, end: Instant::now() + all }).ok();
}

/// A limit of time, or the shorter one that [`hurry`] leaves.
#[must_use]
pub fn within_limits(limit: Option<Duration>) -> Option<Duration> {
    let Some(hurry) = HURRY.get() else { return limit };
    let left = hurry.each.min(hurry.end.saturating_duration_since(Instant::now()));
    Some(limit.map_or(left, |limit| limit.min(left)))
}
