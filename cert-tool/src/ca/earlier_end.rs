//! [`EarlierEnd`]: the end of a CA that comes before the one that was asked for.

use std::fmt;

use time::OffsetDateTime;

use super::validity::{LAST_DATE, end_after};
use crate::x509::certificate::Certificate;

/// The end of a CA that cuts short what it signs. It shows itself as a sentence for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EarlierEnd {
    /// The last moment at which the CA, and what it signs, is valid.
    pub not_after: OffsetDateTime,
    days: u32,
}

impl EarlierEnd {
    /// `None` where the CA is valid for at least so many days more.
    pub(super) fn below(issuer: &Certificate, days: u32, now: OffsetDateTime) -> Option<Self> {
        let not_after = issuer.not_after();
        // A date that does not exist comes after every other.
        (not_after < end_after(days, now).unwrap_or(LAST_DATE)).then_some(Self { not_after, days })
    }
}

impl fmt::Display for EarlierEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (end, days) = (self.not_after, self.days);
        write!(
            f,
            "the CA ends on {} at {:02}:{:02} UTC, and what it signs now ends with it, not after {days} days",
            end.date(),
            end.hour(),
            end.minute()
        )
    }
}
