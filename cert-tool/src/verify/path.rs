//! The path from the certificate to a trusted one: what rustls-webpki says of it.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, Error, ExpirationPolicy, ExtendedKeyUsageValidator, KeyPurposeIdIter,
    OwnedCertRevocationList, RevocationCheckDepth, RevocationOptions, RevocationOptionsBuilder,
    UnknownStatusPolicy, anchor_from_trusted_cert,
};

use super::{Check, CheckName, Verification, issuers};
use crate::certificate::Certificate;

/// Looks at everything that needs the certificates above it.
pub(super) fn checks(certificate: &Certificate, by: &Verification<'_>) -> Vec<Check> {
    let leaf = CertificateDer::from(certificate.der());
    let trusted: Vec<_> = by.trusted.iter().map(|one| CertificateDer::from(one.der())).collect();
    let between: Vec<_> = by.between.iter().map(|one| CertificateDer::from(one.der())).collect();
    // What can't be an anchor can't be trusted; the others still can.
    let anchors: Vec<_> = trusted.iter().filter_map(|one| anchor_from_trusted_cert(one).ok()).collect();
    let search = Search { leaf: &leaf, anchors: &anchors, between: &between };

    // Expired is one fault, not two: the path is then judged as of when the certificate was good.
    let moment = by.at.clamp(certificate.not_before(), certificate.not_after().max(certificate.not_before()));
    let moment = unix_time(moment.unix_timestamp());
    let path = search.run(moment, None);
    let mut checks = vec![
        Check { name: CheckName::Chain, fault: chain_fault(&path, certificate) },
        Check { name: CheckName::NameConstraints, fault: name_fault(&path) },
    ];
    if let Err(Error::CertExpired { .. } | Error::CertNotValidYet { .. }) = path {
        let fault = Some("a certificate on the way is not good at this time".to_owned());
        checks.push(Check { name: CheckName::Dates, fault });
    }
    if let Ok(path) = &path {
        checks.extend(issuers::checks(certificate, path, by));
    }
    if !by.crls.is_empty() {
        let fault = match &path {
            Ok(_) => revocation_fault(&search, moment, by.crls),
            Err(_) => Some("not known, because the chain is not good".to_owned()),
        };
        checks.push(Check { name: CheckName::Revocation, fault });
    }
    checks
}

struct Search<'a> {
    leaf: &'a CertificateDer<'a>,
    anchors: &'a [TrustAnchor<'a>],
    between: &'a [CertificateDer<'a>],
}

/// The certificates that issued, from the leaf's issuer up, and the key of the trusted one.
pub(super) struct Path {
    pub(super) issuers: Vec<Vec<u8>>,
    pub(super) anchor_subject: Vec<u8>,
    pub(super) anchor_key: Vec<u8>,
}

impl Search<'_> {
    fn run(&self, moment: UnixTime, revocation: Option<RevocationOptions<'_>>) -> Result<Path, Error> {
        let leaf = EndEntityCert::try_from(self.leaf)?;
        let path = leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            self.anchors,
            self.between,
            moment,
            AnyUsage,
            revocation,
            None,
        )?;
        Ok(Path {
            issuers: path.intermediate_certificates().map(|one| one.der().to_vec()).collect(),
            anchor_subject: path.anchor().subject.to_vec(),
            anchor_key: path.anchor().subject_public_key_info.to_vec(),
        })
    }
}

/// Usage is looked at apart, so that a wrong one does not hide what else is wrong.
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        Ok(())
    }
}

fn chain_fault(path: &Result<Path, Error>, certificate: &Certificate) -> Option<String> {
    let fault = match path.as_ref().err()? {
        Error::UnknownIssuer => {
            format!("no trusted certificate for the issuer {}", certificate.issuer())
        }
        Error::InvalidSignatureForPublicKey => {
            "a signature on the way was made with another key than that of its issuer, or over other bytes"
                .to_owned()
        }
        Error::CaUsedAsEndEntity => "it is the certificate of a CA".to_owned(),
        Error::EndEntityUsedAsCa => "an issuer on the way is no CA".to_owned(),
        Error::PathLenConstraintViolated => {
            "there are more CAs on the way than one of them allows (path length)".to_owned()
        }
        Error::CertExpired { .. } | Error::CertNotValidYet { .. } => {
            "a certificate on the way is not good at this time".to_owned()
        }
        Error::NameConstraintViolation => "an issuer may not give such names".to_owned(),
        Error::UnsupportedCriticalExtension => "a critical extension on the way is not known".to_owned(),
        Error::UnsupportedCertVersion => "a certificate on the way is not of version 3".to_owned(),
        other => other.to_string(),
    };
    Some(fault)
}

fn name_fault(path: &Result<Path, Error>) -> Option<String> {
    match path {
        Err(Error::NameConstraintViolation) => {
            Some("an issuer limits names, and not all of these are within the limits".to_owned())
        }
        Err(Error::MalformedNameConstraint | Error::InvalidNetworkMaskConstraint) => {
            Some("the limits that an issuer has are damaged".to_owned())
        }
        _ => None,
    }
}

fn revocation_fault(search: &Search<'_>, moment: UnixTime, crls: &[Vec<u8>]) -> Option<String> {
    let parsed: Result<Vec<CertRevocationList<'_>>, _> =
        crls.iter().map(|der| OwnedCertRevocationList::from_der(der).map(Into::into)).collect();
    let parsed = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return Some(format!("a revocation list can't be used: {error}")),
    };
    let lists: Vec<_> = parsed.iter().collect();
    // The certificate must be covered; its issuers need not, but none may be revoked.
    let demands = [
        (RevocationCheckDepth::EndEntity, UnknownStatusPolicy::Deny),
        (RevocationCheckDepth::Chain, UnknownStatusPolicy::Allow),
    ];
    demands.into_iter().find_map(|(depth, status)| {
        let options = RevocationOptionsBuilder::new(&lists)
            .ok()?
            .with_depth(depth)
            .with_status_policy(status)
            .with_expiration_policy(ExpirationPolicy::Enforce)
            .build();
        search.run(moment, Some(options)).err().map(|error| match error {
            Error::CertRevoked => "it, or one of its issuers, is revoked".to_owned(),
            Error::UnknownRevocationStatus => "no revocation list is from its issuer".to_owned(),
            Error::CrlExpired { .. } => "the revocation list is too old".to_owned(),
            Error::InvalidCrlSignatureForPublicKey => {
                "the revocation list is not signed by its issuer".to_owned()
            }
            Error::IssuerNotCrlSigner => "its issuer may not sign revocation lists".to_owned(),
            other => other.to_string(),
        })
    })
}

fn unix_time(seconds: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}
