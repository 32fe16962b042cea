//! The HTTP clients of this crate.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};

/// A client that follows no redirects, which would send what is secret in a request to a different
/// host.
#[expect(clippy::disallowed_methods, reason = "the one place that it is allowed in")]
pub(crate) fn builder() -> ClientBuilder {
    Client::builder().redirect(Policy::none()).connect_timeout(CONNECT_TIMEOUT)
}

/// Makes a client that trusts the CAs of this machine.
#[expect(clippy::expect_used, reason = "it fails only where TLS can't be set up, which no input decides")]
pub(crate) fn build(builder: ClientBuilder) -> Client {
    builder.build().expect("TLS can be set up")
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
