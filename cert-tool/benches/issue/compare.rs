//! Two things side by side, in turns: how many a second, and what each costs in CPU time.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

/// A number from the environment.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// Returns the thread counts worth measuring: one, and the number of cores.
pub(crate) fn thread_counts() -> Vec<NonZeroUsize> {
    let cores = std::thread::available_parallelism().unwrap();
    if cores.get() == 1 { vec![cores] } else { vec![NonZeroUsize::MIN, cores] }
}

pub(crate) fn print_header() {
    println!(
        "{:<34} {:>10} {:>10} {:>9} {:>9} {:>9}",
        "", "bare, /s", "ours, /s", "of bare", "bare CPU", "ours CPU"
    );
}

/// The time that a round took.
#[derive(Clone, Copy)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

/// Runs both in turns and prints a row. Each gets the number of certificates, and returns when the part
/// began that counts.
pub(crate) fn compare(
    name: &str,
    count: u64,
    mut bare: impl FnMut(u64) -> Stopwatch,
    mut ours: impl FnMut(u64) -> Stopwatch,
) {
    let rounds = setting("BENCH_ROUNDS", 5);
    let mut costs: [Vec<Cost>; 2] = Default::default();
    for _ in 0..rounds {
        let [bares, all_ours] = &mut costs;
        bares.push(bare(count).stop());
        all_ours.push(ours(count).stop());
    }
    let [bare, ours] = costs.map(|costs| (median(&costs, |cost| cost.wall), median(&costs, |cost| cost.cpu)));
    let rate = |wall: Duration| count as f64 / wall.as_secs_f64();
    let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / count as f64;
    println!(
        "{name:<34} {:>10.0} {:>10.0} {:>8.1}% {:>6.1} µs {:>6.1} µs",
        rate(bare.0),
        rate(ours.0),
        100.0 * rate(ours.0) / rate(bare.0),
        each(bare.1),
        each(ours.1),
    );
}

/// The start of a measurement.
pub(crate) struct Stopwatch {
    begun: Instant,
    cpu: Duration,
    stopped: Option<Cost>,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { begun: Instant::now(), cpu: cpu_time(), stopped: None }
    }

    /// Stops it before what is still to be done and does not count.
    pub(crate) fn stopped(mut self) -> Self {
        self.stopped = Some(self.now());
        self
    }

    fn stop(self) -> Cost {
        self.stopped.unwrap_or_else(|| self.now())
    }

    fn now(&self) -> Cost {
        Cost { wall: self.begun.elapsed(), cpu: cpu_time().saturating_sub(self.cpu) }
    }
}

fn median(costs: &[Cost], part: impl Fn(&Cost) -> Duration) -> Duration {
    let mut all: Vec<_> = costs.iter().map(part).collect();
    all.sort();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// Returns the CPU time of all threads of this process, in user mode and in the kernel, from
/// Linux's `/proc`; zero on other systems.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program, which may have spaces in it, ends with the last parenthesis.
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
