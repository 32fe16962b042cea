//! A run that changes existing identities that a batch names.

use std::path::Path;
use std::sync::Arc;

use super::RunContext;
use super::begin::NewRun;
use super::dry_run::{DryRunRows, OpenDryRun};
use super::error::RunFailure;
use super::outcome::RunOutcome;
use super::request::BatchChangeRequest;
use super::work::Job;
use crate::batch::{
    BatchFile, CertificateSource, Discard, LoadOptions, LoadRules, TemporaryRun, find_issued, load,
    open_issued, open_owners,
};
use crate::device::{CredentialSource, default_concurrency};
use crate::ledger::{Ledger, LedgerLocation, RowFilter, RunOptions};
use crate::maintain::{CertificateCheck, connect_check};
use crate::model::observer::RunObserver;
use crate::model::run_id::RunId;
use crate::model::spec::GivenKeys;
use crate::target::{OpenService, ServiceChoice, ServiceTarget};

/// Begins a run that changes existing identities, and works on it.
pub(super) async fn execute(
    request: BatchChangeRequest,
    service: ServiceChoice,
    context: &RunContext<'_>,
) -> Result<RunOutcome, RunFailure> {
    let address = request.address.clone();
    let (new, target) = resolve(request, service, context.observer).await?;
    let mut ledger = Ledger::open(&context.ledger, context.observer.status_listener())?;
    let (service, run, _) = new.begin(target, None, &mut ledger, context).await?;
    note_issued(&new.options, &mut ledger, run)?;
    let batch = new.batch.path;
    let certificate_check = match certificate_check(&new.options, Some(&batch), &service, address) {
        Ok(check) => check,
        Err(failure) => {
            service.close().await;
            return Err(failure);
        }
    };
    let (keys, batch) = (Arc::default(), Some(batch));
    let job = Job {
        service,
        keys,
        batch,
        certificates: None,
        certificate_check,
        watch: None,
        verify: context.verify,
        context,
    };
    job.execute(ledger, run).await
}

/// Opens the dry run of such a change.
pub(super) async fn open_dry_run(
    request: BatchChangeRequest,
    service: ServiceChoice,
    location: &LedgerLocation,
    observer: &dyn RunObserver,
) -> Result<OpenDryRun, RunFailure> {
    let maintenance = request.maintenance.clone();
    let (new, target) = resolve(request, service, observer).await?;
    let mut owners = open_owners(location, observer.status_listener())?;
    let loaded = TemporaryRun::load(&new.batch, new.certificates, new.rules, owners.as_mut(), observer)?;
    let TemporaryRun { mut ledger, run, loaded, .. } = loaded;
    note_issued(&new.options, &mut ledger, run)?;
    let rows = DryRunRows {
        ledger,
        run,
        filter: RowFilter::All,
        of_earlier_run: false,
        count: loaded.devices + loaded.modules,
        rejected: loaded.bad_rows,
    };
    let input = new.batch.path.to_string_lossy().into_owned();
    OpenDryRun::open(target, owners, maintenance, rows, input, observer).await
}

async fn resolve(
    request: BatchChangeRequest,
    service: ServiceChoice,
    observer: &dyn RunObserver,
) -> Result<(NewRun, ServiceTarget), RunFailure> {
    let BatchChangeRequest { maintenance, batch, issue, certificates, skip_bad_rows, .. } = request;
    let batch: BatchFile = batch.resolve(".".as_ref())?;
    let target = ServiceTarget::resolve(service, ".".as_ref()).await?;
    target.announce(observer);
    let options = RunOptions {
        maintenance: Some(maintenance),
        issue,
        read: batch.read.clone(),
        service: target.kind(),
        ..RunOptions::default()
    };
    let rules = LoadRules { skip_bad_rows, ..LoadRules::default() };
    Ok((NewRun { batch, options, rules, certificates, plan: None, group: None }, target))
}

/// Puts the thumbprints of issued certificates into the rows of a maintenance run that have none yet: again,
/// if a run was interrupted before that.
pub(super) fn note_issued(options: &RunOptions, ledger: &mut Ledger, run: RunId) -> Result<(), RunFailure> {
    let folder = options.issue.as_ref().filter(|_| options.maintenance.is_some()).map(|folders| &folders.out);
    match open_issued(folder)? {
        Some(list) => Ok(find_issued(ledger, run, &list)?),
        None => Ok(()),
    }
}

/// The check that units can connect with their new certificates, if a run requires one. The files
/// are found through the run's batch, and in the folder of issued certificates.
pub(super) fn certificate_check(
    options: &RunOptions,
    batch: Option<&Path>,
    service: &OpenService,
    address: Option<(String, u16)>,
) -> Result<Option<CertificateCheck>, RunFailure> {
    let OpenService::Hub(hub) = service else { return Ok(None) };
    if !options.needs_connect_check() {
        return Ok(None);
    }
    let credentials = credentials(options, batch, Arc::default())?;
    Ok(Some(connect_check(hub.for_devices(address)?, credentials, default_concurrency())))
}

/// The sources of credentials of a run's devices: the files that its batch names, the folder of issued
/// certificates, and the symmetric keys that the batch gives.
pub(super) fn credentials(
    options: &RunOptions,
    batch: Option<&Path>,
    keys: Arc<GivenKeys>,
) -> Result<CredentialSource, RunFailure> {
    let load_options = LoadOptions {
        read: options.read.clone(),
        certificates: CertificateSource::Ignored,
        note_files: true,
        ..LoadOptions::default()
    };
    let files = match batch {
        Some(batch) => load(batch, &load_options, &mut Discard)?.files,
        None => None,
    };
    let issued = open_issued(options.issue.as_ref().map(|folders| &folders.out))?;
    Ok(CredentialSource { files, issued, keys })
}
