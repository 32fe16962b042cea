//! The one place that asks the system for the time.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The time now.
pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// The time now as ledgers and reports write it: RFC 3339, UTC, to the second.
pub fn now_text() -> String {
    let now = now().replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    now.format(&Rfc3339).unwrap_or_default()
}
