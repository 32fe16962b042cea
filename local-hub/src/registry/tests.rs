use hub_types::bulk::{BulkItem, BulkResult};
use hub_types::identity::{DeviceSpec, ModuleSpec};
use hub_types::twin::TwinPatch;
use hub_types::{DeviceId, Etag, IdentityId, IfMatch, ModuleId, Timestamp};
use serde_json::{Value, from_value, json, to_value};

use super::{BulkEntry, Counts, DeviceContent, Journal, Registry, Shape};
use crate::api_error::ApiResult;
use crate::configuration_content::TwinSettings;

const NOW: Timestamp = Timestamp::NEVER;

fn later() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

fn device(id: &str) -> DeviceId {
    DeviceId::new(id).unwrap()
}

fn module(id: &str) -> ModuleId {
    ModuleId::new(id).unwrap()
}

fn put(registry: &mut Registry, spec: Value, if_match: Option<&str>) -> ApiResult<Value> {
    let spec: DeviceSpec = from_value(spec).unwrap();
    let demand = if_match.and_then(IfMatch::parse);
    let device = registry.put_device(spec, demand.as_ref(), later(), &mut Journal::default())?;
    Ok(to_value(device).unwrap())
}

fn put_module(
    registry: &mut Registry,
    device_id: &str,
    spec: Value,
    if_match: Option<&str>,
) -> ApiResult<Value> {
    let spec: ModuleSpec = from_value(spec).unwrap();
    let demand = if_match.and_then(IfMatch::parse);
    let journal = &mut Journal::default();
    let module = registry.put_module(&device(device_id), spec, demand.as_ref(), NOW, journal)?;
    Ok(to_value(module).unwrap())
}

fn bulk(registry: &mut Registry, items: Value) -> (BulkResult, Counts) {
    let items: Vec<BulkItem> = from_value(items).unwrap();
    let entries = items.into_iter().map(|item| BulkEntry {
        device: item.id.to_string(),
        module: item.module_id.as_ref().map(ToString::to_string),
        item: Ok(item),
    });
    let mut journal = Journal::default();
    let result = registry.bulk(entries.collect(), later(), &mut journal);
    (result, journal.counts)
}

fn codes(result: &BulkResult) -> Vec<&str> {
    result.errors.iter().map(|error| error.error_code.as_str()).collect()
}

fn twin(registry: &Registry, device: &str, module: Option<&str>) -> Value {
    let identity = IdentityId::parse(device, module).unwrap();
    to_value(registry.twin(&identity).unwrap()).unwrap()
}

#[test]
fn a_put_without_if_match_creates_and_one_with_it_updates() {
    let mut registry = Registry::default();
    let spec = json!({"deviceId": "d"});
    assert_eq!(put(&mut registry, spec.clone(), Some("*")).unwrap_err().name, "DeviceNotFound");
    let created = put(&mut registry, spec.clone(), None).unwrap();
    assert_eq!(put(&mut registry, spec.clone(), None).unwrap_err().name, "DeviceAlreadyExists");
    assert_eq!(put(&mut registry, spec.clone(), Some("\"b3RoZXI=\"")).unwrap_err().status, 412);
    let etag = created["etag"].as_str().unwrap();
    let updated = put(&mut registry, spec.clone(), Some(&format!("\"{etag}\""))).unwrap();
    assert_ne!(updated["etag"], created["etag"]);
    assert_eq!(updated["generationId"], created["generationId"]);
    assert_ne!(
        updated["authentication"]["symmetricKey"], created["authentication"]["symmetricKey"],
        "keys that are left out are minted anew"
    );
    assert!(put(&mut registry, spec, Some("\"*\"")).is_ok());
}

#[test]
fn a_device_that_comes_back_is_another_one() {
    let mut registry = Registry::default();
    let first = put(&mut registry, json!({"deviceId": "d"}), None).unwrap();
    registry.delete_device(&device("d"), &IfMatch::Any, &mut Journal::default()).unwrap();
    let second = put(&mut registry, json!({"deviceId": "d"}), None).unwrap();
    assert_ne!(first["generationId"], second["generationId"]);
    assert_ne!(first["etag"], second["etag"]);
}

#[test]
fn statistics_follow_the_status() {
    let mut registry = Registry::default();
    put(&mut registry, json!({"deviceId": "a", "status": "disabled"}), None).unwrap();
    put(&mut registry, json!({"deviceId": "b"}), None).unwrap();
    assert_eq!((registry.device_count(), registry.disabled_count()), (2, 1));
    let updated = put(&mut registry, json!({"deviceId": "a"}), Some("*")).unwrap();
    assert_eq!(updated["statusUpdatedTime"], "2026-11-22T10:00:00Z");
    assert_eq!(registry.disabled_count(), 0);
    put(&mut registry, json!({"deviceId": "b", "status": "disabled"}), Some("*")).unwrap();
    registry.delete_device(&device("b"), &IfMatch::Any, &mut Journal::default()).unwrap();
    assert_eq!((registry.device_count(), registry.disabled_count()), (1, 0));
}

#[test]
fn a_device_needs_a_kind_of_authentication_and_a_module_gets_one() {
    let mut registry = Registry::default();
    let none = json!({"type": "none"});
    let error = put(&mut registry, json!({"deviceId": "d", "authentication": none}), None).unwrap_err();
    assert!(error.text.contains("DeviceAuthenticationTypeIsMissing"), "{error:?}");
    put(&mut registry, json!({"deviceId": "d"}), None).unwrap();
    let module =
        put_module(&mut registry, "d", json!({"moduleId": "m", "authentication": none}), None).unwrap();
    assert_eq!(module["authentication"]["type"], "sas");
    assert_eq!(module["authentication"]["symmetricKey"]["primaryKey"].as_str().unwrap().len(), 44);
    assert_eq!(module["managedBy"], Value::Null);
}

#[test]
fn modules_of_a_missing_or_disabled_device_are_401_but_their_twins_are_not() {
    let mut registry = Registry::default();
    let spec = json!({"moduleId": "m"});
    assert_eq!(
        put_module(&mut registry, "d", spec.clone(), None).unwrap_err().name,
        "IotHubUnauthorizedAccess"
    );
    put(&mut registry, json!({"deviceId": "d"}), None).unwrap();
    put_module(&mut registry, "d", spec, None).unwrap();
    put(&mut registry, json!({"deviceId": "d", "status": "disabled"}), Some("*")).unwrap();
    assert_eq!(registry.modules(&device("d")).unwrap_err().status, 401);
    assert_eq!(registry.module(&device("d"), &module("m")).unwrap_err().status, 401);
    assert_eq!(twin(&registry, "d", Some("m"))["moduleId"], "m");
    let missing = IdentityId::parse("d", Some("x")).unwrap();
    assert_eq!(registry.twin(&missing).unwrap_err().name, "DeviceNotFound");
}

#[test]
fn a_device_has_50_modules_and_system_names_are_taken() {
    let mut registry = Registry::default();
    put(&mut registry, json!({"deviceId": "d", "capabilities": {"iotEdge": true}}), None).unwrap();
    for count in 0..50 {
        put_module(&mut registry, "d", json!({"moduleId": format!("m{count}")}), None).unwrap();
    }
    let error = put_module(&mut registry, "d", json!({"moduleId": "one-more"}), None).unwrap_err();
    assert_eq!(error.name, "TooManyModulesOnDevice");
    let error = put_module(&mut registry, "d", json!({"moduleId": "$mine"}), None).unwrap_err();
    assert_eq!(error.status, 400);
}

#[test]
fn an_edge_device_has_a_scope_and_system_modules() {
    let mut registry = Registry::default();
    let edge = json!({"deviceId": "edge", "capabilities": {"iotEdge": true}});
    let created = put(&mut registry, edge.clone(), None).unwrap();
    let scope = created["deviceScope"].as_str().unwrap();
    assert_eq!(scope, format!("ms-azure-iot-edge://edge-{}", created["generationId"].as_str().unwrap()));
    let modules = to_value(registry.modules(&device("edge")).unwrap()).unwrap();
    assert_eq!(modules[0]["moduleId"], "$edgeAgent");
    assert_eq!(modules[1]["managedBy"], "iotEdge");
    assert_eq!(modules[1]["authentication"]["type"], "none");
    assert_eq!(put(&mut registry, edge, Some("*")).unwrap_err().name, "InvalidDeviceScope");
    assert!(put(&mut registry, created.clone(), Some("*")).is_ok());

    let leaf = json!({"deviceId": "leaf", "deviceScope": scope});
    assert_eq!(put(&mut registry, leaf, None).unwrap()["parentScopes"], json!([scope]));
    let child = json!({"deviceId": "child", "capabilities": {"iotEdge": true}, "parentScopes": [scope]});
    let child = put(&mut registry, child, None).unwrap();
    assert_eq!(child["parentScopes"], json!([scope]));
    assert_ne!(child["deviceScope"], scope);
}

#[test]
fn a_scope_of_no_edge_device_and_a_circle_of_parents_are_refused() {
    let mut registry = Registry::default();
    put(&mut registry, json!({"deviceId": "plain"}), None).unwrap();
    for scope in ["nonsense", "ms-azure-iot-edge://plain-1", "ms-azure-iot-edge://missing-1"] {
        let error = put(&mut registry, json!({"deviceId": "leaf", "deviceScope": scope}), None).unwrap_err();
        assert_eq!(error.name, "InvalidDeviceScope", "{scope}");
    }
    let edge = |id: &str, parents: Value| json!({"deviceId": id, "capabilities": {"iotEdge": true}, "parentScopes": parents});
    let a = put(&mut registry, edge("a", json!([])), None).unwrap();
    let b = put(&mut registry, edge("b", json!([a["deviceScope"]])), None).unwrap();
    let mut circle = a.clone();
    circle["parentScopes"] = json!([b["deviceScope"]]);
    assert_eq!(put(&mut registry, circle, Some("*")).unwrap_err().name, "InvalidDeviceScope");
}

#[test]
fn a_device_that_stops_being_an_edge_device_loses_what_made_it_one() {
    let mut registry = Registry::default();
    put(&mut registry, json!({"deviceId": "d", "capabilities": {"iotEdge": true}}), None).unwrap();
    let leaf = put(&mut registry, json!({"deviceId": "d"}), Some("*")).unwrap();
    assert_eq!(leaf.get("deviceScope"), None);
    assert!(registry.modules(&device("d")).unwrap().is_empty());
}

#[test]
fn a_twin_mirrors_its_identity_and_leaves_out_what_it_does_not_have() {
    let mut registry = Registry::default();
    let thumbprint = "A".repeat(64);
    let spec = json!({"deviceId": "d", "statusReason": "why", "authentication":
        {"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": thumbprint}}});
    let created = put(&mut registry, spec, None).unwrap();
    let shape = Shape { model_id: true, ..Shape::default() };
    let text = serde_json::to_string(&registry.twin(&device("d").into()).unwrap().shaped(shape)).unwrap();
    assert!(
        !text.contains("\"tags\"") && !text.contains("deviceScope") && !text.contains("moduleId"),
        "{text}"
    );
    assert!(text.starts_with(r#"{"deviceId":"d","etag":"AAAAAAAAAAE=","deviceEtag":""#), "{text}");
    let twin: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(twin["deviceEtag"], created["etag"]);
    assert_eq!(twin["statusReason"], "why");
    assert_eq!(twin["x509Thumbprint"]["primaryThumbprint"], json!(thumbprint));
    assert_eq!(twin["capabilities"], json!({"iotEdge": false}));
    // What the clients' model reads is what was written.
    let typed: hub_types::twin::Twin = from_value(twin.clone()).unwrap();
    assert_eq!(to_value(typed).unwrap(), twin);
}

#[test]
fn bulk_items_succeed_and_fail_on_their_own() {
    let mut registry = Registry::default();
    let (result, counts) = bulk(
        &mut registry,
        json!([
            {"id": "a", "importMode": "create", "tags": {"site": "x"}, "properties": {"desired": {"n": 1}, "reported": {}}},
            {"id": "b", "importMode": "update"},
            {"id": "c", "importMode": "createOrUpdate"},
            {"id": "a", "moduleId": "m", "importMode": "create", "properties": {"desired": {"k": 2}}},
            {"id": "zz", "moduleId": "m", "importMode": "create"},
            {"id": "c", "moduleId": "m", "importMode": "delete"},
        ]),
    );
    assert!(!result.is_successful);
    assert_eq!(codes(&result), ["DeviceNotFound", "DeviceNotFound", "ModuleNotFound"]);
    assert_eq!((counts.created, counts.failed), (3, 3));
    assert_eq!(twin(&registry, "a", None)["tags"], json!({"site": "x"}));
    assert_eq!(twin(&registry, "a", None)["version"], 2);
    assert_eq!(twin(&registry, "a", Some("m"))["properties"]["desired"]["k"], 2);
    let (again, _) = bulk(
        &mut registry,
        json!([{"id": "a", "importMode": "create"}, {"id": "a", "moduleId": "m", "importMode": "create"}]),
    );
    assert_eq!(codes(&again), ["DeviceAlreadyExists", "ModuleAlreadyExistsOnDevice"]);
}

#[test]
fn bulk_etags_are_checked_where_the_mode_says_so() {
    let mut registry = Registry::default();
    let etag = put(&mut registry, json!({"deviceId": "d"}), None).unwrap()["etag"].clone();
    let (result, _) = bulk(
        &mut registry,
        json!([
            {"id": "d", "importMode": "updateIfMatchETag", "eTag": "b2xk"},
            {"id": "d", "importMode": "updateTwinIfMatchETag", "twinETag": "AAAAAAAAAAk=", "tags": {"a": 1}},
            {"id": "d", "importMode": "updateTwinIfMatchETag", "twinETag": "AAAAAAAAAAE=", "tags": {"a": 1}},
            {"id": "d", "importMode": "updateIfMatchETag", "eTag": etag, "status": "disabled"},
        ]),
    );
    assert_eq!(codes(&result), ["PreconditionFailed", "PreconditionFailed"]);
    assert_eq!(twin(&registry, "d", None)["status"], "disabled");
    assert_eq!(twin(&registry, "d", None)["tags"], json!({"a": 1}));
    // Without an etag there is nothing to check.
    let (result, _) = bulk(
        &mut registry,
        json!([
            {"id": "d", "importMode": "updateIfMatchETag", "eTag": ""},
            {"id": "d", "importMode": "createOrUpdateIfMatchETag"},
            {"id": "d", "importMode": "updateTwinIfMatchETag", "tags": {"a": 2}},
            {"id": "d", "importMode": "deleteIfMatchETag"},
        ]),
    );
    assert!(result.is_successful, "{result:?}");
    assert_eq!(registry.device_count(), 0);
}

#[test]
fn a_bulk_update_is_whole_or_not_at_all() {
    let mut registry = Registry::default();
    put(&mut registry, json!({"deviceId": "d"}), None).unwrap();
    let before = registry.clone();
    let scope = "ms-azure-iot-edge://nobody-1";
    let (result, counts) = bulk(
        &mut registry,
        json!([
            {"id": "d", "importMode": "update", "tags": {"a": 1}, "deviceScope": scope},
            {"id": "d", "importMode": "update", "status": "disabled", "tags": {"a b": 1}},
            {"id": "new", "importMode": "create", "properties": {"desired": {"$x": 1}}},
        ]),
    );
    assert_eq!(codes(&result), ["InvalidDeviceScope", "ArgumentInvalid", "ArgumentInvalid"]);
    assert_eq!(counts, Counts { failed: 3, ..Counts::default() });
    assert_eq!(registry, before);
}

#[test]
fn writing_what_is_there_already_counts_as_unchanged() {
    let mut registry = Registry::default();
    let spec = json!({"id": "d", "importMode": "createOrUpdate", "authentication": {"type": "certificateAuthority"}, "tags": {"a": 1}});
    assert_eq!(bulk(&mut registry, json!([spec])).1.created, 1);
    assert_eq!(bulk(&mut registry, json!([spec])).1.unchanged, 1);
    let mut other = spec.clone();
    other["tags"] = json!({"a": 2});
    assert_eq!(bulk(&mut registry, json!([other])).1.updated, 1);
    let mut journal = Journal::default();
    let patch = TwinPatch::from_body(json!({"tags": {"a": 2}})).unwrap();
    registry.patch_twin(&device("d").into(), patch, &IfMatch::Any, NOW, &mut journal).unwrap();
    assert_eq!(journal.counts.unchanged, 1);
}

#[test]
fn a_stale_twin_etag_is_refused_and_changes_nothing() {
    let mut registry = Registry::default();
    put(&mut registry, json!({"deviceId": "d"}), None).unwrap();
    let before = registry.clone();
    let patch = TwinPatch::from_body(json!({"tags": {"a": 2}})).unwrap();
    let stale = IfMatch::Exactly(Etag::new("AAAAAAAAAAk="));
    let error =
        registry.patch_twin(&device("d").into(), patch, &stale, NOW, &mut Journal::default()).unwrap_err();
    assert_eq!(error.name, "PreconditionFailed");
    assert_eq!(registry, before);
}

#[test]
fn a_full_hub_takes_nothing_new_but_keeps_what_it_has() {
    let mut registry = Registry::default();
    registry.limit_to(3);
    put(&mut registry, json!({"deviceId": "a"}), None).unwrap();
    put(&mut registry, json!({"deviceId": "b"}), None).unwrap();
    put_module(&mut registry, "a", json!({"deviceId": "a", "moduleId": "m"}), None).unwrap();
    let error = put(&mut registry, json!({"deviceId": "c"}), None).unwrap_err();
    assert_eq!(error.name, "IotHubQuotaExceeded");
    let error = put_module(&mut registry, "b", json!({"deviceId": "b", "moduleId": "m"}), None).unwrap_err();
    assert_eq!(error.name, "IotHubQuotaExceeded");
    put(&mut registry, json!({"deviceId": "a"}), Some("*")).unwrap();
    // With a device go its modules.
    registry.delete_device(&device("a"), &IfMatch::Any, &mut Journal::default()).unwrap();
    for id in ["c", "d"] {
        put(&mut registry, json!({"deviceId": id}), None).unwrap();
    }
    assert_eq!(put(&mut registry, json!({"deviceId": "e"}), None).unwrap_err().status, 403);
}

fn content(modules: Value) -> DeviceContent {
    let modules = modules
        .as_object()
        .unwrap()
        .iter()
        .map(|(id, settings)| (module(id), TwinSettings::read(settings.as_object().unwrap()).unwrap()));
    DeviceContent { device: None, modules: modules.collect() }
}

fn module_ids(registry: &Registry, id: &str) -> Vec<String> {
    let modules = registry.modules(&device(id)).unwrap();
    modules.iter().map(|module| module.module_id.to_string()).collect()
}

#[test]
fn the_modules_of_an_edge_device_follow_its_agent() {
    let mut registry = Registry::default();
    put(&mut registry, json!({"deviceId": "e", "capabilities": {"iotEdge": true}}), None).unwrap();
    put_module(&mut registry, "e", json!({"moduleId": "old"}), None).unwrap();
    let first = content(json!({
        "$edgeAgent": {"properties.desired": {"modules": {"a": {"type": "docker"}, "b": {}}}},
        "$edgeHub": {"properties.desired.routes.up": "FROM /* INTO $upstream"},
        "a": {"properties.desired": {"n": 1}},
    }));
    registry.apply_content(&device("e"), first, later(), &mut Journal::default()).unwrap();
    assert_eq!(module_ids(&registry, "e"), ["$edgeAgent", "$edgeHub", "a", "b"]);
    let made = to_value(registry.module(&device("e"), &module("a")).unwrap()).unwrap();
    assert_eq!((&made["managedBy"], &made["authentication"]["type"]), (&json!("iotEdge"), &json!("sas")));
    assert_eq!(twin(&registry, "e", Some("a"))["properties"]["desired"]["n"], 1);

    let second = content(json!({"$edgeAgent": {"properties.desired.modules.c": {}}}));
    registry.apply_content(&device("e"), second, later(), &mut Journal::default()).unwrap();
    assert_eq!(module_ids(&registry, "e"), ["$edgeAgent", "$edgeHub", "a", "b", "c"]);
}

#[test]
fn content_is_applied_as_a_whole_or_not_at_all() {
    let mut registry = Registry::default();
    put(&mut registry, json!({"deviceId": "e", "capabilities": {"iotEdge": true}}), None).unwrap();
    put(&mut registry, json!({"deviceId": "plain"}), None).unwrap();
    put_module(&mut registry, "e", json!({"moduleId": "old"}), None).unwrap();
    let before = registry.clone();
    let agent = json!({"properties.desired": {"modules": {"a": {}}}});
    for (id, modules) in [
        ("e", json!({"$edgeAgent": agent, "nobody": {"properties.desired": {"n": 1}}})),
        ("e", json!({"$edgeAgent": agent, "a": {"properties.desired": {"a b": 1}}})),
        ("e", json!({"$edgeAgent": {"properties.desired": {"modules": {"no/id": {}}}}})),
        ("plain", json!({"$edgeAgent": agent})),
        ("nobody", json!({"$edgeAgent": agent})),
    ] {
        let mut journal = Journal::default();
        registry.apply_content(&device(id), content(modules.clone()), later(), &mut journal).unwrap_err();
        assert_eq!(journal.counts, Counts::default(), "{modules}");
        registry.last_generation = before.last_generation;
        assert_eq!(registry, before, "{modules}");
    }
}
