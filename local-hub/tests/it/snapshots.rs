//! Snapshots and reset: the complete content of the hub, including configurations and jobs.

use local_hub::Config;
use mqtt_protocol_core::mqtt::packet::Qos;
use reqwest::Method;
use serde_json::{Value, json};
use time::Duration;
use time::format_description::well_known::Rfc3339;

use crate::device::{Device, Login, create_device};
use crate::jobs::{ended, hub_with_containers, uri};
use crate::management::{ask, managed};
use crate::support::{TestHub, with_devices};

async fn manage(hub: &TestHub, method: Method, path: &str) {
    let (status, answer) = ask(hub, method, path, Value::Null).await;
    assert_eq!(status, 200, "{answer}");
}

/// Schedules a job that sets `desired.n` of every device, this many hours from now.
async fn schedule(hub: &TestHub, id: &str, hours: i64) {
    let start = time::OffsetDateTime::now_utc() + Duration::hours(hours);
    let twin = json!({"etag": "*", "properties": {"desired": {"n": 1}}});
    let job = json!({"jobId": id, "type": "scheduleUpdateTwin", "updateTwin": twin, "queryCondition": "*",
        "startTime": start.format(&Rfc3339).unwrap(), "maxExecutionTimeInSeconds": 60});
    hub.client.put(&format!("/jobs/v2/{id}"), None, &job).await.ok();
}

async fn job(hub: &TestHub, id: &str) -> Value {
    hub.client.get(&format!("/jobs/v2/{id}")).await.ok()
}

async fn desired_version(hub: &TestHub) -> u64 {
    hub.client.get("/twins/d").await.ok()["properties"]["desired"]["$version"].as_u64().unwrap()
}

#[tokio::test]
async fn configurations_and_ended_jobs_come_back_and_go_with_a_reset() {
    let folder = tempfile::tempdir().unwrap();
    let config = || Config { data: Some(folder.path().to_owned()), ..managed() };
    let hub = TestHub::start_with(config()).await;
    create_device(&hub.client, "d").await;
    let configuration = json!({"id": "c", "content": {"deviceContent": {"properties.desired.a": 1}}});
    hub.client.put("/configurations/c", None, &configuration).await.with_status(200);
    schedule(&hub, "done", 0).await;
    let before = (
        ended(&hub.client, "/jobs/v2/done").await,
        hub.client.get("/configurations/c").await.ok(),
        hub.client.get("/twins/d").await.ok(),
    );
    manage(&hub, Method::PUT, "/snapshots/full").await;
    manage(&hub, Method::DELETE, "/state").await;
    assert_eq!(job(&hub, "done").await["status"], "unknown");
    assert_eq!(hub.client.get("/configurations/c").await.status, 404);
    manage(&hub, Method::POST, "/snapshots/full/restore").await;
    // What is restored is durable.
    hub.hub.shutdown().await;
    let hub = TestHub::start_with(config()).await;
    let after = (
        job(&hub, "done").await,
        hub.client.get("/configurations/c").await.ok(),
        hub.client.get("/twins/d").await.ok(),
    );
    assert_eq!(after, before);
    manage(&hub, Method::DELETE, "/state").await;
    hub.hub.shutdown().await;
    let hub = TestHub::start_with(config()).await;
    assert_eq!(job(&hub, "done").await["status"], "unknown");
    assert_eq!(hub.client.get("/configurations").await.ok(), json!([]));
}

#[tokio::test]
async fn a_job_that_waits_begins_once_whatever_is_restored() {
    let hub = TestHub::start_with(managed()).await;
    create_device(&hub.client, "d").await;
    schedule(&hub, "later", 20).await;
    manage(&hub, Method::PUT, "/snapshots/waiting").await;
    for _ in 0..3 {
        manage(&hub, Method::DELETE, "/state").await;
        manage(&hub, Method::POST, "/snapshots/waiting/restore").await;
        assert_eq!(job(&hub, "later").await["status"], "scheduled");
    }
    // The client's token is good for an hour; that of a hub whose clock is ahead would not be.
    hub.hub.clock().advance(Duration::hours(21));
    let waited = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while hub.hub.export_state().is_ok_and(|state| !String::from_utf8(state).unwrap().contains("\"n\":1")) {
        assert!(tokio::time::Instant::now() < waited);
        tokio::task::yield_now().await;
    }
    hub.hub.clock().advance(-Duration::hours(21));
    assert_eq!(ended(&hub.client, "/jobs/v2/later").await["status"], "completed");
    assert_eq!(desired_version(&hub).await, 2);

    manage(&hub, Method::POST, "/snapshots/waiting/restore").await;
    let failed = job(&hub, "later").await;
    assert_eq!(failed["status"], "failed");
    assert!(failed["failureReason"].as_str().unwrap().contains("begun since"), "{failed}");
    assert_eq!(desired_version(&hub).await, 1);
}

#[tokio::test]
async fn a_job_at_work_has_failed_after_the_way_back_and_does_nothing_more() {
    let hub = TestHub::start_with(Config { mqtt: with_devices().mqtt, ..managed() }).await;
    let key = create_device(&hub.client, "d").await;
    let mut device = Device::connect(&hub, Login::signed("d", &key)).await.unwrap();
    device.subscribe("$iothub/methods/POST/#", Qos::AtMostOnce).await;
    let method = json!({"methodName": "reboot", "responseTimeoutInSeconds": 300});
    let body = json!({"jobId": "m", "type": "scheduleDeviceMethod", "cloudToDeviceMethod": method,
        "queryCondition": "*", "maxExecutionTimeInSeconds": 600});
    hub.client.put("/jobs/v2/m", None, &body).await.ok();
    let (topic, _) = device.message().await;
    assert_eq!(job(&hub, "m").await["status"], "running");
    manage(&hub, Method::PUT, "/snapshots/busy").await;
    manage(&hub, Method::POST, "/snapshots/busy/restore").await;
    let failed = job(&hub, "m").await;
    assert_eq!(failed["status"], "failed");
    assert!(failed["failureReason"].as_str().unwrap().contains("at work when"), "{failed}");
    let (_, query) = topic.split_once('?').unwrap();
    device.publish(&format!("$iothub/methods/res/200/?{query}"), "{}", Qos::AtLeastOnce).await;
    // The job's own task has heard the answer by the time a second job has been called and answered.
    hub.client.put("/jobs/v2/m2", None, &body).await.ok();
    let (topic, _) = device.message().await;
    let (_, query) = topic.split_once('?').unwrap();
    device.publish(&format!("$iothub/methods/res/200/?{query}"), "{}", Qos::AtLeastOnce).await;
    assert_eq!(ended(&hub.client, "/jobs/v2/m2").await["status"], "completed");
    assert_eq!(job(&hub, "m").await, failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_at_work_brings_nothing_more_after_a_reset() {
    let (hub, folder) = hub_with_containers(managed()).await;
    let import = async |devices: std::ops::Range<u32>| {
        let lines = devices.map(|n| format!("{{\"id\":\"d{n}\",\"status\":\"enabled\"}}\n"));
        std::fs::write(folder.path().join("in/devices.txt"), lines.collect::<String>()).unwrap();
        let body = json!({"type": "import", "inputBlobContainerUri": uri(&folder, "in"),
            "outputBlobContainerUri": uri(&folder, "out")});
        let job = hub.client.post("/jobs/create", &body).await.ok();
        format!("/jobs/{}", job["jobId"].as_str().unwrap())
    };
    let devices =
        async || hub.client.get("/statistics/devices").await.ok()["totalDeviceCount"].as_u64().unwrap();
    let path = import(0..30_000).await;
    while devices().await == 0 {
        assert_eq!(hub.client.get(&path).await.ok()["status"], "running");
    }
    manage(&hub, Method::DELETE, "/state").await;
    hub.client.get(&path).await.refused(404, "JobNotFound");
    // Were the first still at work it would go on while this one is.
    let path = import(0..1_000).await;
    assert_eq!(ended(&hub.client, &path).await["status"], "completed");
    assert_eq!(devices().await, 1_000);
}
