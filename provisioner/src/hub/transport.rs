//! How a hub is reached: roots, proxies, timeouts.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Certificate, ClientBuilder};
use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// How to reach a hub, and the services that give tokens for it.
#[derive(Debug, Clone, Default)]
pub struct HubClientOptions {
    /// PEM of roots to trust besides the system's.
    pub extra_roots: Vec<Zeroizing<Vec<u8>>>,
    /// Whether the hub is on this machine: then only the extra roots are trusted, and no proxy is asked.
    pub is_local: bool,
}

impl HubClientOptions {
    pub(super) fn client(&self) -> Result<ClientBuilder, reqwest::Error> {
        let mut roots = Vec::new();
        for pem in &self.extra_roots {
            roots.extend(Certificate::from_pem_bundle(pem)?);
        }
        let builder = reqwest::Client::builder()
            .user_agent(concat!("provisioner/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT);
        Ok(match self.is_local {
            true => builder.tls_certs_only(roots).no_proxy(),
            false if roots.is_empty() => builder,
            false => builder.tls_certs_merge(roots),
        })
    }

    /// TLS for what is not HTTP: it trusts the same roots.
    pub fn tls(&self) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, BoxError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let mut roots = Vec::new();
        for pem in &self.extra_roots {
            for root in CertificateDer::pem_slice_iter(pem) {
                roots.push(root?);
            }
        }
        if self.is_local {
            let mut store = RootCertStore::empty();
            store.add_parsable_certificates(roots);
            return Ok(builder.with_root_certificates(store));
        }
        let verifier = Verifier::new_with_extra_roots(roots, provider)?;
        Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)))
    }

    /// Begins TLS with a host and answers the certificates that it shows (DER), its own first.
    pub(crate) async fn handshake(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<Vec<CertificateDer<'static>>, BoxError> {
        let tls = TlsConnector::from(Arc::new(self.tls()?.with_no_client_auth()));
        let stream = tls.connect(ServerName::try_from(host.to_owned())?, stream).await?;
        let (_, connection) = stream.get_ref();
        Ok(connection.peer_certificates().unwrap_or_default().to_vec())
    }
}

type BoxError = Box<dyn Error + Send + Sync>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Under load a hub queues calls for tens of seconds before it refuses any: giving up sooner only
/// adds load.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(90);
