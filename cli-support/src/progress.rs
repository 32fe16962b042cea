//! [`Progress`]: the progress of work, as a bar on a terminal and as a line every few seconds
//! elsewhere.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::stderr::is_logging;

/// The progress of one activity. Its end leaves no bar behind.
pub struct Progress {
    bar: Option<ProgressBar>,
    count: Mutex<Count>,
}

/// The number of entries that are complete.
struct Count {
    activity: &'static str,
    unit: &'static str,
    total: u64,
    done: u64,
    begun: Instant,
    /// The time of the last line.
    last: Instant,
}

impl Progress {
    /// Begins an activity, such as `provisioning`, on so many entries, such as `rows`.
    pub fn new(activity: &'static str, unit: &'static str, total: u64) -> Self {
        // A bar and log lines would write over each other.
        let shows_bar = io::stderr().is_terminal() && !is_logging();
        Self::begin(activity, unit, total, shows_bar)
    }

    /// Begins an activity that is quick: a bar for few entries would only flicker.
    pub fn of_many(activity: &'static str, unit: &'static str, total: u64) -> Self {
        match total {
            0..MANY => Self::begin(activity, unit, total, false),
            _ => Self::new(activity, unit, total),
        }
    }

    fn begin(activity: &'static str, unit: &'static str, total: u64, shows_bar: bool) -> Self {
        let bar = shows_bar.then(|| bar(activity, unit, total));
        let now = Instant::now();
        Self { bar, count: Mutex::new(Count { activity, unit, total, done: 0, begun: now, last: now }) }
    }

    /// Counts entries that are complete. Returns a line for people if one is due.
    #[must_use]
    pub fn add(&self, entries: u64) -> Option<String> {
        match &self.bar {
            Some(bar) => {
                bar.inc(entries);
                None
            }
            None => self.count().add(entries),
        }
    }

    /// Runs something that prints, without tearing the bar.
    pub fn suspend(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }

    fn count(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Count {
    fn add(&mut self, entries: u64) -> Option<String> {
        self.done += entries;
        if self.last.elapsed() < LINE_EVERY {
            return None;
        }
        self.last = Instant::now();
        Some(self.line())
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of entries are far below 2^52")]
    fn line(&self) -> String {
        let Self { activity, unit, total, done, .. } = self;
        let rate = self.done as f64 / self.begun.elapsed().as_secs_f64().max(0.001);
        let left = self.total.saturating_sub(self.done) as f64 / rate.max(0.001);
        format!("{activity}: {done} of {total}, {rate:.0} {unit}/s, {left:.0} s to go")
    }
}

fn bar(activity: &'static str, unit: &'static str, total: u64) -> ProgressBar {
    // The template is a constant, and its test below would notice a bad one.
    let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
    let rate = move |state: &ProgressState, text: &mut dyn fmt::Write| {
        // Only a broken formatter fails here, and then there is nobody to tell.
        let _ = write!(text, "{:.0} {unit}/s", state.per_sec());
    };
    ProgressBar::new(total).with_style(style.with_key("rate", rate)).with_message(activity)
}

const TEMPLATE: &str = "{msg} {wide_bar} {pos}/{len} {rate} ETA {eta}";
/// The number of entries from which on a quick activity has a bar.
const MANY: u64 = 1001;
const LINE_EVERY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bars_template_is_legal() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }

    #[test]
    fn a_line_tells_rate_and_time_left() {
        let begun = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
        let count = Count { activity: "provisioning", unit: "rows", total: 300, done: 0, begun, last: begun };
        let progress = Progress { bar: None, count: Mutex::new(count) };
        let line = progress.add(100).unwrap();
        assert_eq!(line, "provisioning: 100 of 300, 10 rows/s, 20 s to go");
        assert_eq!(progress.add(1), None, "a second line is due in five seconds only");
    }
}
