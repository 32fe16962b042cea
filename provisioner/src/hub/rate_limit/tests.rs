use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const ONE: NonZeroU32 = NonZeroU32::MIN;

async fn no_probe() -> ProbeEnd {
    panic!("nothing is down")
}

#[tokio::test(start_paused = true)]
async fn all_workers_of_a_process_share_one_budget() {
    let rate_limiter = Arc::new(RateLimiter::new(StatusListener::default()));
    rate_limiter.set_tier(Tier::S3, ONE);
    let begun = Instant::now();
    let workers = (0..4).map(|_| {
        let rate_limiter = rate_limiter.clone();
        tokio::spawn(async move {
            for _ in 0..50 {
                let permit = rate_limiter.permit(OperationClass::Registry, 100, no_probe).await.unwrap();
                permit.ended(CallEnd::Served);
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    // 20,000 operations at 5,000 a minute, of which the first minute's worth goes at once.
    assert_eq!(begun.elapsed().as_secs(), 180);
    let stats = rate_limiter.call_stats();
    assert_eq!((stats.calls, stats.throttled_for.as_secs(), stats.outage_for), (200, 180, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn classes_do_not_wait_for_each_other() {
    let rate_limiter = RateLimiter::new(StatusListener::default());
    rate_limiter.set_tier(Tier::S1, ONE);
    rate_limiter.permit(OperationClass::Registry, 100, no_probe).await.unwrap().ended(CallEnd::Served);
    let begun = Instant::now();
    rate_limiter.permit(OperationClass::TwinRead, 1, no_probe).await.unwrap().ended(CallEnd::Served);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_asks_to_wait_is_left_in_peace_by_all_workers() {
    let rate_limiter = RateLimiter::new(StatusListener::default());
    rate_limiter.pause(OperationClass::TwinRead, Duration::from_secs(17));
    let begun = Instant::now();
    rate_limiter.permit(OperationClass::Registry, 100, no_probe).await.unwrap().ended(CallEnd::Served);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    rate_limiter.permit(OperationClass::TwinRead, 1, no_probe).await.unwrap().ended(CallEnd::Served);
    assert_eq!(begun.elapsed().as_secs(), 17);
    // No hub is waited for as long as that.
    rate_limiter.pause(OperationClass::TwinRead, Duration::from_secs(86_400));
    rate_limiter.permit(OperationClass::TwinRead, 1, no_probe).await.unwrap().ended(CallEnd::Served);
    assert_eq!(begun.elapsed(), Duration::from_secs(17) + MAX_PAUSE);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_calls_are_under_way_at_once_and_who_is_to_stop_does_not_wait_for_them() {
    let (rate_limiter, stop) =
        (Arc::new(RateLimiter::new(StatusListener::default())), CancellationToken::new());
    rate_limiter.stop_with(stop.clone());
    let (under_way, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let begun = Instant::now();
    let callers = (0..3 * MAX_UNDER_WAY).map(|_| {
        let (rate_limiter, under_way, most) = (rate_limiter.clone(), under_way.clone(), most.clone());
        tokio::spawn(async move {
            let permit = rate_limiter.permit(OperationClass::TwinRead, 1, no_probe).await?;
            most.fetch_max(under_way.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            sleep(Duration::from_secs(60)).await;
            under_way.fetch_sub(1, Ordering::Relaxed);
            permit.ended(CallEnd::Served);
            Ok(())
        })
    });
    let callers: Vec<_> = callers.collect();
    sleep(Duration::from_secs(90)).await;
    stop.cancel();
    let mut denied = 0;
    for caller in callers {
        denied += usize::from(caller.await.unwrap() == Err(Denied::Stopped));
    }
    assert_eq!((most.load(Ordering::Relaxed), denied), (MAX_UNDER_WAY, MAX_UNDER_WAY));
    assert_eq!(begun.elapsed(), Duration::from_secs(120), "those under way came to their end");
}

/// Fails calls until the rate limiter permits no more.
async fn take_down(rate_limiter: &RateLimiter) {
    for _ in 0..5 {
        sleep(Duration::from_secs(1)).await;
        rate_limiter.permit(OperationClass::TwinRead, 1, no_probe).await.unwrap().ended(CallEnd::Failed);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_while_the_hub_is_down_and_all_go_on_when_it_is_back() {
    let rate_limiter = Arc::new(RateLimiter::new(StatusListener::default()));
    take_down(&rate_limiter).await;
    let begun = Instant::now();
    let probes = Arc::new(AtomicUsize::new(0));
    let waiting = (0..100).map(|_| {
        let (rate_limiter, probes) = (rate_limiter.clone(), probes.clone());
        tokio::spawn(async move {
            let probe = || async {
                probes.fetch_add(1, Ordering::Relaxed);
                match begun.elapsed() > Duration::from_secs(600) {
                    true => ProbeEnd::Back,
                    false => ProbeEnd::Away,
                }
            };
            rate_limiter.permit(OperationClass::TwinRead, 1, probe).await.unwrap().ended(CallEnd::Served);
        })
    });
    for waiting in waiting.collect::<Vec<_>>() {
        waiting.await.unwrap();
    }
    assert!((600..660).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    let probes = probes.load(Ordering::Relaxed);
    assert!((15..60).contains(&probes), "{probes} probes in ten minutes");
    let stats = rate_limiter.call_stats();
    assert_eq!((stats.calls, stats.failed), (105, 5));
    assert_eq!(
        (stats.outage_for, stats.throttled_for),
        (begun.elapsed(), Duration::ZERO),
        "those who wait together count once"
    );
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_stays_down_is_given_up() {
    let rate_limiter = RateLimiter::new(StatusListener::default());
    rate_limiter.set_patience(Duration::from_secs(300));
    take_down(&rate_limiter).await;
    let denied = rate_limiter.permit(OperationClass::TwinRead, 1, async || ProbeEnd::Away).await.unwrap_err();
    assert!(matches!(denied, Denied::Unavailable(down) if down >= Duration::from_secs(300)));
}

#[tokio::test(start_paused = true)]
async fn changes_that_are_never_confirmed_are_given_up_although_reads_are_answered() {
    let rate_limiter = RateLimiter::new(StatusListener::default());
    rate_limiter.set_patience(Duration::from_secs(60));
    for second in 0..60 {
        assert_eq!(rate_limiter.unconfirmed_too_long(), None);
        rate_limiter.permit(OperationClass::TwinRead, 1, no_probe).await.unwrap().ended(CallEnd::Served);
        if second % 10 == 0 {
            rate_limiter.change_failed(None);
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(rate_limiter.unconfirmed_too_long(), Some(Duration::from_secs(60)));
    rate_limiter.change_answered();
    assert_eq!(rate_limiter.unconfirmed_too_long(), None);
    // A lost answer now and then is bad luck.
    rate_limiter.change_failed(None);
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(rate_limiter.unconfirmed_too_long(), None);
}

#[tokio::test(start_paused = true)]
async fn who_is_to_stop_does_not_wait_and_gives_back_what_it_took() {
    let (rate_limiter, stop) = (RateLimiter::new(StatusListener::default()), CancellationToken::new());
    rate_limiter.stop_with(stop.clone());
    rate_limiter.set_tier(Tier::S1, ONE);
    rate_limiter.permit(OperationClass::Registry, 100, no_probe).await.unwrap().ended(CallEnd::Served);
    stop.cancel();
    let begun = Instant::now();
    let denied = rate_limiter.permit(OperationClass::Registry, 100, no_probe).await.unwrap_err();
    assert_eq!((denied, begun.elapsed()), (Denied::Stopped, Duration::ZERO));
    sleep(Duration::from_secs(60)).await;
    let begun = Instant::now();
    rate_limiter.permit(OperationClass::Registry, 100, no_probe).await.unwrap().ended(CallEnd::Served);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn stations_together_take_what_one_would_also_when_one_comes_later() {
    let served = |rate_limiter: &RateLimiter| rate_limiter.rate(OperationClass::Registry).unwrap() * 60.0;
    let (first, second) =
        (RateLimiter::new(StatusListener::default()), RateLimiter::new(StatusListener::default()));
    let begun = Instant::now();
    for rate_limiter in [&first, &second] {
        rate_limiter.set_tier(Tier::S3, ONE);
        // What a station does before it knows the others.
        rate_limiter.permit(OperationClass::Registry, 1, no_probe).await.unwrap().ended(CallEnd::Served);
    }
    first.set_share(1.0);
    first.permit(OperationClass::Registry, 4_900, no_probe).await.unwrap().ended(CallEnd::Served);
    first.set_share(0.5);
    second.set_share(0.5);
    second.permit(OperationClass::Registry, 2_500, no_probe).await.unwrap().ended(CallEnd::Served);
    // The first has spent what the hub takes at once; the second begins with nothing.
    assert_eq!(begun.elapsed().as_secs(), 60);
    assert_eq!((served(&first).round(), served(&second).round()), (2_500.0, 2_500.0));
    // The second one leaves.
    first.set_share(1.0);
    assert_eq!(served(&first).round(), 5_000.0);
}
