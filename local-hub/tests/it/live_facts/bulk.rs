//! `POST /devices`.

use serde_json::{Value, json};

use super::{Recorded, YEAR_1, etag_number, is_recent};

const DONE: &str = r#"{"isSuccessful":true,"errors":[],"warnings":[]}"#;

fn each(ids: &[String], item: Value) -> Value {
    let of = |id: &String| {
        let mut item = item.clone();
        item["id"] = json!(id);
        item
    };
    ids.iter().map(of).collect()
}

fn ten() -> Vec<String> {
    (0..10).map(|n| format!("d{n}")).collect()
}

#[tokio::test]
async fn devices_client_bulk_creation() {
    let hub = Recorded::start().await;
    let answer = hub.bulk(&each(&ten(), json!({"importMode": "create", "status": "enabled"}))).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, DONE));
}

#[tokio::test]
async fn modules_client_bulk_creation_multiple_devices() {
    let hub = Recorded::start().await;
    hub.bulk(&each(&ten(), json!({"importMode": "create"}))).await.ok();
    let modules = each(&ten(), json!({"moduleId": "m", "importMode": "create"}));
    assert_eq!(hub.bulk(&modules).await.text, DONE);
    assert_eq!(hub.get("/devices/d3/modules/m").await.ok()["authentication"]["type"], "sas");
    // Devices are deleted with their modules on them.
    assert_eq!(hub.bulk(&each(&ten(), json!({"importMode": "delete"}))).await.text, DONE);
    assert_eq!(hub.get("/devices").await.ok(), json!([]));
}

#[tokio::test]
async fn modules_client_bulk_creation_single_device() {
    let hub = Recorded::start().await;
    hub.device("d").await;
    let items: Value =
        (0..10).map(|n| json!({"id": "d", "moduleId": format!("m{n}"), "importMode": "create"})).collect();
    assert_eq!(hub.bulk(&items).await.text, DONE);
    assert_eq!(hub.get("/devices/d/modules").await.ok().as_array().unwrap().len(), 10);
}

#[tokio::test]
async fn devices_client_bulk_creation_device_with_twin() {
    let hub = Recorded::start().await;
    let item = json!({"id": "d", "importMode": "create", "properties": {"desired": {"user": "x"}}});
    hub.bulk(&json!([item])).await.ok();
    let twin = hub.get("/twins/d").await.ok();
    assert_eq!((&twin["etag"], &twin["version"]), (&json!("AAAAAAAAAAE="), &json!(2)));
    let stamp = json!({"$lastUpdated": YEAR_1, "$lastUpdatedVersion": 1});
    assert_eq!(
        twin["properties"]["desired"],
        json!({"user": "x", "$version": 1, "$metadata": {"$lastUpdated": YEAR_1, "$lastUpdatedVersion": 1,
            "user": stamp}})
    );
    let reported = &twin["properties"]["reported"]["$metadata"];
    assert!(is_recent(&reported["$lastUpdated"]), "{reported}");
    assert_eq!(reported.get("$lastUpdatedVersion"), None);
}

#[tokio::test]
async fn devices_client_query_get_twins_without_twin() {
    let hub = Recorded::start().await;
    hub.bulk(&json!([{"id": "d", "importMode": "create"}])).await.ok();
    for section in ["desired", "reported"] {
        let metadata = hub.get("/twins/d").await.ok()["properties"][section]["$metadata"].clone();
        assert_eq!(metadata.as_object().unwrap().len(), 1, "{metadata}");
        assert!(is_recent(&metadata["$lastUpdated"]), "{metadata}");
    }
}

#[tokio::test]
async fn modules_client_bulk_creation_module_with_twin() {
    let hub = Recorded::start().await;
    hub.device("d").await;
    hub.bulk(
        &json!([{"id": "d", "moduleId": "m", "importMode": "create", "properties": {"desired": {"user": "x"}}}]),
    )
    .await
    .ok();
    let twin = hub.get("/twins/d/modules/m").await.ok();
    assert_eq!((&twin["etag"], &twin["version"]), (&json!("AAAAAAAAAAE="), &json!(2)));
    for (section, leaf) in [("desired", true), ("reported", false)] {
        let section = &twin["properties"][section];
        assert_eq!(
            (&section["$version"], &section["$metadata"]["$lastUpdatedVersion"]),
            (&json!(1), &json!(1))
        );
        assert!(is_recent(&section["$metadata"]["$lastUpdated"]), "{section}");
        assert_eq!(section["$metadata"].get("user").is_some(), leaf);
    }
}

#[tokio::test]
async fn modules_client_query_get_twins_without_twin() {
    let hub = Recorded::start().await;
    hub.device("d").await;
    hub.bulk(&json!([{"id": "d", "moduleId": "bulk", "importMode": "create"}])).await.ok();
    hub.module("d", "put").await;
    for section in ["desired", "reported"] {
        let metadata = |twin: &Value| twin["properties"][section]["$metadata"].clone();
        let bulk = metadata(&hub.get("/twins/d/modules/bulk").await.ok());
        assert!(is_recent(&bulk["$lastUpdated"]), "{bulk}");
        assert_eq!(bulk["$lastUpdatedVersion"], 1);
        let put = metadata(&hub.get("/twins/d/modules/put").await.ok());
        assert_eq!(put, json!({ "$lastUpdated": YEAR_1 }));
    }
}

#[tokio::test]
async fn devices_client_bulk_update() {
    let hub = Recorded::start().await;
    let made = hub.device("d").await;
    let item = json!({"id": "d", "importMode": "update", "status": "disabled", "eTag": made["etag"],
        "authentication": made["authentication"]});
    assert_eq!(hub.bulk(&json!([item])).await.text, DONE);
    let changed = hub.get("/devices/d").await.ok();
    assert_eq!(etag_number(&changed), etag_number(&made) + 1);
    assert!(is_recent(&changed["statusUpdatedTime"]), "{changed}");
    // Only the modes that say so look at the etag, which is outdated by now.
    assert_eq!(hub.bulk(&json!([item])).await.text, DONE);
    let deletion = json!([{"id": "d", "importMode": "delete", "eTag": made["etag"]}]);
    assert_eq!(hub.bulk(&deletion).await.text, DONE);
}

#[tokio::test]
async fn modules_client_bulk_update() {
    let hub = Recorded::start().await;
    hub.device("d").await;
    let made = hub.module("d", "m").await;
    let item =
        json!({"id": "d", "moduleId": "m", "importMode": "update", "authentication": {"type": "selfSigned"}});
    assert_eq!(hub.bulk(&json!([item])).await.text, DONE);
    let changed = hub.get("/devices/d/modules/m").await.ok();
    assert_eq!(changed["authentication"]["type"], "selfSigned");
    assert_eq!(
        changed["authentication"]["x509Thumbprint"],
        json!({"primaryThumbprint": null, "secondaryThumbprint": null})
    );
    assert_eq!(etag_number(&changed), etag_number(&made) + 1);
    assert_eq!(changed["generationId"], made["generationId"]);
}

#[tokio::test]
async fn jobs_export_import_lifecycle_deletion_without_etag() {
    let hub = Recorded::start().await;
    hub.device("d").await;
    let item = json!({"id": "d", "importMode": "updateIfMatchETag", "status": "disabled"});
    assert_eq!(hub.bulk(&json!([item])).await.text, DONE);
    assert_eq!(hub.bulk(&json!([{"id": "d", "importMode": "deleteIfMatchETag"}])).await.text, DONE);
    hub.get("/devices/d").await.refused(404, "DeviceNotFound");
}
