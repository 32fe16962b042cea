//! Progress of a verb: a bar on a terminal, a line every few seconds elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::output::Output;

pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    done: u64,
    begun: Instant,
    said: Instant,
}

impl Progress {
    pub(crate) fn new(total: u64) -> Self {
        let is_worth_it = total > 1000 && std::io::stderr().is_terminal();
        let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} {per_sec} {eta} left");
        let bar = is_worth_it.then(|| ProgressBar::new(total));
        if let (Some(bar), Ok(style)) = (&bar, style) {
            bar.set_style(style);
        }
        let now = Instant::now();
        Self { bar, total, done: 0, begun: now, said: now }
    }

    pub(crate) fn advance(&mut self, output: &mut Output) {
        self.done += 1;
        match &self.bar {
            Some(bar) => bar.inc(1),
            // The clock is asked now and then only.
            None if self.done.is_multiple_of(1024) && self.said.elapsed() > LINE_EVERY => {
                self.said = Instant::now();
                let rate = self.done as f64 / self.begun.elapsed().as_secs_f64();
                output.note(&format!("{} of {}, {rate:.0} a second", self.done, self.total));
            }
            None => {}
        }
    }

    /// Does something that prints without tearing the bar.
    pub(crate) fn suspend(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

const LINE_EVERY: Duration = Duration::from_secs(5);
