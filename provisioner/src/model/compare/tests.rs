use super::*;
use crate::model::spec::StateSpec;
use hub_types::IdentityId;
use hub_types::identity::StatusReason;
use serde_json::from_value;

fn spec(tags: Value, desired: Value) -> IdentitySpec {
    IdentitySpec {
        identity: IdentityId::parse("d", None).unwrap(),
        state: StateSpec {
            auth: AuthSpec::Thumbprint { primary: "AB".repeat(32).parse().ok(), secondary: None },
            tags: tags.as_object().cloned().unwrap().into(),
            desired: desired.as_object().cloned().unwrap().into(),
            ..StateSpec::default()
        },
    }
}

/// A twin with the identity of [`spec`] after `writes` writes by a service.
fn twin(tags: Value, desired: Value, writes: u64) -> Twin {
    let mut desired = desired;
    desired["$version"] = json!(1 + writes);
    from_value(json!({
        "deviceId": "d", "etag": "AAAAAAAAAAE=", "version": 2 + writes, "authenticationType": "selfSigned",
        "x509Thumbprint": {"primaryThumbprint": "ab".repeat(32), "secondaryThumbprint": null},
        "capabilities": {"iotEdge": false}, "tags": tags,
        "properties": {"desired": desired, "reported": {"$version": 1}},
    }))
    .unwrap()
}

#[test]
fn all_the_batch_wants_is_equal_whatever_else_is_there() {
    let spec = spec(json!({"site": "m"}), json!({"a": {"b": 1, "c": [1, 2.0]}}));
    let found = twin(json!({"site": "m", "x": 1}), json!({"a": {"b": 1.0, "c": [1, 2], "z": 0}}), 0);
    assert_eq!(Comparison::of(&spec, Some(&found)), Comparison::InSync);
    assert_eq!(Comparison::of(&spec, None), Comparison::Missing);
}

#[test]
fn thumbprints_are_equal_in_either_slot() {
    let mut spec = spec(json!({}), json!({}));
    let thumbprint = |byte: &str| byte.repeat(32).parse().ok();
    let (new, old, other) = (thumbprint("ab"), thumbprint("cd"), thumbprint("ef"));
    let mut found = twin(json!({}), json!({}), 0);
    let mut compare = |expected: [Option<_>; 2], slots: [Option<_>; 2]| {
        let [primary, secondary] = expected;
        spec.state.auth = AuthSpec::Thumbprint { primary, secondary };
        [found.x509_thumbprint.primary_thumbprint, found.x509_thumbprint.secondary_thumbprint] = slots;
        let comparison = Comparison::of(&spec, Some(&found));
        comparison.differences().iter().map(Difference::to_string).collect::<Vec<_>>()
    };
    let nothing = Vec::<String>::new();
    assert_eq!(compare([new, old], [new, old]), nothing);
    assert_eq!(compare([new, old], [old, new]), nothing, "as a rotation leaves it");
    assert_eq!(compare([new, None], [None, new]), nothing);
    let missing = compare([new, old], [None, new]);
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(missing[0].starts_with("secondary_thumbprint: ") && missing[0].ends_with("hub has null"));
    assert_eq!(compare([new, None], [old, new]).len(), 1, "a second certificate is let in");
    assert_eq!(compare([new, old], [other, None]).len(), 2);
}

#[test]
fn a_blank_twin_waits_for_its_initial_values() {
    let spec = spec(json!({"site": "m"}), json!({"a": 1}));
    let found = twin(json!({}), json!({}), 0);
    assert_eq!(Comparison::of(&spec, Some(&found)), Comparison::TwinNotWritten);
}

#[test]
fn a_twin_that_somebody_has_written_since_is_kept() {
    let spec = spec(json!({}), json!({"a": {"b": 1}}));
    let found = twin(json!({}), json!({"a": {"b": 2}}), 1);
    let difference = Difference { path: "desired.a.b".parse().unwrap(), expected: json!(1), found: json!(2) };
    assert_eq!(difference.to_string(), "desired.a.b: batch has 1, hub has 2");
    assert_eq!(Comparison::of(&spec, Some(&found)), Comparison::TwinModified(vec![difference]));
}

#[test]
fn what_a_device_reads_itself_is_judged_as_what_a_service_reads() {
    let spec = spec(json!({"site": "m"}), json!({"a": {"b": 1}}));
    let of = |desired, writes| {
        let twin = twin(json!({}), desired, writes);
        Comparison::of_desired(&spec, &twin.properties.desired)
    };
    assert_eq!(of(json!({"a": {"b": 1, "c": 2}}), 0), Comparison::InSync);
    assert_eq!(of(json!({}), 0), Comparison::TwinNotWritten);
    assert!(matches!(of(json!({"a": {"b": 2}}), 0), Comparison::TwinDiffers(_)));
    assert!(matches!(of(json!({"a": {"b": 2}}), 1), Comparison::TwinModified(_)));
}

#[test]
fn another_initial_twin_is_a_difference() {
    let spec = spec(json!({}), json!({"a": 1}));
    let found = twin(json!({}), json!({"a": 2}), 0);
    assert!(matches!(Comparison::of(&spec, Some(&found)), Comparison::TwinDiffers(_)));
}

#[test]
fn extra_values_of_a_twin_count_only_where_the_whole_is_compared() {
    let spec = spec(json!({}), json!({"a": {"b": 1}}));
    let found = twin(json!({"site": "m"}), json!({"a": {"b": 1, "c": 2}, "d": [3]}), 1);
    assert_eq!(Comparison::of(&spec, Some(&found)), Comparison::InSync);
    let whole = Comparison::under(TwinPolicy::Replace, &spec, Some(&found));
    let paths: Vec<_> =
        whole.differences().iter().map(|d| (d.path.to_string(), d.expected.is_null())).collect();
    // The batch says nothing of tags, so they are not compared.
    assert_eq!(paths, [("desired.a.c".to_owned(), true), ("desired.d".to_owned(), true)]);
}

#[test]
fn a_device_that_waits_for_its_modules_is_told_from_one_that_somebody_enabled() {
    let mut spec = spec(json!({}), json!({}));
    spec.state.status = Status::Disabled;
    let mut found = twin(json!({}), json!({}), 0);
    assert!(matches!(Comparison::of(&spec, Some(&found)), Comparison::IdentityDiffers(_)));
    found.status_reason = StatusReason::new(STAGED).ok();
    assert!(matches!(Comparison::of(&spec, Some(&found)), Comparison::Staged(_)));
    spec.state.edge = true;
    assert!(matches!(Comparison::of(&spec, Some(&found)), Comparison::IdentityDiffers(_)));
}

#[test]
fn another_thumbprint_or_status_is_a_difference_and_its_case_is_not() {
    let mut other = spec(json!({}), json!({}));
    assert_eq!(Comparison::of(&other, Some(&twin(json!({}), json!({}), 0))), Comparison::InSync);
    other.state.auth = AuthSpec::Thumbprint { primary: "CD".repeat(32).parse().ok(), secondary: None };
    other.state.status = Status::Disabled;
    let comparison = Comparison::of(&other, Some(&twin(json!({}), json!({}), 0)));
    let paths: Vec<_> = comparison.differences().iter().map(|d| &d.path).collect();
    assert_eq!(paths, [&DifferencePath::PrimaryThumbprint, &DifferencePath::Status]);
}

#[test]
fn a_difference_that_the_twin_does_not_show_is_one_of_the_identity() {
    let difference =
        Difference { path: DifferencePath::Parent, expected: json!("gw"), found: json!("other") };
    let differs = |comparison: Comparison| comparison.and_differs(difference.clone());
    let alone = Comparison::IdentityDiffers(vec![difference.clone()]);
    assert_eq!(differs(Comparison::InSync), alone);
    assert_eq!(differs(Comparison::TwinModified(vec![difference.clone()])), alone);
    let both = Comparison::IdentityDiffers(vec![difference.clone(), difference.clone()]);
    assert_eq!(differs(Comparison::Staged(vec![difference.clone()])), both);
}

#[test]
fn a_leaf_and_an_edge_device_know_their_parents() {
    let mut found = twin(json!({}), json!({}), 0);
    found.device_scope = Some("ms-azure-iot-edge://gate-way-7-639000000000000001".into());
    let parent = |found: &Twin| scope_of_parent(found).and_then(parent_in).map(str::to_owned);
    assert_eq!(parent(&found).as_deref(), Some("gate-way-7"));
    found.capabilities = Some(hub_types::identity::Capabilities { iot_edge: true });
    assert_eq!(parent(&found), None);
    found.parent_scopes = vec!["ms-azure-iot-edge://root-1".into()];
    assert_eq!(parent(&found).as_deref(), Some("root"));
}

#[test]
fn a_path_is_read_back_from_its_text() {
    for text in ["auth", "secondary_thumbprint", "version", "tags.site", "desired.a.b c.d"] {
        let path: DifferencePath = text.parse().unwrap();
        assert_eq!(path.to_string(), text);
        assert_eq!(serde_json::to_value(&path).unwrap(), json!(text));
    }
    let unknown = from_value::<DifferencePath>(json!("tag.site")).unwrap_err().to_string();
    assert!(unknown.contains("`tag.site`"), "{unknown}");
}
