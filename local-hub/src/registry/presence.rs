//! The state that begins with an identity's first connection.

use hub_types::identity::ConnectionState;
use hub_types::{IdentityId, Timestamp};
use serde::{Deserialize, Serialize};

use super::record::IdentityRecord;
use super::{Journal, Registry};
use crate::api_error::ApiResult;

/// Connection state, activity, and the persistent part of a session. Changed times are not written
/// to disk at once, but with the next write of the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Presence {
    /// Connection state; false for every identity when a hub starts.
    #[serde(skip)]
    connected: bool,
    #[serde(rename = "c")]
    state_updated: Timestamp,
    #[serde(rename = "a")]
    last_activity: Timestamp,
    /// The model that the device announced; empty if it announced none.
    #[serde(rename = "m", default, skip_serializing_if = "str::is_empty")]
    model_id: Box<str>,
    /// The subscriptions, which a persistent session keeps across connections.
    #[serde(rename = "s", default)]
    subscriptions: Subscriptions,
}

/// The kinds of messages that an identity can subscribe to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feed {
    /// Cloud-to-device messages, for devices only.
    CloudToDevice,
    DesiredProperties,
    /// Messages that an edge hub routes to a module; this hub routes none.
    Inputs,
    Methods,
    TwinResponses,
}

/// The quality of service of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Quality {
    #[serde(rename = "0")]
    AtMostOnce,
    #[serde(rename = "1")]
    AtLeastOnce,
}

/// The feeds that an identity is subscribed to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subscriptions([Option<Quality>; 5]);

impl Subscriptions {
    pub(crate) fn get(self, feed: Feed) -> Option<Quality> {
        self.0.get(feed as usize).copied().flatten()
    }

    pub(crate) fn set(&mut self, feed: Feed, quality: Option<Quality>) {
        if let Some(slot) = self.0.get_mut(feed as usize) {
            *slot = quality;
        }
    }

    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl Presence {
    fn new() -> Self {
        Self {
            connected: false,
            state_updated: Timestamp::NEVER,
            last_activity: Timestamp::NEVER,
            model_id: Box::default(),
            subscriptions: Subscriptions::default(),
        }
    }
}

impl IdentityRecord {
    pub(crate) fn is_connected(&self) -> bool {
        self.presence.as_ref().is_some_and(|presence| presence.connected)
    }

    pub(crate) fn connection_state(&self) -> ConnectionState {
        if self.is_connected() { ConnectionState::Connected } else { ConnectionState::Disconnected }
    }

    pub(crate) fn connection_state_updated(&self) -> Timestamp {
        self.presence.as_ref().map_or(Timestamp::NEVER, |presence| presence.state_updated)
    }

    pub(crate) fn last_activity(&self) -> Timestamp {
        self.presence.as_ref().map_or(Timestamp::NEVER, |presence| presence.last_activity)
    }

    pub(crate) fn model_id(&self) -> &str {
        self.presence.as_ref().map_or("", |presence| &presence.model_id)
    }

    pub(crate) fn subscriptions(&self) -> Subscriptions {
        self.presence.as_ref().map_or_else(Subscriptions::default, |presence| presence.subscriptions)
    }

    fn presence_mut(&mut self) -> &mut Presence {
        self.presence.get_or_insert_with(|| Box::new(Presence::new()))
    }
}

impl Registry {
    /// The identity's record, module or device.
    pub(crate) fn identity(&self, identity: &IdentityId) -> Option<&IdentityRecord> {
        let device = self.devices.get(identity.device())?;
        match identity.module() {
            None => Some(&device.identity),
            Some(module) => device.modules.get(module).map(|module| &module.identity),
        }
    }

    /// The number of connected devices, without modules.
    pub(crate) fn connected_count(&self) -> usize {
        self.connected
    }

    /// Records that the identity has connected, with the model that it announced. Returns the
    /// subscriptions of the earlier session, unless it requests a clean one.
    pub(crate) fn connected(
        &mut self,
        identity: &IdentityId,
        model_id: Option<&str>,
        clean: bool,
        now: Timestamp,
        journal: &mut Journal,
    ) -> ApiResult<Subscriptions> {
        let record = self.identity_mut(identity)?;
        let newly = !record.is_connected();
        let presence = record.presence_mut();
        presence.connected = true;
        presence.last_activity = now;
        if newly {
            presence.state_updated = now;
        }
        if clean {
            presence.subscriptions = Subscriptions::default();
        }
        let kept = presence.subscriptions;
        if let Some(model_id) = model_id.filter(|id| *presence.model_id != **id) {
            presence.model_id = model_id.into();
            journal.touch(identity.device(), identity.module());
        }
        self.connected += usize::from(newly && identity.module().is_none());
        Ok(kept)
    }

    /// Records that the identity's connection has ended. A deleted identity is ignored.
    pub(crate) fn disconnected(&mut self, identity: &IdentityId, now: Timestamp) {
        let Ok(record) = self.identity_mut(identity) else {
            return;
        };
        if record.is_connected() {
            let presence = record.presence_mut();
            presence.connected = false;
            presence.state_updated = now;
            self.connected -= usize::from(identity.module().is_none());
        }
    }

    /// Marks every identity as disconnected, after records of a different time were loaded.
    pub(super) fn forget_connections(&mut self) {
        for device in self.devices.values_mut() {
            let modules = device.modules.values_mut().map(|module| &mut module.identity);
            for record in modules.chain(std::iter::once(&mut device.identity)) {
                if let Some(presence) = &mut record.presence {
                    presence.connected = false;
                }
            }
        }
        self.connected = 0;
    }

    /// Recounts the connected devices, after records were replaced.
    pub(super) fn recount_connected(&mut self) {
        self.connected = self.devices.values().filter(|device| device.identity.is_connected()).count();
    }

    /// Records that the identity has sent a message.
    pub(crate) fn active(&mut self, identity: &IdentityId, now: Timestamp) {
        if let Ok(record) = self.identity_mut(identity) {
            record.presence_mut().last_activity = now;
        }
    }

    /// Records that the identity subscribes to a feed, or (`None`) unsubscribes.
    pub(crate) fn subscribed(&mut self, identity: &IdentityId, feed: Feed, quality: Option<Quality>) {
        if let Ok(record) = self.identity_mut(identity) {
            record.presence_mut().subscriptions.set(feed, quality);
        }
    }
}
