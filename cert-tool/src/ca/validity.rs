//! The validity of what a CA signs, and the clock that it is reckoned from.

use std::path::Path;

use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use crate::encoding::time::rfc3339;
use crate::error::Error;
use crate::policy::Policy;
use crate::profile::Profile;
use crate::x509::certificate::Certificate;
use crate::x509::encoder::Validity;

/// Refuses the time of a clock that was never set, or is set wrong by decades: whatever is signed with it would
/// be refused by everybody else.
pub(crate) fn check_clock(now: OffsetDateTime) -> Result<(), Error> {
    if (EARLIEST_NOW..LATEST_NOW).contains(&now) { Ok(()) } else { Err(Error::BadClock { now }) }
}

/// The moment so many days from now, in whole seconds. A date that no certificate can name is refused.
pub(crate) fn end_after(days: u32, now: OffsetDateTime) -> Result<OffsetDateTime, Error> {
    check_clock(now)?;
    let now = now.truncate_to_second();
    let end = now.checked_add(Duration::days(days.into())).filter(|end| *end <= LAST_DATE);
    end.ok_or(Error::NoSuchDate { days })
}

/// The validity of what is signed now. It begins a little earlier, because devices' clocks are slow.
pub(super) fn validity(days: u32, now: OffsetDateTime) -> Result<Validity, Error> {
    let not_after = end_after(days, now)?;
    let now = now.truncate_to_second();
    Ok(Validity { not_before: now.checked_sub(BACKDATE).unwrap_or(now), not_after })
}

/// The validity of what a CA signs now, which never reaches beyond its own.
pub(super) fn validity_below(
    issuer: &Certificate,
    folder: &Path,
    days: u32,
    now: OffsetDateTime,
) -> Result<Validity, Error> {
    let wanted = validity(days, now)?;
    check_is_good(issuer, folder, now)?;
    Ok(Validity {
        not_before: wanted.not_before.max(issuer.not_before()),
        not_after: wanted.not_after.min(issuer.not_after()),
    })
}

/// The validity of a certificate with a profile, which may have dates of its own.
pub(crate) fn profile_validity(
    issuer: &Certificate,
    folder: &Path,
    policy: &Policy,
    profile: &Profile,
    days: u32,
    now: OffsetDateTime,
) -> Result<Validity, Error> {
    let dates = profile.dates();
    let below = validity_below(issuer, folder, dates.days.unwrap_or(days), now);
    let mut validity = below.map_err(|error| match error {
        Error::NoSuchDate { .. } if dates.days.is_some() => profile.fault(format!("`days`: {error}")),
        error => error,
    })?;
    if let Some(from) = dates.not_before {
        if from < issuer.not_before() {
            let begin = rfc3339(issuer.not_before());
            return Err(
                profile.fault(format!("`not_before` is earlier than the CA, which begins on {begin}"))
            );
        }
        validity.not_before = from;
    }
    if let Some(until) = dates.not_after {
        let end = issuer.not_after();
        if until > end {
            return Err(
                profile.fault(format!("`not_after` is later than the CA, which ends on {}", rfc3339(end)))
            );
        }
        if until <= now {
            return Err(profile.fault("`not_after` has passed".to_owned()));
        }
        validity.not_after = until;
    }
    if validity.not_after <= validity.not_before {
        return Err(profile.fault("certificates would end before they begin".to_owned()));
    }
    let begin = dates.not_before.unwrap_or(now);
    policy.check_span(validity.not_after - begin).map_err(|reason| profile.fault(reason))?;
    Ok(validity)
}

/// Refuses a CA that is not good at a time: what it signs would not be either.
pub(crate) fn check_is_good(issuer: &Certificate, folder: &Path, now: OffsetDateTime) -> Result<(), Error> {
    check_clock(now)?;
    let (from, until) = (issuer.not_before(), issuer.not_after());
    if (from..until).contains(&now) {
        return Ok(());
    }
    let reason = format!(
        "`{}` is good from {} to {}, and the clock says {}",
        hub_types::shown::ShownBare(issuer.subject()),
        rfc3339(from),
        rfc3339(until),
        rfc3339(now.truncate_to_second())
    );
    Err(Error::BadCa { path: folder.to_owned(), reason })
}

const BACKDATE: Duration = Duration::minutes(10);
/// The value for a date that never comes in IEEE 802.1AR and RFC 5280 §4.1.2.5.
pub(super) const LAST_DATE: OffsetDateTime = datetime!(9999-12-31 23:59:59 UTC);
/// Before this program was written.
const EARLIEST_NOW: OffsetDateTime = datetime!(2025-01-01 0:00 UTC);
/// Long after it will have been replaced: 50 years.
const LATEST_NOW: OffsetDateTime = datetime!(2075-01-01 0:00 UTC);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_can_not_be_right_is_refused_with_its_time() {
        for (clock, said) in [
            (datetime!(1970-01-01 0:01 UTC), "1970-01-01T00:01:00Z"),
            (datetime!(1969-12-31 23:59 UTC), "1969-12-31T23:59:00Z"),
            (datetime!(2100-02-03 4:05:06.5 UTC), "2100-02-03T04:05:06Z"),
        ] {
            let error = validity(365, clock).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn a_date_after_9999_is_refused() {
        let now = datetime!(2026-11-30 12:00:00.5 UTC);
        assert_eq!(end_after(1, now).unwrap(), datetime!(2026-12-01 12:00 UTC));
        for days in [3_000_000, u32::MAX] {
            assert!(matches!(end_after(days, now), Err(Error::NoSuchDate { .. })));
        }
    }
}
