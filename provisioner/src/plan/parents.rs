//! [`Parents`]: whether the devices that rows name as their parents are edge devices, or will be.

use std::collections::{HashMap, HashSet};

use futures_util::future::try_join_all;
use hub_types::DeviceId;

use super::{Action, HubSnapshotReader, IdentitySnapshot, Planner};
use crate::driver::Comparer;
use crate::hub::Hub;
use crate::ledger::LedgerRow;
use crate::workers::RunError;

/// The states of the requested parents, each read once.
#[derive(Debug, Default)]
pub(super) struct Parents(HashMap<DeviceId, Parent>);

/// The state of a device that is to have children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parent {
    /// It is an edge device on the hub, or becomes one with its own row.
    Edge,
    /// It has neither a row nor an identity on the hub.
    Missing,
    /// The device exists, and is not an edge device.
    NoEdge,
    /// It has a row, by which nothing will be done.
    Undone,
}

impl Parents {
    /// The reason why a device can't be made a child of its parent.
    pub(super) fn refusal(&self, parent: &DeviceId) -> Option<String> {
        match self.0.get(parent)? {
            Parent::Edge => None,
            Parent::Missing => {
                Some(format!("its parent `{parent}` is not on the hub and has no row of its own"))
            }
            Parent::NoEdge => Some(format!("its parent `{parent}` is not an edge device on the hub")),
            Parent::Undone => Some(format!(
                "its parent `{parent}` is not an edge device on the hub, and nothing can be done about that by its row"
            )),
        }
    }

    /// Those that these rows name, that an apply would ask the hub for, and that are not known yet.
    fn unknown(&self, planner: &Planner, page: &[(LedgerRow, IdentitySnapshot)]) -> Vec<DeviceId> {
        let named = page.iter().filter_map(|(row, look)| match planner.action(&look.comparison) {
            Action::Create | Action::Update => row.spec.state.parent.as_ref(),
            Action::Conflict | Action::Delete | Action::Keep | Action::Refuse | Action::Wait => None,
        });
        let unknown: HashSet<_> = named.filter(|parent| !self.0.contains_key(parent)).collect();
        unknown.into_iter().cloned().collect()
    }
}

impl<H: Hub> HubSnapshotReader<H> {
    /// Asks about the parents that these rows name.
    pub(super) async fn ask_for_parents(
        &self,
        planner: &mut Planner,
        page: &[(LedgerRow, IdentitySnapshot)],
        parents: &mut Parents,
    ) -> Result<(), RunError> {
        let unknown = parents.unknown(planner, page);
        if unknown.is_empty() {
            return Ok(());
        }
        planner.count_parents(unknown.len());
        for some in unknown.chunks(self.concurrency.max(1)) {
            let found = try_join_all(some.iter().map(|parent| self.parent(planner, parent))).await?;
            parents.0.extend(some.iter().cloned().zip(found));
        }
        Ok(())
    }

    /// The state of a parent. If its row creates it, its own parent must be valid too, and so on.
    async fn parent(&self, planner: &Planner, parent: &DeviceId) -> Result<Parent, RunError> {
        let mut lowest = None;
        let mut device = parent.clone();
        loop {
            let (comparison, above) = self.one_parent(planner, device).await?;
            let lowest = *lowest.get_or_insert(comparison);
            match (comparison, above) {
                (Parent::Edge, Some(above)) => device = above,
                (Parent::Edge, None) => return Ok(Parent::Edge),
                // Its own parent is missing, or none.
                _ if lowest == Parent::Edge => return Ok(Parent::Undone),
                _ => return Ok(lowest),
            }
        }
    }

    /// The state of a device as a parent, and the intended parent of the device itself.
    async fn one_parent(
        &self,
        planner: &Planner,
        device: DeviceId,
    ) -> Result<(Parent, Option<DeviceId>), RunError> {
        let (run, identity) = (self.run, device.into());
        let twin = self.hub.twin(&identity).await?;
        if twin.as_ref().is_some_and(|twin| twin.capabilities.unwrap_or_default().iot_edge) {
            return Ok((Parent::Edge, None));
        }
        let row = self.ledger.call(move |ledger| ledger.row(run, &identity)).await?;
        let Some(row) = row else {
            return Ok((twin.map_or(Parent::Missing, |_| Parent::NoEdge), None));
        };
        let (parent_scopes, keys) = (&*self.parent_scopes, &self.keys);
        let comparer = Comparer { hub: &*self.hub, parent_scopes, keys, policy: self.twin };
        let seen = comparer.compare(&row.spec, twin.as_ref()).await?;
        Ok(match planner.action(&seen.comparison) {
            Action::Create | Action::Update => (Parent::Edge, row.spec.state.parent),
            Action::Conflict | Action::Delete | Action::Keep | Action::Refuse | Action::Wait => {
                (Parent::Undone, None)
            }
        })
    }
}
