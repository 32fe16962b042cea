//! `/devices/{id}/modules` and `/devices/{id}/modules/{mid}`.

use hub_types::identity::ModuleSpec;

use crate::api_error::{ApiError, ApiResult};
use crate::http::call::HubCall;
use crate::hub::Hub;
use crate::rest::reply::Reply;

pub(crate) fn list(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    let device = call.device()?;
    Reply::document(&hub.read(|registry| registry.modules(&device))?)
}

pub(crate) fn get(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    let (device, id) = (call.device()?, call.module()?);
    Reply::document(&hub.read(|registry| registry.module(&device, &id))?)
}

pub(crate) async fn put(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    let (device, id) = (call.device()?, call.module()?);
    let spec: ModuleSpec = call.document()?;
    call.refuse_attributes()?;
    if spec.module_id != id {
        return Err(ApiError::argument("moduleId in the body is not the id in the path"));
    }
    if spec.device_id.as_ref().is_some_and(|given| *given != device) {
        return Err(ApiError::argument("deviceId in the body is not the id in the path"));
    }
    let demand = call.if_match()?;
    let written = hub
        .write(|registry, now, journal| registry.put_module(&device, spec, demand.as_ref(), now, journal))
        .await?;
    let reply = Reply::document(&written.value)?.counts(written.counts);
    Ok(if demand.is_none() { reply.of_creation() } else { reply })
}

pub(crate) async fn delete(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    let (device, id) = (call.device()?, call.module()?);
    let demand = call.if_match()?.ok_or_else(ApiError::etag_missing)?;
    let written = hub
        .write(|registry, _, journal| {
            registry.device_for_modules(&device)?;
            registry.delete_module(&device, &id, &demand, journal)
        })
        .await?;
    Ok(Reply::no_content().counts(written.counts))
}
