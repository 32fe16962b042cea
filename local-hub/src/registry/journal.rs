//! The record of one request's writes: for the store, for notifying connected devices, and for the
//! counts of the request log.

use hub_types::{DeviceId, IdentityId, ModuleId};
use serde::Serialize;

use serde_json::Value;

use crate::twin::{DesiredNotice, TwinState};

/// Collects what a request writes, in order.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    touched: Vec<IdentityId>,
    notices: Vec<Notice>,
    /// Changes for messages to the cloud; `None` if there are no readers.
    changes: Option<Vec<Change>>,
    pub(crate) counts: Counts,
}

/// A change that the hub reports in a message to the cloud.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    Created(IdentityId),
    Deleted(IdentityId),
    /// A twin changed, with the changed values.
    Twin(IdentityId, Value),
}

/// A notification to a connected device or module about a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A message waits in its queue.
    MessagesWaiting(IdentityId),
    /// Its desired properties changed; with the notification to send.
    Desired(IdentityId, DesiredNotice),
}

/// The number of identities and twins that a request wrote, by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) created: u32,
    pub(crate) updated: u32,
    pub(crate) deleted: u32,
    /// Written with the values that were already there.
    pub(crate) unchanged: u32,
    /// Items of a bulk call that were refused.
    pub(crate) failed: u32,
}

impl Journal {
    /// A journal that also collects the changes for messages to the cloud.
    pub(crate) fn with_changes() -> Self {
        Self { changes: Some(Vec::new()), ..Self::default() }
    }

    /// The changes for messages to the cloud, in order.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        self.changes.take().unwrap_or_default()
    }

    /// Records a change of a twin.
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

    /// Appends the content of a later journal.
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

    /// The changed identities: one that is not in the registry any more was deleted.
    pub(crate) fn touched(&self) -> &[IdentityId] {
        &self.touched
    }

    /// Records that a message was enqueued for a device.
    pub(crate) fn messages_waiting(&mut self, device: &DeviceId) {
        self.touch(device, None);
        self.notices.push(Notice::MessagesWaiting(device.clone().into()));
    }

    /// Records changed desired properties of a connected identity.
    pub(crate) fn desired(&mut self, identity: &IdentityId, notice: DesiredNotice) {
        self.notices.push(Notice::Desired(identity.clone(), notice));
    }

    /// The notifications to connected devices, in order.
    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Records a write that is neither an identity nor a service's change of a twin.
    pub(crate) fn touch(&mut self, device: &DeviceId, module: Option<&ModuleId>) {
        self.touched.push(IdentityId::new(device.clone(), module.cloned()));
    }
}
