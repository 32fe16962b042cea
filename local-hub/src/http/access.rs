//! Access to the service API: shared access signatures of policies, and tokens of Entra ID.

use http::header::AUTHORIZATION;
use http::{HeaderMap, Uri};
use hub_types::ErrorCode;
use hub_types::sas::SasToken;

use crate::access::policy::Right;
use crate::access::service_token::{self, TokenRequest, called_host, no_access, unauthorized};
use crate::api_error::{ApiError, ApiResult};
use crate::hub::Hub;
use crate::rest::ApiOperation;
use crate::rest::routes::RouteMatch;

/// The kind of credentials of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Credentials of the device itself, which are not checked.
    Device,
    /// A token of Entra ID.
    Entra,
    /// A shared access signature.
    Policy,
}

impl Caller {
    /// Adapts an error to the caller: under Entra ID a live hub reports a module's missing device
    /// as missing, but denies access under a shared access signature.
    pub(crate) fn adapt(self, error: ApiError) -> ApiError {
        match self {
            Self::Entra if error == ApiError::no_device_for_modules() => {
                ApiError::new(ErrorCode::DeviceNotFound, "The device of the module is missing or disabled.")
            }
            _ => error,
        }
    }
}

/// Authorizes a caller with a token that is valid for this hub and has the operation's right.
pub(crate) fn authorize(
    hub: &Hub,
    headers: &HeaderMap,
    uri: &Uri,
    found: &RouteMatch<Hub>,
) -> ApiResult<Caller> {
    if called_host(headers, uri).is_some_and(|host| hub.is_for_devices(host)) {
        return Err(no_access(
            "this host is for devices; the service API has the host of the connection string",
        ));
    }
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    // Devices request these operations with credentials of their own.
    if found.right == Right::DeviceConnect && !header.is_some_and(names_policy) {
        // No such operation is implemented, and a device is to hear of that rather than of its token.
        return Ok(Caller::Device);
    }
    let text = header.ok_or_else(|| unauthorized("the Authorization header is missing"))?;
    match (text.strip_prefix("Bearer "), hub.entra()) {
        (Some(token), Some(entra)) => {
            let right = (found.right, found.operation.only_reads());
            entra.check(token, hub.unix_seconds(), right)?;
            Ok(Caller::Entra)
        }
        (Some(_), None) => {
            Err(unauthorized("this hub takes no tokens of Entra ID; it does with --entra-test"))
        }
        (None, _) => {
            let (right, operation) = (found.right, found.operation.name());
            let request = TokenRequest { headers, uri, right, operation };
            service_token::check(hub.policies(), text, hub.unix_seconds(), &request)?;
            Ok(Caller::Policy)
        }
    }
}

fn names_policy(header: &str) -> bool {
    SasToken::parse(header).is_ok_and(|token| token.policy().is_some())
}
