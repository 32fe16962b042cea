//! The rate of calls to the hub, and its availability: one budget for all workers of a process.
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
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use hub_types::limits::{OperationClass, Tier, operations_per_second};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::model::service_status::tell;
use call_stats::Stopwatch;
pub use call_stats::Tally;
use circuit_breaker::{Breaker, Gate};
pub use notices::Reason;
use notices::Silence;
use token_bucket::Allowance;

mod call_stats;
mod circuit_breaker;
mod notices;
mod token_bucket;

/// The budget of calls to one hub.
pub struct Pace {
    state: Mutex<State>,
    /// Places for the calls that are under way: each is a connection.
    places: Semaphore,
    stop: OnceLock<CancellationToken>,
}

#[derive(Debug)]
struct State {
    tier: Option<(Tier, NonZeroU32)>,
    /// `None` as long as nobody has counted the others.
    share: Option<f64>,
    patience: Duration,
    longest_try: Duration,
    silence: Silence,
    allowances: HashMap<OperationClass, Allowance>,
    breaker: Breaker,
    /// The calls so far. How long they waited is in the stopwatches.
    tally: Tally,
    held: Stopwatch,
    down: Stopwatch,
}

/// The right to make one call, now.
#[derive(Debug)]
#[must_use = "say what came of the call"]
pub struct Permit<'p> {
    pace: &'p Pace,
    class: OperationClass,
    cost: f64,
    begun: Instant,
    _place: SemaphorePermit<'p>,
}

/// The result of a call, as far as the rate depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnd {
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
pub enum ProbeEnd {
    /// It is still away.
    Away,
    /// It is back.
    Back,
    /// The next call will say what no waiting mends.
    Hopeless,
}

/// The reason why no permit is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// The hub has been down for so long that it is given up.
    Down(Duration),
    /// The process is to stop, and would have to wait first.
    Stopped,
}

impl Pace {
    /// A budget that nothing bounds until the hub shows its limits.
    #[expect(clippy::new_without_default, reason = "it reads the clock")]
    pub fn new() -> Self {
        let state = State {
            tier: None,
            share: None,
            patience: PATIENCE,
            longest_try: Duration::MAX,
            silence: Silence::default(),
            allowances: HashMap::new(),
            breaker: Breaker::new(Instant::now()),
            tally: Tally::default(),
            held: Stopwatch::default(),
            down: Stopwatch::default(),
        };
        Self { state: Mutex::new(state), places: Semaphore::new(MAX_UNDER_WAY), stop: OnceLock::new() }
    }

    /// Bounds the budget by what a hub of this tier and number of units takes. What was learnt so far
    /// is forgotten.
    pub fn set_tier(&self, tier: Tier, units: NonZeroU32) {
        let mut state = self.state();
        state.tier = Some((tier, units));
        state.allowances.clear();
    }

    /// Takes only this share of the hub's rate, above 0 and at most 1, because others take theirs: for
    /// processes that share a ledger. Who is told so from the start finds nothing saved up at the hub.
    pub fn set_share(&self, share: f64) {
        let share = share.clamp(f64::MIN_POSITIVE, 1.0);
        let mut state = self.state();
        if state.share.replace(share).is_none() && share < 1.0 {
            state.allowances.clear();
        }
        let now = Instant::now();
        state.allowances.values_mut().for_each(|allowance| allowance.set_share(share, now));
    }

    /// Gives up a hub that has been down for so long; an hour unless this is called.
    pub fn set_patience(&self, patience: Duration) {
        self.state().patience = patience;
    }

    /// Gives the hub up after so long, whether it is down or takes no more calls: for who waits for one answer.
    pub fn be_brief(&self, patience: Duration) {
        let mut state = self.state();
        (state.patience, state.longest_try) = (patience, patience);
    }

    /// For how long one call is tried again at most.
    pub(crate) fn longest_try(&self) -> Duration {
        self.state().longest_try
    }

    /// True once the hub has answered a call.
    pub(crate) fn was_answered(&self) -> bool {
        self.state().breaker.was_answered()
    }

    /// True in a run, whose workers share this budget and can be stopped.
    pub(crate) fn can_be_stopped(&self) -> bool {
        self.stop.get().is_some()
    }

    /// Waits before the next try of a call that was first made at `begun`, and says so where it takes long.
    pub(crate) async fn back_off(
        &self,
        wait: Duration,
        reason: Reason,
        begun: Instant,
    ) -> Result<(), Denied> {
        let sign = self.state().silence.waits(reason, wait, begun, Instant::now());
        tell(sign);
        self.wait(wait, BRIEF).await
    }

    /// Waits for a moment.
    pub(crate) async fn rest(&self, wait: Duration) -> Result<(), Denied> {
        self.wait(wait, BRIEF).await
    }

    /// Waits for a call to end, and says so where the hub gives no answer to anybody for long.
    pub(crate) async fn watch<T>(&self, call: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let mut call = std::pin::pin!(call);
        match tokio::time::timeout(notices::LONG, &mut call).await {
            Ok(ended) => ended,
            Err(_) => {
                let sign = {
                    let mut state = self.state();
                    let is_silent = state.breaker.is_silent_since(begun);
                    is_silent.then(|| state.silence.unanswered(Instant::now())).flatten()
                };
                tell(sign);
                call.await
            }
        }
    }

    /// Denies permits that would have to be waited for, once `stop` is cancelled. Only the first
    /// token counts.
    pub fn stop_with(&self, stop: CancellationToken) {
        // A second token would mean two masters; the first has the say.
        let _ = self.stop.set(stop);
    }

    /// Gives no permits of a class for so long, at most five minutes, because the hub asks for it.
    pub fn hold_back(&self, class: OperationClass, wait: Duration) {
        let (wait, now) = (wait.min(MAX_HELD), Instant::now());
        let sign = {
            let mut state = self.state();
            state.allowance(class).hold(wait, now);
            state.silence.waits(Reason::AskedByHub, wait, now, now)
        };
        tell(sign);
    }

    /// Operations per second of a class that may begin; `None` as long as nothing is held back.
    pub fn rate(&self, class: OperationClass) -> Option<f64> {
        self.state().allowances.get(&class).and_then(Allowance::rate)
    }

    /// The statistics of the calls so far.
    pub fn tally(&self) -> Tally {
        let (state, now) = (self.state(), Instant::now());
        Tally { held: state.held.total(now), down: state.down.total(now), ..state.tally }
    }

    /// Waits until a call of `cost` operations may be made. While the hub is down, `probe` is called
    /// now and then, by one of those who wait.
    pub async fn permit<F>(
        &self,
        class: OperationClass,
        cost: usize,
        probe: impl Fn() -> F,
    ) -> Result<Permit<'_>, Denied>
    where
        F: Future<Output = ProbeEnd>,
    {
        let cost = f64::from(u32::try_from(cost).unwrap_or(u32::MAX));
        let reservation = Reservation { pace: self, class, cost, is_used: false };
        let wait = self.state().allowance(class).reserve(cost, Instant::now());
        if !wait.is_zero() {
            let sign = self.state().silence.held_back(wait, Instant::now());
            tell(sign);
            let _held = Waiting::begin(self, |state| &mut state.held);
            self.wait(wait, BRIEF).await?;
        }
        // Only now: calls of other classes can go on while this one's is held back.
        let place = self.place().await?;
        let mut down = None;
        loop {
            let gate = self.gate()?;
            if gate != Gate::Open {
                down.get_or_insert_with(|| Waiting::begin(self, |state| &mut state.down));
            }
            match gate {
                Gate::Open => return Ok(reservation.into_permit(place)),
                Gate::Wait(wait) => self.wait(wait, Duration::ZERO).await?,
                Gate::Probe => {
                    let end = probe().await;
                    let sign = self.state().breaker.probed(end != ProbeEnd::Away, jitter(), Instant::now());
                    tell(sign.filter(|_| end != ProbeEnd::Hopeless));
                }
            }
        }
    }

    fn gate(&self) -> Result<Gate, Denied> {
        let now = Instant::now();
        let mut state = self.state();
        match state.breaker.down_for(now) {
            Some(down) if down >= state.patience => Err(Denied::Down(down)),
            _ => Ok(state.breaker.gate(now)),
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
    async fn place(&self) -> Result<SemaphorePermit<'_>, Denied> {
        let stopped = async {
            self.stopped().await;
            sleep(BRIEF).await;
        };
        tokio::select! {
            biased;
            place = self.places.acquire() => place.map_err(|_closed| Denied::Stopped),
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
    fn allowance(&mut self, class: OperationClass) -> &mut Allowance {
        let (tier, share) = (self.tier, self.share.unwrap_or(1.0));
        self.allowances.entry(class).or_insert_with(|| {
            let ceiling = tier.map(|(tier, units)| operations_per_second(class, tier, units));
            let floor = operations_per_second(class, Tier::S1, NonZeroU32::MIN);
            Allowance::new(ceiling, floor.min(ceiling.unwrap_or(floor)), share, Instant::now())
        })
    }
}

/// The tokens taken from an allowance; they are returned if the wait for the rest is cancelled.
struct Reservation<'p> {
    pace: &'p Pace,
    class: OperationClass,
    cost: f64,
    is_used: bool,
}

impl<'p> Reservation<'p> {
    fn into_permit(mut self, place: SemaphorePermit<'p>) -> Permit<'p> {
        self.is_used = true;
        let begun = Instant::now();
        Permit { pace: self.pace, class: self.class, cost: self.cost, begun, _place: place }
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if !self.is_used {
            self.pace.state().allowance(self.class).give_back(self.cost);
        }
    }
}

/// Somebody waits, until this is dropped.
struct Waiting<'p> {
    pace: &'p Pace,
    watch: fn(&mut State) -> &mut Stopwatch,
}

impl<'p> Waiting<'p> {
    fn begin(pace: &'p Pace, watch: fn(&mut State) -> &mut Stopwatch) -> Self {
        watch(&mut pace.state()).enter(Instant::now());
        Self { pace, watch }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        (self.watch)(&mut self.pace.state()).leave(Instant::now());
    }
}

impl Permit<'_> {
    /// Tells how the call ended.
    pub fn ended(self, end: CallEnd) {
        let now = Instant::now();
        let mut state = self.pace.state();
        state.tally.calls += 1;
        match end {
            CallEnd::Failed => {
                state.tally.failed += 1;
                state.breaker.failed(jitter(), now);
            }
            CallEnd::Refused => state.tally.failed += 1,
            CallEnd::Served => {
                state.breaker.answered(now);
                state.allowance(self.class).served(self.cost, now - self.begun, now);
            }
            CallEnd::Throttled => {
                state.tally.throttled += 1;
                state.breaker.answered(now);
                state.allowance(self.class).refused(now);
            }
        }
    }
}

impl std::fmt::Debug for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pace").field("state", &self.state).finish_non_exhaustive()
    }
}

/// A number from 0 to 1, drawn anew each time.
pub(crate) fn jitter() -> f64 {
    fastrand::f64()
}

/// The duration of an outage after which the hub is given up.
const PATIENCE: Duration = Duration::from_secs(3600);
/// The longest time for which a throttled call is tried again.
pub(crate) const MAX_THROTTLED: Duration = Duration::from_secs(3600);
/// A hub that asks for more is tried sooner than it asks.
pub(crate) const MAX_HELD: Duration = Duration::from_secs(300);
/// As many calls as are under way at once where the fastest hub there is, of ten units of S3, takes 5,000
/// reads a second and answers after 50 ms. Workers that look at 100 identities each would otherwise open a
/// connection for every one.
const MAX_UNDER_WAY: usize = 256;
/// A wait that is finished even when the process is to stop.
const BRIEF: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
