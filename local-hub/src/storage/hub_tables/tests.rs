use std::ops::Bound;

use hub_types::bulk::BulkItem;
use hub_types::{IdentityId, IfMatch, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, from_value, json};

use super::{HubStore, Row, Stored, Subject};
use crate::registry::{BulkEntry, Journal, Registry};

fn apply(registry: &mut Registry, item: &Value, second: u64) -> Vec<Row> {
    let item: BulkItem = from_value(item.clone()).unwrap();
    let entry = BulkEntry {
        device: item.id.to_string(),
        module: item.module_id.as_ref().map(ToString::to_string),
        item: Ok(item),
    };
    let mut journal = Journal::default();
    registry.bulk(vec![entry], Timestamp::from_ticks(second * 10_000_000).unwrap(), &mut journal);
    let rows = journal.touched().iter().map(|identity| Row {
        subject: Subject::Identity(identity.clone()),
        content: registry.stored_form(identity).unwrap(),
    });
    rows.collect()
}

fn item() -> impl Strategy<Value = Value> {
    let mode = prop_oneof![
        4 => Just("createOrUpdate"), 1 => Just("create"), 1 => Just("update"), 1 => Just("delete"), 2 => Just("updateTwin")
    ];
    let authentication = prop_oneof![
        Just(json!({"type": "sas"})),
        Just(json!({"type": "certificateAuthority"})),
        Just(json!({"type": "selfSigned"})),
        Just(json!({"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": "aB".repeat(32)}})),
    ];
    let module = proptest::option::of("[m-n]");
    (mode, "[a-c]", module, authentication, any::<bool>(), any::<bool>(), -1.0e9..1.0e9).prop_map(
        |(mode, id, module, authentication, disabled, edge, number)| {
            json!({
                "id": id, "moduleId": module, "importMode": mode, "authentication": authentication,
                "status": if disabled { "disabled" } else { "enabled" }, "capabilities": {"iotEdge": edge},
                "tags": {"n": number, "o": {"x": [1, "ü"]}}, "properties": {"desired": {"n": number, "gone": null}},
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_was_committed_comes_back(items in proptest::collection::vec(item(), 1..30)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        let (store, Stored { mut registry, .. }) = HubStore::open(&path).unwrap();
        for (second, item) in items.iter().enumerate() {
            let rows = apply(&mut registry, item, second as u64);
            let committed = store.write(rows);
            prop_assert_eq!(committed.blocking_recv(), Ok(()));
        }
        store.close();
        let (store, Stored { registry: loaded, .. }) = HubStore::open(&path).unwrap();
        store.close();
        prop_assert!(loaded.devices_from(Bound::Unbounded).eq(registry.devices_from(Bound::Unbounded)));
        prop_assert_eq!(loaded.disabled_count(), registry.disabled_count());
    }
}

#[test]
fn a_deleted_device_takes_its_modules_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    let (store, Stored { mut registry, .. }) = HubStore::open(&path).unwrap();
    for item in [json!({"id": "d"}), json!({"id": "d", "moduleId": "m"})] {
        store.write(apply(&mut registry, &item, 1));
    }
    let mut journal = Journal::default();
    registry.delete_device(&"d".parse().unwrap(), &IfMatch::Any, &mut journal).unwrap();
    let gone = journal
        .touched()
        .iter()
        .map(|identity| Row { subject: Subject::Identity(identity.clone()), content: None });
    store.write(gone.collect());
    store.close();
    let (store, Stored { registry: loaded, .. }) = HubStore::open(&path).unwrap();
    store.close();
    assert_eq!(loaded.device_count(), 0);
}

/// More rows than all parsers hold at once, so that buffers are reused.
#[test]
fn a_large_registry_comes_back_whole_and_a_damaged_record_in_it_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    let (store, Stored { mut registry, .. }) = HubStore::open(&path).unwrap();
    for number in 0..20_000 {
        let device = format!("device-{number:05}");
        for item in [json!({"id": device}), json!({"id": device, "moduleId": "m"})] {
            store.write(apply(&mut registry, &item, number));
        }
    }
    store.close();
    let (store, Stored { registry: loaded, .. }) = HubStore::open(&path).unwrap();
    assert!(loaded == registry, "what was loaded is something else");
    let identity = IdentityId::from_common_name("device-17777/m").unwrap();
    store.write(vec![Row { subject: Subject::Identity(identity), content: Some(b"{".to_vec()) }]);
    store.close();
    let error = HubStore::open(&path).unwrap_err().to_string();
    assert!(error.contains("is damaged: device-17777 m"), "{error}");
}

#[test]
fn a_damaged_record_is_named_without_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    let (store, _) = HubStore::open(&path).unwrap();
    store.write(vec![Row {
        subject: Subject::Identity("d".parse::<hub_types::DeviceId>().unwrap().into()),
        content: Some(br#"{"a":"secret"}"#.to_vec()),
    }]);
    store.close();
    let error = HubStore::open(&path).unwrap_err().to_string();
    assert!(error.contains("is damaged: d") && !error.contains("secret"), "{error}");
}

#[test]
fn a_time_behind_the_calendar_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    let (store, Stored { mut registry, .. }) = HubStore::open(&path).unwrap();
    let second = 63_800_000_000_u64;
    let mut rows = apply(&mut registry, &json!({"id": "d", "properties": {"desired": {"n": 1}}}), second);
    let content = String::from_utf8(rows[0].content.take().unwrap()).unwrap();
    let ticks = (second * 10_000_000).to_string();
    let stamp = format!("[{ticks},");
    assert!(content.contains(&stamp), "{content}");
    rows[0].content = Some(content.replace(&stamp, &format!("[{},", u64::MAX)).into_bytes());
    store.write(rows);
    store.close();
    let error = HubStore::open(&path).unwrap_err().to_string();
    assert!(error.contains("is damaged: d"), "{error}");
}

#[test]
fn a_module_without_its_device_is_named_wherever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    let (store, Stored { mut registry, .. }) = HubStore::open(&path).unwrap();
    let text = "x".repeat(3000);
    for number in 0..400 {
        let item = json!({"id": format!("d{number:03}"), "tags": {"text": text}});
        store.write(apply(&mut registry, &item, 1));
    }
    let orphan = IdentityId::new("d200x".parse().unwrap(), Some("m".parse().unwrap()));
    let module = apply(&mut registry, &json!({"id": "d000", "moduleId": "m"}), 2).remove(0);
    store.write(vec![Row { subject: Subject::Identity(orphan), ..module }]);
    store.close();
    let error = HubStore::open(&path).unwrap_err().to_string();
    assert!(error.contains("d200x m: the module's device is missing"), "{error}");
}

/// One device larger than a parcel of several small ones.
#[test]
fn a_very_large_device_comes_back_with_its_modules() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    let (store, Stored { mut registry, .. }) = HubStore::open(&path).unwrap();
    let values: serde_json::Map<_, _> = (0..8).map(|n| (format!("k{n}"), json!("x".repeat(4000)))).collect();
    let mut items = vec![json!({"id": "before"}), json!({"id": "large"}), json!({"id": "z-after"})];
    items.extend(
        (0..50)
            .map(|n| json!({"id": "large", "moduleId": format!("m{n}"), "properties": {"desired": values}})),
    );
    for item in items {
        store.write(apply(&mut registry, &item, 1));
    }
    store.close();
    let (store, Stored { registry: loaded, .. }) = HubStore::open(&path).unwrap();
    store.close();
    assert!(loaded == registry, "what was loaded is something else");
}
