//! The HTTP clients of this crate.

use std::time::Duration;

use reqwest::ClientBuilder;
use reqwest::redirect::Policy;

/// A client that follows no redirects, which would send what is secret in a request to a different
/// host.
#[expect(clippy::disallowed_methods, reason = "the one place that it is allowed in")]
pub(crate) fn builder() -> ClientBuilder {
    reqwest::Client::builder().redirect(Policy::none()).connect_timeout(CONNECT_TIMEOUT)
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
