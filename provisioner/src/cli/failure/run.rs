//! The exit codes and hints of failures of a run.

use std::path::Path;

use cli_support::exit::Exit;

use super::Failure;
use crate::allocation::{AllocationKeyError, ListenError};
use crate::batch::FailedRowsError;
use crate::ledger::Run;
use crate::model::run_id::RunId;
use crate::model::service::ServiceKind;
use crate::report::{batch_options, quoted};
use crate::run::{IssueError, NothingToDo, PlanMismatch, RunFailure};

impl From<RunFailure> for Failure {
    fn from(error: RunFailure) -> Self {
        let (exit, hint) = match &error {
            RunFailure::BatchChanged { path, run } => (Exit::BadInput, what_to_do_with_changed(path, run)),
            RunFailure::BatchUnreadable { .. } => (
                Exit::BadInput,
                "name the run's batch file with `--batch FILE`; the ledger keeps no symmetric keys"
                    .to_owned(),
            ),
            RunFailure::Followed { command, .. } => (Exit::BadInput, format!("`{command}` continues it")),
            RunFailure::NoHubOfDps => (
                Exit::BadInput,
                "name the hub that the DPS assigns devices to, with `--hub NAME` or IOTHUB_CONNECTION_STRING"
                    .to_owned(),
            ),
            RunFailure::Undone { .. } => (
                Exit::BadInput,
                "if its changes are wanted after all, begin a new run with its batch".to_owned(),
            ),
            RunFailure::NotEnrolled { .. } => {
                (Exit::BadInput, "name a run of `apply --dps`, or a batch".to_owned())
            }
            RunFailure::OtherDps { .. } => {
                (Exit::BadInput, "name the DPS as for the command that began the run".to_owned())
            }
            RunFailure::NothingToDo { run, reason } => (Exit::BadInput, what_to_do(*run, *reason)),
            RunFailure::OtherHub { .. } => {
                (Exit::BadInput, "name that one, as for the command that began the run".to_owned())
            }
            RunFailure::NotOnDps { .. } => (Exit::BadInput, NOT_ON_DPS.to_owned()),
            RunFailure::TooManyRows { .. } => {
                (Exit::BadInput, "split the batch over several hubs".to_owned())
            }
            _ => return transparent(error),
        };
        Self::new(exit, error).hint(hint)
    }
}

/// The remedy where something is asked of a DPS that only hubs have.
pub(super) const NOT_ON_DPS: &str =
    "docs/dps.md lists what works on a DPS; a device with the `status` `disabled` can't register";

/// The failure of an error that only passes a different one on.
fn transparent(error: RunFailure) -> Failure {
    match error {
        RunFailure::Entry(error) => error.into(),
        RunFailure::Issue(error) => error.into(),
        RunFailure::Listen(error) => error.into(),
        RunFailure::Load(error) => error.into(),
        RunFailure::Plan(error) => error.into(),
        RunFailure::PlanFile(error) => error.into(),
        RunFailure::Run(error) => error.into(),
        RunFailure::Target(error) => error.into(),
        other => Failure::new(Exit::BadInput, other),
    }
}

/// The remedy where the batch of a run was changed since.
fn what_to_do_with_changed(path: &Path, run: &Run) -> String {
    let end = format!(
        "to end run {} as it was begun, put the old file back or name it with `--batch FILE`",
        run.id
    );
    if run.options.maintenance.is_some() {
        return format!("{end}; for the new one, begin a new run");
    }
    format!(
        "{end}; to provision the new one, run `provisioner apply {}{}`: what is on the hub already is compared, not \
         repeated",
        quoted(&path.to_string_lossy()),
        batch_options(run)
    )
}

/// The remedy where an earlier run has no rows to change.
fn what_to_do(run: RunId, reason: NothingToDo) -> String {
    match reason {
        NothingToDo::DisabledByOthers => format!(
            "name that run (`held_by` in `provisioner report {run} --format csv`), or a file with the devices"
        ),
        NothingToDo::NothingCreated => "`provisioner report` shows what a run did".to_owned(),
        NothingToDo::NothingDisabled => {
            "`provisioner runs` lists all runs; a file with a column `device_id` names devices, whichever run it was"
                .to_owned()
        }
        NothingToDo::NothingEnabled => format!("`provisioner report {run}` shows what it did"),
        NothingToDo::OnlyRotated => format!(
            "`provisioner rotate FILE --revert --dry-run`, with the batch of run {run}, shows where the new thumbprint can be \
             taken out again, because the old one is still there"
        ),
        NothingToDo::OnlyDisabled => {
            format!("`provisioner release --run {run}` enables again what it disabled")
        }
    }
}

impl From<PlanMismatch> for Failure {
    fn from(error: PlanMismatch) -> Self {
        let hint = match &error {
            PlanMismatch::BatchChanged { .. } => {
                "make a new plan, or put the old file back or name it with `--batch FILE`"
            }
            PlanMismatch::BatchUnreadable { .. } => "name it with `--batch FILE`",
            PlanMismatch::FilesChanged => "make a new plan, or put the old files back",
            PlanMismatch::Identity { .. } => "make a new plan",
            PlanMismatch::NotAPlan { .. } => "leave it out to apply a batch",
            PlanMismatch::OptionsGiven => {
                "leave out --mode, --twin, --quarantine, --created-by-tag, --skip-bad-rows, --issue, --out, --profile, \
                 --map and --id-pattern, or make a new plan with them"
            }
            PlanMismatch::OtherService { service: ServiceKind::Dps, .. } => {
                "name that DPS with `--dps`, or make a plan for this one"
            }
            PlanMismatch::OtherService { service: ServiceKind::Hub, .. } => {
                "name that hub, or make a plan for this one"
            }
        };
        Self::new(Exit::BadInput, error).hint(hint)
    }
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        let hint = match &error {
            ListenError::Address { .. } => "choose a free address of this machine",
            ListenError::Certificate(_) | ListenError::Tls(_) => {
                "name the chain of the server and its private key, which is not encrypted, as PEM"
            }
            ListenError::Exposed(_) => {
                "name the certificate and the key of the server with --listen-certificate and \
                 --listen-private-key, or listen on 127.0.0.1 behind a proxy with TLS"
            }
        };
        Self::new(Exit::BadInput, error).hint(hint)
    }
}

impl From<AllocationKeyError> for Failure {
    fn from(error: AllocationKeyError) -> Self {
        let hint = "`openssl rand -hex 32 > FILE` makes a key; the address of the function in the entry has it as `?code=KEY`";
        Self::new(Exit::BadInput, error).hint(hint)
    }
}

impl From<IssueError> for Failure {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Certificates(error) => error.into(),
            IssueError::Ledger(error) => error.into(),
            IssueError::Stopped => Self::new(Exit::Interrupted, error),
        }
    }
}

impl From<FailedRowsError> for Failure {
    fn from(error: FailedRowsError) -> Self {
        match error {
            FailedRowsError::BatchChanged { .. } => Self::new(Exit::BadInput, error)
                .hint("the failed rows are copied from the run's batch file: put the old one back"),
            FailedRowsError::BatchUnreadable { .. } => Self::new(Exit::BadInput, error)
                .hint("the failed rows are copied from the run's batch file: put it back where it was"),
            FailedRowsError::OtherFile { .. } => {
                Self::new(Exit::BadInput, error).hint("choose a different name")
            }
            FailedRowsError::Ledger(error) => error.into(),
            FailedRowsError::Write(error) => {
                Self::new(Exit::Interrupted, error).hint("check the folder's rights and free space")
            }
        }
    }
}
