//! The twin as responses and queries show it: its own state, and a copy of parts of its identity.
//!
//! Serialization writes all fields of one list, and a query finds a field in the same list. Both read
//! the registry without building a JSON tree, so that a scan of a million twins is cheap.

use std::borrow::Cow;

use hub_types::authentication::X509Thumbprint;
use hub_types::identity::{Capabilities, Status};
use hub_types::{DeviceId, Etag, IdentityId, ModuleId, Timestamp};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::record::{DeviceRecord, IdentityRecord, ModuleRecord};
use crate::twin::{Properties, PropertyValue, SectionDocument, SectionKind, TwinState, Values};

/// The twin of a device or a module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TwinDocument<'a> {
    device_id: &'a DeviceId,
    identity: &'a IdentityRecord,
    owner: Owner<'a>,
    shape: Shape,
}

/// The optional members of a twin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// `modelId`, which later versions of the API added.
    pub(crate) model_id: bool,
    /// `capabilities` of a module, which rows of queries have but its twin does not.
    pub(crate) module_capabilities: bool,
}

#[derive(Debug, Clone, Copy)]
enum Owner<'a> {
    Device(&'a DeviceRecord),
    Module(&'a ModuleId),
}

impl<'a> TwinDocument<'a> {
    pub(crate) fn of_device(id: &'a DeviceId, record: &'a DeviceRecord) -> Self {
        let owner = Owner::Device(record);
        Self { device_id: id, identity: &record.identity, owner, shape: Shape::default() }
    }

    pub(crate) fn of_module(device: &'a DeviceId, id: &'a ModuleId, record: &'a ModuleRecord) -> Self {
        let owner = Owner::Module(id);
        Self { device_id: device, identity: &record.identity, owner, shape: Shape::default() }
    }

    /// The same twin with different optional members.
    pub(crate) fn shaped(self, shape: Shape) -> Self {
        Self { shape, ..self }
    }

    pub(crate) fn identity(&self) -> IdentityId {
        let module = match self.owner {
            Owner::Device(_) => None,
            Owner::Module(id) => Some(id.clone()),
        };
        IdentityId::new(self.device_id.clone(), module)
    }

    pub(crate) fn etag(&self) -> Etag {
        self.identity.twin.etag()
    }

    /// Returns the value at a path, such as `properties.desired.a.b`. The letter case of the first name
    /// does not matter: Microsoft's examples write both `DeviceId` and `deviceId`.
    pub(crate) fn lookup<S: AsRef<str>>(&self, path: &[S]) -> Datum<'a> {
        let Some((first, rest)) = path.split_first() else {
            return Datum::Missing;
        };
        let known = FIELDS.iter().find(|name| name.eq_ignore_ascii_case(first.as_ref()));
        let field = known.map_or(Datum::Missing, |name| self.field(name));
        rest.iter().fold(field, |datum, name| datum.member(name.as_ref()))
    }

    fn shows(&self, name: &str) -> bool {
        match (name, self.owner) {
            ("modelId", _) => self.shape.model_id,
            ("capabilities", Owner::Module(_)) => self.shape.module_capabilities,
            _ => true,
        }
    }

    fn field(&self, name: &str) -> Datum<'a> {
        let identity = self.identity;
        match name {
            "deviceId" => Datum::text(self.device_id.as_str()),
            "etag" => Datum::Text(self.etag().as_str().to_owned().into()),
            "deviceEtag" => Datum::Text(identity.etag().as_str().to_owned().into()),
            "connectionState" => Datum::text(identity.connection_state().as_str()),
            "lastActivityTime" => Datum::Time(identity.last_activity()),
            "cloudToDeviceMessageCount" => Datum::Integer(self.owner.message_count()),
            "authenticationType" => Datum::text(identity.authentication.type_name()),
            "x509Thumbprint" => Datum::Thumbprints(identity.authentication.thumbprints()),
            "modelId" => Datum::text(identity.model_id()),
            "version" => Datum::Integer(identity.twin.version()),
            "tags" => identity.twin.tags.as_ref().map_or(Datum::Missing, Datum::Properties),
            "properties" => Datum::Sections(&identity.twin),
            "configurations" => match &identity.twin.configurations {
                Some(rolled_out) => Datum::json(&rolled_out.statuses),
                None => Datum::Missing,
            },
            other => self.owner.field(other),
        }
    }
}

impl<'a> Owner<'a> {
    /// The number of waiting messages, which only devices can have.
    fn message_count(&self) -> u64 {
        match self {
            Self::Device(record) => record.message_count() as u64,
            Self::Module(_) => 0,
        }
    }

    fn field(&self, name: &str) -> Datum<'a> {
        match self {
            Self::Device(record) => device_field(record, name),
            Self::Module(id) => match name {
                "moduleId" => Datum::text(id.as_str()),
                "status" => Datum::text(Status::Enabled.as_str()),
                "statusUpdateTime" => Datum::Time(Timestamp::NEVER),
                "capabilities" => Datum::Capabilities(Capabilities::default()),
                _ => Datum::Missing,
            },
        }
    }
}

fn device_field<'a>(record: &'a DeviceRecord, name: &str) -> Datum<'a> {
    let settings = &record.settings;
    match name {
        "status" => Datum::text(settings.status.as_str()),
        "statusReason" => match &settings.status_reason {
            Some(reason) => Datum::text(reason.as_str()),
            None => Datum::Missing,
        },
        "statusUpdateTime" => Datum::Time(record.status_updated),
        "capabilities" => Datum::Capabilities(settings.capabilities),
        "deviceScope" => settings.device_scope.as_deref().map_or(Datum::Missing, Datum::text),
        "parentScopes" if !settings.parents().is_empty() => Datum::json(settings.parents()),
        _ => Datum::Missing,
    }
}

impl Serialize for TwinDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for name in FIELDS.into_iter().filter(|name| self.shows(name)) {
            match self.field(name) {
                Datum::Missing => {}
                datum => map.serialize_entry(name, &datum)?,
            }
        }
        map.end()
    }
}

/// Returns the reason why no twin can have a value at a path, if there is such a reason. Tags and
/// properties have any names, so every path in them is possible.
pub(crate) fn column_problem(path: &[String], of_modules: bool) -> Option<String> {
    let (first, rest) = path.split_first()?;
    let Some(member) = FIELDS.into_iter().find(|name| name.eq_ignore_ascii_case(first)) else {
        return Some("twins have no such member".to_owned());
    };
    let members: &[&str] = match member {
        "moduleId" if !of_modules => return Some("only devices.modules has it".to_owned()),
        // A configuration, a tag or a property may have any name.
        "configurations" | "tags" => return None,
        "properties" => &["desired", "reported"],
        "capabilities" => &["iotEdge"],
        "x509Thumbprint" => &["primaryThumbprint", "secondaryThumbprint"],
        _ => &[],
    };
    let known = rest.first().is_none_or(|second| members.contains(&second.as_str()));
    let ends = member == "properties" || rest.len() < 2;
    match members {
        _ if known && ends => None,
        [] => Some(format!("`{member}` has no members")),
        _ => Some(format!("`{member}` has only the members {}", members.join(", "))),
    }
}

/// A value somewhere in a twin.
#[derive(Debug, Clone)]
pub(crate) enum Datum<'a> {
    Missing,
    Capabilities(Capabilities),
    Integer(u64),
    Json(Cow<'a, Value>),
    Properties(&'a Properties),
    Section(SectionDocument<'a>),
    Sections(&'a TwinState),
    Text(Cow<'a, str>),
    Thumbprints(X509Thumbprint),
    Time(Timestamp),
}

impl<'a> Datum<'a> {
    /// Returns the member with a name; [`Self::Missing`] if the value has no such member.
    pub(crate) fn member(self, name: &str) -> Self {
        match self {
            Self::Json(Cow::Borrowed(value)) => {
                value.get(name).map_or(Self::Missing, |value| Self::Json(Cow::Borrowed(value)))
            }
            Self::Json(Cow::Owned(value)) => {
                value.get(name).map_or(Self::Missing, |value| Self::Json(Cow::Owned(value.clone())))
            }
            Self::Properties(properties) => Self::property(properties, name),
            Self::Section(document) => match name {
                "$version" => Self::Integer(document.section.version),
                "$metadata" => Self::json(document.metadata()),
                _ => Self::property(&document.section.properties, name),
            },
            Self::Sections(twin) => section(twin, name),
            Self::Capabilities(capabilities) => Self::json(capabilities).member(name),
            Self::Thumbprints(thumbprints) => Self::json(thumbprints).member(name),
            Self::Integer(_) | Self::Missing | Self::Text(_) | Self::Time(_) => Self::Missing,
        }
    }

    fn property(properties: &'a Properties, name: &str) -> Self {
        match properties.get(name).map(|property| &property.value) {
            Some(PropertyValue::Leaf(value)) => Self::Json(Cow::Borrowed(value)),
            Some(PropertyValue::Object(properties)) => Self::Properties(properties),
            None => Self::Missing,
        }
    }

    fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// A value that is JSON.
    pub(crate) fn value(value: &'a Value) -> Self {
        Self::Json(Cow::Borrowed(value))
    }

    fn json(value: impl Serialize) -> Self {
        // What is passed here are documents of our own, which all have a JSON form.
        serde_json::to_value(value).map_or(Self::Missing, |value| Self::Json(Cow::Owned(value)))
    }
}

fn section<'a>(twin: &'a TwinState, name: &str) -> Datum<'a> {
    match name {
        "desired" => Datum::Section(SectionDocument { section: &twin.desired, kind: SectionKind::Desired }),
        "reported" => {
            Datum::Section(SectionDocument { section: &twin.reported, kind: SectionKind::Reported })
        }
        _ => Datum::Missing,
    }
}

impl Serialize for Datum<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Missing => serializer.serialize_unit(),
            Self::Capabilities(capabilities) => capabilities.serialize(serializer),
            Self::Integer(number) => number.serialize(serializer),
            Self::Json(value) => value.serialize(serializer),
            Self::Properties(properties) => Values(properties).serialize(serializer),
            Self::Section(document) => document.serialize(serializer),
            Self::Sections(twin) => {
                let mut map = serializer.serialize_map(Some(2))?;
                for name in ["desired", "reported"] {
                    map.serialize_entry(name, &section(twin, name))?;
                }
                map.end()
            }
            Self::Text(text) => text.serialize(serializer),
            Self::Thumbprints(thumbprints) => thumbprints.serialize(serializer),
            Self::Time(time) => time.serialize(serializer),
        }
    }
}

/// The members of a twin in the order of a hub. Serialization leaves out members without a value.
const FIELDS: [&str; 20] = [
    "deviceId",
    "moduleId",
    "etag",
    "deviceEtag",
    "status",
    "statusReason",
    "statusUpdateTime",
    "connectionState",
    "lastActivityTime",
    "cloudToDeviceMessageCount",
    "authenticationType",
    "x509Thumbprint",
    "modelId",
    "version",
    "tags",
    "properties",
    "configurations",
    "capabilities",
    "deviceScope",
    "parentScopes",
];
