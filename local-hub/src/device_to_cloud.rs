//! Messages to the cloud: device messages, and the hub's messages about twins and identities.
//!
//! IoT Hub passes them to its endpoints. This hub keeps the last ones in memory, for the management
//! port, and writes them to a file if one is configured. Each message is a line of JSON in the form
//! that IoT Hub's routes write to a storage container ("Use IoT Hub message routing to send
//! device-to-cloud messages to Azure Storage", JSON encoding), preceded by a `SequenceNumber`.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hub_types::{IdentityId, Timestamp};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::error::{Error, Result};

pub(crate) use properties::PropertyBag;
pub(crate) use reader::{Filter, Reader};

mod properties;
mod reader;

/// A message to the cloud.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) identity: IdentityId,
    pub(crate) source: MessageSource,
    pub(crate) enqueued: Timestamp,
    /// The properties that the sender defined.
    pub(crate) properties: Map<String, Value>,
    /// The properties that the hub and its protocol define.
    pub(crate) system: Map<String, Value>,
    pub(crate) body: Bytes,
}

/// The origin of a message: `messageSource`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MessageSource {
    /// A device or module was created or deleted.
    Lifecycle,
    /// A device or module sent it.
    Telemetry,
    /// A twin changed.
    TwinChange,
}

impl MessageSource {
    const ALL: [Self; 3] = [Self::Lifecycle, Self::Telemetry, Self::TwinChange];

    fn name(self) -> &'static str {
        match self {
            Self::Lifecycle => "deviceLifecycleEvents",
            Self::Telemetry => "Telemetry",
            Self::TwinChange => "twinChangeEvents",
        }
    }

    /// Finds the source of a name.
    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.name() == name)
    }
}

impl Message {
    /// A message of the hub itself, about an identity. `schema` and `operation` are IoT Hub's
    /// names.
    pub(crate) fn of_hub(
        identity: IdentityId,
        source: MessageSource,
        (schema, operation): (&str, &str),
        now: Timestamp,
        body: &Value,
    ) -> Self {
        let mut properties = Map::new();
        properties.insert("deviceId".to_owned(), json!(identity.device().as_str()));
        if let Some(module) = identity.module() {
            properties.insert("moduleId".to_owned(), json!(module.as_str()));
        }
        properties.insert("iothub-message-schema".to_owned(), json!(schema));
        properties.insert("opType".to_owned(), json!(operation));
        properties.insert("operationTimestamp".to_owned(), json!(now));
        let mut system = Map::new();
        system.insert("contentType".to_owned(), json!("application/json"));
        system.insert("contentEncoding".to_owned(), json!("utf-8"));
        let body = Bytes::from(body.to_string());
        Self { identity, source, enqueued: now, properties, system, body }
    }

    fn line(self, sequence: u64) -> MessageLine {
        let Self { identity, source, enqueued, properties, mut system, body } = self;
        let body = body_of(&system, &body);
        system.insert("connectionDeviceId".to_owned(), json!(identity.device().as_str()));
        if let Some(module) = identity.module() {
            system.insert("connectionModuleId".to_owned(), json!(module.as_str()));
        }
        system.insert("enqueuedTime".to_owned(), json!(enqueued));
        system.insert("messageSource".to_owned(), json!(source.name()));
        let document = json!({
            "SequenceNumber": sequence,
            "EnqueuedTimeUtc": enqueued,
            "Properties": properties,
            "SystemProperties": system,
            "Body": body,
        });
        let text = Bytes::from(format!("{document}\n"));
        MessageLine { sequence, identity, source, enqueued, text }
    }
}

/// The body in the form of the lines: JSON if the sender declares JSON in UTF-8 and the text is
/// valid, base64 otherwise.
fn body_of(system: &Map<String, Value>, body: &[u8]) -> Value {
    let says = |name: &str, value: &str| {
        system.get(name).and_then(Value::as_str).is_some_and(|given| given.eq_ignore_ascii_case(value))
    };
    let is_json = says("contentType", "application/json") && says("contentEncoding", "utf-8");
    let parsed = if is_json { serde_json::from_slice(body).ok() } else { None };
    parsed.unwrap_or_else(|| Value::String(STANDARD.encode(body)))
}

/// A stored message.
#[derive(Debug)]
struct MessageLine {
    sequence: u64,
    identity: IdentityId,
    source: MessageSource,
    enqueued: Timestamp,
    text: Bytes,
}

/// The last messages, bounded in number and memory.
#[derive(Debug, Default)]
struct Retained {
    lines: VecDeque<MessageLine>,
    bytes: usize,
    last: u64,
}

impl Retained {
    fn push(&mut self, line: MessageLine) {
        self.bytes += line.text.len() + LINE_OVERHEAD;
        self.lines.push_back(line);
        while self.bytes > MAX_BYTES || self.lines.len() > MAX_LINES {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.text.len() + LINE_OVERHEAD;
        }
    }
}

/// The messages of a hub, for its readers.
#[derive(Debug)]
pub(crate) struct MessageLog {
    kept: Mutex<Retained>,
    /// The number of the last message.
    arrived: watch::Sender<u64>,
    file: Option<Mutex<File>>,
    is_enabled: bool,
}

impl MessageLog {
    /// A log that drops every message, because it has no readers.
    pub(crate) fn disabled() -> Self {
        Self { kept: Mutex::default(), arrived: watch::Sender::new(0), file: None, is_enabled: false }
    }

    /// A log that stores messages for readers and, with a file, appends each of them.
    pub(crate) fn open(file: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| {
            let opened = File::options().append(true).create(true).open(path);
            opened.map_err(|source| Error::File { action: "open", path: path.to_owned(), source })
        };
        let file = file.map(open).transpose()?.map(Mutex::new);
        Ok(Self { file, is_enabled: true, ..Self::disabled() })
    }

    /// Returns true if messages can be read; otherwise none need to be made.
    pub(crate) fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// Adds a message. It is in the file, if there is one, when this function returns.
    pub(crate) fn add(&self, message: Message) {
        if !self.is_enabled {
            return;
        }
        let mut kept = self.kept();
        kept.last += 1;
        let last = kept.last;
        let line = message.line(last);
        if let Some(file) = &self.file {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = file.write_all(&line.text) {
                tracing::warn!(%error, "the file for messages to the cloud can't be written");
            }
        }
        kept.push(line);
        drop(kept);
        self.arrived.send_replace(last);
    }

    fn kept(&self) -> MutexGuard<'_, Retained> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const MAX_BYTES: usize = 64 * 1024 * 1024;
const MAX_LINES: usize = 100_000;
/// The approximate memory of a line in addition to its text, in bytes.
const LINE_OVERHEAD: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn telemetry(device: &str, body: &str, system: &[(&str, &str)]) -> Message {
        Message {
            identity: IdentityId::from_common_name(device).unwrap(),
            source: MessageSource::Telemetry,
            enqueued: Timestamp::NEVER,
            properties: Map::new(),
            system: system.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    fn document(line: &MessageLine) -> Value {
        serde_json::from_slice(&line.text).unwrap()
    }

    #[test]
    fn a_body_is_json_where_its_sender_says_so_and_base64_elsewhere() {
        let says = [("contentType", "application/json"), ("contentEncoding", "UTF-8")];
        let body = |body: &str, system: &[(&str, &str)]| {
            document(&telemetry("d", body, system).line(1))["Body"].clone()
        };
        assert_eq!(body("{\"t\": 21.5}", &says), json!({"t": 21.5}));
        assert_eq!(body("{\"t\": 21.5}", &says[..1]), json!("eyJ0IjogMjEuNX0="));
        assert_eq!(body("{broken", &says), json!("e2Jyb2tlbg=="));
        assert_eq!(body("\u{1}", &[]), json!("AQ=="));
    }

    #[test]
    fn the_last_messages_are_kept_and_memory_is_bounded() {
        let log = MessageLog::open(None).unwrap();
        let body = "x".repeat(200_000);
        for _ in 0..500 {
            log.add(telemetry("d/m", &body, &[]));
        }
        let kept = log.kept();
        assert!(kept.bytes <= MAX_BYTES && kept.lines.len() > 200, "{} {}", kept.bytes, kept.lines.len());
        let newest = document(kept.lines.back().unwrap());
        assert_eq!(newest["SequenceNumber"], 500);
        assert_eq!(newest["SystemProperties"]["connectionModuleId"], "m");
    }

    #[test]
    fn what_nobody_can_read_is_not_kept() {
        let log = MessageLog::disabled();
        log.add(telemetry("d", "x", &[]));
        assert_eq!(log.kept().lines.len(), 0);
    }
}
