//! Snapshots of a DPS through the management port.

use local_hub::Config;
use reqwest::Method;
use serde_json::{Value, json};

use crate::dps::{TestDps, with_dps};
use crate::management::{ask, managed};

async fn manage(dps: &TestDps, method: Method, path: &str) {
    let (status, answer) = ask(&dps.hub, method, path, Value::Null).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn a_snapshot_brings_enrolments_groups_and_registrations_back_with_the_hub() {
    let folder = tempfile::tempdir().unwrap();
    let management = managed().management;
    let config = || Config { data: Some(folder.path().to_owned()), management, ..with_dps() };
    let dps = TestDps::start_with(config()).await;
    dps.enroll("pump-1", json!({"type": "symmetricKey"}), json!({})).await;
    dps.enroll_group("factory", json!({"type": "symmetricKey"}), json!({})).await;
    dps.register(dps.signed("pump-1", &dps.key("pump-1").await)).await;
    let paths = ["/enrollments/pump-1", "/enrollmentGroups/factory", "/registrations/pump-1"];
    let mut before = Vec::new();
    for path in paths {
        before.push(dps.client.get(path).await.ok());
    }
    manage(&dps, Method::PUT, "/snapshots/before").await;
    for path in paths {
        assert_eq!(dps.client.delete(path, None).await.status, 204, "{path}");
    }
    dps.enroll("pump-2", json!({"type": "symmetricKey"}), json!({})).await;
    manage(&dps, Method::POST, "/snapshots/before/restore").await;
    assert_eq!(dps.client.get("/enrollments/pump-2").await.status, 404);
    assert_eq!(dps.hub.client.get("/devices/pump-1").await.status, 200);
    dps.hub.hub.shutdown().await;
    // The restored state is in the data folder too.
    let dps = TestDps::start_with(config()).await;
    for (path, before) in paths.iter().zip(before) {
        assert_eq!(dps.client.get(path).await.ok(), before, "{path}");
    }
    manage(&dps, Method::DELETE, "/state").await;
    for path in paths {
        assert_eq!(dps.client.get(path).await.status, 404, "{path}");
    }
}
