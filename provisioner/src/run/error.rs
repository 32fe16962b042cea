//! The reasons why a run can't be begun or continued.

use hub_types::shown::ShownPath;
use std::io;
use std::path::PathBuf;

use hub_types::id::IdError;

use super::issue::IssueError;
use crate::allocation::ListenError;
use crate::batch::LoadError;
use crate::device::ConnectError;
use crate::dps::EntryError;
use crate::hub::HubError;
use crate::ledger::{LedgerError, Run};
use crate::model::conversion::convert_by;
use crate::model::digest::Sha256Digest;
use crate::model::run_id::RunId;
use crate::model::service::ServiceKind;
use crate::plan::PlanFileError;
use crate::target::TargetError;
use crate::workers::RunError;

/// The reason why a run can't be begun or continued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RunFailure {
    /// The run's batch file was changed since the run began.
    #[error(
        "{} was changed since run {} began: its SHA-256 is not {} any more; nothing was sent",
        ShownPath(path),
        run.id,
        run.input_sha256
    )]
    BatchChanged {
        /// The file.
        path: PathBuf,
        /// The run.
        run: Box<Run>,
    },
    /// The run's batch file can't be read.
    #[error("can't read `{}`, the run's batch", ShownPath(path))]
    BatchUnreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The settings of enrolments, or the CA of their group, can't be used.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The run follows registrations, and is continued by a different command.
    #[error("run {run} follows the registrations of its devices")]
    Followed {
        /// The run.
        run: RunId,
        /// The command that continues it.
        command: String,
    },
    /// Certificates can't be issued.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// Custom allocations can't be answered.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The batch can't be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The run is for a different hub or DPS.
    #[error("run {run} is for the {service} {name}, not for {found}")]
    OtherHub {
        /// The run.
        run: RunId,
        /// The kind of the service of the run.
        service: ServiceKind,
        /// The service of the run.
        name: String,
        /// The chosen service.
        found: String,
    },
    /// The work can only be done on a hub.
    #[error("{work} is not possible on a DPS")]
    NotOnDps {
        /// The work.
        work: &'static str,
    },
    /// No hub is named that a DPS could assign devices to.
    #[error("devices that register with a DPS come to a hub of their own, and no hub is configured here")]
    NoHubOfDps,
    /// The rows of the run are not those of devices that register.
    #[error("run {run} has created its devices itself, so that no registration is to be followed")]
    NotEnrolled {
        /// The run.
        run: RunId,
    },
    /// The run follows a different DPS, or none.
    #[error("run {run} follows {}, not {}", followed(planned.as_deref()), followed(found.as_deref()))]
    OtherDps {
        /// The run.
        run: RunId,
        /// The DPS of the run.
        planned: Option<String>,
        /// The chosen DPS.
        found: Option<String>,
    },
    /// A later run has undone the run.
    #[error("run {run} was undone by run {by}, and is not continued")]
    Undone {
        /// The run.
        run: RunId,
        /// The run that undid it.
        by: RunId,
    },
    /// An earlier run has done nothing of what is to be changed.
    #[error("run {run} {reason}")]
    NothingToDo {
        /// The earlier run.
        run: RunId,
        /// The reason.
        reason: NothingToDo,
    },
    /// The plan does not fit.
    #[error(transparent)]
    Plan(#[from] PlanMismatch),
    /// The plan file can't be used.
    #[error(transparent)]
    PlanFile(#[from] PlanFileError),
    /// The hub, its devices' port or the ledger fails.
    #[error(transparent)]
    Run(#[from] RunError),
    /// There is no hub.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// No hub can hold the batch.
    #[error("{rows} rows are more than the {most} devices and modules that a hub can hold")]
    TooManyRows {
        /// The good rows of the batch.
        rows: u64,
        /// The limit of a hub.
        most: u64,
    },
}

/// The source of registrations in words.
fn followed(dps: Option<&str>) -> String {
    dps.map_or_else(|| "the hub alone".to_owned(), |dps| format!("the DPS {dps}"))
}

/// The reason why there is nothing to change of an earlier run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NothingToDo {
    /// All disabled devices were disabled by other runs.
    DisabledByOthers,
    /// The run only disabled devices.
    OnlyDisabled,
    /// The run only rotated thumbprints.
    OnlyRotated,
    /// The run created nothing.
    NothingCreated,
    /// The run disabled nothing.
    NothingDisabled,
    /// The run enabled nothing.
    NothingEnabled,
}

impl std::fmt::Display for NothingToDo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::DisabledByOthers => {
                "disabled nothing itself: what it found disabled, another run had disabled"
            }
            Self::NothingCreated | Self::OnlyDisabled => "created nothing",
            Self::OnlyRotated => "created nothing: it rotated thumbprints",
            Self::NothingDisabled => "disabled nothing",
            Self::NothingEnabled => "enabled nothing",
        })
    }
}

/// The reason why a plan can't be carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PlanMismatch {
    /// The batch was changed since the plan was made.
    #[error(
        "{} was changed since the plan was made: its SHA-256 is not {sha256} any more; nothing was sent",
        ShownPath(path)
    )]
    BatchChanged {
        /// The file.
        path: PathBuf,
        /// The SHA-256 that the file had.
        sha256: Sha256Digest,
    },
    /// The plan's batch can't be read.
    #[error("can't read `{}`, the plan's batch", ShownPath(path))]
    BatchUnreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A file that the batch names was changed since the plan was made.
    #[error(
        "a file that the batch names (a twin, a certificate, a request) was changed since the plan was made; nothing \
         was sent"
    )]
    FilesChanged,
    /// A row of the plan has no valid identity.
    #[error("line {line} of the batch: the plan names `{identity}`")]
    Identity {
        /// The line of the batch file.
        line: u64,
        /// The text in the plan.
        identity: String,
        /// The reason.
        source: IdError,
    },
    /// A batch for a plan was named, and the file is not a plan.
    #[error("`--batch` is for plans, and `{}` is not a plan", ShownPath(path))]
    NotAPlan {
        /// The file.
        path: PathBuf,
    },
    /// Options were given that differ from those of the plan.
    #[error("a plan is carried out with the options that it was made with, and others were given")]
    OptionsGiven,
    /// The plan is for a different hub or DPS.
    #[error("the plan is for the {service} {planned}, not for the {found_kind} {found}; nothing was sent")]
    OtherService {
        /// The kind of the service of the plan.
        service: ServiceKind,
        /// The service of the plan.
        planned: String,
        /// The kind of the chosen service.
        found_kind: ServiceKind,
        /// The chosen service.
        found: String,
    },
}

impl RunFailure {
    /// The note with which a load that left no run is made again, if it can be.
    pub(super) fn reload_note(&self) -> Option<&'static str> {
        let (Self::Run(RunError::Ledger(error)) | Self::Load(LoadError::Ledger(error))) = self else {
            return None;
        };
        match error {
            LedgerError::LoadingBroken { .. } => Some(LOADED_AGAIN),
            LedgerError::Overtaken { .. } => Some(OVERTAKEN),
            _ => None,
        }
    }
}

/// The note about an interrupted connection to the ledger.
pub(super) const LOADED_AGAIN: &str =
    "the ledger's database broke off while the run was loaded into it: the run is loaded again, whole";

/// The note about a station that began a run with the same credentials at the same time.
const OVERTAKEN: &str = "a different station has begun a run with credentials of this batch at the same time: the \
                         batch is loaded again, whole";

convert_by!(RunFailure {
    cert_tool::Error => Issue,
    ConnectError => Run,
    HubError => Run,
    LedgerError => Run,
});
