//! Verifying: does the hub hold what the batch says? Every identity of a run is read back and
//! compared.

use std::sync::Arc;

use hub_types::IdentityId;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::apply::{ApplyError, observe};
use crate::desired::GivenKeys;
use crate::hub::Hub;
use crate::ledger::{LedgerRow, RowFilter, RunId, SharedLedger};
use crate::standing::{Difference, Etags, Observation, Standing};

/// What verifying a run came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Verified {
    /// Identities that were read.
    pub checked: u64,
    /// Those that are as the batch wants them.
    pub equal: u64,
    /// Those whose twin somebody has written since: they count as equal too.
    pub twin_written_since: u64,
    /// Those that are not on the hub.
    pub missing: u64,
    /// Those that are on the hub and are others.
    pub different: u64,
    /// Those that are missing or different, in the order of the ids.
    pub deviations: Vec<Deviation>,
}

/// An identity that is not as the batch wants it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Deviation {
    /// The line of the batch file.
    pub line: u64,
    /// The identity: `device` or `device/module`.
    pub identity: String,
    /// What differs; empty when the identity is missing.
    pub differences: Vec<Difference>,
}

impl Verified {
    /// Whether the hub holds all that the batch says.
    pub fn all_well(&self) -> bool {
        self.missing == 0 && self.different == 0
    }

    fn add(&mut self, row: &LedgerRow, standing: Standing) {
        self.checked += 1;
        let differences = match standing {
            Standing::Equal => {
                self.equal += 1;
                return;
            }
            Standing::TwinWrittenSince(_) => {
                self.equal += 1;
                self.twin_written_since += 1;
                return;
            }
            Standing::Missing => {
                self.missing += 1;
                Vec::new()
            }
            Standing::TwinUnwritten => {
                self.different += 1;
                vec![Difference {
                    path: "twin".into(),
                    wanted: "written".into(),
                    found: "never written".into(),
                }]
            }
            Standing::Different(differences)
            | Standing::Staged(differences)
            | Standing::TwinDiffers(differences) => {
                self.different += 1;
                differences
            }
        };
        let identity = row.wanted.identity.to_string();
        self.deviations.push(Deviation { line: row.line, identity, differences });
    }
}

/// What to read, and from where.
pub struct Verify<H> {
    /// The hub.
    pub hub: Arc<H>,
    /// The ledger that holds the run.
    pub ledger: SharedLedger,
    /// The run.
    pub run: RunId,
    /// Which of its rows.
    pub filter: RowFilter,
    /// The symmetric keys that the batch gives.
    pub keys: Arc<GivenKeys>,
    /// How many identities are read at once.
    pub concurrency: usize,
    /// Told how many rows have been read since it was last told.
    pub progress: Arc<dyn Fn(usize) + Send + Sync>,
}

impl<H: Hub> Verify<H> {
    /// Reads and compares.
    pub async fn run(&self) -> Result<Verified, ApplyError> {
        let mut verified = Verified::default();
        self.each(|row, standing| verified.add(&row, standing)).await?;
        Ok(verified)
    }

    /// Reads each row's identity and tells how it stands, in the order of the ids.
    pub async fn each(&self, mut tell: impl FnMut(LedgerRow, Standing)) -> Result<(), ApplyError> {
        let mut after: Option<IdentityId> = None;
        loop {
            let (run, filter, from) = (self.run, self.filter, after.take());
            let page = self.ledger.call(move |ledger| ledger.page(run, filter, from.as_ref(), PAGE)).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.wanted.identity.clone());
            let seen = self.page(page).await?;
            let etags: Vec<(IdentityId, Etags)> =
                seen.iter().map(|(row, seen)| (row.wanted.identity.clone(), seen.etags.clone())).collect();
            self.ledger.call(move |ledger| ledger.set_etags(run, &etags)).await?;
            seen.into_iter().for_each(|(row, seen)| tell(row, seen.standing));
        }
    }

    /// Reads a page, in as many tasks at once as is allowed.
    async fn page(&self, page: Vec<LedgerRow>) -> Result<Vec<(LedgerRow, Observation)>, ApplyError> {
        let share = page.len().div_ceil(self.concurrency.max(1)).max(1);
        let mut rows = page.into_iter().enumerate();
        let mut running = JoinSet::new();
        loop {
            let part: Vec<_> = rows.by_ref().take(share).collect();
            if part.is_empty() {
                break;
            }
            running.spawn(observe_all(self.hub.clone(), self.keys.clone(), part, self.progress.clone()));
        }
        let mut results = Vec::new();
        while let Some(part) = running.join_next().await {
            results.extend(part??);
        }
        results.sort_unstable_by_key(|(index, ..)| *index);
        Ok(results.into_iter().map(|(_, row, seen)| (row, seen)).collect())
    }
}

async fn observe_all<H: Hub>(
    hub: Arc<H>,
    keys: Arc<GivenKeys>,
    rows: Vec<(usize, LedgerRow)>,
    progress: Arc<dyn Fn(usize) + Send + Sync>,
) -> Result<Vec<(usize, LedgerRow, Observation)>, ApplyError> {
    let mut results = Vec::with_capacity(rows.len());
    for (index, row) in rows {
        let seen = observe(&*hub, &row.wanted, &keys).await?;
        progress(1);
        results.push((index, row, seen));
    }
    Ok(results)
}

const PAGE: usize = 1_000;
