//! Verification of a maintenance run: reads back its effects.

use std::sync::Arc;

use hub_types::twin::Twin;
use serde_json::Value;

use crate::hub::Hub;
use crate::ledger::{Holds, LedgerRow, RowFilter, SharedLedger, VerifiedRow};
use crate::maintain::change::ChangeDecision;
use crate::maintain::operation::is_missing_module;
use crate::model::compare::{Difference, DifferencePath};
use crate::model::etags::Etags;
use crate::model::hold::Hold;
use crate::model::maintenance::Maintenance;
use crate::model::run_id::RunId;
use crate::verify::Verified;
use crate::workers::RunError;
use crate::workers::concurrent_reads::ReadBack;

/// The parameters of a verification: hub, ledger and run.
pub(crate) struct VerifyMaintenance<H> {
    /// The hub.
    pub(crate) hub: Arc<H>,
    /// The ledger that holds the run.
    pub(crate) ledger: SharedLedger,
    /// The run.
    pub(crate) run: RunId,
    /// The run's operation.
    pub(crate) maintenance: Maintenance,
    /// The number of identities that are read at once.
    pub(crate) concurrency: usize,
    /// Called with the number of rows read since the last call.
    pub(crate) progress: Arc<dyn Fn(usize) + Send + Sync>,
}

impl<H: Hub> VerifyMaintenance<H> {
    /// Reads every identity that the run has finished, and returns those that differ from its
    /// result.
    pub(crate) async fn run(&self) -> Result<Verified, RunError> {
        let mut verified = Verified::default();
        let holds = Holds::of_run(&self.ledger, self.run).await?;
        let (hub, maintenance, progress) =
            (self.hub.clone(), self.maintenance.clone(), self.progress.clone());
        let run = self.run;
        let look = move |row: LedgerRow| {
            let (hub, holds, progress) = (hub.clone(), holds.clone(), progress.clone());
            let (maintenance, run) = (maintenance.clone(), Some(run));
            async move {
                let identity = &row.spec.identity;
                let twin = hub.twin(&maintenance.subject(identity)).await?;
                let hold = holds.for_maintenance(&maintenance, run, identity, twin.as_ref()).await?;
                let is_missing = is_missing_module(&*hub, &maintenance, &row, twin.as_ref()).await?;
                progress(1);
                Ok((row, twin.filter(|_| !is_missing), hold))
            }
        };
        let decide = |(row, twin, hold): (LedgerRow, Option<Twin>, Option<Hold>)| {
            let drift = drift(self.maintenance.decide(&row, twin.as_ref(), hold.as_ref()));
            verified.count(&row, drift.as_deref());
            let identity = row.spec.identity;
            let is_own = self.maintenance.subject(&identity) == identity;
            let etags = if is_own { Etags::of(twin.as_ref()) } else { Etags::default() };
            VerifiedRow { identity, etags, drift }
        };
        let (run, filter, concurrency) = (self.run, RowFilter::Settled, self.concurrency);
        ReadBack { ledger: &self.ledger, run, filter, concurrency }.each(look, decide).await?;
        Ok(verified)
    }
}

/// The differences of an identity from the run's result, if there are any.
pub(super) fn drift(decision: ChangeDecision) -> Option<Vec<Difference>> {
    let differs = |expected: &str, found: &str| Difference {
        path: DifferencePath::Identity,
        expected: Value::from(expected),
        found: Value::from(found),
    };
    match decision {
        ChangeDecision::NothingToDo => None,
        ChangeDecision::Delete => Some(vec![differs("deleted", "there")]),
        ChangeDecision::Refuse(refusal) if refusal.differences.is_empty() => {
            Some(vec![differs("as the run left it", &refusal.reason)])
        }
        ChangeDecision::Refuse(refusal) => Some(refusal.differences),
        ChangeDecision::Replace(_) => Some(vec![differs("as the run left it", "changed back")]),
    }
}
