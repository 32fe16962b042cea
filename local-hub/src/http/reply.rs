//! Responses in IoT Hub's form, including errors.

use http::header::{CONNECTION, CONTENT_TYPE, ETAG, VARY};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use hub_types::{ErrorCode, Etag, Timestamp};
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
    body: Vec<u8>,
    /// The counts of writes, for the request log.
    pub(crate) counts: Counts,
}

impl Reply {
    /// A response of 200 with a document.
    pub(crate) fn document(document: &impl Serialize) -> ApiResult<Self> {
        let body = serde_json::to_vec(document)
            .map_err(|error| ApiError::new(ErrorCode::ServerError, error.to_string()))?;
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

    /// Adapts the response to a creation: there a live hub writes times that have not occurred
    /// without a zone.
    pub(crate) fn of_creation(mut self) -> Self {
        // Quotes inside of strings are escaped, so this is a member of the document and no other text.
        for member in ["connectionStateUpdatedTime", "statusUpdatedTime", "lastActivityTime"] {
            let zoned = format!(r#""{member}":"{}""#, Timestamp::NEVER);
            let Some(start) = self.body.windows(zoned.len()).position(|text| text == zoned.as_bytes()) else {
                continue;
            };
            // The zone is the last character before the closing quote.
            self.body.remove(start + zoned.len() - 2);
        }
        self
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

/// The envelope that the service SDKs read: the name of the code in the header and first in the
/// text.
pub(crate) fn error_response(error: &ApiError, request_id: &str, now: Timestamp) -> HttpResponse {
    let envelope = Envelope {
        message: format!("ErrorCode:{};{}", error.name, error.text),
        exception_message: format!(
            "Tracking ID:{}-G2:-TimeStamp:{now}",
            request_id.replace('-', "").to_ascii_uppercase()
        ),
    };
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // Two strings always have a JSON form.
    let body = serde_json::to_vec(&envelope).unwrap_or_default();
    let mut response = response(status, body, request_id);
    response.headers_mut().insert(ERROR_CODE, HeaderValue::from_static(error.name));
    if status == StatusCode::TOO_MANY_REQUESTS {
        // A live hub ends the connection too.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
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

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    message: String,
    exception_message: String,
}

fn response(status: StatusCode, body: Vec<u8>, request_id: &str) -> HttpResponse {
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

const ERROR_CODE: HeaderName = HeaderName::from_static("iothub-errorcode");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_to_come_have_no_zone_in_the_answer_to_a_creation_and_other_texts_stay() {
        let reason = r#""statusUpdatedTime":"0001-01-01T00:00:00Z""#;
        let document = json!({"statusReason": reason, "statusUpdatedTime": "0001-01-01T00:00:00Z",
            "lastActivityTime": "2026-11-22T10:00:00Z"});
        let reply = Reply::document(&document).unwrap().of_creation();
        let shown: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(
            shown,
            json!({"statusReason": reason, "statusUpdatedTime": "0001-01-01T00:00:00",
                "lastActivityTime": "2026-11-22T10:00:00Z"})
        );
    }
}
