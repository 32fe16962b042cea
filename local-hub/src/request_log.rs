//! The request log: one line of JSON for each request of the service API and for each operation of
//! a device or module, for people and for tests.

pub(crate) mod connection;

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use hub_types::Timestamp;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::registry::Counts;

/// The file that the lines are appended to.
#[derive(Debug)]
pub(crate) struct RequestLog(Mutex<File>);

/// The line of a request. It has no member for a token, a key or a body.
#[derive(Debug, Serialize)]
pub(crate) struct RequestLine<'a> {
    pub(crate) time: Timestamp,
    pub(crate) request_id: &'a str,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    /// The client's name for itself, cut after [`MAX_AGENT`] bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) agent: Option<&'a str>,
    /// The operation's name, if the path has one.
    pub(crate) operation: Option<&'static str>,
    /// The requested version of the API, if it is not a known one.
    #[serde(flatten)]
    pub(crate) version: Option<UnknownVersion<'a>>,
    /// The status of the response; null if a fault prevented both the operation and the response.
    pub(crate) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) errorcode: Option<&'static str>,
    /// The fault that hit the request. After `lose-answer` and `half-answer` the logged operation
    /// was performed, but the client does not know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<&'static str>,
    /// The time from the request's head to its outcome.
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

/// The line of an operation of a device or module over MQTT. It has no member for a token, a key, a
/// topic or a payload.
#[derive(Debug, Serialize)]
pub(crate) struct DeviceLine<'a> {
    pub(crate) time: Timestamp,
    pub(crate) operation: &'static str,
    /// `device` or `device/module`; null if CONNECT names none.
    pub(crate) identity: Option<String>,
    /// The `DeviceClientType` of CONNECT, as in [`RequestLine::agent`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) agent: Option<&'a str>,
    /// The status of the response, or of the response that MQTT has no way to send; null if a fault
    /// prevented both the operation and the response, and at the end of a connection.
    pub(crate) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) errorcode: Option<&'static str>,
    /// The fault that hit the operation, as in [`RequestLine::fault`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<&'static str>,
    /// The reason why a connection was refused or has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'a str>,
    /// The time from the packet to the outcome; at the end of a connection, the time since it was
    /// opened.
    pub(crate) milliseconds: u64,
}

/// The line of a connection that was refused before its first request.
#[derive(Debug, Serialize)]
pub(crate) struct ConnectionLine<'a> {
    pub(crate) time: Timestamp,
    pub(crate) operation: &'static str,
    /// The scheme of the listener: `https`, `mqtts` or `amqps`.
    pub(crate) listener: &'static str,
    /// The client's address.
    pub(crate) peer: SocketAddr,
    /// The identity that the client's certificate names; null if it names none.
    pub(crate) identity: Option<&'a str>,
    /// The status of the response; null if there was no response.
    pub(crate) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) errorcode: Option<&'static str>,
    pub(crate) reason: &'a str,
    /// The time from the beginning of the connection to the point where it was refused.
    pub(crate) milliseconds: u64,
}

/// The largest length of a client's name in a line, in bytes.
const MAX_AGENT: usize = 200;

/// A client's name in the form of the log.
pub(crate) fn agent(name: &[u8]) -> Option<&str> {
    let printable = name.iter().take(MAX_AGENT).take_while(|byte| matches!(byte, b' '..=b'~')).count();
    let (name, _) = name.split_at_checked(printable)?;
    str::from_utf8(name).ok().filter(|name| !name.is_empty())
}

impl RequestLog {
    /// Opens the file for appending.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let opened = File::options().append(true).create(true).open(path);
        let file = opened.map_err(|source| Error::File { action: "open", path: path.to_owned(), source })?;
        Ok(Self(Mutex::new(file)))
    }

    /// Writes a line at once: it is in the file before the client receives its response.
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
