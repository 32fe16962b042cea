//! `POST /devices/keys/regenerate`: new symmetric keys for many devices and modules.

use http::StatusCode;
use hub_types::limits::OperationClass;
use hub_types::{DeviceId, IdentityId, ModuleId};
use serde::{Deserialize, Serialize};

use crate::api_error::{ApiError, ApiResult};
use crate::http::call::HubCall;
use crate::hub::Hub;
use crate::registry::KeySlot;
use crate::rest::reply::Reply;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RegenerateKeysBody {
    policy_key: String,
    devices: Vec<IdentityName>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct IdentityName {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    module_id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RegenerateKeysResult {
    policy_key: String,
    errors: Vec<FailedRotation>,
    rotated_keys: Vec<RotatedKeys>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FailedRotation {
    #[serde(flatten)]
    name: IdentityName,
    error_code: &'static str,
    error_status: String,
}

/// The new keys, without those that did not change.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RotatedKeys {
    #[serde(flatten)]
    name: IdentityName,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_key: Option<hub_types::SymmetricKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secondary_key: Option<hub_types::SymmetricKey>,
}

pub(crate) async fn regenerate(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    let body: RegenerateKeysBody = call.document()?;
    let slot = KeySlot::parse(&body.policy_key)
        .ok_or_else(|| ApiError::argument("policyKey must be primaryKey, secondaryKey or both"))?;
    if body.devices.len() > MAX_IDENTITIES {
        return Err(ApiError::argument(format!("keys of at most {MAX_IDENTITIES} identities in one call")));
    }
    hub.throttle().admit_bulk(OperationClass::Registry, body.devices.len(), "RegistryWrite").await?;
    let written = hub.write(|registry, _, journal| {
        let (mut errors, mut rotated_keys) = (Vec::new(), Vec::new());
        for name in body.devices {
            match identity(&name).and_then(|identity| registry.renew_keys(&identity, slot, journal)) {
                Ok(keys) => rotated_keys.push(RotatedKeys {
                    name,
                    primary_key: Some(keys.primary).filter(|_| slot != KeySlot::Secondary),
                    secondary_key: Some(keys.secondary).filter(|_| slot != KeySlot::Primary),
                }),
                Err(error) => {
                    errors.push(FailedRotation { name, error_code: error.name, error_status: error.text });
                }
            }
        }
        Ok(RegenerateKeysResult { policy_key: body.policy_key, errors, rotated_keys })
    });
    let written = written.await?;
    let mut reply = Reply::document(&written.value)?.counts(written.counts);
    if !written.value.errors.is_empty() {
        reply.status = StatusCode::MULTI_STATUS;
    }
    Ok(reply)
}

fn identity(name: &IdentityName) -> ApiResult<IdentityId> {
    let illegal = |error: hub_types::id::IdError| ApiError::argument(error.to_string());
    let module = name.module_id.as_deref().filter(|id| !id.is_empty());
    let module = module.map(ModuleId::new).transpose().map_err(illegal)?;
    Ok(IdentityId::new(DeviceId::new(&name.id).map_err(illegal)?, module))
}

/// The largest number of identities, as for the other bulk operation.
const MAX_IDENTITIES: usize = hub_types::limits::MAX_BULK_ITEMS;
