//! The hub's own CA, the hub's server certificate, and the certificates that devices present.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::ids::random;

pub(crate) use device::{
    DeviceCas, DeviceCertificate, UnusableCertificate, common_name, identity_in, read_pem, verify_path,
};

use device::AnyClientCertificate;

mod device;

/// A CA that signs the hub's certificate. Clients are told to trust it.
pub(crate) struct Authority {
    certificate_pem: String,
    key: KeyPair,
}

impl Authority {
    /// A new CA with a unique name, so that the CAs of two hubs are never confused.
    pub(crate) fn generate() -> Result<Self> {
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
        let name = format!("local-hub CA {}", random::RequestIds::new().next());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = validity(AUTHORITY_DAYS);
        let certificate = params.self_signed(&key).map_err(failed)?;
        Ok(Self { certificate_pem: certificate.pem(), key })
    }

    /// Loads a CA from PEM. The error describes the fault of one of the two.
    pub(crate) fn from_pem(certificate_pem: String, key_pem: &str) -> std::result::Result<Self, String> {
        let key = KeyPair::from_pem(key_pem).map_err(|_| "the key can't be read".to_owned())?;
        let certificate = pem_certificate(&certificate_pem).ok_or("the certificate can't be read")?;
        let (_, parsed) = X509Certificate::from_der(&certificate)
            .map_err(|_| "the certificate can't be read".to_owned())?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err("the certificate is of another key".to_owned());
        }
        Ok(Self { certificate_pem, key })
    }

    /// The certificate that clients must trust.
    pub(crate) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The private key: a secret.
    pub(crate) fn expose_key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.key.serialize_pem())
    }

    /// A TLS 1.2 and 1.3 configuration for these names, with a certificate made at this start of
    /// the hub. Clients are asked for a certificate, which is optional.
    pub(crate) fn server_config(&self, names: &[String]) -> Result<ServerConfig> {
        let key = KeyPair::generate().map_err(failed)?;
        let issuer = Issuer::from_ca_cert_pem(&self.certificate_pem, &self.key).map_err(failed)?;
        let certificate = server_params(names)?.signed_by(&key, &issuer).map_err(failed)?;
        let private_key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_client_cert_verifier(Arc::new(AnyClientCertificate(Arc::clone(&provider))))
            .with_single_cert(vec![certificate.into()], private_key)
            .map_err(failed)?;
        Ok(config)
    }
}

fn server_params(names: &[String]) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(names).map_err(|_| Error::HostName(names.join(", ")))?;
    params.distinguished_name.push(DnType::CommonName, "local-hub");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    (params.not_before, params.not_after) = validity(SERVER_DAYS);
    Ok(params)
}

/// The validity of certificates, by the machine's clock, because clients check certificates by the
/// real time and not by an injected clock. It begins a day earlier, because clients' clocks may be
/// behind.
fn validity(days: i64) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    (now.saturating_sub(Duration::DAY), now.saturating_add(Duration::days(days)))
}

fn pem_certificate(pem: &str) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).ok()
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Certificate(error.into())
}

const AUTHORITY_DAYS: i64 = 3650;
/// The validity of server certificates in days. Apple's platforms refuse more than 825.
const SERVER_DAYS: i64 = 820;
