//! The rate of calls to a hub or a DPS, and its availability: one budget for all workers of a process.
//!
//! Each call requests a permit first. Permits are granted at the rate that the hub's tier and units
//! allow, or, if those are unknown, at the rate that the hub shows (`token_bucket`). While the hub is
//! unavailable no permits are granted, and one caller probes until it is back (`circuit_breaker`). The rate
//! adapts only to the results of calls, which callers report to their permits.
//!
//! Source of the rates: "IoT Hub quotas and throttling". A hub first keeps calls waiting and then
//! refuses them with 429, without saying when to come back.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use hub_types::limits::{OperationClass, Tier, operations_per_second};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::classes::ErrorClass;
use super::error::HubError;
use crate::model::service_status::{StatusListener, WaitReason};
pub(crate) use call_stats::CallStats;
use call_stats::Stopwatch;
use circuit_breaker::{CircuitBreaker, Decision};
use notices::WaitNotices;
use token_bucket::TokenBucket;
use unconfirmed_changes::UnconfirmedChanges;

mod call_stats;
mod circuit_breaker;
mod notices;
mod token_bucket;
mod unconfirmed_changes;

/// The size of a hub, which bounds its call rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HubSize {
    /// The edition.
    pub(crate) tier: Tier,
    /// The number of units.
    pub(crate) units: NonZeroU32,
}

/// The throttle that a call falls under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CallClass {
    /// The one of a DPS.
    Dps,
    /// One of the throttles of a hub.
    Hub(OperationClass),
}

impl From<OperationClass> for CallClass {
    fn from(class: OperationClass) -> Self {
        Self::Hub(class)
    }
}

/// The budget of calls to one service.
pub(crate) struct RateLimiter {
    state: Mutex<State>,
    /// Places for the calls that are under way: each is a connection.
    concurrency: Semaphore,
    stop: OnceLock<CancellationToken>,
    status: StatusListener,
}

#[derive(Debug)]
struct State {
    tier: Option<(Tier, NonZeroU32)>,
    /// The operations that a DPS takes in a minute, where that is known.
    of_dps: Option<u32>,
    /// `None` as long as nobody has counted the others.
    share: Option<f64>,
    patience: Duration,
    longest_try: Duration,
    notices: WaitNotices,
    buckets: HashMap<CallClass, TokenBucket>,
    breaker: CircuitBreaker,
    changes: UnconfirmedChanges,
    /// The calls so far. How long they waited is in the stopwatches.
    stats: CallStats,
    throttled_for: Stopwatch,
    outage_for: Stopwatch,
}

/// The right to make one call, now.
#[derive(Debug)]
#[must_use = "say what came of the call"]
pub(crate) struct Permit<'p> {
    limiter: &'p RateLimiter,
    class: CallClass,
    cost: f64,
    begun: Instant,
    _slot: SemaphorePermit<'p>,
}

/// The result of a call, as far as the rate depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallEnd {
    /// No answer came, or none of a hub's, or the hub had a failure of its own.
    Failed,
    /// No answer came, for a reason that no waiting mends.
    Refused,
    /// The hub did, or refused, what it was asked.
    Served,
    /// The hub refused because there were too many calls.
    Throttled,
}

/// The outcome of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProbeEnd {
    /// It is still away.
    Away,
    /// It is back.
    Back,
    /// The next call will say what no waiting mends.
    Hopeless,
}

/// The reason why no permit is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The hub has been unavailable for this time, which is too long.
    Unavailable(Duration),
    /// The process is to stop, and would have to wait first.
    Stopped,
}

impl RateLimiter {
    /// A budget that nothing bounds until the hub shows its limits. `status` is told about waits and
    /// outages.
    pub(crate) fn new(status: StatusListener) -> Self {
        let state = State {
            tier: None,
            of_dps: None,
            share: None,
            patience: PATIENCE,
            longest_try: Duration::MAX,
            notices: WaitNotices::default(),
            buckets: HashMap::new(),
            breaker: CircuitBreaker::new(Instant::now()),
            changes: UnconfirmedChanges::default(),
            stats: CallStats::default(),
            throttled_for: Stopwatch::default(),
            outage_for: Stopwatch::default(),
        };
        let (state, concurrency) = (Mutex::new(state), Semaphore::new(MAX_UNDER_WAY));
        Self { state, concurrency, stop: OnceLock::new(), status }
    }

    /// Bounds the budget by what a hub of this tier and number of units takes. What was learnt so far
    /// is forgotten.
    pub(crate) fn set_tier(&self, tier: Tier, units: NonZeroU32) {
        let mut state = self.state();
        state.tier = Some((tier, units));
        state.buckets.clear();
    }

    /// Bounds the budget by the operations that a DPS takes in a minute.
    pub(crate) fn set_operations_per_minute(&self, operations: u32) {
        self.state().of_dps = Some(operations);
    }

    /// Takes only this share of the hub's rate, above 0 and at most 1, because others take theirs: for
    /// processes that share a ledger. Who is told so from the start finds nothing saved up at the hub.
    pub(crate) fn set_share(&self, share: f64) {
        let share = share.clamp(f64::MIN_POSITIVE, 1.0);
        let mut state = self.state();
        if state.share.replace(share).is_none() && share < 1.0 {
            state.buckets.clear();
        }
        let now = Instant::now();
        state.buckets.values_mut().for_each(|bucket| bucket.set_share(share, now));
    }

    /// Gives up a hub that has been down for so long; an hour unless this is called.
    pub(crate) fn set_patience(&self, patience: Duration) {
        self.state().patience = patience;
    }

    /// Gives the hub up after so long, whether it is down or takes no more calls: for who waits for one answer.
    pub(crate) fn be_brief(&self, patience: Duration) {
        let mut state = self.state();
        (state.patience, state.longest_try) = (patience, patience);
    }

    /// The longest time for which one call is tried again after an error of a class.
    pub(crate) fn longest_try(&self, class: ErrorClass) -> Duration {
        let state = self.state();
        let longest = match class {
            ErrorClass::Throttled => MAX_THROTTLED,
            _ => state.patience,
        };
        longest.min(state.longest_try)
    }

    /// True once the hub has answered a call.
    pub(crate) fn was_answered(&self) -> bool {
        self.state().breaker.was_answered()
    }

    /// The time in which no change was confirmed, if it is longer than the hub is waited for: something may
    /// answer changes in the hub's place and let reads pass.
    pub(crate) fn unconfirmed_too_long(&self) -> Option<Duration> {
        let state = self.state();
        state.changes.unconfirmed_for(Instant::now()).filter(|time| *time >= state.patience)
    }

    /// Tells that an answer of the hub has confirmed or refused a change.
    pub(crate) fn change_answered(&self) {
        self.state().changes = UnconfirmedChanges::default();
    }

    /// Tells that no answer of the hub has confirmed or refused a change. `failure` is the failure that the hub
    /// itself reported, if it did.
    pub(crate) fn change_failed(&self, failure: Option<HubError>) {
        self.state().changes.failed(failure, Instant::now());
    }

    /// The failure that the hub itself reported for the last change, if it did.
    pub(crate) fn reported_failure(&self) -> Option<Arc<HubError>> {
        self.state().changes.reported_failure()
    }

    /// True in a run, whose workers share this budget and can be stopped.
    pub(crate) fn can_be_stopped(&self) -> bool {
        self.stop.get().is_some()
    }

    /// Waits before the next try of a call that was first made at `begun`, and says so where it takes long.
    pub(crate) async fn back_off(
        &self,
        wait: Duration,
        reason: WaitReason,
        begun: Instant,
    ) -> Result<(), Denied> {
        let sign = self.state().notices.waits(reason, wait, begun, Instant::now());
        self.status.tell(sign);
        self.wait(wait, BRIEF).await
    }

    /// Waits for a sample.
    pub(crate) async fn rest(&self, wait: Duration) -> Result<(), Denied> {
        self.wait(wait, BRIEF).await
    }

    /// Waits for a call to end, and says so where the hub gives no answer to anybody for long.
    pub(crate) async fn watch<T>(&self, mut call: Pin<&mut impl Future<Output = T>>) -> T {
        let begun = Instant::now();
        match tokio::time::timeout(notices::LONG, call.as_mut()).await {
            Ok(ended) => ended,
            Err(_) => {
                let sign = {
                    let mut state = self.state();
                    let is_silent = state.breaker.is_silent_since(begun);
                    is_silent.then(|| state.notices.unanswered(Instant::now())).flatten()
                };
                self.status.tell(sign);
                call.await
            }
        }
    }

    /// Denies permits that would have to be waited for, once `stop` is cancelled. Only the first
    /// token counts.
    pub(crate) fn stop_with(&self, stop: CancellationToken) {
        // A second token would mean two masters; the first has the say.
        let _ = self.stop.set(stop);
    }

    /// Gives no permits of a class for so long, at most five minutes, because the hub asks for it.
    pub(crate) fn pause(&self, class: impl Into<CallClass>, wait: Duration) {
        let (wait, now) = (wait.min(MAX_PAUSE), Instant::now());
        let sign = {
            let mut state = self.state();
            state.bucket(class.into()).pause(wait, now);
            state.notices.waits(WaitReason::AskedByHub, wait, now, now)
        };
        self.status.tell(sign);
    }

    #[cfg(test)]
    /// Operations per second of a class that may begin; `None` as long as nothing is throttled.
    pub(crate) fn rate(&self, class: OperationClass) -> Option<f64> {
        self.state().buckets.get(&class.into()).and_then(TokenBucket::rate)
    }

    /// The statistics of the calls so far.
    pub(crate) fn call_stats(&self) -> CallStats {
        let (state, now) = (self.state(), Instant::now());
        CallStats {
            throttled_for: state.throttled_for.total(now),
            outage_for: state.outage_for.total(now),
            ..state.stats
        }
    }

    /// Waits until a call of `cost` operations may be made. While the hub is down, `probe` is called
    /// now and then, by one of those who wait.
    pub(crate) async fn permit<F>(
        &self,
        class: impl Into<CallClass>,
        cost: usize,
        probe: impl Fn() -> F,
    ) -> Result<Permit<'_>, Denied>
    where
        F: Future<Output = ProbeEnd>,
    {
        let class = class.into();
        let cost = f64::from(u32::try_from(cost).unwrap_or(u32::MAX));
        let reservation = Reservation { limiter: self, class, cost, is_used: false };
        let wait = self.state().bucket(class).reserve(cost, Instant::now());
        if !wait.is_zero() {
            let sign = self.state().notices.rate_limited(wait, Instant::now());
            self.status.tell(sign);
            let _delayed = WaitTimer::begin(self, |state| &mut state.throttled_for);
            self.wait(wait, BRIEF).await?;
        }
        // Only now: calls of other classes can go on while this one's is throttled.
        let slot = self.connection_slot().await?;
        let mut outage = None;
        loop {
            let decision = self.decide()?;
            if decision != Decision::Proceed {
                outage.get_or_insert_with(|| WaitTimer::begin(self, |state| &mut state.outage_for));
            }
            match decision {
                Decision::Proceed => return Ok(reservation.into_permit(slot)),
                Decision::Wait(wait) => self.wait(wait, Duration::ZERO).await?,
                Decision::Probe => {
                    let end = probe().await;
                    let sign = self.state().breaker.probed(end != ProbeEnd::Away, jitter(), Instant::now());
                    self.status.tell(sign.filter(|_| end != ProbeEnd::Hopeless));
                }
            }
        }
    }

    fn decide(&self) -> Result<Decision, Denied> {
        let now = Instant::now();
        let mut state = self.state();
        match state.breaker.outage_for(now) {
            Some(outage) if outage >= state.patience => Err(Denied::Unavailable(outage)),
            _ => Ok(state.breaker.decide(now)),
        }
    }

    /// Waits, unless the process is to stop and the wait is longer than `brief`.
    async fn wait(&self, wait: Duration, brief: Duration) -> Result<(), Denied> {
        let end = Instant::now() + wait;
        tokio::select! {
            () = sleep(wait) => Ok(()),
            () = self.stopped() => {
                let left = end.saturating_duration_since(Instant::now());
                if left > brief {
                    return Err(Denied::Stopped);
                }
                sleep(left).await;
                Ok(())
            }
        }
    }

    /// Waits until so few calls are under way that another may begin.
    async fn connection_slot(&self) -> Result<SemaphorePermit<'_>, Denied> {
        let stopped = async {
            self.stopped().await;
            sleep(BRIEF).await;
        };
        tokio::select! {
            biased;
            slot = self.concurrency.acquire() => slot.map_err(|_closed| Denied::Stopped),
            () = stopped => Err(Denied::Stopped),
        }
    }

    async fn stopped(&self) {
        match self.stop.get() {
            Some(stop) => stop.cancelled().await,
            None => std::future::pending().await,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn bucket(&mut self, class: CallClass) -> &mut TokenBucket {
        let (tier, of_dps, share) = (self.tier, self.of_dps, self.share.unwrap_or(1.0));
        self.buckets.entry(class).or_insert_with(|| {
            let (ceiling, floor) = match class {
                CallClass::Dps => (of_dps.map(|rate| f64::from(rate) / 60.0), LEAST_OF_DPS),
                CallClass::Hub(class) => (
                    tier.map(|(tier, units)| operations_per_second(class, tier, units)),
                    operations_per_second(class, Tier::S1, NonZeroU32::MIN),
                ),
            };
            TokenBucket::new(ceiling, floor.min(ceiling.unwrap_or(floor)), share, Instant::now())
        })
    }
}

/// The tokens taken from a bucket; they are returned if the wait for the rest is cancelled.
struct Reservation<'p> {
    limiter: &'p RateLimiter,
    class: CallClass,
    cost: f64,
    is_used: bool,
}

impl<'p> Reservation<'p> {
    fn into_permit(mut self, slot: SemaphorePermit<'p>) -> Permit<'p> {
        self.is_used = true;
        let begun = Instant::now();
        Permit { limiter: self.limiter, class: self.class, cost: self.cost, begun, _slot: slot }
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if !self.is_used {
            self.limiter.state().bucket(self.class).give_back(self.cost);
        }
    }
}

/// Somebody waits, until this is dropped.
struct WaitTimer<'p> {
    limiter: &'p RateLimiter,
    watch: fn(&mut State) -> &mut Stopwatch,
}

impl<'p> WaitTimer<'p> {
    fn begin(limiter: &'p RateLimiter, watch: fn(&mut State) -> &mut Stopwatch) -> Self {
        watch(&mut limiter.state()).enter(Instant::now());
        Self { limiter, watch }
    }
}

impl Drop for WaitTimer<'_> {
    fn drop(&mut self) {
        (self.watch)(&mut self.limiter.state()).leave(Instant::now());
    }
}

impl Permit<'_> {
    /// Tells how the call ended.
    pub(crate) fn ended(self, end: CallEnd) {
        let now = Instant::now();
        let mut state = self.limiter.state();
        state.stats.calls += 1;
        match end {
            CallEnd::Failed => {
                state.stats.failed += 1;
                state.breaker.failed(jitter(), now);
            }
            CallEnd::Refused => state.stats.failed += 1,
            CallEnd::Served => {
                state.breaker.answered(now);
                state.bucket(self.class).served(self.cost, now - self.begun, now);
            }
            CallEnd::Throttled => {
                state.stats.throttled += 1;
                state.breaker.answered(now);
                state.bucket(self.class).refused(now);
            }
        }
    }
}

impl std::fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimiter").field("state", &self.state).finish_non_exhaustive()
    }
}

/// A number from 0 to 1, drawn anew each time.
pub(crate) fn jitter() -> f64 {
    fastrand::f64()
}

/// The operations per second that a DPS grants at least: a tenth of its limit, because others may call it too.
const LEAST_OF_DPS: f64 = 1.6;
/// The duration of an outage after which the hub is given up.
const PATIENCE: Duration = Duration::from_secs(3600);
/// The longest time for which a throttled call is tried again.
pub(crate) const MAX_THROTTLED: Duration = Duration::from_secs(3600);
/// A hub that asks for more is tried sooner than it asks.
pub(crate) const MAX_PAUSE: Duration = Duration::from_secs(300);
/// As many calls as are under way at once where the fastest hub there is, of ten units of S3, takes 5,000
/// reads a second and answers after 50 ms. Workers that look at 100 identities each would otherwise open a
/// connection for every one.
const MAX_UNDER_WAY: usize = 256;
/// A wait that is finished even when the process is to stop.
const BRIEF: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
