//! The plan of a batch: it is loaded into a temporary ledger, and compared with the hub or the DPS.

use hub_types::shown::ShownPath;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cli_support::new_file;

use super::file::{Header, PlanFileError, PlanWriter, VERSION};
use super::{EnrollmentPlanReader, HubSnapshotReader, Plan, PlannedRow, Planner};
use crate::batch::{
    BatchChoice, CertificateSource, IssuePreview, LoadError, LoadRules, Loaded, TemporaryRun, find_issued,
    open_issued, open_owners,
};
use crate::clock::Timestamp;
use crate::dps::{EnrollmentReader, EntryError, GroupCa, read_settings};
use crate::hub::{HubError, HubSize};
use crate::ledger::{Holds, IssueFolders, LedgerError, LedgerLocation, RunOptions, SharedLedger};
use crate::model::conversion::convert_by;
use crate::model::digest::Sha256Digest;
use crate::model::entry_settings::EntrySettings;
use crate::model::observer::{Activity, RunObserver, row_counter};
use crate::model::run_id::RunId;
use crate::model::service::ServiceKind;
use crate::model::spec::IdentitySpec;
use crate::target::{HubLabel, OpenDps, OpenHub, OpenService, ServiceChoice, ServiceTarget, TargetError};
use crate::workers::RunError;
use crate::workers::concurrent_reads::READERS;

/// The request for a plan.
pub(crate) struct PlanRequest {
    /// The hub or the DPS.
    pub(crate) service: ServiceChoice,
    /// The size of the hub that the duration is for.
    pub(crate) size: HubSize,
    /// The batch.
    pub(crate) batch: BatchChoice,
    /// The options of an apply, in addition to its rows.
    pub(crate) options: RunOptions,
    /// True to leave out bad rows.
    pub(crate) skip_bad_rows: bool,
    /// The ledger that knows the owners of credentials and the disabled devices.
    pub(crate) ledger: LedgerLocation,
    /// The plan file to write.
    pub(crate) output: Option<PathBuf>,
}

/// The reason why there is no plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PlanError {
    /// The plan file exists.
    #[error("`{}` is there already", ShownPath(path))]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The settings of enrolments can't be used.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The plan file can't be written.
    #[error(transparent)]
    File(#[from] PlanFileError),
    /// The current folder is not known, from which relative paths begin.
    #[error(transparent)]
    Folder(std::io::Error),
    /// The batch can't be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The option is for hubs only.
    #[error("{work} can't be planned for a DPS")]
    NotOnDps {
        /// The work that the option asks for.
        work: &'static str,
    },
    /// The service or the ledger fails.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The plan was stopped.
    #[error("stopped; a plan changes nothing on the hub or the DPS")]
    Stopped,
    /// There is no hub.
    #[error(transparent)]
    Target(#[from] TargetError),
}

convert_by!(PlanError {
    HubError => Run,
    LedgerError => Run,
    cert_tool::Error => Load,
});

/// A batch in a temporary ledger, and the service that it is compared with.
pub(crate) struct BatchPlan {
    service: OpenService,
    holds: Holds,
    ledger: SharedLedger,
    run: RunId,
    loaded: Loaded,
    options: RunOptions,
    settings: EntrySettings,
    /// The specification of the enrolment group by which the devices register, if they get no enrolments.
    group: Option<IdentitySpec>,
    size: HubSize,
    writer: Option<PlanWriter>,
}

impl BatchPlan {
    /// Reads the batch and calls the service once. Rows with a credential that belongs to a different
    /// identity, by the ledger, are bad.
    pub(crate) async fn open(request: PlanRequest, observer: &dyn RunObserver) -> Result<Self, PlanError> {
        let PlanRequest { service, size, batch, mut options, skip_bad_rows, ledger: location, output } =
            request;
        refuse_existing(output.as_deref())?;
        let settings = read_settings(&options.entries)?;
        let target = ServiceTarget::resolve(service, ".".as_ref()).await?;
        if options.quarantine && target.kind() == ServiceKind::Dps {
            return Err(PlanError::NotOnDps { work: "a quarantine" });
        }
        target.announce(observer);
        options.service = target.kind();
        let issuing = options
            .issue
            .as_ref()
            .map(|folders| IssuePreview::open(folders, options.profile.as_ref(), &target))
            .transpose()?;
        let mut owners = open_owners(&location, observer.status_listener())?;
        let batch = batch.resolve(".".as_ref())?;
        options.read.clone_from(&batch.read);
        let issuing_ca = options.issue.as_ref().map(|folders| folders.ca.as_path());
        let group = GroupCa::of(&options.entries, issuing_ca)?;
        let rules = LoadRules {
            group_ca: group.as_ref().map(|group| group.certificate().clone()),
            ..LoadRules::of(&options, skip_bad_rows)
        };
        let certificates = CertificateSource::of(options.issue.is_some());
        let loaded = TemporaryRun::load(&batch, certificates, rules, owners.as_mut(), observer)?;
        let TemporaryRun { mut ledger, run, loaded, input_sha256, spec_sha256 } = loaded;
        if let Some(issuing) = issuing {
            issuing.refuse_rows(&mut ledger, run)?;
        }
        if let Some(list) = open_issued(options.issue.as_ref().map(|folders| &folders.out))? {
            find_issued(&mut ledger, run, &list)?;
        }
        let group = group.map(|group| group.spec(loaded.devices, loaded.edge_devices)).transpose()?;
        let service = target.open(observer.status_listener()).await?;
        service.probe().await?;
        let holds = Holds::new(owners.map(SharedLedger::new), &service.label().name);
        let writer = match output {
            Some(path) => {
                let header = header(
                    &service.label().name,
                    &batch.path,
                    &options,
                    (input_sha256, spec_sha256),
                    skip_bad_rows,
                )?;
                Some(PlanWriter::create(&path, &header)?)
            }
            None => None,
        };
        let ledger = SharedLedger::new(ledger);
        Ok(Self { service, holds, ledger, run, loaded, options, settings, group, size, writer })
    }

    /// The kind of the service, and its name.
    pub(crate) fn service(&self) -> (ServiceKind, HubLabel) {
        (self.options.service, self.service.label().clone())
    }

    /// Compares the service with the batch, reports the planned action of each row, and writes the plan
    /// file.
    pub(crate) async fn compare<E: From<PlanError> + From<RunError>>(
        self,
        observer: &dyn RunObserver,
        mut on_row: impl FnMut(&PlannedRow) -> Result<(), E>,
    ) -> Result<Plan, E> {
        let Self { service, holds, ledger, run, loaded, options, settings, group, size, mut writer } = self;
        let progress = observer.begin(Activity::Comparing, loaded.rows());
        let mut on_row = |planned: PlannedRow| {
            if let Some(writer) = &mut writer {
                writer.row(&planned).map_err(PlanError::from)?;
            }
            on_row(&planned)
        };
        let progress_of_rows = row_counter(&progress);
        let looking = Comparing { ledger, run, loaded, options, settings, group, progress: progress_of_rows };
        observer.set_watches_stop(true);
        let stop = observer.stop();
        let planned = match &service {
            OpenService::Dps(dps) => stop.run_until_cancelled(looking.enrollments(dps, &mut on_row)).await,
            OpenService::Hub(hub) => {
                stop.run_until_cancelled(looking.identities(hub, holds, size, &mut on_row)).await
            }
        };
        progress.finish();
        service.close().await;
        observer.set_watches_stop(false);
        let plan = planned.unwrap_or_else(|| Err(PlanError::Stopped.into()))?;
        if let Some(writer) = writer {
            writer.finish(&plan).map_err(PlanError::from)?;
        }
        Ok(plan)
    }
}

/// The comparison of a loaded batch with a service.
struct Comparing {
    ledger: SharedLedger,
    run: RunId,
    loaded: Loaded,
    options: RunOptions,
    settings: EntrySettings,
    group: Option<IdentitySpec>,
    /// Called with the number of rows read since the last call.
    progress: Arc<dyn Fn(usize) + Send + Sync>,
}

impl Comparing {
    async fn identities<E: From<RunError>>(
        self,
        hub: &OpenHub,
        holds: Holds,
        size: HubSize,
        on_row: impl FnMut(PlannedRow) -> Result<(), E>,
    ) -> Result<Plan, E> {
        let Self { ledger, run, loaded, options, progress, .. } = self;
        let reader = HubSnapshotReader {
            hub: hub.client.clone(),
            ledger,
            run,
            holds,
            parent_scopes: Arc::default(),
            keys: Arc::new(loaded.keys),
            twin: options.rules.twin,
            concurrency: READERS,
            progress,
        };
        let mut planner = Planner::new(options.rules, size.tier, size.units);
        planner.set_rejected(loaded.bad_rows);
        reader.each(&mut planner, on_row).await?;
        Ok(planner.finish())
    }

    async fn enrollments<E: From<RunError>>(
        self,
        dps: &OpenDps,
        on_row: impl FnMut(PlannedRow) -> Result<(), E>,
    ) -> Result<Plan, E> {
        let Self { ledger, run, loaded, options, settings, group, progress } = self;
        let (rules, rejected, concurrency) = (options.rules, loaded.bad_rows, READERS);
        let (dps, keys) = (dps.client.clone(), Arc::new(loaded.keys));
        let reader = Arc::new(EnrollmentReader { dps, keys, policy: rules.twin, settings });
        EnrollmentPlanReader { reader, ledger, run, group, rules, rejected, concurrency, progress }
            .each(on_row)
            .await
    }
}

/// Refuses early what would only fail at the end.
fn refuse_existing(output: Option<&Path>) -> Result<(), PlanError> {
    match output {
        Some(path) if new_file::is_taken(path) => Err(PlanError::Exists { path: path.to_owned() }),
        _ => Ok(()),
    }
}

fn header(
    hub: &str,
    batch: &Path,
    options: &RunOptions,
    (input_sha256, spec_sha256): (Sha256Digest, Sha256Digest),
    skip_bad_rows: bool,
) -> Result<Header, PlanError> {
    let issue = options.issue.as_ref().map(absolute_folders).transpose()?;
    Ok(Header {
        provisioner_plan: VERSION,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        made: Timestamp::now(),
        hub: hub.to_owned(),
        input: absolute(batch)?,
        input_sha256,
        spec_sha256,
        options: RunOptions { issue, ..options.clone() },
        skip_bad_rows,
    })
}

fn absolute_folders(folders: &IssueFolders) -> Result<IssueFolders, PlanError> {
    Ok(IssueFolders { ca: absolute(&folders.ca)?, out: absolute(&folders.out)? })
}

fn absolute(path: &Path) -> Result<PathBuf, PlanError> {
    std::path::absolute(path).map_err(PlanError::Folder)
}
