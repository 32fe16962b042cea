//! The number of operations of one class that may begin: a token bucket whose rate follows the hub.

use std::time::Duration;

use tokio::time::Instant;

/// The token bucket of one class. It has no clock of its own: callers pass the time.
///
/// The bucket may be overdrawn: what is overdrawn has to wait its turn, in the order in which it
/// was asked for. Where the tier of the hub is known its rate is the ceiling. Where it is not
/// nothing is throttled until the hub shows its limit, by refusing or by keeping calls waiting;
/// what it served until then tells the rate, for a hub counts over minutes.
#[derive(Debug)]
pub(super) struct TokenBucket {
    /// Operations per second at most, where that is known.
    ceiling: Option<f64>,
    /// The least that a hub of any tier takes. Below it nobody needs to go.
    floor: f64,
    /// Operations per second now; `None` as long as the hub has shown no limit.
    rate: Option<f64>,
    /// This process's share of the hub's rate: 1 for a single process.
    share: f64,
    /// Operations that may begin at once; what is below zero waits.
    tokens: f64,
    /// The time at which `tokens` was updated.
    counted: Instant,
    /// The time of the first requested operation.
    begun: Instant,
    /// Operations that the hub has served.
    served: f64,
    /// The share of calls that were refused lately, from 0 to 1.
    refused: f64,
    /// The average duration of recent calls, in seconds.
    latency: f64,
    /// The time of the last change of the rate.
    changed: Instant,
    /// Until when the hub wants no calls.
    paused_until: Instant,
}

impl TokenBucket {
    /// A bucket for a hub that takes `ceiling` operations per second, or as many as it shows.
    /// Who comes when others are at work already finds the hub's bucket drawn by them.
    pub(super) fn new(ceiling: Option<f64>, floor: f64, share: f64, now: Instant) -> Self {
        let is_alone = share >= 1.0;
        let full = if is_alone { ceiling.unwrap_or(0.0) * BURST.as_secs_f64() } else { 0.0 };
        Self {
            ceiling,
            floor,
            rate: ceiling,
            share,
            tokens: full,
            counted: now,
            begun: now,
            served: 0.0,
            refused: 0.0,
            latency: 0.0,
            changed: now,
            paused_until: now,
        }
    }

    /// Operations per second that may begin; `None` when nothing is throttled.
    pub(super) fn rate(&self) -> Option<f64> {
        self.rate.map(|rate| rate * self.share)
    }

    /// Sets what of the hub's rate is ours.
    pub(super) fn set_share(&mut self, share: f64, now: Instant) {
        self.refill(now);
        self.share = share;
        self.cap();
    }

    /// Takes `cost` operations and answers how long to wait before they may begin.
    pub(super) fn reserve(&mut self, cost: f64, now: Instant) -> Duration {
        self.refill(now);
        let held = self.paused_until.saturating_duration_since(now);
        let Some(rate) = self.rate() else { return held };
        self.tokens -= cost;
        Duration::from_secs_f64((-self.tokens / rate).clamp(0.0, MAX_WAIT.as_secs_f64())).max(held)
    }

    /// The hub wants no more calls for so long.
    pub(super) fn pause(&mut self, wait: Duration, now: Instant) {
        self.paused_until = self.paused_until.max(now + wait);
    }

    /// Gives back what was taken for a call that was never made.
    pub(super) fn give_back(&mut self, cost: f64) {
        if self.rate.is_some() {
            self.tokens += cost;
            self.cap();
        }
    }

    /// The hub served a call of this cost within this time.
    pub(super) fn served(&mut self, cost: f64, latency: Duration, now: Instant) {
        self.refill(now);
        self.served += cost;
        self.refused -= self.refused * WEIGHT;
        self.latency += (latency.as_secs_f64() - self.latency) * WEIGHT;
        if self.latency > QUEUEING.as_secs_f64() {
            self.slow_down(SLOWER_FOR_QUEUEING, now);
        } else {
            self.speed_up(now);
        }
    }

    /// The hub refused a call because there were too many.
    pub(super) fn refused(&mut self, now: Instant) {
        self.refill(now);
        self.refused += (1.0 - self.refused) * WEIGHT;
        // Whatever the count here says, there the bucket is empty.
        self.tokens = self.tokens.min(0.0);
        if self.refused > TOO_MANY_REFUSED {
            self.slow_down(SLOWER_FOR_REFUSALS, now);
        }
    }

    fn slow_down(&mut self, factor: f64, now: Instant) {
        let slower = match self.rate {
            None => self.served / self.share / (BURST + (now - self.begun)).as_secs_f64(),
            Some(_) if now - self.changed < PATIENCE => return,
            Some(rate) => rate * factor,
        };
        if self.rate.is_none() {
            self.tokens = 0.0;
        }
        self.rate = Some(slower.max(self.floor).min(self.ceiling.unwrap_or(f64::MAX)));
        self.changed = now;
        // What has been seen led to this change; the next one needs new evidence.
        self.refused = 0.0;
        self.latency = 0.0;
    }

    /// Goes a little faster, if the bucket is what delays the work.
    fn speed_up(&mut self, now: Instant) {
        let (Some(rate), true) = (self.rate, now - self.changed >= PATIENCE) else { return };
        let factor = if self.refused < FEW_REFUSED { FASTER } else { BARELY_FASTER };
        if self.tokens <= 0.0 && self.refused < TOO_MANY_REFUSED / 2.0 {
            self.rate = Some((rate * factor).min(self.ceiling.unwrap_or(f64::MAX)));
            self.changed = now;
        }
    }

    fn refill(&mut self, now: Instant) {
        if let Some(rate) = self.rate() {
            self.tokens += (now - self.counted).as_secs_f64() * rate;
            self.cap();
        }
        self.counted = now;
    }

    fn cap(&mut self) {
        if let Some(rate) = self.rate() {
            self.tokens = self.tokens.min((rate * BURST.as_secs_f64()).max(1.0));
        }
    }
}

/// Limits are counted over minutes: so much may begin at once after a pause.
const BURST: Duration = Duration::from_secs(60);
/// No reckoning error may make anybody wait longer than this.
const MAX_WAIT: Duration = Duration::from_secs(24 * 3600);
/// The weight of one call in the averages: five refusals in a row are more than chance.
const WEIGHT: f64 = 0.1;
/// More refusals than a hub that merely has hiccups makes.
const TOO_MANY_REFUSED: f64 = 0.4;
/// So few that the limit is not near.
const FEW_REFUSED: f64 = 0.02;
/// A hub that takes so long keeps calls waiting; next it refuses.
const QUEUEING: Duration = Duration::from_secs(3);
/// A change of the rate needs this long to show what it does.
const PATIENCE: Duration = Duration::from_secs(5);
const SLOWER_FOR_REFUSALS: f64 = 0.7;
const SLOWER_FOR_QUEUEING: f64 = 0.85;
const FASTER: f64 = 1.1;
const BARELY_FASTER: f64 = 1.02;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S1: f64 = 100.0 / 60.0;
    const QUICK: Duration = Duration::from_millis(20);

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_known_tier_bounds_from_the_first_minute_on() {
        let now = Instant::now();
        let mut bucket = TokenBucket::new(Some(S1), S1, 1.0, now);
        let waits: Vec<f64> = (0..4).map(|_| bucket.reserve(100.0, now).as_secs_f64().round()).collect();
        assert_eq!(waits, [0.0, 60.0, 120.0, 180.0]);
    }

    #[test]
    fn an_unknown_hub_is_not_held_back_until_it_refuses() {
        let mut now = Instant::now();
        let mut bucket = TokenBucket::new(None, S1, 1.0, now);
        // A hub of 5,000 operations a minute: 6,000 are served within twelve seconds, the rest refused.
        for _ in 0..60 {
            assert_eq!(bucket.reserve(100.0, now), Duration::ZERO);
            now += seconds(0.2);
            bucket.served(100.0, QUICK, now);
        }
        for _ in 0..5 {
            bucket.refused(now);
        }
        let learnt = bucket.rate().unwrap() * 60.0;
        assert!((4500.0..5500.0).contains(&learnt), "{learnt} a minute");
    }

    #[test]
    fn now_and_then_a_refusal_is_no_limit() {
        let mut now = Instant::now();
        let mut bucket = TokenBucket::new(None, S1, 1.0, now);
        for call in 0..10_000 {
            now += QUICK;
            match call % 10 {
                0 | 1 => bucket.refused(now),
                _ => bucket.served(1.0, QUICK, now),
            }
        }
        assert_eq!(bucket.rate(), None);
    }

    #[test]
    fn a_hub_that_keeps_calls_waiting_is_given_less_and_more_again_later() {
        let mut now = Instant::now();
        let mut bucket = TokenBucket::new(Some(100.0), 1.0, 1.0, now);
        let mut call = |latency: f64| {
            bucket.reserve(1000.0, now);
            now += seconds(1.0);
            bucket.served(1000.0, seconds(latency), now);
            bucket.rate().unwrap()
        };
        (0..60).for_each(|_| assert!(call(8.0) > 0.0));
        let slow = call(8.0);
        assert!(slow < 60.0, "{slow}");
        (0..600).for_each(|_| assert!(call(0.1) > 0.0));
        assert_eq!(call(0.1), 100.0);
    }

    #[test]
    fn what_is_refused_empties_the_bucket() {
        let now = Instant::now();
        let mut bucket = TokenBucket::new(Some(100.0), 1.0, 1.0, now);
        bucket.reserve(100.0, now);
        bucket.refused(now);
        assert_eq!(bucket.reserve(100.0, now), seconds(1.0));
    }

    #[test]
    fn four_workers_with_a_quarter_each_go_as_fast_as_one() {
        let now = Instant::now();
        let mut bucket = TokenBucket::new(Some(100.0), 1.0, 1.0, now);
        bucket.set_share(0.25, now);
        assert_eq!(bucket.rate(), Some(25.0));
        bucket.reserve(1500.0, now);
        assert_eq!(bucket.reserve(25.0, now), seconds(1.0));
    }

    proptest! {
        /// The rate never exceeds the ceiling, and work never stops.
        #[test]
        fn never_above_the_ceiling_and_never_below_the_floor(
            calls in proptest::collection::vec((0_u64..5_000, 1_u32..=100, 0_u8..4), 1..400),
        ) {
            let start = Instant::now();
            let (mut now, mut last, mut sum) = (start, start, 0.0);
            let mut bucket = TokenBucket::new(Some(20.0), 2.0, 1.0, now);
            for (pause, cost, end) in calls {
                now += Duration::from_millis(pause);
                last = last.max(now + bucket.reserve(f64::from(cost), now));
                sum += f64::from(cost);
                match end {
                    0 => bucket.refused(now),
                    1 => bucket.served(f64::from(cost), seconds(9.0), now),
                    _ => bucket.served(f64::from(cost), QUICK, now),
                }
                let rate = bucket.rate().unwrap();
                prop_assert!((2.0..=20.0).contains(&rate), "{}", rate);
            }
            // A rate that grows since a turn was given makes that turn later than need be, never earlier.
            let through = 20.0 * (60.0 + (last - start).as_secs_f64());
            prop_assert!(sum <= through + 1.0, "{} of {}", sum, through);
        }
    }
}
