//! Token buckets that can go below zero: overdrawn operations have to wait.

use std::collections::HashMap;
use std::time::Duration;

use hub_types::limits::{OperationClass, operations_per_second};

use super::Throttling;

/// A bucket for each class of operations, without its own clock.
#[derive(Debug)]
pub(super) struct Buckets {
    throttling: Throttling,
    by_class: HashMap<OperationClass, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// The number of operations that may begin at once; negative if operations wait.
    tokens: f64,
    /// The time at which `tokens` was updated.
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

/// The capacity of a bucket in time. The service counts over minutes: twice the rate is possible
/// for "the first minute or two".
const BURST: Duration = Duration::from_secs(60);

/// The longest waiting time. The service documents only that there is a bound; this is the pause
/// that its 429 asks for.
const MAX_WAIT: Duration = Duration::from_secs(10);
