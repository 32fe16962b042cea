//! The choice of a hub: by policy, among several hubs, and by a function over HTTP.

use std::collections::BTreeSet;

use local_hub::{Config, DpsConfig, LocalHub};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::device::self_signed;
use crate::dps::{TestDps, of_client, of_keys, with_dps};
use crate::support::{TestHub, with_devices};

/// A second hub, by the name 127.0.0.1, and a DPS that is linked with it.
pub(crate) async fn with_second_hub() -> (TestDps, TestHub, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let host_names = vec!["127.0.0.1".to_owned()];
    let data = Some(folder.path().join("b"));
    let second = TestHub::start_with(Config { host_names, data: data.clone(), ..with_devices() }).await;
    let config = with_dps();
    let dps = DpsConfig { linked_hubs: data.into_iter().collect(), ..config.dps.clone().unwrap() };
    let dps = TestDps::start_with(Config { dps: Some(dps), ..config }).await;
    (dps, second, folder)
}

/// A function that answers each request with what `answer` makes of it. The requests go to the
/// channel.
async fn function(answer: fn(&Value) -> (u16, Value)) -> (String, mpsc::UnboundedReceiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/allocate?code=s3cret", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let request = read_request(&mut stream).await;
            let (status, body) = answer(&request);
            let _ = sender.send(request);
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all((head + &body).as_bytes()).await;
        }
    });
    (url, receiver)
}

async fn read_request(stream: &mut (impl AsyncReadExt + Unpin)) -> Value {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()
            });
            if body.len() >= length.unwrap() {
                return serde_json::from_str(body).unwrap();
            }
        }
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "{text}");
    }
}

fn custom(url: &str) -> Value {
    json!({
        "allocationPolicy": "custom",
        "customAllocationDefinition": {"webhookUrl": url, "apiVersion": "2019-03-31"},
    })
}

async fn register(dps: &TestDps, id: &str) -> Value {
    dps.register(dps.signed(id, &dps.key(id).await)).await
}

#[tokio::test]
async fn devices_are_spread_over_the_hubs_by_their_ids() {
    let (dps, second, _folder) = with_second_hub().await;
    let mut hubs = BTreeSet::new();
    for number in 0..16 {
        let id = format!("pump-{number}");
        dps.enroll(&id, of_keys(), json!({})).await;
        let state = register(&dps, &id).await["registrationState"].clone();
        let hub = state["assignedHub"].as_str().unwrap().to_owned();
        let client = if hub == "localhost" { &dps.hub.client } else { &second.client };
        client.get(&format!("/devices/{id}")).await.ok();
        hubs.insert(hub);
    }
    assert_eq!(hubs, ["127.0.0.1", "localhost"].map(str::to_owned).into());
}

#[tokio::test]
async fn an_entry_names_its_hub() {
    let (dps, second, _folder) = with_second_hub().await;
    let further = json!({
        "allocationPolicy": "static", "iotHubs": ["127.0.0.1"],
        "initialTwin": {"tags": {"site": "A"}, "properties": {"desired": {"rate": 5}}},
    });
    let pump = self_signed("pump");
    dps.enroll("pump", of_client(&pump), further).await;
    assert_eq!(dps.register_with("pump", pump).await["registrationState"]["assignedHub"], "127.0.0.1");
    let twin = second.client.get("/twins/pump").await.ok();
    assert_eq!((&twin["tags"]["site"], &twin["properties"]["desired"]["rate"]), (&json!("A"), &json!(5)));
    assert_eq!(second.client.get("/devices/pump").await.ok()["authentication"]["type"], "selfSigned");
    dps.enroll("valve", of_keys(), json!({"iotHubs": ["elsewhere.example"]})).await;
    let outcome = register(&dps, "valve").await;
    assert_eq!(outcome["status"], "failed");
    let message = outcome["registrationState"]["errorMessage"].as_str().unwrap();
    assert!(message.contains("`elsewhere.example`, which is not linked"), "{message}");
}

#[tokio::test]
async fn a_function_chooses_the_hub_the_twin_and_data_for_the_device() {
    let dps = TestDps::start().await;
    let (url, mut requests) = function(|request| {
        let context = &request["deviceRuntimeContext"];
        let twin = json!({"tags": {"for": context["registrationId"]}});
        let hub = request["linkedHubs"][0].clone();
        (200, json!({"iotHubHostName": hub, "initialTwin": twin, "payload": {"echo": context["payload"]}}))
    })
    .await;
    let pump = self_signed("pump");
    dps.enroll("pump", of_client(&pump), custom(&url)).await;
    let mut device = dps.connect(dps.login("pump").with_certificate(pump)).await.unwrap();
    let outcome = device.register(json!({"payload": {"line": 4}})).await;
    let state = &outcome["registrationState"];
    assert_eq!((&state["status"], &state["payload"]["echo"]["line"]), (&json!("assigned"), &json!(4)));
    assert_eq!(dps.hub.client.get("/twins/pump").await.ok()["tags"]["for"], "pump");
    let request = requests.recv().await.unwrap();
    assert_eq!(request["individualEnrollment"]["registrationId"], "pump");
    assert_eq!(request["linkedHubs"], json!(["localhost"]));
    let info = &request["deviceRuntimeContext"]["x509"]["clientCertificate"]["info"];
    assert_eq!(info["subjectName"], "CN=pump");
    dps.enroll("valve", of_keys(), custom(&url)).await;
    assert_eq!(register(&dps, "valve").await["status"], "assigned");
    let request = requests.recv().await.unwrap().to_string();
    assert!(!request.contains("primaryKey"), "a function gets no keys: {request}");
}

#[tokio::test]
async fn a_function_that_fails_is_400207_and_is_not_asked_again_by_the_dps() {
    let dps = TestDps::start().await;
    let (refuses, mut requests) = function(|_| (500, json!({}))).await;
    let (stranger, _others) = function(|_| (200, json!({"iotHubHostName": "elsewhere.example"}))).await;
    let (nothing, _others) = function(|_| (200, json!({}))).await;
    let nobody = "http://127.0.0.1:9/api?code=s3cret".to_owned();
    for (id, url) in [("a", refuses), ("b", stranger), ("c", nothing), ("d", nobody)] {
        dps.enroll(id, of_keys(), custom(&url)).await;
        let outcome = register(&dps, id).await;
        let state = &outcome["registrationState"];
        assert_eq!((&state["status"], &state["errorCode"]), (&json!("failed"), &json!(400_207)), "{id}");
        assert!(!state["errorMessage"].as_str().unwrap().contains("s3cret"), "{state}");
        dps.hub.client.get(&format!("/devices/{id}")).await.with_status(404);
        assert_eq!(dps.client.get(&format!("/registrations/{id}")).await.ok()["errorCode"], 400_207);
    }
    requests.recv().await.unwrap();
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn hubs_of_one_name_can_not_be_linked() {
    let folder = tempfile::tempdir().unwrap();
    let data = Some(folder.path().join("b"));
    let _second = TestHub::start_with(Config { data: data.clone(), ..with_devices() }).await;
    let config = with_dps();
    let dps = DpsConfig { linked_hubs: data.into_iter().collect(), ..config.dps.clone().unwrap() };
    let error = LocalHub::start(Config { dps: Some(dps), ..config }).await.unwrap_err().to_string();
    assert!(error.contains("is called `localhost`") && error.contains("--host-name"), "{error}");
}
