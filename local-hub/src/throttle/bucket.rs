//! Token buckets that may be overdrawn: what is overdrawn has to wait.

use std::collections::HashMap;
use std::time::Duration;

use hub_types::limits::{OperationClass, operations_per_second};

use super::Throttling;

/// A bucket for each class of operations, without a clock of its own.
#[derive(Debug)]
pub(super) struct Buckets {
    throttling: Throttling,
    by_class: HashMap<OperationClass, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Operations that may begin at once; what is below zero waits.
    tokens: f64,
    /// When `tokens` was right.
    counted: Duration,
}

impl Buckets {
    pub(super) fn new(throttling: Throttling) -> Self {
        Self { throttling, by_class: HashMap::new() }
    }

    /// Takes `cost` operations at `now`. Returns how long to wait before they may begin, or `None`
    /// when too many wait already and nothing was taken.
    pub(super) fn take(&mut self, class: OperationClass, cost: f64, now: Duration) -> Option<Duration> {
        let rate = operations_per_second(class, self.throttling.tier, self.throttling.units);
        let full = (rate * BURST.as_secs_f64()).max(1.0);
        let bucket = self.by_class.entry(class).or_insert(Bucket { tokens: full, counted: now });
        // A clock that was set back fills nothing.
        let passed = now.saturating_sub(bucket.counted).as_secs_f64();
        let tokens = (bucket.tokens + passed * rate).min(full);
        *bucket = Bucket { tokens, counted: now };
        let left = tokens - cost;
        // What is larger than the whole bucket is let in when that is full, for it can't get fuller.
        if left < -rate * MAX_WAIT.as_secs_f64() && tokens < full {
            return None;
        }
        bucket.tokens = left;
        Some(Duration::from_secs_f64((-left / rate).max(0.0)))
    }
}

/// The service counts over minutes: for "the first minute or two" twice the rate is not noticed.
const BURST: Duration = Duration::from_secs(60);

/// How much may wait. The service says no more than that there is a bound; this is the pause that
/// its 429 asks for.
const MAX_WAIT: Duration = Duration::from_secs(10);
