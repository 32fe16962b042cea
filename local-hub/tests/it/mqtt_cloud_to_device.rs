//! Cloud-to-device messages: queued, delivered, acknowledged, purged.

use hub_types::sas::SasToken;
use mqtt_protocol_core::mqtt::packet::Qos;
use reqwest::Method;
use serde_json::json;

use crate::device::{Device, Login, create_device, resource};
use crate::support::{Client, Process, TestHub};

const COMMANDS: &str = "devices/d/messages/devicebound/#";
const SEND: &str = "/devices/d/messages/deviceBound";

async fn send(client: &Client, payload: &str) -> u16 {
    client.try_call(Method::POST, SEND, None, Some(payload.to_owned())).await.unwrap().status
}

async fn waiting(client: &Client) -> u64 {
    client.get("/devices/d").await.ok()["cloudToDeviceMessageCount"].as_u64().unwrap()
}

#[tokio::test]
async fn messages_wait_for_their_device_and_come_in_order() {
    let hub = TestHub::with_devices().await;
    let key = create_device(&hub.client, "d").await;
    for payload in ["one", "two"] {
        assert_eq!(send(&hub.client, payload).await, 204);
    }
    assert_eq!(waiting(&hub.client).await, 2);
    assert_eq!(hub.client.get("/twins/d").await.ok()["cloudToDeviceMessageCount"], 2);
    let mut device = Device::connect(&hub, Login::signed("d", &key)).await.unwrap();
    assert_eq!(device.subscribe(COMMANDS, Qos::AtLeastOnce).await, 1);
    assert_eq!(send(&hub.client, "three").await, 204);
    for payload in ["one", "two", "three"] {
        let (topic, got) = device.message().await;
        assert!(topic.starts_with("devices/d/messages/devicebound/%24%2Eto="), "{topic}");
        assert_eq!(got, payload.as_bytes());
    }
    device.ping().await;
    assert_eq!(waiting(&hub.client).await, 0);
}

#[tokio::test]
async fn what_is_not_acknowledged_comes_again() {
    let hub = TestHub::with_devices().await;
    let key = create_device(&hub.client, "d").await;
    let mut device = Device::connect(&hub, Login::signed("d", &key)).await.unwrap();
    device.subscribe(COMMANDS, Qos::AtLeastOnce).await;
    send(&hub.client, "hello").await;
    assert_eq!(device.unacknowledged_message().await.payload().as_slice(), b"hello");
    drop(device);
    let mut device = Device::connect(&hub, Login::signed("d", &key)).await.unwrap();
    assert_eq!(device.message().await.1, b"hello", "the subscription is kept, and so is the message");
    device.ping().await;
    assert_eq!(waiting(&hub.client).await, 0);
}

#[tokio::test]
async fn at_quality_zero_sent_is_gone() {
    let hub = TestHub::with_devices().await;
    let key = create_device(&hub.client, "d").await;
    send(&hub.client, "hello").await;
    let mut device = Device::connect(&hub, Login::signed("d", &key)).await.unwrap();
    assert_eq!(device.subscribe(COMMANDS, Qos::AtMostOnce).await, 0);
    assert_eq!(device.message().await.1, b"hello");
    device.ping().await;
    assert_eq!(waiting(&hub.client).await, 0);
}

#[tokio::test]
async fn the_queue_has_a_bound_and_can_be_purged() {
    let hub = TestHub::with_devices().await;
    create_device(&hub.client, "d").await;
    for _ in 0..50 {
        assert_eq!(send(&hub.client, "x").await, 204);
    }
    let full = hub.client.try_call(Method::POST, SEND, None, Some("x".to_owned())).await.unwrap();
    full.refused(403, "DeviceMaximumQueueDepthExceeded");
    let purged = hub.client.delete("/devices/d/commands", None).await.ok();
    assert_eq!(purged, json!({"deviceId": "d", "moduleId": null, "totalMessagesPurged": 50}));
    assert_eq!(waiting(&hub.client).await, 0);
    hub.client.delete("/devices/missing/commands", None).await.refused(404, "DeviceNotFound");
    let large = hub.client.try_call(Method::POST, SEND, None, Some("x".repeat(64 * 1024))).await.unwrap();
    large.refused(413, "MessageTooLarge");
}

#[tokio::test]
async fn a_message_that_was_taken_survives_the_end_of_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Process::serve(folder.path());
    create_device(&hub.client, "d").await;
    send(&hub.client, "hello").await;
    hub.kill();
    let hub = Process::serve(folder.path());
    assert_eq!(waiting(&hub.client).await, 1);
}

/// A client with a token that is valid for a week.
fn patient(hub: &TestHub) -> Client {
    let owner = hub.hub.connection_string("iothubowner").unwrap();
    let next_week = time::OffsetDateTime::now_utc().unix_timestamp() as u64 + 7 * 24 * 3600;
    let token = SasToken::sign(owner.host.as_str(), Some(&owner.policy), &owner.key, next_week);
    hub.client.authorized_by(Some(&token.expose_text()))
}

/// Waits until this many messages are in the queue.
async fn come_to(client: &Client, count: u64) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while waiting(client).await != count {
        assert!(tokio::time::Instant::now() < deadline, "{} messages wait", waiting(client).await);
    }
}

#[tokio::test]
async fn messages_that_nobody_has_taken_in_time_are_gone() {
    let hub = TestHub::with_devices().await;
    let client = patient(&hub);
    let key = create_device(&client, "d").await;
    let soon = time::OffsetDateTime::now_utc() + time::Duration::minutes(10);
    let soon = soon.format(&time::format_description::well_known::Rfc3339).unwrap();
    let until = async |expiry: &str| {
        client.call_with(Method::POST, SEND, &[("iothub-expiry", expiry)], "short").await
    };
    until(&soon).await.with_status(204);
    assert_eq!(send(&client, "an hour").await, 204);
    until("soon").await.refused(400, "ArgumentInvalid");
    hub.hub.clock().advance(time::Duration::minutes(11));
    come_to(&client, 1).await;
    let login = || Login::of("d").with_token(None, &key, &resource("d"), 7 * 24 * 3600);
    let mut device = Device::connect(&hub, login()).await.unwrap();
    device.subscribe(COMMANDS, Qos::AtLeastOnce).await;
    // It is not acknowledged, so it would come again.
    assert_eq!(device.unacknowledged_message().await.payload().as_slice(), b"an hour");
    drop(device);
    hub.hub.clock().advance(time::Duration::minutes(50));
    come_to(&client, 0).await;
    let mut device = Device::connect(&hub, login()).await.unwrap();
    let soon = time::OffsetDateTime::now_utc() + time::Duration::hours(2);
    let soon = soon.format(&time::format_description::well_known::Rfc3339).unwrap();
    until(&soon).await.with_status(204);
    let (topic, payload) = device.message().await;
    assert_eq!(payload, b"short");
    assert!(topic.contains("&%24%2Eexp=20"), "{topic}");
}
