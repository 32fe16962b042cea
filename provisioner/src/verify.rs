//! Verification: every identity of a run is read back and compared ([`Verify`]), certificates are
//! read again ([`recompute_issued`]), and extra identities are searched ([`Extras`]). The proof is
//! that devices connect ([`ConnectCheck`]).

use std::sync::Arc;

use crate::driver::{Comparer, ParentScopes};
use crate::hub::Hub;
use crate::ledger::{Holds, LedgerRow, RowFilter, SharedLedger, VerifiedRow};
use crate::model::compare::Observation;
use crate::model::options::TwinPolicy;
use crate::model::run_id::RunId;
use crate::model::spec::GivenKeys;
use crate::workers::RunError;
use crate::workers::concurrent_reads::ReadBack;
pub(crate) use certificates::{CertificateMismatches, recompute_issued};
pub(crate) use connect_check::{ConnectCheck, ConnectCheckError, Connections, Unconnected};
pub(crate) use extra::Extras;
pub(crate) use of_batch::{ConnectRequest, VerifyError, VerifyRequest, verify_batch};
pub(crate) use sample::Sample;
use verified::drift;
pub(crate) use verified::{Drift, DriftKind, Verified};

mod certificates;
mod connect_check;
mod extra;
mod of_batch;
mod sample;
mod verified;

/// The parameters of a verification.
pub(crate) struct Verify<H> {
    /// The hub.
    pub(crate) hub: Arc<H>,
    /// The ledger that holds the run.
    pub(crate) ledger: SharedLedger,
    /// The run.
    pub(crate) run: RunId,
    /// The rows that are included.
    pub(crate) filter: RowFilter,
    /// The devices that are disabled on purpose.
    pub(crate) holds: Holds,
    /// The symmetric keys that the batch gives.
    pub(crate) keys: Arc<GivenKeys>,
    /// The number of identities that are read at once.
    pub(crate) concurrency: usize,
    /// Called with the number of rows read since the last call.
    pub(crate) progress: Arc<dyn Fn(usize) + Send + Sync>,
}

impl<H: Hub> Verify<H> {
    /// Reads and compares.
    pub(crate) async fn run(&self) -> Result<Verified, RunError> {
        let mut verified = Verified::default();
        self.each(|row, seen| verified.add(&row, &seen)).await?;
        verified.sort();
        Ok(verified)
    }

    /// Reads each row's identity and reports the comparison, in the order of the ids.
    pub(crate) async fn each(&self, mut tell: impl FnMut(LedgerRow, Observation)) -> Result<(), RunError> {
        let (hub, holds, keys) = (self.hub.clone(), self.holds.clone(), self.keys.clone());
        let (parent_scopes, progress) = (Arc::new(ParentScopes::default()), self.progress.clone());
        let look = move |row: LedgerRow| {
            let (hub, holds, keys) = (hub.clone(), holds.clone(), keys.clone());
            let (parent_scopes, progress) = (parent_scopes.clone(), progress.clone());
            async move {
                let (parent_scopes, policy) = (&*parent_scopes, TwinPolicy::Initial);
                let comparer = Comparer { hub: &*hub, parent_scopes, keys: &keys, policy };
                let seen = comparer.read_held(&holds, &row.spec).await?;
                progress(1);
                Ok((row, seen))
            }
        };
        let judge = |(row, seen): (LedgerRow, Observation)| {
            let known = VerifiedRow {
                identity: row.spec.identity.clone(),
                etags: seen.etags.clone(),
                drift: drift(&seen.comparison),
            };
            tell(row, seen);
            known
        };
        let (run, filter, concurrency) = (self.run, self.filter, self.concurrency);
        ReadBack { ledger: &self.ledger, run, filter, concurrency }.each(look, judge).await
    }
}
