//! The retry policy of calls.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

use super::Patient;
use super::answer::AnswerError;
use super::classes::ErrorClass;
use super::error::HubError;
use super::service_client::ServiceClient;
use crate::hub::rate_limit::{MAX_PAUSE, MAX_THROTTLED, jitter};
use crate::model::service_status::WaitReason;

/// The calls that may be repeated without reading the result of the last attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Idempotency {
    /// Everything that may pass: the call changes nothing, or the same each time.
    Idempotent,
    /// Only what had no effect for certain.
    NonIdempotent,
}

impl ServiceClient {
    /// Runs `call` until it succeeds, fails for good, or the tries are used up. Each delay is drawn at
    /// random below a bound that doubles ("full jitter"); a delay that the hub asks for wins.
    ///
    /// A throttled call had no effect, and sooner or later it is its turn: it is tried for as long as
    /// the [`RateLimiter`](crate::hub::rate_limit::RateLimiter) permits. A failed call is tried a few times, and
    /// no longer than a service that is down is waited for.
    pub(crate) async fn repeat<T, F, C>(&self, idempotency: Idempotency, mut call: C) -> Result<T, HubError>
    where
        C: FnMut() -> F,
        F: Future<Output = Result<T, HubError>>,
    {
        let begun = Instant::now();
        let mut tries = Tries::new(idempotency);
        loop {
            let error = match call().await {
                Err(error) if !self.is_nobody_there(&error) => error,
                ended => return ended,
            };
            let longest = self.rate_limiter().longest_try(error.class());
            let Some((delay, reason)) = tries.after(&error, begun.elapsed(), longest) else {
                return Err(error);
            };
            tracing::debug!(%error, ?delay, "the call will be tried again");
            let rested = self.rate_limiter().back_off(delay, reason, begun).await;
            rested.map_err(|denied| self.denied(denied))?;
        }
    }

    /// True if no connection came about to a hub that was never reached: a wrong name or port, rather than an
    /// outage.
    fn is_nobody_there(&self, error: &HubError) -> bool {
        matches!(error, HubError::Unreachable { .. }) && !self.rate_limiter().was_answered()
    }
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
    pub(crate) async fn wait(&mut self, service: &impl Patient) -> Result<bool, HubError> {
        if self.begun.elapsed() >= MAX_THROTTLED {
            return Ok(false);
        }
        service.pause(self.bound.mul_f64(jitter()), WaitReason::Throttled).await?;
        self.bound = (self.bound * 2).min(LAST_BOUND);
        Ok(true)
    }
}

/// Waits after so many retries of an identity: the first few may be our own doing, and are followed at once.
pub(crate) async fn pause_after(retries: u32, service: &impl Patient) -> Result<(), HubError> {
    let Some(doublings) = retries.checked_sub(RETRIES_AT_ONCE) else { return Ok(()) };
    let bound = FIRST_BOUND.saturating_mul(2_u32.saturating_pow(doublings)).min(LAST_BOUND);
    service.pause(bound.mul_f64(jitter()), WaitReason::NotConfirmed).await
}

const RETRIES_AT_ONCE: u32 = 3;

/// The tries of one call.
struct Tries {
    idempotency: Idempotency,
    failures: usize,
    bounds: ExponentialBackoff,
}

impl Tries {
    fn new(idempotency: Idempotency) -> Self {
        let bounds = ExponentialBuilder::default()
            .with_min_delay(FIRST_BOUND)
            .with_max_delay(LAST_BOUND)
            .without_max_times();
        Self { idempotency, failures: 0, bounds: bounds.build() }
    }

    /// The wait before the next try and its reason; `None` if there is no next try.
    fn after(
        &mut self,
        error: &HubError,
        elapsed: Duration,
        longest: Duration,
    ) -> Option<(Duration, WaitReason)> {
        if !self.may_repeat(error) {
            return None;
        }
        let class = error.class();
        let has_tries = match class {
            ErrorClass::Throttled => true,
            _ => {
                self.failures += 1;
                self.failures <= if class == ErrorClass::Input { MAX_MISUNDERSTOOD } else { MAX_FAILURES }
            }
        };
        let bound = self.bounds.next()?;
        let (delay, reason) = match error {
            HubError::Refused { retry_after: Some(seconds), .. } => {
                (Duration::from_secs(*seconds).min(MAX_PAUSE), WaitReason::AskedByHub)
            }
            _ => (bound.mul_f64(jitter()), reason(error)),
        };
        (has_tries && elapsed + delay <= longest).then_some((delay, reason))
    }

    fn may_repeat(&self, error: &HubError) -> bool {
        if error.is_out_of_time() {
            return false;
        }
        let is_read = self.idempotency == Idempotency::Idempotent;
        match error.class() {
            // It would be as large the next time.
            _ if matches!(error, HubError::Malformed { source: AnswerError::TooLarge(_), .. }) => false,
            ErrorClass::Throttled => true,
            ErrorClass::Foreign | ErrorClass::Transient => is_read || !error.effect_is_unknown(),
            // One answer that is not understood may have been damaged on its way.
            ErrorClass::Input => is_read && matches!(error, HubError::Malformed { .. }),
            ErrorClass::Auth | ErrorClass::Permanent => false,
        }
    }
}

/// The reason for the wait before the next try.
fn reason(error: &HubError) -> WaitReason {
    match (error.class(), error) {
        (ErrorClass::Throttled, _) => WaitReason::Throttled,
        (ErrorClass::Foreign | ErrorClass::Input, _) => WaitReason::NotUnderstood,
        (_, HubError::Refused { .. }) => WaitReason::HubFailed,
        (_, HubError::Unreachable { .. }) => WaitReason::NoConnection,
        _ => WaitReason::NoAnswer,
    }
}

const FIRST_BOUND: Duration = Duration::from_secs(1);
const LAST_BOUND: Duration = Duration::from_secs(60);
/// With bounds that double up to a minute: some three minutes in all.
const MAX_FAILURES: usize = 10;
/// An answer that says the same each time is not damaged on its way.
const MAX_MISUNDERSTOOD: usize = 3;

#[cfg(test)]
mod tests {
    use cli_support::wrong_form::JsonMistake;

    use super::*;
    use crate::hub::{Access, HubClient, HubClientOptions};
    use crate::model::service::ServiceKind;
    use std::cell::Cell;

    const ACCESS: &str =
        "HostName=h.example;SharedAccessKeyName=iothubowner;SharedAccessKey=AQEBAQEBAQEBAQEBAQEBAQ==";

    fn client() -> HubClient {
        let options = HubClientOptions { is_local: true, ..HubClientOptions::default() };
        HubClient::new(Access::SharedKey(ACCESS.parse().unwrap()), &options).unwrap()
    }

    fn refused(status: u16) -> HubError {
        HubError::refused(ServiceKind::Hub, status, None, None, b"{\"Message\":\"x\"}")
    }

    fn malformed(source: AnswerError) -> HubError {
        HubError::Malformed { service: ServiceKind::Hub, operation: "get twin", source }
    }

    async fn tries(idempotency: Idempotency, error: impl Fn() -> HubError) -> usize {
        let tries = Cell::new(0);
        let call = || {
            tries.set(tries.get() + 1);
            std::future::ready(Err::<(), _>(error()))
        };
        client().repeat(idempotency, call).await.unwrap_err();
        tries.get()
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_may_pass_and_had_no_effect_is_tried_again() {
        assert_eq!(tries(Idempotency::Idempotent, || refused(503)).await, 1 + MAX_FAILURES);
        assert_eq!(tries(Idempotency::NonIdempotent, || refused(503)).await, 1);
        for status in [307, 400, 401, 402, 403, 407, 409, 412, 501] {
            assert_eq!(tries(Idempotency::Idempotent, || refused(status)).await, 1, "{status}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_call_is_not_tried_again_for_longer_than_a_hub_is_waited_for() {
        for minutes in [0, 1] {
            let (tries, client) = (Cell::new(0), client());
            client.rate_limiter().set_patience(Duration::from_secs(60 * minutes));
            let call = || {
                tries.set(tries.get() + 1);
                std::future::ready(Err::<(), _>(refused(503)))
            };
            let begun = Instant::now();
            client.repeat(Idempotency::Idempotent, call).await.unwrap_err();
            // The pauses are random, and so is how many of them fit into a minute.
            assert!(begun.elapsed().as_secs() <= 60 * minutes);
            assert!(minutes > 0 || tries.get() == 1, "{}", tries.get());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_a_hubs_is_read_again_and_a_change_is_not() {
        let page = || malformed(AnswerError::Page);
        assert_eq!(tries(Idempotency::Idempotent, page).await, 1 + MAX_FAILURES);
        assert_eq!(tries(Idempotency::NonIdempotent, page).await, 1);
        let shape = || {
            let error = serde_json::from_str::<u8>("[]").unwrap_err();
            malformed(AnswerError::Shape(JsonMistake::new(&error)))
        };
        assert_eq!(tries(Idempotency::Idempotent, shape).await, 1 + MAX_MISUNDERSTOOD);
        assert_eq!(tries(Idempotency::NonIdempotent, shape).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_throttled_waits_for_its_turn() {
        for idempotency in [Idempotency::Idempotent, Idempotency::NonIdempotent] {
            let begun = Instant::now();
            let tries = tries(idempotency, || refused(429)).await;
            assert!(begun.elapsed() >= MAX_THROTTLED - LAST_BOUND && begun.elapsed() <= MAX_THROTTLED);
            // Half a minute apart on average.
            assert!((60..300).contains(&tries), "{tries}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_come_to_an_end() {
        let begun = Instant::now();
        let (mut pauses, mut tries) = (Pauses::new(), 0);
        while pauses.wait(&client()).await.unwrap() {
            tries += 1;
        }
        assert!(begun.elapsed() >= MAX_THROTTLED && begun.elapsed() <= MAX_THROTTLED + LAST_BOUND);
        assert!((60..300).contains(&tries), "{tries}");
        let begun = Instant::now();
        pause_after(RETRIES_AT_ONCE - 1, &client()).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);
        pause_after(u32::MAX, &client()).await.unwrap();
        assert!(begun.elapsed() <= LAST_BOUND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_that_the_hub_asks_for_is_kept() {
        let begun = Instant::now();
        let mut answers =
            [Err(HubError::refused(ServiceKind::Hub, 503, None, Some(17), b"")), Ok(())].into_iter();
        let result =
            client().repeat(Idempotency::Idempotent, || std::future::ready(answers.next().unwrap())).await;
        assert!(result.is_ok());
        assert_eq!(begun.elapsed().as_secs(), 17);
    }
}
