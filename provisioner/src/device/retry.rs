//! Trying again, where it may help.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use tokio::time::Instant;

use super::{ConnectError, ConnectErrorClass};
use crate::hub::rate_limit::jitter;

/// Connects until it succeeds or another try is pointless, with full jitter between the tries: what is
/// throttled for minutes, what may pass some times, and what was refused never.
pub(super) async fn with_retry<T, F, C>(connect: C) -> Result<T, ConnectError>
where
    C: FnMut() -> F,
    F: Future<Output = Result<T, ConnectError>>,
{
    let begun = Instant::now();
    let mut failures = 0;
    connect
        .retry(bounds())
        .when(|error| matches!(error.class(), ConnectErrorClass::Throttled | ConnectErrorClass::Transient))
        .adjust(|error, bound| {
            let may_go_on = match error.class() {
                ConnectErrorClass::Throttled => begun.elapsed() < MAX_THROTTLED,
                _ => {
                    failures += 1;
                    failures <= MAX_FAILURES
                }
            };
            may_go_on.then_some(bound?.mul_f64(jitter()))
        })
        .notify(|error, delay| tracing::debug!(%error, ?delay, "the connection will be tried again"))
        .await
}

/// The bounds that the delays are drawn below.
fn bounds() -> ExponentialBuilder {
    ExponentialBuilder::default().with_min_delay(FIRST_BOUND).with_max_delay(LAST_BOUND).without_max_times()
}

const FIRST_BOUND: Duration = Duration::from_secs(1);
const LAST_BOUND: Duration = Duration::from_secs(30);
const MAX_FAILURES: usize = 3;
const MAX_THROTTLED: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt_protocol_core::mqtt::result_code::ConnectReturnCode;
    use std::cell::Cell;

    async fn tries(fail: impl Fn() -> ConnectError) -> usize {
        let tries = Cell::new(0);
        let result: Result<(), _> = with_retry(|| {
            tries.set(tries.get() + 1);
            std::future::ready(Err(fail()))
        })
        .await;
        assert!(result.is_err());
        tries.get()
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_refused_is_not_tried_again_and_what_may_pass_is() {
        assert_eq!(tries(|| ConnectError::Refused(ConnectReturnCode::NotAuthorized)).await, 1);
        assert_eq!(tries(|| ConnectError::TwinRefused { status: 404 }).await, 1);
        assert_eq!(tries(|| ConnectError::HungUp { step: "a test" }).await, 1 + MAX_FAILURES);
        assert_eq!(tries(|| ConnectError::TwinRefused { status: 503 }).await, 1 + MAX_FAILURES);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_throttled_waits_for_minutes() {
        let begun = Instant::now();
        let tries = tries(|| ConnectError::Refused(ConnectReturnCode::ServerUnavailable)).await;
        assert!(begun.elapsed() >= MAX_THROTTLED && begun.elapsed() <= MAX_THROTTLED + LAST_BOUND);
        assert!(tries > 20, "{tries}");
    }
}
