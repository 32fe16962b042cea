//! From a request to its answer.

use std::sync::Arc;

use http::{Method, Request, Uri};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hub_types::ErrorCode;
use hyper::body::Body;
use hyper::body::Bytes;
use tokio::time::timeout;

use super::call::Call;
use super::reply::{HttpResponse, Reply, refusal_response};
use super::request_log::Line;
use super::routes::{self, Found, Operation};
use super::{RequestLog, access, handlers};
use crate::hub::Hub;
use crate::random::RequestIds;
use crate::refusal::Refusal;
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
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let request_id = self.ids.next();
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let found = routes::find(&method, uri.path());
        let operation = found.as_ref().ok().map(|found| found.operation);
        let answer = match found {
            Ok(found) => self.perform(found, request).await,
            Err(refusal) => Err(refusal),
        };
        self.note(&request_id, &method, &uri, operation, &answer);
        match answer {
            Ok(reply) => reply.into_response(&request_id),
            Err(refusal) => refusal_response(&refusal, &request_id, self.hub.timestamp()),
        }
    }

    async fn perform<B>(&self, found: Found, request: Request<B>) -> Answer<Reply>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        access::authorize(&self.hub, &parts.headers, &parts.uri, &found)?;
        access::check_api_version(&parts.uri)?;
        let body = read_body(found.operation, body).await?;
        handlers::perform(&self.hub, Call::new(found, parts.uri, parts.headers, body)).await
    }

    fn note(
        &self,
        request_id: &str,
        method: &Method,
        uri: &Uri,
        operation: Option<Operation>,
        answer: &Answer<Reply>,
    ) {
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
            method: method.as_str(),
            path: uri.path(),
            operation: operation.map(Operation::name),
            status,
            errorcode,
            counts,
        });
    }
}

async fn read_body<B>(operation: Operation, body: B) -> Answer<Bytes>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let limit = match operation {
        Operation::BulkRegistry => MAX_BULK_BODY,
        _ => MAX_BODY,
    };
    let collected = timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Refusal::new(ErrorCode::MessageTooLarge, format!("the body has more than {limit} bytes")))
        }
        Ok(Err(_)) => Err(Refusal::argument("the body ended early")),
        Err(_) => Err(Refusal {
            status: 408,
            name: ErrorCode::GenericTimeout.name(),
            text: "the body took too long to arrive".to_owned(),
        }),
    }
}

const BODY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);
/// Ample for a twin of full size with its metadata, which clients send back.
const MAX_BODY: usize = 2 * 1024 * 1024;
/// 100 items with twins of full size.
const MAX_BULK_BODY: usize = 8 * 1024 * 1024;
