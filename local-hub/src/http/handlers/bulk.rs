//! `POST /devices`.

use cli_support::wrong_form::JsonMistake;
use std::collections::HashSet;

use http::StatusCode;
use hub_types::ErrorCode;
use hub_types::bulk::ImportMode;
use hub_types::limits::{MAX_BULK_ITEMS, OperationClass};
use hub_types::twin::number_errors;
use serde_json::Value;

use crate::api_error::{ApiError, ApiResult};
use crate::http::call::HubCall;
use crate::hub::Hub;
use crate::registry::{BulkEntry, attributes};
use crate::rest::reply::Reply;

pub(crate) async fn post(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    let items: Vec<Value> = call.json()?;
    if items.len() > MAX_BULK_ITEMS {
        let text = format!("a bulk call takes {MAX_BULK_ITEMS} items, this has {}", items.len());
        return Err(ApiError::new(ErrorCode::TooManyDevices, text));
    }
    let mut entries: Vec<BulkEntry> = items.into_iter().map(entry).collect::<ApiResult<_>>()?;
    for (item, error) in number_errors(call.body(), &["reported"]) {
        if let Some(entry) = entries.get_mut(item) {
            entry.item = Err(ApiError::argument(error.to_string()));
        }
    }
    check_distinct(&entries)?;
    hub.throttle().admit_bulk(OperationClass::Registry, entries.len(), "RegistryWrite").await?;
    let written = hub.write(|registry, now, journal| Ok(registry.bulk(entries, now, journal))).await?;
    let mut reply = Reply::document(&written.value)?.counts(written.counts);
    if !written.value.is_successful {
        reply.status = StatusCode::BAD_REQUEST;
    }
    Ok(reply)
}

/// Reads an item. One that names its device but breaks a rule fails alone; one without a name fails
/// the call.
fn entry(value: Value) -> ApiResult<BulkEntry> {
    let text = |name| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let Some(device) = text("id") else {
        return Err(ApiError::argument("an item of a bulk call has no `id`"));
    };
    let module = text("moduleId");
    let kept = value.as_object().map_or(Ok(()), attributes::refuse_in);
    let item = serde_path_to_error::deserialize(value).map_err(|error| {
        let reason = JsonMistake::new(error.inner()).to_string();
        ApiError::argument(format!("{}: {reason}", error.path()))
    });
    let item = kept.and(item);
    Ok(BulkEntry { device, module, item })
}

/// Refuses a call that names an identity twice. For twin updates a live hub accepts only one item
/// per device, regardless of modules.
fn check_distinct(entries: &[BulkEntry]) -> ApiResult<()> {
    let (mut identities, mut twins) = (HashSet::new(), HashSet::new());
    let twice = entries.iter().find(|entry| {
        !identities.insert((&entry.device, &entry.module))
            || (writes_twin(entry) && !twins.insert(&entry.device))
    });
    match twice {
        None => Ok(()),
        Some(entry) => Err(ApiError::new(
            ErrorCode::DeviceDefinedMultipleTimes,
            format!("DeviceDefinedMultipleTimes, device ID {}", entry.device),
        )),
    }
}

fn writes_twin(entry: &BulkEntry) -> bool {
    let mode = entry.item.as_ref().ok().and_then(|item| item.import_mode);
    matches!(mode, Some(ImportMode::UpdateTwin | ImportMode::UpdateTwinIfMatchETag))
}
