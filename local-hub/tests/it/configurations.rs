//! Configurations, and the renewal of keys.

use local_hub::Config;
use serde_json::{Value, json};

use crate::support::TestHub;

fn spec(condition: &str) -> Value {
    json!({"id": "c-1", "content": {"deviceContent": {"properties.desired.n": 1}},
        "targetCondition": condition, "priority": 5, "labels": {"a": "b"},
        "metrics": {"queries": {"all": "SELECT deviceId FROM devices"}}})
}

#[tokio::test]
async fn a_configuration_is_created_replaced_and_deleted() {
    let hub = TestHub::start().await;
    let client = &hub.client;
    let created = client.put("/configurations/c-1", None, &spec("tags.a = 1")).await.ok();
    assert_eq!(created["priority"], 5);
    assert_eq!(created["metrics"]["queries"]["all"], "SELECT deviceId FROM devices");
    client.put("/configurations/c-1", None, &spec("")).await.refused(409, "ConfigurationAlreadyExists");
    // A live hub takes an etag without quotes for no demand at all.
    let etag = created["etag"].as_str().unwrap();
    client.put("/configurations/c-1", Some(etag), &spec("")).await.refused(409, "ConfigurationAlreadyExists");
    let mut other = spec("*");
    other["content"] = json!({"deviceContent": {"properties.desired.n": 2}});
    let quoted = format!("\"{etag}\"");
    let replaced = client.put("/configurations/c-1", Some(&quoted), &other).await.ok();
    assert_eq!(replaced["targetCondition"], "*");
    assert_eq!(replaced["content"], created["content"], "the content never changes");
    client.put("/configurations/c-1", Some(&quoted), &other).await.refused(412, "PreconditionFailed");
    assert_eq!(client.get("/configurations").await.ok().as_array().unwrap().len(), 1);
    client.delete("/configurations/c-1", Some("\"*\"")).await.with_status(204);
    client.get("/configurations/c-1").await.refused(404, "ConfigurationNotFound");
    client.put("/configurations/c-1", Some("\"*\""), &other).await.refused(404, "ConfigurationNotFound");
}

#[tokio::test]
async fn the_system_metrics_of_a_deployment_ask_the_agents() {
    let hub = TestHub::start().await;
    let content = json!({"modulesContent": {"$edgeAgent": {"properties.desired": {"modules": {}}}}});
    let deployment = json!({"id": "e-1", "content": content, "targetCondition": "tags.a = 1"});
    let queries = hub.client.put("/configurations/e-1", None, &deployment).await.ok();
    let queries = &queries["systemMetrics"]["queries"];
    assert_eq!(
        queries["targetedCount"],
        "select deviceId from devices where capabilities.iotEdge = true and (tags.a = 1)"
    );
    for query in ["targetedCount", "appliedCount", "reportedSuccessfulCount", "reportedFailedCount"] {
        let asked = hub.client.query(queries[query].as_str().unwrap(), &[]).await;
        assert_eq!(asked.ok(), json!([]), "{query}");
    }
}

#[tokio::test]
async fn metrics_are_counted_and_may_be_a_bare_selection() {
    let hub = TestHub::start().await;
    hub.client.put("/devices/d", None, &json!({"deviceId": "d"})).await.ok();
    let mut metrics = spec("tags.a = 1");
    metrics["metrics"]["queries"] =
        json!({"all": "select *", "none": "SELECT deviceId FROM devices WHERE tags.a = 1"});
    hub.client.put("/configurations/c-1", None, &metrics).await.ok();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let configuration = hub.client.get("/configurations/c-1").await.ok();
        if configuration["metrics"]["results"] == json!({"all": 1, "none": 0}) {
            assert_eq!(
                configuration["systemMetrics"]["results"],
                json!({"targetedCount": 0, "appliedCount": 0})
            );
            // Counting is no change of the configuration.
            assert_eq!(configuration["etag"], "MQ==");
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{configuration}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_configuration_of_modules_reaches_modules() {
    let hub = TestHub::start().await;
    hub.client.put("/devices/d", None, &json!({"deviceId": "d"})).await.ok();
    hub.client.put("/devices/d/modules/m", None, &json!({"deviceId": "d", "moduleId": "m"})).await.ok();
    let configuration = json!({"id": "c-1", "targetCondition": "from devices.modules where moduleId = 'm'",
        "content": {"moduleContent": {"properties.desired.a.b": 1}}});
    hub.client.put("/configurations/c-1", None, &configuration).await.ok();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let twin = hub.client.get("/twins/d/modules/m").await.ok();
        if twin["configurations"] == json!({"c-1": {"status": "Applied"}}) {
            assert_eq!(twin["properties"]["desired"]["a"], json!({"b": 1}));
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{twin}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_configuration_is_named() {
    let hub = TestHub::start().await;
    let client = &hub.client;
    let wrong = client.put("/configurations/c-1", None, &spec("tags.a ==")).await;
    wrong.refused(400, "InvalidConfigurationTargetCondition");
    let mut metric = spec("*");
    metric["metrics"]["queries"]["all"] = json!("SELECT");
    client
        .put("/configurations/c-1", None, &metric)
        .await
        .refused(400, "InvalidConfigurationCustomMetricsQuery");
    client
        .put("/configurations/UP", None, &json!({"id": "UP", "content": {}}))
        .await
        .refused(400, "ArgumentInvalid");
    client.put("/configurations/c-1", None, &json!({"id": "c-1"})).await.refused(400, "ArgumentNull");
    let tested = json!({"targetCondition": "tags.a =", "customMetricQueries": {"ok": "SELECT * FROM devices", "no": "x"}});
    let tested = client.post("/configurations/testQueries", &tested).await.ok();
    assert!(tested["targetConditionError"].as_str().unwrap().contains("column"));
    let errors: Vec<_> = tested["customMetricQueryErrors"].as_object().unwrap().keys().collect();
    assert_eq!(errors, ["no"]);
}

#[tokio::test]
async fn the_content_of_a_configuration_can_be_applied_to_one_device() {
    let hub = TestHub::start().await;
    let client = &hub.client;
    client.put("/devices/e", None, &json!({"deviceId": "e", "capabilities": {"iotEdge": true}})).await.ok();
    let content = json!({"modulesContent": {"$edgeAgent": {"properties.desired": {"schemaVersion": "1.1"}},
        "$edgeHub": {"properties.desired": {"routes": {}}, "properties.desired.routes.up": "FROM /* INTO $upstream"}}});
    client.post("/devices/e/applyConfigurationContent", &content).await.with_status(204);
    let agent = client.get("/twins/e/modules/%24edgeAgent").await.ok();
    assert_eq!(agent["properties"]["desired"]["schemaVersion"], "1.1");
    let edge_hub = client.get("/twins/e/modules/%24edgeHub").await.ok();
    assert_eq!(edge_hub["properties"]["desired"]["routes"], json!({"up": "FROM /* INTO $upstream"}));
    let wrong = json!({"deviceContent": {"tags.a": 1}});
    client
        .post("/devices/e/applyConfigurationContent", &wrong)
        .await
        .refused(400, "InvalidConfigurationContent");
    client.post("/devices/nobody/applyConfigurationContent", &content).await.refused(404, "DeviceNotFound");
}

#[tokio::test]
async fn keys_are_renewed_one_slot_at_a_time() {
    let hub = TestHub::start().await;
    let client = &hub.client;
    client.put("/devices/a", None, &json!({"deviceId": "a"})).await.ok();
    let keys = |document: Value| document["authentication"]["symmetricKey"].clone();
    let before = keys(client.get("/devices/a").await.ok());
    let ask = |slot: &str| json!({"policyKey": slot, "devices": [{"id": "a"}, {"id": "nobody"}]});
    let renewed = client.post("/devices/keys/regenerate", &ask("primaryKey")).await.with_status(207).json();
    assert_eq!(renewed["errors"][0]["errorCode"], "DeviceNotFound");
    let after = keys(client.get("/devices/a").await.ok());
    assert_ne!(after["primaryKey"], before["primaryKey"]);
    assert_eq!(after["secondaryKey"], before["secondaryKey"]);
    let rotated = json!([{"id": "a", "primaryKey": after["primaryKey"]}]);
    assert_eq!(renewed["rotatedKeys"], rotated, "the key that stays is not shown");
    client.post("/devices/keys/regenerate", &ask("secondaryKey")).await.with_status(207);
    let last = keys(client.get("/devices/a").await.ok());
    assert_eq!(last["primaryKey"], after["primaryKey"]);
    assert_ne!(last["secondaryKey"], after["secondaryKey"]);
    client
        .post("/devices/keys/regenerate", &json!({"policyKey": "both", "devices": [{"id": "a"}]}))
        .await
        .ok();
    assert_ne!(keys(client.get("/devices/a").await.ok())["primaryKey"], last["primaryKey"]);
    client.post("/devices/keys/regenerate", &ask("swap")).await.refused(400, "ArgumentInvalid");
}

#[tokio::test]
async fn configurations_and_jobs_survive_in_the_data_folder() {
    let folder = tempfile::tempdir().unwrap();
    let config = || Config { data: Some(folder.path().join("hub")), ..Config::default() };
    let hub = TestHub::start_with(config()).await;
    hub.client.put("/configurations/c-1", None, &spec("*")).await.ok();
    let start = time::OffsetDateTime::now_utc() + time::Duration::hours(1);
    let start = start.format(&time::format_description::well_known::Rfc3339).unwrap();
    let job = json!({"type": "scheduleUpdateTwin", "startTime": start, "updateTwin": {"tags": {"a": 1}}});
    hub.client.put("/jobs/v2/later", None, &job).await.ok();
    hub.hub.shutdown().await;
    let hub = TestHub::start_with(config()).await;
    assert_eq!(hub.client.get("/configurations/c-1").await.ok()["priority"], 5);
    assert_eq!(hub.client.get("/jobs/v2/later").await.ok()["status"], "scheduled");
}
