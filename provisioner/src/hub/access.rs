//! The right to call a hub, and the tokens that show it.

use std::fmt;
use std::sync::Arc;

use hub_types::connection_string::{HubHost, ServiceConnectionString};
use hub_types::sas::SasToken;
use reqwest::header::HeaderValue;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::entra::{EntraAccess, EntraError};
use super::tokens::{AuthorizationToken, Issuer};
use super::transport::HubClientOptions;

/// The right to call a hub.
#[derive(Debug)]
pub(crate) enum Access {
    /// That of somebody whom Entra ID knows.
    Entra(EntraAccess),
    /// That of a policy whose key is at hand.
    SharedKey(ServiceConnectionString),
}

impl Access {
    /// The hub.
    pub(crate) fn host(&self) -> &HubHost {
        match self {
            Self::Entra(access) => access.host(),
            Self::SharedKey(access) => &access.host,
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entra(access) => write!(f, "{} with {}", access.host(), access.sign_in()),
            Self::SharedKey(access) => write!(f, "{} as `{}`", access.host, access.policy),
        }
    }
}

/// Makes the tokens of one access: signs them, or has them made by Entra ID.
pub(super) struct TokenSource {
    pub(super) access: Access,
    /// The connection options for token services.
    pub(super) options: HubClientOptions,
}

impl Issuer for TokenSource {
    async fn issue(&self, now: OffsetDateTime) -> Result<AuthorizationToken, Arc<EntraError>> {
        match &self.access {
            Access::Entra(access) => {
                let token = access.token(&self.options).await.map_err(Arc::new)?;
                let header = Zeroizing::new(format!("Bearer {}", token.token.secret()));
                Ok(AuthorizationToken { header: secret_header(&header), from: now, until: token.expires_on })
            }
            Access::SharedKey(access) => {
                let until = now + LIFETIME;
                let end = u64::try_from(until.unix_timestamp()).unwrap_or(0);
                let token = SasToken::sign(access.host.as_str(), Some(&access.policy), &access.key, end);
                Ok(AuthorizationToken { header: secret_header(&token.expose_text()), from: now, until })
            }
        }
    }
}

#[expect(
    clippy::expect_used,
    reason = "fields of signed tokens are percent-encoded, and tokens of Entra ID were checked"
)]
fn secret_header(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).expect("a token has visible characters of ASCII only");
    value.set_sensitive(true);
    value
}

/// Of a token that is signed here.
const LIFETIME: Duration = Duration::hours(1);
