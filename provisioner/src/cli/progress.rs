//! The progress of work: a bar on a terminal, a plain line every few seconds elsewhere.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::model::observer::ActivityProgress;

/// The progress of one piece of work. Nothing is shown of work that ends at once.
pub(super) struct Progress {
    show: Show,
}

enum Show {
    Bar(ProgressBar),
    ProgressLines(Mutex<ProgressLines>),
}

struct ProgressLines {
    what: &'static str,
    total: u64,
    done: u64,
    begun: Instant,
    last: Instant,
}

impl Progress {
    /// Progress of `total` rows of `what`, such as `provisioning`.
    pub(super) fn new(what: &'static str, total: u64) -> Arc<Self> {
        // A bar and log lines would write over each other.
        let show = match io::stderr().is_terminal() && !tracing::enabled!(tracing::Level::ERROR) {
            true => Show::Bar(bar(what, total)),
            false => {
                let now = Instant::now();
                Show::ProgressLines(Mutex::new(ProgressLines { what, total, done: 0, begun: now, last: now }))
            }
        };
        Arc::new(Self { show })
    }
}

impl ActivityProgress for Progress {
    fn add(&self, rows: usize) {
        match &self.show {
            Show::Bar(bar) => bar.inc(rows as u64),
            Show::ProgressLines(lines) => {
                lines.lock().unwrap_or_else(PoisonError::into_inner).add(rows as u64)
            }
        }
    }

    fn finish(&self) {
        if let Show::Bar(bar) = &self.show {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    /// Work that is given up leaves no bar behind.
    fn drop(&mut self) {
        self.finish();
    }
}

impl ProgressLines {
    fn add(&mut self, count: u64) {
        self.done += count;
        if self.last.elapsed() >= LINE_EVERY {
            self.last = Instant::now();
            // Progress is for people; that nobody reads it must not stop the work.
            let _ = writeln!(io::stderr(), "{}", self.line());
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^52")]
    fn line(&self) -> String {
        let rate = self.done as f64 / self.begun.elapsed().as_secs_f64().max(0.001);
        let left = self.total.saturating_sub(self.done) as f64 / rate.max(0.001);
        format!("{}: {} of {}, {rate:.0} rows/s, {left:.0} s to go", self.what, self.done, self.total)
    }
}

fn bar(what: &'static str, total: u64) -> ProgressBar {
    // The template is a constant, and its test below would notice a bad one.
    let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
    let rate = |state: &ProgressState, text: &mut dyn fmt::Write| {
        // Only a broken formatter fails here, and then there is nobody to tell.
        let _ = write!(text, "{:.0} rows/s", state.per_sec());
    };
    ProgressBar::new(total).with_style(style.with_key("rate", rate)).with_message(what)
}

const TEMPLATE: &str = "{msg} {wide_bar} {pos}/{len} {rate} ETA {eta}";
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
        let lines = ProgressLines { what: "provisioning", total: 300, done: 100, begun, last: begun };
        assert_eq!(lines.line(), "provisioning: 100 of 300, 10 rows/s, 20 s to go");
    }
}
