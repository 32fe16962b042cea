//! The path of a request to its response.

use std::sync::Arc;
use std::time::Instant;

use http::header::{RETRY_AFTER, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, Request};
use hyper::body::{Body, Bytes};
use tokio::time::sleep;

use super::call::Call;
use super::reply::{self, HttpResponse};
use super::response_body::{Interrupted, ResponseBody};
use super::routes::{self, RouteMatch};
use super::version::{ApiVersion, RequestedVersion};
use super::{Api, ApiOperation, Presented, body};
use crate::api_error::{ApiError, ApiResult};
use crate::faults::{Effect, InjectedFault};
use crate::ids::random::RequestIds;
use crate::registry::Counts;
use crate::request_log::{self, RequestLine, RequestLog, UnknownVersion};

/// The state that all connections share.
#[derive(Debug)]
pub(crate) struct Service<A> {
    api: Arc<A>,
    log: Option<Arc<RequestLog>>,
    ids: RequestIds,
}

impl<A: Api> Service<A> {
    pub(crate) fn new(api: Arc<A>, log: Option<Arc<RequestLog>>) -> Self {
        Self { api, log, ids: RequestIds::new() }
    }

    /// Responds to one request, unless a fault cuts the connection first.
    pub(crate) async fn respond<B>(
        self: &Arc<Self>,
        request: Request<B>,
        presented: Presented,
    ) -> Result<HttpResponse, Interrupted>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (parts, body) = request.into_parts();
        let found = routes::find::<A>(&parts.method, parts.uri.path());
        let operation = found.as_ref().ok().map(|found| found.operation);
        let asked = A::requested_version(&parts.uri);
        let version = asked.as_ref().ok().cloned();
        let head = RequestHead { parts, presented };
        let request = ReceivedRequest { head, operation, version, id: self.ids.next(), at: Instant::now() };
        let call = match found.and_then(|found| self.admit(found, asked, &request.head)) {
            Ok(admitted) => read(admitted, &request.head, body).await,
            Err(error) => {
                // A client that still sends when the connection closes may never see the answer.
                body::discard(body).await;
                Err(error)
            }
        };
        let injected = match &call {
            Ok(call) => self.api.faults().inject(call.operation.name()),
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
        self.api.error_response(error, &self.ids.next())
    }

    /// The response of a fault that replaces the operation.
    async fn fault_response(
        &self,
        request: &ReceivedRequest<A>,
        injected: &InjectedFault,
    ) -> Option<Result<HttpResponse, Interrupted>> {
        let unanswered = RequestOutcome { fault: injected.name(), ..RequestOutcome::default() };
        match injected.effect.as_ref()? {
            effect @ Effect::Status { status, code, retry_after } => {
                let error = effect.error(request.operation.map_or("Unknown", ApiOperation::name))?;
                let errorcode = code.map(|_| error.name);
                self.log(request, RequestOutcome { status: Some(*status), errorcode, ..unanswered });
                let mut response = match code {
                    None => reply::gateway_response(*status),
                    Some(_) => self.api.error_response(&error, &request.id),
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
                self.api.faults().hang(*duration).await;
                Some(Err(Interrupted::Close))
            }
            _ => None,
        }
    }

    async fn complete(
        &self,
        call: ApiResult<Call<A>>,
        request: &ReceivedRequest<A>,
        injected: InjectedFault,
    ) -> HttpResponse {
        let answer = match (call, self.api.check_durable()) {
            (Ok(call), Ok(())) => self.api.perform(call, injected.effect.as_ref()).await,
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        let (status, errorcode, counts) = match &answer {
            Ok(reply) => (reply.status.as_u16(), None, reply.counts),
            Err(error) => (error.status, Some(error.name), Counts::default()),
        };
        self.log(request, RequestOutcome { status: Some(status), errorcode, counts, fault: injected.name() });
        match answer {
            Ok(reply) => reply.into_response(&request.id),
            Err(error) => self.api.error_response(&error, &request.id),
        }
    }

    fn admit(
        &self,
        found: RouteMatch<A>,
        asked: ApiResult<RequestedVersion>,
        head: &RequestHead,
    ) -> ApiResult<Admitted<A>> {
        let caller = self.api.authorize(head, &found)?;
        Ok(Admitted { found, caller, version: asked?.served })
    }

    fn log(&self, request: &ReceivedRequest<A>, outcome: RequestOutcome) {
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
            time: self.api.timestamp(),
            request_id: &request.id,
            method: request.head.parts.method.as_str(),
            path: request.head.parts.uri.path(),
            agent: request
                .head
                .parts
                .headers
                .get(USER_AGENT)
                .and_then(|name| request_log::agent(name.as_bytes())),
            operation: request.operation.map(ApiOperation::name),
            version,
            status,
            errorcode,
            fault,
            milliseconds: u64::try_from(request.at.elapsed().as_millis()).unwrap_or(u64::MAX),
            counts,
        });
    }
}

/// A request before its body.
#[derive(Debug)]
pub(crate) struct RequestHead {
    pub(crate) parts: Parts,
    /// The client's certificates.
    pub(crate) presented: Presented,
}

/// A request, without its body.
struct ReceivedRequest<A: Api> {
    head: RequestHead,
    operation: Option<A::Operation>,
    version: Option<RequestedVersion>,
    id: String,
    at: Instant,
}

/// The operation of a request, its caller, and the version of the API.
struct Admitted<A: Api> {
    found: RouteMatch<A>,
    caller: A::Caller,
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

async fn read<A: Api, B>(admitted: Admitted<A>, head: &RequestHead, body: B) -> ApiResult<Call<A>>
where
    B: Body<Data = Bytes> + Unpin,
{
    let Admitted { found, caller, version } = admitted;
    let body = body::read(body, A::body_limit(found.operation)).await?;
    Ok(Call::new(found, caller, version, head, body))
}
