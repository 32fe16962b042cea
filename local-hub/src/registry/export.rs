//! Devices and modules as lines of an export.

use hub_types::{Authentication, DeviceId, Etag};
use serde::Serialize;

use super::document::{Datum, TwinDocument};
use super::record::{DeviceRecord, IdentityRecord};
use crate::twin::{TwinState, Values};

/// One line, with its members in the order of a live hub's exports.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExportLine<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    module_id: Option<&'a str>,
    #[serde(rename = "eTag")]
    etag: Etag,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<&'a str>,
    authentication: Authentication,
    #[serde(rename = "twinETag")]
    twin_etag: Etag,
    tags: ExportLineTags<'a>,
    properties: ExportLineProperties<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<hub_types::identity::Capabilities>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_scope: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    parent_scopes: &'a [String],
}

/// The values of both sections: a live hub exports no metadata or versions.
#[derive(Serialize)]
struct ExportLineProperties<'a> {
    desired: Values<'a>,
    reported: Values<'a>,
}

impl<'a> ExportLineProperties<'a> {
    fn of(record: &'a IdentityRecord) -> Self {
        let TwinState { desired, reported, .. } = &record.twin;
        Self { desired: Values(&desired.properties), reported: Values(&reported.properties) }
    }
}

/// The tags, which an export contains even if there are none.
struct ExportLineTags<'a>(Datum<'a>);

impl Serialize for ExportLineTags<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Datum::Missing => serde_json::Map::new().serialize(serializer),
            tags => tags.serialize(serializer),
        }
    }
}

/// Writes a device and its modules, except for those that the hub itself creates for edge devices.
pub(crate) fn write_export_lines(
    text: &mut Vec<u8>,
    id: &DeviceId,
    device: &DeviceRecord,
    exclude_keys: bool,
) -> serde_json::Result<()> {
    let twin = TwinDocument::of_device(id, device);
    let line = ExportLine {
        id: id.as_str(),
        module_id: None,
        etag: device.identity.etag(),
        status: device.settings.status.as_str(),
        status_reason: device.settings.status_reason.as_ref().map(|reason| reason.as_str()),
        authentication: authentication(&device.identity.authentication, exclude_keys),
        twin_etag: twin.etag(),
        tags: ExportLineTags(twin.lookup(&["tags"])),
        properties: ExportLineProperties::of(&device.identity),
        capabilities: Some(device.settings.capabilities),
        device_scope: device.settings.device_scope.as_deref(),
        parent_scopes: device.settings.parents(),
    };
    write_line(text, &line)?;
    for (module, record) in device.modules.iter().filter(|(module, _)| !module.is_system()) {
        let twin = TwinDocument::of_module(id, module, record);
        let line = ExportLine {
            id: id.as_str(),
            module_id: Some(module.as_str()),
            etag: record.identity.etag(),
            status: "enabled",
            status_reason: None,
            authentication: authentication(&record.identity.authentication, exclude_keys),
            twin_etag: twin.etag(),
            tags: ExportLineTags(twin.lookup(&["tags"])),
            properties: ExportLineProperties::of(&record.identity),
            capabilities: None,
            device_scope: None,
            parent_scopes: &[],
        };
        write_line(text, &line)?;
    }
    Ok(())
}

fn authentication(authentication: &Authentication, exclude_keys: bool) -> Authentication {
    match authentication {
        Authentication::Sas(_) if exclude_keys => Authentication::Sas(None),
        other => other.clone(),
    }
}

fn write_line(text: &mut Vec<u8>, line: &ExportLine<'_>) -> serde_json::Result<()> {
    serde_json::to_writer(&mut *text, line)?;
    text.push(b'\n');
    Ok(())
}
