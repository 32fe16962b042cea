//! The request log: one line of JSON for each request of the service API and for each operation of a
//! device or module, for people and tests that count.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use hub_types::Timestamp;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::registry::Counts;

/// Where the lines go.
#[derive(Debug)]
pub(crate) struct RequestLog(Mutex<File>);

/// The line of a request. There is no place in it for a token, a key or a body.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    pub(crate) time: Timestamp,
    pub(crate) request_id: &'a str,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    /// What the client calls itself, cut after [`MAX_AGENT`] bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) agent: Option<&'a str>,
    /// The operation's name, where the path has one.
    pub(crate) operation: Option<&'static str>,
    /// The version of the API that was asked for, where it is not a known one.
    #[serde(flatten)]
    pub(crate) version: Option<UnknownVersion<'a>>,
    /// What was answered; null where a fault let nothing be done and nothing be answered.
    pub(crate) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) errorcode: Option<&'static str>,
    /// The fault that hit the request. After `lose-answer` and `half-answer` what the line says was
    /// done, but the client does not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<&'static str>,
    /// From the request's head to its outcome.
    pub(crate) milliseconds: u64,
    #[serde(flatten)]
    pub(crate) counts: Counts,
}

/// An `api-version` that is not a known one, and the known one that served the request.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct UnknownVersion<'a> {
    pub(crate) api_version: &'a str,
    pub(crate) served_as: &'static str,
}

/// The line of an operation of a device or module over MQTT. There is no place in it for a token, a
/// key, a topic or a payload.
#[derive(Debug, Serialize)]
pub(crate) struct DeviceLine<'a> {
    pub(crate) time: Timestamp,
    pub(crate) operation: &'static str,
    /// `device` or `device/module`; null where CONNECT names none.
    pub(crate) identity: Option<String>,
    /// The `DeviceClientType` of CONNECT, as in [`Line::agent`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) agent: Option<&'a str>,
    /// What was answered or, where MQTT has no answer, what would have been; null where a fault let
    /// nothing be done and nothing be answered, and at the end of a connection.
    pub(crate) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) errorcode: Option<&'static str>,
    /// The fault that hit the operation, as in [`Line::fault`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<&'static str>,
    /// Why a connection was refused or has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'a str>,
    /// From the packet to the outcome; at the end of a connection, since it was opened.
    pub(crate) milliseconds: u64,
}

/// The line of a connection that was refused before anything was asked for on it.
#[derive(Debug, Serialize)]
pub(crate) struct ConnectionLine<'a> {
    pub(crate) time: Timestamp,
    pub(crate) operation: &'static str,
    /// The scheme of the listener: `https`, `mqtts` or `amqps`.
    pub(crate) listener: &'static str,
    /// The client's address.
    pub(crate) peer: SocketAddr,
    /// The identity that the client's certificate names; null where it names none.
    pub(crate) identity: Option<&'a str>,
    /// What was answered; null where there was no answer.
    pub(crate) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) errorcode: Option<&'static str>,
    pub(crate) reason: &'a str,
    /// From the beginning of the connection to its refusal.
    pub(crate) milliseconds: u64,
}

/// The most of a client's name that a line repeats, in bytes.
const MAX_AGENT: usize = 200;

/// A client's name as lines have it.
pub(crate) fn agent(name: &[u8]) -> Option<&str> {
    let printable = name.iter().take(MAX_AGENT).take_while(|byte| matches!(byte, b' '..=b'~')).count();
    let (name, _) = name.split_at_checked(printable)?;
    str::from_utf8(name).ok().filter(|name| !name.is_empty())
}

impl RequestLog {
    /// Opens the file to write behind what it holds.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let opened = File::options().append(true).create(true).open(path);
        let file = opened.map_err(|source| Error::File { action: "open", path: path.to_owned(), source })?;
        Ok(Self(Mutex::new(file)))
    }

    /// Writes a line at once: it is there before the client has its answer.
    pub(crate) fn write(&self, line: &impl Serialize) {
        let Ok(mut text) = serde_json::to_vec(line) else {
            return;
        };
        text.push(b'\n');
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(&text) {
            tracing::warn!(%error, "the request log can't be written");
        }
    }
}
