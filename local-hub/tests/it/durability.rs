//! The data folder: acknowledged writes survive a restart.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use local_hub::{Config, Error, LocalHub};
use reqwest::Method;
use serde_json::json;

use crate::support::{Client, Process, TestHub};

fn in_folder(folder: &tempfile::TempDir) -> Config {
    Config { data: Some(folder.path().to_owned()), ..Config::default() }
}

#[tokio::test]
async fn a_restart_changes_nothing_that_clients_see() {
    let folder = tempfile::tempdir().unwrap();
    let hub = TestHub::start_with(in_folder(&folder)).await;
    let client = &hub.client;
    client.put("/devices/e", None, &json!({"deviceId": "e", "capabilities": {"iotEdge": true}})).await.ok();
    client
        .put("/devices/d", None, &json!({"deviceId": "d", "status": "disabled", "statusReason": "ü"}))
        .await
        .ok();
    client.put("/devices/gone", None, &json!({"deviceId": "gone"})).await.ok();
    client.delete("/devices/gone", Some("*")).await;
    let patch = json!({"tags": {"n": 0.1}, "properties": {"desired": {"a": {"b": [1, 2.50]}}}});
    client.patch("/twins/e/modules/$edgeHub", None, &patch).await.ok();
    let paths = [
        "/devices",
        "/devices/e/modules",
        "/twins/e",
        "/twins/e/modules/$edgeHub",
        "/twins/d",
        "/statistics/devices",
    ];
    let mut before = Vec::new();
    for path in paths {
        before.push(client.get(path).await.ok());
    }
    let (key, ca) = (hub.hub.connection_string("service").unwrap().key, hub.hub.ca_pem().to_owned());
    hub.hub.shutdown().await;

    let hub = TestHub::start_with(in_folder(&folder)).await;
    for (path, before) in paths.iter().zip(before) {
        assert_eq!(hub.client.get(path).await.ok(), before, "{path}");
    }
    assert_eq!(hub.hub.connection_string("service").unwrap().key, key);
    assert_eq!(hub.hub.ca_pem(), ca);
}

/// Stored records nest values deeper than requests, and parsers have a bound.
#[tokio::test]
async fn whatever_was_taken_can_be_read_again_however_deep_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let hub = TestHub::start_with(in_folder(&folder)).await;
    hub.client.put("/devices/d", None, &json!({"deviceId": "d"})).await.ok();
    let mut taken = 0;
    for objects in [0, 10] {
        for arrays in (1..130).step_by(3) {
            let value = (0..arrays).fold(json!(1), |inner, _| json!([inner]));
            let value = (0..objects).fold(value, |inner, _| json!({ "l": inner }));
            let patch = json!({"properties": {"desired": {format!("{objects}-{arrays}"): value}}});
            let answer = hub.client.patch("/twins/d", None, &patch).await;
            taken += usize::from(answer.status == 200);
            assert!([200, 400].contains(&answer.status), "{}", answer.text);
        }
    }
    assert!(taken >= 20, "{taken}");
    let in_an_hour = time::OffsetDateTime::now_utc() + time::Duration::hours(1);
    let in_an_hour = in_an_hour.format(&time::format_description::well_known::Rfc3339).unwrap();
    let mut kept = 0;
    for arrays in (1..130).step_by(3) {
        let payload = (0..arrays).fold(json!(1), |inner, _| json!([inner]));
        let job = json!({"type": "scheduleDeviceMethod", "startTime": in_an_hour, "queryCondition": "*",
            "cloudToDeviceMethod": {"methodName": "m", "payload": payload}});
        let answer = hub.client.put(&format!("/jobs/v2/j{arrays}"), None, &job).await;
        kept += usize::from(answer.status == 200);
        assert!([200, 400].contains(&answer.status), "{}", answer.text);
    }
    assert!(kept >= 20, "{kept}");
    let before = hub.client.get("/twins/d").await.ok();
    hub.hub.shutdown().await;
    let hub = TestHub::start_with(in_folder(&folder)).await;
    assert_eq!(hub.client.get("/twins/d").await.ok(), before);
}

#[tokio::test]
async fn a_folder_serves_one_hub_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let first = LocalHub::start(in_folder(&folder)).await.unwrap();
    let error = LocalHub::start(in_folder(&folder)).await.unwrap_err();
    assert!(matches!(error, Error::FolderInUse(_)));
    assert!(error.to_string().contains("or use a different folder"), "{error}");
    first.shutdown().await;
    LocalHub::start(in_folder(&folder)).await.unwrap().shutdown().await;
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_what_is_in_the_folder() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("new/hub");
    let hub = LocalHub::start(Config { data: Some(folder.clone()), ..Config::default() }).await.unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 7, "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.to_string_lossy());
    }
    hub.shutdown().await;
}

#[tokio::test]
async fn a_policy_that_is_none_is_named_with_those_there_are() {
    let hub = TestHub::start().await;
    let error = hub.hub.connection_string("owner").unwrap_err().to_string();
    assert!(error.contains("`owner`") && error.contains("registryReadWrite"), "{error}");
}

/// Creates devices and writes one twin until the hub ends; returns the acknowledged writes.
async fn write_until_it_dies(client: Client, writer: usize, written: Arc<AtomicUsize>) -> (Vec<String>, u64) {
    let (mut ids, mut version) = (Vec::new(), 0);
    let twin = format!("/twins/counter{writer}");
    for count in 0.. {
        let id = format!("w{writer}-{count}");
        let item = json!([{"id": id, "importMode": "create", "tags": {"n": count}}]).to_string();
        match client.try_call(Method::POST, "/devices", None, Some(item)).await {
            Ok(answer) if answer.status == 200 => ids.push(id),
            _ => break,
        }
        let patch = json!({"properties": {"desired": {"n": count}}}).to_string();
        match client.try_call(Method::PATCH, &twin, Some("*"), Some(patch)).await {
            Ok(answer) if answer.status == 200 => version = answer.json()["version"].as_u64().unwrap(),
            _ => break,
        }
        written.fetch_add(1, Ordering::Relaxed);
    }
    (ids, version)
}

/// The number of kills of the process. A few find most faults; a release is tested with 100.
fn rounds() -> usize {
    std::env::var("LOCAL_HUB_KILLS").map_or(3, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_acknowledged_is_lost_with_a_killed_process() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..rounds() {
        let process = Process::serve(folder.path());
        let written = Arc::new(AtomicUsize::new(0));
        let mut writers = Vec::new();
        for writer in 0..4 {
            let writer = round * 10 + writer;
            let id = format!("counter{writer}");
            process.client.put(&format!("/devices/{id}"), None, &json!({ "deviceId": id })).await.ok();
            writers.push(tokio::spawn(write_until_it_dies(
                process.client.clone(),
                writer,
                Arc::clone(&written),
            )));
        }
        // Neither the number nor the moment within a write is the same twice.
        let enough = RandomState::new().hash_one(round) as usize % 150;
        while written.load(Ordering::Relaxed) < enough {
            tokio::task::yield_now().await;
        }
        process.kill();
        let process = Process::serve(folder.path());
        for (place, writer) in writers.into_iter().enumerate() {
            let (ids, version) = writer.await.unwrap();
            for id in ids {
                assert_eq!(process.client.get(&format!("/devices/{id}")).await.status, 200, "{id}");
            }
            let twin = process.client.get(&format!("/twins/counter{}", round * 10 + place)).await.ok();
            // The last write may have been made durable without having been acknowledged.
            let found = twin["version"].as_u64().unwrap();
            assert!(found == version || found == version + 1 || version == 0, "{found} after {version}");
        }
        process.kill();
    }
}

/// A limit on the size of files simulates a full disk; the signal that comes with it is ignored, so
/// that writing fails with an error, as on a full disk.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 1000; exec \"$0\" \"$@\""]);
    let process = Process::serve_through(limited, folder.path());
    let mut acknowledged = Vec::new();
    let refused = loop {
        let id = format!("d{}", acknowledged.len());
        let item = json!([{"id": id, "importMode": "create", "tags": {"text": "x".repeat(4000)}}]);
        let answer = process.client.post("/devices", &item).await;
        if answer.status != 200 {
            break answer;
        }
        acknowledged.push(id);
        assert!(acknowledged.len() < 5000, "the limit was never reached");
    };
    refused.refused(500, "ServerError");
    assert!(refused.text.contains("data folder"), "{}", refused.text);
    assert!(acknowledged.len() > 10, "{}", acknowledged.len());
    // What is in memory now may never have become durable, so none of it is shown.
    process.client.get("/devices/d0").await.refused(500, "ServerError");
    let again = process.client.put("/devices/more", None, &json!({"deviceId": "more"})).await;
    again.refused(500, "ServerError");
    process.kill();
    let process = Process::serve(folder.path());
    for id in acknowledged {
        assert_eq!(process.client.get(&format!("/twins/{id}")).await.status, 200, "{id}");
    }
    process.client.put("/devices/more", None, &json!({"deviceId": "more"})).await.ok();
}
