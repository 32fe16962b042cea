//! Times as text.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Returns a time in the form of RFC 3339. A year beyond 9999 has no such form, so such a time is
/// written as ISO 8601 writes it.
pub fn rfc3339(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}
