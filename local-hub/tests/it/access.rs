//! Tokens, policies, api-versions.

use hub_types::SymmetricKey;
use hub_types::sas::SasToken;
use local_hub::Config;
use reqwest::Method;
use serde_json::json;

use crate::support::{Client, TestHub, stopped_at};

const NOW: i64 = 1_790_000_000;
const LATER: u64 = NOW as u64 + 60;

fn token(resource: &str, policy: Option<&str>, key: &SymmetricKey, expiry: u64) -> String {
    SasToken::sign(resource, policy, key, expiry).expose_text().to_string()
}

async fn get(client: &Client, authorization: &str) -> crate::support::Answer {
    client.authorized_by(Some(authorization)).get("/devices").await
}

#[tokio::test]
async fn a_token_is_good_for_the_host_in_any_case_with_or_without_port() {
    let hub = TestHub::start_with(stopped_at(NOW)).await;
    let owner = hub.hub.connection_string("iothubowner").unwrap();
    let host = owner.host.as_str();
    for resource in [host, "localhost", "LOCALHOST", &host.to_uppercase(), &format!("{host}/devices")] {
        let token = token(resource, Some("iothubowner"), &owner.key, LATER);
        assert_eq!(get(&hub.client, &token).await.status, 200, "{resource}");
    }
}

#[tokio::test]
async fn a_token_for_something_else_is_refused() {
    let hub = TestHub::start_with(stopped_at(NOW)).await;
    let owner = hub.hub.connection_string("iothubowner").unwrap();
    for resource in ["otherhost", "localhost/twins", "localhost/device"] {
        let token = token(resource, Some("iothubowner"), &owner.key, LATER);
        get(&hub.client, &token).await.refused(401, "IotHubUnauthorizedAccess");
    }
}

#[tokio::test]
async fn a_token_ends_with_the_hubs_clock() {
    let hub = TestHub::start_with(stopped_at(NOW)).await;
    let owner = hub.hub.connection_string("iothubowner").unwrap();
    let expired = token("localhost", Some("iothubowner"), &owner.key, NOW as u64);
    get(&hub.client, &expired).await.refused(401, "IotHubUnauthorized");
    let fresh = token("localhost", Some("iothubowner"), &owner.key, NOW as u64 + 1);
    assert_eq!(get(&hub.client, &fresh).await.status, 200);
}

#[tokio::test]
async fn a_wrong_key_an_unknown_policy_and_no_policy_are_refused() {
    let hub = TestHub::start_with(stopped_at(NOW)).await;
    let owner = hub.hub.connection_string("iothubowner").unwrap();
    let wrong = SymmetricKey::from_bytes(&[7; 32]);
    for token in [
        token("localhost", Some("iothubowner"), &wrong, LATER),
        token("localhost", Some("nobody"), &owner.key, LATER),
        token("localhost", None, &owner.key, LATER),
    ] {
        get(&hub.client, &token).await.refused(401, "IotHubUnauthorizedAccess");
    }
}

#[tokio::test]
async fn what_is_no_token_is_refused_without_being_repeated() {
    let hub = TestHub::start().await;
    hub.client.authorized_by(None).get("/devices").await.refused(401, "IotHubUnauthorized");
    for authorization in ["Bearer hunter2", "SharedAccessSignature sr=hunter2", "hunter2"] {
        let answer = get(&hub.client, authorization).await;
        answer.refused(401, "IotHubUnauthorized");
        assert!(!answer.text.contains("hunter2"));
    }
}

#[tokio::test]
async fn each_policy_can_do_what_it_has_a_right_to() {
    let hub = TestHub::start().await;
    hub.client.put("/devices/d", None, &json!({"deviceId": "d"})).await.ok();
    for (policy, read, write, twin) in [
        ("iothubowner", 200, 200, 200),
        ("registryReadWrite", 200, 200, 401),
        ("registryRead", 200, 401, 401),
        ("service", 401, 401, 200),
        ("device", 401, 401, 401),
    ] {
        let client = hub.client_of(policy);
        assert_eq!(client.get("/devices/d").await.status, read, "{policy}");
        let body = json!({"deviceId": "d"});
        assert_eq!(client.put("/devices/d", Some("*"), &body).await.status, write, "{policy}");
        assert_eq!(client.get("/twins/d").await.status, twin, "{policy}");
        assert_eq!(client.query("SELECT * FROM devices", &[]).await.status, twin, "{policy}");
    }
}

/// The end of the line of an operation that the hub does not have.
const NOT_IMPLEMENTED: &str = "; not implemented";

/// The file lists every operation and the policies that may perform it.
#[tokio::test]
async fn every_operation_is_open_to_the_policies_written_down_and_no_others() {
    let hub = TestHub::start().await;
    hub.client.put("/devices/d", None, &json!({"deviceId": "d"})).await.ok();
    let policies = ["iothubowner", "service", "device", "registryRead", "registryReadWrite"];
    let clients = policies.map(|policy| (policy, hub.client_of(policy)));
    for row in include_str!("../../operations.txt").lines() {
        let row = row.strip_suffix(NOT_IMPLEMENTED).unwrap_or(row);
        let (operation, allowed) = row.split_once(": ").unwrap();
        let (_, request) = operation.split_once(' ').unwrap();
        let (method, path) = request.split_once(' ').unwrap();
        for (policy, client) in &clients {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let answer = client.call(method, &path.replace("{}", "d"), None, Some(&json!({}))).await;
            // Whoever is let in may still meet another refusal, for the request asks for nothing.
            let refused = answer.text.contains("has no right to");
            assert_eq!(refused, !allowed.split(' ').any(|name| name == *policy), "{policy}: {operation}");
            assert!(!refused || answer.status == 401, "{policy}: {operation}");
        }
    }
}

#[tokio::test]
async fn a_token_has_its_parameters_in_any_order() {
    let hub = TestHub::start_with(stopped_at(NOW)).await;
    let owner = hub.hub.connection_string("iothubowner").unwrap();
    let token = token("localhost", Some("iothubowner"), &owner.key, LATER);
    let (scheme, parameters) = token.split_once(' ').unwrap();
    let parameters: Vec<_> = parameters.split('&').collect();
    assert_eq!(parameters.len(), 4);
    for start in 0..parameters.len() {
        let mut order = parameters.clone();
        order.rotate_left(start);
        for order in [order.join("&"), order.iter().rev().copied().collect::<Vec<_>>().join("&")] {
            assert_eq!(get(&hub.client, &format!("{scheme} {order}")).await.status, 200, "{order}");
        }
    }
    // The Python SDK leaves slashes of the signature as they are, others escape them.
    for written in [token.replace("%2F", "/"), token.replace("%2F", "%2f"), token.replace('/', "%2F")] {
        assert_eq!(get(&hub.client, &written).await.status, 200, "{written}");
    }
}

#[tokio::test]
async fn the_api_versions_that_clients_send_are_taken_and_what_is_none_is_not() {
    let hub = TestHub::start().await;
    for version in [
        "2018-06-30",
        "2019-10-01",
        "2020-05-31-preview",
        "2020-09-30",
        "2021-04-12",
        "2024-03-31",
        "2017-11-08-preview",
        "2018-08-30-preview",
        "2019-06-30",
        "2020-03-01",
        "2026-11-01-preview",
    ] {
        let answer = hub.client.get(&format!("/devices?api-version={version}")).await;
        assert_eq!(answer.status, 200, "{version}");
    }
    for path in ["/devices?api-version=1999-01-01", "/devices?top=1", "/devices?api-version="] {
        hub.client.get(path).await.refused(400, "InvalidProtocolVersion");
    }
}

#[tokio::test]
async fn what_the_hub_does_not_do_it_says_by_name() {
    let hub = TestHub::start().await;
    let answer = hub.client.get("/digitaltwins/d").await;
    answer.refused(501, "NotImplemented");
    assert!(answer.text.contains("GetDigitalTwin"));
    assert_eq!(hub.client.get("/nothing/here").await.status, 404);
    assert_eq!(hub.client.patch("/devices/d", None, &json!({})).await.status, 405);
}

#[tokio::test]
async fn tokens_as_of_entra_id_are_taken_only_where_they_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let config =
        |entra_test| Config { data: Some(folder.path().join("hub")), entra_test, ..Config::default() };
    TestHub::start_with(config(false)).await.hub.shutdown().await;
    let token = |role: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_local-hub"));
        command.args(["entra-token", "--role", role, "--data"]).arg(folder.path().join("hub"));
        format!("Bearer {}", String::from_utf8(command.output().unwrap().stdout).unwrap().trim())
    };
    let contributor = token("data-contributor");

    let hub = TestHub::start_with(config(false)).await;
    let bearer = hub.client.authorized_by(Some(&contributor));
    bearer.get("/devices/d").await.refused(401, "IotHubUnauthorized");
    hub.hub.shutdown().await;

    let hub = TestHub::start_with(config(true)).await;
    let bearer = |token: &str| hub.client.authorized_by(Some(token));
    bearer(&contributor).put("/devices/d", None, &json!({"deviceId": "d"})).await.ok();
    let reader = bearer(&token("data-reader"));
    reader.get("/twins/d").await.ok();
    reader.query("SELECT * FROM devices", &[]).await.ok();
    reader.patch("/twins/d", None, &json!({"tags": {"a": 1}})).await.refused(401, "IotHubUnauthorizedAccess");
    let registry = bearer(&token("registry-contributor"));
    registry.get("/devices/d").await.ok();
    registry.get("/twins/d").await.refused(401, "IotHubUnauthorizedAccess");
    bearer(&token("twin-contributor"))
        .delete("/devices/d", Some("*"))
        .await
        .refused(401, "IotHubUnauthorizedAccess");

    // What a signature shared with the hub denies, a token of Entra ID is told to be missing.
    hub.client.get("/devices/nobody/modules/m").await.refused(401, "IotHubUnauthorizedAccess");
    bearer(&contributor).get("/devices/nobody/modules/m").await.refused(404, "DeviceNotFound");

    // {"alg":"none"} and a token with another signature.
    let (body, _) = contributor.rsplit_once('.').unwrap();
    let payload = body.split('.').nth(1).unwrap();
    for forged in
        [format!("{body}."), format!("{body}.AAAA"), format!("Bearer eyJhbGciOiJub25lIn0.{payload}.")]
    {
        bearer(&forged).get("/devices/d").await.refused(401, "IotHubUnauthorized");
    }
    hub.hub.clock().advance(time::Duration::hours(2));
    bearer(&contributor).get("/devices/d").await.refused(401, "IotHubUnauthorized");
}

/// Node's client over HTTPS interpreted "no operation at this path" as a missing device.
#[tokio::test]
async fn every_operation_that_is_not_here_is_named_to_services_and_to_devices() {
    let hub = TestHub::start().await;
    let key = hub.client.put("/devices/d", None, &json!({"deviceId": "d"})).await.ok();
    let key = key["authentication"]["symmetricKey"]["primaryKey"].as_str().unwrap().parse().unwrap();
    let token = token("localhost/devices/d", None, &key, u64::MAX);
    let rows = include_str!("../../operations.txt").lines();
    for row in rows.filter_map(|row| row.strip_suffix(NOT_IMPLEMENTED)) {
        let (operation, _) = row.split_once(": ").unwrap();
        let (name, request) = operation.split_once(' ').unwrap();
        let (method, path) = request.split_once(' ').unwrap();
        let clients =
            [hub.client.clone(), hub.client.authorized_by(Some(&token)), hub.client.authorized_by(None)];
        let is_for_devices = path.starts_with("/devices/");
        for client in clients.iter().take(if is_for_devices { 3 } else { 1 }) {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let answer = client.call(method, &path.replace("{}", "d"), None, Some(&json!({}))).await;
            answer.refused(501, "NotImplemented");
            assert!(answer.text.contains(name), "{row}: {}", answer.text);
        }
    }
    let lower = hub.client.authorized_by(Some(&token)).get("/devices/d/messages/devicebound").await;
    lower.refused(501, "NotImplemented");
}
