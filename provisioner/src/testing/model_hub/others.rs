//! The changes that other clients make to the hub meanwhile.

use std::collections::BTreeMap;

use hub_types::identity::Status;
use hub_types::{Authentication, IdentityId};
use serde_json::json;

use super::{CallFault, Identity, ModelHub, OTHERS, delete};

/// Something that somebody else does to an identity.
#[derive(Debug, Clone)]
pub(crate) struct ForeignChange {
    pub(crate) identity: IdentityId,
    pub(crate) what: Other,
}

#[derive(Debug, Clone)]
pub(crate) enum Other {
    /// Creates it, with these credentials and the values that batches give too, or others; as an edge device
    /// or not.
    Create(Authentication, u32, bool),
    Delete,
    Disable,
    Enable,
    /// Gives it other credentials.
    Exchange(Authentication),
    /// Its own device or module connects and reports a property.
    Use,
    /// Writes a value that batches give, too.
    WriteTwin(u32),
}

impl ModelHub {
    /// Does what others do when it is time for it.
    pub(super) fn meddle_in_between(&self) {
        let due: Vec<ForeignChange> = {
            let mut meddlings = self.meddlings.lock().unwrap();
            let (due, later): (Vec<_>, Vec<_>) = meddlings.drain(..).partition(|(calls, _)| *calls == 0);
            meddlings.extend(later.into_iter().map(|(calls, meddling)| (calls - 1, meddling)));
            due.into_iter().map(|(_, meddling)| meddling).collect()
        };
        due.iter().for_each(|meddling| self.meddle(meddling));
    }

    /// Does what somebody else does, where that is possible.
    pub(crate) fn meddle(&self, meddling: &ForeignChange) {
        let actor = self.log.lock().unwrap().replace_actor(OTHERS);
        self.logged(CallFault::Answered, |identities| meddle(meddling, identities));
        self.log.lock().unwrap().replace_actor(actor);
    }
}

fn meddle(ForeignChange { identity, what }: &ForeignChange, identities: &mut BTreeMap<IdentityId, Identity>) {
    let device = identity.device().clone().into();
    match (what, identities.get_mut(identity)) {
        (Other::Create(authentication, interval, edge), None) => {
            if identity.module().is_some() && !identities.contains_key(&device) {
                return;
            }
            let desired = json!({ "interval": interval }).as_object().cloned().unwrap_or_default();
            let tags = json!({"name": identity.to_string()}).as_object().cloned().unwrap_or_default();
            let created = Identity {
                authentication: authentication.clone(),
                desired,
                tags,
                creations: 1,
                edge: *edge,
                ..Identity::default()
            };
            identities.insert(identity.clone(), created);
        }
        (Other::Delete, Some(_)) => drop(delete(identity, None, identities)),
        (Other::Disable, Some(found)) if identity.module().is_none() && found.status == Status::Enabled => {
            found.status = Status::Disabled;
            found.version += 1;
        }
        (Other::Enable, Some(found)) if found.status == Status::Disabled => {
            found.status = Status::Enabled;
            found.version += 1;
        }
        (Other::Exchange(authentication), Some(found)) => {
            found.authentication = authentication.clone();
            found.version += 1;
        }
        (Other::Use, Some(found)) => found.uses += 1,
        (Other::WriteTwin(interval), Some(found)) => {
            found.desired.insert("interval".into(), (*interval).into());
            found.twin_writes += 1;
        }
        _ => {}
    }
}
