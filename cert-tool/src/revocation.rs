//! Revoking certificates, and the list of those revoked, which relying parties read: a CRL of
//! version 2 (RFC 5280 §5).

use std::path::Path;

use rusqlite::{Row, params};
use time::{Duration, OffsetDateTime};

use crate::ca::CertificateAuthority;
use crate::crl::{RevocationList, RevocationReason, Revoked};
use crate::error::Error;
use crate::fs;
use crate::index::{IndexEntry, IssuanceIndex, Lookup, time_of};
use crate::pem;

/// When and why a certificate was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// When.
    pub at: OffsetDateTime,
    /// Why, where that was told.
    pub reason: Option<RevocationReason>,
}

/// The reason codes of RFC 5280 §5.3.1, as the index has them.
fn code(reason: RevocationReason) -> u8 {
    match reason {
        RevocationReason::KeyCompromise => 1,
        RevocationReason::CaCompromise => 2,
        RevocationReason::AffiliationChanged => 3,
        RevocationReason::Superseded => 4,
        RevocationReason::CessationOfOperation => 5,
        RevocationReason::CertificateHold => 6,
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
        6 => RevocationReason::CertificateHold,
        9 => RevocationReason::PrivilegeWithdrawn,
        _ => return None,
    })
}

/// A list of revoked certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crl {
    der: Vec<u8>,
    /// Its number: each list of a CA has a higher one.
    pub number: u64,
    /// How many certificates are in it.
    pub revoked: u64,
    /// When the next one is due.
    pub next_update: OffsetDateTime,
}

impl Crl {
    /// Its DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Writes it as PEM; it replaces an older one as a whole.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        fs::replace_private(path, &pem::encode("X509 CRL", &self.der))
    }
}

impl IssuanceIndex {
    /// Revokes a certificate. Answers whether that is new: one that is revoked keeps its time and
    /// reason.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (temporary, now) = (tempfile::tempdir()?, time::OffsetDateTime::now_utc());
    /// # let ca = cert_tool::CertificateAuthority::init(&temporary.path().join("ca"), &Default::default(), now)?;
    /// # let out = temporary.path().join("out");
    /// # let mut store = cert_tool::IssuedStore::open(&ca, &out, cert_tool::Sink::Bundle)?;
    /// # let identity: hub_types::IdentityId = hub_types::IdentityId::parse("pump-1", None)?;
    /// # let request = cert_tool::IssueRequest::new(identity.clone(), cert_tool::KeySource::Generate);
    /// # cert_tool::issue_batch(&ca, &cert_tool::IssueOptions::new(now), [request].into_iter(), &mut store, &mut |_| {})?;
    /// # drop(store);
    /// use cert_tool::{IssuanceIndex, Lookup, RevocationReason};
    ///
    /// let index = IssuanceIndex::open_beside(ca.folder())?;
    /// let mut found = Vec::new();
    /// index.visit(&Lookup::Identity(identity), |entry| Ok(found.push(entry)))?;
    /// for entry in &found {
    ///     assert!(index.revoke(entry, Some(RevocationReason::KeyCompromise), now)?);
    /// }
    /// index.crl(&ca, 7, now)?.write(&temporary.path().join("ca.crl"))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn revoke(
        &self,
        entry: &IndexEntry,
        reason: Option<RevocationReason>,
        now: OffsetDateTime,
    ) -> Result<bool, Error> {
        let sql = "UPDATE certificates SET revoked_at = ?2, reason = ?3 WHERE id = ?1 AND revoked_at IS NULL";
        self.execute(sql, params![entry.id, now.unix_timestamp(), reason.map(code)]).map(|count| count > 0)
    }

    /// The list of everything revoked that has not ended anyway, good for `days`.
    pub fn crl(&self, ca: &CertificateAuthority, days: u32, now: OffsetDateTime) -> Result<Crl, Error> {
        let mut revoked = Vec::new();
        self.visit(&Lookup::Revoked, |entry| {
            // One that ended stays in one list more (RFC 5280 section 3.3): a day is more than enough.
            if let (Some(revocation), true) =
                (entry.revocation, entry.facts.not_after + Duration::days(1) > now)
            {
                let serial = self.serial_of(&entry)?;
                revoked.push(Revoked { serial, at: revocation.at, reason: revocation.reason });
            }
            Ok(())
        })?;
        let number = self.next_crl_number()?;
        let this_update = now.replace_nanosecond(0).unwrap_or(now);
        let wanted = this_update.checked_add(Duration::days(days.into())).unwrap_or(now);
        let next_update = wanted.min(ca.issuing_certificate().not_after());
        let count = revoked.len() as u64;
        let der = ca.sign_crl(&RevocationList { number, this_update, next_update, revoked })?;
        Ok(Crl { der, number, revoked: count, next_update })
    }

    fn serial_of(&self, entry: &IndexEntry) -> Result<Vec<u8>, Error> {
        let found = self
            .prepare("SELECT serial FROM certificates WHERE id = ?1")?
            .query_row(params![entry.id], |row| row.get(0));
        found.map_err(|source| Error::database(self.path(), source))
    }

    fn next_crl_number(&self) -> Result<u64, Error> {
        let next = self
            .prepare("UPDATE progress SET crl_number = crl_number + 1 RETURNING crl_number")?
            .query_row([], |row| row.get(0));
        next.map_err(|source| Error::database(self.path(), source))
    }
}

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
