//! `POST /devices/query`.

use serde_json::{Value, json};

use crate::support::TestHub;

async fn fleet(count: usize) -> TestHub {
    let hub = TestHub::start().await;
    for start in (0..count).step_by(100) {
        let items: Vec<Value> = (start..count.min(start + 100))
            .map(|n| json!({"id": format!("d{n:04}"), "importMode": "create", "tags": {"even": n % 2 == 0}}))
            .collect();
        hub.client.post("/devices", &json!(items)).await.ok();
    }
    hub
}

#[tokio::test]
async fn pages_follow_each_other_to_the_end() {
    let hub = fleet(250).await;
    let (mut ids, mut token, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let mut headers = vec![("x-ms-max-item-count", "60")];
        headers.extend(token.as_deref().map(|token| ("x-ms-continuation", token)));
        let answer = hub.client.query("SELECT * FROM devices WHERE tags.even = true", &headers).await;
        assert_eq!(answer.header("x-ms-item-type"), Some("Twin"));
        let rows = answer.ok();
        ids.extend(rows.as_array().unwrap().iter().map(|row| row["deviceId"].as_str().unwrap().to_owned()));
        pages += 1;
        token = answer.header("x-ms-continuation").map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    let expected: Vec<String> = (0..250).step_by(2).map(|n| format!("d{n:04}")).collect();
    assert_eq!((ids, pages), (expected, 3));
}

#[tokio::test]
async fn a_page_has_100_rows_where_nothing_else_is_asked_for() {
    let hub = fleet(101).await;
    let answer = hub.client.query("select * from devices", &[]).await;
    assert_eq!(answer.ok().as_array().unwrap().len(), 100);
    assert!(answer.header("x-ms-continuation").is_some());
    let answer = hub.client.query("select * from devices", &[("x-ms-max-item-count", "500")]).await;
    assert_eq!(answer.ok().as_array().unwrap().len(), 101);
    assert_eq!(answer.header("x-ms-continuation"), None);
}

/// As `az iot hub device-identity children list` asks.
#[tokio::test]
async fn the_children_of_an_edge_device_are_found_by_its_scope() {
    let hub = fleet(2).await;
    let create = async |id: &str, is_edge: bool, scopes: &Value| {
        let mut device = json!({"deviceId": id, "capabilities": {"iotEdge": is_edge}});
        device.as_object_mut().unwrap().extend(scopes.as_object().unwrap().clone());
        hub.client.put(&format!("/devices/{id}"), None, &device).await.ok()
    };
    let parent = create("parent", true, &json!({})).await["deviceScope"].clone();
    create("leaf", false, &json!({"deviceScope": parent})).await;
    create("nested", true, &json!({"parentScopes": [parent]})).await;
    let children = async |scope: &str| {
        let query = format!("SELECT * FROM devices WHERE array_contains(parentScopes, '{scope}')");
        let rows = hub.client.query(&query, &[]).await.ok();
        let ids = rows.as_array().unwrap().iter().map(|row| row["deviceId"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(children(parent.as_str().unwrap()).await, ["leaf", "nested"]);
    assert_eq!(children("ms-azure-iot-edge://nobody-1").await, [""; 0]);
}

#[tokio::test]
async fn projections_and_aggregates_are_raw() {
    let hub = fleet(3).await;
    let answer = hub.client.query("SELECT COUNT() as totalNumberOfDevices FROM devices", &[]).await;
    assert_eq!(answer.header("x-ms-item-type"), Some("Raw"));
    assert_eq!(answer.ok(), json!([{"totalNumberOfDevices": 3}]));
    let answer = hub.client.query("SELECT deviceId FROM devices WHERE deviceId = 'd0001'", &[]).await;
    assert_eq!(answer.header("x-ms-item-type"), Some("Raw"));
    assert_eq!(answer.ok(), json!([{"deviceId": "d0001"}]));
}

#[tokio::test]
async fn a_query_that_is_none_is_refused_with_the_place() {
    let hub = fleet(1).await;
    let answer = hub.client.query("SELECT * FROM devices WHERE status == 'x'", &[]).await;
    answer.refused(400, "ArgumentInvalid");
    assert!(answer.text.contains("column 37"), "{}", answer.text);
    hub.client
        .query("SELECT * FROM devices", &[("x-ms-continuation", "x")])
        .await
        .refused(400, "ArgumentInvalid");
    hub.client.post("/devices/query", &json!({"sql": ""})).await.refused(400, "ArgumentInvalid");
}
