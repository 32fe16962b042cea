//! The path from the certificate to a trusted one: what rustls-webpki says of it.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{
    EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeIdIter, RevocationOptions,
    anchor_from_trusted_cert,
};

use super::comparable::{OverSigned, Spelling};
use super::{Check, CheckName, Verification, crls, issuers, obstacle, words};
use crate::certificate::Certificate;

/// Looks at everything that needs the certificates above it.
pub(super) fn checks(certificate: &Certificate, by: &Verification<'_>) -> Vec<Check> {
    let mut spelling = Spelling::of(certificate, by);
    let leaf = CertificateDer::from(spelling.certificate(certificate.der()));
    let mut all = |many: &[Certificate]| -> Vec<CertificateDer<'static>> {
        many.iter().map(|one| CertificateDer::from(spelling.certificate(one.der()))).collect()
    };
    let (trusted, between) = (all(by.trusted), all(by.between));
    let lists = by.crls.iter().map(|list| spelling.list(list)).collect();
    let search = Search {
        leaf: &leaf,
        // What can't be an anchor can't be trusted; the others still can.
        anchors: trusted.iter().filter_map(|one| anchor_from_trusted_cert(one).ok()).collect(),
        between: &between,
        lists,
        algorithms: spelling.algorithms(),
        // Expired is one fault, not two: the path is then judged as of when the certificate was good.
        moment: unix_time(
            by.at.clamp(certificate.not_before(), certificate.not_after().max(certificate.not_before())),
        ),
    };
    let path = search.run(None);
    let mut checks = vec![
        Check::new(CheckName::Chain, chain_fault(&path, certificate, by)),
        Check::new(CheckName::NameConstraints, name_fault(&path)),
    ];
    if let Err(error @ (Error::CertExpired { .. } | Error::CertNotValidYet { .. })) = &path {
        checks.push(Check::new(CheckName::Dates, Some(words::of(error))));
    }
    if let Ok(path) = &path {
        let original = |der: &CertificateDer<'_>| between.iter().position(|one| one == der);
        let above: Vec<_> = path.issuers.iter().filter_map(|der| by.between.get(original(der)?)).collect();
        let anchor = trusted.iter().position(|one| {
            anchor_from_trusted_cert(one).is_ok_and(|one| {
                one.subject == path.anchor.subject
                    && one.subject_public_key_info == path.anchor.subject_public_key_info
            })
        });
        checks.extend(issuers::checks(certificate, &above, anchor.and_then(|at| by.trusted.get(at)), by));
    }
    if !by.crls.is_empty() {
        checks.push(match &path {
            Ok(_) => crls::check(&search, by),
            Err(_) => {
                let fault = "not known, because the chain is not good".to_owned();
                Check::new(CheckName::Revocation, Some(fault))
            }
        });
    }
    checks
}

/// All that a path is sought with, in the common spelling of names.
pub(super) struct Search<'a> {
    leaf: &'a CertificateDer<'a>,
    anchors: Vec<TrustAnchor<'a>>,
    between: &'a [CertificateDer<'a>],
    /// Revocation lists.
    pub(super) lists: Vec<Vec<u8>>,
    algorithms: Vec<OverSigned<'a>>,
    moment: UnixTime,
}

/// The certificates that issued, from the leaf's issuer up, and the trusted one.
pub(super) struct Path {
    issuers: Vec<CertificateDer<'static>>,
    anchor: TrustAnchor<'static>,
}

impl Search<'_> {
    /// Searches, and checks revocation where it is told how.
    pub(super) fn run(&self, revocation: Option<RevocationOptions<'_>>) -> Result<Path, Error> {
        let leaf = EndEntityCert::try_from(self.leaf)?;
        let algorithms: Vec<&dyn SignatureVerificationAlgorithm> =
            self.algorithms.iter().map(|one| one as &dyn SignatureVerificationAlgorithm).collect();
        let path = leaf.verify_for_usage(
            &algorithms,
            &self.anchors,
            self.between,
            self.moment,
            AnyUsage,
            revocation,
            None,
        )?;
        Ok(Path {
            issuers: path.intermediate_certificates().map(|one| one.der().into_owned()).collect(),
            anchor: path.anchor().to_owned(),
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

fn chain_fault(
    path: &Result<Path, Error>,
    certificate: &Certificate,
    by: &Verification<'_>,
) -> Option<String> {
    let error = path.as_ref().err()?;
    let ends = match error {
        Error::UnknownIssuer
        | Error::InvalidSignatureForPublicKey
        | Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => obstacle::find(certificate, by),
        _ => None,
    };
    Some(ends.unwrap_or_else(|| words::of(error)))
}

fn name_fault(path: &Result<Path, Error>) -> Option<String> {
    match path {
        Err(Error::NameConstraintViolation) => {
            Some("an issuer limits names, and not all of these are within the limits".to_owned())
        }
        Err(error @ (Error::MalformedNameConstraint | Error::InvalidNetworkMaskConstraint)) => {
            Some(words::of(error))
        }
        _ => None,
    }
}

fn unix_time(time: time::OffsetDateTime) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(time.unix_timestamp()).unwrap_or_default()))
}
