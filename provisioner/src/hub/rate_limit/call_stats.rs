//! The statistics of the calls to a hub: for people, no decision depends on them.

use std::time::Duration;

use tokio::time::Instant;

/// The statistics of the calls to a hub so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CallStats {
    /// Calls that ended, in whatever way.
    pub(crate) calls: u64,
    /// Those that the hub did not answer, or answered with a failure of its own.
    pub(crate) failed: u64,
    /// Those that the hub refused because there were too many (HTTP 429).
    pub(crate) throttled: u64,
    /// The time that calls were delayed to keep to the hub's rate.
    pub(crate) throttled_for: Duration,
    /// The time that calls waited for an unavailable hub.
    pub(crate) outage_for: Duration,
}

/// A clock that runs as long as anybody waits. Those who wait at the same time count once.
#[derive(Debug, Default)]
pub(super) struct Stopwatch {
    waiting: u32,
    since: Option<Instant>,
    total: Duration,
}

impl Stopwatch {
    pub(super) fn enter(&mut self, now: Instant) {
        self.waiting += 1;
        self.since.get_or_insert(now);
    }

    pub(super) fn leave(&mut self, now: Instant) {
        self.waiting = self.waiting.saturating_sub(1);
        if self.waiting == 0 {
            self.total = self.total(now);
            self.since = None;
        }
    }

    pub(super) fn total(&self, now: Instant) -> Duration {
        self.total + self.since.map_or(Duration::ZERO, |since| now - since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_wait_together_count_once_and_the_last_one_stops_the_clock() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut watch = Stopwatch::default();
        watch.enter(at(0));
        watch.enter(at(1));
        watch.leave(at(3));
        assert_eq!(watch.total(at(4)).as_secs(), 4, "one still waits");
        watch.leave(at(5));
        assert_eq!(watch.total(at(9)).as_secs(), 5);
        watch.enter(at(10));
        watch.leave(at(12));
        assert_eq!(watch.total(at(20)).as_secs(), 7);
    }
}
