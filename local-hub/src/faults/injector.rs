//! The faults of a running hub, and the selection of those that hit the next request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::watch;

use super::{Effect, Fault, Faults, sampler};
use crate::clock::Clock;

/// Decides which faults hit a request.
///
/// Each server of operations calls [`Injector::inject`] once per request, with the operation's
/// name, and applies the result.
#[derive(Debug)]
pub(crate) struct Injector {
    state: Mutex<InjectorState>,
    clock: Arc<dyn Clock>,
    /// The number of times that the faults were set.
    generation: watch::Sender<u64>,
    /// True if the hub is unreachable on the network.
    offline: watch::Sender<bool>,
}

#[derive(Debug)]
struct InjectorState {
    faults: Faults,
    set_at: OffsetDateTime,
    /// Counts by the fault's index in the list and the operation.
    seen: HashMap<(usize, String), FaultCounts>,
}

#[derive(Debug, Default, Clone, Copy)]
struct FaultCounts {
    requests: u64,
    hits: u64,
}

/// The faults that hit one request.
#[derive(Debug, Default)]
pub(crate) struct InjectedFault {
    /// The delay before the operation.
    pub(crate) delay: Duration,
    /// The effect on the operation.
    pub(crate) effect: Option<Effect>,
}

impl InjectedFault {
    /// Adds an effect: delays add up, and of other effects the first one counts.
    fn add(&mut self, effect: &Effect) {
        match effect {
            Effect::Delay(delay) => self.delay = self.delay.saturating_add(*delay),
            effect if self.effect.is_none() => self.effect = Some(effect.clone()),
            _ => {}
        }
    }

    /// The name of the effect, for the request log.
    pub(crate) fn name(&self) -> Option<&'static str> {
        let delayed = (!self.delay.is_zero()).then_some("delay");
        self.effect.as_ref().map(Effect::name).or(delayed)
    }
}

impl Injector {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let state = InjectorState { faults: Faults::default(), set_at: clock.now(), seen: HashMap::new() };
        Self {
            state: Mutex::new(state),
            clock,
            generation: watch::Sender::new(0),
            offline: watch::Sender::new(false),
        }
    }

    /// Replaces the faults; counts and time restart, and hanging requests end.
    pub(crate) fn set(&self, faults: Faults) {
        *self.lock() = InjectorState { faults, set_at: self.clock.now(), seen: HashMap::new() };
        self.generation.send_modify(|generation| *generation += 1);
    }

    pub(crate) fn faults(&self) -> Faults {
        self.lock().faults.clone()
    }

    /// Returns the faults that hit the next request of an operation.
    pub(crate) fn inject(&self, operation: &str) -> InjectedFault {
        let mut state = self.lock();
        let mut injected = InjectedFault::default();
        if state.faults.faults.is_empty() {
            return injected;
        }
        let passed = self.clock.now() - state.set_at;
        let InjectorState { faults, seen, .. } = &mut *state;
        for (place, fault) in faults.faults.iter().enumerate() {
            if fault.operation.as_deref().is_some_and(|name| name != operation) {
                continue;
            }
            let seen = seen.entry((place, operation.to_owned())).or_default();
            if !seen.is_hit_by(fault, faults.seed, place, operation, passed) {
                continue;
            }
            injected.add(&fault.effect);
        }
        injected
    }

    /// Waits for a time, or without end; returns early when the faults are set again.
    pub(crate) async fn hang(&self, duration: Option<Duration>) {
        let mut generation = self.generation.subscribe();
        let duration = duration.unwrap_or(Duration::MAX);
        // The sender lives as long as this does.
        let _ = tokio::time::timeout(duration, generation.changed()).await;
    }

    pub(crate) fn set_offline(&self, offline: bool) {
        self.offline.send_replace(offline);
    }

    /// Watches whether the hub is unreachable on the network: then every listener ends its connections
    /// and resets new ones.
    pub(crate) fn offline(&self) -> watch::Receiver<bool> {
        self.offline.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, InjectorState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FaultCounts {
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
            && sampler::hits(seed, place, operation, n, fault.probability);
        self.hits += u64::from(hit);
        hit
    }
}
