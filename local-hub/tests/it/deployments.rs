//! IoT Edge deployments, applied to their target devices.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::TestHub;

/// A base deployment whose `$edgeAgent` names these modules.
fn base(id: &str, condition: &str, priority: i32, modules: &[&str]) -> Value {
    let modules: Value =
        modules.iter().map(|module| ((*module).to_owned(), json!({"type": "docker"}))).collect();
    json!({"id": id, "targetCondition": condition, "priority": priority, "content": {"modulesContent": {
        "$edgeAgent": {"properties.desired": {"schemaVersion": "1.1", "modules": modules}},
        "$edgeHub": {"properties.desired": {"routes": {"up": "FROM /* INTO $upstream"}}}}}})
}

fn deployment(id: &str, priority: i32, modules_content: Value) -> Value {
    json!({"id": id, "targetCondition": "*", "priority": priority, "content": {"modulesContent": modules_content}})
}

impl TestHub {
    async fn edge_device(&self, id: &str, site: &str) {
        let edge = json!({"deviceId": id, "capabilities": {"iotEdge": true}});
        self.client.put(&format!("/devices/{id}"), None, &edge).await.ok();
        self.client.patch(&format!("/twins/{id}"), None, &json!({"tags": {"site": site}})).await.ok();
    }

    async fn deploy(&self, deployment: &Value) {
        let path = format!("/configurations/{}", deployment["id"].as_str().unwrap());
        self.client.put(&path, None, deployment).await.ok();
    }

    /// Waits until the document at a path meets a condition, and returns it.
    async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            let document = self.client.get(path).await.json();
            if wanted(&document) {
                return document;
            }
            assert!(tokio::time::Instant::now() < deadline, "{document}");
            tokio::task::yield_now().await;
        }
    }

    /// Waits until a module's twin lists these configurations.
    async fn until_states(&self, path: &str, states: Value) -> Value {
        self.until(path, |twin| twin["configurations"] == states).await
    }

    async fn module_ids(&self, device: &str) -> Vec<String> {
        let modules = self.client.get(&format!("/devices/{device}/modules")).await.ok();
        let ids =
            modules.as_array().unwrap().iter().map(|module| module["moduleId"].as_str().unwrap().to_owned());
        ids.collect()
    }
}

#[tokio::test]
async fn a_deployment_reaches_the_edge_devices_that_its_condition_names() {
    let hub = TestHub::start().await;
    hub.edge_device("here", "a").await;
    hub.edge_device("there", "b").await;
    hub.client.put("/devices/leaf", None, &json!({"deviceId": "leaf"})).await.ok();
    hub.client.patch("/twins/leaf", None, &json!({"tags": {"site": "a"}})).await.ok();
    let manual = json!({"deviceId": "here", "moduleId": "manual"});
    hub.client.put("/devices/here/modules/manual", None, &manual).await.ok();
    hub.deploy(&base("d-1", "tags.site = 'a'", 1, &["camera", "filter"])).await;
    let agent =
        hub.until_states("/twins/here/modules/%24edgeAgent", json!({"d-1": {"status": "Applied"}})).await;
    let desired = &agent["properties"]["desired"];
    assert_eq!(desired["modules"], json!({"camera": {"type": "docker"}, "filter": {"type": "docker"}}));
    assert_eq!((&agent["etag"], &desired["$version"]), (&json!("AAAAAAAAAAI="), &json!(2)), "one write");
    assert_eq!(desired["$metadata"]["modules"]["$lastUpdatedBy"], "d-1");
    let edge_hub = hub.client.get("/twins/here/modules/%24edgeHub").await.ok();
    assert_eq!(edge_hub["properties"]["desired"]["routes"], json!({"up": "FROM /* INTO $upstream"}));
    assert_eq!(hub.module_ids("here").await, ["$edgeAgent", "$edgeHub", "camera", "filter"]);
    assert_eq!(hub.client.get("/devices/here/modules/camera").await.ok()["managedBy"], "iotEdge");
    // Nobody else is touched.
    assert_eq!(hub.module_ids("there").await, ["$edgeAgent", "$edgeHub"]);
    let other = hub.client.get("/twins/there/modules/%24edgeAgent").await.ok();
    assert_eq!((other.get("configurations"), &other["etag"]), (None, &json!("AAAAAAAAAAE=")));
    assert_eq!(hub.client.get("/twins/leaf").await.ok().get("configurations"), None);
    let counted = json!({"targetedCount": 1, "appliedCount": 1, "reportedSuccessfulCount": 0, "reportedFailedCount": 0});
    hub.until("/configurations/d-1", |document| document["systemMetrics"]["results"] == counted).await;
    // A new device of that site gets it too.
    hub.client.patch("/twins/there", None, &json!({"tags": {"site": "a"}})).await.ok();
    hub.until_states("/twins/there/modules/%24edgeAgent", json!({"d-1": {"status": "Applied"}})).await;
    assert_eq!(hub.module_ids("there").await, ["$edgeAgent", "$edgeHub", "camera", "filter"]);
}

#[tokio::test]
async fn the_deployment_of_the_highest_priority_is_applied_and_the_next_one_when_it_goes() {
    let hub = TestHub::start().await;
    hub.edge_device("e", "a").await;
    hub.deploy(&base("low", "*", 1, &["old"])).await;
    hub.deploy(&base("high", "*", 2, &["new"])).await;
    let agent = "/twins/e/modules/%24edgeAgent";
    hub.until_states(agent, json!({"low": {"status": "Targeted"}, "high": {"status": "Applied"}})).await;
    assert_eq!(hub.module_ids("e").await, ["$edgeAgent", "$edgeHub", "new"]);
    hub.client.delete("/configurations/high", Some("*")).await.with_status(204);
    hub.until_states(agent, json!({"low": {"status": "Applied"}})).await;
    assert_eq!(hub.module_ids("e").await, ["$edgeAgent", "$edgeHub", "old"]);
    // Where none aims at a device any more, it keeps what it has.
    hub.client.delete("/configurations/low", Some("*")).await.with_status(204);
    hub.until(agent, |twin| twin.get("configurations").is_none()).await;
    assert_eq!(hub.module_ids("e").await, ["$edgeAgent", "$edgeHub", "old"]);
}

#[tokio::test]
async fn a_layer_is_put_onto_the_base_below_it_and_onto_nothing_without_one() {
    let hub = TestHub::start().await;
    hub.edge_device("e", "a").await;
    let layer = deployment(
        "layer",
        5,
        json!({"$edgeAgent": {"properties.desired.modules.extra": {"type": "docker"}},
            "camera": {"properties.desired.zoom": 2}}),
    );
    hub.deploy(&layer).await;
    let agent = "/twins/e/modules/%24edgeAgent";
    hub.until_states(agent, json!({"layer": {"status": "Targeted"}})).await;
    assert_eq!(hub.module_ids("e").await, ["$edgeAgent", "$edgeHub"]);
    hub.deploy(&base("base", "*", 1, &["camera"])).await;
    let both = json!({"base": {"status": "Applied"}, "layer": {"status": "Applied"}});
    hub.until_states(agent, both).await;
    assert_eq!(hub.module_ids("e").await, ["$edgeAgent", "$edgeHub", "camera", "extra"]);
    let camera = hub.client.get("/twins/e/modules/camera").await.ok();
    assert_eq!(camera["properties"]["desired"]["zoom"], 2);
    assert_eq!(
        camera["configurations"],
        json!({"base": {"status": "Targeted"}, "layer": {"status": "Applied"}})
    );
}

#[tokio::test]
async fn what_somebody_else_writes_into_a_deployed_twin_is_written_over() {
    // As reported of live hubs: https://github.com/Azure/iotedge/issues/5139
    let hub = TestHub::start().await;
    hub.edge_device("e", "a").await;
    hub.deploy(&base("d-1", "*", 1, &[])).await;
    let edge_hub = "/twins/e/modules/%24edgeHub";
    hub.until_states(edge_hub, json!({"d-1": {"status": "Applied"}})).await;
    let routes = |twin: &Value| twin["properties"]["desired"]["routes"].clone();
    let before = routes(&hub.client.get(edge_hub).await.ok());
    let patch = json!({"properties": {"desired": {"routes": {"up": "FROM /nowhere INTO $upstream"}}}});
    let written = hub.client.patch(edge_hub, None, &patch).await.ok();
    assert_ne!(routes(&written), before);
    hub.until(edge_hub, |twin| routes(twin) == before).await;
}

#[tokio::test]
async fn a_deployment_that_a_device_can_t_take_changes_nothing_there() {
    let hub = TestHub::start().await;
    hub.edge_device("e", "a").await;
    let manual = json!({"deviceId": "e", "moduleId": "manual"});
    hub.client.put("/devices/e/modules/manual", None, &manual).await.ok();
    let many: Vec<String> = (0..51).map(|number| format!("m{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    hub.deploy(&base("many", "*", 1, &many)).await;
    // The counts show that the hub has come to it.
    let counted = |document: &Value| document["systemMetrics"]["results"]["targetedCount"] == 1;
    hub.until("/configurations/many", counted).await;
    assert_eq!(hub.module_ids("e").await, ["$edgeAgent", "$edgeHub", "manual"]);
    let agent = hub.client.get("/twins/e/modules/%24edgeAgent").await.ok();
    assert_eq!((agent.get("configurations"), &agent["etag"]), (None, &json!("AAAAAAAAAAE=")));
}

#[tokio::test]
async fn content_that_could_never_be_written_is_refused() {
    let hub = TestHub::start().await;
    for content in [
        json!({"modulesContent": {"$edgeAgent": {"tags.a": 1}}}),
        json!({"modulesContent": {"$edgeAgent": 1}}),
        json!({"modulesContent": {"a b": {}}}),
        json!({"modulesContent": []}),
        json!({"deviceContent": {"properties.reported.a": 1}}),
        json!({"moduleContent": {"properties.desired": 1}}),
        json!("text"),
    ] {
        let spec = json!({"id": "c", "content": content});
        hub.client.put("/configurations/c", None, &spec).await.refused(400, "InvalidConfigurationContent");
    }
}
