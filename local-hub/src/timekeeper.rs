//! What the hub does of its own accord when its time has come: scheduled jobs begin, messages expire.

use std::sync::Weak;
use std::time::Duration;

use crate::hub::Hub;
use crate::jobs;

/// Looks at the hub's clock again and again, for it can be moved, as long as the hub is there. What is
/// due is asked of the hub's state alone, so whatever replaces that need tell nobody.
pub(crate) async fn keep_time(hub: Weak<Hub>) {
    loop {
        tokio::time::sleep(CLOCK_LOOK).await;
        let Some(hub) = hub.upgrade() else { return };
        if let Err(refusal) = jobs::begin_due(&hub).await {
            tracing::warn!("a scheduled job can't begin: {}", refusal.text);
        }
        if let Err(refusal) = hub.drop_expired_commands().await {
            tracing::warn!("messages that have expired stay in their queues: {}", refusal.text);
        }
    }
}

const CLOCK_LOOK: Duration = Duration::from_millis(100);
