//! `/twins/{id}` and `/twins/{id}/modules/{mid}`.

use hub_types::twin::{TwinPatch, TwinRuleError};
use hub_types::{IdentityId, IfMatch};

use crate::api_error::{ApiError, ApiResult};
use crate::http::call::HubCall;
use crate::hub::Hub;
use crate::registry::{Registry, Shape};
use crate::rest::reply::Reply;
use crate::rest::version::ApiVersion;

pub(crate) fn get(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    let identity = call.identity()?;
    hub.read(|registry| document(registry, &identity, call.version))
}

pub(crate) async fn patch(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    call.refuse_attributes()?;
    let patch = TwinPatch::from_body(call.exact_document()?).map_err(illegal)?;
    let (identity, demand) = (call.identity()?, demand(&call)?);
    let written = hub
        .write(|registry, now, journal| {
            registry.patch_twin(&identity, patch, &demand, now, journal)?;
            document(registry, &identity, call.version)
        })
        .await?;
    Ok(written.value.counts(written.counts))
}

pub(crate) async fn put(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    call.refuse_attributes()?;
    let with = TwinPatch::replacement(call.exact_document()?).map_err(illegal)?;
    let (identity, demand) = (call.identity()?, demand(&call)?);
    let written = hub
        .write(|registry, now, journal| {
            registry.replace_twin(&identity, with, &demand, now, journal)?;
            document(registry, &identity, call.version)
        })
        .await?;
    Ok(written.value.counts(written.counts))
}

/// The twin, serialized while the registry is locked: that costs less than a copy.
fn document(registry: &Registry, identity: &IdentityId, version: ApiVersion) -> ApiResult<Reply> {
    let shape = Shape { model_id: version.has_model_id(), ..Shape::default() };
    Reply::document(&registry.twin(identity)?.shaped(shape))
}

/// The condition of the request. For twins an absent `If-Match` means `*`.
fn demand(call: &HubCall) -> ApiResult<IfMatch> {
    Ok(call.if_match()?.unwrap_or(IfMatch::Any))
}

fn illegal(error: TwinRuleError) -> ApiError {
    ApiError::argument(error.to_string())
}
