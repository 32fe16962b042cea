//! The data folder of a DPS: acknowledged writes survive a restart and a SIGKILL.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use local_hub::Config;
use serde_json::{Value, json};

use crate::device::DeviceCa;
use crate::dps::{TestDps, with_dps};
use crate::support::{Client, Process};

#[tokio::test]
async fn a_restart_changes_nothing_that_services_and_devices_see() {
    let folder = tempfile::tempdir().unwrap();
    let in_folder = || Config { data: Some(folder.path().to_owned()), ..with_dps() };
    let dps = TestDps::start_with(in_folder()).await;
    dps.enroll("pump-1", json!({"type": "symmetricKey"}), json!({"initialTwin": {"tags": {"n": 0.1}}})).await;
    dps.enroll("gone", json!({"type": "symmetricKey"}), json!({})).await;
    dps.client.delete("/enrollments/gone", None).await;
    let signing = json!({"x509": {"signingCertificates": {"primary": {"certificate": DeviceCa::new().pem}}}});
    dps.enroll_group("factory", signing, json!({"provisioningStatus": null})).await;
    let key = dps.key("pump-1").await;
    dps.register(dps.signed("pump-1", &key)).await;
    let paths = ["/enrollments/pump-1", "/enrollmentGroups/factory", "/registrations/pump-1"];
    let mut before = Vec::new();
    for path in paths {
        before.push(dps.client.get(path).await.ok());
    }
    let scope = dps.scope().clone();
    dps.hub.hub.shutdown().await;

    let dps = TestDps::start_with(in_folder()).await;
    for (path, before) in paths.iter().zip(before) {
        assert_eq!(dps.client.get(path).await.ok(), before, "{path}");
    }
    assert_eq!(dps.client.get("/enrollments/gone").await.status, 404);
    assert_eq!((dps.scope(), dps.key("pump-1").await), (&scope, key));
}

/// The binary with a DPS, and the client of its service API.
fn serve(data: &Path) -> (Process, Client) {
    let process =
        Process::serve_with(data, &["--dps", "--dps-https", "127.0.0.1:0", "--dps-mqtt", "127.0.0.1:0"]);
    let access = std::fs::read_to_string(data.join("dps-connection-string")).unwrap();
    let client = Client::new(&access.parse().unwrap(), &process.ca_pem);
    (process, client)
}

fn bulk(writer: usize, call: usize) -> Value {
    let items: Vec<_> = (0..10)
        .map(|item| json!({"registrationId": format!("w{writer}-c{call}-{item}"), "attestation": {"type": "symmetricKey"}}))
        .collect();
    json!({"mode": "create", "enrollments": items})
}

/// Counts the acknowledged calls of one writer until the service is gone.
async fn write(client: Client, writer: usize, acknowledged: Arc<AtomicUsize>) -> usize {
    for call in 0.. {
        let body = Some(bulk(writer, call).to_string());
        match client.try_call(reqwest::Method::POST, "/enrollments", None, body).await {
            Ok(answer) if answer.ok()["isSuccessful"] == true => acknowledged.fetch_add(1, Ordering::SeqCst),
            Ok(answer) => panic!("{}", answer.text),
            Err(_) => return call,
        };
    }
    unreachable!("the writer ends with the service")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_enrolment_is_lost_when_the_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (process, client) = serve(folder.path());
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> =
        (0..4).map(|writer| tokio::spawn(write(client.clone(), writer, Arc::clone(&acknowledged)))).collect();
    while acknowledged.load(Ordering::SeqCst) < 40 {
        tokio::task::yield_now().await;
    }
    process.kill();
    let mut calls = Vec::new();
    for writer in writers {
        calls.push(writer.await.unwrap());
    }
    let (_process, client) = serve(folder.path());
    for (writer, calls) in calls.into_iter().enumerate() {
        for call in 0..calls {
            for item in 0..10 {
                let path = format!("/enrollments/w{writer}-c{call}-{item}");
                assert_eq!(client.get(&path).await.status, 200, "{path}");
            }
        }
    }
}
