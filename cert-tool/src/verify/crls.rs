//! Revocation lists: which of those given count, and what they say of a certificate.
//!
//! Any list that revokes the certificate or one of its issuers wins. Of the lists of one issuer for one part
//! of its certificates, the newest that is valid counts (RFC 5280 §6.3.3), in whatever order they are given.

use time::OffsetDateTime;
use webpki::{
    CertRevocationList, Error, ExpirationPolicy, OwnedCertRevocationList, RevocationCheckDepth,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::path::Search;
use super::{Check, CheckName, Verification, words};
use crate::name::{self, comparable};

/// Looks at a certificate whose path is good.
pub(super) fn check(search: &Search<'_>, by: &Verification<'_>) -> Check {
    let mut counted: Vec<Counted> = Vec::new();
    let mut passed_over: Vec<String> = Vec::new();
    for (given, spelt) in by.crls.iter().zip(&search.lists) {
        match Counted::of(given, spelt, search, by) {
            Ok(Some(list)) => match counted.iter_mut().find(|other| other.part == list.part) {
                Some(other) if other.this_update < list.this_update => *other = list,
                Some(_) => {}
                None => counted.push(list),
            },
            // Of another issuer.
            Ok(None) => {}
            Err(reason) if passed_over.contains(&reason) => {}
            Err(reason) => passed_over.push(reason),
        }
    }
    let reasons = (!passed_over.is_empty()).then(|| passed_over.join("; "));
    let (fault, note) = if counted.iter().any(|list| list.is_revoking) {
        (Some(words::of(&Error::CertRevoked)), None)
    } else if counted.is_empty() {
        (Some(reasons.unwrap_or_else(|| words::of(&Error::UnknownRevocationStatus))), None)
    } else {
        (None, reasons.map(|reasons| format!("passed over: {reasons}")))
    };
    Check { name: CheckName::Revocation, fault, note }
}

/// A list that says something of the certificate, or revokes one of its issuers.
struct Counted {
    /// The issuer, and the part of its certificates that the list is for.
    part: Vec<u8>,
    this_update: OffsetDateTime,
    is_revoking: bool,
}

impl Counted {
    /// `None` where the list is of another issuer; an error where it can't be used.
    fn of(
        given: &[u8],
        spelt: &[u8],
        search: &Search<'_>,
        by: &Verification<'_>,
    ) -> Result<Option<Self>, String> {
        let Ok((_, parsed)) = CertificateRevocationList::from_der(given) else {
            return Err("a revocation list is damaged".to_owned());
        };
        let this_update = parsed.last_update().to_datetime();
        usable(&parsed, by)?;
        let list = OwnedCertRevocationList::from_der(spelt).map_err(|error| words::of(&error))?;
        let list = CertRevocationList::from(list);
        let run = |depth, status| {
            let lists = [&list];
            // There is a list, so this can't fail.
            let Ok(options) = RevocationOptionsBuilder::new(&lists) else { return Ok(()) };
            let options = options.with_depth(depth).with_status_policy(status);
            // Its dates have been looked at.
            let options = options.with_expiration_policy(ExpirationPolicy::Ignore).build();
            search.run(Some(options)).map(drop)
        };
        let is_revoking = match run(RevocationCheckDepth::Chain, UnknownStatusPolicy::Allow) {
            Ok(()) => false,
            Err(Error::CertRevoked) => true,
            Err(error) => return Err(words::of(&error)),
        };
        match run(RevocationCheckDepth::EndEntity, UnknownStatusPolicy::Deny) {
            Err(Error::UnknownRevocationStatus) if !is_revoking => Ok(None),
            Err(Error::CertRevoked | Error::UnknownRevocationStatus) | Ok(()) => {
                let scope = parsed.extensions().iter().find(|one| one.oid.to_id_string() == SCOPE);
                let mut part = comparable(parsed.issuer());
                part.extend_from_slice(scope.map(|scope| scope.value).unwrap_or_default());
                Ok(Some(Self { part, this_update, is_revoking }))
            }
            Err(error) => Err(words::of(&error)),
        }
    }
}

/// Whether a list may be used at the time, and its issuer may sign lists.
fn usable(list: &CertificateRevocationList<'_>, by: &Verification<'_>) -> Result<(), String> {
    if list.version().is_none() {
        return Err(words::of(&Error::UnsupportedCrlVersion));
    }
    let Some(next_update) = list.next_update() else {
        return Err("the revocation list does not say when the next one comes (nextUpdate)".to_owned());
    };
    if by.at < list.last_update().to_datetime() {
        return Err("the revocation list is not good yet".to_owned());
    }
    if next_update.to_datetime() < by.at {
        return Err("the revocation list is too old".to_owned());
    }
    // The validator knows the key usage of no trusted certificate.
    let may_not = by.trusted.iter().any(|one| {
        X509Certificate::from_der(one.der()).is_ok_and(|(_, issuer)| {
            let usage = issuer.key_usage().ok().flatten();
            name::is_equal(issuer.subject(), list.issuer())
                && usage.is_some_and(|usage| !usage.value.crl_sign())
        })
    });
    if may_not { Err(words::of(&Error::IssuerNotCrlSigner)) } else { Ok(()) }
}

/// The extension `issuingDistributionPoint` (RFC 5280 §5.2.5).
const SCOPE: &str = "2.5.29.28";
