//! The decision whether a client may connect as a device or as a module.
//!
//! It is made when a connection begins and after every write to its identity, so that a device is
//! cut off when its key is changed or when it is disabled.

use std::fmt;

use hub_types::identity::Status;
use hub_types::sas::SasToken;
use hub_types::{Authentication, ErrorCode, IdentityId};

use crate::access::certificates::DeviceCertificate;
use crate::api_error::ApiError;
use crate::registry::Registry;

/// The credentials of a client that claims an identity. Checks that need no registry (scope,
/// expiry, a policy's key) are made before.
#[derive(Debug, Clone)]
pub(crate) enum Credentials {
    Certificate(DeviceCertificate),
    /// A token of a policy that may connect as any device.
    Policy,
    /// A token that must be signed with a key of the identity.
    Token(SasToken),
}

/// The reason why a client may not connect. It is logged, and not sent to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denied(pub(crate) String);

impl Denied {
    pub(crate) fn into_api_error(self) -> ApiError {
        ApiError::new(ErrorCode::IotHubUnauthorizedAccess, self.0)
    }
}

/// Decides, and returns the generation of the identity that may connect.
pub(crate) fn admit(
    registry: &Registry,
    identity: &IdentityId,
    credentials: &Credentials,
) -> Result<u64, Denied> {
    let Some(device) = registry.device_entry(identity.device()).map(|(_, device)| device) else {
        return Err(denied("the device is not registered"));
    };
    if device.settings.status == Status::Disabled {
        return Err(denied("the device is disabled"));
    }
    let Some(record) = registry.identity(identity) else {
        return Err(denied("the device has no such module"));
    };
    check(identity, &record.authentication, credentials)?;
    Ok(record.generation)
}

fn check(identity: &IdentityId, wanted: &Authentication, credentials: &Credentials) -> Result<(), Denied> {
    match (wanted, credentials) {
        (Authentication::None, _) => Err(denied("nobody can connect as a system module")),
        (_, Credentials::Policy) => Ok(()),
        (Authentication::Sas(Some(keys)), Credentials::Token(token)) => {
            // Both are tried whatever the first gives, so that time does not tell which one it was.
            let signed = [&keys.primary, &keys.secondary].map(|key| token.is_signed_by(key));
            if signed.contains(&true) { Ok(()) } else { Err(denied("the token is signed by another key")) }
        }
        (Authentication::SelfSigned { primary, secondary }, Credentials::Certificate(certificate)) => {
            let mut slots = primary.iter().chain(secondary);
            if !slots.any(|thumbprint| certificate.has_thumbprint(thumbprint)) {
                return Err(denied("the certificate has neither of the identity's thumbprints"));
            }
            // Source: iotedge pull request 621, "IoTHub validates only if the cert is not expired and if
            // the thumbprints match".
            certificate.dates.clone().map_err(Denied)?;
            // A device's thumbprint says enough; of a module the name is asked for as well.
            if identity.module().is_some() { check_name(identity, certificate) } else { Ok(()) }
        }
        (Authentication::CertificateAuthority, Credentials::Certificate(certificate)) => {
            check_name(identity, certificate)?;
            certificate.chain.clone().map_err(Denied)
        }
        (Authentication::Sas(_), Credentials::Certificate(_)) => {
            Err(denied("the identity has keys, but no token came as the password"))
        }
        (_, Credentials::Token(_)) => Err(denied("the identity has no keys to sign a token with")),
    }
}

/// Checks that the CN is `deviceId` or `deviceId/moduleId`. Source: "Authenticate identities with
/// X.509 certificates".
fn check_name(identity: &IdentityId, certificate: &DeviceCertificate) -> Result<(), Denied> {
    if certificate.common_name == identity.common_name() {
        return Ok(());
    }
    Err(Denied(format!("the certificate's common name is `{}`", certificate.common_name)))
}

fn denied(reason: &str) -> Denied {
    Denied(reason.to_owned())
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
