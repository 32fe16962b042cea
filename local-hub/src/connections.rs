//! The devices and modules that are connected now, and how to reach them.
//!
//! The table lives under the registry's lock: a write and what connected devices must be told of it
//! are one step, so nobody is told too late, twice, or in the wrong order.

use std::collections::BTreeMap;
use std::ops::Bound;

use hub_types::{DeviceId, IdentityId, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::device_access::{Evidence, admit};
use crate::registry::{Journal, Notice, Registry};
use crate::twin::DesiredNotice;

/// Every connection, by its identity: there is at most one.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    live: BTreeMap<IdentityId, Live>,
    last_number: u64,
}

#[derive(Debug)]
struct Live {
    /// Tells this connection from an earlier one of the same identity.
    number: u64,
    generation: u64,
    evidence: Evidence,
    downlink: mpsc::Sender<Downlink>,
    cut: CancellationToken,
}

/// A connection's own end of its entry.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) number: u64,
    pub(crate) downlink: mpsc::Receiver<Downlink>,
    /// The connection must end.
    pub(crate) cut: CancellationToken,
}

/// What a connection is to pass on to its device or module.
#[derive(Debug)]
pub(crate) enum Downlink {
    /// There are messages in the queue.
    Commands,
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
    /// Where the answer goes; closed when nobody waits for it any more.
    pub(crate) answer: oneshot::Sender<MethodAnswer>,
}

/// What the device or module answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MethodAnswer {
    pub(crate) status: i32,
    pub(crate) payload: Vec<u8>,
}

impl Connections {
    /// Enters a connection; an earlier one of the same identity is cut off.
    pub(crate) fn open(&mut self, identity: &IdentityId, generation: u64, evidence: Evidence) -> Link {
        self.last_number += 1;
        let (downlink, receiver) = mpsc::channel(MAX_WAITING);
        let link = Link { number: self.last_number, downlink: receiver, cut: CancellationToken::new() };
        let live = Live { number: link.number, generation, evidence, downlink, cut: link.cut.clone() };
        if let Some(earlier) = self.live.insert(identity.clone(), live) {
            earlier.cut.cancel();
        }
        link
    }

    /// Takes a connection out; `false` where another has taken its place.
    pub(crate) fn close(&mut self, identity: &IdentityId, number: u64) -> bool {
        let current = self.live.get(identity).is_some_and(|live| live.number == number);
        if current {
            self.live.remove(identity);
        }
        current
    }

    /// Whether the connection is still the one of its identity.
    pub(crate) fn is_current(&self, identity: &IdentityId, number: u64) -> bool {
        self.live.get(identity).is_some_and(|live| live.number == number)
    }

    /// The way to a connected device or module.
    pub(crate) fn downlink(&self, identity: &IdentityId) -> Option<mpsc::Sender<Downlink>> {
        self.live.get(identity).map(|live| live.downlink.clone())
    }

    /// After a write: cuts off who may no longer be connected, and tells the others what changed.
    pub(crate) fn settle(&mut self, registry: &mut Registry, journal: &mut Journal, now: Timestamp) {
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
                Notice::Commands(identity) => self.send(&identity, Downlink::Commands),
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
            let reason = match admit(registry, identity, &live.evidence) {
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

    /// Who does not take what it is sent is cut off; it connects again and reads its twin.
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

/// Messages that wait for a connection that is slow.
const MAX_WAITING: usize = 64;
