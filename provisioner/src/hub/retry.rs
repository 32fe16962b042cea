//! Which calls are tried again, and when.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use tokio::time::Instant;

use crate::pace::{MAX_HELD, jitter};

use super::error::{ErrorClass, HubError};

/// What may be tried again without asking what became of the last try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Everything that may pass: the call changes nothing, or the same each time.
    Always,
    /// Only what had no effect for certain.
    WithoutEffect,
}

/// Runs `call` until it succeeds, fails for good, or the tries are used up. Each delay is drawn at
/// random below a bound that doubles ("full jitter"); a delay that the hub asks for wins.
///
/// What the hub throttles had no effect, and sooner or later it is its turn: it is tried for
/// `MAX_THROTTLED`. What failed is tried a few times; how long a hub that is down is waited for is up
/// to the [`Pace`](crate::pace::Pace).
pub(super) async fn with_retry<T, F, C>(repeat: Repeat, call: C) -> Result<T, HubError>
where
    C: FnMut() -> F,
    F: Future<Output = Result<T, HubError>>,
{
    let begun = Instant::now();
    let mut failures = 0;
    call.retry(bounds())
        .when(|error| may_repeat(repeat, error))
        .adjust(|error, bound| {
            let may_go_on = match error.class() {
                ErrorClass::Throttled => begun.elapsed() < MAX_THROTTLED,
                _ => {
                    failures += 1;
                    failures <= MAX_FAILURES
                }
            };
            let delay = match error {
                HubError::Refused { retry_after: Some(seconds), .. } => {
                    Duration::from_secs(*seconds).min(MAX_HELD)
                }
                _ => bound?.mul_f64(jitter()),
            };
            may_go_on.then_some(delay)
        })
        .notify(|error, delay| tracing::debug!(%error, ?delay, "the call will be tried again"))
        .await
}

/// The pauses between the tries of what a hub throttles item by item, in calls that succeed as such.
pub(crate) struct Pauses {
    begun: Instant,
    bound: Duration,
}

impl Pauses {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), bound: FIRST_BOUND }
    }

    /// Waits until it is time for the next try, where there is still time for one.
    pub(crate) async fn wait(&mut self) -> bool {
        if self.begun.elapsed() >= MAX_THROTTLED {
            return false;
        }
        tokio::time::sleep(self.bound.mul_f64(jitter())).await;
        self.bound = (self.bound * 2).min(LAST_BOUND);
        true
    }
}

/// Waits after so many setbacks of an identity: the first few may be our own doing, and are followed at once.
pub(crate) async fn pause_after(setbacks: u32) {
    if let Some(doublings) = setbacks.checked_sub(SETBACKS_AT_ONCE) {
        let bound = FIRST_BOUND.saturating_mul(2_u32.saturating_pow(doublings)).min(LAST_BOUND);
        tokio::time::sleep(bound.mul_f64(jitter())).await;
    }
}

const SETBACKS_AT_ONCE: u32 = 3;

fn may_repeat(repeat: Repeat, error: &HubError) -> bool {
    match error.class() {
        _ if error.is_out_of_time() => false,
        ErrorClass::Throttled => true,
        ErrorClass::Transient => repeat == Repeat::Always || !error.effect_is_unknown(),
        ErrorClass::Auth | ErrorClass::Input => false,
    }
}

/// The bounds that the delays are drawn below.
fn bounds() -> ExponentialBuilder {
    ExponentialBuilder::default().with_min_delay(FIRST_BOUND).with_max_delay(LAST_BOUND).without_max_times()
}

const FIRST_BOUND: Duration = Duration::from_secs(1);
const LAST_BOUND: Duration = Duration::from_secs(60);
/// With bounds that double up to a minute: some three minutes in all.
const MAX_FAILURES: usize = 10;
const MAX_THROTTLED: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn refused(status: u16) -> HubError {
        HubError::refused(status, None, None, b"")
    }

    async fn tries(repeat: Repeat, status: u16) -> usize {
        let tries = Cell::new(0);
        let result: Result<(), _> = with_retry(repeat, || {
            tries.set(tries.get() + 1);
            async move { Err(refused(status)) }
        })
        .await;
        assert!(result.is_err());
        tries.get()
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_may_pass_and_had_no_effect_is_tried_again() {
        assert_eq!(tries(Repeat::Always, 503).await, 1 + MAX_FAILURES);
        assert_eq!(tries(Repeat::WithoutEffect, 503).await, 1);
        assert_eq!(tries(Repeat::Always, 401).await, 1);
        assert_eq!(tries(Repeat::Always, 409).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_throttled_waits_for_its_turn() {
        for repeat in [Repeat::Always, Repeat::WithoutEffect] {
            let begun = Instant::now();
            let tries = tries(repeat, 429).await;
            assert!(begun.elapsed() >= MAX_THROTTLED && begun.elapsed() <= MAX_THROTTLED + LAST_BOUND);
            // Half a minute apart on average.
            assert!((60..300).contains(&tries), "{tries}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_come_to_an_end() {
        let begun = Instant::now();
        let (mut pauses, mut tries) = (Pauses::new(), 0);
        while pauses.wait().await {
            tries += 1;
        }
        assert!(begun.elapsed() >= MAX_THROTTLED && begun.elapsed() <= MAX_THROTTLED + LAST_BOUND);
        assert!((60..300).contains(&tries), "{tries}");
        let begun = Instant::now();
        pause_after(SETBACKS_AT_ONCE - 1).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        pause_after(u32::MAX).await;
        assert!(begun.elapsed() <= LAST_BOUND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_that_the_hub_asks_for_is_kept() {
        let begun = Instant::now();
        let mut answers = [Err(HubError::refused(503, None, Some(17), b"")), Ok(())].into_iter();
        let result = with_retry(Repeat::Always, || std::future::ready(answers.next().unwrap())).await;
        assert!(result.is_ok());
        assert_eq!(begun.elapsed().as_secs(), 17);
    }
}
