//! Access to the APIs of a DPS.

use http::header::AUTHORIZATION;
use hub_types::dps::DpsErrorCode;

use super::super::Dps;
use super::super::access::DpsRight;
use crate::access::service_token::{self, TokenRequest};
use crate::api_error::{ApiError, ApiResult};
use crate::rest::ApiOperation;
use crate::rest::routes::RouteMatch;
use crate::rest::service::RequestHead;

/// The kind of credentials of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DpsCaller {
    /// A device, whose credentials the operation checks.
    Device,
    /// A service, with a shared access signature of a policy or a token of Entra ID.
    Service,
}

/// Authorizes a service with a token that is valid for this DPS and has the operation's right.
pub(super) fn authorize(dps: &Dps, request: &RequestHead, found: &RouteMatch<Dps>) -> ApiResult<DpsCaller> {
    if found.right == DpsRight::DeviceConnect {
        return Ok(DpsCaller::Device);
    }
    let headers = &request.parts.headers;
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.ok_or_else(|| unauthorized("the Authorization header is missing"))?;
    let now = dps.hub().unix_seconds();
    if let Some(token) = token.strip_prefix("Bearer ") {
        let entra = dps
            .entra()
            .ok_or_else(|| unauthorized("this DPS takes no tokens of Entra ID; it does with --entra-test"))?;
        let checked = entra.check(token, now, (found.right, found.operation.only_reads()));
        return checked.map_err(|error| unauthorized(&error.text)).map(|()| DpsCaller::Service);
    }
    let (right, operation) = (found.right, found.operation.name());
    let asked = TokenRequest { headers, uri: &request.parts.uri, right, operation };
    let checked = service_token::check(dps.policies(), token, now, &asked);
    checked.map_err(|error| unauthorized(&error.text))?;
    Ok(DpsCaller::Service)
}

/// 401002, the only code of a DPS for missing rights.
fn unauthorized(text: &str) -> ApiError {
    ApiError::dps(DpsErrorCode::Unauthorized, text)
}
