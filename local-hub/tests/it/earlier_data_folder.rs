//! The data folder of an earlier version: it opens, and nothing in it is lost.
//!
//! The folder was written by the hub of 2026-11-30, before types and modules were renamed: the
//! names in stored records must not follow the names of the code.

use std::fs;
use std::path::Path;

use local_hub::Config;
use serde_json::json;

use crate::device::{Device, Login};
use crate::support::{TestHub, stopped_at, with_devices};

/// The key of the device and its module.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The time of 2026-11-30T18:00:00Z, when the message still waits and the second job is not due.
const SHORTLY_AFTER: i64 = 1_796_061_600;

async fn open(folder: &Path) -> TestHub {
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/earlier-data-folder");
    for file in fs::read_dir(stored).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    let clock = stopped_at(SHORTLY_AFTER).clock;
    TestHub::start_with(Config { data: Some(folder.to_owned()), clock, ..with_devices() }).await
}

#[tokio::test]
async fn identities_and_twins_are_as_they_were_stored() {
    let folder = tempfile::tempdir().unwrap();
    let hub = open(folder.path()).await;
    let device = hub.client.get("/devices/keyed").await.ok();
    assert_eq!(device["authentication"]["symmetricKey"]["primaryKey"], KEY);
    assert_eq!(device["etag"], "MjU2OTk1Nzkz");
    let device = hub.client.get("/devices/thumbed").await.ok();
    assert_eq!((&device["status"], &device["statusReason"]), (&json!("disabled"), &json!("spare")));
    assert_eq!(device["authentication"]["x509Thumbprint"]["secondaryThumbprint"], "CD".repeat(20));
    let device = hub.client.get("/devices/signed").await.ok();
    assert_eq!(device["authentication"]["type"], "certificateAuthority");
    let module = hub.client.get("/devices/keyed/modules/pump").await.ok();
    assert_eq!(module["authentication"]["symmetricKey"]["secondaryKey"], KEY);
    let twin = hub.client.get("/twins/keyed").await.ok();
    assert_eq!(twin["tags"], json!({"site": "north", "building": "7"}));
    assert_eq!(twin["modelId"], "dtmi:example:Pump;1");
    let desired = &twin["properties"]["desired"];
    assert_eq!((&desired["interval"], &desired["mode"]), (&json!(60), &json!({"economy": true})));
    assert_eq!(hub.client.get("/twins/keyed/modules/pump").await.ok()["properties"]["desired"]["speed"], 1.5);
}

#[tokio::test]
async fn configurations_and_jobs_are_as_they_were_stored() {
    let folder = tempfile::tempdir().unwrap();
    let hub = open(folder.path()).await;
    let configuration = hub.client.get("/configurations/settings").await.ok();
    assert_eq!(configuration["metrics"]["results"], json!({"north": 1}));
    assert_eq!(configuration["systemMetrics"]["results"], json!({"targetedCount": 1, "appliedCount": 1}));
    let jobs = hub.client.get("/jobs").await.ok();
    assert_eq!((&jobs[0]["type"], &jobs[0]["status"]), (&json!("export"), &json!("completed")));
    assert_eq!(jobs[0]["excludeKeysInExport"], true);
    let ended = hub.client.get("/jobs/v2/ended").await.ok();
    assert_eq!((&ended["type"], &ended["status"]), (&json!("scheduleUpdateTwin"), &json!("completed")));
    let waiting = hub.client.get("/jobs/v2/waiting").await.ok();
    assert_eq!((&waiting["type"], &waiting["status"]), (&json!("scheduleDeviceMethod"), &json!("scheduled")));
    assert_eq!(waiting["cloudToDeviceMethod"]["methodName"], "restart");
}

#[tokio::test]
async fn a_stored_session_and_its_waiting_message_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let hub = open(folder.path()).await;
    let (mut device, code, session_present) = Device::try_connect(&hub, Login::signed("keyed", KEY)).await;
    assert_eq!((code, session_present), (0, true));
    let (topic, payload) = device.message().await;
    assert!(topic.ends_with("&colour=red"), "{topic}");
    assert_eq!(payload, b"start");
}
