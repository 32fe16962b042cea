//! Errors in the form of DPS.

use http::{HeaderName, HeaderValue, StatusCode};
use hub_types::Timestamp;
use hub_types::dps::error_code::ServiceError;

use super::super::errors;
use crate::api_error::ApiError;
use crate::rest::reply::{HttpResponse, response};

/// The response of a refused request.
pub(super) fn error_response(error: &ApiError, request_id: &str, now: Timestamp) -> HttpResponse {
    let number = errors::number(error);
    let document = ServiceError {
        error_code: number,
        tracking_id: Some(request_id.to_owned()),
        message: error.text.clone(),
        info: None,
        timestamp_utc: Some(now),
    };
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // Texts and numbers always have a JSON form.
    let mut response = response(status, serde_json::to_vec(&document).unwrap_or_default(), request_id);
    response.headers_mut().insert(ERROR_CODE, HeaderValue::from(number));
    response
}

const ERROR_CODE: HeaderName = HeaderName::from_static("x-ms-error-code");
