//! Responses in IoT Hub's form: errors and creations.

use http::header::CONNECTION;
use http::{HeaderName, HeaderValue, StatusCode};
use hub_types::Timestamp;
use serde::Serialize;

use crate::api_error::ApiError;
use crate::rest::reply::{HttpResponse, Reply, response};

impl Reply {
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

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    message: String,
    exception_message: String,
}

const ERROR_CODE: HeaderName = HeaderName::from_static("iothub-errorcode");

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
