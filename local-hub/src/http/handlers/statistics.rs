//! `/statistics/devices` and `/statistics/service`.

use serde::Serialize;

use crate::api_error::ApiResult;
use crate::http::call::HubCall;
use crate::hub::Hub;
use crate::registry::Registry;
use crate::rest::reply::Reply;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeviceStatistics {
    total_device_count: usize,
    enabled_device_count: usize,
    disabled_device_count: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceStatistics {
    connected_device_count: usize,
}

pub(crate) fn devices(hub: &Hub, _call: HubCall) -> ApiResult<Reply> {
    let (total, disabled) = hub.read(|registry| (registry.device_count(), registry.disabled_count()));
    Reply::document(&DeviceStatistics {
        total_device_count: total,
        enabled_device_count: total - disabled,
        disabled_device_count: disabled,
    })
}

pub(crate) fn service(hub: &Hub, _call: HubCall) -> ApiResult<Reply> {
    let connected_device_count = hub.read(Registry::connected_count);
    Reply::document(&ServiceStatistics { connected_device_count })
}
