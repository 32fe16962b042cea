//! The service API and the device API of a DPS.
//!
//! [`rest`](crate::rest) handles connections and requests: it finds the operation in the table of
//! [`operations`], [`access`] authorizes the caller, a file in [`handlers`] performs the operation,
//! and [`reply`] puts errors into the form of DPS.

use std::sync::Arc;

use http::Uri;
use hub_types::dps::limits::MAX_MESSAGE_BYTES;

use super::Dps;
use super::access::DpsRight;
use crate::api_error::{ApiError, ApiResult};
use crate::backend::Backend;
use crate::faults::Effect;
use crate::rest::operations::Meter;
use crate::rest::reply::{HttpResponse, Reply};
use crate::rest::routes::{Route, RouteMatch};
use crate::rest::service::RequestHead;
use crate::rest::version::{KnownVersions, RequestedVersion};
use crate::rest::{Api, call};
use access::DpsCaller;
use operations::{DpsOperation, ROUTES};

pub(crate) use operations::operation_names;

mod access;
mod handlers;
mod operations;
mod reply;

/// An authorized request to the DPS.
type DpsCall = call::Call<Dps>;

impl Api for Dps {
    type Operation = DpsOperation;
    type Right = DpsRight;
    type Caller = DpsCaller;

    const NAME: &'static str = "DPS";

    const ROUTES: &'static [Route<Self>] = ROUTES;

    fn requested_version(uri: &Uri) -> ApiResult<RequestedVersion> {
        VERSIONS.requested(uri, ApiError::dps_request)
    }

    fn body_limit(_operation: DpsOperation) -> usize {
        MAX_MESSAGE_BYTES
    }

    fn authorize(&self, request: &RequestHead, found: &RouteMatch<Self>) -> ApiResult<DpsCaller> {
        access::authorize(self, request, found)
    }

    async fn perform(self: &Arc<Self>, call: DpsCall, _effect: Option<&Effect>) -> ApiResult<Reply> {
        if let Some(Meter { class, kind, .. }) = call.operation.meter() {
            self.hub().throttle().admit(class, 1, kind).await?;
        }
        operations::perform(self, call).await
    }

    fn error_response(&self, error: &ApiError, request_id: &str) -> HttpResponse {
        reply::error_response(error, request_id, self.timestamp())
    }
}

/// The versions that clients send, and those that Microsoft documents.
pub(super) const VERSIONS: KnownVersions = KnownVersions {
    since: "2017-08-31",
    oldest: "2017-11-15",
    later: &[
        "2018-04-01",
        "2018-11-01",
        "2019-03-31",
        "2021-06-01",
        "2021-10-01",
        "2025-07-01-preview",
        "2026-11-01",
    ],
};
