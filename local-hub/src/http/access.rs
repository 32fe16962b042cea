//! Access to the service API: shared access signatures of policies, and tokens of Entra ID.

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, Uri};
use hub_types::ErrorCode;
use hub_types::id::decode_path_segment;
use hub_types::sas::SasToken;

use crate::access::policy::{Policy, Right};
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
        (None, _) => by_policy(hub, text, headers, uri, found).map(|()| Caller::Policy),
    }
}

fn names_policy(header: &str) -> bool {
    SasToken::parse(header).is_ok_and(|token| token.policy().is_some())
}

fn by_policy(
    hub: &Hub,
    text: &str,
    headers: &HeaderMap,
    uri: &Uri,
    found: &RouteMatch<Hub>,
) -> ApiResult<()> {
    let token = SasToken::parse(text).map_err(|error| unauthorized(&error.to_string()))?;
    let policy = signer(hub, &token)?;
    if token.is_expired(hub.unix_seconds()) {
        return Err(unauthorized("the token has expired"));
    }
    if !covers(&token, headers, uri) {
        return Err(no_access("the token is for a different resource"));
    }
    if !policy.allows(found.right) {
        let (name, operation) = (&policy.name, found.operation.name());
        return Err(no_access(&format!("the policy {name} has no right to {operation}")));
    }
    Ok(())
}

fn signer<'h>(hub: &'h Hub, token: &SasToken) -> ApiResult<&'h Policy> {
    // Without a policy it would be the key of a device, which has no access to the service API.
    let name = token.policy().ok_or_else(|| no_access("the token names no policy (skn)"))?;
    let wrong = || no_access("the policy is unknown or its key is different");
    let policy = hub.policies().find(name).ok_or_else(wrong)?;
    // Both keys are tried whatever the first gives, so that time does not tell which one it was.
    let signed = policy.keys().map(|key| token.is_signed_by(key));
    if signed.contains(&true) { Ok(policy) } else { Err(wrong()) }
}

/// Returns true if the token is for the host that the client called, in the client's spelling, with
/// or without the port.
fn covers(token: &SasToken, headers: &HeaderMap, uri: &Uri) -> bool {
    let Some(host) = called_host(headers, uri) else {
        return false;
    };
    let path = uri.path().split('/').map(decode_path_segment).collect::<Option<Vec<_>>>();
    let path = path.map(|segments| segments.join("/")).unwrap_or_default();
    token.covers(&format!("{host}{path}")) || token.covers(&format!("{}{path}", without_port(host)))
}

fn called_host<'r>(headers: &'r HeaderMap, uri: &'r Uri) -> Option<&'r str> {
    let host = headers.get(HOST).and_then(|value| value.to_str().ok());
    host.or_else(|| uri.host())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // What looks like a port in an unbracketed IPv6 address is none.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.contains("::") => name,
        _ => host,
    }
}

/// 401003: the token itself is not valid.
fn unauthorized(text: &str) -> ApiError {
    ApiError::new(ErrorCode::IotHubUnauthorized, text)
}

/// 401002: the token is valid, but does not have the right.
fn no_access(text: &str) -> ApiError {
    ApiError::new(ErrorCode::IotHubUnauthorizedAccess, text)
}
