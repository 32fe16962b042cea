//! Verifying: does the hub hold what the batch says? Every identity of a run is read back and
//! compared.

use std::sync::Arc;

use hub_types::IdentityId;
use serde::Serialize;

use crate::apply::{ApplyError, observe};
use crate::desired::GivenKeys;
use crate::hub::{Hub, HubError};
use crate::ledger::{LedgerRow, RowFilter, RunId, SharedLedger};
use crate::standing::{Difference, Etags, Standing};
use crate::sweep::look_at_all;

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
            let (hub, keys, progress) = (self.hub.clone(), self.keys.clone(), self.progress.clone());
            let look = move |row: LedgerRow| {
                let (hub, keys, progress) = (hub.clone(), keys.clone(), progress.clone());
                async move {
                    let seen = observe(&*hub, &row.wanted, &keys).await?;
                    progress(1);
                    Ok::<_, HubError>((row, seen))
                }
            };
            let seen = look_at_all(page, self.concurrency, look).await?;
            let etags: Vec<(IdentityId, Etags)> =
                seen.iter().map(|(row, seen)| (row.wanted.identity.clone(), seen.etags.clone())).collect();
            self.ledger.call(move |ledger| ledger.set_etags(run, &etags)).await?;
            seen.into_iter().for_each(|(row, seen)| tell(row, seen.standing));
        }
    }
}

const PAGE: usize = 1_000;
