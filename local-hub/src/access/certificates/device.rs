//! The certificates with which devices and modules authenticate themselves.
//!
//! In the handshake a client only proves possession of the private key of its certificate. The
//! certificate is checked for an identity at CONNECT, when the identity is known: it may be
//! self-signed, and then only its thumbprint and its dates count. So the handshake accepts every
//! certificate with a proven key, including X.509 version 1 and unknown critical extensions. Chains
//! are verified by webpki, which does not accept these.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hub_types::thumbprint::{Sha1Thumbprint, Sha256Thumbprint, Thumbprint, ThumbprintDigest};
use hub_types::{IdentityId, Timestamp};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime};
use time::OffsetDateTime;
use webpki::{EndEntityCert, KeyUsage, RawPublicKeyEntity};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::error::{Error, Result};

/// The CAs whose certificates devices and modules of the type `certificateAuthority` may present.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeviceCas(Vec<DeviceCa>);

#[derive(Debug, Clone)]
struct DeviceCa {
    anchor: TrustAnchor<'static>,
    /// The validity in seconds since 1970-01-01, both ends included.
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

    /// Evaluates the certificates that a client presented: its own, then any intermediates. Returns
    /// `None` if they contain no certificate.
    pub(crate) fn check(
        &self,
        presented: &[CertificateDer<'_>],
        unix_seconds: u64,
    ) -> Option<DeviceCertificate> {
        let (leaf, intermediates) = presented.split_first()?;
        let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
        Some(DeviceCertificate {
            sha1: Sha1Thumbprint::of_der(leaf),
            sha256: Sha256Thumbprint::of_der(leaf),
            common_name: common_name(&parsed).unwrap_or_default(),
            dates: check_dates(&parsed, unix_seconds),
            chain: self.verify(leaf, intermediates, unix_seconds),
        })
    }

    /// Verifies the chain, without revocation, which IoT Hub does not check either.
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
        verify_path(
            leaf,
            intermediates,
            &anchors,
            unix_seconds,
            "the chain leads to no CA named with --device-ca",
        )
    }
}

/// Verifies a chain up to one of the anchors by RFC 5280, section 6, without revocation. The error is
/// the reason in words, `unknown_issuer` if the chain leads to no anchor.
pub(crate) fn verify_path(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    anchors: &[TrustAnchor<'_>],
    unix_seconds: u64,
    unknown_issuer: &str,
) -> std::result::Result<(), String> {
    let time = UnixTime::since_unix_epoch(Duration::from_secs(unix_seconds));
    let verified = EndEntityCert::try_from(leaf).and_then(|leaf| {
        leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            anchors,
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
        webpki::Error::UnknownIssuer => unknown_issuer.to_owned(),
        webpki::Error::UnsupportedCertVersion => {
            "a certificate of the chain is not of X.509 version 3".to_owned()
        }
        webpki::Error::UnsupportedCriticalExtension => {
            "a certificate of the chain has a critical extension that is not known".to_owned()
        }
        webpki::Error::RequiredEkuNotFoundContext(_) => {
            "a certificate of the chain is not for TLS clients (extended key usage)".to_owned()
        }
        webpki::Error::CaUsedAsEndEntity => "the certificate is that of a CA (CA:TRUE)".to_owned(),
        other => {
            tracing::debug!(error = %other, "a chain does not verify");
            "the chain breaks a rule of RFC 5280; `cert-tool verify` says which".to_owned()
        }
    })
}

/// A certificate with a private key that the client has proven to possess.
#[derive(Debug, Clone)]
pub(crate) struct DeviceCertificate {
    sha1: Sha1Thumbprint,
    sha256: Sha256Thumbprint,
    /// The common name; empty if the certificate has no common name, or several.
    pub(crate) common_name: String,
    /// The reason why the certificate is not valid now: it has expired or is not valid yet.
    pub(crate) dates: std::result::Result<(), String>,
    /// `Ok` if a chain leads to a device CA; otherwise the reason why no chain does.
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

/// A verifier that requests a certificate, and accepts every certificate with a proven key, or no
/// certificate.
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
        self.verify_with_key_of(cert, |key| {
            let known = self.0.signature_verification_algorithms.mapping;
            let scheme = known.iter().find(|(scheme, _)| *scheme == dss.scheme);
            let algorithms = scheme.map_or(&[][..], |(_, algorithms)| algorithms);
            let key = RawPublicKeyEntity::try_from(key).map_err(|_| UNKNOWN_KEY)?;
            let results =
                algorithms.iter().map(|algorithm| key.verify_signature(*algorithm, message, dss.signature()));
            // In TLS 1.2 a scheme stands for any curve: the algorithm of the key's own one decides.
            let mut decided = results.filter(|result| {
                !matches!(result, Err(webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)))
            });
            match decided.next() {
                Some(Ok(())) => Ok(HandshakeSignatureValid::assertion()),
                Some(Err(_)) => Err(NOT_PROVEN),
                None => Err(UNKNOWN_KEY),
            }
        })
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_with_key_of(cert, |key| {
            let known = &self.0.signature_verification_algorithms;
            verify_tls13_signature_with_raw_key(message, key, dss, known).map_err(|error| match error {
                rustls::Error::InvalidCertificate(CertificateError::BadSignature) => NOT_PROVEN,
                _ => UNKNOWN_KEY,
            })
        })
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl AnyClientCertificate {
    /// Passes the certificate's public key to `verify`, whose error is the reason why the
    /// certificate is refused.
    fn verify_with_key_of(
        &self,
        cert: &CertificateDer<'_>,
        verify: impl FnOnce(
            &SubjectPublicKeyInfoDer<'_>,
        ) -> std::result::Result<HandshakeSignatureValid, &'static str>,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let verified = match X509Certificate::from_der(cert) {
            Ok((_, parsed)) => verify(&SubjectPublicKeyInfoDer::from(parsed.public_key().raw)),
            Err(_) => Err("the client's certificate can't be read"),
        };
        verified.map_err(|reason| {
            let unusable = UnusableCertificate { identity: identity_in(cert), reason };
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(unusable))))
        })
    }
}

/// A certificate with which a client can't complete a handshake.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct UnusableCertificate {
    /// The identity that it names, if it names one.
    pub(crate) identity: Option<String>,
    pub(crate) reason: &'static str,
}

const NOT_PROVEN: &str = "the client has not proven that it holds the key of its certificate";
const UNKNOWN_KEY: &str = "the key of the client's certificate, or what it signs with, is none that the hub \
    knows: RSA from 2048 bits, P-256, P-384, P-521 or Ed25519, with SHA-256 or longer";

fn read_cas(file: &Path) -> Result<Vec<DeviceCa>> {
    let cas = read_pem(file)?;
    let cas = cas.iter().map(device_ca).collect::<std::result::Result<_, _>>();
    cas.map_err(|reason| Error::DeviceCa { path: file.to_owned(), reason })
}

/// The certificates of a PEM file, at least one.
pub(crate) fn read_pem(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let unusable = |reason: String| Error::DeviceCa { path: file.to_owned(), reason };
    let pem = std::fs::read(file).map_err(|source| Error::File {
        action: "read",
        path: file.to_owned(),
        source,
    })?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<std::result::Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| unusable(format!("it is no PEM file ({error})")))?;
    if certificates.is_empty() {
        return Err(unusable("it has no certificate in PEM".to_owned()));
    }
    Ok(certificates)
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

/// The identity, `device` or `device/module`, that the common name of a certificate names.
pub(crate) fn identity_in(der: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let identity = IdentityId::from_common_name(&common_name(&certificate)?).ok()?;
    Some(identity.to_string())
}

/// The common name of the subject, if there is exactly one.
pub(crate) fn common_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let mut names = certificate.subject().iter_common_name();
    match (names.next(), names.next()) {
        (Some(name), None) => name.as_str().ok().map(str::to_owned),
        _ => None,
    }
}

/// Checks the dates by RFC 5280, section 4.1.2.5: both ends are included.
fn check_dates(certificate: &X509Certificate<'_>, unix_seconds: u64) -> std::result::Result<(), String> {
    let now = i64::try_from(unix_seconds).unwrap_or(i64::MAX);
    let validity = certificate.validity();
    let (from, until) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    match now {
        _ if now < from => Err(format!("the certificate is not valid before {}", date(from))),
        _ if now > until => Err(format!("the certificate has expired at {}", date(until))),
        _ => Ok(()),
    }
}

fn date(unix_seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(unix_seconds).map_or_else(
        |_| format!("second {unix_seconds} since 1970"),
        |time| Timestamp::from(time).to_string(),
    )
}
