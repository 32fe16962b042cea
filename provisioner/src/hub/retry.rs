//! Which calls are tried again, and when.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};

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
/// random below a bound that doubles; a delay that the hub asks for wins.
pub(super) async fn with_retry<T, F, C>(repeat: Repeat, call: C) -> Result<T, HubError>
where
    C: FnMut() -> F,
    F: Future<Output = Result<T, HubError>>,
{
    call.retry(policy())
        .when(|error| may_repeat(repeat, error))
        .adjust(|error, delay| match error {
            HubError::Refused { retry_after: Some(seconds), .. } => {
                delay.map(|_| Duration::from_secs(*seconds).min(MAX_DELAY))
            }
            _ => delay,
        })
        .notify(|error, delay| tracing::debug!(%error, ?delay, "the call will be tried again"))
        .await
}

fn may_repeat(repeat: Repeat, error: &HubError) -> bool {
    match error.class() {
        ErrorClass::Throttled => true,
        ErrorClass::Transient => repeat == Repeat::Always || !error.effect_is_unknown(),
        ErrorClass::Auth | ErrorClass::Input => false,
    }
}

fn policy() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(MIN_DELAY)
        .with_max_delay(MAX_DELAY)
        .with_max_times(MAX_RETRIES)
        .with_jitter()
}

const MIN_DELAY: Duration = Duration::from_millis(500);
const MAX_DELAY: Duration = Duration::from_secs(60);
/// With delays that double up to a minute: some four minutes in all.
const MAX_RETRIES: usize = 9;

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
        assert_eq!(tries(Repeat::Always, 429).await, 1 + MAX_RETRIES);
        assert_eq!(tries(Repeat::WithoutEffect, 429).await, 1 + MAX_RETRIES);
        assert_eq!(tries(Repeat::Always, 503).await, 1 + MAX_RETRIES);
        assert_eq!(tries(Repeat::WithoutEffect, 503).await, 1);
        assert_eq!(tries(Repeat::Always, 401).await, 1);
        assert_eq!(tries(Repeat::Always, 409).await, 1);
    }
}
