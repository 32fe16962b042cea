//! Notices about waits that would otherwise look as if the program hung: each once, with its length.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::service_status::{ServiceStatus, WaitReason};

/// Until when people know that something is waited for.
#[derive(Debug, Default)]
pub(super) struct WaitNotices {
    told_until: Option<Instant>,
    told_rate_limited: Option<Instant>,
    told_unanswered: Option<Instant>,
}

impl WaitNotices {
    /// Returns the notice for a wait that begins now, of a call that was first made at `since`.
    pub(super) fn waits(
        &mut self,
        reason: WaitReason,
        wait: Duration,
        since: Instant,
        now: Instant,
    ) -> Option<ServiceStatus> {
        let end = now + wait;
        let silent_from = self.told_until.map_or(since, |told| told.max(since));
        if end.saturating_duration_since(silent_from) < LONG {
            return None;
        }
        self.told_until = Some(end);
        Some(ServiceStatus::Waiting(reason, wait))
    }

    /// Returns the notice for a wait for the hub's rate. Runs on a small hub wait so all the time: seldom.
    pub(super) fn rate_limited(&mut self, wait: Duration, now: Instant) -> Option<ServiceStatus> {
        let is_known = self.told_rate_limited.is_some_and(|told| now.duration_since(told) < SELDOM);
        // A wait that the hub asked for was said.
        let is_told = self.told_until.is_some_and(|told| now + wait < told + LONG);
        if wait < LONG || is_known || is_told {
            return None;
        }
        self.told_rate_limited = Some(now);
        Some(ServiceStatus::Waiting(WaitReason::RateLimited, wait))
    }

    /// Returns the notice for a call that has been under way for [`LONG`] while the hub answered no other.
    pub(super) fn unanswered(&mut self, now: Instant) -> Option<ServiceStatus> {
        if self.told_unanswered.is_some_and(|told| now.duration_since(told) < AGAIN) {
            return None;
        }
        self.told_unanswered = Some(now);
        Some(ServiceStatus::Unanswered(LONG))
    }
}

/// People believe that a program hangs when it says nothing for longer.
pub(super) const LONG: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_secs(60);
const SELDOM: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_wait_of_minutes_is_said_once_however_many_wait() {
        let now = Instant::now();
        let mut notices = WaitNotices::default();
        let said = notices.waits(WaitReason::AskedByHub, seconds(120), now, now);
        assert_eq!(said, Some(ServiceStatus::Waiting(WaitReason::AskedByHub, seconds(120))));
        for worker in 0..4 {
            let now = now + Duration::from_millis(worker);
            assert_eq!(notices.waits(WaitReason::AskedByHub, seconds(120), now, now), None);
            assert_eq!(notices.rate_limited(seconds(120), now), None);
        }
        // What comes after it is news.
        let later = now + seconds(120);
        assert!(notices.waits(WaitReason::Throttled, seconds(45), now, later).is_some());
    }

    #[test]
    fn short_waits_are_said_when_together_they_are_long() {
        let begun = Instant::now();
        let mut notices = WaitNotices::default();
        let mut now = begun;
        for (wait, is_said) in
            [(900, false), (900, false), (900, true), (900, false), (900, false), (900, true)]
        {
            let wait = Duration::from_millis(wait);
            assert_eq!(
                notices.waits(WaitReason::HubFailed, wait, begun, now).is_some(),
                is_said,
                "{:?}",
                now - begun
            );
            now += wait;
        }
    }

    #[test]
    fn no_silence_is_longer_than_its_bound_however_long_a_storm_lasts() {
        let begun = Instant::now();
        let (mut notices, mut now, mut heard) = (WaitNotices::default(), begun, begun);
        for step in 0..1_000_u64 {
            let wait = Duration::from_millis(step * 7_919 % 60_000);
            if notices.waits(WaitReason::Throttled, wait, begun, now).is_some() {
                heard = now + wait;
            }
            now += wait;
            assert!(now.saturating_duration_since(heard) < LONG, "{:?}", now - heard);
        }
    }
}
