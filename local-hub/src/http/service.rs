//! From a request to its answer.

use std::sync::Arc;

use http::Request;
use http::request::Parts;
use hyper::body::{Body, Bytes};

use super::call::Call;
use super::reply::{HttpResponse, Reply, refusal_response};
use super::request_log::Line;
use super::routes::{self, Found, Operation};
use super::{RequestLog, access, body, handlers};
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
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> HttpResponse
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let request_id = self.ids.next();
        let (parts, body) = request.into_parts();
        let found = routes::find(&parts.method, parts.uri.path());
        let operation = found.as_ref().ok().map(|found| found.operation);
        let answer = match found.and_then(|found| self.admit(found, &parts)) {
            Ok(found) => self.perform(found, &parts, body).await,
            Err(refusal) => {
                // A client that still sends when the connection closes may never see the answer.
                body::discard(body).await;
                Err(refusal)
            }
        };
        self.note(&request_id, &parts, operation, &answer);
        match answer {
            Ok(reply) => reply.into_response(&request_id),
            Err(refusal) => refusal_response(&refusal, &request_id, self.hub.timestamp()),
        }
    }

    fn admit(&self, found: Found, parts: &Parts) -> Answer<Found> {
        access::authorize(&self.hub, &parts.headers, &parts.uri, &found)?;
        access::check_api_version(&parts.uri)?;
        Ok(found)
    }

    async fn perform<B>(&self, found: Found, parts: &Parts, body: B) -> Answer<Reply>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let body = body::read(body, body::limit(found.operation)).await?;
        let call = Call::new(found, parts.uri.clone(), parts.headers.clone(), body);
        handlers::perform(&self.hub, call).await
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
