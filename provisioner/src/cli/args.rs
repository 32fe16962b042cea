//! The command line as it is typed.

use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use cli_support::secrets;

use crate::ledger::{LedgerLocation, LocationError};

pub(super) use apply::*;
pub(super) use batch::*;
pub(super) use explain::*;
pub(super) use follow::*;
pub(super) use maintain::*;
pub(super) use objects::*;
pub(super) use report::*;
pub(super) use target::*;
pub(super) use verify::*;
pub(super) use work::*;

mod apply;
mod batch;
mod choices;
mod explain;
mod follow;
mod group;
mod maintain;
mod objects;
mod report;
mod target;
mod verify;
mod work;

/// Provision the devices and modules of a batch, with their twins, on an Azure IoT Hub.
///
/// If no hub is configured, the embedded local hub is used, with its data in `.local-hub`. Data
/// goes to stdout, messages for people go to stderr.
///
/// Exit codes: 0 finished, everything is as the batch asks; 1 finished, but some rows failed,
/// conflict or differ; 2 bad usage or bad input, nothing done; 3 the hub or the CA refused or could
/// not be reached; 4 interrupted, run the same command again; 70 a bug.
#[derive(Parser)]
#[command(name = "provisioner", version, max_term_width = 110)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) verb: Verb,
    /// Write results to stdout in this format.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
    /// Put an apostrophe before cells of CSV output that a spreadsheet would read as a formula:
    /// those that begin with `=`, `+`, `-`, `@`, a tab or a carriage return. `export` writes a batch,
    /// whose cells stay as they are
    #[arg(long, global = true)]
    pub(super) spreadsheet_safe: bool,
    /// Use this ledger, which records every run row by row: a file, or a PostgreSQL database that stations
    /// share, as in `postgres://line3@db.example/units` or `host=… user=… dbname=…`. Several
    /// servers may be named for failover (`postgres://line3@first,second/units`). The password
    /// comes from PGPASSWORD, the password file of PostgreSQL's tools, or the address in
    /// PROVISIONER_LEDGER, never from an argument [env: PROVISIONER_LEDGER]
    /// [default: provisioner.ledger]
    #[arg(long, global = true, value_name = "FILE|URL")]
    ledger: Option<String>,
    /// Log to stderr: -v what is learnt about the hub, -vv every call to it, -vvv all details. No
    /// level shows a secret. RUST_LOG selects single modules.
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
}

impl Cli {
    /// The location of the ledger, with the access settings of the environment.
    pub(super) fn ledger(&self) -> Result<LedgerLocation, LocationError> {
        let environment = secrets::variable("PROVISIONER_LEDGER");
        LedgerLocation::choose(self.ledger.as_deref(), environment.as_ref().map(|text| text.as_str()))
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Check a batch and report every mistake at once. No hub is needed.
    Check(CheckArgs),
    /// Show the changes that an apply would make on the hub, and their duration at its tier. The
    /// hub is not changed.
    ///
    /// A row is bad if the ledger knows its thumbprint, key or serial number from a different
    /// identity. Exits with 1 if rows are in conflict or cannot succeed.
    #[command(after_help = "Example: provisioner plan work-order.csv --issue pki --tier S1 --units 2")]
    Plan(PlanArgs),
    /// Create the batch's identities and twins on the hub, then verify them.
    ///
    /// Existing identities are compared and never overwritten. Running the same batch again does
    /// only the remaining work.
    ///
    /// FILE may also be a plan that `plan --output` wrote. Then exactly this plan is carried out,
    /// with its options. Anything that has changed since the plan was made is refused.
    #[command(
        after_help = "Examples: provisioner apply work-order.csv --issue pki\n          provisioner apply \
                            work-order.plan"
    )]
    Apply(ApplyArgs),
    /// Continue a run that was interrupted: by Ctrl-C, a power failure or an outage of the hub. By
    /// default the newest run.
    ///
    /// Finished rows are not sent again. Rows that were in progress are compared with the hub.
    #[command(after_help = "Example: provisioner resume 7")]
    Resume(ResumeArgs),
    /// Join a run that another station started (needs a shared ledger).
    ///
    /// Any number of stations may work on one run. If a station stops, the others take over its
    /// rows after a while; nothing has to be unlocked.
    #[command(
        after_help = "Example: PGPASSWORD=… provisioner work 7 --ledger postgres://line3@db.example/units"
    )]
    Work(ShareArgs),
    /// Provision devices when they have registered: write their twins and create their modules.
    ///
    /// Rows wait until their device exists on the hub, with `--dps` also until the DPS has assigned
    /// it to the hub. Devices are never created. The command ends when all rows are done, or at the
    /// end of `--until`. RUN is a run of `apply --dps`, whose waiting modules are taken over, or a
    /// run of `follow`, which is continued. With a shared ledger, any number of stations may follow
    /// one run.
    #[command(
        after_help = "Examples: provisioner follow 7 --dps factory --hub line-3\n          provisioner follow \
                            work-order.csv --until 8h"
    )]
    Follow(FollowArgs),
    /// Replace the certificates of devices and modules, in two steps that can be reverted.
    ///
    /// The batch names the new thumbprint first (`primary_thumbprint`, `certificate`, or the
    /// certificate that `--issue` has issued) and the old one second (`secondary_thumbprint`), as
    /// `cert-tool renew` writes it. Without an option, the new thumbprint is put into the free
    /// slot, and the hub accepts both certificates. When the units have their new certificates,
    /// `--finish` removes the old thumbprints. Until then, `--revert` removes the new ones.
    #[command(
        after_help = "Examples: provisioner rotate renewed.csv\n          provisioner rotate renewed.csv --finish"
    )]
    Rotate(RotateArgs),
    /// Take units out of service: disable the devices of a batch, later delete them.
    ///
    /// Only `device_id` and `module_id` are needed. If the batch names thumbprints and the hub has
    /// different ones, the unit is left alone, because its board was swapped. The ledger keeps its
    /// records.
    #[command(
        after_help = "Examples: provisioner retire scrapped.csv --reason 'scrapped 2026-11'\n          \
                            provisioner retire scrapped.csv --delete"
    )]
    Retire(RetireArgs),
    /// Enable devices that a run has disabled: in quarantine, or retired.
    ///
    /// Only devices that runs of this ledger have disabled on purpose are enabled. A device that
    /// somebody else disabled, or whose status reason has changed, is left alone and reported as a
    /// conflict. `undo` disables again the devices that a release enabled.
    #[command(
        after_help = "Examples: provisioner release --run 7 --dry-run\n          provisioner release tested.csv"
    )]
    Release(ReleaseArgs),
    /// Undo a run: delete the identities that it created and that nobody has changed since.
    ///
    /// Identities that were changed, or used by their device, stay and are reported as conflicts,
    /// and so are devices with modules of others. Identities that the run only changed are not
    /// touched. If the run is a `release`, the devices that it enabled are disabled again, and
    /// nothing else is done.
    #[command(after_help = "Example: provisioner undo 7")]
    Undo(UndoArgs),
    /// Compare the hub with the batch. With `--connect`, also connect as its devices.
    ///
    /// Every identity is read and compared. Thumbprints are computed from the certificates
    /// themselves, if these are available. Modules of the batch's devices without a row are extra.
    /// With `--connect`, devices and modules connect as in the field and read their twins, which
    /// proves that the delivered credentials work.
    #[command(
        after_help = "Examples: provisioner verify work-order.csv --issue pki --connect 20\n          provisioner \
                            verify work-order.csv --within \"tags.workOrder = '4711'\""
    )]
    Verify(VerifyArgs),
    /// List the runs of the ledger.
    Runs,
    /// Show the progress of a run, by default the newest.
    Status(RunArgs),
    /// Report the results of a run's rows, by default of the newest run.
    ///
    /// As text: the totals, the rows that need attention, and the reasons. As csv or json: every
    /// row. With `--html`: a page for a browser or for paper.
    #[command(after_help = "Example: provisioner report 7 --html run-7.html")]
    Report(ReportArgs),
    /// Write a run as an audit pack: who did what and when, and the state before and after, row by
    /// row in a chain of hashes. By default the newest run.
    ///
    /// The pack is JSON Lines. Its last hash is printed. Stored on paper or signed, this hash shows
    /// later that nothing was changed, removed or added. `--check` checks a pack, and exits with 1
    /// if it was changed.
    #[command(
        after_help = "Examples: provisioner audit 7 --out run-7.audit.jsonl\n          provisioner audit --check \
                            run-7.audit.jsonl"
    )]
    Audit(AuditArgs),
    /// Write the identities and twins of a hub as a batch, without symmetric keys.
    #[command(after_help = "Example: provisioner export --where \"tags.site = 'Ulm'\" --out ulm.csv")]
    Export(ExportArgs),
    /// Check this station: disk, ledger, DNS, ports, TLS, clock, credentials and their rights.
    /// Nothing is changed on the hub.
    #[command(after_help = "Example: provisioner doctor --host line-3.azure-devices.net --auth az")]
    Doctor(DoctorArgs),
    /// Explain by which entry of a DPS a device would register, and everything that would refuse it.
    /// Nothing is changed.
    ///
    /// A DPS tells a device that it refuses nothing but 401002. The entry is chosen as the DPS
    /// chooses it, and every reason to refuse the device is told: chain, common name, dates, a
    /// disabled entry, a different CA, key usage, the rules of ids. Exits with 1 if there is a
    /// reason.
    #[command(after_help = "Example: provisioner explain --dps factory --certificate pump-0001/chain.pem")]
    Explain(ExplainArgs),
    /// Work on one device, for scripts. The hub's own JSON is printed.
    #[command(subcommand)]
    Device(DeviceVerb),
    /// Work on one module, for scripts. The hub's own JSON is printed.
    #[command(subcommand)]
    Module(ModuleVerb),
    /// Work on one twin, for scripts. The hub's own JSON is printed.
    #[command(subcommand)]
    Twin(TwinVerb),
}

impl Verb {
    /// Returns true if its text output consists of documents, for programs to read.
    pub(super) fn prints_documents(&self) -> bool {
        matches!(self, Self::Export(_) | Self::Device(_) | Self::Module(_) | Self::Twin(_))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Csv,
    Json,
    Text,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_model_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
