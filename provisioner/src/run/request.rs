//! The request for work on a run.

use std::path::PathBuf;
use std::time::Duration;

use cert_tool::SecretSource;

use crate::allocation::ListenSettings;
use crate::batch::{BatchChoice, CertificateSource};
use crate::ledger::{IssueFolders, LedgerLocation, Operator, RunOptions};
use crate::model::maintenance::Maintenance;
use crate::model::run_id::RunId;
use crate::target::{DpsChoice, ServiceChoice};

/// The request for work on a run.
pub(crate) struct RunRequest {
    /// The work.
    pub(crate) work: RunWork,
    /// The hub or the DPS.
    pub(crate) service: ServiceChoice,
    /// The ledger.
    pub(crate) ledger: LedgerLocation,
    /// The settings of the workers.
    pub(crate) settings: WorkSettings,
    /// True to read everything back at the end.
    pub(crate) verify: bool,
}

/// The work on a run.
pub(crate) enum RunWork {
    /// Create and update the identities of a batch.
    Apply(Box<ApplyRequest>),
    /// Provision devices when they have registered.
    Follow(Box<FollowRequest>),
    /// Change existing identities.
    Maintain(MaintainRequest),
    /// Continue a run that was interrupted. The secrets unlock the CA.
    Resume(ShareRequest, SecretSource),
    /// Join a run that another station began: that station issues the certificates and verifies.
    Share(ShareRequest),
}

/// The request to apply a batch or a plan.
pub(crate) struct ApplyRequest {
    /// The batch, or the plan file.
    pub(crate) batch: BatchChoice,
    /// The batch of the plan, if it is not where it was.
    pub(crate) plan_batch: Option<PathBuf>,
    /// The options of the run. A plan has its own.
    pub(crate) options: RunOptions,
    /// True to leave out bad rows.
    pub(crate) skip_bad_rows: bool,
    /// True if any of the options was given by the user.
    pub(crate) has_options: bool,
    /// The secrets that unlock the CA.
    pub(crate) secrets: SecretSource,
}

/// The request to follow registrations.
pub(crate) struct FollowRequest {
    /// The rows.
    pub(crate) rows: FollowedRows,
    /// The DPS that devices register with; `None` to watch the hub alone.
    pub(crate) dps: Option<DpsChoice>,
    /// The options of a new run.
    pub(crate) options: RunOptions,
    /// True to leave out bad rows.
    pub(crate) skip_bad_rows: bool,
    /// The secrets that unlock the CA.
    pub(crate) secrets: SecretSource,
    /// The pause after all waiting devices were looked for.
    pub(crate) interval: Duration,
    /// The time after which the rest is left for later, if there is one.
    pub(crate) until: Option<Duration>,
    /// The server for custom allocations, if there is one.
    pub(crate) listen: Option<ListenSettings>,
}

/// The rows of devices that are followed.
pub(crate) enum FollowedRows {
    /// The rows of a batch.
    Batch(BatchChoice),
    /// The rows of an earlier run on a DPS, or the rest of a run that follows registrations. Its batch may be
    /// somewhere else.
    Run(RunId, Option<PathBuf>),
}

/// The request for a change of existing identities.
#[expect(clippy::large_enum_variant, reason = "a command makes one of them")]
pub(crate) enum MaintainRequest {
    /// Change the identities that a batch names.
    Batch(BatchChangeRequest),
    /// Change what an earlier run has left on the hub.
    Run(RunChangeRequest),
}

/// The request for a change of the identities that a batch names.
pub(crate) struct BatchChangeRequest {
    /// The change.
    pub(crate) maintenance: Maintenance,
    /// The batch.
    pub(crate) batch: BatchChoice,
    /// The CA and the folder with its certificates.
    pub(crate) issue: Option<IssueFolders>,
    /// The source of certificates for rows that need one and name none.
    pub(crate) certificates: CertificateSource,
    /// True to leave out bad rows.
    pub(crate) skip_bad_rows: bool,
    /// The host and port for devices, if they differ from the hub's.
    pub(crate) address: Option<(String, u16)>,
}

/// The request for a change of what an earlier run has left on the hub.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunChangeRequest {
    /// The earlier run.
    pub(crate) run: RunId,
    /// The change.
    pub(crate) change: RunChange,
}

/// A change of what an earlier run has left on the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunChange {
    /// Enable what the run has disabled.
    Release,
    /// Take the run back.
    Undo,
}

/// The request for a part in a run of the ledger.
#[derive(Debug, Clone)]
pub(crate) struct ShareRequest {
    /// The run; `None` for the newest.
    pub(crate) run: Option<RunId>,
    /// The run's batch file, if it is not where it was.
    pub(crate) batch: Option<PathBuf>,
    /// The host and port for devices, if they differ from the hub's.
    pub(crate) address: Option<(String, u16)>,
}

/// The settings of the workers of a run.
#[derive(Debug, Clone)]
pub(crate) struct WorkSettings {
    /// The number of chunks that are worked on at once.
    pub(crate) workers: usize,
    /// The longest wait for a hub that does not answer.
    pub(crate) patience: Duration,
    /// The time without a sign from a station after which a different one may take over its work.
    pub(crate) lease: Duration,
    /// The operator and the station.
    pub(crate) by: Operator,
}
