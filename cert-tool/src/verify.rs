//! [`verify_certificate`]: would a hub let a device in with this certificate?

use std::time::Duration;

use hub_types::IdentityId;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use time::OffsetDateTime;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::certificate::Certificate;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub name: CheckName,
    /// What is wrong; `None` where nothing is.
    pub fault: Option<String>,
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CheckName {
    /// It leads to a trusted certificate, and every signature on the way is good.
    Chain,
    /// It is good at this time.
    Dates,
    /// It is for clients.
    Usage,
    /// It is not that of a CA.
    NotACa,
    /// Its common name is that of the identity.
    CommonName,
}

impl CheckName {
    /// The name for reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::Dates => "dates",
            Self::Usage => "usage",
            Self::NotACa => "not a CA",
            Self::CommonName => "common name",
        }
    }
}

/// Looks at a certificate, given those between it and the trusted ones, as a hub would that is to let
/// `expected` in, or anyone.
pub fn verify_certificate(
    certificate: &Certificate,
    between: &[Certificate],
    trusted: &[Certificate],
    expected: Option<&IdentityId>,
    now: OffsetDateTime,
) -> Vec<Check> {
    let dates = check_dates(certificate, now);
    // Expired is one fault, not two: the path is then judged as of when it was good.
    let moment = now.clamp(certificate.not_before(), certificate.not_after().max(certificate.not_before()));
    vec![
        Check { name: CheckName::Chain, fault: check_chain(certificate, between, trusted, moment) },
        Check { name: CheckName::Dates, fault: dates },
        Check { name: CheckName::Usage, fault: check_usage(certificate) },
        Check { name: CheckName::NotACa, fault: check_is_no_ca(certificate) },
        Check { name: CheckName::CommonName, fault: check_common_name(certificate, expected) },
    ]
}

fn check_chain(
    certificate: &Certificate,
    between: &[Certificate],
    trusted: &[Certificate],
    moment: OffsetDateTime,
) -> Option<String> {
    let trusted: Vec<_> = trusted.iter().map(|one| CertificateDer::from(one.der())).collect();
    let anchors: Result<Vec<TrustAnchor<'_>>, _> = trusted.iter().map(anchor_from_trusted_cert).collect();
    let between: Vec<_> = between.iter().map(|one| CertificateDer::from(one.der())).collect();
    let der = CertificateDer::from(certificate.der());
    let verified = anchors.and_then(|anchors| {
        let moment = u64::try_from(moment.unix_timestamp()).unwrap_or_default();
        EndEntityCert::try_from(&der)?
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &anchors,
                &between,
                UnixTime::since_unix_epoch(Duration::from_secs(moment)),
                KeyUsage::client_auth(),
                None,
                None,
            )
            .map(|_| ())
    });
    verified.err().map(|error| explain(&error, certificate))
}

fn explain(error: &webpki::Error, certificate: &Certificate) -> String {
    match error {
        webpki::Error::UnknownIssuer => {
            format!("no trusted certificate for the issuer {}", certificate.issuer())
        }
        webpki::Error::InvalidSignatureForPublicKey => {
            "a signature on the way was made with another key than that of the trusted certificate".to_owned()
        }
        webpki::Error::CaUsedAsEndEntity => "it is the certificate of a CA".to_owned(),
        webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => {
            "a certificate on the way is not good at this time".to_owned()
        }
        other => other.to_string(),
    }
}

fn check_dates(certificate: &Certificate, now: OffsetDateTime) -> Option<String> {
    if now < certificate.not_before() {
        return Some(format!("it is good from {} on", certificate.not_before()));
    }
    (now > certificate.not_after()).then(|| format!("it was good until {}", certificate.not_after()))
}

fn check_usage(certificate: &Certificate) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate.der()).ok()?;
    let is_for_clients =
        parsed.extended_key_usage().ok().flatten().is_some_and(|usage| usage.value.client_auth);
    let may_sign = parsed.key_usage().ok().flatten().is_none_or(|usage| usage.value.digital_signature());
    match (is_for_clients, may_sign) {
        (true, true) => None,
        (false, _) => Some("its extended key usage lacks clientAuth".to_owned()),
        (_, false) => Some("its key usage lacks digitalSignature".to_owned()),
    }
}

fn check_is_no_ca(certificate: &Certificate) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate.der()).ok()?;
    parsed.is_ca().then(|| "its basic constraints say CA:TRUE".to_owned())
}

fn check_common_name(certificate: &Certificate, expected: Option<&IdentityId>) -> Option<String> {
    let Some(name) = certificate.common_name() else {
        return Some("its subject does not have exactly one common name".to_owned());
    };
    match (IdentityId::from_common_name(name), expected) {
        (Err(error), _) => Some(format!("{name:?} is no identity: {error}")),
        (Ok(found), Some(expected)) if found != *expected => {
            Some(format!("it is `{found}`, not `{expected}`"))
        }
        (Ok(found), _) if !found.common_name_fits() => Some("it has more than 64 characters".to_owned()),
        (Ok(_), _) => None,
    }
}
