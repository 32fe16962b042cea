//! The certificates that devices present, and the CAs that a DPS trusts by name.

use std::path::{Path, PathBuf};

use hub_types::dps::certificate::{self, CertificateInfo, CertificatePair};
use hub_types::dps::enrollment::EnrollmentGroup;
use hub_types::dps::selection::{PresentedCertificate, VerifiedCa};
use hub_types::dps::{Attestation, IndividualEnrollment, X509Attestation};
use hub_types::thumbprint::{Sha256Thumbprint, Thumbprint};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate_info;
use crate::access::certificates::{common_name, read_pem, verify_path};
use crate::error::{Error, Result};

/// The CAs whose owners count as proven: those that the command line names.
#[derive(Debug, Clone, Default)]
pub(crate) struct VerifiedCas {
    names: Vec<VerifiedCa>,
    issuers: Vec<Issuer>,
}

impl VerifiedCas {
    /// Reads PEM files with one CA certificate each. A CA has the name of its file, without the
    /// ending.
    pub(crate) fn read(files: &[PathBuf]) -> Result<Self> {
        let mut cas = Self::default();
        for file in files {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let (issuer, info) = the_only_one(file)?;
            if cas.names.iter().any(|ca| ca.name == name) {
                return Err(unusable(file, format!("a CA of the name `{name}` was given before")));
            }
            cas.names.push(VerifiedCa { name, info });
            cas.issuers.push(issuer);
        }
        Ok(cas)
    }

    pub(crate) fn names(&self) -> &[VerifiedCa] {
        &self.names
    }
}

fn the_only_one(file: &Path) -> Result<(Issuer, CertificateInfo)> {
    match read_pem(file)?.as_slice() {
        [der] => {
            let info = certificate_info::info(&certificate::CertificateDer::new(der)).ok();
            let read = Issuer::new(der).zip(info);
            read.ok_or_else(|| unusable(file, "the certificate can't be read".to_owned()))
        }
        several => Err(unusable(file, format!("it has {} certificates in place of one", several.len()))),
    }
}

fn unusable(path: &Path, reason: String) -> Error {
    Error::DeviceCa { path: path.to_owned(), reason }
}

/// A certificate that may have signed one that a device presents.
#[derive(Debug, Clone)]
pub(crate) struct Issuer {
    pub(crate) sha256: Thumbprint,
    pub(crate) der: CertificateDer<'static>,
    /// The subject in DER.
    subject: Vec<u8>,
}

impl Issuer {
    fn new(der: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        Some(Self {
            sha256: Sha256Thumbprint::of_der(der).into(),
            subject: parsed.subject().as_raw().to_vec(),
            der: CertificateDer::from(der.to_vec()),
        })
    }

    /// Returns true if this is the certificate that signed `certificate`, by name and signature.
    fn has_signed(&self, certificate: &X509Certificate<'_>) -> bool {
        certificate.issuer().as_raw() == self.subject
            && X509Certificate::from_der(&self.der).is_ok_and(|(_, issuer)| signed(&issuer, certificate))
    }
}

/// Verifies the chain of a device up to an issuer of a group, by RFC 5280.
pub(crate) fn verify(
    chain: &[CertificateDer<'_>],
    issuer: &Issuer,
    unix_seconds: u64,
) -> std::result::Result<(), String> {
    let (own, intermediates) = chain.split_first().ok_or("the device presents no certificate")?;
    let anchor = webpki::anchor_from_trusted_cert(&issuer.der)
        .map_err(|_| "the certificate of the group can't be trusted".to_owned())?;
    verify_path(
        own,
        intermediates,
        &[anchor],
        unix_seconds,
        "the chain does not lead to the group's certificate",
    )
}

/// The certificates of entries, and the verified CAs.
pub(crate) fn issuers(
    individual: Option<&IndividualEnrollment>,
    groups: &[EnrollmentGroup],
    cas: &VerifiedCas,
) -> Vec<Issuer> {
    let entries = individual.map(|entry| &entry.attestation).into_iter();
    let attestations = entries.chain(groups.iter().map(|group| &group.attestation));
    let pairs = attestations.filter_map(|attestation| match attestation {
        Attestation::X509(X509Attestation::SigningCertificates(pair)) => Some(pair),
        _ => None,
    });
    pairs.flat_map(of_pair).chain(cas.issuers.iter().cloned()).collect()
}

fn of_pair(pair: &CertificatePair) -> impl Iterator<Item = Issuer> {
    pair.iter().filter_map(|certificate| Issuer::new(certificate.certificate.as_ref()?.as_bytes()))
}

/// The facts about a chain, the device's own certificate first. A certificate that can't be read
/// ends the chain.
pub(crate) fn facts(chain: &[CertificateDer<'_>], issuers: &[Issuer]) -> Vec<PresentedCertificate> {
    let read = |der: &CertificateDer<'_>| certificate_info::info(&certificate::CertificateDer::new(der)).ok();
    let infos = chain.iter().map_while(read);
    let parsed = chain.iter().map_while(|der| X509Certificate::from_der(der).ok());
    let parsed: Vec<X509Certificate<'_>> = parsed.map(|(_, parsed)| parsed).collect();
    let followers = parsed.iter().skip(1).map(Some).chain([None]);
    let numbered = infos.zip(parsed.iter().zip(followers));
    numbered.map(|(info, (own, next))| fact(info, own, next, issuers)).collect()
}

fn fact(
    info: CertificateInfo,
    own: &X509Certificate<'_>,
    next: Option<&X509Certificate<'_>>,
    issuers: &[Issuer],
) -> PresentedCertificate {
    let is_issuer =
        |next: &X509Certificate<'_>| own.issuer().as_raw() == next.subject().as_raw() && signed(next, own);
    let signed_by = issuers.iter().filter(|issuer| issuer.has_signed(own));
    PresentedCertificate {
        info,
        common_name: common_name(own),
        may_sign: may_sign(own),
        for_tls_clients: for_tls_clients(own),
        signed_by_next: next.is_some_and(is_issuer),
        signed_by: signed_by.map(|issuer| issuer.sha256).collect(),
    }
}

/// Returns true if a certificate has signed another one, by the signature alone.
fn signed(issuer: &X509Certificate<'_>, certificate: &X509Certificate<'_>) -> bool {
    certificate.verify_signature(Some(issuer.public_key())).is_ok()
}

/// Returns true for a CA that may sign certificates. A damaged extension allows nothing.
fn may_sign(certificate: &X509Certificate<'_>) -> bool {
    let usage = certificate.key_usage();
    certificate.is_ca() && usage.is_ok_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()))
}

fn for_tls_clients(certificate: &X509Certificate<'_>) -> bool {
    match certificate.extended_key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.client_auth || usage.value.any),
        Err(_) => false,
    }
}
