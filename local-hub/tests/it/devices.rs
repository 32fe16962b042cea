//! `/devices`, `/devices/{id}`, `/statistics`.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, TestHub};

#[tokio::test]
async fn a_device_is_answered_as_the_service_does() {
    let hub = TestHub::start().await;
    // The body that `az` sends.
    let body = json!({"deviceId": "pump-0001", "status": "enabled",
        "authentication": {"symmetricKey": {}, "type": "sas"}, "capabilities": {"iotEdge": false}});
    let answer = hub.client.put("/devices/pump-0001?api-version=2024-03-31", None, &body).await;
    let device = answer.ok();
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    let etag = format!("\"{}\"", device["etag"].as_str().unwrap());
    assert_eq!(answer.header("etag"), Some(etag.as_str()));
    assert_eq!(device["authentication"]["symmetricKey"]["primaryKey"].as_str().unwrap().len(), 44);
    let names: Vec<&str> = answer.text.split('"').filter(|text| MEMBERS.contains(text)).collect();
    assert_eq!(names, MEMBERS, "the order matters: C# needs `type` after the other two");
    let found = hub.client.get("/devices/pump-0001").await.ok();
    for member in MEMBERS.iter().filter(|member| device.get(**member).is_some() && !member.ends_with("Time"))
    {
        assert_eq!(found[*member], device[*member], "{member}");
    }
}

const MEMBERS: [&str; 15] = [
    "deviceId",
    "generationId",
    "etag",
    "connectionState",
    "status",
    "statusReason",
    "connectionStateUpdatedTime",
    "statusUpdatedTime",
    "lastActivityTime",
    "cloudToDeviceMessageCount",
    "authentication",
    "symmetricKey",
    "x509Thumbprint",
    "type",
    "capabilities",
];

#[tokio::test]
async fn conditions_on_etags_decide() {
    let hub = TestHub::start().await;
    let (client, body) = (&hub.client, json!({"deviceId": "d"}));
    client.put("/devices/d", Some("\"*\""), &body).await.refused(404, "DeviceNotFound");
    let etag = client.put("/devices/d", None, &body).await.ok()["etag"].as_str().unwrap().to_owned();
    client.put("/devices/d", None, &body).await.refused(409, "DeviceAlreadyExists");
    client.put("/devices/d", Some("\"b2xk\""), &body).await.refused(412, "PreconditionFailed");
    client.put("/devices/d", Some(&etag), &body).await.ok();
    client.put("/devices/d", Some(&etag), &body).await.refused(412, "PreconditionFailed");
    for wildcard in ["*", "\"*\""] {
        client.put("/devices/d", Some(wildcard), &body).await.ok();
    }
    client.delete("/devices/d", None).await.refused(412, "PreconditionFailed");
    client.delete("/devices/d", Some(&format!("\"{etag}\""))).await.refused(412, "PreconditionFailed");
    let deleted = client.delete("/devices/d", Some("\"*\"")).await;
    assert_eq!((deleted.status, deleted.text.as_str()), (204, ""));
    client.delete("/devices/d", Some("*")).await.refused(404, "DeviceNotFound");
    client.get("/devices/d").await.refused(404, "DeviceNotFound");
}

#[tokio::test]
async fn thumbprints_and_keys_come_back_as_they_were_written() {
    let hub = TestHub::start().await;
    let (sha256, sha1) = ("aB".repeat(32), "c0".repeat(20));
    let keys = json!({"primaryKey": "AAAAAAAAAAAAAAAAAAAAAA==", "secondaryKey": "AQEBAQEBAQEBAQEBAQEBAQ=="});
    for (id, authentication) in [
        (
            "x",
            json!({"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": sha256, "secondaryThumbprint": sha1}}),
        ),
        ("k", json!({"type": "sas", "symmetricKey": keys})),
        ("ca", json!({"type": "certificateAuthority"})),
    ] {
        let body = json!({"deviceId": id, "authentication": authentication});
        let device = hub.client.put(&format!("/devices/{id}"), None, &body).await.ok();
        for member in ["symmetricKey", "x509Thumbprint"] {
            if let Some(given) = authentication.get(member) {
                assert_eq!(device["authentication"][member], *given);
            }
        }
        assert_eq!(device["authentication"]["type"], authentication["type"]);
    }
}

#[tokio::test]
async fn bad_documents_are_refused_with_the_reason() {
    let hub = TestHub::start().await;
    for (body, reason) in [
        (json!({"deviceId": "other"}), "not the id in the path"),
        (json!({}), "deviceId"),
        (json!({"deviceId": "d", "status": "asleep"}), "asleep"),
        (json!({"deviceId": "d", "statusReason": "r".repeat(129)}), "128"),
        (
            json!({"deviceId": "d", "authentication": {"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": "AB:CD"}}}),
            "StringIsNotThumbprint",
        ),
        (
            json!({"deviceId": "d", "authentication": {"symmetricKey": {"primaryKey": "AAAAAAAAAAAAAAAAAAAAAA=="}}}),
            "Either no keys or both",
        ),
        (json!({"deviceId": "d", "authentication": {"type": "none"}}), "DeviceAuthenticationTypeIsMissing"),
        (json!([]), "the body cannot be read: it is not an object"),
        (json!(["d", null, null, null, null, null, null]), "it is not an object"),
    ] {
        let answer = hub.client.put("/devices/d", None, &body).await;
        answer.refused(400, "ArgumentInvalid");
        assert!(answer.text.contains(reason), "{}", answer.text);
    }
    hub.client.get("/devices").await.ok().as_array().unwrap().is_empty().then_some(()).unwrap();
}

#[tokio::test]
async fn ids_with_every_legal_character_work_in_paths() {
    let hub = TestHub::start().await;
    let id = "-:.+%_#*?!(),=@$';";
    let encoded = hub_types::DeviceId::new(id).unwrap().path_segment();
    let body = json!({"deviceId": id});
    hub.client.put(&format!("/devices/{encoded}?api-version=2021-04-12"), None, &body).await.ok();
    // Node leaves some of them bare.
    let bare = "/devices/-:.+%25_%23*%3F!(),=@$';";
    assert_eq!(hub.client.get(bare).await.ok()["deviceId"], id);
    assert_eq!(hub.client.get(&format!("/twins/{encoded}")).await.ok()["deviceId"], id);
}

#[tokio::test]
async fn a_list_has_as_many_devices_as_were_asked_for() {
    let hub = TestHub::start().await;
    for id in ["a", "b", "c"] {
        hub.client.put(&format!("/devices/{id}"), None, &json!({ "deviceId": id })).await.ok();
    }
    let count = async |path: &str| hub.client.get(path).await.ok().as_array().map_or(0, Vec::len);
    assert_eq!(count("/devices?top=2&api-version=2021-04-12").await, 2);
    assert_eq!(count("/devices/?top=0&api-version=2021-04-12").await, 3);
    assert_eq!(count("/devices/").await, 3);
}

#[tokio::test]
async fn statistics_count() {
    let hub = TestHub::start().await;
    for (id, status) in [("a", "enabled"), ("b", "disabled"), ("c", "enabled")] {
        let body = json!({"deviceId": id, "status": status});
        hub.client.put(&format!("/devices/{id}"), None, &body).await.ok();
    }
    let devices: Value = hub.client.get("/statistics/devices").await.ok();
    assert_eq!(devices, json!({"totalDeviceCount": 3, "enabledDeviceCount": 2, "disabledDeviceCount": 1}));
    assert_eq!(hub.client.get("/statistics/service").await.ok(), json!({"connectedDeviceCount": 0}));
}

#[tokio::test]
async fn attributes_are_refused_by_name_and_never_lost_in_silence() {
    let hub = TestHub::start().await;
    let client = &hub.client;
    let with = |mut document: Value| {
        document["attributes"] = json!({"model": "x"});
        document
    };
    let refused = |answer: Answer| {
        assert!(answer.text.contains("`attributes`"), "{}", answer.text);
        answer.refused(501, "NotImplemented");
    };
    refused(client.put("/devices/a", None, &with(json!({"deviceId": "a"}))).await);
    client.get("/devices/a").await.refused(404, "DeviceNotFound");
    client.put("/devices/a", None, &json!({"deviceId": "a", "attributes": {}})).await.ok();
    refused(client.put("/devices/a/modules/m", None, &with(json!({"deviceId": "a", "moduleId": "m"}))).await);
    refused(client.patch("/twins/a", None, &with(json!({"tags": {"n": 1}}))).await);
    refused(client.put("/twins/a", None, &with(json!({"tags": {"n": 1}}))).await);
    client.patch("/twins/a", None, &json!({"tags": {"attributes": {"n": 1}}, "attributes": null})).await.ok();
    let items =
        json!([with(json!({"id": "b", "importMode": "create"})), {"id": "c", "importMode": "create"}]);
    let bulk = client.post("/devices", &items).await.with_status(400).json();
    assert_eq!((&bulk["errors"][0]["deviceId"], bulk["errors"].as_array().unwrap().len()), (&json!("b"), 1));
    assert_eq!(bulk["errors"][0]["errorCode"], "NotImplemented");
    client.get("/devices/c").await.ok();
}

#[tokio::test]
async fn a_condition_that_can_not_be_read_is_not_taken_for_none() {
    let hub = TestHub::start().await;
    for (path, body) in [
        ("/devices/a", r#"{"deviceId": "a"}"#),
        ("/devices/a/modules/m", r#"{"deviceId": "a", "moduleId": "m"}"#),
        ("/twins/a", "{}"),
        ("/configurations/a", r#"{"id": "a", "content": {}}"#),
    ] {
        let answer = hub.client.call_with(Method::PUT, path, &[("if-match", "\u{e4}")], body).await;
        assert!(answer.text.contains("header if-match"), "{path} {}", answer.text);
        answer.refused(400, "ArgumentInvalid");
    }
    hub.client.get("/devices/a").await.refused(404, "DeviceNotFound");
}
