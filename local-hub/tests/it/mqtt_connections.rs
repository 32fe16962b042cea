//! The state of connections: connection state, activity, and the end of replaced connections.

use mqtt_protocol_core::mqtt::packet::Qos;
use serde_json::{Value, json};

use crate::device::{Device, Login, create_device, create_module, self_signed};
use crate::support::{TestHub, with_devices};

const NEVER: &str = "0001-01-01T00:00:00Z";

/// Waits until the twin of an identity shows this connection state.
async fn wait_for_state(hub: &TestHub, path: &str, state: &str) -> Value {
    for _ in 0..600 {
        let twin = hub.client.get(path).await.ok();
        if twin["connectionState"] == state {
            return twin;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{path} did not become {state}");
}

async fn connected_devices(hub: &TestHub) -> Value {
    hub.client.get("/statistics/service").await.ok()["connectedDeviceCount"].clone()
}

#[tokio::test]
async fn connection_state_and_activity_are_shown_everywhere() {
    let hub = TestHub::with_devices().await;
    let (key, module) = (create_device(&hub.client, "d").await, create_module(&hub.client, "d", "m").await);
    assert_eq!(hub.client.get("/twins/d").await.ok()["lastActivityTime"], NEVER);
    let device = Device::connect(&hub, Login::signed("d", &key)).await.unwrap();
    let module = Device::connect(&hub, Login::signed("d/m", &module)).await.unwrap();
    for path in ["/devices/d", "/twins/d", "/devices/d/modules/m", "/twins/d/modules/m"] {
        let shown = hub.client.get(path).await.ok();
        assert_eq!(shown["connectionState"], "Connected", "{path}");
        assert_ne!(shown["lastActivityTime"], NEVER, "{path}");
    }
    let identity = hub.client.get("/devices/d").await.ok();
    let since = identity["connectionStateUpdatedTime"].as_str().unwrap();
    assert_ne!(since, NEVER);
    assert_eq!(connected_devices(&hub).await, 1, "modules do not count");
    let found =
        hub.client.query("SELECT deviceId FROM devices WHERE connectionState = 'Connected'", &[]).await;
    assert_eq!(found.ok(), json!([{"deviceId": "d"}]));
    assert_eq!(hub.client.get("/twins/d").await.ok()["etag"], "AAAAAAAAAAE=", "connecting is no write");

    device.disconnect().await;
    module.disconnect().await;
    wait_for_state(&hub, "/twins/d", "Disconnected").await;
    wait_for_state(&hub, "/twins/d/modules/m", "Disconnected").await;
    let identity = hub.client.get("/devices/d").await.ok();
    assert!(identity["connectionStateUpdatedTime"].as_str().unwrap() > since);
    assert_eq!(connected_devices(&hub).await, 0);
}

#[tokio::test]
async fn a_second_connection_drops_the_first() {
    let hub = TestHub::with_devices().await;
    let key = create_device(&hub.client, "d").await;
    let mut first = Device::connect(&hub, Login::signed("d", &key)).await.unwrap();
    let mut second = Device::connect(&hub, Login::signed("d", &key)).await.unwrap();
    first.closed().await;
    second.twin().await;
    assert_eq!(hub.client.get("/twins/d").await.ok()["connectionState"], "Connected");
    assert_eq!(connected_devices(&hub).await, 1);
}

#[tokio::test]
async fn who_loses_the_right_to_be_connected_is_cut_off() {
    let hub = TestHub::with_devices().await;
    let client = &hub.client;
    let any = Some("*");
    for change in ["disable", "delete", "keys", "type", "bulk disable", "bulk delete", "delete and create"] {
        let key = create_device(client, "d").await;
        let module_key = create_module(client, "d", "m").await;
        let bystander = create_device(client, "e").await;
        let mut device = Device::connect(&hub, Login::signed("d", &key)).await.unwrap();
        let mut module = Device::connect(&hub, Login::signed("d/m", &module_key)).await.unwrap();
        let mut bystander = Device::connect(&hub, Login::signed("e", &bystander)).await.unwrap();
        let keys_of_d = client.get("/devices/d").await.ok()["authentication"].clone();
        match change {
            "disable" => {
                let body = json!({"deviceId": "d", "status": "disabled", "authentication": keys_of_d});
                client.put("/devices/d", any, &body).await.ok();
            }
            "delete" => assert_eq!(client.delete("/devices/d", any).await.status, 204),
            "keys" => {
                client.put("/devices/d", any, &json!({"deviceId": "d"})).await.ok();
            }
            "type" => {
                let body = json!({"deviceId": "d", "authentication": {"type": "certificateAuthority"}});
                client.put("/devices/d", any, &body).await.ok();
            }
            "bulk disable" => {
                let item = json!({"id": "d", "importMode": "update", "status": "disabled", "authentication": keys_of_d});
                client.post("/devices", &json!([item])).await.ok();
            }
            "bulk delete" => {
                client.post("/devices", &json!([{"id": "d", "importMode": "delete"}])).await.ok();
            }
            _ => {
                assert_eq!(client.delete("/devices/d", any).await.status, 204);
                client
                    .put("/devices/d", None, &json!({"deviceId": "d", "authentication": keys_of_d}))
                    .await
                    .ok();
            }
        }
        device.closed().await;
        if change == "keys" || change == "type" {
            module.ping().await;
        } else {
            module.closed().await;
        }
        bystander.ping().await;
        assert_eq!(connected_devices(&hub).await, 1, "{change}");
        for id in ["d", "e"] {
            client.delete(&format!("/devices/{id}"), any).await;
        }
    }
}

#[tokio::test]
async fn another_thumbprint_cuts_a_certificate_off() {
    let hub = TestHub::with_devices().await;
    let credential = self_signed("d");
    let thumbprint = hub_types::thumbprint::Sha256Thumbprint::of_der(&credential.chain[0]).to_string();
    let body = |thumbprint: &str| {
        json!({"deviceId": "d", "authentication": {"type": "selfSigned",
            "x509Thumbprint": {"primaryThumbprint": thumbprint, "secondaryThumbprint": null}}})
    };
    hub.client.put("/devices/d", None, &body(&thumbprint)).await.ok();
    let mut device = Device::connect(&hub, Login::of("d").with_certificate(credential)).await.unwrap();
    hub.client.put("/devices/d", Some("*"), &body(&thumbprint)).await.ok();
    device.ping().await;
    hub.client.put("/devices/d", Some("*"), &body(&"A".repeat(64))).await.ok();
    device.closed().await;
}

#[tokio::test]
async fn a_token_that_expires_ends_its_connection() {
    let hub = TestHub::with_devices().await;
    let key = create_device(&hub.client, "d").await;
    let login = Login::of("d").with_token(None, &key, "localhost/devices/d", 3);
    let mut device = Device::connect(&hub, login).await.unwrap();
    device.closed().await;
    wait_for_state(&hub, "/twins/d", "Disconnected").await;
}

#[tokio::test]
async fn who_says_nothing_for_one_and_a_half_keep_alives_is_cut_off() {
    let hub = TestHub::with_devices().await;
    let key = create_device(&hub.client, "d").await;
    let mut device =
        Device::connect(&hub, Login { keep_alive: 2, ..Login::signed("d", &key) }).await.unwrap();
    device.closed().await;
    wait_for_state(&hub, "/twins/d", "Disconnected").await;
}

#[tokio::test]
async fn subscriptions_outlive_a_connection_unless_the_session_is_clean() {
    let hub = TestHub::with_devices().await;
    let key = create_device(&hub.client, "d").await;
    let (mut device, _, present) = Device::try_connect(&hub, Login::signed("d", &key)).await;
    assert!(!present, "there was no session yet");
    device.subscribe("$iothub/twin/PATCH/properties/desired/#", Qos::AtLeastOnce).await;
    device.disconnect().await;

    let (mut device, _, present) = Device::try_connect(&hub, Login::signed("d", &key)).await;
    assert!(present);
    hub.client.patch("/twins/d", None, &json!({"properties": {"desired": {"a": 1}}})).await.ok();
    let told = device.json_on("$iothub/twin/PATCH/properties/desired/?$version=2").await;
    assert_eq!(told["a"], 1);

    let (_, _, present) = Device::try_connect(&hub, Login::signed("d", &key).clean()).await;
    assert!(!present);
    let (_, _, present) = Device::try_connect(&hub, Login::signed("d", &key)).await;
    assert!(!present, "the clean session has ended the old one");
}

#[tokio::test]
async fn telemetry_is_counted_and_is_activity() {
    let hub = TestHub::with_devices().await;
    let key = create_device(&hub.client, "d").await;
    let module_key = create_module(&hub.client, "d", "m").await;
    let mut device = Device::connect(&hub, Login::signed("d", &key)).await.unwrap();
    let before = hub.client.get("/twins/d").await.ok()["lastActivityTime"].as_str().unwrap().to_owned();
    device.publish("devices/d/messages/events/", "1", Qos::AtLeastOnce).await;
    device.publish("devices/d/messages/events/%24.ct=application%2Fjson&a=b", "{}", Qos::AtLeastOnce).await;
    let mut module = Device::connect(&hub, Login::signed("d/m", &module_key)).await.unwrap();
    module.publish("devices/d/modules/m/messages/events/", "3", Qos::AtLeastOnce).await;
    assert_eq!(hub.hub.telemetry_count(), 3);
    let after = hub.client.get("/twins/d").await.ok()["lastActivityTime"].as_str().unwrap().to_owned();
    assert!(after > before, "{after} {before}");
}

#[tokio::test]
async fn a_model_id_is_shown_in_the_twin_and_is_no_write() {
    let hub = TestHub::with_devices().await;
    let key = create_device(&hub.client, "d").await;
    let login = Login::signed("d", &key);
    let user_name = format!("{}&model-id=dtmi%3Acom%3Aexample%3BThermostat%3B1", login.user_name);
    let _device = Device::connect(&hub, Login { user_name, ..login }).await.unwrap();
    let twin = hub.client.get("/twins/d").await.ok();
    assert_eq!((&twin["modelId"], &twin["version"]), (&json!("dtmi:com:example;Thermostat;1"), &json!(2)));
}

#[tokio::test]
async fn a_hub_without_a_listener_for_devices_has_none() {
    let hub = TestHub::start().await;
    assert_eq!(hub.hub.mqtt_addr(), None);
    let hub = TestHub::start_with(with_devices()).await;
    assert!(hub.hub.mqtt_addr().is_some_and(|address| address.port() != 0));
}

#[tokio::test]
async fn a_shutdown_hangs_up() {
    let hub = TestHub::with_devices().await;
    let key = create_device(&hub.client, "d").await;
    let mut device = Device::connect(&hub, Login::signed("d", &key)).await.unwrap();
    hub.hub.shutdown().await;
    device.closed().await;
}
