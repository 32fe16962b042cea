//! `/devices` and `/devices/{id}`.

use hub_types::DeviceId;
use hub_types::identity::DeviceSpec;

use crate::api_error::{ApiError, ApiResult};
use crate::http::call::HubCall;
use crate::hub::Hub;
use crate::rest::reply::Reply;

pub(crate) fn list(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    let top = call.parameter("top").and_then(|text| text.parse().ok());
    // Whatever is not a number within the bounds counts as the upper one.
    let top = top.filter(|top| (1..=MAX_TOP).contains(top)).unwrap_or(MAX_TOP);
    Reply::document(&hub.read(|registry| registry.first_devices(top)))
}

pub(crate) fn get(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    let id = call.device()?;
    let device = hub.read(|registry| registry.device(&id).map(|record| record.document(&id)));
    let device = device.map_err(|error| by_bare_id(error, &id))?;
    Ok(Reply::document(&device)?.etag(&device.etag))
}

pub(crate) async fn put(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    let id = call.device()?;
    let spec: DeviceSpec = call.document()?;
    call.refuse_attributes()?;
    if spec.device_id != id {
        return Err(ApiError::argument("deviceId in the body is not the id in the path"));
    }
    let demand = call.if_match()?;
    let written =
        hub.write(|registry, now, journal| registry.put_device(spec, demand.as_ref(), now, journal)).await;
    let written = written.map_err(|error| by_bare_id(error, &id))?;
    let device = written.value;
    let reply = Reply::document(&device)?.etag(&device.etag).counts(written.counts);
    Ok(if demand.is_none() { reply.of_creation() } else { reply })
}

pub(crate) async fn delete(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    let id = call.device()?;
    let demand = call.if_match()?.ok_or_else(ApiError::etag_missing)?;
    let written = hub.write(|registry, _, journal| registry.delete_device(&id, &demand, journal)).await;
    let written = written.map_err(|error| by_bare_id(error, &id))?;
    Ok(Reply::no_content().counts(written.counts))
}

/// Adapts an error to a request for the device itself: a live hub then names a missing device by
/// its bare id.
fn by_bare_id(error: ApiError, id: &DeviceId) -> ApiError {
    if error == ApiError::device_not_found(id) { ApiError::no_such_device(id) } else { error }
}

const MAX_TOP: usize = 1000;
