//! [`Revocation`]: the time and the reason of a revocation, and the columns that have them.

use rusqlite::Row;
use time::OffsetDateTime;

use super::entry::time_of;
use crate::x509::crl::RevocationReason;

/// The time and the reason of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// The time of the revocation.
    pub at: OffsetDateTime,
    /// The reason, if one was given.
    pub reason: Option<RevocationReason>,
}

/// The code of `certificateHold`.
pub(crate) const HOLD: u8 = 6;

/// The reason codes of RFC 5280 §5.3.1, as the index has them.
pub(crate) fn code(reason: RevocationReason) -> u8 {
    match reason {
        RevocationReason::KeyCompromise => 1,
        RevocationReason::CaCompromise => 2,
        RevocationReason::AffiliationChanged => 3,
        RevocationReason::Superseded => 4,
        RevocationReason::CessationOfOperation => 5,
        RevocationReason::CertificateHold => HOLD,
        RevocationReason::PrivilegeWithdrawn => 9,
    }
}

fn reason(code: u8) -> Option<RevocationReason> {
    Some(match code {
        1 => RevocationReason::KeyCompromise,
        2 => RevocationReason::CaCompromise,
        3 => RevocationReason::AffiliationChanged,
        4 => RevocationReason::Superseded,
        5 => RevocationReason::CessationOfOperation,
        HOLD => RevocationReason::CertificateHold,
        9 => RevocationReason::PrivilegeWithdrawn,
        _ => return None,
    })
}

/// Reads a revocation from two columns of a row.
pub(crate) fn of_row(row: &Row<'_>, column: usize) -> Result<Option<Revocation>, rusqlite::Error> {
    if row.get::<_, Option<i64>>(column)?.is_none() {
        return Ok(None);
    }
    let number = row.get::<_, Option<i64>>(column + 1)?;
    // A reason that this version does not know must not become none.
    let reason = number.map(|number| {
        let known = u8::try_from(number).ok().and_then(reason);
        known.ok_or(rusqlite::Error::IntegralValueOutOfRange(column + 1, number))
    });
    let reason = reason.transpose()?;
    Ok(Some(Revocation { at: time_of(row, column)?, reason }))
}
