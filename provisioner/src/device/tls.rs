//! TLS to a hub: whom to trust, and what to show.

use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::sign::SingleCertAndKey;
use rustls::{CertificateError, ClientConfig, Error, RootCertStore};
use rustls_platform_verifier::Verifier;

use super::DeviceCredentials;
use crate::hub::HubClientOptions;

/// The common TLS settings of all connections to one hub.
#[derive(Debug)]
pub(super) struct Tls {
    name: ServerName<'static>,
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
}

impl Tls {
    /// For the hub of this name.
    pub(super) fn new(name: &str, trust: &HubClientOptions) -> Result<Self, Error> {
        let invalid = |error: InvalidDnsNameError| Error::General(format!("`{name}`: {error}"));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Ok(Self {
            name: ServerName::try_from(name.to_owned()).map_err(invalid)?,
            verifier: verifier(trust, &provider)?,
            provider,
        })
    }

    pub(super) fn name(&self) -> ServerName<'static> {
        self.name.clone()
    }

    /// For one connection with these credentials. Sessions are not kept: each connection is to be a proof.
    pub(super) fn config(&self, credentials: Option<&DeviceCredentials>) -> Result<ClientConfig, Error> {
        let config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&self.verifier));
        let mut config = match credentials {
            Some(DeviceCredentials::Certificate(certified)) => {
                let resolver = SingleCertAndKey::from(Arc::clone(certified));
                config.with_client_cert_resolver(Arc::new(resolver))
            }
            Some(DeviceCredentials::Key(_)) | None => config.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

/// The same roots as those of calls over HTTPS: the system's and the extra ones; of a hub on this
/// machine only the latter.
fn verifier(
    trust: &HubClientOptions,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let mut roots = Vec::new();
    for pem in &trust.extra_roots {
        for root in CertificateDer::pem_slice_iter(pem) {
            roots.push(root.map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?);
        }
    }
    if !trust.is_local {
        return Ok(Arc::new(Verifier::new_with_extra_roots(roots, Arc::clone(provider))?));
    }
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root)?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider)).build();
    Ok(verifier.map_err(|error| Error::General(error.to_string()))?)
}
