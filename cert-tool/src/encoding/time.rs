//! Times as text.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Returns a time in the form of RFC 3339.
pub(crate) fn rfc3339(time: OffsetDateTime) -> String {
    // Only years beyond 9999 have no such form, and certificates can't have them either.
    time.format(&Rfc3339).unwrap_or_default()
}
