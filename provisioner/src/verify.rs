//! Verifying: does the hub hold what the batch says? Every identity of a run is read back and
//! compared.

use std::sync::Arc;

use hub_types::IdentityId;
use serde::Serialize;

use crate::apply::observe;
use crate::crew::RunError;
use crate::desired::GivenKeys;
use crate::hub::{Hub, HubError};
use crate::ledger::{LedgerRow, RowFilter, RunId, Seen, SharedLedger, Verification};
use crate::standing::{Difference, Standing};
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

    /// The counts by themselves, as the ledger remembers them.
    pub fn counts(&self, at: String) -> Verification {
        let Self { checked, equal, twin_written_since, missing, different, .. } = *self;
        Verification { at, checked, equal, twin_written_since, missing, different }
    }

    fn add(&mut self, row: &LedgerRow, standing: &Standing) {
        self.twin_written_since += u64::from(matches!(standing, Standing::TwinWrittenSince(_)));
        self.count(row, deviation(standing).as_deref());
    }

    /// Counts an identity: equal where it has no deviation, missing where it has an empty one.
    pub(crate) fn count(&mut self, row: &LedgerRow, deviation: Option<&[Difference]>) {
        self.checked += 1;
        match deviation {
            None => {
                self.equal += 1;
                return;
            }
            Some([]) => self.missing += 1,
            Some(_) => self.different += 1,
        }
        let differences = deviation.unwrap_or_default().to_vec();
        let identity = row.wanted.identity.to_string();
        self.deviations.push(Deviation { line: row.line, identity, differences });
    }
}

/// How an identity is not as the batch wants it, where that is so: empty when it is missing.
fn deviation(standing: &Standing) -> Option<Vec<Difference>> {
    match standing {
        Standing::Equal | Standing::TwinWrittenSince(_) => None,
        Standing::Missing => Some(Vec::new()),
        Standing::TwinUnwritten => Some(vec![Difference {
            path: "twin".into(),
            wanted: "written".into(),
            found: "never written".into(),
        }]),
        Standing::Different(differences)
        | Standing::Staged(differences)
        | Standing::TwinDiffers(differences) => Some(differences.clone()),
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
    pub async fn run(&self) -> Result<Verified, RunError> {
        let mut verified = Verified::default();
        self.each(|row, standing| verified.add(&row, &standing)).await?;
        Ok(verified)
    }

    /// Reads each row's identity and tells how it stands, in the order of the ids.
    pub async fn each(&self, mut tell: impl FnMut(LedgerRow, Standing)) -> Result<(), RunError> {
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
            let known: Vec<Seen> = seen
                .iter()
                .map(|(row, seen)| Seen {
                    identity: row.wanted.identity.clone(),
                    etags: seen.etags.clone(),
                    deviation: deviation(&seen.standing),
                })
                .collect();
            self.ledger.call(move |ledger| ledger.set_seen(run, &known)).await?;
            seen.into_iter().for_each(|(row, seen)| tell(row, seen.standing));
        }
    }
}

const PAGE: usize = 1_000;
