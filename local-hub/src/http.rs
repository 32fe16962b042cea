//! The service API of IoT Hub.
//!
//! [`rest`](crate::rest) handles connections and requests: it finds the operation in the table of
//! [`operations`], [`access`] authorizes the caller, a file in [`handlers`] performs the operation,
//! and [`reply`] puts errors into IoT Hub's form.

use std::sync::Arc;

use http::Uri;

use crate::access::policy::Right;
use crate::api_error::{ApiError, ApiResult};
use crate::backend::Backend;
use crate::faults::Effect;
use crate::hub::Hub;
use crate::rest::Api;
use crate::rest::reply::{HttpResponse, Reply};
use crate::rest::routes::{Route, RouteMatch};
use crate::rest::service::RequestHead;
use crate::rest::version::RequestedVersion;
use access::Caller;
use call::HubCall;
use operations::{Operation, ROUTES};

pub(crate) use operations::operation_names;

mod access;
mod api_version;
mod call;
mod handlers;
mod operations;
mod reply;
mod throttling;

impl Api for Hub {
    type Operation = Operation;
    type Right = Right;
    type Caller = Caller;

    const NAME: &'static str = "IoT Hub";

    const ROUTES: &'static [Route<Self>] = ROUTES;

    fn requested_version(uri: &Uri) -> ApiResult<RequestedVersion> {
        api_version::requested(uri)
    }

    fn body_limit(operation: Operation) -> usize {
        match operation {
            // 100 items with twins of full size.
            Operation::BulkRegistry => 8 * 1024 * 1024,
            // Ample for a twin of full size with its metadata, which clients send back.
            _ => 2 * 1024 * 1024,
        }
    }

    fn authorize(&self, request: &RequestHead, found: &RouteMatch<Self>) -> ApiResult<Caller> {
        access::authorize(self, &request.parts.headers, &request.parts.uri, found)
    }

    /// Performs the operation. With the fault of a stale page, a query runs over the data of then.
    async fn perform(self: &Arc<Self>, call: HubCall, effect: Option<&Effect>) -> ApiResult<Reply> {
        let (operation, sent) = (call.operation, call.body.len());
        let is_stale = operation == Operation::Query && effect == Some(&Effect::StalePage);
        let stale = if is_stale { self.stale() } else { None };
        throttling::admit(self, operation).await?;
        let caller = call.caller;
        let done = match stale {
            Some(stale) => handlers::query::page(&*stale, call).await,
            None => operations::perform(self, call).await,
        };
        let reply = done.map_err(|error| caller.adapt(error))?;
        throttling::charge(self, operation, sent, reply.body_len());
        Ok(reply)
    }

    fn error_response(&self, error: &ApiError, request_id: &str) -> HttpResponse {
        reply::error_response(error, request_id, self.timestamp())
    }
}
