//! [`Revocation`]: the time and the reason of a revocation, and the columns that have them.

use hub_types::Sha256Thumbprint;
use rusqlite::{Row, params};
use time::OffsetDateTime;

use super::IssuanceIndex;
use super::entry::time_of;
use crate::error::Error;
use crate::error::refusal::Refusal;
use crate::keys::fingerprint::Fingerprint;
use crate::x509::crl::RevocationReason;

/// The time and the reason of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// The time of the revocation.
    pub at: OffsetDateTime,
    /// The reason, if one was given.
    pub reason: Option<RevocationReason>,
}

impl Revocation {
    /// Returns true if the certificate is on hold, which can be released; all else is for good.
    pub fn is_hold(self) -> bool {
        self.reason == Some(RevocationReason::CertificateHold)
    }

    /// Returns the reason why the certificate can't be given out or renewed.
    pub fn refusal(self) -> Refusal {
        if self.is_hold() { Refusal::OnHold } else { Refusal::Revoked }
    }
}

impl IssuanceIndex {
    /// Returns the thumbprints of all certificates that are revoked or on hold, with the revocation.
    pub(crate) fn revocations(&self) -> Result<Vec<(Sha256Thumbprint, Revocation)>, Error> {
        let mut found = Vec::new();
        for table in ["certificates", "authorities"] {
            // An index of the first version has no table of CAs.
            let is_there = "SELECT 1 FROM sqlite_schema WHERE name = ?1";
            let is_there = self.prepare(is_there)?.exists(params![table]);
            if !is_there.map_err(|source| Error::database(self.path(), source))? {
                continue;
            }
            let sql = format!("SELECT sha256, revoked_at, reason FROM {table} WHERE revoked_at IS NOT NULL");
            let read = |row: &Row<'_>| Ok((Sha256Thumbprint::from_bytes(row.get(0)?), of_row(row, 1)?));
            let rows =
                self.prepare(&sql)?.query_map([], read).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let rows = rows.map_err(|source| Error::database(self.path(), source))?;
            found.extend(rows.into_iter().filter_map(|(sha256, revocation)| Some((sha256, revocation?))));
        }
        Ok(found)
    }

    /// Tells whether a certificate of a key, of a device or of a CA, was revoked because the key is compromised. Such
    /// a key is not certified again (CA/Browser Forum, Baseline Requirements, section 6.1.1.3).
    pub(crate) fn is_compromised(&mut self, key: Fingerprint) -> Result<bool, Error> {
        self.begin_read_of_keys()?;
        let sql = format!(
            "SELECT 1 FROM keys k JOIN certificates c ON c.id = k.certificate
                 WHERE k.prefix = ?2 AND c.key = ?1 AND c.reason IN ({COMPROMISES})
             UNION ALL SELECT 1 FROM authorities a WHERE a.key = ?1 AND a.reason IN ({COMPROMISES})"
        );
        let found = self.prepare(&sql)?.exists(params![key.as_bytes(), key.as_bytes().first_chunk::<8>()]);
        found.map_err(|source| Error::database(self.path(), source))
    }
}

/// The codes of `keyCompromise` and `cACompromise`.
pub(crate) const COMPROMISES: &str = "1, 2";

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
