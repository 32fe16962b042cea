//! The life of a run: it is begun, or found in the ledger, and executed until nothing is left of it.
//!
//! [`execute`] takes a [`RunRequest`] and returns a [`RunOutcome`]. Notes and progress go to a
//! [`RunObserver`]. A new run is loaded into the ledger in one transaction (`begin`): from a batch, from a
//! plan (`from_plan`) or from the rows of an earlier run (`from_run`). Then the missing certificates are
//! issued (`issue`), the rows are worked on and read back (`work`). A run that was interrupted is found in
//! the ledger (`resume`) and goes the same way.

use crate::ledger::LedgerLocation;
pub(crate) use crate::model::observer::RunObserver;
use crate::target::ServiceChoice;
pub(crate) use dry_run::OpenDryRun;
pub(crate) use error::{NothingToDo, PlanMismatch, RunFailure};
pub(crate) use issue::IssueError;
pub(crate) use outcome::{RunEnd, RunOutcome};
pub(crate) use request::{
    ApplyRequest, BatchChangeRequest, FollowRequest, FollowedRows, MaintainRequest, RunChange,
    RunChangeRequest, RunRequest, RunWork, ShareRequest, WorkSettings,
};

mod begin;
mod dry_run;
mod error;
mod follow;
mod from_plan;
mod from_run;
mod issue;
mod maintain;
mod outcome;
mod progress;
mod request;
mod resume;
mod work;

/// The parameters that all work on a run has.
struct RunContext<'a> {
    ledger: LedgerLocation,
    settings: WorkSettings,
    /// True to read everything back at the end.
    verify: bool,
    observer: &'a dyn RunObserver,
}

/// Begins a run or continues one, and works on it until nothing is left of it or it is stopped.
pub(crate) async fn execute(
    request: RunRequest,
    observer: &dyn RunObserver,
) -> Result<RunOutcome, RunFailure> {
    let RunRequest { work, service, ledger, settings, verify } = request;
    let context = RunContext { ledger, settings, verify, observer };
    match work {
        RunWork::Apply(request) => begin::apply(*request, service, &context).await,
        RunWork::Follow(request) => follow::execute(*request, service, &context).await,
        RunWork::Maintain(MaintainRequest::Batch(request)) => {
            maintain::execute(request, service, &context).await
        }
        RunWork::Maintain(MaintainRequest::Run(request)) => {
            from_run::execute(&request, service, &context).await
        }
        RunWork::Resume(request, secrets) => resume::resume(&request, &secrets, service, &context).await,
        RunWork::Share(request) => resume::share(&request, service, &context).await,
    }
}

/// Opens the dry run of a change of existing identities.
pub(crate) async fn open_dry_run(
    request: MaintainRequest,
    service: ServiceChoice,
    ledger: &LedgerLocation,
    observer: &dyn RunObserver,
) -> Result<OpenDryRun, RunFailure> {
    match request {
        MaintainRequest::Batch(request) => maintain::open_dry_run(request, service, ledger, observer).await,
        MaintainRequest::Run(request) => from_run::open_dry_run(&request, service, ledger, observer).await,
    }
}
