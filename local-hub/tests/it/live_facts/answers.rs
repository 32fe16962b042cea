//! Facts about all responses.

use reqwest::Method;
use serde_json::json;

use super::{Recorded, quoted, written_back};

#[tokio::test]
async fn all_recordings_headers() {
    let hub = Recorded::start().await;
    for answer in [hub.get("/statistics/service").await, hub.get("/devices/nobody").await] {
        assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
        assert_eq!(answer.header("vary"), Some("Origin"));
        let id = answer.header("x-ms-request-id").unwrap();
        let parts: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12], "{id}");
        assert!(id.chars().all(|c| c == '-' || c.is_ascii_digit() || ('a'..='f').contains(&c)), "{id}");
    }
    hub.device("d").await;
    let gone = hub.delete("/devices/d", Some("*")).await;
    assert_eq!((gone.status, gone.text.as_str(), gone.header("content-type")), (204, "", None));
}

#[tokio::test]
async fn all_recordings_etag_headers() {
    let hub = Recorded::start().await;
    let device = hub.put("/devices/d", Some("\"\""), &json!({"deviceId": "d"})).await;
    assert_eq!(device.header("etag"), Some(quoted(&device.ok()["etag"]).as_str()));
    assert_eq!(hub.get("/devices/d").await.header("etag"), device.header("etag"));
    let configuration = hub.put("/configurations/c", Some("\"\""), &json!({"id": "c", "content": {}})).await;
    assert_eq!(configuration.header("etag"), Some("\"MQ==\""));

    let module = json!({"moduleId": "m", "deviceId": "d"});
    let patch = json!({"tags": {"a": 1}});
    for answer in [
        hub.put("/devices/d/modules/m", Some("\"\""), &module).await,
        hub.get("/devices/d/modules/m").await,
        hub.get("/devices/d/modules").await,
        hub.get("/twins/d").await,
        hub.patch("/twins/d", Some("*"), &patch).await,
        hub.get("/twins/d/modules/m").await,
        hub.query("select * from devices").await,
        hub.bulk(&json!([{"id": "e", "importMode": "create"}])).await,
        hub.put("/devices/d", Some("\"MA==\""), &written_back(&device.json())).await,
    ] {
        assert_eq!(answer.header("etag"), None, "{}", answer.text);
    }
}

#[tokio::test]
async fn devices_client_twin_lifecycle_times() {
    let hub = Recorded::start().await;
    hub.device("d").await;
    let device = hub.put("/devices/d", Some("*"), &json!({"deviceId": "d", "status": "disabled"})).await.ok();
    for document in [device, hub.get("/devices/d").await.ok()] {
        let text = document["statusUpdatedTime"].as_str().unwrap();
        let fraction = text.trim_end_matches('Z').split_once('.').map_or("1", |(_, fraction)| fraction);
        assert!(text.ends_with('Z') && fraction.len() <= 7 && !fraction.ends_with('0'), "{text}");
    }
}

#[tokio::test]
async fn update_device_etag_does_not_match_error_body() {
    let hub = Recorded::start().await;
    let device = hub.device("d").await;
    let refused = hub.put("/devices/d", Some("\"MA==\""), &written_back(&device)).await;
    refused.refused(412, "PreconditionFailed");
    assert!(refused.text.find("\"Message\"") < refused.text.find("\"ExceptionMessage\""), "{}", refused.text);
    let id = refused.header("x-ms-request-id").unwrap().replace('-', "");
    let tracking = refused.json()["ExceptionMessage"].as_str().unwrap().to_ascii_lowercase();
    assert!(
        tracking.starts_with(&format!("tracking id:{id}-g")) && tracking.contains("timestamp:"),
        "{tracking}"
    );
}

#[tokio::test]
async fn every_creation_has_an_empty_if_match() {
    let hub = Recorded::start().await;
    hub.device("d").await;
    hub.module("d", "m").await;
    let configuration = json!({"id": "c", "content": {"deviceContent": {}}});
    hub.put("/configurations/c", Some("\"\""), &configuration).await.ok();
    for path in ["/devices/d", "/devices/d/modules/m", "/configurations/c"] {
        hub.get(path).await.ok();
    }
    // As without the header, what is there stays.
    hub.put("/devices/d", Some("\"\""), &json!({"deviceId": "d"})).await.refused(409, "DeviceAlreadyExists");
}

#[tokio::test]
async fn every_update_takes_a_bare_star() {
    let hub = Recorded::start().await;
    hub.device("d").await;
    hub.module("d", "m").await;
    hub.put("/configurations/c", Some("\"\""), &json!({"id": "c", "content": {}})).await.ok();
    hub.put("/devices/d", Some("*"), &json!({"deviceId": "d"})).await.ok();
    hub.put("/devices/d/modules/m", Some("*"), &json!({"moduleId": "m", "deviceId": "d"})).await.ok();
    hub.put("/configurations/c", Some("*"), &json!({"id": "c", "content": {}})).await.ok();
    hub.patch("/twins/d", Some("*"), &json!({"tags": {"a": 1}})).await.ok();
    hub.patch("/twins/d/modules/m", Some("*"), &json!({"tags": {"a": 1}})).await.ok();
    for path in ["/devices/d/modules/m", "/devices/d", "/configurations/c"] {
        assert_eq!(hub.ask(Method::DELETE, path, Some("*"), None).await.status, 204, "{path}");
    }
}
