//! The verification of the enrolments of a batch.

use std::path::PathBuf;
use std::sync::Arc;

use super::of_batch::{LoadedBatch, VerifyError};
use super::{Verified, Verify};
use crate::batch::BatchChoice;
use crate::dps::EnrollmentReader;
use crate::ledger::RowFilter;
use crate::model::observer::{Activity, RunObserver, row_counter};
use crate::model::options::TwinPolicy;
use crate::model::service::ServiceKind;
use crate::target::{DpsChoice, DpsTarget, HubLabel};
use crate::workers::concurrent_reads::READERS;

/// The request for the verification of the enrolments of a batch.
pub(crate) struct VerifyEnrollmentsRequest {
    /// The DPS.
    pub(crate) dps: DpsChoice,
    /// The batch.
    pub(crate) batch: BatchChoice,
    /// The folder with the certificates that were issued for the batch.
    pub(crate) issued: Option<PathBuf>,
}

/// Compares the enrolments of a DPS with the devices of a batch.
pub(crate) async fn verify_enrollments(
    request: VerifyEnrollmentsRequest,
    observer: &dyn RunObserver,
) -> Result<(HubLabel, Verified), VerifyError> {
    let VerifyEnrollmentsRequest { dps, batch, issued } = request;
    let target = DpsTarget::resolve(dps, ".".as_ref()).await?;
    target.announce(observer);
    let LoadedBatch { ledger, run, devices, mismatches, credentials, .. } =
        LoadedBatch::load(batch, issued, ServiceKind::Dps, observer)?;
    let dps = target.open(observer.status_listener())?;
    dps.client.probe().await?;
    let progress = observer.begin(Activity::Verifying, devices);
    let (keys, policy) = (credentials.keys.clone(), TwinPolicy::Initial);
    let verify = Verify {
        reader: Arc::new(EnrollmentReader { dps: dps.client, keys, policy }),
        ledger,
        run,
        filter: RowFilter::Devices,
        concurrency: READERS,
        progress: row_counter(&progress),
    };
    let verified = verify.run().await;
    progress.finish();
    let mut verified = verified?;
    verified.add_certificate_mismatches(mismatches);
    verified.name_certificates(|identity| credentials.certificate(identity))?;
    Ok((dps.label, verified))
}
