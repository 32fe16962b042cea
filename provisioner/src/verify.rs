//! Verification: every identity of a run is read back and compared ([`Verify`]), certificates are
//! read again ([`recompute_issued`]), and extra identities are searched ([`Extras`]). The proof is
//! that devices connect ([`ConnectCheck`]).

use std::sync::Arc;

use crate::dps::{Dps, EnrollmentReader};
use crate::driver::{Comparer, ParentScopes};
use crate::hub::Hub;
use crate::ledger::{Holds, LedgerRow, RowFilter, SharedLedger, VerifiedRow};
use crate::model::compare::Observation;
use crate::model::options::TwinPolicy;
use crate::model::run_id::RunId;
use crate::model::spec::{GivenKeys, IdentitySpec};
use crate::workers::RunError;
use crate::workers::concurrent_reads::ReadBack;
pub(crate) use certificates::{CertificateMismatches, recompute_issued};
pub(crate) use connect_check::{ConnectCheck, ConnectCheckError, Connections, Unconnected};
pub(crate) use enrollments_of_batch::{VerifyEnrollmentsRequest, verify_enrollments};
pub(crate) use extra::Extras;
pub(crate) use of_batch::{ConnectRequest, VerifyError, VerifyRequest, verify_batch};
pub(crate) use sample::Sample;
use verified::drift;
pub(crate) use verified::{Drift, DriftKind, Verified};

mod certificates;
mod connect_check;
mod enrollments_of_batch;
mod extra;
mod of_batch;
mod sample;
mod verified;

/// The reads of a verification.
pub(crate) trait Observe: Send + Sync + 'static {
    /// Reads an identity and compares it with its specification.
    fn observe(&self, spec: &IdentitySpec) -> impl Future<Output = Result<Observation, RunError>> + Send;
}

/// The reads of a hub.
pub(crate) struct HubReader<H> {
    /// The hub.
    hub: Arc<H>,
    /// The devices that are disabled on purpose.
    holds: Holds,
    /// The symmetric keys that the batch gives.
    keys: Arc<GivenKeys>,
    parent_scopes: ParentScopes,
}

impl<H: Hub> HubReader<H> {
    /// The reads of a hub on which `holds` keep devices disabled.
    pub(crate) fn new(hub: Arc<H>, holds: Holds, keys: Arc<GivenKeys>) -> Self {
        Self { hub, holds, keys, parent_scopes: ParentScopes::default() }
    }
}

impl<H: Hub> Observe for HubReader<H> {
    async fn observe(&self, spec: &IdentitySpec) -> Result<Observation, RunError> {
        let (parent_scopes, policy) = (&self.parent_scopes, TwinPolicy::Initial);
        let comparer = Comparer { hub: &*self.hub, parent_scopes, keys: &self.keys, policy };
        comparer.read_held(&self.holds, spec).await
    }
}

impl<D: Dps> Observe for EnrollmentReader<D> {
    async fn observe(&self, spec: &IdentitySpec) -> Result<Observation, RunError> {
        Ok(self.read_and_compare(spec).await?)
    }
}

/// The parameters of a verification.
pub(crate) struct Verify<R> {
    /// The reads of the service.
    pub(crate) reader: Arc<R>,
    /// The ledger that holds the run.
    pub(crate) ledger: SharedLedger,
    /// The run.
    pub(crate) run: RunId,
    /// The rows that are included.
    pub(crate) filter: RowFilter,
    /// The number of identities that are read at once.
    pub(crate) concurrency: usize,
    /// Called with the number of rows read since the last call.
    pub(crate) progress: Arc<dyn Fn(usize) + Send + Sync>,
}

impl<R: Observe> Verify<R> {
    /// Reads and compares.
    pub(crate) async fn run(&self) -> Result<Verified, RunError> {
        let mut verified = Verified::default();
        self.each(|row, seen| verified.add(&row, &seen)).await?;
        verified.sort();
        Ok(verified)
    }

    /// Reads each row's identity and reports the comparison, in the order of the ids.
    pub(crate) async fn each(&self, mut tell: impl FnMut(LedgerRow, Observation)) -> Result<(), RunError> {
        let (reader, progress) = (self.reader.clone(), self.progress.clone());
        let look = move |row: LedgerRow| {
            let (reader, progress) = (reader.clone(), progress.clone());
            async move {
                let seen = reader.observe(&row.spec).await?;
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
