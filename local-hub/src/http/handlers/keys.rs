//! `POST /devices/keys/regenerate`: new symmetric keys for many devices and modules.

use http::StatusCode;
use hub_types::{DeviceId, IdentityId, ModuleId};
use serde::{Deserialize, Serialize};

use crate::api_error::{ApiError, ApiResult};
use crate::http::call::Call;
use crate::http::reply::Reply;
use crate::hub::Hub;
use crate::registry::KeySlot;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RegenerateKeysBody {
    policy_key: String,
    devices: Vec<Named>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    module_id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Regenerated {
    policy_key: String,
    errors: Vec<Failed>,
    rotated_keys: Vec<Rotated>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failed {
    #[serde(flatten)]
    named: Named,
    error_code: &'static str,
    error_status: String,
}

/// The new keys, without those that did not change.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rotated {
    #[serde(flatten)]
    named: Named,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_key: Option<hub_types::SymmetricKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secondary_key: Option<hub_types::SymmetricKey>,
}

pub(crate) async fn regenerate(hub: &Hub, call: Call) -> ApiResult<Reply> {
    let body: RegenerateKeysBody = call.document()?;
    let slot = KeySlot::parse(&body.policy_key)
        .ok_or_else(|| ApiError::argument("policyKey must be primaryKey, secondaryKey or both"))?;
    if body.devices.len() > MAX_IDENTITIES {
        return Err(ApiError::argument(format!("keys of at most {MAX_IDENTITIES} identities in one call")));
    }
    hub.throttle().admit_bulk(body.devices.len()).await?;
    let written = hub.write(|registry, _, journal| {
        let (mut errors, mut rotated_keys) = (Vec::new(), Vec::new());
        for named in body.devices {
            match identity(&named).and_then(|identity| registry.renew_keys(&identity, slot, journal)) {
                Ok(keys) => rotated_keys.push(Rotated {
                    named,
                    primary_key: Some(keys.primary).filter(|_| slot != KeySlot::Secondary),
                    secondary_key: Some(keys.secondary).filter(|_| slot != KeySlot::Primary),
                }),
                Err(error) => {
                    errors.push(Failed { named, error_code: error.name, error_status: error.text });
                }
            }
        }
        Ok(Regenerated { policy_key: body.policy_key, errors, rotated_keys })
    });
    let written = written.await?;
    let mut reply = Reply::document(&written.value)?.counts(written.counts);
    if !written.value.errors.is_empty() {
        reply.status = StatusCode::MULTI_STATUS;
    }
    Ok(reply)
}

fn identity(named: &Named) -> ApiResult<IdentityId> {
    let illegal = |error: hub_types::id::IdError| ApiError::argument(error.to_string());
    let module = named.module_id.as_deref().filter(|id| !id.is_empty());
    let module = module.map(ModuleId::new).transpose().map_err(illegal)?;
    Ok(IdentityId::new(DeviceId::new(&named.id).map_err(illegal)?, module))
}

/// The largest number of identities, as for the other bulk operation.
const MAX_IDENTITIES: usize = hub_types::limits::MAX_BULK_ITEMS;
