//! [`RevocationList`]: what a CA says of certificates that it takes back (RFC 5280 §5).

use time::OffsetDateTime;

/// A revocation list as it is to be signed, by
/// [`CertificateAuthority::sign_crl`](crate::CertificateAuthority::sign_crl).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationList {
    /// Greater than that of every earlier list of this CA (§5.2.3).
    pub number: u64,
    /// The time at which the list is made.
    pub this_update: OffsetDateTime,
    /// The time by which the next list is made.
    pub next_update: OffsetDateTime,
    /// The revoked certificates, in any order.
    pub revoked: Vec<Revoked>,
}

/// A certificate that is revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Its serial number: the bytes of a positive integer, the first one first.
    pub serial: Vec<u8>,
    /// Since when.
    pub at: OffsetDateTime,
    /// The reason, if it is to be told.
    pub reason: Option<RevocationReason>,
}

/// The reason why a certificate is revoked (§5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RevocationReason {
    /// Its holder belongs to others now.
    AffiliationChanged,
    /// The CA's key is in wrong hands.
    CaCompromise,
    /// For the time being.
    CertificateHold,
    /// Its holder is no more in use.
    CessationOfOperation,
    /// Its key is in wrong hands.
    KeyCompromise,
    /// Its holder may do less than it did.
    PrivilegeWithdrawn,
    /// Another one has taken its place.
    Superseded,
}
