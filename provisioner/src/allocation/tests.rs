//! The decisions of custom allocation, and the server.

use serde_json::json;

use super::*;
use crate::clock::Timestamp;
use crate::ledger::{Ledger, Operator, RunFacts, RunOptions};
use crate::model::digest::Sha256Digest;
use crate::model::spec::StateSpec;

const KEY: &str = "a-key-of-more-than-20-characters";

/// A run with one device.
fn run_of(auth: AuthSpec) -> (SharedLedger, RunId) {
    let mut ledger = Ledger::open_temporary().unwrap();
    let (options, by, started) = (RunOptions::default(), Operator::default(), &Timestamp::now());
    let facts = RunFacts {
        hub: "hub.example:8443",
        test_hub: false,
        input: "batch.csv",
        started,
        by: &by,
        options: &options,
    };
    let object = |value: Value| std::sync::Arc::new(value.as_object().cloned().unwrap_or_default());
    let state = StateSpec {
        auth,
        tags: object(json!({"line": "L1"})),
        desired: object(json!({"interval": 60})),
        ..StateSpec::default()
    };
    let spec = IdentitySpec { identity: IdentityId::from_common_name("pump-1").unwrap(), state };
    let loader = ledger.load_run(&facts).unwrap();
    loader.insert(2, &spec, &[]).unwrap();
    let run = loader.commit(Sha256Digest::of(b"batch"), 0).unwrap();
    (SharedLedger::new(ledger), run)
}

fn by_certificate() -> AuthSpec {
    let primary = Some(hub_types::Sha256Thumbprint::of_der(b"pump-1").into());
    AuthSpec::Thumbprint { primary, secondary: None }
}

fn request(id: &str, context: Value) -> Value {
    let mut device = json!({"registrationId": id});
    device.as_object_mut().unwrap().extend(context.as_object().unwrap().clone());
    json!({"enrollmentGroup": {}, "deviceRuntimeContext": device, "linkedHubs": ["other.example", "HUB.example"]})
}

async fn answer(auth: AuthSpec, request: Value) -> Result<AllocationAnswer, String> {
    let (ledger, run) = run_of(auth);
    let allocation = Allocation::new(ledger, run, "hub.example:8443");
    allocation.answer(request.to_string().as_bytes()).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_device_gets_the_hub_of_the_run_and_the_twin_of_its_row() {
    let answered =
        answer(AuthSpec::Sas { given: false }, request("pump-1", json!({"symmetricKey": {}}))).await;
    assert_eq!(
        serde_json::to_value(answered.unwrap()).unwrap(),
        json!({
            "iotHubHostName": "HUB.example",
            "initialTwin": {"tags": {"line": "L1"}, "properties": {"desired": {"interval": 60}}},
        })
    );
    let stranger = answer(AuthSpec::Sas { given: false }, request("pump-2", json!({}))).await;
    assert_eq!(stranger.unwrap_err(), "no row of the run is about this device");
    let mut elsewhere = request("pump-1", json!({}));
    elsewhere["linkedHubs"] = json!(["other.example"]);
    let elsewhere = answer(AuthSpec::Sas { given: false }, elsewhere).await;
    assert!(elsewhere.unwrap_err().contains("it names other.example"));
    let wrong = answer(AuthSpec::X509Ca, json!({"deviceRuntimeContext": {}})).await;
    assert!(wrong.unwrap_err().starts_with("the request can't be read"));
}

#[tokio::test]
async fn the_certificate_must_be_that_of_the_row_if_the_row_has_one() {
    let sha256 = hub_types::Sha256Thumbprint::of_der(b"pump-1").to_string();
    let other = hub_types::Sha256Thumbprint::of_der(b"pump-2").to_string();
    for (certificate, is_taken) in [
        (json!({"info": {"sha256Thumbprint": sha256}}), true),
        (json!({"info": {"sha256Thumbprint": other}}), false),
        (json!(STANDARD.encode("pump-1")), true),
        (json!({"certificate": STANDARD.encode("pump-2")}), false),
        (json!({}), true),
        (Value::Null, true),
    ] {
        let request = request("pump-1", json!({"x509": {"clientCertificate": certificate}}));
        let answered = answer(by_certificate(), request.clone()).await;
        assert_eq!(answered.is_ok(), is_taken, "{request}: {answered:?}");
        assert!(answer(AuthSpec::X509Ca, request).await.is_ok());
    }
}

#[test]
fn a_key_is_long_and_is_compared_as_a_whole() {
    let key = AllocationKey::parse(&format!("{KEY}\r")).unwrap();
    assert!(key.is_in(&format!("code={KEY}")) && key.is_in(&format!("x=1&code={KEY}")));
    for wrong in ["", "code=", "code=a", &format!("code={KEY}x"), KEY, &format!("xcode={KEY}")] {
        assert!(!key.is_in(wrong), "{wrong}");
    }
    for weak in ["", "short", "with a blank in the middle of it", "with/slashes/in/the/middle"] {
        assert!(AllocationKey::parse(weak).is_none(), "{weak}");
    }
    assert!(!format!("{key:?}").contains(KEY));
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "it calls a server of the test")]
async fn the_server_answers_only_who_knows_the_key() {
    let (ledger, run) = run_of(AuthSpec::Sas { given: false });
    let settings = ListenSettings {
        address: "127.0.0.1:0".parse().unwrap(),
        key: AllocationKey::parse(KEY).unwrap(),
        tls: None,
    };
    let allocation = Allocation::new(ledger, run, "hub.example:8443");
    let server = AllocationServer::start(&settings, allocation.clone()).await.unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = async |query: &str, body: String| {
        let response = client.post(format!("{}{query}", server.url)).body(body).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let known = request("pump-1", json!({})).to_string();
    let code = format!("?code={KEY}");
    let (status, body) = post(&code, known.clone()).await;
    assert!(status == 200 && body.contains("HUB.example"), "{status} {body}");
    assert_eq!(post("", known.clone()).await.0, 401);
    assert_eq!(post("?code=wrong", known).await.0, 401);
    assert_eq!(post(&code, request("pump-9", json!({})).to_string()).await.0, 404);
    assert_eq!(post(&code, "x".repeat(300 << 10)).await.0, 400);
    assert_eq!(client.get(format!("{}{code}", server.url)).send().await.unwrap().status().as_u16(), 404);

    let exposed = ListenSettings { address: "0.0.0.0:0".parse().unwrap(), ..settings };
    let refused = AllocationServer::start(&exposed, allocation).await.err();
    assert!(matches!(refused, Some(ListenError::Exposed(_))));
}
