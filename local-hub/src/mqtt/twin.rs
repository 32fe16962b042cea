//! Twin requests of a device or module: topic and payload of their responses.

use cli_support::wrong_form::JsonMistake;
use hub_types::limits::OperationClass;
use hub_types::twin::{JsonObject, check_numbers};
use hub_types::{ErrorCode, IdentityId};
use serde_json::json;

use super::topic::twin_response;
use crate::api_error::{ApiError, ApiResult};
use crate::backend::Backend;
use crate::hub::Hub;

/// The response to a twin request.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
}

/// Reads the twin.
pub(crate) async fn get(hub: &Hub, identity: &IdentityId, rid: &str) -> ApiResult<Response> {
    admit(hub, OperationClass::TwinRead, "TwinRead").await?;
    let payload = hub.device_view(identity)?;
    hub.throttle().charge(payload.len());
    Ok(Response { status: 200, topic: twin_response(200, rid, None), payload })
}

/// Patches the reported properties.
pub(crate) async fn report(
    hub: &Hub,
    identity: &IdentityId,
    rid: &str,
    base: Option<u64>,
    payload: &[u8],
) -> ApiResult<Response> {
    let patch: JsonObject = serde_json::from_slice(payload).map_err(|error| {
        let text = format!("reported properties must be a JSON object: {}", JsonMistake::new(&error));
        ApiError::new(ErrorCode::IotHubFormatError, text)
    })?;
    check_numbers(payload, &[])
        .map_err(|error| ApiError::argument(format!("properties.reported.{error}")))?;
    admit(hub, OperationClass::TwinUpdate, "TwinUpdate").await?;
    let version = hub.report(identity, patch, base).await?;
    hub.throttle().charge(payload.len());
    // Node takes any payload for JSON, so there must be none.
    Ok(Response { status: 204, topic: twin_response(204, rid, Some(version)), payload: Vec::new() })
}

/// Delays a request by the service's throttle, or refuses it.
pub(crate) async fn admit(hub: &Hub, class: OperationClass, kind: &str) -> ApiResult<()> {
    hub.throttle().admit(class, 1, kind).await?;
    hub.throttle().check_quota()
}

/// The response to a refused request. Node and Python read the status in the topic; Node shows the
/// text of the payload.
pub(crate) fn error_response(hub: &Hub, rid: &str, error: &ApiError) -> Response {
    let now = hub.timestamp().to_string();
    let payload = json!({
        "errorCode": error.number,
        "message": format!("ErrorCode:{};{}", error.name, error.text),
        "trackingId": format!("{rid}-TimeStamp:{now}"),
        "timestampUtc": now,
    });
    let (status, topic) = (error.status, twin_response(error.status, rid, None));
    Response { status, topic, payload: payload.to_string().into_bytes() }
}
