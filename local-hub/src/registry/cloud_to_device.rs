//! Cloud-to-device messages, which wait in a queue for their device. IoT Hub calls them commands in
//! its paths.

use std::collections::VecDeque;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hub_types::limits::{MAX_CLOUD_TO_DEVICE_BYTES, MAX_CLOUD_TO_DEVICE_WAITING};
use hub_types::{DeviceId, ErrorCode, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Journal, Registry};
use crate::api_error::{ApiError, ApiResult};

/// A message to enqueue.
#[derive(Debug)]
pub(crate) struct NewMessage {
    /// As in [`CloudToDeviceMessage::properties`].
    pub(crate) properties: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) expires: Timestamp,
}

/// One waiting message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CloudToDeviceMessage {
    /// Its sequence number among all messages that the device ever received.
    #[serde(rename = "n")]
    pub(crate) sequence: u64,
    /// Its properties, in the encoding of the topic: names and values percent-encoded.
    #[serde(rename = "p")]
    pub(crate) properties: String,
    /// The time of its expiry; messages that were stored without it do not expire.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<Timestamp>,
    #[serde(rename = "b", serialize_with = "write_base64", deserialize_with = "read_base64")]
    pub(crate) payload: Vec<u8>,
}

/// The messages that wait for a device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct MessageQueue {
    #[serde(rename = "l")]
    last_sequence: u64,
    #[serde(rename = "w")]
    waiting: VecDeque<CloudToDeviceMessage>,
}

impl MessageQueue {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The time when the next message expires.
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.waiting.iter().filter_map(|message| message.expires).min()
    }

    fn drop_expired(&mut self, now: Timestamp) {
        self.waiting.retain(|message| !message.is_expired(now));
    }
}

impl CloudToDeviceMessage {
    fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

impl Registry {
    /// Enqueues a message for a device, until it expires.
    pub(crate) fn enqueue_message(
        &mut self,
        device: &DeviceId,
        message: NewMessage,
        now: Timestamp,
        journal: &mut Journal,
    ) -> ApiResult<()> {
        let NewMessage { properties, payload, expires } = message;
        if properties.len() + payload.len() > MAX_CLOUD_TO_DEVICE_BYTES {
            let text = format!("a cloud-to-device message may have {MAX_CLOUD_TO_DEVICE_BYTES} bytes");
            return Err(ApiError::new(ErrorCode::MessageTooLarge, text));
        }
        self.device_mut(device)?.messages.get_or_insert_default();
        self.change_queue(device, |queue| {
            queue.drop_expired(now);
            if queue.len() >= MAX_CLOUD_TO_DEVICE_WAITING {
                let text = format!(
                    "{MAX_CLOUD_TO_DEVICE_WAITING} messages wait for device {device}, the most that may"
                );
                return Err(ApiError::new(ErrorCode::DeviceMaximumQueueDepthExceeded, text));
            }
            queue.last_sequence += 1;
            let (sequence, expires) = (queue.last_sequence, Some(expires));
            queue.waiting.push_back(CloudToDeviceMessage { sequence, properties, expires, payload });
            Ok(())
        })
        .unwrap_or(Ok(()))?;
        journal.messages_waiting(device);
        Ok(())
    }

    /// The first message after the one with that sequence number that has not expired.
    pub(crate) fn message_after(
        &self,
        device: &DeviceId,
        sequence: u64,
        now: Timestamp,
    ) -> Option<CloudToDeviceMessage> {
        let queue = self.devices.get(device)?.messages.as_ref()?;
        let mut later = queue.waiting.iter().filter(|message| message.sequence > sequence);
        later.find(|message| !message.is_expired(now)).cloned()
    }

    /// Removes a message that the device has received.
    pub(crate) fn complete_message(
        &mut self,
        device: &DeviceId,
        sequence: u64,
        journal: &mut Journal,
    ) -> ApiResult<()> {
        self.device_mut(device)?;
        let changed =
            self.change_queue(device, |queue| queue.waiting.retain(|message| message.sequence != sequence));
        if changed.is_some() {
            journal.touch(device, None);
        }
        Ok(())
    }

    /// Deletes all messages that wait for a device and returns their number.
    pub(crate) fn purge_messages(&mut self, device: &DeviceId, journal: &mut Journal) -> ApiResult<usize> {
        self.device_mut(device)?;
        let purged = self.change_queue(device, |queue| std::mem::take(&mut queue.waiting).len());
        if purged.is_some() {
            journal.touch(device, None);
        }
        Ok(purged.unwrap_or(0))
    }

    /// Returns true if [`Registry::drop_expired_messages`] has anything to delete.
    pub(crate) fn has_expired_messages(&self, now: Timestamp) -> bool {
        self.expiries.first().is_some_and(|(expires, _)| *expires <= now)
    }

    /// Deletes the expired messages of all devices.
    pub(crate) fn drop_expired_messages(&mut self, now: Timestamp, journal: &mut Journal) {
        while self.has_expired_messages(now) {
            let Some((_, device)) = self.expiries.pop_first() else { return };
            if self.change_queue(&device, |queue| queue.drop_expired(now)).is_some() {
                journal.touch(&device, None);
            }
        }
    }

    /// Changes the queue of a device, and updates the index of its expiry.
    fn change_queue<T>(
        &mut self,
        device: &DeviceId,
        change: impl FnOnce(&mut MessageQueue) -> T,
    ) -> Option<T> {
        let queue = self.devices.get_mut(device)?.messages.as_mut()?;
        if let Some(expires) = queue.next_expiry() {
            self.expiries.remove(&(expires, device.clone()));
        }
        let value = change(queue);
        self.expiries.extend(queue.next_expiry().map(|expires| (expires, device.clone())));
        Some(value)
    }
}

fn write_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn read_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests;
