//! `/devices/{id}/modules`.

use serde_json::{Value, json};

use crate::support::TestHub;

#[tokio::test]
async fn a_module_lives_and_dies_with_its_device() {
    let hub = TestHub::start().await;
    let (client, path) = (&hub.client, "/devices/d/modules/m");
    let body = json!({"moduleId": "m", "deviceId": "d", "authentication": {"type": "certificateAuthority"}});
    client.put(path, None, &body).await.refused(401, "IotHubUnauthorizedAccess");
    client.put("/devices/d", None, &json!({"deviceId": "d"})).await.ok();
    client.get(path).await.refused(404, "ModuleNotFound");
    let module = client.put(path, None, &body).await.ok();
    assert_eq!(module["managedBy"], Value::Null);
    assert_eq!(module.get("status"), None);
    assert_eq!(module["authentication"]["type"], "certificateAuthority");
    client.put(path, None, &body).await.refused(409, "ModuleAlreadyExistsOnDevice");
    client.put(path, Some("\"b2xk\""), &body).await.refused(412, "PreconditionFailed");
    let found = client.get(path).await.ok();
    assert_eq!(found["etag"], module["etag"]);
    assert_eq!(client.get("/devices/d/modules").await.ok(), json!([found]));
    client.delete(path, None).await.refused(412, "PreconditionFailed");
    assert_eq!(client.delete(path, Some("\"*\"")).await.status, 204);
    client.put(path, None, &body).await.ok();
    assert_eq!(client.delete("/devices/d", Some("*")).await.status, 204);
    client.put("/devices/d", None, &json!({"deviceId": "d"})).await.ok();
    assert_eq!(client.get("/devices/d/modules").await.ok(), json!([]));
}

#[tokio::test]
async fn modules_of_a_disabled_device_are_401() {
    let hub = TestHub::start().await;
    let client = &hub.client;
    client.put("/devices/d", None, &json!({"deviceId": "d"})).await.ok();
    client.put("/devices/d/modules/m", None, &json!({"moduleId": "m", "deviceId": "d"})).await.ok();
    client.put("/devices/d", Some("*"), &json!({"deviceId": "d", "status": "disabled"})).await.ok();
    client.get("/devices/d/modules/m").await.refused(401, "IotHubUnauthorizedAccess");
    client.get("/devices/d/modules").await.refused(401, "IotHubUnauthorizedAccess");
    client.delete("/devices/d/modules/m", Some("*")).await.refused(401, "IotHubUnauthorizedAccess");
    assert_eq!(client.get("/twins/d/modules/m").await.status, 200);
    client.get("/twins/d/modules/x").await.refused(404, "DeviceNotFound");
}

#[tokio::test]
async fn the_names_of_the_system_are_not_to_be_had() {
    let hub = TestHub::start().await;
    let client = &hub.client;
    client.put("/devices/e", None, &json!({"deviceId": "e", "capabilities": {"iotEdge": true}})).await.ok();
    let body = json!({"moduleId": "$edgeAgent", "deviceId": "e"});
    client.put("/devices/e/modules/$edgeAgent", Some("*"), &body).await.refused(400, "ArgumentInvalid");
    let agent = client.get("/devices/e/modules/%24edgeAgent").await.ok();
    assert_eq!((&agent["managedBy"], &agent["authentication"]["type"]), (&json!("iotEdge"), &json!("none")));
    let patch = json!({"properties": {"desired": {"a": 1}}});
    assert_eq!(client.patch("/twins/e/modules/$edgeAgent", Some("*"), &patch).await.ok()["version"], 3);
}
