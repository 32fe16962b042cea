//! The hub's timed work: scheduled jobs begin, messages expire, configurations are applied.

use std::sync::Weak;
use std::time::Duration;

use crate::hub::Hub;
use crate::job_runner;
use crate::roll_out::RollOuts;

/// Checks the hub's clock periodically, because it can be moved, as long as the hub exists. Due
/// work is derived from the hub's state alone, so code that replaces the state need not notify this
/// task.
pub(crate) async fn run_scheduler(hub: Weak<Hub>) {
    let (mut roll_outs, mut checks) = (RollOuts::default(), 0_u32);
    loop {
        tokio::time::sleep(CLOCK_CHECK).await;
        let Some(hub) = hub.upgrade() else { return };
        if let Err(error) = job_runner::begin_due(&hub).await {
            tracing::warn!("a scheduled job can't begin: {}", error.text);
        }
        if let Err(error) = hub.drop_expired_messages().await {
            tracing::warn!("messages that have expired stay in their queues: {}", error.text);
        }
        checks = checks.wrapping_add(1);
        if checks.is_multiple_of(CHECKS_PER_ROLL_OUT)
            && let Err(error) = roll_outs.update(&hub).await
        {
            tracing::warn!("configurations can't be rolled out: {}", error.text);
        }
    }
}

const CLOCK_CHECK: Duration = Duration::from_millis(100);
/// The number of checks per application of configurations. A live hub takes some seconds from a
/// change to its effect; this one at most one second.
const CHECKS_PER_ROLL_OUT: u32 = 10;
