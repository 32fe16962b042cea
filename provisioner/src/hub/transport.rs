//! The connection to a hub: roots, proxies, timeouts.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, ClientBuilder};
use zeroize::Zeroizing;

use crate::model::service_status::StatusListener;

/// The connection options for a hub, and for its token services.
#[derive(Debug, Clone, Default)]
pub(crate) struct HubClientOptions {
    /// PEM of roots to trust besides the system's.
    pub(crate) extra_roots: Vec<Zeroizing<Vec<u8>>>,
    /// True if the hub is on this machine: then only the extra roots are trusted, and no proxy is
    /// used.
    pub(crate) is_local: bool,
    /// The receiver of notices about waits and outages.
    pub(crate) status: StatusListener,
}

impl HubClientOptions {
    /// The one way to a client of HTTP in this crate. It follows no redirect: what is sent would go where
    /// nobody meant it to go. Nothing is decompressed.
    #[expect(clippy::disallowed_methods, reason = "the one place that it is allowed in")]
    pub(crate) fn client(&self) -> Result<ClientBuilder, reqwest::Error> {
        let mut roots = Vec::new();
        for pem in &self.extra_roots {
            roots.extend(Certificate::from_pem_bundle(pem)?);
        }
        let builder = reqwest::Client::builder()
            .user_agent(concat!("provisioner/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT);
        Ok(match self.is_local {
            true => builder.tls_certs_only(roots).no_proxy(),
            false if roots.is_empty() => builder,
            false => builder.tls_certs_merge(roots),
        })
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Under load a hub queues calls for tens of seconds before it refuses any: giving up sooner only
/// adds load.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(90);
