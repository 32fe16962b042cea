//! Access to the service API of a DPS.

use hub_types::sas::SasToken;
use serde_json::json;
use time::OffsetDateTime;

use crate::dps::TestDps;
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
