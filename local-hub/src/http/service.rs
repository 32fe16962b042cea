//! The path of a request to its response.

use std::sync::Arc;
use std::time::Instant;

use http::header::{RETRY_AFTER, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, Request};
use hyper::body::{Body, Bytes};
use tokio::time::sleep;

use super::access::Caller;
use super::api_version::{ApiVersion, RequestedVersion};
use super::call::Call;
use super::operations::{self, Operation};
use super::reply::{self, HttpResponse, Reply, error_response};
use super::response_body::{Interrupted, ResponseBody};
use super::routes::{self, RouteMatch};
use super::{access, body, handlers, throttling};
use crate::api_error::{ApiError, ApiResult};
use crate::faults::{Effect, InjectedFault};
use crate::hub::Hub;
use crate::ids::random::RequestIds;
use crate::registry::Counts;
use crate::request_log::{self, RequestLine, RequestLog, UnknownVersion};

/// The state that all connections share.
#[derive(Debug)]
pub(crate) struct Service {
    hub: Arc<Hub>,
    log: Option<Arc<RequestLog>>,
    ids: RequestIds,
}

impl Service {
    pub(crate) fn new(hub: Arc<Hub>, log: Option<Arc<RequestLog>>) -> Self {
        Self { hub, log, ids: RequestIds::new() }
    }

    /// Responds to one request, unless a fault cuts the connection first.
    pub(crate) async fn respond<B>(self: &Arc<Self>, request: Request<B>) -> Result<HttpResponse, Interrupted>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (parts, body) = request.into_parts();
        let found = routes::find(&parts.method, parts.uri.path());
        let operation = found.as_ref().ok().map(|found| found.operation);
        let asked = RequestedVersion::of(&parts.uri);
        let version = asked.as_ref().ok().cloned();
        let request = ReceivedRequest { parts, operation, version, id: self.ids.next(), at: Instant::now() };
        let call = match found.and_then(|found| self.admit(found, asked, &request.parts)) {
            Ok(admitted) => read(admitted, &request.parts, body).await,
            Err(error) => {
                // A client that still sends when the connection closes may never see the answer.
                body::discard(body).await;
                Err(error)
            }
        };
        let injected = match &call {
            Ok(call) => self.hub.faults().inject(call.operation.name()),
            Err(_) => InjectedFault::default(),
        };
        if !injected.delay.is_zero() {
            sleep(injected.delay).await;
        }
        if let Some(answer) = self.fault_response(&request, &injected).await {
            return answer;
        }
        let effect = injected.effect.clone();
        if call.as_ref().map_or(true, |call| call.operation.only_reads()) {
            return apply_fault(self.complete(call, &request, injected).await, effect.as_ref());
        }
        // A client that hangs up must not cut a write off between its effect and its line in the log.
        let service = Arc::clone(self);
        match tokio::spawn(async move { service.complete(call, &request, injected).await }).await {
            Ok(response) => apply_fault(response, effect.as_ref()),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// The response to a request that names no operation.
    pub(crate) fn refuse(&self, error: &ApiError) -> HttpResponse {
        error_response(error, &self.ids.next(), self.hub.timestamp())
    }

    /// The response of a fault that replaces the operation.
    async fn fault_response(
        &self,
        request: &ReceivedRequest,
        injected: &InjectedFault,
    ) -> Option<Result<HttpResponse, Interrupted>> {
        let unanswered = RequestOutcome { fault: injected.name(), ..RequestOutcome::default() };
        match injected.effect.as_ref()? {
            effect @ Effect::Status { status, code, retry_after } => {
                let error = effect.error(request.operation.map_or("Unknown", Operation::name))?;
                let errorcode = code.map(|_| error.name);
                self.log(request, RequestOutcome { status: Some(*status), errorcode, ..unanswered });
                let mut response = match code {
                    None => reply::gateway_response(*status),
                    Some(_) => error_response(&error, &request.id, self.hub.timestamp()),
                };
                if let Some(seconds) = retry_after {
                    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(*seconds));
                }
                Some(Ok(response))
            }
            Effect::Reset => {
                self.log(request, unanswered);
                Some(Err(Interrupted::Reset))
            }
            Effect::Hang(duration) => {
                self.log(request, unanswered);
                self.hub.faults().hang(*duration).await;
                Some(Err(Interrupted::Close))
            }
            _ => None,
        }
    }

    async fn complete(
        &self,
        call: ApiResult<Call>,
        request: &ReceivedRequest,
        injected: InjectedFault,
    ) -> HttpResponse {
        let answer = match call {
            Ok(call) => self.perform(call, injected.effect.as_ref()).await,
            Err(error) => Err(error),
        };
        let (status, errorcode, counts) = match &answer {
            Ok(reply) => (reply.status.as_u16(), None, reply.counts),
            Err(error) => (error.status, Some(error.name), Counts::default()),
        };
        self.log(request, RequestOutcome { status: Some(status), errorcode, counts, fault: injected.name() });
        match answer {
            Ok(reply) => reply.into_response(&request.id),
            Err(error) => error_response(&error, &request.id, self.hub.timestamp()),
        }
    }

    /// Performs the operation. With the fault of a stale page, a query runs over the data of then.
    async fn perform(&self, call: Call, effect: Option<&Effect>) -> ApiResult<Reply> {
        let (operation, sent) = (call.operation, call.body.len());
        let is_stale = operation == Operation::Query && effect == Some(&Effect::StalePage);
        let stale = if is_stale { self.hub.stale() } else { None };
        self.hub.check_durable()?;
        throttling::admit(&self.hub, operation).await?;
        let caller = call.caller;
        let done = match stale {
            Some(stale) => handlers::query::page(&*stale, call).await,
            None => operations::perform(&self.hub, call).await,
        };
        let reply = done.map_err(|error| caller.adapt(error))?;
        throttling::charge(&self.hub, operation, sent, reply.body_len());
        Ok(reply)
    }

    fn admit(
        &self,
        found: RouteMatch,
        asked: ApiResult<RequestedVersion>,
        parts: &Parts,
    ) -> ApiResult<Admitted> {
        let caller = access::authorize(&self.hub, &parts.headers, &parts.uri, &found)?;
        Ok(Admitted { found, caller, version: asked?.served })
    }

    fn log(&self, request: &ReceivedRequest, outcome: RequestOutcome) {
        let Some(log) = &self.log else {
            return;
        };
        let RequestOutcome { status, errorcode, fault, counts } = outcome;
        let version = request.version.as_ref().and_then(|version| {
            Some(UnknownVersion {
                api_version: version.unknown.as_deref()?,
                served_as: version.served.as_str(),
            })
        });
        log.write(&RequestLine {
            time: self.hub.timestamp(),
            request_id: &request.id,
            method: request.parts.method.as_str(),
            path: request.parts.uri.path(),
            agent: request.parts.headers.get(USER_AGENT).and_then(|name| request_log::agent(name.as_bytes())),
            operation: request.operation.map(Operation::name),
            version,
            status,
            errorcode,
            fault,
            milliseconds: u64::try_from(request.at.elapsed().as_millis()).unwrap_or(u64::MAX),
            counts,
        });
    }
}

/// The parts of a request, without its body.
struct ReceivedRequest {
    parts: Parts,
    operation: Option<Operation>,
    version: Option<RequestedVersion>,
    id: String,
    at: Instant,
}

/// The operation of a request, its caller, and the version of the API.
struct Admitted {
    found: RouteMatch,
    caller: Caller,
    version: ApiVersion,
}

/// The outcome of a request, for the log.
#[derive(Debug, Default)]
struct RequestOutcome {
    status: Option<u16>,
    errorcode: Option<&'static str>,
    fault: Option<&'static str>,
    counts: Counts,
}

/// Applies a fault to a response: cuts, halves or slows it.
fn apply_fault(response: HttpResponse, effect: Option<&Effect>) -> Result<HttpResponse, Interrupted> {
    match effect {
        Some(Effect::LoseAnswer) => Err(Interrupted::Close),
        Some(Effect::HalfAnswer) => Ok(response.map(ResponseBody::halved)),
        Some(Effect::Drip(rate)) => Ok(response.map(|body| body.dripping(*rate))),
        _ => Ok(response),
    }
}

async fn read<B>(admitted: Admitted, parts: &Parts, body: B) -> ApiResult<Call>
where
    B: Body<Data = Bytes> + Unpin,
{
    let Admitted { found, caller, version } = admitted;
    let body = body::read(body, body::limit(found.operation)).await?;
    Ok(Call::new(found, caller, version, parts.uri.clone(), parts.headers.clone(), body))
}
