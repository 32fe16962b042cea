use proptest::prelude::*;
use time::OffsetDateTime;

use super::*;
use crate::clock::{Clock, MovableClock, SystemClock};

fn of(tier: Tier, units: u32) -> Throttling {
    Throttling { tier, units: NonZeroU32::new(units).unwrap(), charging: Charging::default() }
}

fn stopped_at_noon() -> MovableClock {
    let clock = MovableClock::over(Arc::new(SystemClock));
    clock.stop();
    clock.set(OffsetDateTime::from_unix_timestamp(1_800_014_400).unwrap());
    clock
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_third_bulk_call_of_50_within_a_minute_is_refused_on_s1() {
    let mut buckets = Buckets::new(of(Tier::S1, 1));
    let mut bulk = |now| buckets.take(OperationClass::Registry, 50.0, now);
    assert_eq!(bulk(seconds(100)), Some(Duration::ZERO));
    assert_eq!(bulk(seconds(100)), Some(Duration::ZERO));
    assert_eq!(bulk(seconds(100)), None);
    // The refused one took nothing.
    assert_eq!(bulk(seconds(130)), Some(Duration::ZERO));
}

#[test]
fn what_comes_too_fast_is_first_done_at_once_then_waits_then_is_refused() {
    let mut buckets = Buckets::new(of(Tier::S1, 1));
    let mut waits = Vec::new();
    // 200 twin reads a second, where 100 are allowed.
    for request in 0..200 * 120_u64 {
        let now = Duration::from_millis(request * 5);
        match buckets.take(OperationClass::TwinRead, 1.0, now) {
            Some(wait) => waits.push((now, wait)),
            None => {
                assert!(now > seconds(65), "refused too early, after {now:?}");
                assert!(waits.iter().all(|(now, wait)| *now > seconds(59) || wait.is_zero()));
                assert!(waits.last().is_some_and(|(_, wait)| *wait > seconds(9)));
                return;
            }
        }
    }
    panic!("nothing was refused");
}

#[test]
fn classes_do_not_take_from_each_other() {
    let mut buckets = Buckets::new(of(Tier::S1, 1));
    assert_eq!(buckets.take(OperationClass::Registry, 100.0, seconds(1)), Some(Duration::ZERO));
    assert_eq!(buckets.take(OperationClass::Registry, 100.0, seconds(1)), None);
    assert_eq!(buckets.take(OperationClass::TwinRead, 1.0, seconds(1)), Some(Duration::ZERO));
}

proptest! {
    /// Over any period the bucket admits no more than its content and its refill.
    #[test]
    fn never_more_than_the_rate_over_time(
        steps in proptest::collection::vec((0_u64..3_000, 1_u32..100), 1..300),
    ) {
        let mut buckets = Buckets::new(of(Tier::S1, 3));
        let (mut now, mut begun, mut last) = (seconds(1), 0.0, seconds(1));
        for (pause, cost) in steps {
            now += Duration::from_millis(pause);
            if let Some(wait) = buckets.take(OperationClass::Registry, f64::from(cost), now) {
                begun += f64::from(cost);
                last = last.max(now + wait);
                prop_assert!(wait <= MAX + seconds(1));
            }
        }
        prop_assert!(begun <= 300.0 + 5.0 * (last - seconds(1)).as_secs_f64() + 0.001);
    }
}

const MAX: Duration = seconds(10);

#[test]
fn the_messages_of_a_day_run_out_and_are_back_after_midnight() {
    let clock = Arc::new(stopped_at_noon());
    let throttle = Throttle::new(Some(of(Tier::F1, 1)), Arc::clone(&clock) as Arc<dyn Clock>);
    for _ in 0..4_000 {
        throttle.check_quota().unwrap();
        // One byte more than a message has: charged as two.
        throttle.charge(513);
    }
    let error = throttle.check_quota().unwrap_err();
    assert_eq!((error.status, error.name), (403, "IotHubQuotaExceeded"));
    clock.advance(time::Duration::hours(12));
    throttle.check_quota().unwrap();
}

#[tokio::test]
async fn a_basic_tier_has_registry_operations_but_no_twins() {
    let throttle = Throttle::new(Some(of(Tier::B1, 1)), Arc::new(SystemClock));
    throttle.admit(OperationClass::Registry, 1, "RegistryRead").await.unwrap();
    let error = throttle.admit(OperationClass::TwinRead, 1, "TwinRead").await.unwrap_err();
    assert_eq!((error.status, error.name), (403, "OperationNotAvailableInCurrentTier"));
    assert!(error.text.contains("B1"), "{}", error.text);
}

#[tokio::test(start_paused = true)]
async fn waiting_takes_as_long_as_was_said() {
    let throttle = Throttle::new(Some(of(Tier::S1, 1)), Arc::new(stopped_at_noon()));
    throttle.admit_bulk(OperationClass::Registry, 100, "RegistryWrite").await.unwrap();
    let begun = tokio::time::Instant::now();
    throttle.admit(OperationClass::Registry, 5, "RegistryRead").await.unwrap();
    // Five operations at 100 a minute; timers count in milliseconds.
    assert!((begun.elapsed().as_secs_f64() - 3.0).abs() < 0.01, "{:?}", begun.elapsed());
}
