//! A run that is in the ledger: it is continued, or joined by one more station.

use hub_types::shown::ShownPath;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cert_tool::SecretSource;

use super::RunContext;
use super::begin::open_answering;
use super::error::RunFailure;
use super::issue::Certificates;
use super::maintain::{certificate_check, note_issued};
use super::outcome::RunOutcome;
use super::request::ShareRequest;
use super::work::{Job, Watch};
use crate::batch::{CertificateSource, Discard, LoadOptions, load, sha256_of_file};
use crate::ledger::{Ledger, RowFilter, Run, RunReader, RunState, SharedLedger};
use crate::model::maintenance::Maintenance;
use crate::model::observer::RunObserver;
use crate::model::spec::GivenKeys;
use crate::target::{ServiceChoice, ServiceTarget};

/// Continues a run.
pub(super) async fn resume(
    request: &ShareRequest,
    secrets: &SecretSource,
    service: ServiceChoice,
    context: &RunContext<'_>,
) -> Result<RunOutcome, RunFailure> {
    let (ledger, run) = find(request, context)?;
    refuse_followed(&run)?;
    if is_finished(&run, context.verify, context.observer) {
        return Ok(RunOutcome::finished(RunReader::new(SharedLedger::new(ledger), run))?);
    }
    let found = FoundRun::open(ledger, run, request, service, context).await?;
    let issue = found.run.options.issue.clone();
    let issue = issue.filter(|_| found.run.options.maintenance.is_none());
    let certificates = Certificates::open(issue, secrets, &found.target, context.observer)?;
    found.execute(request, certificates, None, context.verify, context).await
}

/// Joins a run that another station began: that station issues what the run needs, and verifies it in the
/// end.
pub(super) async fn share(
    request: &ShareRequest,
    service: ServiceChoice,
    context: &RunContext<'_>,
) -> Result<RunOutcome, RunFailure> {
    let (ledger, run) = find(request, context)?;
    refuse_followed(&run)?;
    if is_finished(&run, true, context.observer) {
        return Ok(RunOutcome::finished(RunReader::new(SharedLedger::new(ledger), run))?);
    }
    let mut found = FoundRun::open(ledger, run, request, service, context).await?;
    let mut is_told = false;
    let issues = found.run.options.maintenance.is_none();
    while issues && found.ledger.count(found.run.id, RowFilter::ToBeIssued)? > 0 {
        if !std::mem::replace(&mut is_told, true) {
            context.observer.note(&"waiting for the station that began the run to issue its certificates");
        }
        tokio::time::sleep(WAIT).await;
    }
    found.execute(request, None, None, false, context).await
}

/// Refuses a run that follows registrations, which needs more options.
fn refuse_followed(run: &Run) -> Result<(), RunFailure> {
    match &run.options.follow {
        Some(_) => Err(RunFailure::Followed { run: run.id, command: run.options.resume_command(run.id) }),
        None => Ok(()),
    }
}

/// Refuses a run that a later run has undone, at least in part: what it did not finish would be done after all, and
/// what is gone would be missed.
fn refuse_undone(ledger: &mut Ledger, run: &Run) -> Result<(), RunFailure> {
    match ledger.undone_by(run)? {
        Some(by) => Err(RunFailure::Undone { run: run.id, by }),
        None => Ok(()),
    }
}

fn find(request: &ShareRequest, context: &RunContext<'_>) -> Result<(Ledger, Run), RunFailure> {
    let mut ledger = Ledger::open(&context.ledger, context.observer.status_listener())?;
    let run = ledger.run(request.run)?;
    Ok((ledger, run))
}

/// Returns true if nothing is left to do. A process that was killed after the last row has not read the run
/// back.
pub(super) fn is_finished(run: &Run, verify: bool, observer: &dyn RunObserver) -> bool {
    if run.state != RunState::Finished {
        return false;
    }
    if verify && run.is_unread() {
        let text = "is finished; what is left is to read everything back";
        observer.note(&format_args!("run {} {text}", run.id));
        return false;
    }
    observer.note(&format_args!("run {} is finished; nothing to resume", run.id));
    true
}

/// A run to continue.
pub(super) struct FoundRun {
    pub(super) ledger: Ledger,
    pub(super) run: Run,
    pub(super) target: ServiceTarget,
    batch: Option<PathBuf>,
    keys: GivenKeys,
}

impl FoundRun {
    async fn open(
        ledger: Ledger,
        run: Run,
        request: &ShareRequest,
        service: ServiceChoice,
        context: &RunContext<'_>,
    ) -> Result<Self, RunFailure> {
        let target = target_of(&run, ServiceTarget::resolve(service, ".".as_ref()).await?)?;
        target.announce(context.observer);
        Self::of(ledger, run, target, request, context)
    }

    /// The run with its service, which must be the chosen one.
    pub(super) fn of(
        mut ledger: Ledger,
        run: Run,
        target: ServiceTarget,
        request: &ShareRequest,
        context: &RunContext<'_>,
    ) -> Result<Self, RunFailure> {
        refuse_undone(&mut ledger, &run)?;
        let target = target_of(&run, target)?;
        context.observer.note(&format_args!("run {}: {}, begun {}", run.id, run.input, run.started));
        let (batch, keys) = batch_of(&run, request.batch.as_deref(), &mut ledger, context.observer)?;
        Ok(Self { ledger, run, target, batch, keys })
    }

    pub(super) async fn execute(
        self,
        request: &ShareRequest,
        certificates: Option<Certificates>,
        watch: Option<Watch>,
        verify: bool,
        context: &RunContext<'_>,
    ) -> Result<RunOutcome, RunFailure> {
        let Self { mut ledger, run, target, batch, keys } = self;
        note_issued(&run.options, &mut ledger, run.id)?;
        let service = open_answering(target, &run.options, context).await?;
        let certificate_check =
            match certificate_check(&run.options, batch.as_deref(), &service, request.address.clone()) {
                Ok(check) => check,
                Err(failure) => {
                    service.close().await;
                    return Err(failure);
                }
            };
        let job = Job {
            service,
            keys: Arc::new(keys),
            batch,
            certificates,
            certificate_check,
            watch,
            verify,
            context,
        };
        job.execute(ledger, run.id).await
    }
}

/// Returns the chosen service, which must be the one that the run is for.
pub(super) fn target_of(run: &Run, target: ServiceTarget) -> Result<ServiceTarget, RunFailure> {
    let (service, found) = (run.options.service, target.label().name);
    match target.kind() == service && found == run.hub {
        true => Ok(target),
        false => Err(RunFailure::OtherHub { run: run.id, service, name: run.hub.clone(), found }),
    }
}

/// Returns the batch file, which must be unchanged since the run began, and the symmetric keys that it
/// gives. A run on a hub whose rows need no such key does not need the file.
pub(super) fn batch_of(
    run: &Run,
    elsewhere: Option<&Path>,
    ledger: &mut Ledger,
    observer: &dyn RunObserver,
) -> Result<(Option<PathBuf>, GivenKeys), RunFailure> {
    if run.options.maintenance.as_ref().and_then(Maintenance::goes_on_from).is_some() {
        // All that it needs was in the ledger when it began.
        return Ok((None, GivenKeys::new()));
    }
    let path = elsewhere.unwrap_or_else(|| run.input.as_ref());
    let needs_keys = ledger.count(run.id, RowFilter::GivenKeys)? > 0;
    // Enrolments hold certificates, and the file names them.
    let enrolls = !run.options.service.is_hub() && run.options.maintenance.is_none();
    let needs_file = needs_keys || enrolls;
    match sha256_of_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && !needs_file && elsewhere.is_none() => {
            observer.note(&format_args!(
                "{} no longer exists; the ledger has all that is needed",
                ShownPath(path)
            ));
            return Ok((None, GivenKeys::new()));
        }
        Err(source) => return Err(RunFailure::BatchUnreadable { path: path.to_owned(), source }),
        Ok(found) if found != run.input_sha256 => {
            return Err(RunFailure::BatchChanged { path: path.to_owned(), run: Box::new(run.clone()) });
        }
        Ok(_) => {}
    }
    let mut keys = GivenKeys::new();
    if needs_keys {
        let options = LoadOptions {
            read: run.options.read.clone(),
            certificates: CertificateSource::Ignored,
            ..LoadOptions::default()
        };
        keys = load(path, &options, &mut Discard)?.keys;
    }
    Ok((Some(path.to_owned()), keys))
}

const WAIT: Duration = Duration::from_millis(500);
