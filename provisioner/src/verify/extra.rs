//! Extra identities on the hub, which are not in the batch: modules of the batch's devices, and
//! identities that meet a condition.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hub_types::{DeviceId, IdentityId};

use crate::hub::{Hub, HubClient};
use crate::ledger::{RowFilter, SharedLedger};
use crate::model::run_id::RunId;
use crate::workers::RunError;

/// The search for identities that a batch does not list.
pub(crate) struct Extras {
    /// The hub.
    pub(crate) hub: Arc<HubClient>,
    /// The ledger that holds the run.
    pub(crate) ledger: SharedLedger,
    /// The run.
    pub(crate) run: RunId,
    /// A condition of IoT Hub's query language: devices and modules for whose twins it holds should be in
    /// the batch.
    pub(crate) within: Option<String>,
}

/// Some devices of the batch, with their modules.
#[derive(Default)]
struct Group {
    devices: Vec<DeviceId>,
    modules: HashSet<IdentityId>,
}

impl Extras {
    /// Finds them, in the order of the ids. Extra identities are found by query and confirmed by a
    /// twin read, because the query index lags by up to half an hour.
    pub(crate) async fn find(&self) -> Result<Vec<IdentityId>, RunError> {
        let mut known = Known::default();
        let mut suspects = HashSet::new();
        let mut group = Group::default();
        let mut after: Option<IdentityId> = None;
        loop {
            let (run, from) = (self.run, after.take());
            let rows =
                self.ledger.call(move |ledger| ledger.page(run, RowFilter::All, from.as_ref(), PAGE)).await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.spec.identity.clone());
            for row in rows {
                let identity = row.spec.identity;
                if self.within.is_some() {
                    known.insert(&identity);
                }
                if identity.module().is_some() {
                    group.modules.insert(identity);
                    continue;
                }
                if group.devices.len() == DEVICES_PER_QUERY {
                    suspects.extend(self.unlisted(std::mem::take(&mut group)).await?);
                }
                group.devices.push(identity.device().clone());
            }
        }
        suspects.extend(self.unlisted(group).await?);
        if let Some(condition) = &self.within {
            self.hub
                .each_within(condition, |identity| {
                    if !known.has(&identity) {
                        suspects.insert(identity);
                    }
                })
                .await?;
        }
        self.confirmed(suspects).await
    }

    /// Modules of the group's devices that are not of the group.
    async fn unlisted(&self, group: Group) -> Result<Vec<IdentityId>, RunError> {
        if group.devices.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.hub.modules_on(&group.devices).await?;
        Ok(found.into_iter().filter(|module| !group.modules.contains(module)).collect())
    }

    async fn confirmed(&self, suspects: HashSet<IdentityId>) -> Result<Vec<IdentityId>, RunError> {
        let mut extras = Vec::new();
        for suspect in suspects {
            if self.hub.twin(&suspect).await?.is_some() {
                extras.push(suspect);
            }
        }
        extras.sort_unstable();
        Ok(extras)
    }
}

/// The identities of a batch, in 8 bytes each. One in 10^19 strangers would be taken for one of them.
#[derive(Default)]
struct Known {
    hasher: RandomState,
    hashes: HashSet<u64>,
}

impl Known {
    fn insert(&mut self, identity: &IdentityId) {
        self.hashes.insert(self.hasher.hash_one(identity));
    }

    fn has(&self, identity: &IdentityId) -> bool {
        self.hashes.contains(&self.hasher.hash_one(identity))
    }
}

const DEVICES_PER_QUERY: usize = 100;
const PAGE: usize = 1_000;
