//! Access to the service API of a DPS.

use hub_types::sas::SasToken;
use local_hub::Config;
use serde_json::json;
use time::OffsetDateTime;

use crate::dps::{TestDps, with_dps};
use crate::dps_enrollments::refused;

#[tokio::test]
async fn a_token_is_needed_that_the_policy_has_signed_for_this_host() {
    let dps = TestDps::start().await;
    let access = dps.dps().connection_string("provisioningserviceowner").unwrap();
    let now = OffsetDateTime::now_utc().unix_timestamp() as u64;
    let host = access.host.as_str();
    let token = |resource: &str, policy: Option<&str>, expiry: u64| {
        SasToken::sign(resource, policy, &access.key, expiry).expose_text().to_string()
    };
    let owner = Some("provisioningserviceowner");
    let with = async |token: Option<&str>| dps.client.authorized_by(token).get("/enrollments/pump").await;
    // Azure's clients sign the bare host in lower case.
    for resource in [host, "localhost", "LOCALHOST"] {
        refused(&with(Some(&token(resource, owner, now + 60))).await, 404, 404_201);
    }
    let of_the_hub = dps.hub.hub.connection_string("iothubowner").unwrap();
    let foreign = SasToken::sign(host, owner, &of_the_hub.key, now + 60).expose_text().to_string();
    for wrong in [
        token(host, owner, now - 60),
        token("other.example", owner, now + 60),
        token(host, Some("iothubowner"), now + 60),
        token(host, None, now + 60),
        foreign,
        "SharedAccessSignature nonsense".to_owned(),
    ] {
        refused(&with(Some(&wrong)).await, 401, 401_002);
    }
    refused(&with(None).await, 401, 401_002);
}

#[tokio::test]
async fn tokens_as_of_entra_id_are_taken_only_where_they_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let config = |entra_test| Config { data: Some(folder.path().join("hub")), entra_test, ..with_dps() };
    TestDps::start_with(config(false)).await.hub.hub.shutdown().await;
    let token = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_local-hub"));
        command.arg("entra-token").args(arguments).arg("--data").arg(folder.path().join("hub"));
        let output = command.output().unwrap();
        let token = format!("Bearer {}", String::from_utf8(output.stdout).unwrap().trim());
        (output.status.code(), token)
    };
    let (_, contributor) = token(&["--dps", "--role", "data-contributor"]);
    let (_, reader) = token(&["--dps", "--role", "data-reader"]);
    let (_, of_the_hub) = token(&["--role", "data-contributor"]);
    assert_eq!(token(&["--dps", "--role", "twin-contributor"]).0, Some(2));

    let dps = TestDps::start_with(config(false)).await;
    let with = dps.client.authorized_by(Some(&contributor));
    refused(&with.get("/enrollments/pump").await, 401, 401_002);
    dps.hub.hub.shutdown().await;

    let dps = TestDps::start_with(config(true)).await;
    let with = |token: &str| dps.client.authorized_by(Some(token));
    let entry = json!({"registrationId": "pump", "attestation": {"type": "symmetricKey"}});
    with(&contributor).put("/enrollments/pump", None, &entry).await.ok();
    let reader = with(&reader);
    reader.get("/enrollments/pump").await.ok();
    refused(&reader.delete("/enrollments/pump", None).await, 401, 401_002);
    let keys = reader.post("/enrollments/pump/attestationmechanism", &json!({})).await;
    refused(&keys, 401, 401_002);
    refused(&with(&of_the_hub).get("/enrollments/pump").await, 401, 401_002);
    dps.hub.hub.clock().advance(time::Duration::hours(2));
    refused(&with(&contributor).get("/enrollments/pump").await, 401, 401_002);
}

#[tokio::test]
async fn every_operation_of_services_needs_access() {
    let dps = TestDps::start().await;
    let stranger = dps.client.authorized_by(None);
    let operations = include_str!("../../dps-operations.txt");
    let mut asked = 0;
    for line in operations.lines() {
        let mut words = line.split(' ');
        let (_, method, path) = (words.next(), words.next().unwrap(), words.next().unwrap());
        let path = path.trim_end_matches(':').replace("{}", "x");
        if !["/enrollment", "/registrations"].iter().any(|service| path.starts_with(service)) {
            continue;
        }
        let answer = stranger.call(method.parse().unwrap(), &path, None, Some(&json!({}))).await;
        refused(&answer, 401, 401_002);
        asked += 1;
    }
    assert_eq!(asked, 15);
}
