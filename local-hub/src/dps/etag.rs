//! The ETags of a DPS: base64 of a quoted text whose last group begins with the time of the write,
//! in seconds since 1970-01-01 and hex digits, as a live DPS writes them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hub_types::{Etag, Timestamp};
use time::OffsetDateTime;

use crate::ids::random;

/// Makes ETags: different ones for all writes of one process.
#[derive(Debug, Clone)]
pub(super) struct EtagSequence(u32);

impl Default for EtagSequence {
    /// A sequence with a random beginning, so that the ETags of two processes differ too.
    fn default() -> Self {
        let [a, b, c, d, ..] = random::bytes();
        Self(u32::from_be_bytes([a, b, c, d]))
    }
}

impl EtagSequence {
    /// The ETag of a write at this time.
    pub(super) fn next(&mut self, now: Timestamp) -> Etag {
        self.0 = self.0.wrapping_add(1);
        let seconds = OffsetDateTime::from(now).unix_timestamp();
        // The group has 32 bits for the time.
        let seconds = u32::try_from(seconds).unwrap_or(0);
        Etag::new(&STANDARD.encode(format!("\"{:08x}-0000-0800-0000-{seconds:08x}0000\"", self.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_has_the_form_of_a_live_service() {
        // This is the ETag of a write at 2023-05-19T23:10:45Z by a live DPS.
        let live = STANDARD.decode("IjBhMDBiNzQyLTAwMDAtMDgwMC0wMDAwLTY0NjgwMWY1MDAwMCI=").unwrap();
        let mut sequence = EtagSequence(0x0a00_b741);
        let made = sequence.next("2023-05-19T23:10:45.1256254Z".parse().unwrap());
        assert_eq!(STANDARD.decode(made.as_str()).unwrap(), live);
        assert_ne!(sequence.next("2023-05-19T23:10:45.1256254Z".parse().unwrap()), made);
    }
}
