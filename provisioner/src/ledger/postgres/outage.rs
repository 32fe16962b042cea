//! Outages of the database, and their notices to people.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::service_status::{Service, ServiceStatus, StatusListener};

/// The time in which no server of the database answers.
#[derive(Default)]
pub(super) struct DatabaseOutage {
    begun: Mutex<Option<Begun>>,
    status: StatusListener,
}

#[derive(Clone, Copy)]
struct Begun {
    at: Instant,
    is_told: bool,
}

impl DatabaseOutage {
    /// No outage so far. `status` is told when one lasts, and when it is over.
    pub(super) fn new(status: StatusListener) -> Self {
        Self { begun: Mutex::default(), status }
    }

    /// Records an overdue response or a failed attempt. People are notified if that lasts.
    pub(super) fn failed(&self) {
        self.status.tell(self.failed_at(Instant::now()));
    }

    /// A call was answered.
    pub(super) fn over(&self) {
        self.status.tell(self.over_at(Instant::now()));
    }

    /// The time since a server last responded.
    pub(super) fn length(&self) -> Duration {
        self.begun().map_or(Duration::ZERO, |begun| begun.at.elapsed())
    }

    /// Starts with the first call without a response.
    pub(super) fn begin(&self, at: Instant) {
        self.set(|begun| *begun = Some(begun.unwrap_or(Begun { at, is_told: false })));
    }

    fn failed_at(&self, now: Instant) -> Option<ServiceStatus> {
        self.begin(now);
        self.set(|begun| {
            let begun = begun.as_mut()?;
            let is_news = !begun.is_told && now - begun.at >= BRIEF;
            begun.is_told |= is_news;
            is_news.then_some(ServiceStatus::Unavailable(Service::Ledger))
        })
    }

    fn over_at(&self, now: Instant) -> Option<ServiceStatus> {
        let begun = self.set(Option::take)?;
        begun.is_told.then(|| ServiceStatus::Recovered(Service::Ledger, now - begun.at))
    }

    fn begun(&self) -> Option<Begun> {
        self.set(|begun| *begun)
    }

    fn set<T>(&self, change: impl FnOnce(&mut Option<Begun>) -> T) -> T {
        change(&mut self.begun.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The duration from which on people are notified of an outage.
pub(super) const BRIEF: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_once_when_it_lasts() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let brief = DatabaseOutage::default();
        brief.begin(begun);
        assert_eq!(brief.failed_at(at(1)), None);
        assert_eq!(
            brief.over_at(at(60)),
            None,
            "who was never told that it is gone need not be told that it is back"
        );
        let long = DatabaseOutage::default();
        long.begin(begun);
        assert_eq!(long.failed_at(at(1)), None);
        assert_eq!(long.failed_at(at(3)), Some(ServiceStatus::Unavailable(Service::Ledger)));
        assert_eq!(long.failed_at(at(9)), None);
        assert_eq!(
            long.over_at(at(12)),
            Some(ServiceStatus::Recovered(Service::Ledger, Duration::from_secs(12)))
        );
    }
}
