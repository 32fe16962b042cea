//! [`verify_certificate`]: checks a certificate as the party that it is shown to would.
//!
//! The path is validated by rustls-webpki, as the local hub's TLS does it: memory-safe, with
//! bounded effort, and the same on every system. This module checks what webpki does not (`issuers`,
//! `leaf`, `name_constraints`, `profile`): key usage, the trusted certificate's own limits, path
//! lengths, name constraints of directory names, e-mail addresses and URIs, and IoT Hub's rules.
//! OpenSSL is not used, so that tests can compare both with it.

mod comparable;
mod crls;
mod der;
mod graph;
mod input;
mod issuers;
mod leaf;
pub(crate) mod name_constraints;
mod obstacle;
mod path;
mod profile;
mod purpose;
mod words;

use hub_types::{IdentityId, Thumbprint};
use rustls_pki_types::ServerName;
use time::OffsetDateTime;

use crate::ca::RevokedCertificates;
use crate::keys::public::PublicKey;
use crate::x509::certificate::Certificate;
pub use input::{CertificateOfFile, TrustedCertificates};
use path::Paths;
use purpose::Level;
pub use purpose::Purpose;

/// The inputs of a verification.
#[derive(Debug, Clone, Copy)]
pub struct Verification<'a> {
    /// The party it is shown to.
    pub purpose: Purpose,
    /// The certificates to trust. If there are none, the chain is not checked, as by a
    /// hub that knows a thumbprint.
    pub trusted: &'a [Certificate],
    /// The intermediate certificates.
    pub between: &'a [Certificate],
    /// Revocation lists, in DER. With any, the certificate must be covered by one that is not too
    /// old.
    pub crls: &'a [Vec<u8>],
    /// The identity that its common name must have; without it, any identity may be there.
    pub expected: Option<&'a IdentityId>,
    /// The host that it must be for, where it is a server's.
    pub host: Option<&'a ServerName<'a>>,
    /// The thumbprints that the hub knows, of which one must be its own; without any, none need be.
    pub thumbprints: &'a [Thumbprint],
    /// The key that it must be for.
    pub key: Option<&'a PublicKey>,
    /// The time at which it must be valid.
    pub at: OffsetDateTime,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The name of the check.
    pub name: CheckName,
    /// The reason why the certificate is refused; `None` if nothing is wrong.
    pub fault: Option<String>,
    /// Advice on what should be different, although the certificate is accepted.
    pub advice: Option<String>,
    /// Further information, if nothing is wrong.
    pub note: Option<String>,
}

impl Check {
    fn new(name: CheckName, fault: Option<String>) -> Self {
        Self { name, fault, advice: None, note: None }
    }
}

/// The name of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CheckName {
    /// It leads to a trusted certificate, every signature on the way is good, and every issuer may
    /// issue.
    Chain,
    /// It and its issuers are good at this time.
    Dates,
    /// It is for clients, and its issuers may issue such.
    Usage,
    /// It is not that of a CA.
    NotACa,
    /// Its common name is that of the identity.
    CommonName,
    /// It is for the host.
    HostName,
    /// Its key is neither weak nor of a kind that IoT Hub does not take.
    Key,
    /// It and its issuers are signed with a hash that is not broken.
    Signature,
    /// Its serial number is positive and has at most 20 bytes.
    Serial,
    /// It has no critical extension that nobody knows, none that is damaged, none twice.
    Extensions,
    /// Its names are among those that its issuers may give.
    NameConstraints,
    /// It and its issuers follow the profile of RFC 5280.
    Profile,
    /// It and its issuers are not revoked.
    Revocation,
    /// The private key is the one that it is for.
    PrivateKey,
    /// Its thumbprint is one that the hub knows.
    Thumbprint,
}

impl CheckName {
    /// The name for reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::CommonName => "common name",
            Self::Dates => "dates",
            Self::Extensions => "extensions",
            Self::HostName => "host name",
            Self::Key => "key",
            Self::NameConstraints => "name constraints",
            Self::NotACa => "not a CA",
            Self::PrivateKey => "private key",
            Self::Profile => "profile",
            Self::Revocation => "revocation",
            Self::Serial => "serial number",
            Self::Signature => "signature",
            Self::Thumbprint => "thumbprint",
            Self::Usage => "usage",
        }
    }

    /// Returns the source of the rule.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Chain => "RFC 5280 §6.1",
            Self::CommonName => "RFC 5280 appendix A.1 (ub-common-name); IoT Hub: device id or device/module",
            Self::Dates => "RFC 5280 §4.1.2.5, §6.1.3",
            Self::Extensions => "RFC 5280 §4.2",
            Self::HostName => "RFC 9525",
            Self::Key => "NIST SP 800-131A; IoT Hub: RSA, P-256, P-384",
            Self::NameConstraints => "RFC 5280 §4.2.1.10",
            Self::NotACa => "RFC 5280 §4.2.1.9",
            Self::PrivateKey => "RFC 8446 §4.4.3",
            Self::Profile => "RFC 5280 §4.1, §4.2",
            Self::Revocation => "RFC 5280 §6.3",
            Self::Serial => "RFC 5280 §4.1.2.2",
            Self::Signature => "RFC 9155; NIST SP 800-131A",
            Self::Thumbprint => "IoT Hub: X.509 self-signed authentication",
            Self::Usage => "RFC 5280 §4.2.1.3, §4.2.1.12",
        }
    }
}

/// Looks at a certificate as a hub would, and at all that a hub should. Every check that was made
/// is in the answer, in the order of [`CheckName`].
///
/// ```
/// use cert_tool::{CheckName, Purpose, Verification, read_certificates, verify_certificate, write_test_pki};
///
/// # fn main() -> Result<(), cert_tool::Error> {
/// # let temporary = tempfile::tempdir().unwrap();
/// let pki = temporary.path().join("pki");
/// let at = time::OffsetDateTime::now_utc();
/// write_test_pki(&pki, 1, at)?;
/// let chain = read_certificates(&pki.join("expired/chain.pem"))?;
/// let by = Verification {
///     purpose: Purpose::HubCa,
///     trusted: &read_certificates(&pki.join("root.pem"))?,
///     between: &chain,
///     crls: &[],
///     expected: None,
///     host: None,
///     thumbprints: &[],
///     key: None,
///     at,
/// };
/// let checks = verify_certificate(&chain[0], &by);
/// let failed: Vec<_> = checks.iter().filter(|check| check.fault.is_some()).map(|check| check.name).collect();
/// assert_eq!(failed, [CheckName::Dates]);
/// # Ok(())
/// # }
/// ```
pub fn verify_certificate(certificate: &Certificate, by: &Verification<'_>) -> Vec<Check> {
    Verifier::new(by).verify(certificate)
}

/// A judge of many certificates: issuers are read, and their signatures verified, once.
pub struct Verifier<'a> {
    by: Verification<'a>,
    paths: Option<Paths<'a>>,
    revoked: Option<&'a RevokedCertificates>,
}

impl<'a> Verifier<'a> {
    /// Reads the issuers and revocation lists.
    pub fn new(by: &Verification<'a>) -> Self {
        // Certificates know whole seconds, and are good to the end of the last one.
        let by = Verification { at: by.at.truncate_to_second(), ..*by };
        let paths = (!by.trusted.is_empty()).then(|| Paths::new(&by));
        Self { by, paths, revoked: None }
    }

    /// Refuses certificates, too, that are revoked or on hold in the books of CAs, and those of such issuers.
    pub fn with_books(self, revoked: &'a RevokedCertificates) -> Self {
        Self { revoked: Some(revoked), ..self }
    }

    /// Judges a certificate, as [`verify_certificate`] does.
    pub fn verify(&self, certificate: &Certificate) -> Vec<Check> {
        let parsed = certificate.parsed();
        let mut checks = leaf::checks((certificate, &parsed), &self.by);
        if let Some(paths) = &self.paths {
            checks.extend(paths.checks((certificate, &parsed), &self.by));
        }
        if let Some(fault) = self.revoked.and_then(|revoked| self.fault_in_books(certificate, revoked)) {
            checks.push(Check::new(CheckName::Revocation, Some(fault)));
        }
        self.weigh(merge(checks))
    }

    /// The entry of books against a certificate or one of its issuers. An issuer that was renewed has several
    /// certificates, of which one may be good.
    fn fault_in_books(&self, certificate: &Certificate, revoked: &RevokedCertificates) -> Option<String> {
        if let Some(fault) = revoked.fault(certificate) {
            return Some(fault);
        }
        let mut issuer = certificate;
        for _ in 0..=self.by.between.len() {
            let mut found = self.by.between.iter().filter(|one| one.subject() == issuer.issuer()).peekable();
            let first = *found.peek()?;
            issuer = match found.find(|one| revoked.fault(one).is_none()) {
                None => return revoked.fault_of_issuer(first),
                Some(good) => good,
            };
        }
        None
    }

    /// Turns faults that the purpose lets pass into advice.
    fn weigh(&self, mut checks: Vec<Check>) -> Vec<Check> {
        checks.retain_mut(|check| {
            let is_asked_for = check.name == CheckName::CommonName && self.by.expected.is_some();
            match self.by.purpose.level(check.name) {
                _ if is_asked_for => true,
                Level::Required => true,
                Level::Advised => {
                    check.advice = joined(check.fault.take(), check.advice.take());
                    true
                }
                Level::NotAsked => false,
            }
        });
        checks
    }
}

/// One check for each name: faults of the same name become one.
fn merge(mut checks: Vec<Check>) -> Vec<Check> {
    checks.sort_by_key(|check| check.name);
    let mut merged: Vec<Check> = Vec::with_capacity(checks.len());
    for check in checks {
        match merged.last_mut().filter(|last| last.name == check.name) {
            None => merged.push(check),
            Some(last) => {
                last.fault = joined(last.fault.take(), check.fault);
                last.advice = joined(last.advice.take(), check.advice);
            }
        }
    }
    merged
}

/// The texts as one.
fn joined(first: Option<String>, second: Option<String>) -> Option<String> {
    match (first, second) {
        (Some(first), Some(second)) => Some(format!("{first}; {second}")),
        (first, second) => first.or(second),
    }
}
