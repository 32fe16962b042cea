//! The faults of a running hub, and the selection of those that hit the next request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::watch;

use super::{Effect, Fault, Faults, dice};
use crate::clock::Clock;
use crate::hub::Hub;

/// Decides which faults hit a request.
///
/// Each server of operations calls [`Injector::weather`] once per request, with the operation's
/// name, and applies the result.
#[derive(Debug)]
pub(crate) struct Injector {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    /// The number of times that the faults were set.
    edition: watch::Sender<u64>,
    /// True if the hub is unreachable on the network.
    gone: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    faults: Faults,
    set_at: OffsetDateTime,
    /// Counts by the fault's index in the list and the operation.
    seen: HashMap<(usize, String), Seen>,
    stale: Option<Arc<Hub>>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    requests: u64,
    hits: u64,
}

/// The faults that hit one request.
#[derive(Debug, Default)]
pub(crate) struct Weather {
    /// The delay before the operation.
    pub(crate) delay: Duration,
    /// The effect on the operation.
    pub(crate) effect: Option<Effect>,
    /// The hub that is queried in place of this one, for [`Effect::StalePage`].
    pub(crate) stale: Option<Arc<Hub>>,
}

impl Weather {
    /// The name of the effect, for the request log.
    pub(crate) fn name(&self) -> Option<&'static str> {
        let delayed = (!self.delay.is_zero()).then_some("delay");
        self.effect.as_ref().map(Effect::name).or(delayed)
    }
}

impl Injector {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let state =
            State { faults: Faults::default(), set_at: clock.now(), seen: HashMap::new(), stale: None };
        Self {
            state: Mutex::new(state),
            clock,
            edition: watch::Sender::new(0),
            gone: watch::Sender::new(false),
        }
    }

    /// Replaces the faults; counts and time restart, and hanging requests end. `stale` is the hub
    /// that stale pages show.
    pub(crate) fn set(&self, faults: Faults, stale: Option<Arc<Hub>>) {
        *self.lock() = State { faults, set_at: self.clock.now(), seen: HashMap::new(), stale };
        self.edition.send_modify(|edition| *edition += 1);
    }

    pub(crate) fn faults(&self) -> Faults {
        self.lock().faults.clone()
    }

    /// Returns the faults that hit the next request of an operation.
    pub(crate) fn weather(&self, operation: &str) -> Weather {
        let mut state = self.lock();
        let mut weather = Weather::default();
        if state.faults.faults.is_empty() {
            return weather;
        }
        let passed = self.clock.now() - state.set_at;
        let State { faults, seen, stale, .. } = &mut *state;
        for (place, fault) in faults.faults.iter().enumerate() {
            if fault.operation.as_deref().is_some_and(|name| name != operation) {
                continue;
            }
            let seen = seen.entry((place, operation.to_owned())).or_default();
            if !seen.is_hit_by(fault, faults.seed, place, operation, passed) {
                continue;
            }
            match &fault.effect {
                Effect::Delay(delay) => weather.delay = weather.delay.saturating_add(*delay),
                effect if weather.effect.is_none() => weather.effect = Some(effect.clone()),
                _ => {}
            }
        }
        if weather.effect == Some(Effect::StalePage) {
            weather.stale = stale.clone();
        }
        weather
    }

    /// Waits for a time, or without end; returns early when the faults are set again.
    pub(crate) async fn hang(&self, duration: Option<Duration>) {
        let mut edition = self.edition.subscribe();
        let duration = duration.unwrap_or(Duration::MAX);
        // The sender lives as long as this does.
        let _ = tokio::time::timeout(duration, edition.changed()).await;
    }

    pub(crate) fn set_gone(&self, gone: bool) {
        self.gone.send_replace(gone);
    }

    /// Watches whether the hub is unreachable on the network: then every listener ends its connections
    /// and resets new ones.
    pub(crate) fn gone(&self) -> watch::Receiver<bool> {
        self.gone.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn is_hit_by(
        &mut self,
        fault: &Fault,
        seed: u64,
        place: usize,
        operation: &str,
        passed: time::Duration,
    ) -> bool {
        let n = self.requests;
        self.requests += 1;
        let in_time = passed >= fault.from && fault.until.is_none_or(|until| passed < until);
        let hit = in_time
            && n >= fault.skip
            && fault.count.is_none_or(|count| self.hits < count)
            && dice::hits(seed, place, operation, n, fault.probability);
        self.hits += u64::from(hit);
        hit
    }
}
