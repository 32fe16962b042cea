//! Messages to the cloud, read at the management port and from a file.

use std::net::{Ipv4Addr, SocketAddr};

use local_hub::Config;
use mqtt_protocol_core::mqtt::packet::Qos;
use reqwest::Method;
use serde_json::{Value, json};

use crate::device::{Device, Login, create_device, create_module};
use crate::management::{ask, managed};
use crate::support::{TestHub, with_devices};

fn readable() -> Config {
    Config { management: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))), ..with_devices() }
}

/// The messages that a request selects.
async fn read(hub: &TestHub, query: &str) -> Vec<Value> {
    let mut response = open(hub, query).await;
    let mut text = Vec::new();
    while let Some(bytes) = response.chunk().await.unwrap() {
        text.extend_from_slice(&bytes);
    }
    lines(&text)
}

#[expect(clippy::disallowed_methods, reason = "the client of a test")]
fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn open(hub: &TestHub, query: &str) -> reqwest::Response {
    let url = format!("http://{}/telemetry?{query}", hub.hub.management_addr().unwrap());
    let request = client().get(url).bearer_auth(hub.hub.management_token().unwrap());
    let response = request.send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    response
}

fn lines(text: &[u8]) -> Vec<Value> {
    std::str::from_utf8(text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn operations(messages: &[Value]) -> Vec<String> {
    let operation = |message: &Value| {
        let identity = message["Properties"]["deviceId"].as_str().unwrap().to_owned();
        let module = message["Properties"]["moduleId"].as_str().map(|module| format!("/{module}"));
        let operation = message["Properties"]["opType"].as_str().unwrap();
        format!("{operation} {identity}{}", module.unwrap_or_default())
    };
    messages.iter().map(operation).collect()
}

#[tokio::test]
async fn changes_of_identities_and_twins_are_told_in_order() {
    let hub = TestHub::start_with(readable()).await;
    hub.client.put("/devices/d", None, &json!({"deviceId": "d"})).await.ok();
    hub.client.put("/devices/d/modules/m", None, &json!({"deviceId": "d", "moduleId": "m"})).await.ok();
    let patch = json!({"tags": {"site": "Ulm"}, "properties": {"desired": {"a": {"b": 1}}}});
    hub.client.patch("/twins/d", None, &patch).await.ok();
    hub.client.delete("/devices/d", Some("*")).await;

    let told = read(&hub, "").await;
    assert_eq!(
        operations(&told),
        [
            "createDeviceIdentity d",
            "createModuleIdentity d/m",
            "updateTwin d",
            "deleteModuleIdentity d/m",
            "deleteDeviceIdentity d"
        ]
    );
    let twin = &told[2];
    assert_eq!(twin["SystemProperties"]["messageSource"], "twinChangeEvents");
    assert_eq!(twin["Body"]["tags"], json!({"site": "Ulm"}));
    assert_eq!(twin["Body"]["properties"]["desired"], json!({"a": {"b": 1}, "$version": 2}));
    assert_eq!(told[0]["Body"]["deviceId"], "d");
    let numbers: Vec<_> = told.iter().map(|message| message["SequenceNumber"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);

    assert_eq!(read(&hub, "source=twinChangeEvents").await.len(), 1);
    assert_eq!(read(&hub, "deviceId=d&moduleId=m").await.len(), 2);
    assert_eq!(read(&hub, "since=3").await.len(), 2);
    assert_eq!(read(&hub, "deviceId=other").await.len(), 0);
    let (status, answer) = ask(&hub, Method::GET, "/telemetry?device=d", Value::Null).await;
    assert_eq!(status, 400);
    assert!(
        answer["error"].as_str().unwrap().contains("deviceId, moduleId, source, since and follow"),
        "{answer}"
    );
}

#[tokio::test]
async fn who_follows_is_told_what_comes() {
    let hub = TestHub::start_with(readable()).await;
    let mut following = open(&hub, "follow=true&deviceId=d2").await;
    for id in ["d1", "d2"] {
        hub.client.put(&format!("/devices/{id}"), None, &json!({"deviceId": id})).await.ok();
    }
    let first = following.chunk().await.unwrap().unwrap();
    assert_eq!(operations(&lines(&first)), ["createDeviceIdentity d2"]);
}

#[tokio::test]
async fn a_file_gets_each_message_as_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("telemetry.jsonl");
    let hub = TestHub::start_with(Config { telemetry: Some(file.clone()), ..Config::default() }).await;
    hub.client.put("/devices/d", None, &json!({"deviceId": "d"})).await.ok();
    assert_eq!(operations(&lines(&std::fs::read(&file).unwrap())), ["createDeviceIdentity d"]);
}

#[tokio::test]
async fn only_who_has_the_token_reads() {
    let hub = TestHub::start_with(managed()).await;
    let url = format!("http://{}/telemetry", hub.hub.management_addr().unwrap());
    assert_eq!(client().get(url).send().await.unwrap().status().as_u16(), 401);
}

#[tokio::test]
async fn what_devices_and_modules_send_can_be_read() {
    let hub = TestHub::start_with(readable()).await;
    let key = create_device(&hub.client, "d").await;
    let module_key = create_module(&hub.client, "d", "m").await;
    let mut device = Device::connect(&hub, Login::signed("d", &key)).await.unwrap();
    let topic = "devices/d/messages/events/%24.ct=application%2Fjson&%24.ce=utf-8&%24.mid=7&level=hot";
    device.publish(topic, "{\"t\": 21.5}", Qos::AtLeastOnce).await;
    let mut module = Device::connect(&hub, Login::signed("d/m", &module_key)).await.unwrap();
    module.publish("devices/d/modules/m/messages/events/", "raw", Qos::AtLeastOnce).await;

    let sent = read(&hub, "source=Telemetry").await;
    assert_eq!(sent.len(), 2, "{sent:?}");
    let (first, system) = (&sent[0], &sent[0]["SystemProperties"]);
    assert_eq!((&first["Body"], &first["Properties"]), (&json!({"t": 21.5}), &json!({"level": "hot"})));
    assert_eq!((&system["messageId"], &system["connectionDeviceId"]), (&json!("7"), &json!("d")));
    let method: Value = serde_json::from_str(system["connectionAuthMethod"].as_str().unwrap()).unwrap();
    assert_eq!(method, json!({"scope": "device", "type": "sas", "issuer": "iothub"}));
    assert!(system["connectionDeviceGenerationId"].as_str().is_some_and(|id| !id.is_empty()), "{system}");
    assert_eq!(sent[1]["Body"], "cmF3");
    assert_eq!(sent[1]["SystemProperties"]["connectionModuleId"], "m");
}
