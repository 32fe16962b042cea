//! From a request to its answer.

use std::sync::Arc;

use http::Request;
use http::request::Parts;
use hyper::body::{Body, Bytes};

use super::call::Call;
use super::reply::{HttpResponse, Reply, refusal_response};
use super::request_log::Line;
use super::routes::{self, Found, Operation};
use super::{RequestLog, access, body, handlers, throttling};
use crate::hub::Hub;
use crate::random::RequestIds;
use crate::registry::{Answer, Counts};

/// What every connection serves.
#[derive(Debug)]
pub(crate) struct Service {
    hub: Arc<Hub>,
    log: Option<RequestLog>,
    ids: RequestIds,
}

impl Service {
    pub(crate) fn new(hub: Arc<Hub>, log: Option<RequestLog>) -> Self {
        Self { hub, log, ids: RequestIds::new() }
    }

    /// Answers one request.
    pub(crate) async fn answer<B>(self: &Arc<Self>, request: Request<B>) -> HttpResponse
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (parts, body) = request.into_parts();
        let found = routes::find(&parts.method, parts.uri.path());
        let operation = found.as_ref().ok().map(|found| found.operation);
        let call = match found.and_then(|found| self.admit(found, &parts)) {
            Ok(found) => read(found, &parts, body).await,
            Err(refusal) => {
                // A client that still sends when the connection closes may never see the answer.
                body::discard(body).await;
                Err(refusal)
            }
        };
        // A client that hangs up must not cut a write off between its effect and its line in the log.
        let service = Arc::clone(self);
        match tokio::spawn(async move { service.complete(call, &parts, operation).await }).await {
            Ok(response) => response,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    async fn complete(
        &self,
        call: Answer<Call>,
        parts: &Parts,
        operation: Option<Operation>,
    ) -> HttpResponse {
        let request_id = self.ids.next();
        let answer = match call {
            Ok(call) => self.perform(call).await,
            Err(refusal) => Err(refusal),
        };
        self.note(&request_id, parts, operation, &answer);
        match answer {
            Ok(reply) => reply.into_response(&request_id),
            Err(refusal) => refusal_response(&refusal, &request_id, self.hub.timestamp()),
        }
    }

    async fn perform(&self, call: Call) -> Answer<Reply> {
        let (operation, sent) = (call.operation, call.body.len());
        throttling::admit(&self.hub, operation).await?;
        let reply = handlers::perform(&self.hub, call).await?;
        throttling::charge(&self.hub, operation, sent, reply.body_len());
        Ok(reply)
    }

    fn admit(&self, found: Found, parts: &Parts) -> Answer<Found> {
        access::authorize(&self.hub, &parts.headers, &parts.uri, &found)?;
        access::check_api_version(&parts.uri)?;
        Ok(found)
    }

    fn note(&self, request_id: &str, parts: &Parts, operation: Option<Operation>, answer: &Answer<Reply>) {
        let Some(log) = &self.log else {
            return;
        };
        let (status, errorcode, counts) = match answer {
            Ok(reply) => (reply.status.as_u16(), None, reply.counts),
            Err(refusal) => (refusal.status, Some(refusal.name), Counts::default()),
        };
        log.write(&Line {
            time: self.hub.timestamp(),
            request_id,
            method: parts.method.as_str(),
            path: parts.uri.path(),
            operation: operation.map(Operation::name),
            status,
            errorcode,
            counts,
        });
    }
}

async fn read<B>(found: Found, parts: &Parts, body: B) -> Answer<Call>
where
    B: Body<Data = Bytes> + Unpin,
{
    let body = body::read(body, body::limit(found.operation)).await?;
    Ok(Call::new(found, parts.uri.clone(), parts.headers.clone(), body))
}
