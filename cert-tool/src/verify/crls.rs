//! Revocation lists: which of those given count, and what they say of a certificate.
//!
//! Any list that revokes the certificate or one of its issuers wins. Of the valid lists of one issuer
//! for one part of its certificates, the one with the highest number counts (RFC 5280 §5.2.3), then
//! the newest. Where that leaves several, all of them count. The order in which they are given is
//! not looked at.

use std::collections::{BTreeSet, HashSet};

use time::OffsetDateTime;
use webpki::{
    CertRevocationList, Error, ExpirationPolicy, OwnedCertRevocationList, RevocationCheckDepth,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{ParsedExtension, X509Extension};
use x509_parser::num_bigint::BigUint;
use x509_parser::prelude::{CertificateRevocationList, FromDer};
use x509_parser::revocation_list::RevokedCertificate;
use x509_parser::x509::ReasonCode;

use super::comparable::{Signed, Spelling, copy_list};
use super::path::{Path, Search};
use super::{Check, CheckName, Verification, words};
use crate::x509::certificate::Certificate;
use crate::x509::name::{self, comparable};

/// Looks at a certificate whose path is good; `names` are those of all certificates on the path.
pub(super) fn check(search: &Search<'_>, path: &Path, names: &[Named]) -> Check {
    let mut found: Vec<Counted<'_>> = Vec::new();
    let mut passed_over: BTreeSet<String> = BTreeSet::new();
    let mut open: BTreeSet<String> = BTreeSet::new();
    for list in &search.paths.lists {
        match list.counted(search, path) {
            Ok(Some(counted)) if !counted.is_revoking && list.is_beyond(names) => {
                passed_over.insert(OTHER_SCOPE.to_owned());
            }
            Ok(counted) => found.extend(counted),
            Err(reason) => {
                if list.may_revoke(names) {
                    open.insert(format!(
                        "a revocation list names it or one of its issuers, but can't be used: {reason}"
                    ));
                }
                passed_over.insert(reason);
            }
        }
    }
    let joined = |texts: BTreeSet<String>| {
        (!texts.is_empty()).then(|| texts.into_iter().collect::<Vec<_>>().join("; "))
    };
    let (reasons, open) = (joined(passed_over), joined(open));
    let (fault, note) = if not_superseded(&found).any(|counted| counted.is_revoking) {
        (Some(words::of(&Error::CertRevoked)), None)
    } else if open.is_some() {
        (open, None)
    } else if found.is_empty() {
        (Some(reasons.unwrap_or_else(|| words::of(&Error::UnknownRevocationStatus))), None)
    } else {
        (None, reasons.map(|reasons| format!("passed over: {reasons}")))
    };
    Check { note, ..Check::new(CheckName::Revocation, fault) }
}

/// The lists that no other one takes the place of.
///
/// Lists with numbers are compared with each other first: a list without a number may be newer than one of them and
/// older than a different one, so comparing each list with each would depend on the order, or leave none.
fn not_superseded<'a>(found: &'a [Counted<'a>]) -> impl Iterator<Item = &'a Counted<'a>> {
    let is_newest = |counted: &Counted<'_>| {
        let others = || found.iter().filter(|other| other.part == counted.part);
        let newest_numbered =
            others().filter(|other| other.number.is_some()).max_by_key(|it| (it.number, it.this_update));
        let newest_bare =
            others().filter(|other| other.number.is_none()).max_by_key(|other| other.this_update);
        let (same_kind, other_kind) = match counted.number {
            Some(_) => (newest_numbered, newest_bare),
            None => (newest_bare, newest_numbered),
        };
        same_kind.is_none_or(|it| (it.number, it.this_update) <= (counted.number, counted.this_update))
            && other_kind.is_none_or(|it| it.this_update <= counted.this_update)
    };
    found.iter().filter(move |counted| is_newest(counted))
}

/// The name of a certificate: its issuer, in the form that equal names share, and its serial
/// number.
#[derive(Debug)]
pub(super) struct Named {
    issuer: Vec<u8>,
    serial: Vec<u8>,
    /// True if it says where its revocation list is published.
    has_points: bool,
}

impl Named {
    /// The name of a certificate.
    pub(super) fn of(certificate: &Certificate, parsed: &X509Certificate<'_>) -> Self {
        let has_points = parsed.extensions().iter().any(|one| one.oid.to_id_string() == POINTS);
        let serial = certificate.serial_bytes().to_vec();
        Self { issuer: comparable(parsed.issuer()), serial, has_points }
    }
}

/// A revocation list, read once for all certificates.
pub(super) struct List {
    /// The list, or why it can't be used.
    usable: Result<CertRevocationList<'static>, String>,
    this_update: OffsetDateTime,
    number: Option<BigUint>,
    /// The issuer, and the part of its certificates that the list is for.
    part: Vec<u8>,
    issuer: Vec<u8>,
    /// True if it is for certificates of one distribution point only.
    is_of_one_point: bool,
    /// The serial numbers of what a list takes back that is of this time.
    revoked: HashSet<Vec<u8>>,
}

/// A list that says something of the certificate, or revokes one of its issuers.
struct Counted<'a> {
    part: &'a [u8],
    this_update: OffsetDateTime,
    number: Option<&'a BigUint>,
    is_revoking: bool,
}

impl List {
    /// Reads a list.
    pub(super) fn read(
        given: &[u8],
        (spelling, signed): (&Spelling, &mut Signed),
        by: &Verification<'_>,
    ) -> Self {
        let Ok((_, parsed)) = CertificateRevocationList::from_der(given) else {
            let usable = Err("a revocation list is damaged".to_owned());
            let this_update = OffsetDateTime::UNIX_EPOCH;
            return Self {
                usable,
                this_update,
                number: None,
                part: Vec::new(),
                issuer: Vec::new(),
                is_of_one_point: false,
                revoked: HashSet::new(),
            };
        };
        let is_current = current(&parsed, by);
        let revoked = match is_current {
            Ok(()) => serials(&parsed),
            Err(_) => HashSet::new(),
        };
        let usable = is_current.and_then(|()| usable(&parsed, by)).and_then(|()| {
            let copy = signed.add(copy_list(given, spelling));
            let list = OwnedCertRevocationList::from_der(&copy).map_err(|error| words::of(&error))?;
            Ok(list.into())
        });
        let scope = extension(&parsed, SCOPE);
        let issuer = comparable(parsed.issuer());
        let mut part = issuer.clone();
        // A list without this extension is a list of all.
        if let Some(scope) = scope {
            part.extend_from_slice(scope.value);
        }
        let is_of_one_point = scope.is_some_and(|scope| {
            matches!(scope.parsed_extension(), ParsedExtension::IssuingDistributionPoint(it) if it.distribution_point.is_some())
        });
        let this_update = parsed.last_update().to_datetime();
        let number = parsed.crl_number().cloned();
        Self { usable, this_update, number, part, issuer, is_of_one_point, revoked }
    }

    /// `None` where the list is of another issuer; an error where it can't be used.
    fn counted(&self, search: &Search<'_>, path: &Path) -> Result<Option<Counted<'_>>, String> {
        let list = self.usable.as_ref().map_err(Clone::clone)?;
        let run = |depth, status| {
            let lists = [list];
            // There is a list, so this can't fail.
            let Ok(options) = RevocationOptionsBuilder::new(&lists) else { return Ok(()) };
            let options = options.with_depth(depth).with_status_policy(status);
            // Its dates have been looked at.
            let options = options.with_expiration_policy(ExpirationPolicy::Ignore).build();
            search.revocation(path, options)
        };
        let is_revoking = match run(RevocationCheckDepth::Chain, UnknownStatusPolicy::Allow) {
            Ok(()) => false,
            Err(Error::CertRevoked) => true,
            Err(error) => return Err(words::of(&error)),
        };
        match run(RevocationCheckDepth::EndEntity, UnknownStatusPolicy::Deny) {
            Err(Error::UnknownRevocationStatus) if !is_revoking => Ok(None),
            Err(Error::CertRevoked | Error::UnknownRevocationStatus) | Ok(()) => {
                let (part, this_update) = (self.part.as_slice(), self.this_update);
                Ok(Some(Counted { part, this_update, number: self.number.as_ref(), is_revoking }))
            }
            Err(error) => Err(words::of(&error)),
        }
    }

    /// Returns true if the list is for one distribution point and the first of these certificates names
    /// none, so that the list does not cover it (RFC 5280 §6.3.3 (b)(2)(i)).
    fn is_beyond(&self, names: &[Named]) -> bool {
        self.is_of_one_point && names.first().is_some_and(|leaf| !leaf.has_points)
    }

    /// Tells whether the list, which can't be used, names one of these: then nobody knows. It may
    /// be signed with another key of the same CA, or say only what changed.
    fn may_revoke(&self, names: &[Named]) -> bool {
        names.iter().any(|named| named.issuer == self.issuer && self.revoked.contains(&named.serial))
    }
}

/// The serial numbers of what a list revokes, without those that it takes off another list.
fn serials(list: &CertificateRevocationList<'_>) -> HashSet<Vec<u8>> {
    let is_revoked = |one: &&RevokedCertificate<'_>| {
        one.reason_code().is_none_or(|(_, reason)| reason != ReasonCode::RemoveFromCRL)
    };
    list.iter_revoked_certificates().filter(is_revoked).map(|one| one.raw_serial().to_vec()).collect()
}

/// Checks that a list is of this time.
fn current(list: &CertificateRevocationList<'_>, by: &Verification<'_>) -> Result<(), String> {
    if by.at < list.last_update().to_datetime() {
        return Err("the revocation list is not good yet".to_owned());
    }
    if list.next_update().is_some_and(|next| next.to_datetime() < by.at) {
        return Err("the revocation list is too old".to_owned());
    }
    Ok(())
}

/// Checks that a list of this time may be used, and that its issuer may sign lists.
fn usable(list: &CertificateRevocationList<'_>, by: &Verification<'_>) -> Result<(), String> {
    if list.version().is_none() {
        return Err(words::of(&Error::UnsupportedCrlVersion));
    }
    if list.next_update().is_none() {
        return Err("the revocation list does not say when the next one comes (nextUpdate)".to_owned());
    }
    if by.purpose.is_strict() {
        match extension(list, NUMBER) {
            None => return Err("the revocation list has no number (RFC 5280 §5.2.3)".to_owned()),
            Some(number) if number.critical => {
                return Err("the revocation list's number must not be critical (RFC 5280 §5.2.3)".to_owned());
            }
            Some(_) => {}
        }
    }
    if may_sign(list, by) { Ok(()) } else { Err(words::of(&Error::IssuerNotCrlSigner)) }
}

/// The validator knows the key usage of no trusted certificate. Where several have the issuer's
/// name, one is enough.
fn may_sign(list: &CertificateRevocationList<'_>, by: &Verification<'_>) -> bool {
    let mut rights = by.trusted.iter().filter_map(|one| {
        let issuer = one.parsed();
        let usage = issuer.key_usage().ok().flatten();
        let is_issuer = name::is_equal(issuer.subject(), list.issuer());
        is_issuer.then(|| usage.is_none_or(|usage| usage.value.crl_sign()))
    });
    rights.next().is_none_or(|first| first || rights.any(|right| right))
}

fn extension<'a>(list: &'a CertificateRevocationList<'_>, oid: &str) -> Option<&'a X509Extension<'a>> {
    list.extensions().iter().find(|one| one.oid.to_id_string() == oid)
}

/// The reason why a list does not cover a certificate.
const OTHER_SCOPE: &str =
    "the revocation list is for one distribution point, and the certificate names none (RFC 5280 §6.3.3)";
/// The extension `cRLDistributionPoints` (RFC 5280 §4.2.1.13).
const POINTS: &str = "2.5.29.31";
/// The extension `issuingDistributionPoint` (RFC 5280 §5.2.5).
const SCOPE: &str = "2.5.29.28";
/// The extension `cRLNumber` (RFC 5280 §5.2.3).
const NUMBER: &str = "2.5.29.20";
