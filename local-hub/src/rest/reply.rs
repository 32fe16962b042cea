//! Responses, and the errors of gateways in front of a service.

use http::header::{CONTENT_TYPE, ETAG, VARY};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use hub_types::Etag;
use serde::Serialize;

use super::response_body::ResponseBody;
use crate::api_error::{ApiError, ApiResult};
use crate::registry::Counts;

/// An HTTP response with its body.
pub(crate) type HttpResponse = Response<ResponseBody>;

/// The response to a successful request.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    headers: Vec<(HeaderName, String)>,
    pub(crate) body: Vec<u8>,
    /// The counts of writes, for the request log.
    pub(crate) counts: Counts,
}

impl Reply {
    /// A response of 200 with a document.
    pub(crate) fn document(document: &impl Serialize) -> ApiResult<Self> {
        let body = serde_json::to_vec(document).map_err(|error| ApiError::server(error.to_string()))?;
        Ok(Self::json(body))
    }

    /// A response of 200 with a document that is JSON already.
    pub(crate) fn json(body: Vec<u8>) -> Self {
        Self { status: StatusCode::OK, headers: Vec::new(), body, counts: Counts::default() }
    }

    /// A response of 204.
    pub(crate) fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, ..Self::json(Vec::new()) }
    }

    /// Adds the etag of the device or configuration in the document. A live hub sends this header
    /// with no other documents; C# prefers it to the body.
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

/// An error of a gateway in front of the hub, which has no envelope.
pub(crate) fn gateway_response(status: u16) -> HttpResponse {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let text = format!("{}\n", status.canonical_reason().unwrap_or("Error"));
    let mut response = Response::new(ResponseBody::whole(text.into_bytes()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// A response with the id of its request; a body that is not empty is JSON.
pub(crate) fn response(status: StatusCode, body: Vec<u8>, request_id: &str) -> HttpResponse {
    let has_body = !body.is_empty();
    let mut response = Response::new(ResponseBody::whole(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if has_body {
        // Node ignores a body that is not said to be JSON.
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    }
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
