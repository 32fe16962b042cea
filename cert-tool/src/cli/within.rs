//! Spans of time as people type them: `60d`, `8w`, `36h`.

use anyhow::anyhow;
use time::{Duration, OffsetDateTime};

use super::failure::Failure;

/// Returns the moment so long after a time.
pub(crate) fn end(now: OffsetDateTime, within: Duration) -> Result<OffsetDateTime, Failure> {
    now.checked_add(within).ok_or_else(|| Failure::Usage(anyhow!("`--within` leads beyond the year 9999")))
}

/// Reads a span; a number alone is days.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(['h', 'd', 'w']);
    let hours = match text.strip_prefix(digits) {
        Some("h") => 1,
        Some("" | "d") => 24,
        Some("w") => 7 * 24,
        _ => 0,
    };
    let number: Option<i64> = digits.parse().ok().filter(|number| (0..=1_000_000).contains(number));
    match number.filter(|_| hours > 0) {
        Some(number) => Ok(Duration::hours(number * hours)),
        None => Err("write it as `60d`, `8w` or `36h`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_hours_days_or_weeks() {
        assert_eq!(parse("36h"), Ok(Duration::hours(36)));
        assert_eq!(parse("60d"), parse("60"));
        assert_eq!(parse("8w"), Ok(Duration::days(56)));
        for bad in ["", "d", "-1d", "1m", "1dd", "1.5d", "99999999999999999999d"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
