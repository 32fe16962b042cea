//! Throttles and quotas of a hub of a certain tier and number of units.
//!
//! Off unless [`Throttling`] enables them. Each class of operations has a bucket: a burst is
//! admitted at once, then operations wait, and if too many wait they are refused with 429. Source:
//! "IoT Hub quotas and throttling", whose traffic shaping this follows.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hub_types::ErrorCode;
use hub_types::limits::{OperationClass, Tier, concurrent_jobs, message_bytes, messages_per_day};

use crate::api_error::{ApiError, ApiResult};
use crate::clock::{self, Clock};

use bucket::Buckets;

mod bucket;

/// The hub size that sets the throttles and quotas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttling {
    /// The edition.
    pub tier: Tier,
    /// The number of units, at least 1.
    pub units: NonZeroU32,
    /// The charging of bulk calls.
    pub charging: Charging,
}

/// The charging of a bulk call in the throttle of registry operations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Charging {
    /// One operation for each identity in it, as the service does.
    #[default]
    PerIdentity,
    /// One operation, regardless of its content.
    PerCall,
}

/// Admits operations at the rate of the hub's tier.
///
/// Servers of operations, over HTTPS or over MQTT, make three calls:
/// 1. before an operation: `throttle.admit(OperationClass::TwinRead, 1, "TwinRead").await?`, which
///    waits where the service would have the request wait, and refuses with 429 where it would;
/// 2. before an operation that is charged as a message (twin reads, twin updates, queries, telemetry,
///    cloud-to-device messages, direct methods): `throttle.check_quota()?`, which refuses with 403002
///    when the day's are used up;
/// 3. after one: `throttle.charge(bytes)` with the size of its payload.
///
/// All of it does nothing when the hub has no throttles.
#[derive(Debug)]
pub(crate) struct Throttle {
    limits: Option<(Throttling, Mutex<Usage>)>,
    clock: Arc<dyn Clock>,
}

/// The used part of the limits.
#[derive(Debug)]
struct Usage {
    buckets: Buckets,
    /// The day (UTC) of the count `messages`.
    day: i32,
    messages: u64,
}

impl Throttle {
    pub(crate) fn new(limits: Option<Throttling>, clock: Arc<dyn Clock>) -> Self {
        let used = |limits| Usage { buckets: Buckets::new(limits), day: 0, messages: 0 };
        Self { limits: limits.map(|limits| (limits, Mutex::new(used(limits)))), clock }
    }

    /// Waits until `cost` operations of the class may begin. Refuses them if too many already wait,
    /// or if the tier has no such operations. `kind` names the operation in the error.
    pub(crate) async fn admit(&self, class: OperationClass, cost: u32, kind: &str) -> ApiResult<()> {
        let Some((throttling, used)) = &self.limits else {
            return Ok(());
        };
        check_tier(throttling.tier, class)?;
        let admitted = lock(used).buckets.take(class, f64::from(cost), self.now());
        match admitted {
            Some(Duration::ZERO) => Ok(()),
            Some(wait) => {
                tokio::time::sleep(wait).await;
                Ok(())
            }
            None => Err(ApiError::throttled(kind)),
        }
    }

    /// Returns true if the limits of the service apply.
    pub(crate) fn is_on(&self) -> bool {
        self.limits.is_some()
    }

    /// The largest number of scheduled jobs that may wait or run at a time: that of the tier, or
    /// unbounded without throttles.
    pub(crate) fn concurrent_jobs(&self) -> usize {
        self.limits.as_ref().map_or(usize::MAX, |(throttling, _)| concurrent_jobs(throttling.tier))
    }

    /// As [`Throttle::admit`], for a bulk call of so many items.
    pub(crate) async fn admit_bulk(&self, class: OperationClass, items: usize, kind: &str) -> ApiResult<()> {
        let per_call = matches!(&self.limits, Some((limits, _)) if limits.charging == Charging::PerCall);
        let cost = if per_call { 1 } else { u32::try_from(items.max(1)).unwrap_or(u32::MAX) };
        self.admit(class, cost, kind).await
    }

    /// Refuses an operation when the messages of the day are used up.
    pub(crate) fn check_quota(&self) -> ApiResult<()> {
        let Some((throttling, used)) = &self.limits else {
            return Ok(());
        };
        let mut used = lock(used);
        let (messages, quota) =
            (used.today(&*self.clock), messages_per_day(throttling.tier, throttling.units));
        if *messages < quota { Ok(()) } else { Err(quota_exceeded(quota, *messages)) }
    }

    /// Charges a payload of this many bytes as messages of the day.
    pub(crate) fn charge(&self, bytes: usize) {
        if let Some((throttling, used)) = &self.limits {
            let pieces = bytes.div_ceil(message_bytes(throttling.tier)).max(1);
            *lock(used).today(&*self.clock) += u64::try_from(pieces).unwrap_or(u64::MAX);
        }
    }

    /// The time since 1970-01-01, on the hub's own clock, so that moving the clock refills the
    /// buckets.
    fn now(&self) -> Duration {
        let nanoseconds = self.clock.now().unix_timestamp_nanos().max(0);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

impl Usage {
    fn today(&mut self, clock: &dyn Clock) -> &mut u64 {
        let day = clock::utc(clock.now()).to_julian_day();
        if day != self.day {
            (self.day, self.messages) = (day, 0);
        }
        &mut self.messages
    }
}

fn lock(used: &Mutex<Usage>) -> MutexGuard<'_, Usage> {
    used.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check_tier(tier: Tier, class: OperationClass) -> ApiResult<()> {
    let needs_standard = matches!(
        class,
        OperationClass::CloudToDevice
            | OperationClass::Configuration
            | OperationClass::DirectMethod
            | OperationClass::JobDevice
            | OperationClass::TwinRead
            | OperationClass::TwinUpdate
    );
    if needs_standard && !tier.has_twins() {
        return Err(ApiError::new(
            ErrorCode::OperationNotAvailableInCurrentTier,
            format!("a hub of tier {tier} has no {class} operations; a standard tier has"),
        ));
    }
    Ok(())
}

fn quota_exceeded(quota: u64, used: u64) -> ApiError {
    ApiError::new(
        ErrorCode::IotHubQuotaExceeded,
        format!(
            "the hub's messages of this day (UTC) are used up: {used} of {quota}; more are to be had tomorrow"
        ),
    )
}

#[cfg(test)]
mod tests;
