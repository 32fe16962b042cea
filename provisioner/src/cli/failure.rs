//! The failure of a command: its exit code, its message and the remedy.

use hub_types::shown::ShownPath;
use std::error::Error;
use std::path::Path;

use batch_file::OpenError;
use cli_support::exit::Exit;

use crate::batch::LoadError;
use crate::device::{ConnectError, CredentialError};
use crate::dps::EntryError;
use crate::hub::HubError;
use crate::ledger::{LedgerError, LocationError};
use crate::model::service::ServiceKind;
use crate::plan::{PlanError, PlanFileError};
use crate::target::TargetError;
use crate::verify::VerifyError;
use crate::workers::RunError;

mod object;
mod run;

/// The reason why a command failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) error: Box<dyn Error + Send + Sync>,
    pub(super) hint: Option<String>,
}

impl Failure {
    pub(super) fn new(exit: Exit, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { exit, error: error.into(), hint: None }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        let hint = error.hint().map(str::to_owned);
        let exit = if matches!(error, HubError::Stopped) { Exit::Interrupted } else { Exit::Refused };
        Self { hint, ..Self::new(exit, error) }
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        match &error {
            LedgerError::Busy { .. } => Self::new(Exit::BadInput, error)
                .hint("wait for the other run to end, or use a different ledger with `--ledger FILE`; stations share a run with `--ledger postgres://…`"),
            LedgerError::Missing { .. } => Self::new(Exit::BadInput, error)
                .hint("name the ledger with `--ledger FILE`; it is made by the first `provisioner apply`"),
            LedgerError::NoSuchRun { .. } => {
                Self::new(Exit::BadInput, error).hint("`provisioner runs` lists the runs there are")
            }
            LedgerError::Database { is_shared: true, .. } => {
                Self::new(Exit::Interrupted, error).hint(
                    "check that the database is up and lets this user in and make tables (PGPASSWORD or the password \
                     file, PGSSLROOTCERT for its certificate's root); then `provisioner resume` goes on",
                )
            }
            LedgerError::LeaseLost { .. } => {
                Self::new(Exit::Interrupted, error).hint("`provisioner resume` takes what is left")
            }
            LedgerError::Version { .. } => {
                Self::new(Exit::BadInput, error).hint("use a different ledger with `--ledger FILE`")
            }
            LedgerError::Damaged { path, .. } => {
                let hint = moved_away(path);
                Self::new(Exit::BadInput, error).hint(hint)
            }
            LedgerError::DiskFull { .. } => Self::new(Exit::Interrupted, error)
                .hint("make room on its disk; then run the same command again: nothing that was done is lost"),
            LedgerError::Empty { .. } => Self::new(Exit::BadInput, error)
                .hint("name the ledger with `--ledger FILE`; an empty file becomes one with the first `provisioner apply`"),
            LedgerError::Forgotten { run, .. } => {
                let hint = format!(
                    "`provisioner runs` shows which runs the database still has: where run {run} is among them, \
                     `provisioner resume {run}` goes on; otherwise begin it again. What is on the hub already is \
                     compared, so nothing is lost and nothing is done twice"
                );
                Self::new(Exit::Interrupted, error).hint(hint)
            }
            LedgerError::LoadingBroken { .. } | LedgerError::Overtaken { .. } => Self::new(Exit::Interrupted, error)
                .hint("nothing was sent to the hub; run the same command again"),
            LedgerError::Locked { .. } => Self::new(Exit::Interrupted, error)
                .hint("close the program that has it open (an SQLite shell, a backup); then run the same command again"),
            LedgerError::NoFolder { .. } => Self::new(Exit::BadInput, error)
                .hint("make the folder, or name a different file with `--ledger FILE`"),
            LedgerError::NoLedger { path, .. } => {
                let hint = format!(
                    "name a different file with `--ledger FILE`; it was not changed. If it was a ledger: {}",
                    moved_away(path)
                );
                Self::new(Exit::BadInput, error).hint(hint)
            }
            LedgerError::NotStorable(_) => Self::new(Exit::BadInput, error)
                .hint("give folders and files names in UTF-8"),
            LedgerError::NotUnderstood { .. } => Self::new(Exit::BadInput, error).hint(
                "it was written by a newer version of this program, or changed by hand: use the version that \
                 wrote it (`provisioner runs` names it); nothing was done",
            ),
            LedgerError::ReadOnly { .. } => Self::new(Exit::BadInput, error)
                .hint("give this user the right to write to the file and its folder, or name a different file with `--ledger FILE`"),
            _ => Self::new(Exit::Interrupted, error)
                .hint("check the folder's rights and free space; then run the same command again"),
        }
    }
}

/// The way out where a ledger can't be read any more.
fn moved_away(path: &Path) -> String {
    format!(
        "move it away, with `{0}-wal` and `{0}-shm` beside it where they are there, and run `provisioner apply` with \
         the batch again: a new ledger is made and the hub is compared, so that nothing is lost and nothing is done \
         twice. What earlier runs did can't be reported or undone from the new one",
        ShownPath(path)
    )
}

impl From<LocationError> for Failure {
    fn from(error: LocationError) -> Self {
        let hint = match &error {
            LocationError::EmptyVariable => {
                "set it to the ledger's file or address (is the secret of the CI job set?), unset it to use \
                 provisioner.ledger, or name the ledger with `--ledger`"
            }
            LocationError::PasswordInArgument => {
                "leave the password out of it and set PGPASSWORD, or keep it in the password file of PostgreSQL's \
                 tools (`~/.pgpass`), or put the whole URL into PROVISIONER_LEDGER"
            }
            LocationError::PasswordFile { .. } => "correct the file, or set PGPASSWORD",
            LocationError::Secret => {
                "name a file, or a database as in `postgres://user@host:5432/database`; its password comes from \
                 PGPASSWORD, from the password file of PostgreSQL's tools (`~/.pgpass`), or with the whole URL from \
                 PROVISIONER_LEDGER. What was typed may be in the shell's history"
            }
            _ => {
                "it looks like `postgres://user@host:5432/database`, with several servers as in \
                 `postgres://user@first,second/database`, or like `host=first,second user=user dbname=database`"
            }
        };
        Self::new(Exit::BadInput, error).hint(hint)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Connect(error) => error.into(),
            RunError::Hub(error) => error.into(),
            RunError::Ledger(error) => error.into(),
            RunError::Worker(error) => Self::new(Exit::Bug, error),
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let hint = error.hint().map(str::to_owned);
        let exit = match &error {
            ConnectError::Worker(_) => Exit::Bug,
            ConnectError::Stopped => Exit::Interrupted,
            _ => Exit::Refused,
        };
        Self { hint, ..Self::new(exit, error) }
    }
}

impl From<CredentialError> for Failure {
    fn from(error: CredentialError) -> Self {
        Self { hint: error.hint(), ..Self::new(Exit::BadInput, error) }
    }
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Credential(error) => error.into(),
            VerifyError::Entry(error) => error.into(),
            VerifyError::Load(error) => error.into(),
            VerifyError::NoIdScope => Self::new(Exit::BadInput, error).hint(
                "name it with `--id-scope`, IOTDPS_ID_SCOPE or `id_scope` in `provisioner.toml`; the portal shows it in the \
                 overview of the DPS",
            ),
            VerifyError::NotIssued { .. } => Self::new(Exit::BadInput, error).hint(
                "name the folder that the batch was issued to (`--out`), or run `provisioner apply` with the same `--issue` \
                 first",
            ),
            VerifyError::Run(error) => error.into(),
            VerifyError::Target(error) => error.into(),
        }
    }
}

impl From<EntryError> for Failure {
    fn from(error: EntryError) -> Self {
        let hint = error.hint();
        Self::new(Exit::BadInput, error).hint(hint)
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Exists { .. } => {
                Self::new(Exit::BadInput, error).hint("name a file that is not there yet")
            }
            PlanError::Entry(error) => error.into(),
            PlanError::File(error) => error.into(),
            PlanError::Folder(error) => Self::new(Exit::BadInput, error),
            PlanError::Load(error) => error.into(),
            PlanError::NotOnDps { .. } => Self::new(Exit::BadInput, error).hint(run::NOT_ON_DPS),
            PlanError::Run(error) => error.into(),
            PlanError::Stopped => Self::new(Exit::Interrupted, error).hint("run the same command again"),
            PlanError::Target(error) => error.into(),
        }
    }
}

impl From<cert_tool::Error> for Failure {
    fn from(error: cert_tool::Error) -> Self {
        let hint = error.hint();
        let exit = match &error {
            cert_tool::Error::EmptyVariable { .. }
            | cert_tool::Error::NoSecret { .. }
            | cert_tool::Error::ProfileChoice(_) => Exit::BadInput,
            _ => Exit::Refused,
        };
        Self { hint, ..Self::new(exit, error) }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Certificates(error) => error.into(),
            LoadError::Elsewhere(error) => {
                let hint = format!(
                    "name that folder with `--out {}`; new certificates for units that have some are made by \
                     `cert-tool renew` and brought in by `provisioner rotate`",
                    ShownPath(&error.folder)
                );
                Self::new(Exit::BadInput, error).hint(hint)
            }
            LoadError::Ledger(error) => error.into(),
            LoadError::NoCa { ref folder } => {
                let hint = format!("make one with `cert-tool ca init {}`", ShownPath(folder));
                Self::new(Exit::Refused, error).hint(hint)
            }
            LoadError::Open(OpenError::Map(error)) => {
                let hint = error.remedy.clone();
                Self::new(Exit::BadInput, error).hint(hint)
            }
            other => Self::new(Exit::BadInput, other),
        }
    }
}

impl From<PlanFileError> for Failure {
    fn from(error: PlanFileError) -> Self {
        let hint = match &error {
            PlanFileError::Io { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists => {
                "name a file that is not there yet"
            }
            PlanFileError::Io { .. } => "check the file's path, its rights and the free space",
            _ => "make a new plan with `provisioner plan BATCH --output FILE`",
        };
        Self::new(Exit::BadInput, error).hint(hint)
    }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        match &error {
            TargetError::Local { data, .. } => {
                let hint = format!(
                    "if `local-hub serve` runs on that folder, call it instead: set IOTHUB_CONNECTION_STRING to what \
                     `local-hub connection-string --data {0}` prints, and IOTHUB_CA_FILE to {0}/ca.pem",
                    ShownPath(data)
                );
                Self::new(Exit::Refused, error).hint(hint)
            }
            TargetError::EmptyVariable => Self::new(Exit::BadInput, error).hint(
                "set it to the hub's connection string (is the secret of the CI job set?), name a hub of \
                 `provisioner.toml` with `--hub NAME`, or take the embedded test hub with `--local`",
            ),
            TargetError::NoDps => Self::new(Exit::BadInput, error).hint(
                "name a DPS of `provisioner.toml` with `--dps NAME`, or set the variable to its connection string",
            ),
            TargetError::NotNamed { .. } => Self::new(Exit::BadInput, error)
                .hint("name one with `--hub NAME`, or take the embedded test hub with `--local`"),
            TargetError::NoConfigFile { .. } => Self::new(Exit::BadInput, error)
                .hint("put the file into the working folder; docs/reaching-a-hub.md shows an example"),
            TargetError::JsonFile { service, .. } => {
                let (service, option) = match service {
                    ServiceKind::Dps => ("dps", "--dps-name"),
                    ServiceKind::Hub => ("hub", "--hub-name"),
                };
                let hint = format!(
                    "write the string alone into it: `az iot {service} connection-string show {option} NAME --query \
                     connectionString --output tsv`"
                );
                Self::new(Exit::BadInput, error).hint(hint)
            }
            TargetError::OtherKind { service, .. } => {
                let variable = match service {
                    ServiceKind::Dps => "IOTDPS_CONNECTION_STRING",
                    ServiceKind::Hub => "IOTHUB_CONNECTION_STRING",
                };
                let hint = format!("the connection string of a {service} belongs into {variable}, or into a file of its own");
                Self::new(Exit::BadInput, error).hint(hint)
            }
            TargetError::Config(problem) => {
                let hint = problem.hint();
                Self::new(Exit::BadInput, error).hint(hint)
            }
            _ => Self::new(Exit::BadInput, error),
        }
    }
}
