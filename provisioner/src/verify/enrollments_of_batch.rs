//! The verification of the enrolments of a batch. On request devices register, and connect to their hubs.

use std::path::Path;
use std::sync::Arc;

use hub_types::dps::limits::REGISTRATIONS_PER_MINUTE;

use super::of_batch::{ConnectRequest, LoadedBatch, VerifyError};
use super::{ConnectCheck, Verified, Verify};
use crate::batch::{BatchChoice, LoadRules, begin_temporary};
use crate::device::{DeviceProvisioning, default_concurrency};
use crate::dps::{EnrollmentReader, GroupCa};
use crate::ledger::{IssueFolders, Ledger, LedgerError, RowFilter, SharedLedger};
use crate::model::digest::Sha256Digest;
use crate::model::entry_settings::{EntryOptions, GroupOptions};
use crate::model::observer::{Activity, RunObserver, row_counter};
use crate::model::run_id::RunId;
use crate::model::service::ServiceKind;
use crate::model::spec::{GivenKeys, IdentitySpec};
use crate::target::{DpsChoice, DpsTarget, HubLabel, OpenDps};
use crate::workers::concurrent_reads::READERS;

/// The request for the verification of the enrolments of a batch.
pub(crate) struct VerifyEnrollmentsRequest {
    /// The DPS.
    pub(crate) dps: DpsChoice,
    /// The batch.
    pub(crate) batch: BatchChoice,
    /// The CA, and the folder with the certificates that it issued for the batch.
    pub(crate) issue: Option<IssueFolders>,
    /// The enrolment group by which the devices register, if they have no enrolments.
    pub(crate) group: Option<GroupOptions>,
    /// The connections of devices, if devices register and connect.
    pub(crate) connect: Option<ConnectRequest>,
}

/// Compares the enrolments of a DPS with the devices of a batch, or the group by which they register.
pub(crate) async fn verify_enrollments(
    request: VerifyEnrollmentsRequest,
    observer: &dyn RunObserver,
) -> Result<(HubLabel, Verified), VerifyError> {
    let VerifyEnrollmentsRequest { dps, batch, issue, group, connect } = request;
    let target = DpsTarget::resolve(dps, ".".as_ref()).await?;
    target.announce(observer);
    let entries = EntryOptions { group, ..EntryOptions::default() };
    let group = GroupCa::of(&entries, issue.as_ref().map(|folders| folders.ca.as_path()))?;
    let group_ca = group.as_ref().map(|group| group.certificate().clone());
    let rules = LoadRules { service: ServiceKind::Dps, group_ca, ..LoadRules::default() };
    let LoadedBatch { path, ledger, run, devices, edge_devices, mismatches, credentials, .. } =
        LoadedBatch::load(batch, issue.map(|folders| folders.out), rules, observer)?;
    let group = group.map(|group| group.spec(devices, edge_devices)).transpose()?;
    let dps = target.open(observer.status_listener())?;
    if connect.is_some() && dps.id_scope.is_none() {
        return Err(VerifyError::NoIdScope);
    }
    dps.client.probe().await?;
    let entries = match &group {
        Some(group) => Entries::of_group(group, &path)?,
        None => Entries { ledger: ledger.clone(), run, count: devices },
    };
    let mut verified = entries.compare(&dps, credentials.keys.clone(), observer).await?;
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

/// The entries of a DPS to compare, as rows of a temporary ledger.
struct Entries {
    ledger: SharedLedger,
    run: RunId,
    count: u64,
}

impl Entries {
    /// An enrolment group alone.
    fn of_group(group: &IdentitySpec, batch: &Path) -> Result<Self, LedgerError> {
        let mut ledger = Ledger::open_temporary()?;
        let loader = begin_temporary(&mut ledger, batch)?;
        // No row of the file.
        loader.insert(0, group, &[])?;
        let run = loader.commit(Sha256Digest::of(b""), 0)?;
        Ok(Self { ledger: SharedLedger::new(ledger), run, count: 1 })
    }

    async fn compare(
        self,
        dps: &OpenDps,
        keys: Arc<GivenKeys>,
        observer: &dyn RunObserver,
    ) -> Result<Verified, VerifyError> {
        let progress = observer.begin(Activity::Verifying, self.count);
        let verify = Verify {
            reader: Arc::new(EnrollmentReader::new(dps.client.clone(), keys)),
            ledger: self.ledger,
            run: self.run,
            filter: RowFilter::Devices,
            concurrency: READERS,
            progress: row_counter(&progress),
        };
        let verified = verify.run().await;
        progress.finish();
        Ok(verified?)
    }
}
