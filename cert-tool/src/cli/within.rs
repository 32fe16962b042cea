//! Spans of time as people type them: `60d`, `8w`, `36h`.

use anyhow::anyhow;
use cert_tool::{IssuanceIndex, Lookup};
use time::{Duration, OffsetDateTime};

use super::failure::Failure;
use super::output::Output;

/// Returns the moment so long after a time.
pub(crate) fn end(now: OffsetDateTime, within: Duration) -> Result<OffsetDateTime, Failure> {
    now.checked_add(within).ok_or_else(|| Failure::Usage(anyhow!("`--within` leads beyond the year 9999")))
}

/// Says how many certificates are left out because they are on hold.
pub(crate) fn note_held(
    index: &IssuanceIndex,
    until: OffsetDateTime,
    output: &mut Output,
) -> Result<(), Failure> {
    let (mut count, mut first) = (0_u64, None);
    index.visit(&Lookup::OnHoldEndingBefore(until), |entry| {
        count += 1;
        first.get_or_insert(entry.identity);
        Ok(())
    })?;
    if let Some(first) = first {
        let (which, them) = match count {
            1 => (
                format!(
                    "1 certificate that ends by then is on hold (certificateHold) and left out, that of `{first}`"
                ),
                "it",
            ),
            count => (
                format!(
                    "{count} certificates that end by then are on hold (certificateHold) and left out, the first one is \
                     that of `{first}`"
                ),
                "them",
            ),
        };
        output.note(&format!(
            "note: {which}; release {them} (`cert-tool revoke --ca CA --device-id ID --release`), or revoke {them} for \
             good"
        ));
    }
    Ok(())
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
