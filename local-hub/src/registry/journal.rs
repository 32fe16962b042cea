//! What one request wrote: for the store to make durable, for connected devices to be told, and
//! for the request log to count.

use hub_types::{DeviceId, IdentityId, ModuleId};
use serde::Serialize;

use serde_json::Value;

use crate::twin::{DesiredNotice, TwinState};

/// Collects what a request writes, in order.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    touched: Vec<IdentityId>,
    notices: Vec<Notice>,
    /// Changes that the hub tells in messages to the cloud; `None` where nobody reads these.
    changes: Option<Vec<Change>>,
    pub(crate) counts: Counts,
}

/// A change that a hub tells in a message to the cloud.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    Created(IdentityId),
    Deleted(IdentityId),
    /// A twin has changed, with what has changed in it.
    Twin(IdentityId, Value),
}

/// What a connected device or module must be told of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A message waits for it.
    Commands(IdentityId),
    /// Its desired properties have changed; with what it is to be sent.
    Desired(IdentityId, DesiredNotice),
}

/// How many identities and twins a request wrote, by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) created: u32,
    pub(crate) updated: u32,
    pub(crate) deleted: u32,
    /// Written with what was there already.
    pub(crate) unchanged: u32,
    /// Items of a bulk call that were refused.
    pub(crate) failed: u32,
}

impl Journal {
    /// A journal that also collects the changes that are told in messages to the cloud.
    pub(crate) fn with_changes() -> Self {
        Self { changes: Some(Vec::new()), ..Self::default() }
    }

    /// The changes to tell in messages to the cloud, in order.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        self.changes.take().unwrap_or_default()
    }

    /// A twin has changed.
    pub(crate) fn twin_changed(&mut self, identity: &IdentityId, before: &TwinState, after: &TwinState) {
        if let Some(changes) = &mut self.changes {
            changes.push(Change::Twin(identity.clone(), after.changes_since(before)));
        }
    }

    pub(crate) fn created(&mut self, device: &DeviceId, module: Option<&ModuleId>) {
        if let Some(changes) = &mut self.changes {
            changes.push(Change::Created(IdentityId::new(device.clone(), module.cloned())));
        }
        self.counts.created += 1;
        self.touch(device, module);
    }

    pub(crate) fn updated(&mut self, device: &DeviceId, module: Option<&ModuleId>, changed: bool) {
        if changed {
            self.counts.updated += 1;
        } else {
            self.counts.unchanged += 1;
        }
        // Counters and etags move even when values do not.
        self.touch(device, module);
    }

    pub(crate) fn deleted(&mut self, device: &DeviceId, module: Option<&ModuleId>) {
        if let Some(changes) = &mut self.changes {
            changes.push(Change::Deleted(IdentityId::new(device.clone(), module.cloned())));
        }
        self.counts.deleted += 1;
        self.touch(device, module);
    }

    /// Takes over what another journal has collected after this one.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.touched.extend(other.touched);
        self.notices.extend(other.notices);
        if let (Some(mine), Some(others)) = (&mut self.changes, other.changes) {
            mine.extend(others);
        }
        let (mine, others) = (&mut self.counts, other.counts);
        mine.created += others.created;
        mine.updated += others.updated;
        mine.deleted += others.deleted;
        mine.unchanged += others.unchanged;
        mine.failed += others.failed;
    }

    /// The identities to look at again: one that is not in the registry any more was deleted.
    pub(crate) fn touched(&self) -> &[IdentityId] {
        &self.touched
    }

    /// A message was put into a device's queue.
    pub(crate) fn commands(&mut self, device: &DeviceId) {
        self.touch(device, None);
        self.notices.push(Notice::Commands(device.clone().into()));
    }

    /// Desired properties have changed of an identity that is connected.
    pub(crate) fn desired(&mut self, identity: &IdentityId, notice: DesiredNotice) {
        self.notices.push(Notice::Desired(identity.clone(), notice));
    }

    /// What connected devices must be told, in order.
    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Something was written that is neither an identity nor a twin of the service's making.
    pub(crate) fn touch(&mut self, device: &DeviceId, module: Option<&ModuleId>) {
        self.touched.push(IdentityId::new(device.clone(), module.cloned()));
    }
}
