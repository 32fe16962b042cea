//! `/configurations`.

use serde_json::{Value, json};

use super::{Recorded, members, members_at, time, written_back};

fn spec(id: &str, priority: i32, value: &str) -> Value {
    json!({"id": id, "labels": {"site": "a"}, "targetCondition": "*", "priority": priority,
        "content": {"deviceContent": {"properties.desired.key": value}}})
}

#[tokio::test]
async fn configurations_lifecycle_creation() {
    let hub = Recorded::start().await;
    let made = hub.put("/configurations/c-1", Some("\"\""), &spec("c-1", 10, "v")).await;
    assert_eq!(
        members(&made.text),
        [
            "id",
            "schemaVersion",
            "labels",
            "content",
            "targetCondition",
            "createdTimeUtc",
            "lastUpdatedTimeUtc",
            "priority",
            "systemMetrics",
            "metrics",
            "etag"
        ]
    );
    let configuration = made.ok();
    assert_eq!((&configuration["schemaVersion"], &configuration["etag"]), (&Value::Null, &json!("MQ==")));
    assert_eq!(configuration["createdTimeUtc"], configuration["lastUpdatedTimeUtc"]);
    assert_eq!(configuration["metrics"], json!({"results": {}, "queries": {}}));
    let queries = members_at(&made.text, &["systemMetrics", "queries"]);
    assert_eq!(queries, ["targetedCount", "appliedCount"]);
    assert_eq!(
        configuration["systemMetrics"],
        json!({"results": {}, "queries": {"targetedCount": "select deviceId from devices",
            "appliedCount": "select deviceId from devices where configurations.[[c-1]].status = 'Applied'"}})
    );
}

#[tokio::test]
async fn configurations_lifecycle_update() {
    let hub = Recorded::start().await;
    let made = hub.put("/configurations/c", Some("\"\""), &spec("c", 10, "v")).await.ok();
    let mut body = written_back(&made);
    body["priority"] = json!(11);
    let changed = hub.put("/configurations/c", Some("*"), &body).await;
    assert_eq!(changed.header("etag"), Some("\"Mg==\""));
    let changed = changed.ok();
    assert_eq!((&changed["etag"], &changed["priority"]), (&json!("Mg=="), &json!(11)));
    assert_eq!(changed["createdTimeUtc"], made["createdTimeUtc"]);
    assert!(time(&changed["lastUpdatedTimeUtc"]) > time(&made["lastUpdatedTimeUtc"]));
    assert_eq!(hub.delete("/configurations/c", Some("*")).await.status, 204);
}

#[tokio::test]
async fn configurations_client_get_configurations() {
    let hub = Recorded::start().await;
    hub.device("d").await;
    hub.put("/configurations/c", Some("\"\""), &spec("c", 10, "v")).await.ok();
    let list = hub.until("/configurations", |list| list[0]["systemMetrics"]["results"]["appliedCount"] == 1);
    assert_eq!(list.await[0]["systemMetrics"]["results"], json!({"targetedCount": 1, "appliedCount": 1}));
    assert_eq!(hub.get("/configurations").await.header("x-ms-continuation"), None);
}

#[tokio::test]
async fn get_all_devices_twins_with_tag_roll_out() {
    let hub = Recorded::start().await;
    hub.device("d").await;
    let made = hub.put("/configurations/c", Some("\"\""), &spec("c", 10, "v")).await.ok();
    let twin = hub.until("/twins/d", |twin| twin.get("configurations").is_some()).await;
    assert_eq!(twin["configurations"], json!({"c": {"status": "Applied"}}));
    assert_eq!((&twin["etag"], &twin["version"]), (&json!("AAAAAAAAAAI="), &json!(3)));
    let text = hub.get("/twins/d").await.text;
    let names = members(&text);
    let place = |wanted: &str| names.iter().position(|name| name == wanted).unwrap();
    assert_eq!(place("properties") + 1, place("configurations"));
    assert_eq!(place("configurations") + 1, place("capabilities"));
    let metadata = members_at(&text, &["properties", "desired", "$metadata"]);
    assert_eq!(metadata, ["$lastUpdated", "$lastUpdatedVersion", "key"]);
    assert_eq!(
        members_at(&text, &["properties", "desired", "$metadata", "key"]),
        ["$lastUpdated", "$lastUpdatedVersion", "$lastUpdatedBy", "$lastUpdatedByDigest"]
    );
    let desired = &twin["properties"]["desired"];
    assert_eq!((&desired["key"], &desired["$version"]), (&json!("v"), &json!(2)));
    let leaf = &desired["$metadata"]["key"];
    let digest = time(&made["lastUpdatedTimeUtc"]).ticks().to_string();
    assert_eq!((&leaf["$lastUpdatedBy"], &leaf["$lastUpdatedByDigest"]), (&json!("c"), &json!(digest)));
}

#[tokio::test]
async fn devices_client_query_get_twins_several_configurations() {
    let hub = Recorded::start().await;
    hub.device("d").await;
    for (id, priority) in [("low", 1), ("top", 9), ("mid", 5)] {
        hub.put(&format!("/configurations/{id}"), Some("\"\""), &spec(id, priority, id)).await.ok();
    }
    let all =
        json!({"low": {"status": "Targeted"}, "mid": {"status": "Targeted"}, "top": {"status": "Applied"}});
    let twin = hub.until("/twins/d", |twin| twin["configurations"] == all).await;
    assert_eq!(twin["properties"]["desired"]["key"], "top");
    // What nothing aims at any more keeps its settings.
    for id in ["top", "mid", "low"] {
        hub.delete(&format!("/configurations/{id}"), Some("*")).await.with_status(204);
    }
    let twin = hub.until("/twins/d", |twin| twin.get("configurations").is_none()).await;
    assert!(twin["properties"]["desired"].get("key").is_some(), "{twin}");
}
