//! The hub's clock, which is injected so that tests can set the time.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hub_types::Timestamp;
use time::{Duration, OffsetDateTime, PrimitiveDateTime, UtcOffset};

/// Returns the time that documents carry, and that controls the expiry of tokens, the periods of
/// quotas and the time windows of faults.
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

/// A clock that can be moved while the hub runs: it follows a base clock at an offset, or is
/// stopped.
#[derive(Debug)]
pub struct MovableClock {
    base: Arc<dyn Clock>,
    state: Mutex<ClockState>,
}

#[derive(Debug, Clone, Copy)]
enum ClockState {
    StoppedAt(OffsetDateTime),
    OffsetBy(Duration),
}

impl MovableClock {
    /// A clock that shows the time of `base` until it is moved.
    pub fn over(base: Arc<dyn Clock>) -> Self {
        Self { base, state: Mutex::new(ClockState::OffsetBy(Duration::ZERO)) }
    }

    /// Moves the clock, backwards if `by` is negative. A time outside of the calendar becomes its
    /// first or last one.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state();
        *state = match *state {
            ClockState::StoppedAt(time) => ClockState::StoppedAt(time.saturating_add(by)),
            ClockState::OffsetBy(distance) => ClockState::OffsetBy(distance.saturating_add(by)),
        };
    }

    /// Sets the clock to a time. A running clock continues from there.
    pub fn set(&self, time: OffsetDateTime) {
        let time = utc(time);
        let mut state = self.state();
        *state = match *state {
            ClockState::StoppedAt(_) => ClockState::StoppedAt(time),
            ClockState::OffsetBy(_) => ClockState::OffsetBy(time - self.base.now()),
        };
    }

    /// Stops the clock at its present time.
    pub fn stop(&self) {
        let now = self.now();
        *self.state() = ClockState::StoppedAt(now);
    }

    /// Returns true if the clock is stopped.
    pub fn is_stopped(&self) -> bool {
        matches!(*self.state(), ClockState::StoppedAt(_))
    }

    /// Resumes the clock from its present time.
    pub fn resume(&self) {
        let now = self.now();
        *self.state() = ClockState::OffsetBy(now - self.base.now());
    }

    fn state(&self) -> MutexGuard<'_, ClockState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for MovableClock {
    fn now(&self) -> OffsetDateTime {
        match *self.state() {
            ClockState::StoppedAt(time) => time,
            ClockState::OffsetBy(distance) => self.base.now().saturating_add(distance),
        }
    }
}

/// The same moment in UTC; at the ends of the calendar, the nearest representable one.
pub(crate) fn utc(time: OffsetDateTime) -> OffsetDateTime {
    let end = if time.year() < 0 { PrimitiveDateTime::MIN } else { PrimitiveDateTime::MAX };
    time.checked_to_offset(UtcOffset::UTC).unwrap_or_else(|| end.assume_utc())
}

/// The time later by `by`; at the end of the calendar, its last time.
pub(crate) fn later(time: OffsetDateTime, by: std::time::Duration) -> OffsetDateTime {
    let by = Duration::try_from(by).unwrap_or(Duration::MAX);
    time.saturating_add(by)
}

/// The present time in the form that documents carry.
pub(crate) fn timestamp(clock: &dyn Clock) -> Timestamp {
    clock.now().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_time() -> impl Strategy<Value = OffsetDateTime> {
        let (first, last) = (time::Date::MIN.midnight(), time::Date::MAX.midnight());
        let seconds = first.assume_utc().unix_timestamp()..=last.assume_utc().unix_timestamp();
        let ends = [first, last, PrimitiveDateTime::MAX];
        let at_an_end = (0..ends.len()).prop_map(move |end| ends[end].assume_utc());
        let time = prop_oneof![
            seconds.prop_map(|seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap()),
            at_an_end
        ];
        (time, -23_i8..24)
            .prop_map(|(time, hours)| time.replace_offset(UtcOffset::from_hms(hours, 0, 0).unwrap()))
    }

    fn any_duration() -> impl Strategy<Value = Duration> {
        prop_oneof![any::<i64>().prop_map(Duration::seconds), Just(Duration::MAX), Just(Duration::MIN),]
    }

    proptest! {
        #[test]
        fn no_arithmetic_on_times_overflows(
            start in any_time(), set in any_time(), by in any_duration(), more in any_duration(), seconds: u64,
        ) {
            let stopped = MovableClock::over(Arc::new(SystemClock));
            stopped.set(start);
            stopped.stop();
            let clock = MovableClock::over(Arc::new(stopped));
            clock.advance(by);
            clock.set(set);
            clock.advance(more);
            let _ = timestamp(&clock);
            clock.stop();
            clock.advance(by);
            clock.resume();
            prop_assert!(later(clock.now(), std::time::Duration::from_secs(seconds)) >= clock.now());
        }
    }
}
