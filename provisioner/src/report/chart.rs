//! The drawing of a timeline: shapes for an SVG, in its units.

use std::fmt::Write;

use serde::Serialize;

use super::text;
use super::timeline::{ActivePeriod, Bucket, Timeline};

/// The drawing.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    base: f64,
    /// The panels of each period.
    panels: Vec<Panel>,
    /// Rates along the left side.
    rates: Vec<Label>,
    /// Times along the bottom.
    times: Vec<Label>,
    /// The positions at which the axis is cut.
    cuts: Vec<Label>,
    lanes: Vec<Label>,
    /// A description of all of it in words.
    pub(super) summary: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Panel {
    /// The rate, as the path of an area and of the line above it.
    area: String,
    line: String,
    /// Times in which the hub was unavailable, over the whole height.
    outages: Vec<Mark>,
    /// Below the axis: the share of time in which calls were delayed, refused, or without a hub.
    held: Vec<Mark>,
    throttled: Vec<Mark>,
    down: Vec<Mark>,
}

/// A mark between two times; `share` is its strength.
#[derive(Debug, Serialize)]
struct Mark {
    x: f64,
    width: f64,
    share: f64,
}

#[derive(Debug, Serialize)]
struct Label {
    at: f64,
    text: String,
    anchor: &'static str,
}

impl Chart {
    pub(super) fn of(timeline: &Timeline) -> Self {
        let scale = Scale::of(timeline);
        let mut chart = Self {
            width: WIDTH,
            height: HEIGHT,
            left: LEFT,
            right: WIDTH - RIGHT,
            base: BASE,
            panels: Vec::new(),
            rates: scale.rates(),
            times: Vec::new(),
            cuts: Vec::new(),
            lanes: lanes(),
            summary: summary(timeline, scale.fastest),
        };
        let mut x = LEFT;
        for (index, period) in timeline.periods.iter().enumerate() {
            let width = scale.width(period, period.buckets.len());
            chart.panels.push(scale.panel(period, x));
            chart.label_times(period, x, width, timeline.periods.len());
            if let Some(next) = timeline.periods.get(index + 1) {
                let pause = (next.started - period.ended).unsigned_abs();
                let text = text::duration(pause);
                chart.cuts.push(Label { at: x + width + CUT / 2.0, text, anchor: "middle" });
            }
            x += width + CUT;
        }
        chart
    }

    fn label_times(&mut self, period: &ActivePeriod, x: f64, width: f64, periods: usize) {
        let mut label = |at, time, anchor| self.times.push(Label { at, text: text::clock(time), anchor });
        let room = width / LABEL;
        if room >= 1.0 || periods == 1 {
            label(x, period.started, "start");
        }
        if room >= 2.2 {
            label(x + width, period.ended, "end");
        }
        if room >= 5.0 {
            let middle = period.started + (period.ended - period.started) / 2;
            label(x + width / 2.0, middle, "middle");
        }
    }
}

struct Scale {
    /// Units of a second.
    second: f64,
    fastest: f64,
    /// The rate at the top.
    top: f64,
}

impl Scale {
    fn of(timeline: &Timeline) -> Self {
        let cuts = count(timeline.periods.len().saturating_sub(1)) * CUT;
        let room = (WIDTH - LEFT - RIGHT - cuts).max(WIDTH / 4.0);
        let rates = timeline
            .periods
            .iter()
            .flat_map(|period| period.buckets.iter().map(|bucket| bucket.rows / period.bucket));
        let fastest = rates.fold(0.0, f64::max);
        let second = room / timeline.worked().as_secs_f64().max(0.001);
        Self { second, fastest, top: round_up(fastest) }
    }

    /// The width of some buckets of a period.
    fn width(&self, period: &ActivePeriod, buckets: usize) -> f64 {
        count(buckets) * period.bucket * self.second
    }

    fn rates(&self) -> Vec<Label> {
        let label =
            |part: f64| Label { at: BASE - part * (BASE - TOP), text: rate(self.top * part), anchor: "end" };
        [0.0, 0.5, 1.0].map(label).into()
    }

    fn panel(&self, period: &ActivePeriod, x: f64) -> Panel {
        let mut line = String::new();
        for (index, bucket) in period.buckets.iter().enumerate() {
            // A step for each bucket; writing to a string can't fail.
            let (from, to) = (x + self.width(period, index), x + self.width(period, index + 1));
            let y = BASE - bucket.rows / period.bucket / self.top * (BASE - TOP);
            let _ = write!(line, "{}{from:.1} {y:.1}H{to:.1}", if index == 0 { "M" } else { "L" });
        }
        let area = format!("{line}V{BASE:.1}H{x:.1}Z");
        let marks = |share: fn(&Bucket) -> f64| self.marks(period, x, share);
        Panel {
            area,
            line,
            outages: marks(|bucket| f64::from(u8::from(bucket.outage_for > bucket.worked / 2.0))),
            held: marks(|bucket| bucket.throttled_for / bucket.worked),
            throttled: marks(|bucket| bucket.throttled / bucket.calls),
            down: marks(|bucket| bucket.outage_for / bucket.worked),
        }
    }

    /// Joins neighbours of equal strength to one mark.
    fn marks(&self, period: &ActivePeriod, x: f64, share: fn(&Bucket) -> f64) -> Vec<Mark> {
        let width = self.width(period, 1);
        let mut marks: Vec<Mark> = Vec::new();
        for (index, bucket) in period.buckets.iter().enumerate() {
            // What is hardly to be seen is shown all the same.
            let share = share(bucket);
            let share = if share > 0.0 { (share.min(1.0) * 4.0).ceil() / 4.0 } else { continue };
            let x = x + self.width(period, index);
            match marks.last_mut() {
                Some(last) if (last.share - share).abs() < 0.01 && (last.x + last.width - x).abs() < 0.01 => {
                    last.width += width;
                }
                _ => marks.push(Mark { x, width, share }),
            }
        }
        marks
    }
}

fn lanes() -> Vec<Label> {
    let lane = |(index, text): (usize, &str)| Label {
        at: LANES + count(index) * LANE,
        text: text.into(),
        anchor: "end",
    };
    ["held back", "refused (429)", "hub down"].into_iter().enumerate().map(lane).collect()
}

fn summary(timeline: &Timeline, fastest: f64) -> Vec<String> {
    let (sum, worked) = (timeline.sum(), timeline.worked());
    let seconds = worked.as_secs_f64().max(0.001);
    let share = |of: f64| format!("{:.0} % of the time", of / sum.worked.max(0.001) * 100.0);
    let mut summary = vec![format!(
        "{} rows/s on average over {}, {} rows/s at the fastest",
        rate(sum.rows / seconds),
        text::duration(worked),
        rate(fastest)
    )];
    if sum.throttled_for >= 0.5 {
        summary.push(format!(
            "held back so as to ask the hub for no more than it takes: {}",
            share(sum.throttled_for)
        ));
    }
    if sum.throttled >= 0.5 {
        summary.push(format!(
            "{} of {} calls refused by the hub (429) and sent again",
            whole(sum.throttled),
            whole(sum.calls)
        ));
    }
    if sum.outage_for >= 0.5 {
        summary.push(format!("without an answer from the hub: {}", share(sum.outage_for)));
    }
    summary
}

/// A rate with as many digits as it needs.
fn rate(rate: f64) -> String {
    if rate > 0.0 && rate < 10.0 { format!("{rate:.1}") } else { whole(rate) }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are not negative")]
fn whole(number: f64) -> String {
    text::thousands(number.round() as u64)
}

/// The next number of the form 1, 2 or 5 × 10ⁿ.
fn round_up(number: f64) -> f64 {
    let decade = 10_f64.powf(number.max(0.1).log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|step| step * decade);
    steps.into_iter().find(|step| *step >= number).unwrap_or(10.0 * decade)
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

const WIDTH: f64 = 1_000.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 92.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 14.0;
const BASE: f64 = 190.0;
/// The position of the first lane, and the distance to the next.
const LANES: f64 = 220.0;
const LANE: f64 = 20.0;
/// The width of a cut of the axis, and of a label.
const CUT: f64 = 66.0;
const LABEL: f64 = 58.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_of_the_axis_is_a_round_number() {
        assert_eq!([0.0, 0.3, 7.0, 12.0, 1_234.0].map(round_up), [0.1, 0.5, 10.0, 20.0, 2_000.0]);
    }
}
