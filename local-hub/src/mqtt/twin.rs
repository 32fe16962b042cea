//! Twin requests of a device or module: the topic and the payload that answer them.

use hub_types::limits::OperationClass;
use hub_types::twin::JsonObject;
use hub_types::{ErrorCode, IdentityId};
use serde_json::json;

use super::topic::twin_response;
use crate::hub::Hub;
use crate::refusal::Refusal;
use crate::registry::Answer;

/// Reads the twin.
pub(crate) async fn get(hub: &Hub, identity: &IdentityId, rid: &str) -> (String, Vec<u8>) {
    let twin = match admit(hub, OperationClass::TwinRead, "TwinRead").await {
        Ok(()) => hub.device_view(identity),
        Err(refusal) => Err(refusal),
    };
    match twin {
        Ok(twin) => {
            hub.throttle().charge(twin.len());
            (twin_response(200, rid, None), twin)
        }
        Err(refusal) => refused(hub, rid, &refusal),
    }
}

/// Patches the reported properties.
pub(crate) async fn report(
    hub: &Hub,
    identity: &IdentityId,
    rid: &str,
    base: Option<u64>,
    payload: &[u8],
) -> (String, Vec<u8>) {
    match try_report(hub, identity, base, payload).await {
        // Node takes any payload for JSON, so there must be none.
        Ok(version) => (twin_response(204, rid, Some(version)), Vec::new()),
        Err(refusal) => refused(hub, rid, &refusal),
    }
}

async fn try_report(hub: &Hub, identity: &IdentityId, base: Option<u64>, payload: &[u8]) -> Answer<u64> {
    let patch: JsonObject = serde_json::from_slice(payload).map_err(|error| {
        let text = format!("reported properties must be a JSON object: {error}");
        Refusal::new(ErrorCode::IotHubFormatError, text)
    })?;
    admit(hub, OperationClass::TwinUpdate, "TwinUpdate").await?;
    let version = hub.report(identity, patch, base).await?;
    hub.throttle().charge(payload.len());
    Ok(version)
}

/// Waits as the service's throttle has a request wait, or refuses it.
pub(crate) async fn admit(hub: &Hub, class: OperationClass, kind: &str) -> Answer<()> {
    hub.throttle().admit(class, 1, kind).await?;
    hub.throttle().check_quota()
}

/// Node and Python look at the status in the topic; Node shows the text of the payload.
fn refused(hub: &Hub, rid: &str, refusal: &Refusal) -> (String, Vec<u8>) {
    let number = ErrorCode::from_name(refusal.name).map_or(0, ErrorCode::number);
    let now = hub.timestamp().to_string();
    let payload = json!({
        "errorCode": number,
        "message": format!("ErrorCode:{};{}", refusal.name, refusal.text),
        "trackingId": format!("{rid}-TimeStamp:{now}"),
        "timestampUtc": now,
    });
    (twin_response(refusal.status, rid, None), payload.to_string().into_bytes())
}
