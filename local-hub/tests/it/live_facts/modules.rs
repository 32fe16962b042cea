//! `/devices/{id}/modules`.

use serde_json::{Value, json};

use super::{Recorded, YEAR_1, etag_number, members, quoted, written_back};

const MEMBERS: [&str; 10] = [
    "moduleId",
    "managedBy",
    "deviceId",
    "generationId",
    "etag",
    "connectionState",
    "connectionStateUpdatedTime",
    "lastActivityTime",
    "cloudToDeviceMessageCount",
    "authentication",
];

#[tokio::test]
async fn modules_client_identity_lifecycle() {
    let hub = Recorded::start().await;
    hub.device("d").await;
    let made = hub.put("/devices/d/modules/m", None, &json!({"moduleId": "m", "deviceId": "d"})).await;
    assert_eq!(members(&made.text), MEMBERS);
    let module = made.ok();
    assert_eq!((&module["managedBy"], &module["authentication"]["type"]), (&Value::Null, &json!("sas")));
    let found = hub.get("/devices/d/modules/m").await.ok();
    for time in ["connectionStateUpdatedTime", "lastActivityTime"] {
        assert_eq!((&module[time], &found[time]), (&json!("0001-01-01T00:00:00"), &json!(YEAR_1)), "{time}");
    }
    let mut body = written_back(&found);
    body["managedBy"] = json!("anybody at all");
    let managed = hub.put("/devices/d/modules/m", Some("*"), &body).await.ok();
    assert_eq!(managed["managedBy"], "anybody at all");
    assert_eq!(etag_number(&managed), etag_number(&module) + 1);
    assert_eq!(managed["authentication"], module["authentication"]);
}

#[tokio::test]
async fn modules_client_update_device_etag_does_not_match() {
    let hub = Recorded::start().await;
    hub.device("d").await;
    let made = hub.module("d", "m").await;
    let body = written_back(&made);
    let changed = hub.put("/devices/d/modules/m", Some(&quoted(&made["etag"])), &body).await.ok();
    let stale = hub.put("/devices/d/modules/m", Some(&quoted(&made["etag"])), &body).await;
    stale.refused(412, "PreconditionFailed");
    let text = format!(
        "Device version did not match, existingVersion:{} newVersion:{}",
        etag_number(&changed),
        etag_number(&made)
    );
    assert!(stale.text.contains(&text), "{}", stale.text);
}

#[tokio::test]
async fn modules_client_get_modules_on_device() {
    let hub = Recorded::start().await;
    hub.device("d").await;
    let ids: Vec<String> = (0..5).map(|n| format!("m{n}")).collect();
    for id in &ids {
        hub.module("d", id).await;
    }
    let answer = hub.get("/devices/d/modules").await;
    assert_eq!((answer.header("x-ms-continuation"), answer.header("x-ms-item-type")), (None, None));
    let modules = answer.ok();
    let found: Vec<_> = modules.as_array().unwrap().iter().map(|module| &module["moduleId"]).collect();
    assert_eq!(found, ids.iter().collect::<Vec<_>>());
    for id in &ids {
        let one = hub.get(&format!("/devices/d/modules/{id}")).await.ok();
        assert!(modules.as_array().unwrap().contains(&one), "{one}");
    }
}
