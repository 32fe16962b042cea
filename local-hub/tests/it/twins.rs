//! `/twins/{id}` and `/twins/{id}/modules/{mid}`.

use serde_json::{Value, json};

use crate::support::TestHub;

async fn hub_with_device() -> TestHub {
    let hub = TestHub::start().await;
    hub.client.put("/devices/d", None, &json!({"deviceId": "d"})).await.ok();
    hub
}

#[tokio::test]
async fn a_patch_merges_and_counts() {
    let hub = hub_with_device().await;
    let patch =
        json!({"tags": {"site": "munich", "line": 4}, "properties": {"desired": {"a": {"b": 1, "c": 1.0}}}});
    let answer = hub.client.patch("/twins/d", Some("\"*\""), &patch).await;
    let twin = answer.ok();
    assert_eq!((&twin["etag"], &twin["version"]), (&json!("AAAAAAAAAAI="), &json!(3)));
    let patch = json!({"tags": {"line": null}, "properties": {"desired": {"a": {"b": null}}}});
    let twin = hub.client.patch("/twins/d", Some("\"AAAAAAAAAAI=\""), &patch).await.ok();
    assert_eq!(twin["tags"], json!({"site": "munich"}));
    assert_eq!(twin["properties"]["desired"]["a"], json!({"c": 1.0}));
    assert_eq!(twin["properties"]["desired"]["$version"], 3);
    hub.client.patch("/twins/d", Some("\"AAAAAAAAAAI=\""), &patch).await.refused(412, "PreconditionFailed");
    let again = hub.client.patch("/twins/d", None, &json!({})).await.ok();
    assert_eq!(again["version"], twin["version"], "a patch of nothing writes nothing");
}

#[tokio::test]
async fn a_whole_document_can_be_sent_back() {
    let hub = hub_with_device().await;
    let patch = json!({"tags": {"a": 1}, "properties": {"desired": {"b": [1, {"c": 2}]}}});
    let mut twin = hub.client.patch("/twins/d", Some("*"), &patch).await.ok();
    twin["x509Thumbprint"] = json!({});
    twin["tags"]["more"] = json!("ü");
    let patched = hub.client.patch("/twins/d", Some("*"), &twin).await.ok();
    assert_eq!(patched["tags"], json!({"a": 1, "more": "ü"}));
    assert_eq!(patched["properties"]["desired"]["b"], json!([1, {"c": 2}]));
    assert_eq!(patched["properties"]["reported"]["$version"], 1);
}

#[tokio::test]
async fn a_put_replaces_what_a_service_may_write() {
    let hub = hub_with_device().await;
    hub.client
        .patch("/twins/d", None, &json!({"tags": {"a": 1}, "properties": {"desired": {"b": 1}}}))
        .await
        .ok();
    let twin =
        hub.client.put("/twins/d", Some("*"), &json!({"properties": {"desired": {"c": 1}}})).await.ok();
    assert_eq!(twin["tags"], json!({}));
    assert_eq!(twin["properties"]["desired"].get("b"), None);
    assert_eq!(twin["properties"]["desired"]["c"], 1);
    hub.client.put("/twins/d", Some("\"b2xk\""), &json!({})).await.refused(412, "PreconditionFailed");
}

#[tokio::test]
async fn null_for_a_section_clears_it() {
    let hub = hub_with_device().await;
    hub.client.patch("/twins/d", None, &json!({"properties": {"desired": {"b": 1}}})).await.ok();
    let twin = hub.client.patch("/twins/d", None, &json!({"properties": {"desired": null}})).await.ok();
    assert_eq!(twin["properties"]["desired"].get("b"), None);
    assert_eq!(twin["properties"]["desired"]["$version"], 3);
    assert_eq!(twin.get("tags"), None);
}

#[tokio::test]
async fn rules_are_refused_with_the_place_where_they_are_broken() {
    let hub = hub_with_device().await;
    let deep = (0..12).fold(json!(1), |inner, _| json!({ "l": inner }));
    for (desired, reason) in [
        (json!({"a": {"b.c": 1}}), "properties.desired.a.b.c: "),
        (json!({"a": [1, null]}), "null"),
        (json!({"a": 4_503_599_627_370_496_i64}), "range of integers"),
        (json!({"a": "x".repeat(4097)}), "4096"),
        (deep, "nested more than 10 deep"),
        (json!("text"), "must be a JSON object"),
    ] {
        let body = json!({ "properties": { "desired": desired } });
        let answer = hub.client.patch("/twins/d", Some("*"), &body).await;
        answer.refused(400, "ArgumentInvalid");
        assert!(answer.text.contains(reason), "{}", answer.text);
    }
    assert_eq!(hub.client.get("/twins/d").await.ok()["version"], 2);
}

#[tokio::test]
async fn thirty_writers_with_a_wildcard_never_conflict() {
    let hub = hub_with_device().await;
    let writers = (0..30).map(|n| {
        let client = hub.client.clone();
        tokio::spawn(async move {
            let body = json!({"properties": {"desired": {format!("k{n}"): n}}});
            client.patch("/twins/d", Some("\"*\""), &body).await.ok()
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let twin = hub.client.get("/twins/d").await.ok();
    assert_eq!(twin["version"], 32);
    let desired = twin["properties"]["desired"].as_object().unwrap();
    assert_eq!(desired.keys().filter(|key| key.starts_with('k')).count(), 30);
}

#[tokio::test]
async fn of_writers_with_the_same_etag_one_wins() {
    let hub = hub_with_device().await;
    let writers = (0..10).map(|n| {
        let client = hub.client.clone();
        tokio::spawn(async move {
            client.patch("/twins/d", Some("\"AAAAAAAAAAE=\""), &json!({"tags": {"n": n}})).await.status
        })
    });
    let mut statuses = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        statuses.push(writer.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![200], vec![412; 9]].concat());
}

#[tokio::test]
async fn a_twin_of_nobody_is_not_found() {
    let hub = hub_with_device().await;
    hub.client.get("/twins/x").await.refused(404, "DeviceNotFound");
    hub.client.patch("/twins/x", None, &json!({"tags": {}})).await.refused(404, "DeviceNotFound");
    hub.client.get("/twins/d/modules/m").await.refused(404, "DeviceNotFound");
    let device: Value = hub.client.get("/devices/d").await.ok();
    assert_eq!(hub.client.get("/twins/d").await.ok()["deviceEtag"], device["etag"]);
}

#[tokio::test]
async fn what_no_twin_has_is_refused_and_so_is_a_null_in_a_replacement() {
    let hub = hub_with_device().await;
    let before = hub.client.get("/twins/d").await.ok();
    for body in [
        json!({"tags": {"simulated": true}, "desiredProperties": {}}),
        json!({"properties": {"tags": {"a": 1}}}),
    ] {
        hub.client.patch("/twins/d", None, &body).await.refused(400, "ArgumentInvalid");
        hub.client.put("/twins/d", None, &body).await.refused(400, "ArgumentInvalid");
        let job = json!({"type": "scheduleUpdateTwin", "updateTwin": body});
        hub.client.put("/jobs/v2/one", None, &job).await.refused(400, "ArgumentInvalid");
    }
    for body in [json!({"tags": {"my-tag": null}}), json!({"properties": {"desired": {"a": {"b": null}}}})] {
        hub.client.put("/twins/d", None, &body).await.refused(400, "ArgumentInvalid");
    }
    assert_eq!(hub.client.get("/twins/d").await.ok(), before);
}
