//! Every limit of tags and desired properties, on every path by which a service can write them.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::TestHub;

/// Section contents that break a rule, with a part of the expected refusal.
fn breaches() -> Vec<(Value, &'static str)> {
    let deep = |levels| (0..levels).fold(json!(1), |inner, _| json!({ "l": inner }));
    let arrays = |levels| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    // Each value is legal by itself.
    let large = |count: usize| -> Value {
        (0..count)
            .map(|n| (format!("k{n:03}"), json!("x".repeat(1020))))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    vec![
        (json!({"a": {"b.c": 1}}), "a.b.c: character '.'"),
        (json!({"a$": 1}), "a$: character '$'"),
        (json!({"$set": {"a": 1}}), "$set: character '$'"),
        (json!({"a": [{"b#": 1}]}), "a.b#: character '#'"),
        (json!({"a b": 1}), "a b: character ' '"),
        (json!({"a\u{7}": 1}), "character U+0007"),
        (json!({"a\u{85}": 1}), "character U+0085"),
        (json!({ "k".repeat(1025): 1 }), "a name has at most 1024 bytes, this has 1025"),
        (json!({ "ü".repeat(513): 1 }), "a name has at most 1024 bytes, this has 1026"),
        (json!({"a": "x".repeat(4097)}), "a: a string has at most 4096 bytes, this has 4097"),
        (json!({"a": ["ü".repeat(2049)]}), "a: a string has at most 4096 bytes, this has 4098"),
        (json!({"a": 4_503_599_627_370_496_i64}), "a: 4503599627370496 is outside the range of integers"),
        (json!({"a": [-4_503_599_627_370_497_i64]}), "a: -4503599627370497 is outside the range of integers"),
        (json!({"a": u64::MAX}), "a: 18446744073709551615 is outside the range of integers"),
        (json!({"a": [1, null]}), "a: null can't be stored"),
        (json!({"a": arrays(65)}), "a: objects and arrays are nested more than 64 deep"),
        (deep(12), "objects are nested more than 10 deep"),
        (large(33), "the section has a size of 33792 bytes, more than"),
        (json!("text"), "must be a JSON object"),
        (json!([1]), "must be a JSON object"),
    ]
}

/// Section contents that are just within the limits.
fn legal() -> Vec<Value> {
    let deep = (0..11).fold(json!(1), |inner, _| json!({ "l": inner }));
    vec![
        json!({"k".repeat(1024): 1}),
        json!({"a": "x".repeat(4096), "": 0, "ü-_/@": true}),
        json!({"a": [4_503_599_627_370_495_i64, -4_503_599_627_370_496_i64, 1.0e300]}),
        deep,
    ]
}

/// A twin that consists of this section only.
fn twin(section: &str, content: Value) -> Value {
    match section {
        "tags" => json!({ "tags": content }),
        _ => json!({"properties": {"desired": content}}),
    }
}

async fn hub_with_twins() -> TestHub {
    let hub = TestHub::start().await;
    hub.client.put("/devices/d", None, &json!({"deviceId": "d"})).await.ok();
    let module = json!({"deviceId": "d", "moduleId": "m"});
    hub.client.put("/devices/d/modules/m", None, &module).await.ok();
    hub
}

#[tokio::test]
async fn a_breach_is_refused_by_patch_and_put_and_changes_nothing() {
    let hub = hub_with_twins().await;
    for path in ["/twins/d", "/twins/d/modules/m"] {
        let before = hub.client.get(path).await.ok();
        for section in SECTIONS {
            for (content, reason) in breaches() {
                let body = twin(section, content);
                for answer in
                    [hub.client.patch(path, None, &body).await, hub.client.put(path, None, &body).await]
                {
                    answer.refused(400, "ArgumentInvalid");
                    let message = answer.json()["Message"].as_str().unwrap().to_owned();
                    assert!(message.contains(section) && message.contains(reason), "{section}: {message}");
                }
            }
        }
        assert_eq!(hub.client.get(path).await.ok(), before);
    }
}

#[tokio::test]
async fn a_breach_is_refused_item_by_item_in_bulk() {
    let hub = hub_with_twins().await;
    for section in SECTIONS {
        for (mode, id) in [("updateTwin", "d"), ("create", "new"), ("createOrUpdate", "new")] {
            for (content, reason) in breaches() {
                // The item as a whole is read before its twin is looked at.
                let reason = if content.is_object() { reason } else { "expected an object" };
                let mut item = twin(section, content);
                item["id"] = json!(id);
                item["importMode"] = json!(mode);
                let good = json!({"id": "good", "importMode": "createOrUpdate"});
                let answer = hub.client.post("/devices", &json!([item, good])).await;
                let result = answer.with_status(400).json();
                let errors = result["errors"].as_array().unwrap();
                assert_eq!(
                    (errors.len(), &errors[0]["deviceId"]),
                    (1, &json!(id)),
                    "{mode} {section} {reason}"
                );
                assert_eq!(errors[0]["errorCode"], "ArgumentInvalid", "{mode} {section} {reason}");
                let status = errors[0]["errorStatus"].as_str().unwrap();
                assert!(status.contains(section) && status.contains(reason), "{mode} {section}: {status}");
            }
        }
    }
    assert_eq!(hub.client.get("/devices/new").await.status, 404);
    assert_eq!(hub.client.get("/devices/good").await.status, 200);
    assert_eq!(hub.client.get("/twins/d").await.ok()["version"], 2);
}

#[tokio::test]
async fn what_is_just_within_the_limits_is_taken_as_it_is() {
    let hub = hub_with_twins().await;
    for (count, content) in legal().into_iter().enumerate() {
        let body = json!({"tags": content, "properties": {"desired": content}});
        for twin in [
            hub.client.put("/twins/d", None, &body).await.ok(),
            hub.client.patch("/twins/d", None, &body).await.ok(),
        ] {
            assert_eq!(twin["tags"], content);
        }
        let id = format!("new{count}");
        let item =
            json!([{"id": id, "importMode": "create", "tags": content, "properties": {"desired": content}}]);
        hub.client.post("/devices", &item).await.ok();
        let mut desired = hub.client.get(&format!("/twins/{id}")).await.ok()["properties"]["desired"].take();
        for name in ["$metadata", "$version"] {
            desired.as_object_mut().unwrap().remove(name);
        }
        assert_eq!(desired, content);
    }
}

/// Numbers are checked in their text form, because parsing them first would change them.
#[tokio::test]
async fn a_number_that_would_be_changed_is_refused_by_every_way_into_a_twin() {
    let hub = hub_with_twins().await;
    let before = hub.client.get("/twins/d").await.ok();
    for (number, reason) in [
        ("89014103211118510720", "is outside the range of integers"),
        ("4503599627370496", "is outside the range of integers"),
        ("0.1234567890123456789", "has more digits or a greater exponent than a twin keeps"),
    ] {
        for (method, path, body, place) in [
            (Method::PATCH, "/twins/d", r#"{"tags": {"a": [N]}}"#, "tags.a"),
            (Method::PUT, "/twins/d", r#"{"properties": {"desired": {"a": N}}}"#, "properties.desired.a"),
            (
                Method::PUT,
                "/jobs/v2/j",
                r#"{"type": "scheduleUpdateTwin", "updateTwin": {"tags": {"a": N}}}"#,
                "updateTwin.tags.a",
            ),
            (
                Method::PUT,
                "/configurations/c",
                r#"{"id": "c", "content": {"deviceContent": {"properties.desired.a": N}}}"#,
                "content.deviceContent",
            ),
            (
                Method::POST,
                "/devices/d/applyConfigurationContent",
                r#"{"modulesContent": {"m": {"properties.desired.a": N}}}"#,
                "modulesContent.m",
            ),
        ] {
            let answer = hub.client.call_with(method, path, &[], &body.replace('N', number)).await;
            answer.refused(400, "ArgumentInvalid");
            let message = answer.json()["Message"].as_str().unwrap().to_owned();
            assert!(
                message.contains(place) && message.contains(number) && message.contains(reason),
                "{message}"
            );
        }
        let items = r#"[{"id": "good", "importMode": "createOrUpdate"}, {"id": "d", "importMode": "updateTwin", "tags": {"a": N}}]"#;
        let answer = hub.client.call_with(Method::POST, "/devices", &[], &items.replace('N', number)).await;
        let result = answer.with_status(400).json();
        assert_eq!(result["errors"].as_array().unwrap().len(), 1, "{result}");
        assert_eq!(result["errors"][0]["deviceId"], "d");
        assert!(result["errors"][0]["errorStatus"].as_str().unwrap().contains(reason), "{result}");
    }
    assert_eq!(hub.client.get("/twins/d").await.ok(), before);
    // What keeps its value is taken, and so is a whole twin that is sent back: what its device reported is not looked at.
    let body = r#"{"tags": {"a": 1.50, "b": 0.10000000000000001}, "properties": {"reported": {"x": 1234567890123456789012}}}"#;
    let twin = hub.client.call_with(Method::PATCH, "/twins/d", &[], body).await.ok();
    assert_eq!(twin["tags"], json!({"a": 1.5, "b": 0.1}));
}

/// Patches that are valid one by one may not grow a section beyond its size.
#[tokio::test]
async fn a_section_can_not_grow_beyond_its_size_in_steps() {
    let hub = hub_with_twins().await;
    for (section, limit) in SECTIONS.into_iter().zip([8, 32]) {
        // A name of 4 bytes and a value of 1020: a KiB each.
        let step = |n: usize| twin(section, json!({ format!("k{n:03}"): "x".repeat(1020) }));
        for n in 0..limit {
            hub.client.patch("/twins/d", None, &step(n)).await.ok();
        }
        let before = hub.client.get("/twins/d").await.ok();
        let answer = hub.client.patch("/twins/d", None, &step(limit)).await;
        answer.refused(400, "ArgumentInvalid");
        let reason = format!("{section}: the section has a size of {} bytes", (limit + 1) * 1024);
        assert!(answer.text.contains(&reason), "{}", answer.text);
        let item = {
            let mut item = step(limit);
            item["id"] = json!("d");
            item["importMode"] = json!("updateTwin");
            json!([item])
        };
        let result = hub.client.post("/devices", &item).await.with_status(400).json();
        assert!(result["errors"][0]["errorStatus"].as_str().unwrap().contains(&reason), "{result}");
        assert_eq!(hub.client.get("/twins/d").await.ok(), before);
        // What makes room first may go on.
        let mut exchange = step(limit);
        let section: &mut Value = exchange.pointer_mut(&format!("/{}", section.replace('.', "/"))).unwrap();
        section["k000"] = Value::Null;
        hub.client.patch("/twins/d", None, &exchange).await.ok();
    }
}

const SECTIONS: [&str; 2] = ["tags", "properties.desired"];
