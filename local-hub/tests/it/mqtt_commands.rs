//! Cloud-to-device messages: queued, delivered, acknowledged, purged.

use mqtt_protocol_core::mqtt::packet::Qos;
use reqwest::Method;
use serde_json::json;

use crate::device::{Device, Login, create_device};
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
