//! The registry's record of a device and of a module, in memory and (as JSON) on disk.

use std::collections::BTreeMap;

use hub_types::identity::{Capabilities, Device, Module, Status, StatusReason};
use hub_types::twin::TwinPatch;
use hub_types::{Authentication, DeviceId, Etag, ModuleId, Timestamp};
use serde::{Deserialize, Serialize};

use super::cloud_to_device::MessageQueue;
use super::presence::Presence;
use crate::ids::counter_etag;
use crate::twin::TwinState;

/// The common part of devices and modules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct IdentityRecord {
    /// The ticks of its creation; they are unique among the identities of a hub.
    #[serde(rename = "g")]
    pub(crate) generation: u64,
    #[serde(rename = "e")]
    etag: u64,
    #[serde(rename = "a")]
    pub(crate) authentication: Authentication,
    #[serde(rename = "t")]
    pub(crate) twin: TwinState,
    /// The presence, boxed because most identities of a large hub never connect.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub(super) presence: Option<Box<Presence>>,
}

impl IdentityRecord {
    pub(crate) fn new(generation: u64, authentication: Authentication, twin: TwinState) -> Self {
        Self {
            generation,
            // Any start will do, as long as an id that is used again does not start where it did.
            etag: generation.wrapping_mul(FIBONACCI) % ETAG_STARTS,
            authentication,
            twin,
            presence: None,
        }
    }

    pub(crate) fn etag(&self) -> Etag {
        counter_etag::encode(self.etag)
    }

    /// Counts a write of the identity.
    pub(crate) fn bump_etag(&mut self) {
        self.etag += 1;
    }
}

/// A device, with its modules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeviceRecord {
    #[serde(rename = "i")]
    pub(crate) identity: IdentityRecord,
    #[serde(rename = "s")]
    pub(crate) settings: DeviceSettings,
    /// The time of the last change of the status.
    #[serde(rename = "u")]
    pub(crate) status_updated: Timestamp,
    /// The queue, created by the first cloud-to-device message.
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    pub(super) messages: Option<Box<MessageQueue>>,
    /// The modules. On disk each has a row of its own.
    #[serde(skip)]
    pub(crate) modules: BTreeMap<ModuleId, Box<ModuleRecord>>,
}

/// The settings that a client writes for a device, without its authentication, after the scopes are
/// resolved.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeviceSettings {
    #[serde(rename = "st")]
    pub(crate) status: Status,
    #[serde(rename = "sr", default, skip_serializing_if = "Option::is_none")]
    pub(crate) status_reason: Option<StatusReason>,
    #[serde(rename = "c")]
    pub(crate) capabilities: Capabilities,
    /// An edge device's own scope, or the scope of a leaf's parent.
    #[serde(rename = "ds", default, skip_serializing_if = "Option::is_none")]
    pub(crate) device_scope: Option<Box<str>>,
    /// The scopes of its parents; an empty list if the client of an edge device wrote one.
    #[serde(rename = "ps", default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent_scopes: Option<Vec<String>>,
}

impl DeviceSettings {
    pub(crate) fn parents(&self) -> &[String] {
        self.parent_scopes.as_deref().unwrap_or_default()
    }
}

impl DeviceRecord {
    pub(crate) fn new(identity: IdentityRecord, settings: DeviceSettings) -> Self {
        Self {
            identity,
            settings,
            status_updated: Timestamp::NEVER,
            messages: None,
            modules: BTreeMap::new(),
        }
    }

    pub(crate) fn is_edge(&self) -> bool {
        self.settings.capabilities.iot_edge
    }

    /// The number of waiting cloud-to-device messages.
    pub(crate) fn message_count(&self) -> usize {
        self.messages.as_ref().map_or(0, |queue| queue.len())
    }

    pub(crate) fn document(&self, id: &DeviceId) -> Device {
        Device {
            device_id: id.clone(),
            generation_id: self.identity.generation.to_string(),
            etag: self.identity.etag(),
            connection_state: self.identity.connection_state(),
            status: self.settings.status,
            status_reason: self.settings.status_reason.clone(),
            connection_state_updated_time: self.identity.connection_state_updated(),
            status_updated_time: self.status_updated,
            last_activity_time: self.identity.last_activity(),
            cloud_to_device_message_count: u32::try_from(self.message_count()).unwrap_or(u32::MAX),
            authentication: self.identity.authentication.clone(),
            capabilities: self.settings.capabilities,
            device_scope: self.settings.device_scope.as_deref().map(str::to_owned),
            parent_scopes: self.settings.parent_scopes.clone(),
        }
    }
}

/// A module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ModuleRecord {
    #[serde(rename = "i")]
    pub(crate) identity: IdentityRecord,
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub(crate) managed_by: Option<Box<str>>,
}

impl ModuleRecord {
    /// `$edgeAgent` or `$edgeHub`: the hub creates them, and no client can connect as them.
    pub(crate) fn system(generation: u64) -> Self {
        let twin = TwinState::new(Timestamp::NEVER, TwinPatch::default());
        Self {
            identity: IdentityRecord::new(generation, Authentication::None, twin),
            managed_by: Some("iotEdge".into()),
        }
    }

    pub(crate) fn document(&self, device: &DeviceId, id: &ModuleId) -> Module {
        Module {
            module_id: id.clone(),
            managed_by: self.managed_by.as_deref().map(str::to_owned),
            device_id: device.clone(),
            generation_id: self.identity.generation.to_string(),
            etag: self.identity.etag(),
            connection_state: self.identity.connection_state(),
            connection_state_updated_time: self.identity.connection_state_updated(),
            last_activity_time: self.identity.last_activity(),
            cloud_to_device_message_count: 0,
            authentication: self.identity.authentication.clone(),
        }
    }
}

const ETAG_STARTS: u64 = 1_000_000_000;
const FIBONACCI: u64 = 0x9E37_79B9_7F4A_7C15;
