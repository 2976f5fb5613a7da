//! Limits of time that a guest cannot talk itself out of.

use std::time::Duration;

use super::Session;

/// What a program of the guest may need besides its limit of time: to be ended, and to wait for debconf.
const MARGIN: Duration = Duration::from_secs(600);

/// A limit of time, or what `GIT_AGENT_VM_TIME_LIMIT` (seconds) allows at most.
#[must_use]
pub fn time_limit(normal: Duration) -> Duration {
    let normal = crate::process::within_limits(Some(normal)).unwrap_or(normal);
    std::env::var("GIT_AGENT_VM_TIME_LIMIT")
        .ok()
        .and_then(|value| value.parse().ok())
        .map_or(normal, |seconds: u64| Duration::from_secs(seconds.max(1)).min(normal))
}

impl Session {
    /// Gives the session up after this time, however much the guest says.
    pub fn end_after(&mut self, limit: Duration) {
        self.reader.end_after(time_limit(limit));
    }

    /// Gives the session up after what a guest takes at most that keeps to a limit for its work, and
    /// waits no longer than that for a run before it. It says by itself that it is slow, and a hostile
    /// one says something for ever.
    pub fn end_after_work(&mut self, limit: Duration) {
        self.end_after(limit.saturating_mul(2).saturating_add(MARGIN));
    }
}
