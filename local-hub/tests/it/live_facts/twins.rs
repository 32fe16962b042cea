//! `/twins/{id}`.

use serde_json::json;

use super::{Recorded, YEAR_1, is_recent, members, members_at, quoted, written_back};

#[tokio::test]
async fn devices_client_device_twin_lifecycle_members() {
    let hub = Recorded::start().await;
    let device = hub.device("d").await;
    hub.patch("/twins/d", Some("*"), &json!({"tags": {"a": 1}})).await.ok();
    let twin = hub.get("/twins/d").await;
    // Without a `modelId`, which came with later versions of the API.
    let expected = [
        "deviceId",
        "etag",
        "deviceEtag",
        "status",
        "statusUpdateTime",
        "connectionState",
        "lastActivityTime",
        "cloudToDeviceMessageCount",
        "authenticationType",
        "x509Thumbprint",
        "version",
        "tags",
        "properties",
        "capabilities",
    ];
    assert_eq!(members(&twin.text), expected);
    assert_eq!(twin.ok()["deviceEtag"], device["etag"]);
    assert_eq!(hub.hub.client.get("/twins/d").await.ok()["modelId"], "");
}

#[tokio::test]
async fn modules_client_device_twin_lifecycle() {
    let hub = Recorded::start().await;
    hub.device("d").await;
    hub.module("d", "m").await;
    let answer = hub.get("/twins/d/modules/m").await;
    assert_eq!(members(&answer.text).get(1).map(String::as_str), Some("moduleId"));
    let twin = answer.ok();
    assert_eq!(twin.get("capabilities"), None);
    for section in ["desired", "reported"] {
        assert_eq!(twin["properties"][section]["$metadata"], json!({ "$lastUpdated": YEAR_1 }));
    }
    let mut body = written_back(&twin);
    body["properties"]["desired"]["user"] = json!("x");
    let changed = hub.patch("/twins/d/modules/m", Some("*"), &body).await.ok();
    assert_eq!((&changed["etag"], &changed["version"]), (&json!("AAAAAAAAAAI="), &json!(3)));
    assert_eq!(changed["properties"]["reported"], twin["properties"]["reported"]);
}

#[tokio::test]
async fn devices_client_device_twin_lifecycle_patch_of_a_whole_document() {
    let hub = Recorded::start().await;
    let device = hub.device("d").await;
    let twin = hub.get("/twins/d").await.ok();
    let mut body = written_back(&twin);
    body["properties"]["desired"]["user"] = json!("x");
    let answer = hub.patch("/twins/d", Some("*"), &body).await;
    let desired = members_at(&answer.text, &["properties", "desired"]);
    assert_eq!(desired, ["user", "$metadata", "$version"]);
    let metadata = members_at(&answer.text, &["properties", "desired", "$metadata"]);
    assert_eq!(metadata, ["$lastUpdated", "$lastUpdatedVersion", "user"]);
    let changed = answer.ok();
    assert_eq!((&changed["etag"], &changed["version"]), (&json!("AAAAAAAAAAI="), &json!(3)));
    assert_eq!(changed["deviceEtag"], device["etag"]);
    let desired = &changed["properties"]["desired"];
    assert_eq!(desired["$version"], 2);
    let stamp = json!({"$lastUpdated": desired["$metadata"]["$lastUpdated"], "$lastUpdatedVersion": 2});
    assert_eq!(desired["$metadata"]["user"], stamp);
    assert!(is_recent(&stamp["$lastUpdated"]), "{stamp}");
    assert_eq!(changed["properties"]["reported"], twin["properties"]["reported"]);
}

#[tokio::test]
async fn get_all_device_twins_with_tag_patch_of_tags() {
    let hub = Recorded::start().await;
    hub.device("d").await;
    let twin = hub.get("/twins/d").await.ok();
    let mut body = written_back(&twin);
    body["tags"] = json!({"a": "b"});
    let changed = hub.patch("/twins/d", Some(&quoted(&twin["etag"])), &body).await.ok();
    assert_eq!((&changed["etag"], &changed["version"]), (&json!("AAAAAAAAAAI="), &json!(3)));
    assert_eq!(changed["properties"], twin["properties"], "an empty section is no write to it");
    assert_eq!(changed["tags"], json!({"a": "b"}));
}

#[tokio::test]
async fn modules_client_update_module_twin_etag_does_not_match() {
    let hub = Recorded::start().await;
    hub.device("d-1").await;
    hub.module("d-1", "m").await;
    for path in ["/twins/d-1", "/twins/d-1/modules/m"] {
        let twin = hub.get(path).await.ok();
        let patch = json!({"properties": {"desired": {"user": "x"}}});
        hub.patch(path, Some("*"), &patch).await.ok();
        let stale = hub.patch(path, Some(&quoted(&twin["etag"])), &patch).await;
        stale.refused(412, "PreconditionFailed");
        let text = "ErrorCode:PreconditionFailed;ETag mismatch for device ID 'd-1'";
        assert_eq!(stale.json()["Message"], text);
    }
}
