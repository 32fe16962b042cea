//! The availability of the hub: while it is unavailable, only occasional probes are sent.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::service_status::{Service, ServiceStatus};

/// The circuit breaker of a hub. Its callers give it the results of calls, and the time.
#[derive(Debug)]
pub(super) struct CircuitBreaker {
    /// Calls in a row that the hub did not answer, or answered with a failure of its own.
    failures: u32,
    /// The time of the last answer.
    last_answer: Instant,
    /// True once the hub has answered a call.
    was_answered: bool,
    circuit: Circuit,
}

#[derive(Debug)]
enum Circuit {
    /// Calls are made.
    Closed,
    /// The hub is unavailable: calls wait.
    Open(Outage),
    /// A probe was sent at this time, and its result is pending.
    HalfOpen(Outage, Instant),
}

#[derive(Debug, Clone, Copy)]
struct Outage {
    since: Instant,
    probes: u32,
    next_probe: Instant,
}

/// The decision for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Make it.
    Proceed,
    /// Send a probe to the hub, then ask again.
    Probe,
    /// Wait for this time, then ask again.
    Wait(Duration),
}

impl CircuitBreaker {
    pub(super) fn new(now: Instant) -> Self {
        Self { failures: 0, last_answer: now, was_answered: false, circuit: Circuit::Closed }
    }

    /// Decides about a call at `now`. A caller that is told to probe has to report the result.
    pub(super) fn decide(&mut self, now: Instant) -> Decision {
        let outage = match self.circuit {
            Circuit::Closed => return Decision::Proceed,
            Circuit::HalfOpen(_, sent) if now - sent < PROBE_LOST => return Decision::Wait(RECHECK_INTERVAL),
            Circuit::HalfOpen(outage, _) | Circuit::Open(outage) => outage,
        };
        if now < outage.next_probe {
            return Decision::Wait(outage.next_probe - now);
        }
        self.circuit = Circuit::HalfOpen(outage, now);
        Decision::Probe
    }

    /// The duration of the hub's outage, if there is one.
    pub(super) fn outage_for(&self, now: Instant) -> Option<Duration> {
        self.outage().map(|outage| now - outage.since)
    }

    fn outage(&self) -> Option<Outage> {
        match self.circuit {
            Circuit::Closed => None,
            Circuit::HalfOpen(outage, _) | Circuit::Open(outage) => Some(outage),
        }
    }

    /// Records an answer, which may be a refusal.
    pub(super) fn answered(&mut self, now: Instant) {
        self.failures = 0;
        self.last_answer = now;
        self.was_answered = true;
    }

    /// True once the hub has answered a call.
    pub(super) fn was_answered(&self) -> bool {
        self.was_answered
    }

    /// True if the hub has answered no call since `then`.
    pub(super) fn is_silent_since(&self, then: Instant) -> bool {
        self.last_answer <= then
    }

    /// Records that the hub did not answer, or failed. `jitter` (0 to 1) spreads the probes of many stations.
    pub(super) fn failed(&mut self, jitter: f64, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.outage().is_none() && self.failures >= IN_A_ROW && now - self.last_answer >= SILENCE {
            let next_probe = now + FIRST_PROBE.mul_f64(jitter);
            self.circuit = Circuit::Open(Outage { since: self.last_answer, probes: 0, next_probe });
        }
    }

    /// Records the result of a probe; returns the event to report to people.
    pub(super) fn probed(&mut self, answered: bool, jitter: f64, now: Instant) -> Option<ServiceStatus> {
        let Outage { since, probes, .. } = self.outage()?;
        let probes = probes.saturating_add(1);
        if answered {
            self.circuit = Circuit::Closed;
            self.answered(now);
            // A recovery is only reported if the outage was.
            return (probes > 1).then(|| ServiceStatus::Recovered(Service::Hub, now - since));
        }
        let bound = FIRST_PROBE.saturating_mul(1 << probes.min(10)).min(MAX_PROBE);
        // At least half of it, so that no jitter makes a hail of probes.
        let next_probe = now + bound.mul_f64(0.5 + jitter / 2.0);
        self.circuit = Circuit::Open(Outage { since, probes, next_probe });
        (probes == 1).then_some(ServiceStatus::Unavailable(Service::Hub))
    }
}

/// The number of consecutive failures that opens the circuit.
const IN_A_ROW: u32 = 5;
/// The time without an answer that opens the circuit.
const SILENCE: Duration = Duration::from_secs(3);
const FIRST_PROBE: Duration = Duration::from_secs(1);
const MAX_PROBE: Duration = Duration::from_secs(30);
/// The interval at which waiting calls check for the result of the probe.
const RECHECK_INTERVAL: Duration = Duration::from_millis(250);
/// The time after which a probe without a result counts as lost: its caller was cancelled.
const PROBE_LOST: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    fn down(now: &mut Instant) -> CircuitBreaker {
        let mut breaker = CircuitBreaker::new(*now);
        for _ in 0..IN_A_ROW {
            *now += Duration::from_secs(1);
            assert_eq!(breaker.decide(*now), Decision::Proceed);
            breaker.failed(0.0, *now);
        }
        breaker
    }

    #[test]
    fn one_probe_at_a_time_and_then_the_way_is_free_again() {
        let mut now = Instant::now();
        let mut breaker = down(&mut now);
        assert_eq!(breaker.decide(now), Decision::Probe);
        assert!(matches!(breaker.decide(now), Decision::Wait(_)));
        assert_eq!(breaker.probed(false, 1.0, now), Some(ServiceStatus::Unavailable(Service::Hub)));
        assert_eq!(breaker.decide(now), Decision::Wait(Duration::from_secs(2)));
        now += Duration::from_secs(2);
        assert_eq!(breaker.decide(now), Decision::Probe);
        assert_eq!(
            breaker.probed(true, 1.0, now),
            Some(ServiceStatus::Recovered(Service::Hub, Duration::from_secs(7)))
        );
        assert_eq!(breaker.decide(now), Decision::Proceed);
    }

    #[test]
    fn ten_minutes_away_cost_few_probes_and_at_most_half_a_minute_of_delay() {
        let mut now = Instant::now();
        let begun = now;
        let mut breaker = down(&mut now);
        let mut probes = 0;
        while now - begun < Duration::from_secs(600) {
            match breaker.decide(now) {
                Decision::Proceed => panic!("nothing said that the hub is back"),
                Decision::Wait(wait) => {
                    assert!(wait <= MAX_PROBE);
                    now += wait;
                }
                Decision::Probe => {
                    probes += 1;
                    breaker.probed(false, 0.5, now);
                }
            }
        }
        assert!((20..40).contains(&probes), "{probes}");
    }

    #[test]
    fn failures_between_answers_do_not_stop_the_work() {
        let mut now = Instant::now();
        let mut breaker = CircuitBreaker::new(now);
        for call in 0..1000 {
            now += Duration::from_secs(1);
            match call % 5 {
                0 => breaker.answered(now),
                _ => breaker.failed(0.5, now),
            }
            assert_eq!(breaker.decide(now), Decision::Proceed);
        }
    }

    #[test]
    fn many_failures_at_once_are_not_yet_an_outage() {
        let now = Instant::now();
        let mut breaker = CircuitBreaker::new(now);
        (0..100).for_each(|_| breaker.failed(0.5, now));
        assert_eq!(breaker.decide(now), Decision::Proceed);
    }

    #[test]
    fn a_probe_whose_sender_was_cancelled_is_made_up_for() {
        let mut now = Instant::now();
        let mut breaker = down(&mut now);
        assert_eq!(breaker.decide(now), Decision::Probe);
        now += PROBE_LOST;
        assert_eq!(breaker.decide(now), Decision::Probe);
    }
}
