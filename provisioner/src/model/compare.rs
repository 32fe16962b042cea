//! The comparison of an identity on the hub with the batch, which plan, apply and verify share.
//!
//! The hub is read through twins, which mirror all of an identity but its keys: twin reads are by
//! far the cheapest reads a hub has.

use std::fmt;

use hub_types::identity::Status;
use hub_types::twin::{JsonObject, PropertySection, Twin};
use hub_types::{DeviceId, Etag, Thumbprint};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::model::creator_tag;
use crate::model::failure::ReasonCode;
use crate::model::hold::Hold;
use crate::model::options::TwinPolicy;
use crate::model::run_id::RunId;
use crate::model::spec::{AuthSpec, IdentitySpec};

/// The result of comparing an identity on the hub with the batch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Comparison {
    /// The identity exists and differs; these are the differences.
    IdentityDiffers(Vec<Difference>),
    /// The identity exists with all values of the batch.
    InSync,
    /// It is not there.
    Missing,
    /// It is a device that a run has prepared and not yet disabled, as the batch wants it: see
    /// [`STAGED`].
    Staged(Vec<Difference>),
    /// It is a device that an interrupted run has prepared and is still to disable, and the batch wants it
    /// enabled.
    StagedByRun {
        /// The interrupted run.
        run: RunId,
        /// The differences.
        differences: Vec<Difference>,
    },
    /// The identity has the twin that it was created with, with different values.
    TwinDiffers(Vec<Difference>),
    /// The identity exists, and its twin was never written: the initial twin is still missing.
    TwinNotWritten,
    /// The identity exists, and a different client has written different values into its twin since
    /// it was created. Initial twins apply only at creation, so those values stay.
    TwinModified(Vec<Difference>),
}

/// The observation of an identity on the hub.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Observation {
    /// The result of the comparison.
    pub(crate) comparison: Comparison,
    /// The etags of identity and twin, if the identity exists.
    pub(crate) etags: Etags,
    /// True if it exists and is disabled.
    pub(crate) is_disabled: bool,
    /// The run that has disabled the device on purpose, if the device is in this state. It was
    /// compared as a device that must stay disabled.
    pub(crate) hold: Option<Hold>,
}

/// The ETags of an identity and of its twin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Etags {
    /// The identity's.
    #[serde(rename = "identity_etag", default, skip_serializing_if = "Option::is_none")]
    pub(crate) identity: Option<Etag>,
    /// The twin's.
    #[serde(rename = "twin_etag", default, skip_serializing_if = "Option::is_none")]
    pub(crate) twin: Option<Etag>,
}

impl Etags {
    /// The ETags that a twin shows.
    pub(crate) fn of(twin: Option<&Twin>) -> Self {
        Self {
            identity: twin.and_then(|twin| twin.device_etag.clone()),
            twin: twin.map(|twin| twin.etag.clone()),
        }
    }
}

/// One value that is not as the batch wants it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Difference {
    /// The path, for example `desired.conditions.temperature.warning`.
    pub(crate) path: String,
    /// The value in the batch.
    #[serde(rename = "wanted")]
    pub(crate) expected: Value,
    /// The value on the hub; null if it has none.
    pub(crate) found: Value,
}

impl Difference {
    /// The difference in words; `expects` says what has the expected value, for example `batch has`.
    pub(crate) fn told(&self, expects: &str) -> String {
        format!("{}: {expects} {}, hub has {}", self.path, self.expected, self.found)
    }

    /// Returns true for the parent of a device.
    pub(crate) fn is_of_parent(&self) -> bool {
        self.path == PARENT
    }

    /// Returns true for a tag as a whole, not for a value within one. Names in a twin contain no
    /// dot.
    fn is_tag(&self) -> bool {
        self.path.strip_prefix("tags.").is_some_and(|name| !name.contains('.'))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told("batch has"))
    }
}

/// The reason code of an identity that is left unchanged because of these differences.
pub(crate) fn conflict_reason(differences: &[Difference]) -> ReasonCode {
    let any = |test: fn(&str) -> bool| differences.iter().any(|difference| test(&difference.path));
    match () {
        () if any(|path| path == "auth" || path == "keys" || path.ends_with("_thumbprint")) => {
            ReasonCode::CredentialDiffers
        }
        () if any(|path| path == "status" || path == "status_reason") => ReasonCode::StatusDiffers,
        () if any(|path| path.starts_with("tags.") || path.starts_with("desired.")) => {
            ReasonCode::TwinDiffers
        }
        () => ReasonCode::IdentityDiffers,
    }
}

impl Comparison {
    /// Compares the requested state with the hub's twin; `None` if there is none. Additional values
    /// of the twin do not count.
    pub(crate) fn of(spec: &IdentitySpec, found: Option<&Twin>) -> Self {
        Self::compare(spec, found, ExtraValues::Allowed)
    }

    /// Compares as [`Self::of`] does, under a twin policy. Under [`TwinPolicy::Replace`], an
    /// additional value of the twin is a difference, whose expected value is null; a section that the
    /// batch does not give is not compared.
    pub(crate) fn under(policy: TwinPolicy, spec: &IdentitySpec, found: Option<&Twin>) -> Self {
        Self::compare(spec, found, ExtraValues::under(policy))
    }

    /// The comparison of the twin alone: the difference that remains once the identity is as the
    /// batch wants it.
    pub(crate) fn of_twin_alone(spec: &IdentitySpec, twin: &Twin, policy: TwinPolicy) -> Self {
        Self::compare_twins(spec, twin, ExtraValues::under(policy))
    }

    /// The comparison of the desired properties that a device or a module reads itself: it sees no
    /// other part of its twin.
    pub(crate) fn of_desired(spec: &IdentitySpec, found: &PropertySection) -> Self {
        let mut differences = Vec::new();
        contained("desired", &spec.state.desired, Some(&found.values), &mut differences);
        match differences.is_empty() {
            true => Self::InSync,
            false if found.version > 1 => Self::TwinModified(differences),
            false if found.values.is_empty() => Self::TwinNotWritten,
            false => Self::TwinDiffers(differences),
        }
    }

    fn compare(spec: &IdentitySpec, found: Option<&Twin>, extra: ExtraValues) -> Self {
        let Some(twin) = found else { return Self::Missing };
        let identity = identity_differences(spec, twin);
        match identity.is_empty() {
            true => Self::compare_twins(spec, twin, extra),
            false if is_staged(spec, twin, &identity) => Self::Staged(identity),
            false => Self::IdentityDiffers(identity),
        }
    }

    fn compare_twins(spec: &IdentitySpec, twin: &Twin, extra: ExtraValues) -> Self {
        let mut differences = Vec::new();
        let (tags, desired) = (twin.tags.as_ref(), Some(&twin.properties.desired.values));
        let expected_tags = creator_tag::without(&spec.state.tags);
        for (section, expected, found) in
            [("tags", &*expected_tags, tags), ("desired", &spec.state.desired, desired)]
        {
            contained(section, expected, found, &mut differences);
            if let (ExtraValues::Differ, Some(found), false) = (extra, found, expected.is_empty()) {
                surplus(section, expected, found, &mut differences);
            }
        }
        let is_creators = |difference: &Difference| {
            difference.expected.is_null()
                && creator_tag::is_creators(&difference.found)
                && difference.is_tag()
        };
        differences.retain(|difference| !is_creators(difference));
        match differences.is_empty() {
            true => Self::InSync,
            false if !was_written(twin) && is_blank(twin) => Self::TwinNotWritten,
            false if was_written(twin) => Self::TwinModified(differences),
            false => Self::TwinDiffers(differences),
        }
    }

    /// The comparison with one more difference of the identity, which a twin alone does not show.
    pub(crate) fn and_differs(self, difference: Difference) -> Self {
        let mut differences = match self {
            Self::IdentityDiffers(differences) | Self::Staged(differences) => differences,
            _ => Vec::new(),
        };
        differences.push(difference);
        Self::IdentityDiffers(differences)
    }

    /// The differences, where there are any.
    pub(crate) fn differences(&self) -> &[Difference] {
        match self {
            Self::IdentityDiffers(differences)
            | Self::Staged(differences)
            | Self::StagedByRun { differences, .. }
            | Self::TwinDiffers(differences)
            | Self::TwinModified(differences) => differences,
            Self::InSync | Self::Missing | Self::TwinNotWritten => &[],
        }
    }
}

/// The handling of values that a twin holds in addition to those of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExtraValues {
    Allowed,
    Differ,
}

impl ExtraValues {
    fn under(policy: TwinPolicy) -> Self {
        match policy {
            TwinPolicy::Initial | TwinPolicy::Merge => Self::Allowed,
            TwinPolicy::Replace => Self::Differ,
        }
    }
}

/// The status reason of a device that must be disabled after its modules are created: a hub
/// responds with 401 to all calls about modules of a disabled device. It shows that a run has
/// created the device or found it, but not which of the two.
pub(crate) const STAGED: &str = "provisioner: to be disabled when its modules are there";

/// Returns true if a run has prepared the device and not yet disabled it.
pub(crate) fn is_marked_as_staged(twin: &Twin) -> bool {
    twin.status_reason.as_ref().is_some_and(|reason| reason.as_str() == STAGED)
}

/// Returns true if the only difference is that the device is still enabled until its modules exist.
fn is_staged(spec: &IdentitySpec, twin: &Twin, differences: &[Difference]) -> bool {
    spec.state.status_on_hub() == Status::Disabled
        && is_marked_as_staged(twin)
        && differences.iter().all(|difference| difference.path.starts_with("status"))
}

/// Returns true if a service wrote to the twin after its creation. The twin's `version` counts all
/// writes, starting at 2 with reported properties at 1; so the remaining writes are those of
/// services.
fn was_written(twin: &Twin) -> bool {
    twin.properties.desired.version > 1 || twin.version.saturating_sub(twin.properties.reported.version) > 1
}

/// Returns true if neither a service nor the device has written to the twin since its creation.
pub(crate) fn is_unused(twin: &Twin) -> bool {
    !was_written(twin) && twin.properties.reported.version <= 1
}

fn is_blank(twin: &Twin) -> bool {
    twin.properties.desired.values.is_empty() && twin.tags.as_ref().is_none_or(JsonObject::is_empty)
}

fn identity_differences(spec: &IdentitySpec, twin: &Twin) -> Vec<Difference> {
    let mut differences = Vec::new();
    let (state, into) = (&spec.state, &mut differences);
    check("auth", auth_type(&state.auth), twin.authentication_type.as_str(), into);
    let slots = [twin.x509_thumbprint.primary_thumbprint, twin.x509_thumbprint.secondary_thumbprint];
    if let AuthSpec::Thumbprint { primary, secondary } = state.auth {
        let upper = |thumbprint: Option<Thumbprint>| thumbprint.map(Thumbprint::in_upper_case);
        let [found_primary, found_secondary] = in_slots_of([primary, secondary], slots);
        check("primary_thumbprint", upper(primary), upper(found_primary), into);
        check("secondary_thumbprint", upper(secondary), upper(found_secondary), into);
    }
    if let (AuthSpec::IssuedCertificate { by_ca: false, .. }, "selfSigned") =
        (&state.auth, twin.authentication_type.as_str())
    {
        into.push(Difference {
            path: "primary_thumbprint".to_owned(),
            expected: json!("that of a certificate still to be issued"),
            found: json!(slots[0]),
        });
    }
    if spec.identity.module().is_none() {
        let scope = scope_of_parent(twin);
        let parent = scope.and_then(parent_in).or(scope);
        check("status", state.status_on_hub(), twin.status, into);
        check("status_reason", state.status_reason_on_hub(), twin.status_reason.as_ref(), into);
        check("edge", state.edge, is_edge(twin), into);
        check(PARENT, state.parent.as_ref().map(DeviceId::as_str), parent, into);
    }
    differences
}

/// Notes two values that differ. Hardly any do, so only then they become JSON.
fn check<T: PartialEq + Serialize>(path: &str, expected: T, found: T, differences: &mut Vec<Difference>) {
    if expected != found {
        let (expected, found) = (json!(expected), json!(found));
        differences.push(Difference { path: path.to_owned(), expected, found });
    }
}

/// The thumbprints on the hub in the order of the expected ones. A hub accepts a certificate that
/// matches either slot, so the slots are interchangeable: a rotation puts the new thumbprint into the
/// free one.
fn in_slots_of(expected: [Option<Thumbprint>; 2], found: [Option<Thumbprint>; 2]) -> [Option<Thumbprint>; 2] {
    let same =
        |expected: Option<Thumbprint>, found: Option<Thumbprint>| expected.is_some() && expected == found;
    let [primary, secondary] = expected;
    let [first, second] = found;
    let is_in_order = same(primary, first) || same(secondary, second);
    let is_swapped = same(primary, second) || same(secondary, first);
    if is_swapped && !is_in_order { [second, first] } else { [first, second] }
}

/// The `authenticationType` of an identity for the batch's authentication.
fn auth_type(auth: &AuthSpec) -> &'static str {
    match auth {
        AuthSpec::IssuedCertificate { by_ca: false, .. } | AuthSpec::Thumbprint { .. } => "selfSigned",
        AuthSpec::Sas { .. } => "sas",
        AuthSpec::IssuedCertificate { by_ca: true, .. } | AuthSpec::X509Ca => "certificateAuthority",
    }
}

/// The path of a device's parent.
pub(crate) const PARENT: &str = "parent";

/// The scope of the device's parent, where it has one.
pub(crate) fn scope_of_parent(twin: &Twin) -> Option<&str> {
    // An edge device's own scope stands in `deviceScope`; only a leaf's names its parent.
    let leaf_scope = twin.device_scope.as_ref().filter(|_| !is_edge(twin));
    twin.parent_scopes.first().or(leaf_scope).map(String::as_str)
}

/// The scope of an edge device, which its children name.
pub(crate) fn own_scope(twin: &Twin) -> Option<&str> {
    twin.device_scope.as_deref().filter(|_| is_edge(twin))
}

fn is_edge(twin: &Twin) -> bool {
    twin.capabilities.unwrap_or_default().iot_edge
}

/// The parent's device id, out of a scope such as `ms-azure-iot-edge://gateway-7-639000000000000001`.
pub(crate) fn parent_in(scope: &str) -> Option<&str> {
    let name = scope.strip_prefix("ms-azure-iot-edge://")?;
    name.rsplit_once('-').map(|(device, _generation)| device)
}

/// Notes every value of `expected` that `found` does not hold. Extra values of the hub are not compared.
fn contained(
    path: &str,
    expected: &JsonObject,
    found: Option<&JsonObject>,
    differences: &mut Vec<Difference>,
) {
    for (name, expected) in expected {
        match (expected, found.and_then(|found| found.get(name))) {
            (expected, Some(found)) if same_value(expected, found) => {}
            (Value::Object(expected), Some(Value::Object(found))) => {
                contained(&format!("{path}.{name}"), expected, Some(found), differences);
            }
            (expected, found) => differences.push(Difference {
                path: format!("{path}.{name}"),
                expected: expected.clone(),
                found: found.cloned().unwrap_or(Value::Null),
            }),
        }
    }
}

/// Notes every value of `found` that `expected` does not name.
fn surplus(path: &str, expected: &JsonObject, found: &JsonObject, differences: &mut Vec<Difference>) {
    for (name, value) in found {
        let path = format!("{path}.{name}");
        match (expected.get(name), value) {
            (Some(Value::Object(expected)), Value::Object(found)) => {
                surplus(&path, expected, found, differences);
            }
            (Some(_), _) => {}
            (None, found) => {
                differences.push(Difference { path, expected: Value::Null, found: found.clone() });
            }
        }
    }
}

/// Equality of JSON values in which `1` and `1.0` are one number.
fn same_value(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left == right || left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same_value(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(name, value)| right.get(name).is_some_and(|other| same_value(value, other)))
        }
        _ => left == right,
    }
}

#[cfg(test)]
mod tests {
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
                status: Status::Enabled,
                status_reason: None,
                hold: None,
                edge: false,
                parent: None,
                tags: tags.as_object().cloned().unwrap().into(),
                desired: desired.as_object().cloned().unwrap().into(),
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
        let difference = Difference { path: "desired.a.b".into(), expected: json!(1), found: json!(2) };
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
            whole.differences().iter().map(|d| (d.path.as_str(), d.expected.is_null())).collect();
        // The batch says nothing of tags, so they are not compared.
        assert_eq!(paths, [("desired.a.c", true), ("desired.d", true)]);
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
        let paths: Vec<_> = comparison.differences().iter().map(|d| d.path.as_str()).collect();
        assert_eq!(paths, ["primary_thumbprint", "status"]);
    }

    #[test]
    fn a_difference_that_the_twin_does_not_show_is_one_of_the_identity() {
        let difference = Difference { path: "parent".into(), expected: json!("gw"), found: json!("other") };
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
}
