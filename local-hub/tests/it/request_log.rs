//! The request log: its counts, and the absence of secrets.

use local_hub::Config;
use serde_json::{Value, json};

use crate::support::TestHub;

#[tokio::test]
async fn every_request_has_a_line_that_counts_and_holds_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("requests.jsonl");
    let hub = TestHub::start_with(Config { request_log: Some(path.clone()), ..Config::default() }).await;
    let items = json!([{"id": "a", "importMode": "create"}, {"id": "b", "importMode": "update"}]);
    hub.client.post("/devices", &items).await;
    hub.client.patch("/twins/a", None, &json!({"tags": {"t": 1}})).await.ok();
    hub.client.patch("/twins/a", None, &json!({"tags": {"t": 1}})).await.ok();
    let key = hub.client.get("/devices/a").await.ok()["authentication"]["symmetricKey"]["primaryKey"].clone();
    hub.client.get("/nothing").await;

    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen: Vec<_> = lines
        .iter()
        .map(|line| {
            (line["operation"].as_str(), line["status"].as_u64().unwrap(), line["errorcode"].as_str())
        })
        .collect();
    assert_eq!(
        seen,
        [
            (Some("BulkRegistry"), 400, None),
            (Some("PatchTwin"), 200, None),
            (Some("PatchTwin"), 200, None),
            (Some("GetDevice"), 200, None),
            (None, 404, Some("InvalidOperation")),
        ]
    );
    assert_eq!((&lines[0]["created"], &lines[0]["failed"]), (&json!(1), &json!(1)));
    assert_eq!((&lines[1]["updated"], &lines[2]["unchanged"]), (&json!(1), &json!(1)));
    assert!(lines.iter().all(|line| line.get("agent").is_none()), "this client does not name itself");
    assert!(
        !text.contains("SharedAccess") && !text.contains("sig=") && !text.contains(key.as_str().unwrap())
    );
}

#[tokio::test]
async fn a_version_that_is_not_known_is_noted_with_the_one_that_served_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("requests.jsonl");
    let hub = TestHub::start_with(Config { request_log: Some(path.clone()), ..Config::default() }).await;
    for version in ["2021-04-12", "2026-11-01-preview", "2017-11-08-preview"] {
        hub.client.get(&format!("/devices?api-version={version}")).await.ok();
    }
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let versions: Vec<_> =
        lines.iter().map(|line| (line.get("api_version"), line.get("served_as"))).collect();
    assert_eq!(
        versions,
        [
            (None, None),
            (Some(&json!("2026-11-01-preview")), Some(&json!("2024-03-31"))),
            (Some(&json!("2017-11-08-preview")), Some(&json!("2017-06-30"))),
        ]
    );
}
