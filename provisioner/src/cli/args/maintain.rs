//! `release`, `rotate`, `retire` and `undo` as they are typed.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use hub_types::identity::StatusReason;

use super::verify::parse_address;
use super::{BatchArgs, DpsArgs, JobArgs, ReadArgs, TargetArgs, WorkArgs};
use crate::model::maintenance::Maintenance;
use crate::model::run_id::RunId;
use crate::report::DEFAULT_REASON;

/// The common arguments of all maintenance operations.
#[derive(Debug, Args)]
pub(in crate::cli) struct MaintenanceArgs {
    /// Read only, and report what would be done. Nothing is written on the hub or in the ledger.
    /// Exits with 1 if rows are in conflict or cannot succeed.
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Do not read everything back at the end.
    #[arg(long)]
    pub(in crate::cli) no_verify: bool,
    #[command(flatten)]
    pub(in crate::cli) work: WorkArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RotateArgs {
    /// Remove the old thumbprint of each unit that can connect with its new certificate. Each unit
    /// is tried, so the private keys must be available.
    #[arg(long)]
    finish: bool,
    /// Remove the old thumbprints without trying the new certificates. Units that do not have their
    /// new certificates yet are locked out.
    #[arg(long, requires = "finish")]
    unproven: bool,
    /// Remove the new thumbprints again.
    #[arg(long, conflicts_with = "finish")]
    revert: bool,
    /// Connect to this address as a device, for example at the end of a tunnel. The certificate
    /// must still be for the name of the hub. [default: port 8883 of the hub]
    #[arg(long, value_name = "HOST:PORT", requires = "finish", value_parser = parse_address)]
    pub(in crate::cli) mqtt: Option<(String, u16)>,
    /// Continue with the good rows if others are bad; the bad rows are counted as rejected.
    #[arg(long)]
    pub(in crate::cli) skip_bad_rows: bool,
    #[command(flatten)]
    pub(in crate::cli) how: MaintenanceArgs,
    #[command(flatten)]
    pub(in crate::cli) job: JobArgs,
}

impl RotateArgs {
    /// The selected step.
    pub(in crate::cli) fn maintenance(&self) -> Maintenance {
        match (self.finish, self.revert) {
            (true, _) => Maintenance::DropOldThumbprint { unproven: self.unproven },
            (false, true) => Maintenance::DropNewThumbprint,
            (false, false) => Maintenance::AddThumbprint,
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RetireArgs {
    #[command(flatten)]
    pub(in crate::cli) batch: BatchArgs,
    /// Delete the units, which must be disabled already: devices with their modules, and modules
    /// that are named without their device.
    #[arg(long)]
    delete: bool,
    /// Give the disabled devices this status reason, of at most 128 characters.
    #[arg(long, default_value = DEFAULT_REASON, value_name = "TEXT", conflicts_with = "delete", value_parser = parse_reason)]
    reason: StatusReason,
    /// Continue with the good rows if others are bad; the bad rows are counted as rejected.
    #[arg(long)]
    pub(in crate::cli) skip_bad_rows: bool,
    #[command(flatten)]
    pub(in crate::cli) how: MaintenanceArgs,
    #[command(flatten)]
    pub(in crate::cli) target: TargetArgs,
    #[command(flatten)]
    pub(in crate::cli) dps: DpsArgs,
}

impl RetireArgs {
    /// The selected step.
    pub(in crate::cli) fn maintenance(&self) -> Maintenance {
        match self.delete {
            true => Maintenance::Delete,
            false => Maintenance::Disable { reason: self.reason.clone() },
        }
    }
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("devices").required(true).args(["file", "run"]))]
pub(in crate::cli) struct ReleaseArgs {
    /// The devices: CSV or JSON Lines, of which only `device_id` is needed.
    pub(in crate::cli) file: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) read: ReadArgs,
    /// Enable only the devices that this run has disabled.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) run: Option<RunId>,
    /// Continue with the good rows if others are bad; the bad rows are counted as rejected.
    #[arg(long, requires = "file")]
    pub(in crate::cli) skip_bad_rows: bool,
    #[command(flatten)]
    pub(in crate::cli) how: MaintenanceArgs,
    #[command(flatten)]
    pub(in crate::cli) target: TargetArgs,
    #[command(flatten)]
    pub(in crate::cli) dps: DpsArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct UndoArgs {
    /// The number of the run to undo.
    pub(in crate::cli) run: RunId,
    #[command(flatten)]
    pub(in crate::cli) how: MaintenanceArgs,
    #[command(flatten)]
    pub(in crate::cli) target: TargetArgs,
    #[command(flatten)]
    pub(in crate::cli) dps: DpsArgs,
}

fn parse_reason(text: &str) -> Result<StatusReason, String> {
    StatusReason::new(text).map_err(|error| error.to_string())
}
