//! The request for work on a run.

use std::path::PathBuf;
use std::time::Duration;

use cert_tool::SecretSource;

use crate::batch::{BatchChoice, CertificateSource};
use crate::ledger::{IssueFolders, LedgerLocation, Operator, RunId, RunOptions};
use crate::maintain::change::Maintenance;
use crate::target::TargetChoice;

/// The request for work on a run.
pub struct RunRequest {
    /// The work.
    pub work: RunWork,
    /// The hub.
    pub hub: TargetChoice,
    /// The ledger.
    pub ledger: LedgerLocation,
    /// The settings of the workers.
    pub settings: WorkSettings,
    /// True to read everything back at the end.
    pub verify: bool,
}

/// The work on a run.
pub enum RunWork {
    /// Create and update the identities of a batch.
    Apply(ApplyRequest),
    /// Change existing identities.
    Maintain(MaintainRequest),
    /// Continue a run that was interrupted. The secrets unlock the CA.
    Resume(ShareRequest, SecretSource),
    /// Join a run that another station began: that station issues the certificates and verifies.
    Share(ShareRequest),
}

/// The request to apply a batch or a plan.
pub struct ApplyRequest {
    /// The batch, or the plan file.
    pub batch: BatchChoice,
    /// The batch of the plan, if it is not where it was.
    pub plan_batch: Option<PathBuf>,
    /// The options of the run. A plan has its own.
    pub options: RunOptions,
    /// True to leave out bad rows.
    pub skip_bad_rows: bool,
    /// True if any of the options was given by the user.
    pub has_options: bool,
    /// The secrets that unlock the CA.
    pub secrets: SecretSource,
}

/// The request for a change of existing identities.
pub enum MaintainRequest {
    /// Change the identities that a batch names.
    Batch(BatchChangeRequest),
    /// Change what an earlier run has left on the hub.
    Run(RunChangeRequest),
}

/// The request for a change of the identities that a batch names.
pub struct BatchChangeRequest {
    /// The change.
    pub maintenance: Maintenance,
    /// The batch.
    pub batch: BatchChoice,
    /// The CA and the folder with its certificates.
    pub issue: Option<IssueFolders>,
    /// The source of certificates for rows that need one and name none.
    pub certificates: CertificateSource,
    /// True to leave out bad rows.
    pub skip_bad_rows: bool,
    /// The host and port for devices, if they differ from the hub's.
    pub address: Option<(String, u16)>,
}

/// The request for a change of what an earlier run has left on the hub.
#[derive(Debug, Clone, Copy)]
pub struct RunChangeRequest {
    /// The earlier run.
    pub run: RunId,
    /// The change.
    pub change: RunChange,
}

/// A change of what an earlier run has left on the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunChange {
    /// Enable what the run has disabled.
    Release,
    /// Take the run back.
    Undo,
}

/// The request for a part in a run of the ledger.
#[derive(Debug, Clone)]
pub struct ShareRequest {
    /// The run; `None` for the newest.
    pub run: Option<RunId>,
    /// The run's batch file, if it is not where it was.
    pub batch: Option<PathBuf>,
    /// The host and port for devices, if they differ from the hub's.
    pub address: Option<(String, u16)>,
}

/// The settings of the workers of a run.
#[derive(Debug, Clone)]
pub struct WorkSettings {
    /// The number of chunks that are worked on at once.
    pub workers: usize,
    /// The longest wait for a hub that does not answer.
    pub patience: Duration,
    /// The time without a sign from a station after which a different one may take over its work.
    pub lease: Duration,
    /// The operator and the station.
    pub by: Operator,
}
