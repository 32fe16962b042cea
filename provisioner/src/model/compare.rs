//! The comparison of an identity on the hub with the batch, which plan, apply and verify share.
//!
//! The hub is read through twins, which mirror all of an identity but its keys: twin reads are by
//! far the cheapest reads a hub has.

use std::fmt;
use std::str::FromStr;

use hub_types::identity::{ConnectionState, Status};
use hub_types::secret_text::{holds_symmetric_key, without_secrets};
use hub_types::twin::{JsonObject, PropertySection, Twin};
use hub_types::{DeviceId, Thumbprint, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::model::creator_tag;
use crate::model::etags::Etags;
use crate::model::failure::ReasonCode;
use crate::model::hold::Hold;
use crate::model::options::TwinPolicy;
use crate::model::run_id::RunId;
use crate::model::scopes::{is_edge, parent_in, scope_of_parent};
use crate::model::service::ServiceKind;
use crate::model::spec::{AuthSpec, IdentitySpec};
use crate::model::unknown_value::UnknownValue;
use twin_values::{PathOf, SectionComparison};

mod enrollment;
mod twin_values;

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

/// One value that is not as the batch wants it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Difference {
    /// The value that differs.
    pub(crate) path: DifferencePath,
    /// The value in the batch.
    #[serde(rename = "wanted")]
    pub(crate) expected: Value,
    /// The value on the hub; null if it has none.
    pub(crate) found: Value,
}

/// Declares the paths of single values once: variant and text.
macro_rules! single_values {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// The path of a value that differs.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub(crate) enum DifferencePath {
            $($(#[$doc])* $name,)+
            /// A tag, or a value in it, by the names on the way to it.
            Tag(Vec<String>),
            /// A desired property, or a value in it, by the names on the way to it.
            Desired(Vec<String>),
        }

        impl fmt::Display for DifferencePath {
            /// Writes the text that ledgers, plans and reports hold, such as
            /// `desired.conditions.temperature.warning`. Names in a twin contain no dot.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name => f.write_str($text),)+
                    Self::Tag(names) => write!(f, "tags.{}", names.join(".")),
                    Self::Desired(names) => write!(f, "desired.{}", names.join(".")),
                }
            }
        }

        impl FromStr for DifferencePath {
            type Err = UnknownValue;

            fn from_str(text: &str) -> Result<Self, UnknownValue> {
                let names = |path: &str| path.split('.').map(str::to_owned).collect();
                match text.split_once('.') {
                    Some(("tags", path)) => return Ok(Self::Tag(names(path))),
                    Some(("desired", path)) => return Ok(Self::Desired(names(path))),
                    _ => {}
                }
                match text {
                    $($text => Ok(Self::$name),)+
                    unknown => Err(UnknownValue::new(unknown)),
                }
            }
        }
    };
}

single_values! {
    /// The choice of the hub of devices of a DPS.
    Allocation = "allocation",
    /// The way of authentication.
    Auth = "auth",
    /// True if the device runs IoT Edge.
    Edge = "edge",
    /// The identity as a whole.
    Identity = "identity",
    /// The hubs that a DPS chooses from.
    IotHubs = "iot_hubs",
    /// The symmetric keys.
    Keys = "keys",
    /// The parent of a device.
    Parent = "parent",
    /// The thumbprint in the first slot.
    PrimaryThumbprint = "primary_thumbprint",
    /// The effect of one more registration through a DPS.
    Reprovision = "reprovision",
    /// The thumbprint in the second slot.
    SecondaryThumbprint = "secondary_thumbprint",
    /// The status of a device.
    Status = "status",
    /// The reason for the status of a device.
    StatusReason = "status_reason",
    /// The twin as a whole.
    Twin = "twin",
    /// The ETags, in ledgers of earlier versions.
    Version = "version",
    /// The function of a custom allocation.
    Webhook = "webhook",
}

impl From<DifferencePath> for String {
    fn from(path: DifferencePath) -> Self {
        path.to_string()
    }
}

impl TryFrom<String> for DifferencePath {
    type Error = UnknownValue;

    fn try_from(text: String) -> Result<Self, UnknownValue> {
        text.parse()
    }
}

impl DifferencePath {
    /// The names on the way to a tag.
    pub(crate) fn tag(&self) -> Option<&[String]> {
        match self {
            Self::Tag(names) => Some(names),
            _ => None,
        }
    }

    /// The names on the way to a desired property.
    pub(crate) fn desired(&self) -> Option<&[String]> {
        match self {
            Self::Desired(names) => Some(names),
            _ => None,
        }
    }
}

impl Difference {
    /// The difference of two values. Symmetric keys in them are not repeated: a batch may have one in a
    /// wrong column.
    pub(super) fn new(path: DifferencePath, expected: Value, found: Value) -> Self {
        Self { path, expected: without_keys(expected), found: without_keys(found) }
    }

    /// The difference on a service in words; `expects` says what has the expected value, for example
    /// `batch has`.
    pub(crate) fn told(&self, expects: &str, service: ServiceKind) -> String {
        format!("{}: {expects} {}, {service} has {}", self.path, self.expected, self.found)
    }

    /// Returns true for the parent of a device.
    pub(crate) fn is_of_parent(&self) -> bool {
        self.path == DifferencePath::Parent
    }

    /// Returns true for the thumbprint in either slot.
    pub(crate) fn is_of_thumbprint(&self) -> bool {
        matches!(self.path, DifferencePath::PrimaryThumbprint | DifferencePath::SecondaryThumbprint)
    }
}

fn without_keys(value: Value) -> Value {
    match value {
        Value::String(text) if holds_symmetric_key(&text) => without_secrets(&text).into(),
        Value::Array(values) => values.into_iter().map(without_keys).collect(),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(name, value)| (name, without_keys(value))).collect())
        }
        value => value,
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told("batch has", ServiceKind::Hub))
    }
}

/// The reason code of an identity that is left unchanged because of these differences.
pub(crate) fn conflict_reason(differences: &[Difference]) -> ReasonCode {
    use DifferencePath as Path;
    let any = |test: fn(&Path) -> bool| differences.iter().any(|difference| test(&difference.path));
    let is_of_credential = |path: &Path| {
        matches!(path, Path::Auth | Path::Keys | Path::PrimaryThumbprint | Path::SecondaryThumbprint)
    };
    match () {
        () if any(is_of_credential) => ReasonCode::CredentialDiffers,
        () if any(|path| matches!(path, Path::Status | Path::StatusReason)) => ReasonCode::StatusDiffers,
        () if any(|path| matches!(path, Path::Tag(_) | Path::Desired(_))) => ReasonCode::TwinDiffers,
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
        SectionComparison::new(DifferencePath::Desired, &mut differences)
            .note_missing(&spec.state.desired, Some(&found.values));
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
        let (tags, desired) = (twin.tags.as_ref(), Some(&twin.properties.desired.values));
        let differences = section_differences(spec, tags, desired, extra);
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

/// The differences of tags and desired properties that were found.
fn section_differences(
    spec: &IdentitySpec,
    tags: Option<&JsonObject>,
    desired: Option<&JsonObject>,
    extra: ExtraValues,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    let expected_tags = creator_tag::without(&spec.state.tags);
    let sections: [(PathOf, _, _); 2] = [
        (DifferencePath::Tag, &*expected_tags, tags),
        (DifferencePath::Desired, &spec.state.desired, desired),
    ];
    for (path_of, expected, found) in sections {
        let mut section = SectionComparison::new(path_of, &mut differences);
        section.note_missing(expected, found);
        if let (ExtraValues::Differ, Some(found), false) = (extra, found, expected.is_empty()) {
            section.note_extra(expected, found);
        }
    }
    let is_creators = |difference: &Difference| {
        difference.expected.is_null()
            && creator_tag::is_creators(&difference.found)
            && matches!(&difference.path, DifferencePath::Tag(names) if names.len() == 1)
    };
    differences.retain(|difference| !is_creators(difference));
    differences
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
        && differences.iter().all(|difference| {
            matches!(difference.path, DifferencePath::Status | DifferencePath::StatusReason)
        })
}

/// Returns true if a service wrote to the twin after its creation. The twin's `version` counts all
/// writes, starting at 2 with reported properties at 1; so the remaining writes are those of
/// services.
fn was_written(twin: &Twin) -> bool {
    twin.properties.desired.version > 1 || twin.version.saturating_sub(twin.properties.reported.version) > 1
}

/// What a twin shows of the use of an identity by its device or module, in words; `None` if it was never used.
/// Connections, telemetry and reported properties move no ETag.
pub(crate) fn use_shown_by(twin: &Twin) -> Option<String> {
    let is_connected = twin.connection_state == ConnectionState::Connected;
    let signs = [
        is_connected.then(|| "it is connected".to_owned()),
        (twin.last_activity_time != Timestamp::NEVER)
            .then(|| format!("it was last active at {}", twin.last_activity_time)),
        (twin.properties.reported.version > 1).then(|| "it has written reported properties".to_owned()),
    ];
    let signs: Vec<String> = signs.into_iter().flatten().collect();
    (!signs.is_empty()).then(|| signs.join(", "))
}

/// Returns true if no service has written to the twin since its creation, and no device has used it.
pub(crate) fn is_unused(twin: &Twin) -> bool {
    !was_written(twin) && use_shown_by(twin).is_none()
}

fn is_blank(twin: &Twin) -> bool {
    twin.properties.desired.values.is_empty() && twin.tags.as_ref().is_none_or(JsonObject::is_empty)
}

fn identity_differences(spec: &IdentitySpec, twin: &Twin) -> Vec<Difference> {
    let mut differences = Vec::new();
    let (state, into) = (&spec.state, &mut differences);
    check(DifferencePath::Auth, auth_type(&state.auth), twin.authentication_type.as_str(), into);
    let slots = [twin.x509_thumbprint.primary_thumbprint, twin.x509_thumbprint.secondary_thumbprint];
    if let AuthSpec::Thumbprint { primary, secondary } = state.auth {
        let upper = |thumbprint: Option<Thumbprint>| thumbprint.map(Thumbprint::in_upper_case);
        let [found_primary, found_secondary] = in_slots_of([primary, secondary], slots);
        check(DifferencePath::PrimaryThumbprint, upper(primary), upper(found_primary), into);
        check(DifferencePath::SecondaryThumbprint, upper(secondary), upper(found_secondary), into);
    }
    if let (AuthSpec::IssuedCertificate { by_ca: false, .. }, "selfSigned") =
        (&state.auth, twin.authentication_type.as_str())
    {
        into.push(Difference {
            path: DifferencePath::PrimaryThumbprint,
            expected: json!("that of a certificate still to be issued"),
            found: json!(slots[0]),
        });
    }
    if spec.identity.module().is_none() {
        let scope = scope_of_parent(twin);
        let parent = scope.and_then(parent_in).or(scope);
        check(DifferencePath::Status, state.status_on_hub(), twin.status, into);
        check(DifferencePath::StatusReason, state.status_reason_on_hub(), twin.status_reason.as_ref(), into);
        check(DifferencePath::Edge, state.edge, is_edge(twin), into);
        check(DifferencePath::Parent, state.parent.as_ref().map(DeviceId::as_str), parent, into);
    }
    differences
}

/// Notes two values that differ. Hardly any do, so only then they become JSON.
fn check<T: PartialEq + Serialize>(
    path: DifferencePath,
    expected: T,
    found: T,
    differences: &mut Vec<Difference>,
) {
    if expected != found {
        let (expected, found) = (json!(expected), json!(found));
        differences.push(Difference::new(path, expected, found));
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

#[cfg(test)]
mod tests;
