//! `/devices/{id}`.

use serde_json::{Value, json};

use super::{Recorded, YEAR_1, etag_number, is_recent, members, members_at, quoted, written_back};

#[tokio::test]
async fn devices_identity_lifecycle_creation() {
    let hub = Recorded::start().await;
    let made = hub.put("/devices/d", None, &json!({"deviceId": "d"})).await;
    assert_eq!(
        members(&made.text),
        [
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
            "capabilities"
        ]
    );
    let authentication = members_at(&made.text, &["authentication"]);
    assert_eq!(authentication, ["symmetricKey", "x509Thumbprint", "type"]);
    let device = made.ok();
    assert_eq!((&device["statusReason"], &device["status"]), (&Value::Null, &json!("enabled")));
    assert_eq!(device["capabilities"], json!({"iotEdge": false}));
    assert_eq!(
        device["authentication"]["x509Thumbprint"],
        json!({"primaryThumbprint": null, "secondaryThumbprint": null})
    );
    let found = hub.get("/devices/d").await.ok();
    assert_eq!(found["authentication"], device["authentication"]);
    for time in ["connectionStateUpdatedTime", "statusUpdatedTime", "lastActivityTime"] {
        assert_eq!((&device[time], &found[time]), (&json!("0001-01-01T00:00:00"), &json!(YEAR_1)), "{time}");
    }
}

#[tokio::test]
async fn update_device_etag_does_not_match_counts() {
    let hub = Recorded::start().await;
    let made = hub.device("d").await;
    let body = written_back(&made);
    let first = hub.put("/devices/d", Some(&quoted(&made["etag"])), &body).await.ok();
    assert_eq!(etag_number(&first), etag_number(&made) + 1);
    let stale = hub.put("/devices/d", Some(&quoted(&made["etag"])), &body).await;
    stale.refused(412, "PreconditionFailed");
    let text = format!(
        "Precondition failed: Device version did not match, existingVersion:{} newVersion:{}",
        etag_number(&first),
        etag_number(&made)
    );
    assert!(stale.text.contains(&text), "{}", stale.text);
    // A refused write takes no number.
    let second = hub.put("/devices/d", Some("*"), &body).await.ok();
    assert_eq!(etag_number(&second), etag_number(&made) + 2);
}

#[tokio::test]
async fn devices_client_identity_lifecycle_disables() {
    let hub = Recorded::start().await;
    let made = hub.device("d").await;
    let mut body = written_back(&made);
    body["status"] = json!("disabled");
    body["etag"] = json!("MA==");
    body["lastActivityTime"] = json!("2020-01-01T00:00:00Z");
    for demand in ["*".to_owned(), "\"*\"".to_owned()] {
        let changed = hub.put("/devices/d", Some(&demand), &body).await.ok();
        assert_eq!(changed["status"], "disabled");
        assert!(is_recent(&changed["statusUpdatedTime"]), "{changed}");
        assert_eq!(changed["generationId"], made["generationId"]);
        for time in ["connectionStateUpdatedTime", "lastActivityTime"] {
            assert_eq!(changed[time], YEAR_1, "{time}");
        }
    }
}

#[tokio::test]
async fn devices_client_device_twin_lifecycle_generation() {
    let hub = Recorded::start().await;
    let device = hub.device("d").await;
    let ticks: u64 = device["generationId"].as_str().unwrap().parse().unwrap();
    let properties = hub.get("/twins/d").await.ok()["properties"].clone();
    for section in ["desired", "reported"] {
        let created = super::time(&properties[section]["$metadata"]["$lastUpdated"]);
        assert_eq!(created.ticks(), ticks, "{section}");
    }
}

#[tokio::test]
async fn devices_lifecycle_missing() {
    let hub = Recorded::start().await;
    let missing = hub.get("/devices/nobody-1").await;
    missing.refused(404, "DeviceNotFound");
    assert_eq!(missing.json()["Message"], "ErrorCode:DeviceNotFound;nobody-1");
}

#[tokio::test]
async fn devices_client_identity_lifecycle_deletion() {
    let hub = Recorded::start().await;
    hub.device("d").await;
    hub.module("d", "m").await;
    assert_eq!(hub.delete("/devices/d", Some("*")).await.status, 204);
    hub.get("/devices/d").await.refused(404, "DeviceNotFound");
    hub.get("/twins/d/modules/m").await.refused(404, "DeviceNotFound");
}

/// On a different hub of August 2020 even a plain device had it; here the value that an edge
/// device's client wrote is returned.
#[tokio::test]
async fn get_all_device_twins_with_tag_parent_scopes() {
    let hub = Recorded::start().await;
    let body = json!({"deviceId": "e", "capabilities": {"iotEdge": true}, "parentScopes": []});
    let device = hub.put("/devices/e", Some("\"\""), &body).await.ok();
    assert_eq!(device["parentScopes"], json!([]));
    let kept = hub.put("/devices/e", Some("*"), &written_back(&hub.get("/devices/e").await.ok())).await.ok();
    assert_eq!(kept["parentScopes"], json!([]));
    assert_eq!(hub.get("/twins/e").await.ok().get("parentScopes"), None);
    assert_eq!(hub.device("d").await.get("parentScopes"), None);
}
