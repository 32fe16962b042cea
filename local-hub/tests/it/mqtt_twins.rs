//! Twins over MQTT: reads, reports, and notifications of desired properties.

use mqtt_protocol_core::mqtt::packet::Qos;
use serde_json::{Value, json};

use crate::device::{Device, Login, create_device, create_module};
use crate::support::TestHub;

const DESIRED: &str = "$iothub/twin/PATCH/properties/desired/#";

fn desired(version: u64) -> String {
    format!("$iothub/twin/PATCH/properties/desired/?$version={version}")
}

async fn connected(hub: &TestHub, identity: &str) -> Device {
    let key = match identity.split_once('/') {
        None => create_device(&hub.client, identity).await,
        Some((device, module)) => {
            create_device(&hub.client, device).await;
            create_module(&hub.client, device, module).await
        }
    };
    Device::connect(hub, Login::signed(identity, &key)).await.unwrap()
}

async fn report(device: &mut Device, query: &str, patch: &str) -> (String, Value) {
    let topic = format!("$iothub/twin/PATCH/properties/reported/?{query}");
    device.publish(&topic, patch, Qos::AtLeastOnce).await;
    let (topic, payload) = device.message().await;
    (topic, serde_json::from_slice(&payload).unwrap_or(Value::Null))
}

#[tokio::test]
async fn a_device_reads_its_twin_without_tags_and_metadata() {
    let hub = TestHub::with_devices().await;
    for (identity, path) in [("d", "/twins/d"), ("e/m", "/twins/e/modules/m")] {
        let mut device = connected(&hub, identity).await;
        let patch = json!({"tags": {"site": "here"}, "properties": {"desired": {"a": {"b": 1.50}}}});
        hub.client.patch(path, None, &patch).await.ok();
        let twin = device.twin().await;
        assert_eq!(twin, json!({"desired": {"a": {"b": 1.5}, "$version": 2}, "reported": {"$version": 1}}));
    }
}

#[tokio::test]
async fn what_a_device_reports_is_merged_and_counted() {
    let hub = TestHub::with_devices().await;
    let mut device = connected(&hub, "d").await;
    device.subscribe("$iothub/twin/res/#", Qos::AtMostOnce).await;
    let (topic, _) = report(&mut device, "$rid=1", r#"{"fw": "1.2", "old": {"x": 1}}"#).await;
    assert_eq!(topic, "$iothub/twin/res/204/?$rid=1&$version=2");
    let (topic, payload) = report(&mut device, "$rid=2&$version=2", r#"{"old": null, "fw": "1.3"}"#).await;
    assert_eq!((topic.as_str(), payload), ("$iothub/twin/res/204/?$rid=2&$version=3", Value::Null));

    let twin = hub.client.get("/twins/d").await.ok();
    assert_eq!(twin["properties"]["reported"]["fw"], "1.3");
    assert_eq!(twin["properties"]["reported"]["$version"], 3);
    assert_eq!(twin["properties"]["reported"].get("old"), None);
    assert!(twin["properties"]["reported"]["$metadata"]["fw"]["$lastUpdated"].is_string());
    assert_eq!(twin["version"], 4, "the sum of the twin's etag and the reported version");
    assert_eq!(twin["etag"], "AAAAAAAAAAE=", "only the service's writes move it");
}

#[tokio::test]
async fn a_report_that_breaks_a_rule_is_refused_and_changes_nothing() {
    let hub = TestHub::with_devices().await;
    let mut device = connected(&hub, "d").await;
    device.subscribe("$iothub/twin/res/#", Qos::AtLeastOnce).await;
    let too_large = json!({ "a": "x".repeat(5000) }).to_string();
    let many =
        json!((0..10).map(|n| (format!("k{n}"), json!("x".repeat(4000)))).collect::<serde_json::Map<_, _>>());
    for (query, patch, status) in [
        ("$rid=1", "no JSON", 400),
        ("$rid=1", "[1]", 400),
        ("$rid=1", r#"{"a.b": 1}"#, 400),
        ("$rid=1", r#"{"a": 89014103211118510720}"#, 400),
        ("$rid=1", r#"{"a": [0.1234567890123456789]}"#, 400),
        ("$rid=1", too_large.as_str(), 400),
        ("$rid=1", &many.to_string(), 400),
        ("$rid=1&$version=7", r#"{"a": 1}"#, 412),
    ] {
        let (topic, payload) = report(&mut device, query, patch).await;
        assert_eq!(topic, format!("$iothub/twin/res/{status}/?$rid=1"), "{patch:.20}");
        assert_eq!(payload["errorCode"].as_u64().unwrap() / 1000, status);
        assert!(payload["message"].as_str().unwrap().starts_with("ErrorCode:"), "{payload}");
    }
    assert_eq!(hub.client.get("/twins/d").await.ok()["properties"]["reported"]["$version"], 1);
}

#[tokio::test]
async fn every_way_to_write_desired_properties_is_told() {
    let hub = TestHub::with_devices().await;
    let client = &hub.client;
    for (identity, path) in [("d", "/twins/d"), ("e/m", "/twins/e/modules/m")] {
        let mut device = connected(&hub, identity).await;
        assert_eq!(device.subscribe(DESIRED, Qos::AtLeastOnce).await, 1);
        let patch = |desired: Value| json!({"properties": {"desired": desired}});

        client.patch(path, None, &patch(json!({"a": 1, "b": {"c": 2}}))).await.ok();
        assert_eq!(device.json_on(&desired(2)).await, json!({"a": 1, "b": {"c": 2}, "$version": 2}));
        client.patch(path, None, &patch(json!({"a": null, "b": {"d": 3}}))).await.ok();
        assert_eq!(device.json_on(&desired(3)).await, json!({"a": null, "b": {"d": 3}, "$version": 3}));
        client.put(path, None, &patch(json!({"z": 1}))).await.ok();
        assert_eq!(device.json_on(&desired(4)).await, json!({"b": null, "z": 1, "$version": 4}));

        let (id, module) =
            identity.split_once('/').map_or((identity, None), |(id, module)| (id, Some(module)));
        let mut item = json!({"id": id, "importMode": "updateTwin", "properties": {"desired": {"y": 2}}});
        if let Some(module) = module {
            item["moduleId"] = module.into();
        }
        client.post("/devices", &json!([item])).await.ok();
        assert_eq!(device.json_on(&desired(5)).await, json!({"y": 2, "$version": 5}));
        client.patch(path, None, &patch(Value::Null)).await.ok();
        assert_eq!(device.json_on(&desired(6)).await, json!({"y": null, "z": null, "$version": 6}));
        // A write of tags only is none of the device's business: the next message is that of the next write.
        client.patch(path, None, &json!({"tags": {"site": "here"}})).await.ok();
        client.patch(path, None, &patch(json!({"last": true}))).await.ok();
        assert_eq!(device.json_on(&desired(7)).await, json!({"last": true, "$version": 7}));
    }
}

#[tokio::test]
async fn an_identity_update_in_bulk_tells_of_the_twin_in_it() {
    let hub = TestHub::with_devices().await;
    let mut device = connected(&hub, "d").await;
    device.subscribe(DESIRED, Qos::AtMostOnce).await;
    let identity = hub.client.get("/devices/d").await.ok();
    let item = json!({"id": "d", "importMode": "update", "authentication": identity["authentication"],
        "properties": {"desired": {"a": 1}}});
    hub.client.post("/devices", &json!([item])).await.ok();
    assert_eq!(device.json_on(&desired(2)).await, json!({"a": 1, "$version": 2}));
}

#[tokio::test]
async fn nobody_is_told_without_a_subscription() {
    let hub = TestHub::with_devices().await;
    let mut device = connected(&hub, "d").await;
    let patch = |value: u64| json!({"properties": {"desired": {"a": value}}});
    hub.client.patch("/twins/d", None, &patch(1)).await.ok();
    device.subscribe(DESIRED, Qos::AtLeastOnce).await;
    hub.client.patch("/twins/d", None, &patch(2)).await.ok();
    assert_eq!(device.json_on(&desired(3)).await["a"], 2);
    device.unsubscribe(DESIRED).await;
    hub.client.patch("/twins/d", None, &patch(3)).await.ok();
    device.subscribe(DESIRED, Qos::AtLeastOnce).await;
    hub.client.patch("/twins/d", None, &patch(4)).await.ok();
    assert_eq!(device.json_on(&desired(5)).await["a"], 4);
}

#[tokio::test]
async fn only_documented_filters_are_granted_and_at_most_at_quality_one() {
    let hub = TestHub::with_devices().await;
    let mut device = connected(&hub, "d").await;
    create_device(&hub.client, "other").await;
    for filter in
        ["#", "$iothub/#", "devices/+/messages/devicebound/#", "devices/other/messages/devicebound/#"]
    {
        assert_eq!(device.subscribe(filter, Qos::AtLeastOnce).await, 128, "{filter}");
    }
    assert_eq!(device.subscribe(DESIRED, Qos::ExactlyOnce).await, 1);
    assert_eq!(device.subscribe(DESIRED, Qos::AtMostOnce).await, 0);
}
