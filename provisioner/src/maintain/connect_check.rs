//! The proof that units can connect with their new certificates, before the old ones are removed.

use std::sync::Arc;

use cli_support::causes::with_causes;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use crate::device::{ConnectError, CredentialSource, DeviceCredentials, DeviceHub};
use crate::model::failure::ReasonCode;
use crate::model::spec::IdentitySpec;

/// Proves that an identity can connect with its new certificate, or returns the reason why not.
pub(crate) type CertificateCheck =
    Arc<dyn Fn(IdentitySpec) -> BoxFuture<'static, Result<(), CheckFailed>> + Send + Sync>;

/// The reason for a missing proof.
#[derive(Debug)]
pub(crate) enum CheckFailed {
    /// A reason that concerns all identities: the run can't continue.
    All(ConnectError),
    /// A reason of this identity, as a code and in words.
    This(ReasonCode, String),
}

/// Proves by connecting as the identities, at most `concurrency` at once.
pub(crate) fn connect_check(
    hub: DeviceHub,
    credentials: CredentialSource,
    concurrency: usize,
) -> CertificateCheck {
    let checker =
        Arc::new(CertificateChecker { hub, credentials, slots: Semaphore::new(concurrency.max(1)) });
    Arc::new(move |identity| {
        let checker = checker.clone();
        Box::pin(async move { checker.check(&identity).await })
    })
}

struct CertificateChecker {
    hub: DeviceHub,
    credentials: CredentialSource,
    slots: Semaphore,
}

impl CertificateChecker {
    fn credentials_of(&self, spec: &IdentitySpec) -> Result<DeviceCredentials, CheckFailed> {
        let (code, reason) = match self.credentials.find(spec) {
            Ok(Some(credentials)) => return Ok(credentials),
            Ok(None) => {
                let reason = "its new certificate cannot be tried: its private key is not available";
                (ReasonCode::KeyNotAtHand, reason.to_owned())
            }
            Err(error) => {
                let reason = format!("its new certificate can't be tried: {}", with_causes(&error));
                (ReasonCode::CertificateUnusable, reason)
            }
        };
        Err(CheckFailed::This(code, reason))
    }

    async fn check(&self, spec: &IdentitySpec) -> Result<(), CheckFailed> {
        // It is never closed.
        let _slot = self.slots.acquire().await;
        let credentials = self.credentials_of(spec)?;
        match self.hub.twin(&spec.identity, &credentials).await {
            Ok(_) => Ok(()),
            Err(error) if error.concerns_all() => Err(CheckFailed::All(error)),
            Err(error) => {
                let reason = format!("the hub did not accept its new certificate: {}", with_causes(&error));
                Err(CheckFailed::This(ReasonCode::NotLetIn, reason))
            }
        }
    }
}
