//! Direct methods, from the service to a device or module and back.

use std::time::{Duration, Instant};

use mqtt_protocol_core::mqtt::packet::Qos;
use serde_json::{Value, json};

use crate::device::{Device, Login, create_device, create_module};
use crate::support::TestHub;

const METHODS: &str = "$iothub/methods/POST/#";

fn request(method: &str) -> Value {
    json!({"methodName": method, "payload": {"at": 5}, "responseTimeoutInSeconds": 60})
}

/// Responds to the next direct method with a status and a payload.
async fn answer(device: &mut Device, status: i32, payload: &str) -> (String, Vec<u8>) {
    let (topic, asked) = device.message().await;
    let rid = topic.split_once("?$rid=").unwrap().1;
    device.publish(&format!("$iothub/methods/res/{status}/?$rid={rid}"), payload, Qos::AtMostOnce).await;
    (topic.clone(), asked)
}

#[tokio::test]
async fn a_method_reaches_its_device_or_module_and_its_answer_comes_back() {
    let hub = TestHub::with_devices().await;
    let (key, module) = (create_device(&hub.client, "d").await, create_module(&hub.client, "d", "m").await);
    for (identity, key, path) in
        [("d", &key, "/twins/d/methods"), ("d/m", &module, "/twins/d/modules/m/methods")]
    {
        let mut device = Device::connect(&hub, Login::signed(identity, key)).await.unwrap();
        assert_eq!(device.subscribe(METHODS, Qos::AtLeastOnce).await, 1);
        let body = request("reboot");
        let call = hub.client.post(path, &body);
        let (called, (topic, asked)) = tokio::join!(call, answer(&mut device, 207, r#"{"ok": [1]}"#));
        assert!(topic.starts_with("$iothub/methods/POST/reboot/?$rid="), "{topic}");
        assert_eq!(asked, br#"{"at":5}"#);
        assert_eq!(called.ok(), json!({"status": 207, "payload": {"ok": [1]}}));

        let body = json!({"methodName": "x"});
        let call = hub.client.post(path, &body);
        let (called, (_, asked)) = tokio::join!(call, answer(&mut device, -1, ""));
        assert_eq!(asked, b"null");
        assert_eq!(called.ok(), json!({"status": -1, "payload": null}));
    }
}

#[tokio::test]
async fn answers_find_their_callers_in_any_order() {
    let hub = TestHub::with_devices().await;
    let key = create_device(&hub.client, "d").await;
    let mut device = Device::connect(&hub, Login::signed("d", &key)).await.unwrap();
    device.subscribe(METHODS, Qos::AtMostOnce).await;
    let (one, two) = (request("one"), request("two"));
    let (one, two, ()) = tokio::join!(
        hub.client.post("/twins/d/methods", &one),
        hub.client.post("/twins/d/methods", &two),
        async {
            let asked = [device.message().await.0, device.message().await.0];
            for topic in asked.iter().rev() {
                let rid = topic.split_once("?$rid=").unwrap().1;
                let name = topic.split('/').nth(3).unwrap();
                let topic = format!("$iothub/methods/res/200/?$rid={rid}");
                device.publish(&topic, &format!("\"{name}\""), Qos::AtLeastOnce).await;
            }
        }
    );
    assert_eq!((&one.ok()["payload"], &two.ok()["payload"]), (&json!("one"), &json!("two")));
}

#[tokio::test]
async fn who_is_not_there_or_takes_no_methods_is_not_online() {
    let hub = TestHub::with_devices().await;
    let key = create_device(&hub.client, "d").await;
    hub.client.post("/twins/d/methods", &request("x")).await.refused(404, "DeviceNotOnline");
    hub.client.post("/twins/missing/methods", &request("x")).await.refused(404, "DeviceNotFound");
    let mut device = Device::connect(&hub, Login::signed("d", &key)).await.unwrap();
    hub.client.post("/twins/d/methods", &request("x")).await.refused(404, "DeviceNotOnline");

    device.subscribe(METHODS, Qos::AtLeastOnce).await;
    let body = request("x");
    let call = hub.client.post("/twins/d/methods", &body);
    let (called, ()) = tokio::join!(call, async {
        device.message().await;
        device.disconnect().await;
    });
    called.refused(404, "DeviceNotOnline");
}

#[tokio::test]
async fn a_caller_can_wait_for_the_device_to_connect() {
    let hub = TestHub::with_devices().await;
    let key = create_device(&hub.client, "d").await;
    let body = json!({"methodName": "x", "connectTimeoutInSeconds": 60, "responseTimeoutInSeconds": 60});
    let call = hub.client.post("/twins/d/methods", &body);
    let (called, ()) = tokio::join!(call, async {
        let mut device = Device::connect(&hub, Login::signed("d", &key)).await.unwrap();
        device.subscribe(METHODS, Qos::AtLeastOnce).await;
        answer(&mut device, 200, "1").await;
    });
    assert_eq!(called.ok()["payload"], 1);
}

#[tokio::test]
async fn a_device_that_does_not_answer_in_time_is_a_gateway_timeout() {
    let hub = TestHub::with_devices().await;
    let key = create_device(&hub.client, "d").await;
    let mut device = Device::connect(&hub, Login::signed("d", &key)).await.unwrap();
    device.subscribe(METHODS, Qos::AtLeastOnce).await;
    let begin = Instant::now();
    let body = json!({"methodName": "x", "responseTimeoutInSeconds": 5});
    hub.client.post("/twins/d/methods", &body).await.refused(504, "GatewayTimeout");
    assert!(begin.elapsed() >= Duration::from_secs(5));
    // An answer that comes too late does no harm.
    answer(&mut device, 200, "1").await;
    device.ping().await;
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused() {
    let hub = TestHub::with_devices().await;
    let key = create_device(&hub.client, "d").await;
    let mut device = Device::connect(&hub, Login::signed("d", &key)).await.unwrap();
    device.subscribe(METHODS, Qos::AtLeastOnce).await;
    for body in [
        json!({}),
        json!({"methodName": ""}),
        json!({"methodName": "a/b"}),
        json!({"methodName": "a#"}),
        json!({"methodName": "x", "responseTimeoutInSeconds": 4}),
        json!({"methodName": "x", "connectTimeoutInSeconds": 301}),
    ] {
        hub.client.post("/twins/d/methods", &body).await.refused(400, "ArgumentInvalid");
    }
    let large = json!({"methodName": "x", "payload": "x".repeat(128 * 1024)});
    hub.client.post("/twins/d/methods", &large).await.refused(413, "MessageTooLarge");
    let body = request("x");
    let call = hub.client.post("/twins/d/methods", &body);
    let (called, _) = tokio::join!(call, answer(&mut device, 200, "no JSON"));
    called.refused(500, "ServerError");
    let reader = hub.client_of("registryRead");
    reader.post("/twins/d/methods", &request("x")).await.refused(401, "IotHubUnauthorizedAccess");
}
