//! The verification of a batch: it is loaded into a temporary ledger, and compared with the hub.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cert_tool::IssuedList;
use hub_types::shown::ShownPath;
use hub_types::{DeviceId, IdentityId};

use super::{
    CertificateMismatches, ConnectCheck, ConnectCheckError, Connections, Extras, HubReader, Sample, Verified,
    Verify, recompute_issued,
};
use crate::batch::{
    BatchChoice, CertificateSource, LoadError, LoadRules, TemporaryRun, open_issued, open_owners,
};
use crate::device::{ConnectError, CredentialError, CredentialSource, default_concurrency};
use crate::dps::EntryError;
use crate::hub::HubError;
use crate::ledger::{Holds, Ledger, LedgerError, LedgerLocation, RowFilter, SharedLedger};
use crate::model::conversion::convert_by;
use crate::model::observer::{Activity, RunObserver, row_counter};
use crate::model::run_id::RunId;
use crate::target::{HubLabel, OpenHub, Target, TargetChoice, TargetError};
use crate::workers::RunError;
use crate::workers::concurrent_reads::READERS;

/// The request for the verification of a batch.
pub(crate) struct VerifyRequest {
    /// The hub.
    pub(crate) hub: TargetChoice,
    /// The batch.
    pub(crate) batch: BatchChoice,
    /// The folder with the certificates that were issued for the batch.
    pub(crate) issued: Option<PathBuf>,
    /// The ledger that knows the disabled devices.
    pub(crate) ledger: LedgerLocation,
    /// The condition of the query language for devices and modules that must have a row.
    pub(crate) within: Option<String>,
    /// The connections of devices, if devices connect.
    pub(crate) connect: Option<ConnectRequest>,
}

/// The request for connections as devices.
#[derive(Debug, Clone)]
pub(crate) struct ConnectRequest {
    /// The devices that connect.
    pub(crate) sample: Sample,
    /// The host and port for devices, if they differ from the hub's.
    pub(crate) address: Option<(String, u16)>,
    /// The number of open connections; `None` for the default.
    pub(crate) connections: Option<NonZeroUsize>,
}

/// The reason why a batch could not be verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum VerifyError {
    /// The certificate of a device can't be used.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The enrolment group can't be used.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The batch can't be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Devices can't register, because the id scope of the DPS is not known.
    #[error("devices register with an id scope, and that of the DPS is not named")]
    NoIdScope,
    /// The folder has no certificate of a row, so that it can't be compared.
    #[error("line {line}: no certificate was issued to `{}` for `{identity}`", ShownPath(folder))]
    NotIssued {
        /// The folder.
        folder: PathBuf,
        /// The line of the batch file.
        line: u64,
        /// The identity.
        identity: IdentityId,
    },
    /// The hub or the ledger fails.
    #[error(transparent)]
    Run(#[from] RunError),
    /// There is no hub.
    #[error(transparent)]
    Target(#[from] TargetError),
}

convert_by!(VerifyError {
    ConnectError => Run,
    HubError => Run,
    LedgerError => Run,
    cert_tool::Error => Load,
});

impl From<ConnectCheckError> for VerifyError {
    fn from(error: ConnectCheckError) -> Self {
        match error {
            ConnectCheckError::Connect(error) => error.into(),
            ConnectCheckError::Ledger(error) => error.into(),
        }
    }
}

/// Compares the hub with a batch, and connects as its devices, if this was requested.
pub(crate) async fn verify_batch(
    request: VerifyRequest,
    observer: &dyn RunObserver,
) -> Result<(HubLabel, Verified), VerifyError> {
    let VerifyRequest { hub, batch, issued: folder, ledger: location, within, connect } = request;
    let target = Target::resolve(hub, ".".as_ref()).await?;
    target.announce(observer);
    let loaded = LoadedBatch::load(batch, folder, LoadRules::default(), observer)?;
    let LoadedBatch { path, ledger, run, rows, mismatches, credentials, .. } = loaded;
    let hub = match connect {
        Some(_) => {
            target
                .open_for_devices(device_cas(credentials.issued.as_ref(), &path), observer.status_listener())
                .await?
        }
        None => target.open(observer.status_listener()).await?,
    };
    let holds = Holds::new(
        open_owners(&location, observer.status_listener())?.map(SharedLedger::new),
        &hub.label.name,
    );
    let verifying = Verifying { hub: &hub, holds, ledger, run, rows, credentials, observer };
    let verified = verifying.run(mismatches, within, connect).await;
    let label = hub.label.clone();
    hub.close().await;
    Ok((label, verified?))
}

/// A batch in a temporary ledger, with its certificates.
pub(super) struct LoadedBatch {
    /// The batch file.
    pub(super) path: PathBuf,
    pub(super) ledger: SharedLedger,
    pub(super) run: RunId,
    /// The number of all rows.
    pub(super) rows: u64,
    /// The number of devices.
    pub(super) devices: u64,
    /// The number of edge devices among them.
    pub(super) edge_devices: u64,
    pub(super) mismatches: CertificateMismatches,
    pub(super) credentials: Arc<CredentialSource>,
}

impl LoadedBatch {
    /// Loads a batch by the rules of a service. `folder` has the certificates that were issued for it.
    pub(super) fn load(
        batch: BatchChoice,
        folder: Option<PathBuf>,
        rules: LoadRules,
        observer: &dyn RunObserver,
    ) -> Result<Self, VerifyError> {
        let batch = batch.resolve(".".as_ref())?;
        let rules = LoadRules { note_files: true, ..rules };
        let certificates = CertificateSource::of(folder.is_some());
        let TemporaryRun { mut ledger, run, loaded, .. } =
            TemporaryRun::load(&batch, certificates, rules, None, observer)?;
        let issued = open_issued(folder.as_ref())?;
        let mismatches = match &issued {
            Some(list) => recompute_issued(&mut ledger, run, list)?,
            None => CertificateMismatches::new(),
        };
        refuse_unissued(&mut ledger, run, folder)?;
        let (rows, devices, edge_devices) = (loaded.rows(), loaded.devices, loaded.edge_devices);
        let credentials = CredentialSource { files: loaded.files, issued, keys: Arc::new(loaded.keys) };
        let (ledger, credentials) = (SharedLedger::new(ledger), Arc::new(credentials));
        Ok(Self { path: batch.path, ledger, run, rows, devices, edge_devices, mismatches, credentials })
    }
}

/// Refuses a row without a thumbprint that the hub's could be compared with.
fn refuse_unissued(ledger: &mut Ledger, run: RunId, folder: Option<PathBuf>) -> Result<(), VerifyError> {
    let rows = ledger.page(run, RowFilter::ToBeIssued, None, 1)?;
    let Some(row) = rows.into_iter().next() else { return Ok(()) };
    let folder = folder.unwrap_or_default();
    Err(VerifyError::NotIssued { folder, line: row.line, identity: row.spec.identity })
}

/// The CA that issued certificates for the batch, for a hub to know devices by. The output of
/// `cert-tool issue` is a batch itself, and the CA's certificate lies beside it.
fn device_cas(issued: Option<&IssuedList>, batch: &Path) -> Vec<PathBuf> {
    let issuing = issued.map(IssuedList::issuing_certificate_path);
    let folder = || batch.parent().unwrap_or_else(|| Path::new(""));
    let issuing = issuing.unwrap_or_else(|| folder().join("issuing.pem"));
    Some(issuing).filter(|path| path.exists()).into_iter().collect()
}

/// A batch in a temporary ledger, and the hub that it is compared with.
struct Verifying<'a> {
    hub: &'a OpenHub,
    holds: Holds,
    ledger: SharedLedger,
    run: RunId,
    rows: u64,
    credentials: Arc<CredentialSource>,
    observer: &'a dyn RunObserver,
}

impl Verifying<'_> {
    async fn run(
        &self,
        mismatches: CertificateMismatches,
        within: Option<String>,
        connect: Option<ConnectRequest>,
    ) -> Result<Verified, VerifyError> {
        self.hub.client.probe().await?;
        let progress = self.observer.begin(Activity::Verifying, self.rows);
        let (hub, keys) = (self.hub.client.clone(), self.credentials.keys.clone());
        let verify = Verify {
            reader: Arc::new(HubReader::new(hub, self.holds.clone(), keys)),
            ledger: self.ledger.clone(),
            run: self.run,
            filter: RowFilter::All,
            concurrency: READERS,
            progress: row_counter(&progress),
        };
        let extras =
            Extras { hub: self.hub.client.clone(), ledger: self.ledger.clone(), run: self.run, within };
        let looked = tokio::try_join!(verify.run(), extras.find());
        progress.finish();
        let (mut verified, extras) = looked?;
        verified.add_certificate_mismatches(mismatches);
        verified.name_certificates(|identity| self.credentials.certificate(identity))?;
        verified.add_extra(extras);
        if let Some(connect) = connect {
            let disabled = Arc::new(std::mem::take(&mut verified.disabled));
            verified.connections = Some(self.connect(connect, disabled).await?);
        }
        Ok(verified)
    }

    async fn connect(
        &self,
        request: ConnectRequest,
        disabled: Arc<HashSet<DeviceId>>,
    ) -> Result<Connections, VerifyError> {
        let trial = ConnectCheck {
            hub: Arc::new(self.hub.for_devices(request.address)?),
            credentials: self.credentials.clone(),
            ledger: self.ledger.clone(),
            run: self.run,
            filter: RowFilter::All,
            sample: request.sample,
            disabled,
            concurrency: request.connections.map_or_else(default_concurrency, usize::from),
            stop: self.observer.stop(),
        };
        let progress = self.observer.begin(Activity::Connecting, trial.identities().await?);
        let connections = trial.run(&|identities| progress.add(identities)).await;
        progress.finish();
        Ok(connections?)
    }
}
