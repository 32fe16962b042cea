//! [`HubSnapshotReader`]: compares a hub with the rows of a run, for the decisions of a [`Planner`].

use std::sync::Arc;

use hub_types::IdentityId;
use hub_types::identity::Status;
use hub_types::twin::{JsonObject, Nulls, Section, Twin, check_section};
use serde_json::Value;

use super::planner::HubContext;
use super::{PlannedRow, Planner};
use crate::driver::{Comparer, ParentScopes};
use crate::hub::Hub;
use crate::ledger::{Holds, LedgerRow, RowFilter, SharedLedger};
use crate::model::compare::{Comparison, Observation};
use crate::model::etags::Etags;
use crate::model::options::TwinPolicy;
use crate::model::run_id::RunId;
use crate::model::spec::{GivenKeys, IdentitySpec};
use crate::workers::RunError;
use crate::workers::concurrent_reads::read_concurrently;

/// The facts about an identity on the hub that a plan needs.
#[derive(Debug)]
pub(crate) struct IdentitySnapshot {
    /// The comparison with the batch.
    pub(crate) comparison: Comparison,
    /// The comparison of its twin alone, if the identity differs.
    pub(crate) twin_too: Option<Comparison>,
    /// The reason why the twin can't take the batch's values, if it can't.
    pub(crate) overflow: Option<String>,
    /// The ETags that it was seen with.
    pub(crate) etags: Etags,
    /// The run that keeps the device disabled.
    pub(crate) held_by: Option<RunId>,
    /// True if the hub has the device and it is disabled.
    pub(crate) is_disabled: bool,
}

impl IdentitySnapshot {
    fn new(spec: &IdentitySpec, twin: Option<&Twin>, seen: Observation, policy: TwinPolicy) -> Self {
        let alone = |twin| Comparison::of_twin_alone(spec, twin, policy);
        let twin_too = match seen.comparison {
            Comparison::IdentityDiffers(_) | Comparison::Staged(_) => twin.map(alone),
            _ => None,
        };
        let overflow = twin.and_then(|twin| overflow(spec, twin, policy));
        let held_by = seen.hold.map(|hold| hold.run);
        let is_disabled = seen.is_disabled;
        Self { comparison: seen.comparison, twin_too, overflow, etags: seen.etags, held_by, is_disabled }
    }
}

/// Asks a hub about every row of a run.
pub(crate) struct HubSnapshotReader<H> {
    /// The hub.
    pub(crate) hub: Arc<H>,
    /// The ledger that holds the run.
    pub(crate) ledger: SharedLedger,
    /// The run.
    pub(crate) run: RunId,
    /// The devices that are disabled on purpose.
    pub(crate) holds: Holds,
    /// The scopes of parents.
    pub(crate) parent_scopes: Arc<ParentScopes>,
    /// The symmetric keys that the batch gives.
    pub(crate) keys: Arc<GivenKeys>,
    /// The rules for twins with different values.
    pub(crate) twin: TwinPolicy,
    /// The number of identities that are read at once.
    pub(crate) concurrency: usize,
    /// Called with the number of rows read since the last call.
    pub(crate) progress: Arc<dyn Fn(usize) + Send + Sync>,
}

impl<H: Hub> HubSnapshotReader<H> {
    /// Lets `planner` decide about each row, and reports the decisions in the order of the ids. A
    /// plan of a million rows is not kept in memory.
    pub(crate) async fn each<E: From<RunError>>(
        &self,
        planner: &mut Planner,
        mut tell: impl FnMut(PlannedRow) -> Result<(), E>,
    ) -> Result<(), E> {
        planner.set_population(self.hub.population().await.map_err(RunError::from)?);
        let mut known = HubContext::default();
        let mut after: Option<IdentityId> = None;
        loop {
            let page = self.page(after.take()).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.spec.identity.clone());
            self.ask_for_devices(planner, &page, &mut known).await?;
            self.ask_for_parents(planner, &page, &mut known.parents).await?;
            for (row, look) in page {
                tell(planner.add(&row, look, &known))?;
            }
        }
    }

    async fn page(&self, after: Option<IdentityId>) -> Result<Vec<(LedgerRow, IdentitySnapshot)>, RunError> {
        let run = self.run;
        let rows =
            self.ledger.call(move |ledger| ledger.page(run, RowFilter::All, after.as_ref(), PAGE)).await?;
        let (hub, keys, progress) = (self.hub.clone(), self.keys.clone(), self.progress.clone());
        let (holds, parent_scopes, policy) = (self.holds.clone(), self.parent_scopes.clone(), self.twin);
        let look = move |row: LedgerRow| {
            let (hub, holds, keys) = (hub.clone(), holds.clone(), keys.clone());
            let (parent_scopes, progress) = (parent_scopes.clone(), progress.clone());
            async move {
                let (spec, twin) = (&row.spec, hub.twin(&row.spec.identity).await?);
                let comparer = Comparer { hub: &*hub, parent_scopes: &parent_scopes, keys: &keys, policy };
                let seen = comparer.compare_held(&holds, spec, twin.as_ref()).await?;
                let look = IdentitySnapshot::new(spec, twin.as_ref(), seen, policy);
                progress(1);
                Ok::<_, RunError>((row, look))
            }
        };
        read_concurrently(rows, self.concurrency, look).await
    }

    /// Asks about the devices of modules that would be written.
    async fn ask_for_devices(
        &self,
        planner: &Planner,
        page: &[(LedgerRow, IdentitySnapshot)],
        known: &mut HubContext,
    ) -> Result<(), RunError> {
        known.modules.clear();
        known.disabled.clear();
        let (devices, has_row): (Vec<_>, Vec<_>) = planner.unknown_devices(page).into_iter().unzip();
        let chunks = devices.chunks(DEVICES_PER_QUERY).zip(has_row.chunks(DEVICES_PER_QUERY));
        for (devices, has_row) in chunks {
            let counts = self.hub.count_modules(devices).await?;
            for (device, has_row) in devices.iter().zip(has_row) {
                let mut count = counts.get(device).copied();
                // A device that is not counted has no modules, or is missing. Its own row, if it has one, tells
                // whether it is disabled.
                if count.is_none() || !has_row {
                    let twin = self.hub.twin(&device.clone().into()).await?;
                    if !has_row && twin.as_ref().is_some_and(|twin| twin.status == Status::Disabled) {
                        known.disabled.insert(device.clone());
                    }
                    count = twin.map(|_| count.unwrap_or_default());
                }
                known.modules.insert(device.clone(), count);
            }
        }
        Ok(())
    }
}

/// The reason why the twin would be too large with the batch's values merged in.
fn overflow(spec: &IdentitySpec, twin: &Twin, policy: TwinPolicy) -> Option<String> {
    if policy == TwinPolicy::Replace {
        // The batch's values alone are checked when it is loaded.
        return None;
    }
    let (none, desired) = (JsonObject::new(), &twin.properties.desired.values);
    let tags = twin.tags.as_ref().unwrap_or(&none);
    [(Section::Tags, tags, &*spec.state.tags), (Section::Desired, desired, &spec.state.desired)]
        .into_iter()
        .filter(|(_, _, section_values)| !section_values.is_empty())
        .find_map(|(section, found, section_values)| {
            let mut merged = found.clone();
            merge(&mut merged, section_values);
            check_section(section, &merged, Nulls::Refuse).err()
        })
        .map(|error| format!("with the batch's values merged into what the twin holds, {error}"))
}

fn merge(found: &mut JsonObject, values: &JsonObject) {
    for (name, value) in values {
        match (found.get_mut(name), value) {
            (Some(Value::Object(found)), Value::Object(values)) => merge(found, values),
            _ => drop(found.insert(name.clone(), value.clone())),
        }
    }
}

/// Rows that are asked about at once.
const PAGE: usize = 1_000;
/// Devices that one query counts the modules of: a query has at most 8 KB or so, an id up to 128 characters.
const DEVICES_PER_QUERY: usize = 40;
