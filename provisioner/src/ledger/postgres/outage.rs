//! Outages of the database, as people are told of them.

use std::time::{Duration, Instant};

use crate::sign::{Service, Sign};

/// The time in which a call is made in vain.
pub(super) struct Outage {
    begun: Instant,
    is_told: bool,
}

impl Outage {
    /// Begins with the first try of a call.
    pub(super) fn new(now: Instant) -> Self {
        Self { begun: now, is_told: false }
    }

    /// Another try has failed.
    pub(super) fn failed(&mut self, now: Instant) -> Option<Sign> {
        let is_news = !self.is_told && now - self.begun >= BRIEF;
        self.is_told |= is_news;
        is_news.then_some(Sign::Down(Service::Ledger))
    }

    /// The call was made.
    pub(super) fn over(self, now: Instant) -> Option<Sign> {
        self.is_told.then(|| Sign::Back(Service::Ledger, now - self.begun))
    }
}

/// Nobody need know of a shorter outage.
const BRIEF: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_once_when_it_lasts() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut brief = Outage::new(begun);
        assert_eq!(brief.failed(at(1)), None);
        assert_eq!(
            brief.over(at(60)),
            None,
            "who was never told that it is gone need not be told that it is back"
        );
        let mut long = Outage::new(begun);
        assert_eq!(long.failed(at(1)), None);
        assert_eq!(long.failed(at(3)), Some(Sign::Down(Service::Ledger)));
        assert_eq!(long.failed(at(9)), None);
        assert_eq!(long.over(at(12)), Some(Sign::Back(Service::Ledger, Duration::from_secs(12))));
    }
}
