//! The changes that no answer of a hub has confirmed or refused.

use std::time::Duration;

use tokio::time::Instant;

/// The changes since the hub last answered one. Reads do not count: something may answer changes in the hub's
/// place, such as a proxy, and let reads pass.
#[derive(Debug, Default)]
pub(super) struct UnconfirmedChanges {
    count: u32,
    since: Option<Instant>,
}

impl UnconfirmedChanges {
    /// A change got no answer of a hub.
    pub(super) fn failed(&mut self, now: Instant) {
        self.count = self.count.saturating_add(1);
        self.since.get_or_insert(now);
    }

    /// For how long changes were not confirmed, if it was more than bad luck.
    pub(super) fn unconfirmed_for(&self, now: Instant) -> Option<Duration> {
        let time = self.since.map(|since| now - since)?;
        (self.count >= IN_A_ROW && time >= SILENCE).then_some(time)
    }
}

/// Fewer in a row are bad luck.
const IN_A_ROW: u32 = 5;
/// They have to be spread over so long.
const SILENCE: Duration = Duration::from_secs(3);
