//! The connected devices and modules, and the channels to them.
//!
//! The table is under the registry's lock: a write and the notification of connected devices are
//! one step, so that no notification is late, doubled, or out of order.

use std::collections::BTreeMap;
use std::ops::Bound;

use hub_types::{DeviceId, IdentityId, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::access::credentials::{Credentials, admit};
use crate::registry::{Journal, Notice, Registry};
use crate::twin::DesiredNotice;

/// Every connection, by its identity. An identity has at most one connection.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    live: BTreeMap<IdentityId, LiveConnection>,
    last_number: u64,
}

#[derive(Debug)]
struct LiveConnection {
    /// The number that distinguishes this connection from an earlier one of the same identity.
    number: u64,
    generation: u64,
    credentials: Credentials,
    downlink: mpsc::Sender<Downlink>,
    cut: CancellationToken,
}

/// A connection's own end of its entry.
#[derive(Debug)]
pub(crate) struct ConnectionHandle {
    pub(crate) number: u64,
    pub(crate) downlink: mpsc::Receiver<Downlink>,
    /// Cancelled when the connection must end.
    pub(crate) cut: CancellationToken,
}

/// A message that a connection passes on to its device or module.
#[derive(Debug)]
pub(crate) enum Downlink {
    /// The cloud-to-device queue has messages.
    MessagesWaiting,
    /// A notification of changed desired properties.
    Desired(DesiredNotice),
    /// A direct method.
    Method(MethodCall),
}

/// A direct method on its way to a device or module.
#[derive(Debug)]
pub(crate) struct MethodCall {
    pub(crate) name: String,
    pub(crate) payload: Vec<u8>,
    /// The channel for the response; closed when the caller has stopped waiting.
    pub(crate) answer: oneshot::Sender<MethodAnswer>,
}

/// The response of the device or module.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MethodAnswer {
    pub(crate) status: i32,
    pub(crate) payload: Vec<u8>,
}

impl Connections {
    /// Registers a connection; an earlier one of the same identity is cut off.
    pub(crate) fn open(
        &mut self,
        identity: &IdentityId,
        generation: u64,
        credentials: Credentials,
    ) -> ConnectionHandle {
        self.last_number += 1;
        let (downlink, receiver) = mpsc::channel(MAX_WAITING);
        let connection =
            ConnectionHandle { number: self.last_number, downlink: receiver, cut: CancellationToken::new() };
        let live = LiveConnection {
            number: connection.number,
            generation,
            credentials,
            downlink,
            cut: connection.cut.clone(),
        };
        if let Some(earlier) = self.live.insert(identity.clone(), live) {
            earlier.cut.cancel();
        }
        connection
    }

    /// Removes a connection; `false` if a newer connection has replaced it.
    pub(crate) fn close(&mut self, identity: &IdentityId, number: u64) -> bool {
        let current = self.live.get(identity).is_some_and(|live| live.number == number);
        if current {
            self.live.remove(identity);
        }
        current
    }

    /// Returns true if the connection is still the current one of its identity.
    pub(crate) fn is_current(&self, identity: &IdentityId, number: u64) -> bool {
        self.live.get(identity).is_some_and(|live| live.number == number)
    }

    /// The channel to a connected device or module.
    pub(crate) fn downlink(&self, identity: &IdentityId) -> Option<mpsc::Sender<Downlink>> {
        self.live.get(identity).map(|live| live.downlink.clone())
    }

    /// After a write: cuts off connections that are no longer allowed, and notifies the others of
    /// the changes.
    pub(crate) fn apply_changes(&mut self, registry: &mut Registry, journal: &mut Journal, now: Timestamp) {
        if self.live.is_empty() {
            return;
        }
        for identity in journal.touched() {
            // What happens to a device concerns its modules as well.
            match identity.module() {
                None => self.recheck(registry, &self.of_device(identity.device()), now),
                Some(_) => self.recheck(registry, std::slice::from_ref(identity), now),
            }
        }
        for notice in journal.take_notices() {
            match notice {
                Notice::MessagesWaiting(identity) => self.send(&identity, Downlink::MessagesWaiting),
                Notice::Desired(identity, notice) => self.send(&identity, Downlink::Desired(notice)),
            }
        }
    }

    fn of_device(&self, device: &DeviceId) -> Vec<IdentityId> {
        let from = Bound::Included(IdentityId::from(device.clone()));
        let all = self.live.range((from, Bound::Unbounded)).map(|(identity, _)| identity);
        all.take_while(|identity| identity.device() == device).cloned().collect()
    }

    fn recheck(&mut self, registry: &mut Registry, identities: &[IdentityId], now: Timestamp) {
        for identity in identities {
            let Some(live) = self.live.get(identity) else {
                continue;
            };
            let reason = match admit(registry, identity, &live.credentials) {
                Ok(generation) if generation == live.generation => continue,
                Ok(_) => "the identity was deleted and created anew".to_owned(),
                Err(denied) => denied.to_string(),
            };
            tracing::warn!(%identity, reason, "a connection is cut off");
            live.cut.cancel();
            self.live.remove(identity);
            registry.disconnected(identity, now);
        }
    }

    /// Sends a message to a connection. One that does not take it is cut off; the client then
    /// connects again and reads its twin.
    fn send(&self, identity: &IdentityId, message: Downlink) {
        let Some(live) = self.live.get(identity) else {
            return;
        };
        if live.downlink.try_send(message).is_err() {
            tracing::warn!(%identity, "a connection is cut off: it does not take what it is sent");
            live.cut.cancel();
        }
    }
}

/// The number of messages that may wait for a slow connection.
const MAX_WAITING: usize = 64;
