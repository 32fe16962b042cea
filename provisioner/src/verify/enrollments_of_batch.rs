//! The verification of the enrolments of a batch. On request devices register, and connect to their hubs.

use std::path::PathBuf;
use std::sync::Arc;

use hub_types::dps::limits::REGISTRATIONS_PER_MINUTE;

use super::of_batch::{ConnectRequest, LoadedBatch, VerifyError};
use super::{ConnectCheck, Verified, Verify};
use crate::batch::BatchChoice;
use crate::device::{DeviceProvisioning, default_concurrency};
use crate::dps::EnrollmentReader;
use crate::ledger::RowFilter;
use crate::model::observer::{Activity, RunObserver, row_counter};
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
    /// The connections of devices, if devices register and connect.
    pub(crate) connect: Option<ConnectRequest>,
}

/// Compares the enrolments of a DPS with the devices of a batch.
pub(crate) async fn verify_enrollments(
    request: VerifyEnrollmentsRequest,
    observer: &dyn RunObserver,
) -> Result<(HubLabel, Verified), VerifyError> {
    let VerifyEnrollmentsRequest { dps, batch, issued, connect } = request;
    let target = DpsTarget::resolve(dps, ".".as_ref()).await?;
    target.announce(observer);
    let LoadedBatch { ledger, run, devices, mismatches, credentials, .. } =
        LoadedBatch::load(batch, issued, ServiceKind::Dps, observer)?;
    let dps = target.open(observer.status_listener())?;
    if connect.is_some() && dps.id_scope.is_none() {
        return Err(VerifyError::NoIdScope);
    }
    dps.client.probe().await?;
    let progress = observer.begin(Activity::Verifying, devices);
    let reader = EnrollmentReader::new(dps.client.clone(), credentials.keys.clone());
    let verify = Verify {
        reader: Arc::new(reader),
        ledger: ledger.clone(),
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
    if let (Some(connect), Some(scope)) = (connect, dps.id_scope.clone()) {
        let address = dps.for_devices(connect.address)?;
        let address = address.with_registrations_per_minute(REGISTRATIONS_PER_MINUTE);
        let check = ConnectCheck {
            hub: Arc::new(DeviceProvisioning::new(address, scope, dps.trust.clone())),
            credentials,
            ledger,
            run,
            filter: RowFilter::Devices,
            sample: connect.sample,
            disabled: Arc::new(std::mem::take(&mut verified.disabled)),
            concurrency: connect.connections.map_or_else(default_concurrency, usize::from),
            stop: observer.stop(),
        };
        let progress = observer.begin(Activity::Connecting, check.identities().await?);
        let connections = check.run(&|identities| progress.add(identities)).await;
        progress.finish();
        verified.connections = Some(connections?);
    }
    Ok((dps.label, verified))
}
