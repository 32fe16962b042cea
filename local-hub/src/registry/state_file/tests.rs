use serde_json::to_value;

use super::*;

fn import(registry: &mut Registry, document: Value) -> ApiResult<Journal> {
    let mut journal = Journal::default();
    let devices = DevicesFile::deserialize(document["devices"].clone()).unwrap();
    registry.import(devices, "2026-11-22T10:00:00Z".parse().unwrap(), &mut journal)?;
    Ok(journal)
}

fn export(registry: &Registry) -> Value {
    json!({"devices": to_value(ExportedDevices(registry)).unwrap()})
}

/// A document of `az iot hub state export`, with a child before its parent.
fn sample() -> Value {
    let thumbprint = "A".repeat(64);
    json!({
        "devices": {
            "device1": {
                "identity": {
                    "authentication": {
                        "type": "selfSigned",
                        "x509Thumbprint": {"primaryThumbprint": thumbprint, "secondaryThumbprint": thumbprint},
                    },
                    "capabilities": {"iotEdge": false},
                    "connectionState": "Disconnected",
                    "modelId": "",
                    "status": "disabled",
                    "statusReason": "spare",
                },
                "modules": {
                    "module1": {
                        "identity": {
                            "authentication": {
                                "symmetricKey": {"primaryKey": null, "secondaryKey": null},
                                "type": "certificateAuthority",
                                "x509Thumbprint": {"primaryThumbprint": null, "secondaryThumbprint": null},
                            },
                            "connectionState": "Disconnected",
                        },
                        "twin": {
                            "modelId": "",
                            "properties": {"desired": {"test": 3}},
                            "status": "enabled",
                            "tags": {"test": "4"},
                        },
                    },
                },
                "parent": "edge2",
                "twin": {"properties": {"desired": {}}},
            },
            "edge2": {
                "identity": {
                    "authentication": {
                        "type": "sas",
                        "symmetricKey": {"primaryKey": "QUFBQUFBQUFBQUFBQUFBQQ==", "secondaryKey": "QkJCQkJCQkJCQkJCQkJCQg=="},
                    },
                    "capabilities": {"iotEdge": true},
                    "status": "enabled",
                },
                "modules": {
                    "$edgeAgent": {
                        "identity": {"authentication": {"type": "none"}, "managedBy": "iotEdge"},
                        "twin": {"properties": {"desired": {"modules": {}}}},
                    },
                },
                "twin": {"properties": {"desired": {"a": {"b": 1}}}, "tags": {"site": "x"}},
            },
        },
    })
}

#[test]
fn what_az_exports_is_imported_whole() {
    let mut registry = Registry::default();
    import(&mut registry, sample()).unwrap();
    let exported = export(&registry);
    let wanted = sample();
    for pointer in [
        "/devices/device1/parent",
        "/devices/device1/identity/status",
        "/devices/device1/identity/statusReason",
        "/devices/device1/identity/authentication/x509Thumbprint",
        "/devices/device1/modules/module1/identity/authentication/type",
        "/devices/device1/modules/module1/twin/tags",
        "/devices/device1/modules/module1/twin/properties",
        "/devices/edge2/identity/authentication/symmetricKey",
        "/devices/edge2/modules/$edgeAgent/twin/properties",
        "/devices/edge2/twin",
    ] {
        assert_eq!(exported.pointer(pointer), wanted.pointer(pointer), "{pointer}");
    }
    assert_eq!((registry.devices.len(), registry.modules.len(), registry.disabled), (2, 3, 1));
}

#[test]
fn what_is_exported_is_the_same_after_an_import() {
    let mut first = Registry::default();
    import(&mut first, sample()).unwrap();
    let mut second = Registry::default();
    import(&mut second, export(&first)).unwrap();
    assert_eq!(export(&second), export(&first));
    // Again, over what is there: nothing is doubled, and others stay.
    import(&mut second, json!({"devices": {"other": {"identity": {}}}})).unwrap();
    import(&mut second, export(&first)).unwrap();
    assert_eq!((second.devices.len(), second.modules.len()), (3, 3));
}

#[test]
fn an_import_that_is_refused_changes_nothing_and_says_where() {
    let mut registry = Registry::default();
    import(&mut registry, sample()).unwrap();
    let before = registry.clone();
    for (device, member, wrong) in [
        ("device1", "/devices/device1/parent", json!("edge3")),
        ("device1", "/devices/device1/parent", json!("device1")),
        ("edge2", "/devices/edge2/twin/properties/desired", json!({"a.b": 1})),
        ("edge2", "/devices/edge2/identity/status", json!("on")),
        ("edge2", "/devices/edge2/identity", json!({"attributes": {"a": 1}})),
        ("edge2", "/devices/edge2/twin", json!({"attributes": {"a": 1}})),
        ("edge2", "/devices/edge2/twin", json!({"tags": "none"})),
        ("edge2", "/devices/edge2/twin", json!({"properties": []})),
        ("device1", "/devices/device1/modules/module1/twin", json!({"properties": {"desired": 3}})),
    ] {
        let mut document = sample();
        *document.pointer_mut(member).unwrap() = wrong;
        let error = import(&mut registry, document).unwrap_err();
        assert!(error.text.starts_with(&format!("device {device}: ")), "{}", error.text);
        assert_eq!(registry, before);
    }
}

#[test]
fn another_registry_takes_the_place_of_this_one() {
    let mut registry = Registry::default();
    import(&mut registry, sample()).unwrap();
    let snapshot = registry.clone();
    registry.delete_device(&DeviceId::new("edge2").unwrap(), &IfMatch::Any, &mut Journal::default()).unwrap();
    import(&mut registry, json!({"devices": {"new": {"identity": {}}}})).unwrap();
    let mut journal = Journal::default();
    registry.replace_with(snapshot.clone(), &mut journal);
    assert_eq!(export(&registry), export(&snapshot));
    // All that came, went or stayed is to be stored again.
    let touched: Vec<String> = journal.touched().iter().map(ToString::to_string).collect();
    for id in ["new", "edge2", "device1", "device1/module1"] {
        assert!(touched.iter().any(|touched| touched == id), "{id} in {touched:?}");
    }
}

#[test]
fn who_is_connected_stays_so_and_nobody_else_is() {
    let now = "2026-11-22T10:00:00Z".parse().unwrap();
    let [here, gone] = ["here", "gone"].map(|id| IdentityId::parse(id, None).unwrap());
    let mut registry = Registry::default();
    import(&mut registry, json!({"devices": {"here": {"identity": {}}, "gone": {"identity": {}}}})).unwrap();
    registry.connected(&gone, None, false, now, &mut Journal::default()).unwrap();
    let snapshot = registry.clone();
    registry.delete_device(gone.device(), &IfMatch::Any, &mut Journal::default()).unwrap();
    registry.connected(&here, None, false, now, &mut Journal::default()).unwrap();

    registry.replace_with(snapshot, &mut Journal::default());
    let connected = |registry: &Registry, id| registry.identity(id).unwrap().is_connected();
    assert!(connected(&registry, &here) && !connected(&registry, &gone));
    assert_eq!(registry.connected_count(), 1);
    registry.disconnected(&here, now);
    assert_eq!(registry.connected_count(), 0);
}
