//! The availability of the hub: while it is unavailable, only occasional probes are sent.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::service_status::{Service, Sign};

/// Watches how calls end. It has no clock of its own and sends nothing itself.
#[derive(Debug)]
pub(super) struct Breaker {
    /// Calls in a row that the hub did not answer, or answered with a failure of its own.
    failures: u32,
    /// The time of the last sign of the hub.
    last_sign: Instant,
    /// True once it did.
    was_answered: bool,
    outage: Option<Outage>,
}

#[derive(Debug)]
struct Outage {
    since: Instant,
    probes: u32,
    next_probe: Instant,
    /// The time at which the pending probe was sent.
    probing: Option<Instant>,
}

/// The decision for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// It may be made.
    Open,
    /// Ask whether the hub is back.
    Probe,
    /// Wait, then ask again.
    Wait(Duration),
}

impl Breaker {
    pub(super) fn new(now: Instant) -> Self {
        Self { failures: 0, last_sign: now, was_answered: false, outage: None }
    }

    /// Decides about a call at `now`. A caller that is told to probe has to report the result.
    pub(super) fn gate(&mut self, now: Instant) -> Gate {
        let Some(outage) = &mut self.outage else { return Gate::Open };
        if outage.probing.is_some_and(|sent| now - sent < PROBE_LOST) {
            return Gate::Wait(GLANCE);
        }
        if now < outage.next_probe {
            return Gate::Wait(outage.next_probe - now);
        }
        outage.probing = Some(now);
        Gate::Probe
    }

    /// The duration of the hub's outage, if there is one.
    pub(super) fn down_for(&self, now: Instant) -> Option<Duration> {
        self.outage.as_ref().map(|outage| now - outage.since)
    }

    /// The hub answered, be it with a refusal.
    pub(super) fn answered(&mut self, now: Instant) {
        self.failures = 0;
        self.last_sign = now;
        self.was_answered = true;
    }

    /// True once the hub has answered a call.
    pub(super) fn was_answered(&self) -> bool {
        self.was_answered
    }

    /// True if the hub has answered no call since `then`.
    pub(super) fn is_silent_since(&self, then: Instant) -> bool {
        self.last_sign <= then
    }

    /// The hub did not answer, or failed. `jitter` (0 to 1) spreads the probes of many stations.
    pub(super) fn failed(&mut self, jitter: f64, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.outage.is_none() && self.failures >= IN_A_ROW && now - self.last_sign >= SILENCE {
            let next_probe = now + FIRST_PROBE.mul_f64(jitter);
            self.outage = Some(Outage { since: self.last_sign, probes: 0, next_probe, probing: None });
        }
    }

    /// Records the result of a probe; returns the event to report to people.
    pub(super) fn probed(&mut self, answered: bool, jitter: f64, now: Instant) -> Option<Sign> {
        let outage = self.outage.as_mut()?;
        outage.probing = None;
        outage.probes = outage.probes.saturating_add(1);
        let (probes, since) = (outage.probes, outage.since);
        if answered {
            self.outage = None;
            self.answered(now);
            // Who was never told that it was down need not be told that it is back.
            return (probes > 1).then(|| Sign::Back(Service::Hub, now - since));
        }
        let bound = FIRST_PROBE.saturating_mul(1 << probes.min(10)).min(MAX_PROBE);
        // At least half of it, so that no jitter makes a hail of probes.
        outage.next_probe = now + bound.mul_f64(0.5 + jitter / 2.0);
        (probes == 1).then_some(Sign::Down(Service::Hub))
    }
}

/// Fewer failures in a row are bad luck.
const IN_A_ROW: u32 = 5;
/// So long must the hub have shown no sign.
const SILENCE: Duration = Duration::from_secs(3);
const FIRST_PROBE: Duration = Duration::from_secs(1);
const MAX_PROBE: Duration = Duration::from_secs(30);
/// The interval at which waiting calls check for the result of the probe.
const GLANCE: Duration = Duration::from_millis(250);
/// A probe that was never heard of again: whoever sent it has been cancelled.
const PROBE_LOST: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    fn down(now: &mut Instant) -> Breaker {
        let mut breaker = Breaker::new(*now);
        for _ in 0..IN_A_ROW {
            *now += Duration::from_secs(1);
            assert_eq!(breaker.gate(*now), Gate::Open);
            breaker.failed(0.0, *now);
        }
        breaker
    }

    #[test]
    fn one_probe_at_a_time_and_then_the_way_is_free_again() {
        let mut now = Instant::now();
        let mut breaker = down(&mut now);
        assert_eq!(breaker.gate(now), Gate::Probe);
        assert!(matches!(breaker.gate(now), Gate::Wait(_)));
        assert_eq!(breaker.probed(false, 1.0, now), Some(Sign::Down(Service::Hub)));
        assert_eq!(breaker.gate(now), Gate::Wait(Duration::from_secs(2)));
        now += Duration::from_secs(2);
        assert_eq!(breaker.gate(now), Gate::Probe);
        assert_eq!(breaker.probed(true, 1.0, now), Some(Sign::Back(Service::Hub, Duration::from_secs(7))));
        assert_eq!(breaker.gate(now), Gate::Open);
    }

    #[test]
    fn ten_minutes_away_cost_few_probes_and_at_most_half_a_minute_of_delay() {
        let mut now = Instant::now();
        let begun = now;
        let mut breaker = down(&mut now);
        let mut probes = 0;
        while now - begun < Duration::from_secs(600) {
            match breaker.gate(now) {
                Gate::Open => panic!("nothing said that the hub is back"),
                Gate::Wait(wait) => {
                    assert!(wait <= MAX_PROBE);
                    now += wait;
                }
                Gate::Probe => {
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
        let mut breaker = Breaker::new(now);
        for call in 0..1000 {
            now += Duration::from_secs(1);
            match call % 5 {
                0 => breaker.answered(now),
                _ => breaker.failed(0.5, now),
            }
            assert_eq!(breaker.gate(now), Gate::Open);
        }
    }

    #[test]
    fn many_failures_at_once_are_not_yet_an_outage() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        (0..100).for_each(|_| breaker.failed(0.5, now));
        assert_eq!(breaker.gate(now), Gate::Open);
    }

    #[test]
    fn a_probe_whose_sender_was_cancelled_is_made_up_for() {
        let mut now = Instant::now();
        let mut breaker = down(&mut now);
        assert_eq!(breaker.gate(now), Gate::Probe);
        now += PROBE_LOST;
        assert_eq!(breaker.gate(now), Gate::Probe);
    }
}
