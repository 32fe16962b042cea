//! Imports, exports and scheduled jobs over the service API.

use std::path::Path;
use std::time::Duration;

use hub_types::sas::SasToken;
use local_hub::Config;
use mqtt_protocol_core::mqtt::packet::Qos;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::device::{Device, Login, create_device, create_module};
use crate::support::{Client, TestHub};

/// A hub with its containers in a folder.
pub(crate) async fn hub_with_containers(config: Config) -> (TestHub, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    for container in ["in", "out"] {
        std::fs::create_dir(folder.path().join(container)).unwrap();
    }
    let config = Config { blob_folder: Some(folder.path().to_owned()), ..config };
    (TestHub::start_with(config).await, folder)
}

pub(crate) fn uri(folder: &TempDir, container: &str) -> String {
    format!("file://{}", folder.path().join(container).to_string_lossy())
}

/// Waits until the job has ended, and returns it.
pub(crate) async fn ended(client: &Client, path: &str) -> Value {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let job = client.get(path).await.ok();
        let status = job["status"].as_str().unwrap();
        if !["enqueued", "queued", "running", "scheduled"].contains(&status) {
            return job;
        }
        assert!(tokio::time::Instant::now() < deadline, "{job}");
        tokio::task::yield_now().await;
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_can_be_imported_and_bad_lines_go_to_the_log() {
    let (hub, folder) = hub_with_containers(Config::default()).await;
    let client = &hub.client;
    let twin = json!({"tags": {"site": "Ulm"}, "properties": {"desired": {"n": 1}}});
    for device in ["a", "b"] {
        client.put(&format!("/devices/{device}"), None, &json!({ "deviceId": device })).await.ok();
        client.patch(&format!("/twins/{device}"), None, &twin).await.ok();
    }
    client.put("/devices/a/modules/m", None, &json!({"deviceId": "a", "moduleId": "m"})).await.ok();
    let key = client.get("/devices/a").await.ok()["authentication"]["symmetricKey"].clone();

    let export = json!({"type": "export", "outputBlobContainerUri": uri(&folder, "out")});
    let job = client.post("/jobs/create", &export).await.ok();
    assert!(job.get("outputBlobContainerUri").is_none(), "a container's address may hold a secret");
    let path = format!("/jobs/{}", job["jobId"].as_str().unwrap());
    let job = ended(client, &path).await;
    assert_eq!((&job["status"], &job["progress"]), (&json!("completed"), &json!(100)));
    let exported = lines(&folder.path().join("out/devices.txt"));
    assert_eq!(exported.len(), 3);
    assert_eq!(exported[0]["authentication"]["symmetricKey"], key);
    assert_eq!(exported[1]["moduleId"], "m");
    assert_eq!(exported[0]["properties"], json!({"desired": {"n": 1}, "reported": {}}), "values only");

    for device in ["a", "b"] {
        client.delete(&format!("/devices/{device}"), Some("*")).await.with_status(204);
    }
    let mut text = std::fs::read_to_string(folder.path().join("out/devices.txt")).unwrap();
    text.push_str("no JSON\n{\"id\":\"c\"}\n{\"id\":\"x y\",\"status\":\"enabled\"}\n");
    text.push_str("{\"id\":\"gone\",\"status\":\"enabled\",\"importMode\":\"delete\"}\n");
    text.push_str("{\"id\":\"e\",\"status\":\"enabled\",\"authentication\":{\"type\":\"SELF_SIGNED\"}}\n");
    text.push_str("{\"id\":\"f\",\"status\":\"on\"}\n{\"id\":\"g\",\"status\":\"enabled\",\"tags\":1}\n");
    std::fs::write(folder.path().join("in/devices.txt"), text).unwrap();
    let import = json!({"type": "import", "inputBlobContainerUri": uri(&folder, "in"),
        "outputBlobContainerUri": uri(&folder, "out")});
    let job = client.post("/jobs/create", &import).await.ok();
    let job = ended(client, &format!("/jobs/{}", job["jobId"].as_str().unwrap())).await;
    assert_eq!((&job["status"], &job["failureReason"]), (&json!("completed"), &Value::Null));
    let again = client.get("/devices/a").await.ok();
    assert_eq!(again["authentication"]["symmetricKey"], key, "the same device came back");
    assert_eq!(client.get("/twins/b").await.ok()["tags"], json!({"site": "Ulm"}));
    client.get("/devices/a/modules/m").await.ok();

    let errors = lines(&folder.path().join("out/importErrors.log"));
    let codes: Vec<_> = errors.iter().map(|error| error["errorCode"].as_u64().unwrap()).collect();
    // Lines that can't be read are told from items that are refused, which have a name.
    let named: Vec<_> = errors.iter().filter_map(|error| error.get("deviceId")).collect();
    assert_eq!(named, ["x y", "gone"], "{errors:?}");
    assert_eq!(codes.iter().filter(|code| **code == 400_012).count(), 5, "{codes:?}");
    assert!(codes.contains(&400_004) && codes.contains(&404_001), "{codes:?}");
    let all = client.get("/jobs").await.ok();
    assert_eq!(all.as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_without_keys_says_so_first() {
    let (hub, folder) = hub_with_containers(Config::default()).await;
    hub.client.put("/devices/a", None, &json!({"deviceId": "a"})).await.ok();
    let export = json!({"type": "export", "outputBlobContainerUri": uri(&folder, "out"),
        "outputBlobName": "d.txt", "excludeKeysInExport": true});
    let job = hub.client.post("/jobs/create", &export).await.ok();
    ended(&hub.client, &format!("/jobs/{}", job["jobId"].as_str().unwrap())).await;
    let text = std::fs::read_to_string(folder.path().join("out/d.txt")).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    assert!(serde_json::from_str::<Value>(first).is_err(), "{first}");
    let device: Value = serde_json::from_str(rest.trim()).unwrap();
    assert_eq!(device["authentication"]["symmetricKey"]["primaryKey"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_that_can_not_be_used_are_refused_at_once() {
    let (hub, folder) = hub_with_containers(Config::default()).await;
    let refused = [
        json!({"type": "export"}),
        json!({"type": "export", "outputBlobContainerUri": "/etc"}),
        json!({"type": "export", "outputBlobContainerUri": uri(&folder, "out/../..")}),
        json!({"type": "export", "outputBlobContainerUri": "http://127.0.0.1:1/container?sig=secret"}),
        json!({"type": "import", "outputBlobContainerUri": uri(&folder, "out")}),
        json!({"type": "import", "outputBlobContainerUri": uri(&folder, "out"), "inputBlobContainerUri": uri(&folder, "in")}),
    ];
    for body in refused {
        let answer = hub.client.post("/jobs/create", &body).await;
        assert_eq!(
            (answer.status, answer.header("iothub-errorcode")),
            (400, Some("BlobContainerValidationError")),
            "{body}"
        );
        assert!(!answer.text.contains("secret"), "{}", answer.text);
    }
    assert_eq!(hub.client.get("/jobs").await.ok(), json!([]));
    hub.client.get("/jobs/nobody").await.refused(404, "JobNotFound");
}

/// A redirect would take the container's signature, a secret, to another host.
#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_of_the_storage_is_refused_and_not_followed() {
    let (hub, folder) = hub_with_containers(Config::default()).await;
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let location = format!("http://localhost:{}/stolen", elsewhere.local_addr().unwrap().port());
    elsewhere.set_nonblocking(true).unwrap();
    let storage = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let container = format!("http://{}/container?sig=secret", storage.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = storage.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = format!(
                "HTTP/1.1 307 Temporary Redirect\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    for body in [
        json!({"type": "export", "outputBlobContainerUri": container}),
        json!({"type": "import", "inputBlobContainerUri": container, "outputBlobContainerUri": uri(&folder, "out")}),
    ] {
        let answer = hub.client.post("/jobs/create", &body).await;
        assert!(
            answer.text.contains("a redirect to localhost, which is not followed")
                && !answer.text.contains("secret"),
            "{}",
            answer.text
        );
        answer.refused(400, "BlobContainerValidationError");
    }
    let followed = elsewhere.accept().map(drop).map_err(|error| error.kind());
    assert_eq!(followed, Err(std::io::ErrorKind::WouldBlock));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_update_reaches_every_twin_of_its_condition() {
    let hub = TestHub::start().await;
    let client = &hub.client;
    for device in ["a", "b", "c"] {
        client.put(&format!("/devices/{device}"), None, &json!({ "deviceId": device })).await.ok();
    }
    client.patch("/twins/c", None, &json!({"tags": {"old": true}})).await.ok();
    let job = json!({"jobId": "j1", "type": "scheduleUpdateTwin", "queryCondition": "deviceId IN ['a','c']",
        "updateTwin": {"etag": "*", "tags": {"old": null, "new": 1}, "properties": {"desired": {"n": 2}}},
        "startTime": "2020-01-01T00:00:00Z", "maxExecutionTimeInSeconds": 60});
    let begun = client.put("/jobs/v2/j1", None, &job).await.ok();
    assert_eq!(begun["type"], "scheduleUpdateTwin");
    let ended = ended(client, "/jobs/v2/j1").await;
    assert_eq!(ended["status"], "completed");
    assert_eq!(ended["deviceJobStatistics"]["succeededCount"], 2);
    for (device, tags) in [("a", json!({"new": 1})), ("b", Value::Null), ("c", json!({"new": 1}))] {
        let twin = client.get(&format!("/twins/{device}")).await.ok();
        assert_eq!(twin.get("tags").cloned().unwrap_or_default(), tags, "{device}");
    }
    client.put("/jobs/v2/j1", None, &job).await.refused(409, "JobAlreadyExists");
    client.put("/jobs/v2/BAD", None, &job).await.refused(400, "ArgumentInvalid");
    assert_eq!(client.get("/jobs/v2/nobody").await.ok()["status"], "unknown");
    let listed = client.get("/jobs/v2/query?api-version=2021-04-12&jobStatus=completed").await.ok();
    assert_eq!(listed[0]["jobId"], "j1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_waits_for_its_time_and_can_be_cancelled_before() {
    let hub = TestHub::start().await;
    let client = &hub.client;
    client.put("/devices/a", None, &json!({"deviceId": "a"})).await.ok();
    let now = hub.hub.clock();
    let at = |minutes: i64| {
        let time = time::OffsetDateTime::now_utc() + time::Duration::minutes(minutes);
        time.format(&time::format_description::well_known::Rfc3339).unwrap()
    };
    let job = |minutes: i64| {
        json!({"type": "scheduleUpdateTwin", "queryCondition": "*", "startTime": at(minutes),
            "updateTwin": {"tags": {"minute": minutes}}})
    };
    for (id, start) in [("one", 10), ("two", 20)] {
        let path = format!("/jobs/v2/{id}");
        assert_eq!(client.put(&path, None, &job(start)).await.ok()["status"], "queued");
        assert_eq!(client.get(&path).await.ok()["status"], "scheduled");
    }
    client.put("/jobs/v2/far", None, &job(169 * 60)).await.refused(400, "ArgumentInvalid");
    let cancelled = client.call(Method::POST, "/jobs/v2/two/cancel", None, None).await.ok();
    assert_eq!(cancelled["status"], "cancelled");
    now.advance(time::Duration::minutes(30));
    assert_eq!(ended(client, "/jobs/v2/one").await["status"], "completed");
    assert_eq!(client.get("/twins/a").await.ok()["tags"], json!({"minute": 10}));
    assert_eq!(client.get("/jobs/v2/two").await.ok()["status"], "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_no_calendar_has_is_refused_and_the_end_of_the_calendar_is_no_panic() {
    let hub = TestHub::with_devices().await;
    let client = &hub.client;
    client.put("/devices/a", None, &json!({"deviceId": "a"})).await.ok();
    let job = |seconds: Value| {
        json!({"type": "scheduleUpdateTwin", "queryCondition": "*",
        "maxExecutionTimeInSeconds": seconds, "updateTwin": {"tags": {"a": 1}}})
    };
    for seconds in [json!(u64::MAX), json!(i64::MAX), json!(i64::from(i32::MAX) + 1), json!(0), json!(-1)] {
        let refused = client.put("/jobs/v2/one", None, &job(seconds.clone())).await;
        assert_eq!(refused.status, 400, "{seconds}: {}", refused.text);
    }
    let mut late = job(json!(60));
    late["startTime"] = json!("9999-12-31T23:59:59-01:00");
    client.put("/jobs/v2/one", None, &late).await.refused(400, "ArgumentInvalid");

    let clock = hub.hub.clock();
    clock.set(time::macros::datetime!(9999-12-31 23:59:50 UTC));
    client.put("/jobs/v2/one", None, &job(json!(i32::MAX))).await.refused(401, "IotHubUnauthorized");
    let owner = hub.hub.connection_string("iothubowner").unwrap();
    let token = SasToken::sign(owner.host.as_str(), Some(&owner.policy), &owner.key, u64::MAX);
    let client = client.authorized_by(Some(token.expose_text().as_str()));
    client.put("/jobs/v2/one", None, &job(json!(i32::MAX))).await.ok();
    assert_eq!(ended(&client, "/jobs/v2/one").await["status"], "completed");
    let sent = client.call_with(Method::POST, "/devices/a/messages/deviceBound", &[], "x").await;
    assert_eq!(sent.status, 204, "{}", sent.text);
    client.put("/devices/a", Some("*"), &json!({"deviceId": "a", "status": "disabled"})).await.ok();
    clock.advance(time::Duration::MAX);
    client.get("/twins/a").await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_job_changes_is_told_to_connected_devices_when_its_time_comes() {
    let hub = TestHub::with_devices().await;
    let key = create_device(&hub.client, "d").await;
    let module = create_module(&hub.client, "d", "m").await;
    let mut told = Vec::new();
    for (identity, key) in [("d", &key), ("d/m", &module)] {
        let mut device = Device::connect(&hub, Login::signed(identity, key)).await.unwrap();
        device.subscribe("$iothub/twin/PATCH/properties/desired/#", Qos::AtLeastOnce).await;
        told.push(device);
    }
    let start = time::OffsetDateTime::now_utc() + time::Duration::minutes(30);
    let start = start.format(&time::format_description::well_known::Rfc3339).unwrap();
    for (id, condition) in
        [("devices", "deviceId = 'd'"), ("modules", "FROM devices.modules WHERE moduleId = 'm'")]
    {
        let job = json!({"type": "scheduleUpdateTwin", "queryCondition": condition, "startTime": start,
            "updateTwin": {"etag": "*", "properties": {"desired": {"firmware": {"version": "2"}}}}});
        hub.client.put(&format!("/jobs/v2/{id}"), None, &job).await.ok();
    }
    hub.hub.clock().advance(time::Duration::minutes(31));
    for device in &mut told {
        let notice = device.json_on("$iothub/twin/PATCH/properties/desired/?$version=2").await;
        assert_eq!(notice, json!({"firmware": {"version": "2"}, "$version": 2}));
    }
    for id in ["devices", "modules"] {
        assert_eq!(ended(&hub.client, &format!("/jobs/v2/{id}")).await["status"], "completed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_job_did_can_be_queried_device_by_device() {
    let hub = TestHub::start().await;
    let client = &hub.client;
    for device in ["a", "b"] {
        client.put(&format!("/devices/{device}"), None, &json!({ "deviceId": device })).await.ok();
    }
    let update =
        json!({"type": "scheduleUpdateTwin", "queryCondition": "*", "updateTwin": {"tags": {"x": 1}}});
    client.put("/jobs/v2/update", None, &update).await.ok();
    ended(client, "/jobs/v2/update").await;
    let call = json!({"type": "scheduleDeviceMethod", "queryCondition": "deviceId = 'a'",
        "cloudToDeviceMethod": {"methodName": "reboot", "payload": null}});
    client.put("/jobs/v2/call", None, &call).await.ok();
    let called = ended(client, "/jobs/v2/call").await;
    assert_eq!(called["deviceJobStatistics"]["failedCount"], 1, "the device is not connected");

    let query = "SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'update'";
    let first = client.query(query, &[("x-ms-max-item-count", "1")]).await;
    assert_eq!(first.header("x-ms-item-type"), Some("DeviceJob"));
    let token = first.header("x-ms-continuation").unwrap().to_owned();
    let last = client.query(query, &[("x-ms-continuation", &token)]).await;
    assert_eq!(last.header("x-ms-continuation"), None);
    let rows = [first.ok()[0].clone(), last.ok()[0].clone()];
    assert_eq!([&rows[0]["deviceId"], &rows[1]["deviceId"]], [&json!("a"), &json!("b")]);
    assert_eq!(rows[0]["status"], "completed");
    let failed = client.query("SELECT * FROM devices.jobs WHERE status = 'failed'", &[]).await.ok();
    assert_eq!(failed[0]["error"]["code"], "404103");
    client.query("SELECT COUNT() FROM devices.jobs", &[]).await.refused(400, "ArgumentInvalid");
}
