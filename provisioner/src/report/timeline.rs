//! The speed of a run: the samples of its stints, on one axis of time.
//!
//! Overlapping stints, of stations that share a run, are added up. The axis is cut where no stint
//! was active: the time between two cuts is a sitting.

use std::time::Duration;

use time::OffsetDateTime;

use crate::ledger::{Moment, Stint};

/// A run along its time.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    /// Its sittings, in order.
    pub sittings: Vec<Sitting>,
}

/// A time of uninterrupted work.
#[derive(Debug, Clone, PartialEq)]
pub struct Sitting {
    /// The start time.
    pub started: OffsetDateTime,
    /// The end time.
    pub ended: OffsetDateTime,
    /// The length of its buckets in seconds.
    pub bucket: f64,
    /// The work of the sitting, bucket by bucket.
    pub buckets: Vec<Bucket>,
}

/// The work in a short time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bucket {
    /// Finished rows.
    pub rows: f64,
    /// Calls to the hub.
    pub calls: f64,
    /// Calls that the hub refused because there were too many.
    pub throttled: f64,
    /// Seconds in which calls were delayed, of all stations.
    pub throttled_for: f64,
    /// Seconds in which the hub was unavailable, as seen by all stations.
    pub outage_for: f64,
    /// Seconds of work, of all stations.
    pub worked: f64,
}

impl Timeline {
    /// The timeline of a run, in at most about `buckets` parts; `None` if its stints have no data.
    pub fn of(stints: &[(Stint, Vec<Moment>)], buckets: u32) -> Option<Self> {
        let steps: Vec<Step> = stints.iter().flat_map(|(stint, moments)| steps(stint, moments)).collect();
        let mut sittings = sittings(&steps);
        let total: f64 = sittings.iter().map(|sitting| seconds(sitting.started, sitting.ended)).sum();
        if total < SHORTEST {
            return None;
        }
        let bucket = (total / f64::from(buckets.max(1))).max(MIN_BUCKET);
        for sitting in &mut sittings {
            let length = seconds(sitting.started, sitting.ended);
            let count = (length / bucket).round().max(1.0);
            sitting.bucket = length / count;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "from 1 to some hundreds"
            )]
            sitting.buckets.resize(count as usize, Bucket::default());
        }
        steps.iter().for_each(|step| step.pour(&mut sittings));
        Some(Self { sittings })
    }

    /// All buckets together.
    pub fn sum(&self) -> Bucket {
        let buckets = self.sittings.iter().flat_map(|sitting| &sitting.buckets);
        buckets.fold(Bucket::default(), |sum, bucket| sum.plus(bucket, 1.0))
    }

    /// The active time.
    pub fn worked(&self) -> Duration {
        let worked: f64 = self.sittings.iter().map(|sitting| seconds(sitting.started, sitting.ended)).sum();
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

/// The work between two samples of a stint.
struct Step {
    from: OffsetDateTime,
    to: OffsetDateTime,
    done: Bucket,
}

impl Step {
    /// Distributes the work over the buckets of its time.
    fn pour(&self, sittings: &mut [Sitting]) {
        let length = seconds(self.from, self.to);
        let Some(sitting) =
            sittings.iter_mut().find(|sitting| sitting.started <= self.from && self.to <= sitting.ended)
        else {
            return;
        };
        let begun = seconds(sitting.started, self.from);
        let mut from = 0.0;
        let bucket = sitting.bucket;
        for (index, into) in sitting.buckets.iter_mut().enumerate() {
            let ends = f64::from(u32::try_from(index + 1).unwrap_or(u32::MAX)) * bucket - begun;
            let to = ends.clamp(from, length);
            *into = into.plus(&self.done, (to - from) / length);
            from = to;
        }
    }
}

fn steps(stint: &Stint, moments: &[Moment]) -> Vec<Step> {
    let started = stint.started.time();
    // Before the first moment lies what is no work on the hub, such as issuing.
    let Some(mut last) = moments.first().copied() else { return Vec::new() };
    let mut steps = Vec::with_capacity(moments.len());
    for moment in moments.iter().skip(1) {
        let worked = (moment.elapsed - last.elapsed).as_secs_f64();
        let (now, before) = (&moment.stats, &last.stats);
        let more =
            |now: u64, before: u64| f64::from(u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX));
        let longer = |now: Duration, before: Duration| now.saturating_sub(before).as_secs_f64().min(worked);
        steps.push(Step {
            from: started + last.elapsed,
            to: started + moment.elapsed,
            done: Bucket {
                rows: more(moment.rows, last.rows),
                calls: more(now.calls, before.calls),
                throttled: more(now.throttled, before.throttled),
                throttled_for: longer(now.throttled_for, before.throttled_for),
                outage_for: longer(now.outage_for, before.outage_for),
                worked,
            },
        });
        last = *moment;
    }
    steps
}

/// The times of work, without buckets yet.
fn sittings(steps: &[Step]) -> Vec<Sitting> {
    let mut times: Vec<(OffsetDateTime, OffsetDateTime)> =
        steps.iter().map(|step| (step.from, step.to)).collect();
    times.sort_unstable();
    let mut sittings: Vec<Sitting> = Vec::new();
    for (started, ended) in times {
        match sittings.last_mut() {
            Some(last) if started <= last.ended + BREAK => last.ended = last.ended.max(ended),
            _ => sittings.push(Sitting { started, ended, bucket: 0.0, buckets: Vec::new() }),
        }
    }
    sittings
}

fn seconds(from: OffsetDateTime, to: OffsetDateTime) -> f64 {
    (to - from).as_seconds_f64()
}

/// The shortest run with a timeline, in seconds.
const SHORTEST: f64 = 1.0;
/// A break that is shorter does not cut the axis.
const BREAK: Duration = Duration::from_secs(5);
/// The smallest distance of moments, in seconds.
const MIN_BUCKET: f64 = 2.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::rate_limit::CallStats;
    use crate::ledger::Operator;

    fn stint(number: u32, started: &str, moments: &[(u64, u64)]) -> (Stint, Vec<Moment>) {
        let stint = Stint {
            number,
            by: Operator::default(),
            tool_version: "1".into(),
            started: started.parse().unwrap(),
        };
        let moment = |(elapsed, rows): &(u64, u64)| Moment {
            elapsed: Duration::from_secs(*elapsed),
            rows: *rows,
            stats: CallStats { throttled_for: Duration::from_secs(elapsed / 2), ..CallStats::default() },
        };
        (stint, moments.iter().map(moment).collect())
    }

    fn rows(timeline: &Timeline) -> Vec<Vec<f64>> {
        let of = |sitting: &Sitting| sitting.buckets.iter().map(|bucket| bucket.rows).collect();
        timeline.sittings.iter().map(of).collect()
    }

    #[test]
    fn what_was_done_is_spread_over_time_and_nothing_is_lost() {
        let one = [stint(1, "2026-11-22T10:00:00Z", &[(0, 0), (10, 100), (20, 100), (40, 300)])];
        let timeline = Timeline::of(&one, 8).unwrap();
        assert_eq!(timeline.sittings[0].bucket, 5.0);
        assert_eq!(rows(&timeline), [[50.0, 50.0, 0.0, 0.0, 50.0, 50.0, 50.0, 50.0]]);
        let sum = timeline.sum();
        assert_eq!((sum.rows.round(), sum.throttled_for.round(), sum.worked.round()), (300.0, 20.0, 40.0));
    }

    #[test]
    fn stations_that_work_together_are_added_up() {
        let two = [
            stint(1, "2026-11-22T10:00:00Z", &[(0, 0), (40, 40)]),
            stint(2, "2026-11-22T10:00:20Z", &[(0, 0), (20, 40)]),
        ];
        let timeline = Timeline::of(&two, 4).unwrap();
        assert_eq!(rows(&timeline), [[10.0, 10.0, 30.0, 30.0]]);
        assert_eq!(timeline.worked().as_secs(), 40);
    }

    #[test]
    fn where_nobody_worked_the_axis_is_cut() {
        let cut = [
            stint(1, "2026-11-22T10:00:00Z", &[(0, 0), (10, 20)]),
            stint(2, "2026-11-23T08:00:00Z", &[(0, 0), (10, 30)]),
        ];
        let timeline = Timeline::of(&cut, 2).unwrap();
        assert_eq!(rows(&timeline), [[20.0], [30.0]]);
        assert_eq!(timeline.worked().as_secs(), 20);
    }

    #[test]
    fn a_run_without_moments_has_no_timeline() {
        assert_eq!(Timeline::of(&[stint(1, "2026-11-22T10:00:00Z", &[(0, 0)])], 10), None);
    }
}
