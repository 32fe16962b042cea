//! The changes that no answer of a hub has confirmed or refused.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::hub::error::HubError;

/// The changes since the hub last answered one. Reads do not count: something may answer changes in the hub's
/// place, such as a proxy, and let reads pass.
#[derive(Debug, Default)]
pub(super) struct UnconfirmedChanges {
    count: u32,
    since: Option<Instant>,
    reported_failure: Option<Arc<HubError>>,
}

impl UnconfirmedChanges {
    /// A change was neither confirmed nor refused. `failure` is the failure that the hub itself reported.
    pub(super) fn failed(&mut self, failure: Option<HubError>, now: Instant) {
        self.reported_failure = failure.map(Arc::new);
        self.count = self.count.saturating_add(1);
        self.since.get_or_insert(now);
    }

    /// The failure that the hub itself reported for the last change.
    pub(super) fn reported_failure(&self) -> Option<Arc<HubError>> {
        self.reported_failure.clone()
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
