//! The speed of a run: the samples of its sessions, on one axis of time.
//!
//! Overlapping sessions, of stations that share a run, are added up. The axis is cut where no session
//! was active: the time between two cuts is a period.

use std::time::Duration;

use time::OffsetDateTime;

use crate::ledger::{ProgressSample, Session};

/// A run along its time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Timeline {
    /// Its periods, in order.
    pub(crate) periods: Vec<ActivePeriod>,
}

/// A time of uninterrupted work.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ActivePeriod {
    /// The start time.
    pub(crate) started: OffsetDateTime,
    /// The end time.
    pub(crate) ended: OffsetDateTime,
    /// The length of its buckets in seconds.
    pub(crate) bucket: f64,
    /// The work of the period, bucket by bucket.
    pub(crate) buckets: Vec<Bucket>,
}

/// The work in a short time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Bucket {
    /// Finished rows.
    pub(crate) rows: f64,
    /// Calls to the hub.
    pub(crate) calls: f64,
    /// Calls that the hub refused because there were too many.
    pub(crate) throttled: f64,
    /// Seconds in which calls were delayed, of all stations.
    pub(crate) throttled_for: f64,
    /// Seconds in which the hub was unavailable, as seen by all stations.
    pub(crate) outage_for: f64,
    /// Seconds of work, of all stations.
    pub(crate) worked: f64,
}

impl Timeline {
    /// The timeline of a run, in at most about `buckets` parts; `None` if its sessions have no data.
    pub(crate) fn of(sessions: &[(Session, Vec<ProgressSample>)], buckets: u32) -> Option<Self> {
        let steps: Vec<TimelineStep> =
            sessions.iter().flat_map(|(session, samples)| steps(session, samples)).collect();
        let mut periods = periods(&steps);
        let total: f64 = periods.iter().map(|period| seconds(period.started, period.ended)).sum();
        if total < SHORTEST {
            return None;
        }
        let bucket = (total / f64::from(buckets.max(1))).max(MIN_BUCKET);
        for period in &mut periods {
            let length = seconds(period.started, period.ended);
            let count = (length / bucket).round().max(1.0);
            period.bucket = length / count;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "from 1 to some hundreds"
            )]
            period.buckets.resize(count as usize, Bucket::default());
        }
        steps.iter().for_each(|step| step.pour(&mut periods));
        Some(Self { periods })
    }

    /// All buckets together.
    pub(crate) fn sum(&self) -> Bucket {
        let buckets = self.periods.iter().flat_map(|period| &period.buckets);
        buckets.fold(Bucket::default(), |sum, bucket| sum.plus(bucket, 1.0))
    }

    /// The active time.
    pub(crate) fn worked(&self) -> Duration {
        let worked: f64 = self.periods.iter().map(|period| seconds(period.started, period.ended)).sum();
        Duration::from_secs_f64(worked.max(0.0))
    }
}

impl Bucket {
    fn plus(self, other: &Self, part: f64) -> Self {
        Self {
            rows: self.rows + other.rows * part,
            calls: self.calls + other.calls * part,
            throttled: self.throttled + other.throttled * part,
            throttled_for: self.throttled_for + other.throttled_for * part,
            outage_for: self.outage_for + other.outage_for * part,
            worked: self.worked + other.worked * part,
        }
    }
}

/// The work between two samples of a session.
struct TimelineStep {
    from: OffsetDateTime,
    to: OffsetDateTime,
    done: Bucket,
}

impl TimelineStep {
    /// Distributes the work over the buckets of its time.
    fn pour(&self, periods: &mut [ActivePeriod]) {
        let length = seconds(self.from, self.to);
        let Some(period) =
            periods.iter_mut().find(|period| period.started <= self.from && self.to <= period.ended)
        else {
            return;
        };
        let begun = seconds(period.started, self.from);
        let mut from = 0.0;
        let bucket = period.bucket;
        for (index, into) in period.buckets.iter_mut().enumerate() {
            let ends = f64::from(u32::try_from(index + 1).unwrap_or(u32::MAX)) * bucket - begun;
            let to = ends.clamp(from, length);
            *into = into.plus(&self.done, (to - from) / length);
            from = to;
        }
    }
}

fn steps(session: &Session, samples: &[ProgressSample]) -> Vec<TimelineStep> {
    let started = session.started.time();
    // Before the first sample lies what is no work on the hub, such as issuing.
    let Some(mut last) = samples.first().copied() else { return Vec::new() };
    let mut steps = Vec::with_capacity(samples.len());
    for sample in samples.iter().skip(1) {
        let worked = (sample.elapsed - last.elapsed).as_secs_f64();
        let (now, before) = (&sample.stats, &last.stats);
        let more =
            |now: u64, before: u64| f64::from(u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX));
        let longer = |now: Duration, before: Duration| now.saturating_sub(before).as_secs_f64().min(worked);
        steps.push(TimelineStep {
            from: started + last.elapsed,
            to: started + sample.elapsed,
            done: Bucket {
                rows: more(sample.rows, last.rows),
                calls: more(now.calls, before.calls),
                throttled: more(now.throttled, before.throttled),
                throttled_for: longer(now.throttled_for, before.throttled_for),
                outage_for: longer(now.outage_for, before.outage_for),
                worked,
            },
        });
        last = *sample;
    }
    steps
}

/// The times of work, without buckets yet.
fn periods(steps: &[TimelineStep]) -> Vec<ActivePeriod> {
    let mut times: Vec<(OffsetDateTime, OffsetDateTime)> =
        steps.iter().map(|step| (step.from, step.to)).collect();
    times.sort_unstable();
    let mut periods: Vec<ActivePeriod> = Vec::new();
    for (started, ended) in times {
        match periods.last_mut() {
            Some(last) if started <= last.ended + BREAK => last.ended = last.ended.max(ended),
            _ => periods.push(ActivePeriod { started, ended, bucket: 0.0, buckets: Vec::new() }),
        }
    }
    periods
}

fn seconds(from: OffsetDateTime, to: OffsetDateTime) -> f64 {
    (to - from).as_seconds_f64()
}

/// The shortest run with a timeline, in seconds.
const SHORTEST: f64 = 1.0;
/// A break that is shorter does not cut the axis.
const BREAK: Duration = Duration::from_secs(5);
/// The smallest distance of samples, in seconds.
const MIN_BUCKET: f64 = 2.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::rate_limit::CallStats;
    use crate::ledger::Operator;

    fn session(number: u32, started: &str, samples: &[(u64, u64)]) -> (Session, Vec<ProgressSample>) {
        let session = Session {
            number,
            by: Operator::default(),
            tool_version: "1".into(),
            started: started.parse().unwrap(),
        };
        let sample = |(elapsed, rows): &(u64, u64)| ProgressSample {
            elapsed: Duration::from_secs(*elapsed),
            rows: *rows,
            stats: CallStats { throttled_for: Duration::from_secs(elapsed / 2), ..CallStats::default() },
        };
        (session, samples.iter().map(sample).collect())
    }

    fn rows(timeline: &Timeline) -> Vec<Vec<f64>> {
        let of = |period: &ActivePeriod| period.buckets.iter().map(|bucket| bucket.rows).collect();
        timeline.periods.iter().map(of).collect()
    }

    #[test]
    fn what_was_done_is_spread_over_time_and_nothing_is_lost() {
        let one = [session(1, "2026-11-22T10:00:00Z", &[(0, 0), (10, 100), (20, 100), (40, 300)])];
        let timeline = Timeline::of(&one, 8).unwrap();
        assert_eq!(timeline.periods[0].bucket, 5.0);
        assert_eq!(rows(&timeline), [[50.0, 50.0, 0.0, 0.0, 50.0, 50.0, 50.0, 50.0]]);
        let sum = timeline.sum();
        assert_eq!((sum.rows.round(), sum.throttled_for.round(), sum.worked.round()), (300.0, 20.0, 40.0));
    }

    #[test]
    fn stations_that_work_together_are_added_up() {
        let two = [
            session(1, "2026-11-22T10:00:00Z", &[(0, 0), (40, 40)]),
            session(2, "2026-11-22T10:00:20Z", &[(0, 0), (20, 40)]),
        ];
        let timeline = Timeline::of(&two, 4).unwrap();
        assert_eq!(rows(&timeline), [[10.0, 10.0, 30.0, 30.0]]);
        assert_eq!(timeline.worked().as_secs(), 40);
    }

    #[test]
    fn where_nobody_worked_the_axis_is_cut() {
        let cut = [
            session(1, "2026-11-22T10:00:00Z", &[(0, 0), (10, 20)]),
            session(2, "2026-11-23T08:00:00Z", &[(0, 0), (10, 30)]),
        ];
        let timeline = Timeline::of(&cut, 2).unwrap();
        assert_eq!(rows(&timeline), [[20.0], [30.0]]);
        assert_eq!(timeline.worked().as_secs(), 20);
    }

    #[test]
    fn a_run_without_moments_has_no_timeline() {
        assert_eq!(Timeline::of(&[session(1, "2026-11-22T10:00:00Z", &[(0, 0)])], 10), None);
    }
}
