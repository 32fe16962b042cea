//! The plan of a batch: it is loaded into a temporary ledger, and compared with the hub.

use hub_types::shown::ShownPath;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cli_support::new_file;

use super::file::{Header, PlanFileError, PlanWriter, VERSION};
use super::{HubSnapshotReader, Plan, PlannedRow, Planner};
use crate::batch::{
    BatchChoice, CertificateSource, IssuePreview, LoadError, LoadRules, Loaded, TemporaryRun, find_issued,
    open_issued, open_owners,
};
use crate::clock::Timestamp;
use crate::hub::{HubError, HubSize};
use crate::ledger::{Holds, IssueFolders, LedgerError, LedgerLocation, RunOptions, SharedLedger};
use crate::model::conversion::convert_by;
use crate::model::digest::Sha256Digest;
use crate::model::observer::{Activity, RunObserver, row_counter};
use crate::model::run_id::RunId;
use crate::target::{HubLabel, OpenHub, Target, TargetChoice, TargetError};
use crate::workers::RunError;
use crate::workers::concurrent_reads::READERS;

/// The request for a plan.
pub(crate) struct PlanRequest {
    /// The hub.
    pub(crate) hub: TargetChoice,
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
    /// The plan file can't be written.
    #[error(transparent)]
    File(#[from] PlanFileError),
    /// The current folder is not known, from which relative paths begin.
    #[error(transparent)]
    Folder(std::io::Error),
    /// The batch can't be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The hub or the ledger fails.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The plan was stopped.
    #[error("stopped; a plan changes nothing on the hub")]
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

/// A batch in a temporary ledger, and the hub that it is compared with.
pub(crate) struct BatchPlan {
    hub: OpenHub,
    holds: Holds,
    ledger: SharedLedger,
    run: RunId,
    loaded: Loaded,
    options: RunOptions,
    size: HubSize,
    writer: Option<PlanWriter>,
}

impl BatchPlan {
    /// Reads the batch and calls the hub once. Rows with a credential that belongs to a different
    /// identity, by the ledger, are bad.
    pub(crate) async fn open(request: PlanRequest, observer: &dyn RunObserver) -> Result<Self, PlanError> {
        let PlanRequest { hub, size, batch, mut options, skip_bad_rows, ledger: location, output } = request;
        refuse_existing(output.as_deref())?;
        let target = Target::resolve(hub, ".".as_ref()).await?;
        target.announce(observer);
        let issuing = options
            .issue
            .as_ref()
            .map(|folders| IssuePreview::open(folders, options.profile.as_ref(), &target))
            .transpose()?;
        let mut owners = open_owners(&location, observer.status_listener())?;
        let batch = batch.resolve(".".as_ref())?;
        options.map.clone_from(&batch.read.map);
        options.id_pattern.clone_from(&batch.read.id_pattern);
        let rules = LoadRules::of(&options, skip_bad_rows);
        let certificates = CertificateSource::of(options.issue.is_some());
        let loaded = TemporaryRun::load(&batch, certificates, rules, owners.as_mut(), observer)?;
        let TemporaryRun { mut ledger, run, loaded, input_sha256, spec_sha256 } = loaded;
        if let Some(issuing) = issuing {
            issuing.refuse_rows(&mut ledger, run)?;
        }
        if let Some(list) = open_issued(options.issue.as_ref().map(|folders| &folders.out))? {
            find_issued(&mut ledger, run, &list)?;
        }
        let hub = target.open(observer.status_listener()).await?;
        hub.client.probe().await?;
        let holds = Holds::new(owners.map(SharedLedger::new), &hub.label.name);
        let writer = match output {
            Some(path) => {
                let header = header(
                    &hub.label.name,
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
        Ok(Self { hub, holds, ledger, run, loaded, options, size, writer })
    }

    /// The name of the hub.
    pub(crate) fn hub(&self) -> HubLabel {
        self.hub.label.clone()
    }

    /// Compares the hub with the batch, reports the planned action of each row, and writes the plan
    /// file.
    pub(crate) async fn compare<E: From<PlanError> + From<RunError>>(
        self,
        observer: &dyn RunObserver,
        mut on_row: impl FnMut(&PlannedRow) -> Result<(), E>,
    ) -> Result<Plan, E> {
        let Self { hub, holds, ledger, run, loaded, options, size, mut writer } = self;
        let progress = observer.begin(Activity::Comparing, loaded.rows());
        let reader = HubSnapshotReader {
            hub: hub.client.clone(),
            ledger,
            run,
            holds,
            parent_scopes: Arc::default(),
            keys: Arc::new(loaded.keys),
            twin: options.rules.twin,
            concurrency: READERS,
            progress: row_counter(&progress),
        };
        let mut planner = Planner::new(options.rules, size.tier, size.units);
        planner.set_rejected(loaded.bad_rows);
        let mut on_row = |planned: PlannedRow| {
            if let Some(writer) = &mut writer {
                writer.row(&planned).map_err(PlanError::from)?;
            }
            on_row(&planned)
        };
        observer.set_watches_stop(true);
        let surveyed = observer.stop().run_until_cancelled(reader.each(&mut planner, &mut on_row)).await;
        progress.finish();
        hub.close().await;
        observer.set_watches_stop(false);
        surveyed.unwrap_or_else(|| Err(PlanError::Stopped.into()))?;
        let plan = planner.finish();
        if let Some(writer) = writer {
            writer.finish(&plan).map_err(PlanError::from)?;
        }
        Ok(plan)
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
