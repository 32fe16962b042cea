//! `POST /devices/query`.

use serde_json::{Value, json};

use super::Recorded;

#[tokio::test]
async fn devices_client_query_get_twins() {
    let hub = Recorded::start().await;
    let empty = hub.query("select * from devices").await;
    assert_eq!((empty.header("x-ms-item-type"), empty.ok()), (Some("Twin"), json!([])));
    let items: Value = (0..36).map(|n| json!({"id": format!("d{n}"), "importMode": "create"})).collect();
    hub.bulk(&items).await.ok();
    let page = hub.query("select * from devices").await;
    assert_eq!((page.header("x-ms-item-type"), page.header("x-ms-continuation")), (Some("Twin"), None));
    let rows = page.ok();
    assert_eq!(rows.as_array().unwrap().len(), 36);
    assert!(rows.as_array().unwrap().contains(&hub.get("/twins/d7").await.ok()));
}

#[tokio::test]
async fn get_all_modules_twins_with_tag() {
    let hub = Recorded::start().await;
    hub.device("d").await;
    hub.module("d", "m").await;
    hub.patch("/twins/d/modules/m", Some("*"), &json!({"tags": {"Key": "v"}})).await.ok();
    let answer = hub.query("SELECT  * FROM devices.modules WHERE tags.Key = 'v'").await;
    let mut row = answer.ok()[0].clone();
    assert_eq!(answer.header("x-ms-item-type"), Some("Twin"));
    assert!(answer.text.ends_with(r#""capabilities":{"iotEdge":false}}]"#), "{}", answer.text);
    row.as_object_mut().unwrap().remove("capabilities");
    assert_eq!(row, hub.get("/twins/d/modules/m").await.ok());
}

#[tokio::test]
async fn query_client_conditions() {
    let hub = Recorded::start().await;
    hub.device("d").await;
    hub.module("d", "m").await;
    hub.patch("/twins/d", Some("*"), &json!({"tags": {"Key": "v"}})).await.ok();
    for query in [
        "SELECT  * FROM devices WHERE tags.Key = 'v'",
        "select * from devices where deviceId = 'd'",
        "select * from devices.modules where moduleId = 'm'",
    ] {
        assert_eq!(hub.query(query).await.ok().as_array().unwrap().len(), 1, "{query}");
    }
}
