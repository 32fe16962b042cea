//! [`Sample`]: which of a batch's devices are to connect.

use std::num::NonZeroU64;
use std::str::FromStr;

/// The number of a batch's devices that are to connect, each with its modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sample {
    /// All.
    All,
    /// So many, spread evenly over the batch: for the same batch always the same.
    Some(NonZeroU64),
}

impl FromStr for Sample {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            _ => text.parse().map(Self::Some).map_err(|_| "must be a number above 0, or `all`".to_owned()),
        }
    }
}

/// Takes a sample, device by device.
#[derive(Debug)]
pub(super) struct Spread {
    sample_size: u64,
    devices: u64,
    seen: u64,
}

impl Spread {
    /// Over so many devices.
    pub(super) fn new(sample: Sample, devices: u64) -> Self {
        let sample_size = match sample {
            Sample::All => devices,
            Sample::Some(count) => count.get().min(devices),
        };
        Self { sample_size, devices, seen: 0 }
    }

    /// Returns true if the next device is in it.
    pub(super) fn takes_next(&mut self) -> bool {
        // Whenever this comes to a new whole number, one is taken.
        let taken =
            |seen: u64| u128::from(seen) * u128::from(self.sample_size) / u128::from(self.devices.max(1));
        let before = taken(self.seen);
        self.seen += 1;
        taken(self.seen) > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(sample: Sample, devices: u64) -> Vec<u64> {
        let mut spread = Spread::new(sample, devices);
        (0..devices).filter(|_| spread.takes_next()).collect()
    }

    fn some(count: u64) -> Sample {
        Sample::Some(NonZeroU64::new(count).unwrap())
    }

    #[test]
    fn a_sample_is_as_large_as_asked_for_and_spread_over_the_batch() {
        assert_eq!(taken(some(3), 10), [3, 6, 9]);
        assert_eq!(taken(some(1), 5), [4]);
        assert_eq!(taken(Sample::All, 3), [0, 1, 2]);
        assert_eq!(taken(some(7), 3), [0, 1, 2]);
        assert_eq!(taken(some(7), 0), [0; 0]);
        for (count, devices) in [(1, 1), (16, 480), (333, 1000), (999, 1000)] {
            let taken = taken(some(count), devices);
            assert_eq!(taken.len() as u64, count);
            let gaps = taken.windows(2).map(|pair| pair[1] - pair[0]);
            assert!(gaps.max().unwrap_or(0) <= devices.div_ceil(count), "{count} of {devices}");
        }
    }

    #[test]
    fn a_sample_is_a_number_or_all() {
        assert_eq!("all".parse(), Ok(Sample::All));
        assert_eq!("12".parse(), Ok(some(12)));
        for wrong in ["0", "-1", "ALL", "", "1.5"] {
            assert!(wrong.parse::<Sample>().is_err(), "{wrong}");
        }
    }
}
