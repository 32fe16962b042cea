//! Cloud-to-device messages: `/devices/{id}/messages/deviceBound` and `/devices/{id}/commands`.
//!
//! Microsoft's SDKs send them over AMQP, which this hub does not support, so it accepts them over
//! REST.

use std::time::Duration;

use hub_types::{DeviceId, Timestamp};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use crate::api_error::{ApiError, ApiResult};
use crate::backend::Backend;
use crate::clock;
use crate::http::call::HubCall;
use crate::hub::Hub;
use crate::registry::NewMessage;
use crate::rest::reply::Reply;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PurgeResult {
    device_id: DeviceId,
    module_id: Option<()>,
    total_messages_purged: usize,
}

/// Puts the body into the device's queue.
pub(crate) async fn send(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    let device = call.device()?;
    let now = hub.timestamp();
    let message = NewMessage {
        expires: expiry(&call, now)?,
        properties: properties(&device, &call)?,
        payload: call.body.to_vec(),
    };
    hub.write(|registry, now, journal| registry.enqueue_message(&device, message, now, journal)).await?;
    Ok(Reply::no_content())
}

/// Deletes the waiting messages.
pub(crate) async fn purge(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    let device_id = call.device()?;
    let purged = hub.write(|registry, _, journal| registry.purge_messages(&device_id, journal)).await?;
    Reply::document(&PurgeResult { device_id, module_id: None, total_messages_purged: purged.value })
}

/// The properties in the encoding of the topic. System properties begin with `$.`; the headers are
/// those in which IoT Hub's HTTPS endpoint for devices shows them.
fn properties(device: &DeviceId, call: &HubCall) -> ApiResult<String> {
    let to = format!("/devices/{device}/messages/deviceBound");
    let mut pairs = vec![("$.to".to_owned(), to)];
    for (header, name) in SYSTEM_PROPERTIES {
        pairs.extend(call.header(header)?.map(|value| (name.to_owned(), value.to_owned())));
    }
    pairs.extend(call.headers_with_prefix("iothub-app-")?);
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    Ok(pairs.join("&"))
}

/// The expiry of the message: as the sender states it, otherwise after an hour, which is the
/// default setting of a hub.
fn expiry(call: &HubCall, now: Timestamp) -> ApiResult<Timestamp> {
    let Some(text) = call.header(EXPIRY)? else {
        return Ok(clock::later(now.into(), TIME_TO_LIVE).into());
    };
    text.parse()
        .map_err(|_| ApiError::argument(format!("{EXPIRY} must be a time such as 2026-11-22T10:00:00Z")))
}

const EXPIRY: &str = "iothub-expiry";

/// The default time to live. Source: "Send cloud-to-device messages from IoT Hub".
const TIME_TO_LIVE: Duration = Duration::from_hours(1);

const SYSTEM_PROPERTIES: [(&str, &str); 6] = [
    (EXPIRY, "$.exp"),
    ("iothub-messageid", "$.mid"),
    ("iothub-correlationid", "$.cid"),
    ("iothub-userid", "$.uid"),
    ("iothub-contenttype", "$.ct"),
    ("iothub-contentencoding", "$.ce"),
];
