use hub_types::Timestamp;
use hub_types::twin::{JsonObject, TwinPatch};
use proptest::prelude::*;
use serde_json::{Value, json, to_value};

use super::{SectionDocument, SectionKind, TwinState, Values, WriteOrigin};

const CREATED: Timestamp = Timestamp::NEVER;

fn at(second: u64) -> Timestamp {
    Timestamp::from_ticks(638_000_000_000_000_000 + second * 10_000_000).unwrap()
}

fn patch(body: Value) -> TwinPatch {
    TwinPatch::from_body(body).unwrap()
}

fn desired_patch(desired: &Value) -> TwinPatch {
    patch(json!({ "properties": { "desired": desired } }))
}

fn new_twin(desired: &Value) -> TwinState {
    TwinState::new(CREATED, desired_patch(desired))
}

fn wire(twin: &TwinState) -> Value {
    to_value(SectionDocument { section: &twin.desired, kind: SectionKind::Desired }).unwrap()
}

fn values(twin: &TwinState) -> Value {
    to_value(Values(&twin.desired.properties)).unwrap()
}

#[test]
fn a_new_twin_counts_1_2_1_1() {
    let twin = TwinState::new(at(0), TwinPatch::default());
    assert_eq!(twin.etag().as_str(), "AAAAAAAAAAE=");
    assert_eq!((twin.version(), twin.desired.version, twin.reported.version), (2, 1, 1));
    assert_eq!(twin.tags, None);
    assert_eq!(wire(&twin), json!({"$metadata": {"$lastUpdated": at(0).to_string()}, "$version": 1}));
}

#[test]
fn a_write_of_desired_properties_moves_three_counters_and_one_of_tags_two() {
    let twin = TwinState::new(CREATED, TwinPatch::default());
    let twin = twin.patched(desired_patch(&json!({"a": 1})), at(1)).unwrap();
    assert_eq!((twin.etag().as_str(), twin.version(), twin.desired.version), ("AAAAAAAAAAI=", 3, 2));
    let twin = twin.patched(patch(json!({"tags": {"site": "munich"}})), at(2)).unwrap();
    assert_eq!((twin.etag().as_str(), twin.version(), twin.desired.version), ("AAAAAAAAAAM=", 4, 2));
}

#[test]
fn metadata_shows_which_write_touched_what() {
    let twin = TwinState::new(CREATED, TwinPatch::default());
    let first =
        json!({"conditions": {"temperature": {"warning": 75, "critical": 100}}, "list": [1, {"a": 2}]});
    let twin = twin.patched(desired_patch(&first), at(1)).unwrap();
    let second = json!({"conditions": {"temperature": {"warning": 80}}});
    let twin = twin.patched(desired_patch(&second), at(2)).unwrap();
    let stamp = |second: u64, version: u64| json!({"$lastUpdated": at(second).to_string(), "$lastUpdatedVersion": version});
    let with = |mut stamp: Value, name: &str, child: Value| {
        stamp[name] = child;
        stamp
    };
    let temperature = with(with(stamp(2, 3), "warning", stamp(2, 3)), "critical", stamp(1, 2));
    let conditions = with(stamp(2, 3), "temperature", temperature);
    let metadata = with(with(stamp(2, 3), "conditions", conditions), "list", stamp(1, 2));
    assert_eq!(wire(&twin)["$metadata"], metadata);
    assert_eq!(wire(&twin)["$version"], 3);
}

#[test]
fn initial_desired_properties_are_version_1_and_no_write() {
    let twin = new_twin(&json!({"a": 1}));
    assert_eq!((twin.version(), twin.desired.version), (2, 1));
    assert_eq!(wire(&twin)["$metadata"]["a"]["$lastUpdatedVersion"], 1);
}

#[test]
fn reported_metadata_has_no_versions() {
    let patch = json!({"a": {"b": 1}}).as_object().cloned().unwrap();
    for twin in [
        TwinState::new(CREATED, TwinPatch::default()),
        TwinState::of_module_in_bulk(CREATED, TwinPatch::default()),
    ] {
        let twin = twin.reported(patch.clone(), at(1)).unwrap();
        let wire = to_value(SectionDocument { section: &twin.reported, kind: SectionKind::Reported });
        assert!(!wire.unwrap().to_string().contains("$lastUpdatedVersion"));
    }
}

#[test]
fn what_a_configuration_wrote_bears_its_name_until_another_write() {
    let object = |value: Value| value.as_object().cloned().unwrap();
    let origin = |name: &str| WriteOrigin { configuration: name.to_owned(), digest: 7 };
    let twin = new_twin(&json!({"mine": 1}));
    let twin = twin.rolled_out(object(json!({"a": 1, "b": {"c": 2}})), origin("one"), at(1)).unwrap();
    let by = |twin: &TwinState, pointer: &str| {
        let by = wire(twin)["$metadata"].pointer(pointer).unwrap()["$lastUpdatedBy"].clone();
        by.as_str().map(str::to_owned)
    };
    assert_eq!((by(&twin, "/a").as_deref(), by(&twin, "/b/c").as_deref()), (Some("one"), Some("one")));
    assert_eq!((by(&twin, "/mine"), by(&twin, "")), (None, None));
    let twin = twin.patched(desired_patch(&json!({"a": 3})), at(2)).unwrap();
    let twin = twin.rolled_out(object(json!({"b": {"c": 4}})), origin("two"), at(3)).unwrap();
    assert_eq!((by(&twin, "/a"), by(&twin, "/b/c").as_deref()), (None, Some("two")));
    let stored = serde_json::to_vec(&twin).unwrap();
    assert_eq!(serde_json::from_slice::<TwinState>(&stored).unwrap(), twin);
}

#[test]
fn null_clears_a_section_and_tags_stay_as_an_empty_object() {
    let twin = TwinState::new(CREATED, patch(json!({"tags": {"a": 1}, "properties": {"desired": {"b": 1}}})));
    let twin = twin.patched(patch(json!({"tags": null, "properties": {"desired": null}})), at(1)).unwrap();
    assert_eq!(twin.tags.clone().unwrap().to_object(), JsonObject::new());
    assert_eq!(values(&twin), json!({}));
    assert_eq!(twin.desired.version, 2);
}

#[test]
fn a_replacement_leaves_nothing_of_what_was() {
    let twin = TwinState::new(CREATED, patch(json!({"tags": {"a": 1}, "properties": {"desired": {"b": 1}}})));
    let twin = twin.replaced(patch(json!({"properties": {"desired": {"c": 1}}})), at(1));
    assert_eq!(values(&twin), json!({"c": 1}));
    assert_eq!(twin.tags.unwrap().to_object(), JsonObject::new());
}

#[test]
fn a_patch_that_makes_the_whole_too_large_changes_nothing() {
    let text = "x".repeat(4000);
    let twin = TwinState::new(CREATED, patch(json!({"tags": {"a": text, "b": text}})));
    let error = twin.patched(patch(json!({"tags": {"c": "y".repeat(300)}})), at(1)).unwrap_err();
    assert!(error.to_string().starts_with("tags: "), "{error}");
    assert!(twin.patched(patch(json!({"tags": {"c": "y".repeat(100)}})), at(1)).is_ok());
}

/// A merge patch by RFC 7386 §2, independent of the code under test.
fn merge_patch(target: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch.clone();
    };
    let mut target = match target {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    };
    for (name, value) in patch {
        let current = target.remove(name).unwrap_or(Value::Null);
        if !value.is_null() {
            target.insert(name.clone(), merge_patch(current, value));
        }
    }
    Value::Object(target)
}

/// Returns true if metadata has exactly the members of the values, at every level.
fn mirrors(values: &Value, metadata: &Value) -> bool {
    let metadata = metadata.as_object().unwrap();
    let empty = JsonObject::new();
    let members = values.as_object().unwrap_or(&empty);
    let mirrored = metadata.keys().filter(|name| !name.starts_with('$')).count();
    metadata.contains_key("$lastUpdated")
        && mirrored == members.len()
        && members.iter().all(|(name, value)| metadata.get(name).is_some_and(|mirror| mirrors(value, mirror)))
}

fn document(nulls: bool) -> impl Strategy<Value = Value> {
    let null = if nulls { Just(Value::Null).boxed() } else { Just(json!(0)).boxed() };
    let leaf = prop_oneof![
        null,
        any::<bool>().prop_map(Value::from),
        (-9_i64..9).prop_map(Value::from),
        "[a-c]{0,3}".prop_map(Value::from),
        proptest::collection::vec(0_i64..3, 0..3).prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 24, 4, |inner| {
        proptest::collection::btree_map("[a-d]", inner, 0..4)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
    });
    proptest::collection::btree_map("[a-d]", value, 0..4)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

proptest! {
    #[test]
    fn patches_merge_as_rfc_7386_has_it(start in document(false), patches in proptest::collection::vec(document(true), 0..5)) {
        let mut twin = new_twin(&start);
        let (mut model, mut version) = (start, 1);
        for (count, patch) in patches.iter().enumerate() {
            twin = twin.patched(desired_patch(patch), at(count as u64)).unwrap();
            // An empty section is no write to it, but one to the twin.
            version += u64::from(patch != &json!({}));
            model = merge_patch(model, patch);
            prop_assert_eq!(twin.desired.version, version);
            prop_assert_eq!(twin.version(), count as u64 + 3);
        }
        prop_assert_eq!(values(&twin), model);
    }

    #[test]
    fn metadata_mirrors_the_values(start in document(false), patches in proptest::collection::vec(document(true), 0..5)) {
        let mut twin = new_twin(&start);
        for (count, patch) in patches.iter().enumerate() {
            twin = twin.patched(desired_patch(patch), at(count as u64)).unwrap();
        }
        prop_assert!(mirrors(&values(&twin), &wire(&twin)["$metadata"]));
    }

    #[test]
    fn the_same_patch_again_changes_counters_only(start in document(false), again in document(true)) {
        let once = new_twin(&start).patched(desired_patch(&again), at(1)).unwrap();
        let twice = once.patched(desired_patch(&again), at(2)).unwrap();
        prop_assert!(twice.has_values_of(&once));
        prop_assert_eq!(twice.version(), once.version() + 1);
    }

    #[test]
    fn a_replacement_has_exactly_the_new_values(start in document(false), with in document(false)) {
        let twin = new_twin(&start).replaced(desired_patch(&with), at(1));
        prop_assert_eq!(values(&twin), with);
    }

    #[test]
    fn a_twin_survives_the_disk(start in document(false), patch in document(true)) {
        let twin = new_twin(&start).patched(desired_patch(&patch), at(1)).unwrap();
        let stored = serde_json::to_vec(&twin).unwrap();
        prop_assert_eq!(serde_json::from_slice::<TwinState>(&stored).unwrap(), twin);
    }
}
