//! The messages to the cloud that a hub makes and receives.

use std::sync::Arc;

use bytes::Bytes;
use hub_types::{IdentityId, Timestamp};
use serde_json::{Value, json};

use super::Hub;
use crate::access::credentials::Credentials;
use crate::backend::Backend;
use crate::device_to_cloud::{Message, MessageLog, MessageSource, PropertyBag};
use crate::registry::{Change, Journal, Registry};

impl Hub {
    /// The messages that are stored for readers.
    pub(crate) fn messages(&self) -> &Arc<MessageLog> {
        &self.messages
    }

    /// Accepts a message of a device or module to the cloud, with the property bag of its topic.
    pub(crate) fn accept_message(
        &self,
        identity: &IdentityId,
        credentials: &Credentials,
        properties: &str,
        payload: &[u8],
    ) {
        self.count_telemetry();
        if !self.messages.is_enabled() {
            return;
        }
        let PropertyBag { properties, mut system } = PropertyBag::parse(properties);
        let scope = if identity.module().is_some() { "module" } else { "device" };
        let method = match credentials {
            Credentials::Certificate(_) => {
                json!({"scope": scope, "type": "x509Certificate", "issuer": "external"})
            }
            Credentials::Policy => json!({"scope": "hub", "type": "sas", "issuer": "iothub"}),
            Credentials::Token(_) => json!({"scope": scope, "type": "sas", "issuer": "iothub"}),
        };
        system.insert("connectionAuthMethod".to_owned(), json!(method.to_string()));
        let generation = self.read(|registry| registry.identity(identity).map(|record| record.generation));
        if let Some(generation) = generation {
            system.insert("connectionDeviceGenerationId".to_owned(), json!(generation.to_string()));
        }
        self.messages.add(Message {
            identity: identity.clone(),
            source: MessageSource::Telemetry,
            enqueued: self.timestamp(),
            properties,
            system,
            body: Bytes::copy_from_slice(payload),
        });
    }

    /// A journal that also collects changes for messages, if these are read.
    pub(super) fn journal(&self) -> Journal {
        if self.messages.is_enabled() { Journal::with_changes() } else { Journal::default() }
    }

    /// Sends the changes of a journal as messages, in order.
    pub(super) fn publish_changes(&self, registry: &Registry, journal: &mut Journal, now: Timestamp) {
        for change in journal.take_changes() {
            self.messages.add(message_of(change, registry, now));
        }
    }
}

fn message_of(change: Change, registry: &Registry, now: Timestamp) -> Message {
    let lifecycle = |identity: IdentityId, [device, module]: [&str; 2], body: Value| {
        let kind = match identity.module() {
            None => ("deviceLifecycleNotification", device),
            Some(_) => ("moduleLifecycleNotification", module),
        };
        Message::of_hub(identity, MessageSource::Lifecycle, kind, now, &body)
    };
    match change {
        Change::Created(identity) => {
            let twin = registry.twin(&identity).ok();
            // A twin always has a JSON form; one that was deleted in the same request has none any more.
            let body = twin.and_then(|twin| serde_json::to_value(twin).ok()).unwrap_or(Value::Null);
            lifecycle(identity, ["createDeviceIdentity", "createModuleIdentity"], body)
        }
        Change::Deleted(identity) => {
            let device = identity.device().as_str();
            let body = match identity.module() {
                None => json!({"deviceId": device}),
                Some(module) => json!({"deviceId": device, "moduleId": module.as_str()}),
            };
            lifecycle(identity, ["deleteDeviceIdentity", "deleteModuleIdentity"], body)
        }
        Change::Twin(identity, body) => {
            let kind = ("twinChangeNotification", "updateTwin");
            Message::of_hub(identity, MessageSource::TwinChange, kind, now, &body)
        }
    }
}
