//! [`SubordinateCa`]: the CAs that a CA has signed, in the same index as the certificates of devices, because one
//! revocation list is for both.

use rusqlite::{OptionalExtension as _, Row, params};
use x509_parser::prelude::X509Name;

use super::revocation::{HOLD, Revocation};
use super::{IssuanceIndex, Lookup};
use crate::error::Error;
use crate::keys::fingerprint::Fingerprint;
use crate::weak_keys::usual_form;
use crate::x509::certificate::Certificate;
use crate::x509::name::comparable;

/// A certificate that a CA has signed for a CA below it, or as a cross-certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubordinateCa {
    pub(crate) id: i64,
    /// The certificate.
    pub certificate: Certificate,
    /// Tells whether it is the newest of its name.
    pub is_current: bool,
    /// The time and the reason of its revocation, if it is revoked.
    pub revocation: Option<Revocation>,
}

impl SubordinateCa {
    /// Tells whether it is revoked for good, which a hold is not.
    pub(crate) fn is_revoked_for_good(&self) -> bool {
        self.revocation.is_some_and(|it| !it.is_hold())
    }
}

impl IssuanceIndex {
    /// Enters the certificate of a CA; answers whether it was missing.
    pub(crate) fn enter_subordinate(&self, certificate: &Certificate) -> Result<bool, Error> {
        self.insert_authority(certificate, "SELECT 1 FROM authorities WHERE sha256 = ?5")
    }

    /// Enters the certificate of a CA that has no [namesakes](Self::namesakes); answers whether it was entered.
    /// Different processes may sign at once, so the books decide which of them has the name.
    pub(crate) fn enter_unless_named(&self, certificate: &Certificate) -> Result<bool, Error> {
        self.insert_authority(
            certificate,
            &format!("SELECT 1 FROM authorities a WHERE a.sha256 = ?5 OR ({})", is_namesake()),
        )
    }

    fn insert_authority(&self, certificate: &Certificate, unless: &str) -> Result<bool, Error> {
        let sql = format!(
            "INSERT INTO authorities (name, key, common_name, serial, sha256, sha1, der)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE NOT EXISTS ({unless})"
        );
        let key = Fingerprint::of(&usual_form(certificate.public_key_info()));
        let (sha256, sha1) = (certificate.sha256(), certificate.sha1());
        let values = params![
            name_of(certificate),
            key.as_bytes(),
            certificate.common_name(),
            certificate.serial_bytes(),
            sha256.as_bytes(),
            sha1.as_bytes(),
            certificate.der()
        ];
        self.execute(&sql, values).map(|count| count > 0)
    }

    /// The certificates of CAs that are asked for, the first one first.
    pub fn subordinates(&self, lookup: &Lookup) -> Result<Vec<SubordinateCa>, Error> {
        let Some((condition, value)) = lookup.authority_sql() else { return Ok(Vec::new()) };
        let sql = format!("{SELECT} WHERE {condition} ORDER BY a.id");
        let rows = self.prepare(&sql)?.query_map(params![value], subordinate).and_then(Iterator::collect);
        rows.map_err(|source| Error::database(self.path(), source))
    }

    /// The newest certificate of the CA with a name and a key, if there is one.
    pub(crate) fn newest_of_ca(
        &self,
        name: &X509Name<'_>,
        public_key_info: &[u8],
    ) -> Result<Option<SubordinateCa>, Error> {
        let sql = format!("{SELECT} WHERE a.name = ?1 AND a.key = ?2 ORDER BY a.id DESC LIMIT 1");
        let key = Fingerprint::of(public_key_info);
        let found =
            self.prepare(&sql)?.query_row(params![comparable(name), key.as_bytes()], subordinate).optional();
        found.map_err(|source| Error::database(self.path(), source))
    }

    /// The certificates of CAs with the name of another one, which are not its own key's and may be good: a hold may
    /// be released.
    pub(crate) fn namesakes(&self, certificate: &Certificate) -> Result<Vec<SubordinateCa>, Error> {
        let sql = format!("{SELECT} WHERE {} ORDER BY a.id", is_namesake());
        let key = Fingerprint::of(&usual_form(certificate.public_key_info()));
        let rows = self
            .prepare(&sql)?
            .query_map(params![name_of(certificate), key.as_bytes()], subordinate)
            .and_then(Iterator::collect);
        rows.map_err(|source| Error::database(self.path(), source))
    }
}

/// The subject in the form that all equal names have.
fn name_of(certificate: &Certificate) -> Vec<u8> {
    comparable(certificate.parsed().subject())
}

fn subordinate(row: &Row<'_>) -> Result<SubordinateCa, rusqlite::Error> {
    let der: Vec<u8> = row.get(1)?;
    let damaged = || rusqlite::Error::InvalidColumnType(1, "der".to_owned(), rusqlite::types::Type::Blob);
    Ok(SubordinateCa {
        id: row.get(0)?,
        certificate: Certificate::from_der(&der).ok_or_else(damaged)?,
        is_current: row.get(4)?,
        revocation: super::revocation::of_row(row, 2)?,
    })
}

/// The condition for a certificate `a` with the name `?1` and a key other than `?2`, which may be good: it is not
/// revoked, or only on hold.
fn is_namesake() -> String {
    format!("a.name = ?1 AND a.key <> ?2 AND (a.revoked_at IS NULL OR a.reason IS {HOLD})")
}

const SELECT: &str = "SELECT a.id, a.der, a.revoked_at, a.reason,
    NOT EXISTS (SELECT 1 FROM authorities n WHERE n.name = a.name AND n.id > a.id)
    FROM authorities a";

/// The table, in every version from the second on.
pub(super) const TABLE: &str = "CREATE TABLE IF NOT EXISTS authorities (
    id INTEGER PRIMARY KEY,
    -- The subject in the form that all equal names have.
    name BLOB NOT NULL,
    common_name TEXT,
    -- SHA-256 of the SubjectPublicKeyInfo.
    key BLOB NOT NULL,
    serial BLOB NOT NULL,
    sha256 BLOB NOT NULL UNIQUE,
    sha1 BLOB NOT NULL,
    der BLOB NOT NULL,
    revoked_at INTEGER,
    -- CRLReason, RFC 5280 section 5.3.1.
    reason INTEGER
);";
