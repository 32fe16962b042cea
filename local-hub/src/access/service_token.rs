//! The shared access signatures of services: the check of a token against the policies.

use http::header::HOST;
use http::{HeaderMap, Uri};
use hub_types::ErrorCode;
use hub_types::id::decode_path_segment;
use hub_types::sas::SasToken;

use super::policy::{Policies, Policy, Rights};
use crate::api_error::{ApiError, ApiResult};

/// A request that a token is to allow.
pub(crate) struct TokenRequest<'r, R> {
    pub(crate) headers: &'r HeaderMap,
    pub(crate) uri: &'r Uri,
    /// The right that the operation needs.
    pub(crate) right: R,
    /// The name of the operation.
    pub(crate) operation: &'static str,
}

/// Refuses a token that no policy has signed, that has expired, that is for a different host, or
/// whose policy does not have the right. `now` is in seconds since 1970-01-01.
pub(crate) fn check<R: Rights>(
    policies: &Policies<R>,
    token: &str,
    now: u64,
    request: &TokenRequest<'_, R>,
) -> ApiResult<()> {
    let token = SasToken::parse(token).map_err(|error| unauthorized(&error.to_string()))?;
    let policy = signer(policies, &token)?;
    if token.is_expired(now) {
        return Err(unauthorized("the token has expired"));
    }
    if !covers(&token, request.headers, request.uri) {
        return Err(no_access("the token is for a different resource"));
    }
    if !policy.allows(request.right) {
        let (name, operation) = (&policy.name, request.operation);
        return Err(no_access(&format!("the policy {name} has no right to {operation}")));
    }
    Ok(())
}

/// The host that a client called, with the port if it named one.
pub(crate) fn called_host<'r>(headers: &'r HeaderMap, uri: &'r Uri) -> Option<&'r str> {
    let host = headers.get(HOST).and_then(|value| value.to_str().ok());
    host.or_else(|| uri.host())
}

fn signer<'p, R: Rights>(policies: &'p Policies<R>, token: &SasToken) -> ApiResult<&'p Policy<R>> {
    // Without a policy it would be the key of a device, which has no access to the service API.
    let name = token.policy().ok_or_else(|| no_access("the token names no policy (skn)"))?;
    let wrong = || no_access("the policy is unknown or its key is different");
    let policy = policies.find(name).ok_or_else(wrong)?;
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

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // What looks like a port in an unbracketed IPv6 address is none.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.contains("::") => name,
        _ => host,
    }
}

/// 401003: the token itself is not valid.
pub(crate) fn unauthorized(text: &str) -> ApiError {
    ApiError::new(ErrorCode::IotHubUnauthorized, text)
}

/// 401002: the token is valid, but does not have the right.
pub(crate) fn no_access(text: &str) -> ApiError {
    ApiError::new(ErrorCode::IotHubUnauthorizedAccess, text)
}
