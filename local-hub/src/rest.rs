//! A REST API over HTTPS: the parts that do not depend on the service behind it.
//!
//! [`server`] handles connections, [`service`] turns one request into one response: [`routes`]
//! finds the operation, and [`Api`] authorizes the caller, performs the operation and has the form
//! of errors.

use std::sync::Arc;

use http::Uri;
use rustls_pki_types::CertificateDer;

use crate::api_error::{ApiError, ApiResult};
use crate::backend::Backend;
use crate::faults::Effect;
use call::Call;
use reply::{HttpResponse, Reply};
use routes::{Route, RouteMatch};
use service::RequestHead;
use version::RequestedVersion;

pub(crate) mod body;
pub(crate) mod call;
pub(crate) mod operations;
pub(crate) mod paging;
pub(crate) mod reply;
mod response_body;
pub(crate) mod routes;
pub(crate) mod server;
pub(crate) mod service;
pub(crate) mod version;
pub(crate) mod websocket;

/// The certificates that a client presented in the TLS handshake, its own first.
pub(crate) type Presented = Arc<[CertificateDer<'static>]>;

/// The operations of a service over HTTPS.
pub(crate) trait Api: Backend + Sized + 'static {
    /// An operation.
    type Operation: ApiOperation;
    /// The right that an operation needs.
    type Right: Copy + Send + Sync + 'static;
    /// An authorized caller.
    type Caller: Send + Sync + 'static;

    /// The name of the service in messages.
    const NAME: &'static str;

    /// The routes, in the order in which they are matched.
    const ROUTES: &'static [Route<Self>];

    /// The version of the API that a request asks for, and the one that serves it.
    fn requested_version(uri: &Uri) -> ApiResult<RequestedVersion>;

    /// The largest body of an operation in bytes.
    fn body_limit(operation: Self::Operation) -> usize;

    /// Authorizes the caller of an operation.
    fn authorize(&self, request: &RequestHead, found: &RouteMatch<Self>) -> ApiResult<Self::Caller>;

    /// Performs an operation. `effect` is the effect of a fault on it.
    fn perform(
        self: &Arc<Self>,
        call: Call<Self>,
        effect: Option<&Effect>,
    ) -> impl Future<Output = ApiResult<Reply>> + Send;

    /// The response of a refused request.
    fn error_response(&self, error: &ApiError, request_id: &str) -> HttpResponse;
}

/// An operation, as logs and faults need it.
pub(crate) trait ApiOperation: Copy + std::fmt::Debug + Send + Sync + 'static {
    /// The name in logs, faults and errors.
    fn name(self) -> &'static str;

    /// Returns true if the operation changes nothing.
    fn only_reads(self) -> bool;
}
