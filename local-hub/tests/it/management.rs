//! The management port, and state that is exported and imported.

use std::net::{Ipv4Addr, SocketAddr};

use local_hub::{Config, Error, LocalHub};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::TestHub;

pub(crate) fn managed() -> Config {
    Config { management: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))), ..Config::default() }
}

/// Sends one request to the management port; returns the status, and the document of the response.
pub(crate) async fn ask(hub: &TestHub, method: Method, path: &str, body: Value) -> (u16, Value) {
    let token = hub.hub.management_token().unwrap().to_owned();
    ask_with(hub, method, path, body, &format!("Bearer {token}")).await
}

async fn ask_with(hub: &TestHub, method: Method, path: &str, body: Value, bearer: &str) -> (u16, Value) {
    let url = format!("http://{}{path}", hub.hub.management_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "the client of a test")]
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.request(method, url).header("authorization", bearer).body(body.to_string());
    let response = request.send().await.unwrap();
    (response.status().as_u16(), serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

async fn put(hub: &TestHub, id: &str) {
    hub.client.put(&format!("/devices/{id}"), None, &json!({"deviceId": id})).await.ok();
}

async fn devices(hub: &TestHub) -> u64 {
    hub.client.get("/statistics/devices").await.ok()["totalDeviceCount"].as_u64().unwrap()
}

#[tokio::test]
async fn only_who_has_the_token_is_let_in() {
    let hub = TestHub::start_with(managed()).await;
    for bearer in ["", "Bearer ", "Bearer x", hub.hub.management_token().unwrap()] {
        let (status, answer) = ask_with(&hub, Method::DELETE, "/state", Value::Null, bearer).await;
        assert_eq!(status, 401, "{bearer}");
        assert!(answer["error"].as_str().unwrap().contains("management-token"));
    }
    assert_eq!(ask(&hub, Method::GET, "/faults", Value::Null).await.0, 200);
    let (status, answer) = ask(&hub, Method::GET, "/nothing", Value::Null).await;
    assert_eq!(status, 404);
    assert!(answer["error"].as_str().unwrap().contains("/faults"), "{answer}");
}

#[tokio::test]
async fn it_is_never_reachable_from_other_machines() {
    let config = Config { management: Some("0.0.0.0:0".parse().unwrap()), ..Config::default() };
    let error = LocalHub::start(config).await.unwrap_err();
    assert!(matches!(error, Error::ManagementNotLoopback(_)), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn the_token_is_in_a_file_that_only_the_owner_can_read() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let hub = TestHub::start_with(Config { data: Some(folder.path().to_owned()), ..managed() }).await;
    let file = folder.path().join("management-token");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), hub.hub.management_token().unwrap());
    assert!(!format!("{:?}", hub.hub).contains(hub.hub.management_token().unwrap()));
}

#[tokio::test]
async fn faults_are_set_shown_and_ended() {
    let hub = TestHub::start_with(managed()).await;
    let faults = json!({"seed": 3, "fault": [{"operation": "GetDevice", "effect": "status", "status": 503}]});
    assert_eq!(ask(&hub, Method::PUT, "/faults", faults).await.0, 200);
    put(&hub, "d").await;
    hub.client.get("/devices/d").await.refused(503, "ServiceUnavailable");
    let (_, shown) = ask(&hub, Method::GET, "/faults", Value::Null).await;
    assert_eq!((&shown["seed"], &shown["fault"][0]["code"]), (&json!(3), &json!("ServiceUnavailable")));
    assert_eq!(ask(&hub, Method::DELETE, "/faults", Value::Null).await.0, 200);
    hub.client.get("/devices/d").await.ok();
    for wrong in
        [json!({"fault": [{"effect": "boom"}]}), json!({"fault": [{"effect": "reset", "operation": "X"}]})]
    {
        let (status, answer) = ask(&hub, Method::PUT, "/faults", wrong).await;
        assert_eq!(status, 400);
        assert!(answer["error"].as_str().unwrap().starts_with("fault 1: "), "{answer}");
    }
}

#[tokio::test]
async fn a_hub_off_the_network_is_still_managed() {
    let hub = TestHub::start_with(managed()).await;
    assert_eq!(ask(&hub, Method::PUT, "/network", json!({"gone": true})).await.0, 200);
    hub.client.try_call(Method::GET, "/devices", None, None).await.unwrap_err();
    assert_eq!(ask(&hub, Method::GET, "/network", Value::Null).await.1, json!({"gone": true}));
    assert_eq!(ask(&hub, Method::PUT, "/network", json!({"gone": false})).await.0, 200);
    assert_eq!(devices(&hub).await, 0);
}

#[tokio::test]
async fn the_clock_is_moved_and_tokens_expire_by_it() {
    let hub = TestHub::start_with(managed()).await;
    let (status, clock) =
        ask(&hub, Method::PUT, "/clock", json!({"stopped": true, "advanceSeconds": 7200})).await;
    assert_eq!((status, &clock["stopped"]), (200, &json!(true)));
    assert_eq!(ask(&hub, Method::GET, "/clock", Value::Null).await.1, clock);
    // The client's token was good for an hour.
    hub.client.get("/devices").await.refused(401, "IotHubUnauthorized");
    let (_, clock) = ask(&hub, Method::PUT, "/clock", json!({"now": "2026-01-02T03:04:05Z"})).await;
    assert_eq!(clock["now"], "2026-01-02T03:04:05Z");
    put(&hub, "d").await;
    let twin = hub.client.get("/twins/d").await.ok();
    assert_eq!(twin["properties"]["desired"]["$metadata"]["$lastUpdated"], "2026-01-02T03:04:05Z");
    for wrong in [json!({"now": "yesterday"}), json!({"advanceSeconds": 1e300}), json!({"speed": 2})] {
        assert_eq!(ask(&hub, Method::PUT, "/clock", wrong).await.0, 400);
    }
}

#[tokio::test]
async fn a_snapshot_brings_everything_back() {
    let hub = TestHub::start_with(managed()).await;
    put(&hub, "a").await;
    hub.client.patch("/twins/a", None, &json!({"tags": {"n": 1}})).await.ok();
    let before = hub.client.get("/twins/a").await.ok();
    assert_eq!(ask(&hub, Method::PUT, "/snapshots/clean", Value::Null).await.0, 200);
    hub.client.patch("/twins/a", None, &json!({"tags": {"n": 2}})).await.ok();
    put(&hub, "b").await;
    assert_eq!(ask(&hub, Method::GET, "/snapshots", Value::Null).await.1, json!(["clean"]));
    for _ in 0..2 {
        assert_eq!(ask(&hub, Method::DELETE, "/state", Value::Null).await.0, 200);
        assert_eq!(devices(&hub).await, 0);
        assert_eq!(ask(&hub, Method::POST, "/snapshots/clean/restore", Value::Null).await.0, 200);
        assert_eq!((devices(&hub).await, hub.client.get("/twins/a").await.ok()), (1, before.clone()));
    }
    assert_eq!(ask(&hub, Method::DELETE, "/snapshots/clean", Value::Null).await.0, 200);
    assert_eq!(ask(&hub, Method::POST, "/snapshots/clean/restore", Value::Null).await.0, 404);
}

#[tokio::test]
async fn state_goes_from_hub_to_hub_and_is_durable() {
    let first = TestHub::start_with(managed()).await;
    put(&first, "a").await;
    first.client.put("/devices/a/modules/m", None, &json!({"deviceId": "a", "moduleId": "m"})).await.ok();
    first
        .client
        .patch("/twins/a/modules/m", None, &json!({"properties": {"desired": {"x": [1]}}}))
        .await
        .ok();
    let (status, state) = ask(&first, Method::GET, "/state", Value::Null).await;
    assert_eq!(status, 200);

    let folder = tempfile::tempdir().unwrap();
    let config = || Config { data: Some(folder.path().to_owned()), ..managed() };
    let second = TestHub::start_with(config()).await;
    put(&second, "gone").await;
    put(&second, "a").await;
    assert_eq!(ask(&second, Method::POST, "/state", state.clone()).await.0, 200);
    assert_eq!(devices(&second).await, 2);
    assert_eq!(ask(&second, Method::POST, "/state?replace=true", state.clone()).await.0, 200);
    assert_eq!(devices(&second).await, 1);
    let (status, answer) =
        ask(&second, Method::POST, "/state", json!({"devices": {"x": {"identity": {"status": 1}}}})).await;
    assert_eq!(status, 400);
    assert!(answer["error"].as_str().unwrap().starts_with("device x: "), "{answer}");
    second.hub.shutdown().await;

    let again = TestHub::start_with(config()).await;
    assert_eq!(ask(&again, Method::GET, "/state", Value::Null).await.1, state);
    let keys = |twin: &Value| twin["authentication"]["symmetricKey"].clone();
    let original = first.client.get("/devices/a").await.ok();
    assert_eq!(keys(&again.client.get("/devices/a").await.ok()), keys(&original));

    // The same without the management port, for hubs in one process.
    let third = TestHub::start().await;
    third.hub.import_state(&again.hub.export_state().unwrap(), true).await.unwrap();
    assert_eq!(keys(&third.client.get("/devices/a").await.ok()), keys(&original));
}

#[tokio::test]
async fn configurations_go_with_the_devices() {
    let first = TestHub::start_with(managed()).await;
    let twin = json!({"deviceContent": {"properties.desired.a": 1}});
    let edge = json!({"modulesContent": {"$edgeAgent": {"properties.desired": {}}}});
    for (id, content) in [("adm", &twin), ("edge", &edge)] {
        let configuration = json!({"id": id, "content": content, "targetCondition": "tags.site='Ulm'",
            "priority": 3, "labels": {"by": "me"}, "metrics": {"queries": {"n": "SELECT deviceId FROM devices"}}});
        first.client.put(&format!("/configurations/{id}"), None, &configuration).await.with_status(200);
    }
    let (_, state) = ask(&first, Method::GET, "/state", Value::Null).await;
    let configurations = &state["configurations"];
    assert_eq!(configurations["admConfigurations"]["adm"]["content"], twin);
    assert_eq!(configurations["edgeDeployments"]["edge"]["content"], edge);

    let second = TestHub::start_with(managed()).await;
    let other = json!({"id": "other", "content": twin});
    second.client.put("/configurations/other", None, &other).await.with_status(200);
    let ids = async || {
        let all = second.client.get("/configurations").await.ok();
        all.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ask(&second, Method::POST, "/state", state.clone()).await.0, 200);
    assert_eq!(ids().await, ["adm", "edge", "other"]);
    assert_eq!(ask(&second, Method::POST, "/state?replace=true", state.clone()).await.0, 200);
    assert_eq!(ids().await, ["adm", "edge"]);
    for member in ["content", "priority", "labels", "targetCondition", "metrics"] {
        let original = first.client.get("/configurations/adm").await.ok();
        assert_eq!(second.client.get("/configurations/adm").await.ok()[member], original[member], "{member}");
    }

    // Nothing of a document that is refused is put in.
    let mut wrong = state.clone();
    wrong["devices"] = json!({"d": {"identity": {}}});
    wrong["configurations"]["admConfigurations"]["adm"]["targetCondition"] = json!("tags.site=");
    let (status, answer) = ask(&second, Method::POST, "/state?replace=true", wrong).await;
    assert_eq!(status, 400, "{answer}");
    assert!(answer["error"].as_str().unwrap().starts_with("configuration adm: "), "{answer}");
    assert_eq!((devices(&second).await, ids().await.len()), (0, 2));
}
