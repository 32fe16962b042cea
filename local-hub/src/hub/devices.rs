//! The operations of connected devices and modules on the hub.

use hub_types::twin::JsonObject;
use hub_types::{DeviceId, IdentityId};
use tokio::sync::futures::Notified;
use tokio::sync::mpsc;

use super::Hub;
use crate::access::credentials::{Credentials, Denied, admit};
use crate::api_error::{ApiError, ApiResult};
use crate::backend::Backend;
use crate::hub::connections::{ConnectionHandle, Downlink};
use crate::registry::{CloudToDeviceMessage, Feed, Journal, Quality, Subscriptions};

/// The parameters of a connection of a device or module.
#[derive(Debug)]
pub(crate) struct ConnectInfo {
    pub(crate) identity: IdentityId,
    pub(crate) credentials: Credentials,
    pub(crate) model_id: Option<String>,
    /// True to discard the state of an earlier session.
    pub(crate) clean: bool,
}

impl Hub {
    /// Connects a device or module. An earlier connection of the same identity is cut off.
    pub(crate) fn connect(&self, info: &ConnectInfo) -> Result<(ConnectionHandle, Subscriptions), Denied> {
        let ConnectInfo { identity, credentials, model_id, clean } = info;
        let now = self.timestamp();
        let mut journal = Journal::default();
        let mut state = self.lock();
        let generation = admit(&state.registry, identity, credentials)?;
        let kept = state
            .registry
            .connected(identity, model_id.as_deref(), *clean, now, &mut journal)
            .map_err(|error| Denied(error.text))?;
        // Nobody waits until a model id is durable: the device says it again each time.
        if let Err(error) = state.store_identities(&journal) {
            tracing::warn!(%identity, "the model id is not kept: {}", error.text);
        }
        let connection = state.connections.open(identity, generation, credentials.clone());
        Ok((connection, kept))
    }

    /// Records that a connection has ended.
    pub(crate) fn disconnect(&self, identity: &IdentityId, connection: &ConnectionHandle) {
        let now = self.timestamp();
        let mut state = self.lock();
        if state.connections.close(identity, connection.number) {
            state.registry.disconnected(identity, now);
        }
    }

    /// Counts a message of a device or module to the cloud.
    pub(crate) fn count_telemetry(&self) {
        self.telemetry.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    /// The number of messages from devices and modules.
    pub(crate) fn telemetry_count(&self) -> u64 {
        self.telemetry.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Records activity of a device or module.
    pub(crate) fn active(&self, identity: &IdentityId) {
        let now = self.timestamp();
        self.lock().registry.active(identity, now);
    }

    /// Subscribes a connection to a feed, or unsubscribes it.
    pub(crate) fn subscribe(
        &self,
        identity: &IdentityId,
        connection: &ConnectionHandle,
        feed: Feed,
        quality: Option<Quality>,
    ) {
        let mut state = self.lock();
        // One that has been replaced has no say in the session of its successor.
        if state.connections.is_current(identity, connection.number) {
            state.registry.subscribed(identity, feed, quality);
        }
        drop(state);
        self.methods_changed.notify_waiters();
    }

    /// The twin as its device or module reads it, as JSON.
    pub(crate) fn device_view(&self, identity: &IdentityId) -> ApiResult<Vec<u8>> {
        self.read(|registry| {
            let record = registry.identity(identity);
            let record = record.ok_or_else(|| ApiError::device_not_found(identity.device()))?;
            serde_json::to_vec(&record.twin.device_view())
                .map_err(|error| ApiError::server(error.to_string()))
        })
    }

    /// Patches reported properties, as their device or module does. Returns their new version.
    pub(crate) async fn report(
        &self,
        identity: &IdentityId,
        patch: JsonObject,
        base: Option<u64>,
    ) -> ApiResult<u64> {
        let written = self
            .write(|registry, now, journal| registry.patch_reported(identity, patch, base, now, journal))
            .await?;
        Ok(written.value)
    }

    /// The first message for a device after the one with that sequence number.
    pub(crate) fn message_after(&self, device: &DeviceId, sequence: u64) -> Option<CloudToDeviceMessage> {
        let now = self.timestamp();
        self.read(|registry| registry.message_after(device, sequence, now))
    }

    /// Deletes expired cloud-to-device messages.
    pub(crate) async fn drop_expired_messages(&self) -> ApiResult<()> {
        let now = self.timestamp();
        if !self.read(|registry| registry.has_expired_messages(now)) {
            return Ok(());
        }
        self.write(|registry, now, journal| {
            registry.drop_expired_messages(now, journal);
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Removes a message that the device has received.
    pub(crate) async fn complete_message(&self, device: &DeviceId, sequence: u64) -> ApiResult<()> {
        self.write(|registry, _, journal| registry.complete_message(device, sequence, journal)).await?;
        Ok(())
    }

    /// The channel to a device or module that is connected and accepts direct methods.
    pub(crate) fn method_receiver(&self, identity: &IdentityId) -> Option<mpsc::Sender<Downlink>> {
        let state = self.lock();
        let record = state.registry.identity(identity)?;
        record.subscriptions().get(Feed::Methods)?;
        state.connections.downlink(identity)
    }

    /// Resolves after any identity may have started to accept direct methods.
    pub(crate) fn methods_changed(&self) -> Notified<'_> {
        self.methods_changed.notified()
    }
}
