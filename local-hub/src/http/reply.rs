//! Answers in IoT Hub's form, refusals included.

use http::header::{CONNECTION, CONTENT_TYPE, ETAG};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use hub_types::{ErrorCode, Etag, Timestamp};
use serde::Serialize;

use super::answer_body::AnswerBody;
use crate::refusal::Refusal;
use crate::registry::{Answer, Counts};

/// What goes over the wire.
pub(crate) type HttpResponse = Response<AnswerBody>;

/// The answer to a request that was done.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    headers: Vec<(HeaderName, String)>,
    body: Vec<u8>,
    /// What was written, for the request log.
    pub(crate) counts: Counts,
}

impl Reply {
    /// 200 with a document.
    pub(crate) fn document(document: &impl Serialize) -> Answer<Self> {
        let body = serde_json::to_vec(document)
            .map_err(|error| Refusal::new(ErrorCode::ServerError, error.to_string()))?;
        Ok(Self::json(body))
    }

    /// 200 with a document that is JSON already.
    pub(crate) fn json(body: Vec<u8>) -> Self {
        Self { status: StatusCode::OK, headers: Vec::new(), body, counts: Counts::default() }
    }

    /// 204.
    pub(crate) fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, ..Self::json(Vec::new()) }
    }

    /// With the etag of the object that it shows: C# believes this header rather than the body.
    pub(crate) fn etag(self, etag: &Etag) -> Self {
        self.header(ETAG, etag.quoted())
    }

    pub(crate) fn header(mut self, name: HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn counts(mut self, counts: Counts) -> Self {
        self.counts = counts;
        self
    }

    pub(crate) fn body_len(&self) -> usize {
        self.body.len()
    }

    pub(crate) fn into_response(self, request_id: &str) -> HttpResponse {
        let mut response = response(self.status, self.body, request_id);
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// The envelope that the service SDKs read: the name of the code in the header and first in the text.
pub(crate) fn refusal_response(refusal: &Refusal, request_id: &str, now: Timestamp) -> HttpResponse {
    let envelope = Envelope {
        message: format!("ErrorCode:{};{}", refusal.name, refusal.text),
        exception_message: format!("Tracking ID:{request_id}-G2:-TimeStamp:{now}"),
    };
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // Two strings always have a JSON form.
    let body = serde_json::to_vec(&envelope).unwrap_or_default();
    let mut response = response(status, body, request_id);
    response.headers_mut().insert(ERROR_CODE, HeaderValue::from_static(refusal.name));
    if status == StatusCode::TOO_MANY_REQUESTS {
        // A live hub ends the connection too.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// An error of a gateway before the hub, which knows no envelope.
pub(crate) fn gateway_response(status: u16) -> HttpResponse {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let text = format!("{}\n", status.canonical_reason().unwrap_or("Error"));
    let mut response = Response::new(AnswerBody::whole(text.into_bytes()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    message: String,
    exception_message: String,
}

fn response(status: StatusCode, body: Vec<u8>, request_id: &str) -> HttpResponse {
    let has_body = !body.is_empty();
    let mut response = Response::new(AnswerBody::whole(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if has_body {
        // Node ignores a body that is not said to be JSON.
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

const ERROR_CODE: HeaderName = HeaderName::from_static("iothub-errorcode");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
