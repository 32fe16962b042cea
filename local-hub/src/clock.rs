//! The hub's idea of now, handed in so that tests can decide it.

use std::fmt;

use hub_types::Timestamp;
use time::OffsetDateTime;

/// Tells the time that documents carry and by which tokens expire.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> OffsetDateTime;
}

/// The clock of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }
}

/// The time now as documents carry it.
pub(crate) fn timestamp(clock: &dyn Clock) -> Timestamp {
    clock.now().into()
}
