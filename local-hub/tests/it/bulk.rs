//! `POST /devices`.

use serde_json::{Value, json};

use crate::support::TestHub;

#[tokio::test]
async fn items_that_fail_leave_the_others_alone() {
    let hub = TestHub::start().await;
    let thumbprint = "AB".repeat(32);
    let items = json!([
        {"id": "a", "importMode": "create", "status": "enabled", "authentication": {"type": "certificateAuthority"},
         "tags": {"site": "munich"}, "properties": {"desired": {"intervalSec": 60}}},
        {"id": "b", "authentication": {"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": thumbprint}}, "importMode": "Create"},
        {"id": "bad id", "importMode": "create"},
        {"id": "c", "importMode": "create", "authentication": {"type": "password"}},
        {"id": "d", "importMode": "Delete"},
    ]);
    let answer = hub.client.post("/devices", &items).await;
    assert_eq!(answer.status, 400);
    let result = answer.json();
    assert_eq!(result["isSuccessful"], false);
    let errors = result["errors"].as_array().unwrap();
    let codes: Vec<(&Value, &Value)> =
        errors.iter().map(|error| (&error["deviceId"], &error["errorCode"])).collect();
    assert_eq!(
        codes,
        [
            (&json!("bad id"), &json!("ArgumentInvalid")),
            (&json!("c"), &json!("ArgumentInvalid")),
            (&json!("d"), &json!("DeviceNotFound")),
        ]
    );
    assert_eq!(errors[2]["operation"], "delete");
    let twin = hub.client.get("/twins/a").await.ok();
    assert_eq!(
        (&twin["tags"]["site"], &twin["properties"]["desired"]["intervalSec"]),
        (&json!("munich"), &json!(60))
    );
    assert_eq!((&twin["version"], &twin["properties"]["desired"]["$version"]), (&json!(2), &json!(1)));
    assert_eq!(hub.client.get("/devices/b").await.status, 200);
}

#[tokio::test]
async fn a_call_of_good_items_is_200() {
    let hub = TestHub::start().await;
    let items: Vec<Value> =
        (0..100).map(|n| json!({"id": format!("d{n}"), "importMode": "create"})).collect();
    let result = hub.client.post("/devices", &json!(items)).await.ok();
    assert_eq!(result, json!({"isSuccessful": true, "errors": [], "warnings": []}));
    let modules: Vec<Value> =
        (0..100).map(|n| json!({"id": format!("d{n}"), "moduleId": "m", "importMode": "create"})).collect();
    hub.client.post("/devices", &json!(modules)).await.ok();
    let twins = json!([{"id": "d7", "moduleId": "m", "importMode": "updateTwin", "properties": {"desired": {"a": 1}}}]);
    hub.client.post("/devices", &twins).await.ok();
    assert_eq!(hub.client.get("/twins/d7/modules/m").await.ok()["properties"]["desired"]["a"], 1);
}

#[tokio::test]
async fn a_call_that_is_wrong_as_a_whole_changes_nothing() {
    let hub = TestHub::start().await;
    let many: Vec<Value> = (0..101).map(|n| json!({"id": format!("d{n}")})).collect();
    hub.client.post("/devices", &json!(many)).await.refused(413, "TooManyDevices");
    let twice = json!([{"id": "d"}, {"id": "d", "moduleId": "m"}, {"id": "d"}]);
    hub.client.post("/devices", &twice).await.refused(400, "DeviceDefinedMultipleTimes");
    let twins = json!([{"id": "d", "moduleId": "a", "importMode": "updateTwin"},
        {"id": "d", "moduleId": "b", "importMode": "UpdateTwin"}]);
    let refused = hub.client.post("/devices", &twins).await;
    refused.refused(400, "DeviceDefinedMultipleTimes");
    assert!(refused.text.contains("DeviceDefinedMultipleTimes, device ID d"), "{}", refused.text);
    hub.client
        .post("/devices", &json!([{"id": "d"}, {"deviceId": "x"}]))
        .await
        .refused(400, "ArgumentInvalid");
    hub.client.post("/devices", &json!({"devices": []})).await.refused(400, "ArgumentInvalid");
    assert_eq!(hub.client.get("/devices").await.ok(), json!([]));
}
