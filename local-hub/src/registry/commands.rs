//! Cloud-to-device messages, which wait in a queue for their device. IoT Hub calls them commands in
//! its paths.

use std::collections::VecDeque;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hub_types::limits::{MAX_COMMAND_BYTES, MAX_COMMANDS_WAITING};
use hub_types::{DeviceId, ErrorCode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Answer, Journal, Registry};
use crate::refusal::Refusal;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Command {
    /// Its place among all messages that the device ever got.
    #[serde(rename = "n")]
    pub(crate) sequence: u64,
    /// Its properties, as they stand behind the topic: names and values percent-encoded.
    #[serde(rename = "p")]
    pub(crate) properties: String,
    #[serde(rename = "b", serialize_with = "write_base64", deserialize_with = "read_base64")]
    pub(crate) payload: Vec<u8>,
}

/// The messages that wait for a device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CommandQueue {
    #[serde(rename = "l")]
    last_sequence: u64,
    #[serde(rename = "w")]
    waiting: VecDeque<Command>,
}

impl CommandQueue {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}

impl Registry {
    /// Puts a message into a device's queue.
    pub(crate) fn enqueue_command(
        &mut self,
        device: &DeviceId,
        properties: String,
        payload: Vec<u8>,
        journal: &mut Journal,
    ) -> Answer<()> {
        if properties.len() + payload.len() > MAX_COMMAND_BYTES {
            let text = format!("a cloud-to-device message may have {MAX_COMMAND_BYTES} bytes");
            return Err(Refusal::new(ErrorCode::MessageTooLarge, text));
        }
        let queue = self.device_mut(device)?.commands.get_or_insert_default();
        if queue.len() >= MAX_COMMANDS_WAITING {
            let text = format!("{MAX_COMMANDS_WAITING} messages wait for device {device}, the most that may");
            return Err(Refusal::new(ErrorCode::DeviceMaximumQueueDepthExceeded, text));
        }
        queue.last_sequence += 1;
        queue.waiting.push_back(Command { sequence: queue.last_sequence, properties, payload });
        journal.commands(device);
        Ok(())
    }

    /// The first message behind the one with that sequence.
    pub(crate) fn command_after(&self, device: &DeviceId, sequence: u64) -> Option<Command> {
        let queue = self.devices.get(device)?.commands.as_ref()?;
        queue.waiting.iter().find(|command| command.sequence > sequence).cloned()
    }

    /// Takes a message out that the device has got.
    pub(crate) fn complete_command(
        &mut self,
        device: &DeviceId,
        sequence: u64,
        journal: &mut Journal,
    ) -> Answer<()> {
        if let Some(queue) = &mut self.device_mut(device)?.commands {
            queue.waiting.retain(|command| command.sequence != sequence);
            journal.touch(device, None);
        }
        Ok(())
    }

    /// Drops all messages that wait for a device and tells how many they were.
    pub(crate) fn purge_commands(&mut self, device: &DeviceId, journal: &mut Journal) -> Answer<usize> {
        let Some(queue) = &mut self.device_mut(device)?.commands else {
            return Ok(0);
        };
        let purged = queue.len();
        queue.waiting.clear();
        journal.touch(device, None);
        Ok(purged)
    }
}

fn write_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn read_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}
