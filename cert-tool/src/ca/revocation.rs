//! Revoking certificates, and the list of those revoked, which relying parties read: a CRL of
//! version 2 (RFC 5280 §5).

use std::path::Path;

use rusqlite::params;
use time::{Duration, OffsetDateTime};

use crate::ca::{CertificateAuthority, ParentCa, check_clock, check_is_good, check_signs_lists, end_after};
use crate::encoding::pem;
use crate::error::Error;
use crate::issued::index::revocation::{COMPROMISES, HOLD, Revocation, code};
use crate::issued::index::{IndexEntry, IssuanceIndex, Lookup, SubordinateCa};
use crate::platform::fs;
use crate::x509::certificate::Certificate;
use crate::x509::crl::{RevocationList, RevocationReason, Revoked};

/// The tables of an index whose rows can be revoked.
#[derive(Debug, Clone, Copy)]
enum RevocableTable {
    Authorities,
    Certificates,
}

impl RevocableTable {
    fn name(self) -> &'static str {
        match self {
            Self::Authorities => "authorities",
            Self::Certificates => "certificates",
        }
    }
}

/// A list of revoked certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crl {
    der: Vec<u8>,
    /// Its number: each list of a CA has a higher one.
    pub number: u64,
    /// The number of certificates in the list.
    pub revoked: u64,
    /// The time by which the next list is due.
    pub next_update: OffsetDateTime,
}

impl Crl {
    /// Its DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Writes it as PEM, for everybody to read. It replaces an older list as a whole, and no other file.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let is_one = |content: &[u8]| pem::first_of(content, &[LABEL]).is_ok();
        fs::replace_public(path, &pem::encode(LABEL, &self.der), "a revocation list", is_one)
    }
}

/// The label of a revocation list in PEM (RFC 7468 §9).
const LABEL: &str = "X509 CRL";

impl IssuanceIndex {
    /// Revokes a certificate. Answers whether that is new: one that is revoked keeps its time and reason,
    /// but for a hold, which may become final.
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
        self.revoke_row(RevocableTable::Certificates, entry.id, reason, now)
    }

    /// Revokes the certificate of a CA, as [`Self::revoke`] does those of devices.
    pub fn revoke_subordinate(
        &self,
        ca: &SubordinateCa,
        reason: Option<RevocationReason>,
        now: OffsetDateTime,
    ) -> Result<bool, Error> {
        self.revoke_row(RevocableTable::Authorities, ca.id, reason, now)
    }

    /// Releases a certificate that is on hold (`certificateHold`): the next list does not have it any more. Answers
    /// whether that is new; what was revoked for another reason stays so.
    pub fn release_hold(&self, entry: &IndexEntry, now: OffsetDateTime) -> Result<bool, Error> {
        self.release_row(RevocableTable::Certificates, entry.id, entry.revocation, &entry.record.serial, now)
    }

    /// Releases the certificate of a CA, as a hold of a device is released.
    pub fn release_hold_of_subordinate(
        &self,
        ca: &SubordinateCa,
        now: OffsetDateTime,
    ) -> Result<bool, Error> {
        self.release_row(RevocableTable::Authorities, ca.id, ca.revocation, &ca.certificate.serial(), now)
    }

    /// A hold may become final, and any other reason a compromise of the key, of which one may learn later; the time
    /// is kept then. Whatever else was revoked stays as it is.
    fn revoke_row(
        &self,
        table: RevocableTable,
        id: i64,
        reason: Option<RevocationReason>,
        now: OffsetDateTime,
    ) -> Result<bool, Error> {
        check_clock(now)?;
        let table = table.name();
        let sql = format!(
            "UPDATE {table} SET revoked_at = COALESCE(revoked_at, ?2), reason = ?3 WHERE id = ?1
             AND (revoked_at IS NULL OR (reason IS {HOLD} AND ?3 IS NOT {HOLD})
                  OR (?3 IN ({COMPROMISES}) AND COALESCE(reason, 0) NOT IN ({COMPROMISES})))"
        );
        self.execute(&sql, params![id, now.unix_timestamp(), reason.map(code)]).map(|count| count > 0)
    }

    fn release_row(
        &self,
        table: RevocableTable,
        id: i64,
        revocation: Option<Revocation>,
        serial: &str,
        now: OffsetDateTime,
    ) -> Result<bool, Error> {
        check_clock(now)?;
        if revocation.is_some_and(|it| !it.is_hold()) {
            return Err(Error::NotOnHold { serial: serial.to_owned() });
        }
        let table = table.name();
        let sql =
            format!("UPDATE {table} SET revoked_at = NULL, reason = NULL WHERE id = ?1 AND reason IS {HOLD}");
        self.execute(&sql, params![id]).map(|count| count > 0)
    }

    /// The list of everything revoked that has not ended anyway, good for `days`.
    pub fn crl(&self, ca: &CertificateAuthority, days: u32, now: OffsetDateTime) -> Result<Crl, Error> {
        let (issuer, folder) = (ca.issuing_certificate(), ca.folder());
        self.crl_of(issuer, folder, |list| ca.sign_crl(list), days, now)
    }

    /// The list of a CA that signs others, such as a root, with its own [index](ParentCa::index).
    pub fn crl_of_parent(&self, ca: &ParentCa, days: u32, now: OffsetDateTime) -> Result<Crl, Error> {
        self.crl_of(ca.certificate(), ca.folder(), |list| ca.sign_crl(list), days, now)
    }

    fn crl_of(
        &self,
        issuer: &Certificate,
        folder: &Path,
        sign: impl FnOnce(&RevocationList) -> Result<Vec<u8>, Error>,
        days: u32,
        now: OffsetDateTime,
    ) -> Result<Crl, Error> {
        check_signs_lists(issuer, folder)?;
        check_is_good(issuer, folder, now)?;
        let next_update = end_after(days, now)?.min(issuer.not_after());
        // One that ended stays in one list more (RFC 5280 section 3.3): a day is more than enough.
        let a_day_ago = now.checked_sub(Duration::DAY).unwrap_or(now);
        let is_listed = |not_after: OffsetDateTime| not_after > a_day_ago;
        let mut revoked = Vec::new();
        self.visit(&Lookup::Revoked, |entry| {
            if let Some(revocation) = entry.revocation.filter(|_| is_listed(entry.record.not_after)) {
                let serial = self.serial_of(&entry)?;
                revoked.push(Revoked { serial, at: revocation.at, reason: revocation.reason });
            }
            Ok(())
        })?;
        for ca in self.subordinates(&Lookup::Revoked)? {
            if let Some(revocation) = ca.revocation.filter(|_| is_listed(ca.certificate.not_after())) {
                let serial = ca.certificate.serial_bytes().to_vec();
                revoked.push(Revoked { serial, at: revocation.at, reason: revocation.reason });
            }
        }
        let number = self.next_crl_number()?;
        let this_update = now.truncate_to_second();
        let count = revoked.len() as u64;
        let der = sign(&RevocationList { number, this_update, next_update, revoked })?;
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
