//! The certificates by which devices and modules prove who they are.
//!
//! In the handshake a client only proves that it holds the key of what it presents. Whether the
//! certificate is good for an identity is decided at CONNECT, when the identity is known: it may be
//! self-signed, and only its thumbprint counts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hub_types::thumbprint::{Sha1Thumbprint, Sha256Thumbprint, Thumbprint, ThumbprintDigest};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::error::{Error, Result};

/// The CAs whose certificates devices and modules of the type `certificateAuthority` may present.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeviceCas(Vec<DeviceCa>);

#[derive(Debug, Clone)]
struct DeviceCa {
    anchor: TrustAnchor<'static>,
    /// Seconds since 1970-01-01, both included.
    validity: (i64, i64),
}

impl DeviceCas {
    /// Reads PEM files, each with one or more CA certificates, roots or intermediates.
    pub(crate) fn read(files: &[PathBuf]) -> Result<Self> {
        let mut all = Vec::new();
        for file in files {
            all.extend(read_cas(file)?);
        }
        Ok(Self(all))
    }

    /// Looks at what a client presented: its certificate, then any intermediates. `None` where it
    /// presented nothing that is a certificate.
    pub(crate) fn judge(
        &self,
        presented: &[CertificateDer<'_>],
        unix_seconds: u64,
    ) -> Option<DeviceCertificate> {
        let (leaf, intermediates) = presented.split_first()?;
        Some(DeviceCertificate {
            sha1: Sha1Thumbprint::of_der(leaf),
            sha256: Sha256Thumbprint::of_der(leaf),
            common_name: common_name(leaf)?,
            chain: self.verify(leaf, intermediates, unix_seconds),
        })
    }

    /// RFC 5280, section 6, without revocation, which IoT Hub does not ask for either.
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        unix_seconds: u64,
    ) -> std::result::Result<(), String> {
        if self.0.is_empty() {
            return Err("the hub has no device CA; name one with --device-ca".to_owned());
        }
        let now = i64::try_from(unix_seconds).unwrap_or(i64::MAX);
        let anchors = self.0.iter().filter(|ca| ca.validity.0 <= now && now <= ca.validity.1);
        let anchors: Vec<TrustAnchor<'_>> = anchors.map(|ca| ca.anchor.clone()).collect();
        if anchors.is_empty() {
            return Err("every device CA has expired or is not valid yet".to_owned());
        }
        let time = UnixTime::since_unix_epoch(Duration::from_secs(unix_seconds));
        let verified = EndEntityCert::try_from(leaf).and_then(|leaf| {
            leaf.verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &anchors,
                intermediates,
                time,
                KeyUsage::client_auth(),
                None,
                None,
            )
            .map(drop)
        });
        verified.map_err(|error| match error {
            webpki::Error::CertExpired { .. } => "a certificate of the chain has expired".to_owned(),
            webpki::Error::CertNotValidYet { .. } => "a certificate of the chain is not valid yet".to_owned(),
            webpki::Error::UnknownIssuer => "the chain leads to no CA named with --device-ca".to_owned(),
            other => format!("the chain does not verify ({other})"),
        })
    }
}

/// A certificate whose key the client has proven to hold.
#[derive(Debug, Clone)]
pub(crate) struct DeviceCertificate {
    sha1: Sha1Thumbprint,
    sha256: Sha256Thumbprint,
    pub(crate) common_name: String,
    /// Whether a chain leads to a device CA; if not, why.
    pub(crate) chain: std::result::Result<(), String>,
}

impl DeviceCertificate {
    pub(crate) fn has_thumbprint(&self, thumbprint: &Thumbprint) -> bool {
        match thumbprint.digest() {
            ThumbprintDigest::Sha1(digest) => digest == self.sha1,
            ThumbprintDigest::Sha256(digest) => digest == self.sha256,
        }
    }
}

/// Asks clients for a certificate, and takes any whose key they hold, or none.
#[derive(Debug)]
pub(crate) struct AnyClientCertificate(pub(crate) Arc<CryptoProvider>);

impl ClientCertVerifier for AnyClientCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> std::result::Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn read_cas(file: &Path) -> Result<Vec<DeviceCa>> {
    let unusable = |reason: String| Error::DeviceCa { path: file.to_owned(), reason };
    let pem = std::fs::read(file).map_err(|source| Error::File {
        action: "read",
        path: file.to_owned(),
        source,
    })?;
    let mut cas = Vec::new();
    for der in CertificateDer::pem_slice_iter(&pem) {
        let der = der.map_err(|error| unusable(format!("it is no PEM file ({error})")))?;
        cas.push(device_ca(&der).map_err(unusable)?);
    }
    if cas.is_empty() {
        return Err(unusable("it has no certificate in PEM".to_owned()));
    }
    Ok(cas)
}

fn device_ca(der: &CertificateDer<'_>) -> std::result::Result<DeviceCa, String> {
    let anchor =
        webpki::anchor_from_trusted_cert(der).map_err(|error| format!("it can't be trusted ({error})"))?;
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| format!("a certificate can't be read ({error})"))?;
    if !certificate.is_ca() {
        return Err(format!("the certificate of {} is not that of a CA", certificate.subject()));
    }
    let validity = certificate.validity();
    Ok(DeviceCa {
        anchor: anchor.to_owned(),
        validity: (validity.not_before.timestamp(), validity.not_after.timestamp()),
    })
}

/// The one common name of the subject; empty where there is none or more than one.
fn common_name(der: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let mut names = certificate.subject().iter_common_name();
    let name = match (names.next(), names.next()) {
        (Some(name), None) => name.as_str().ok().map(str::to_owned),
        _ => None,
    };
    Some(name.unwrap_or_default())
}
