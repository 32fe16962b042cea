//! The command line as it is typed.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use batch_file::IdPattern;
use cert_tool::SecretSource;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use hub_types::connection_string::HubHost;
use hub_types::limits::Tier;
use hub_types::twin::{JsonObject, Nulls, Section, check_section};
use zeroize::Zeroizing;

use crate::batch::BatchChoice;
use crate::hub::EntraEnvironment;
use crate::ledger::{IssueFolders, LedgerLocation, LocationError, Operator, RunId, RunOptions};
use crate::model::options::ApplyRules;
use crate::run::{ShareRequest, WorkSettings};
use crate::target::{HubSize, TargetChoice};

pub(super) use alter::*;
use choices::{ApplyModeArg, SignInArg, TwinPolicyArg};
pub(super) use objects::*;
pub(super) use verify::*;

mod alter;
mod choices;
mod objects;
mod verify;

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
    /// those that begin with `=`, `+`, `-`, `@`, a tab or a carriage return
    #[arg(long, global = true)]
    pub(super) spreadsheet_safe: bool,
    /// Record every run, row by row, in this ledger: a file, or a PostgreSQL database that stations
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
        // Not a clap argument: its password could be told from one that is given for all to see.
        let environment = std::env::var_os("PROVISIONER_LEDGER")
            .map(|text| Zeroizing::new(text.to_string_lossy().into_owned()));
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

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Export only devices and modules whose twins meet this condition of IoT Hub's query language.
    #[arg(long = "where", value_name = "CONDITION")]
    pub(super) condition: Option<String>,
    /// Write the batch to this new file, .csv or .jsonl. Without it, the batch goes to stdout, as
    /// JSON Lines or, with `--format csv`, as CSV.
    #[arg(long, short, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    #[command(flatten)]
    pub(super) target: TargetArgs,
}

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    pub(super) batch: BatchArgs,
}

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    pub(super) job: JobArgs,
    #[command(flatten)]
    pub(super) rules: RulesArgs,
    /// Write the plan to a new file too, usually FILE.plan, so that `apply` can carry it out.
    #[arg(long, short, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    #[command(flatten)]
    pub(super) job: JobArgs,
    /// Read the batch of the plan from here. It must be unchanged.
    #[arg(long, value_name = "FILE")]
    pub(super) batch: Option<PathBuf>,
    #[command(flatten)]
    pub(super) rules: RulesArgs,
    /// Do not read everything back at the end.
    #[arg(long)]
    pub(super) no_verify: bool,
    #[command(flatten)]
    pub(super) unlock: UnlockArgs,
    #[command(flatten)]
    pub(super) work: WorkArgs,
}

/// The rules of a batch for existing objects on the hub.
#[derive(Debug, Args)]
pub(super) struct RulesArgs {
    /// Change identities in this mode: `create` creates missing ones, `update` changes existing
    /// ones, `upsert` does both. In mode `create`, an existing identity that differs is a conflict.
    /// [default: create]
    #[arg(long, value_enum, value_name = "MODE")]
    mode: Option<ApplyModeArg>,
    /// Handle twins with different values by this policy: `initial` keeps values that were written
    /// since the creation, `merge` writes the batch's values into the twin, `replace` also removes
    /// values that the batch does not name, from those of tags and desired properties that it gives
    /// at all. [default: initial]
    #[arg(long, value_enum, value_name = "POLICY")]
    twin: Option<TwinPolicyArg>,
    /// Leave every device disabled after its modules are created. `release` enables it later.
    #[arg(long)]
    pub(super) quarantine: bool,
    /// Add a tag with this name to the identities that the run creates. The tag names the run.
    /// Nothing changes it later. A row with a tag of this name keeps its own value.
    #[arg(long, value_name = "NAME", value_parser = parse_tag)]
    pub(super) created_by_tag: Option<String>,
    /// Continue with the good rows if others are bad; the bad rows are counted as rejected.
    #[arg(long)]
    pub(super) skip_bad_rows: bool,
}

impl RulesArgs {
    /// The rules for existing identities and twins.
    fn rules(&self) -> ApplyRules {
        ApplyRules {
            mode: self.mode.map(Into::into).unwrap_or_default(),
            twin: self.twin.map(Into::into).unwrap_or_default(),
        }
    }

    /// The options of a run of a batch whose certificates are issued as `issued` says.
    pub(super) fn run_options(&self, issued: &IssuedArgs) -> RunOptions {
        RunOptions {
            rules: self.rules(),
            created_by_tag: self.created_by_tag.clone(),
            issue: issued.folders(),
            quarantine: self.quarantine,
            ..RunOptions::default()
        }
    }

    /// Returns true if any of the options was given.
    pub(super) fn is_any_given(&self) -> bool {
        let Self { mode, twin, quarantine, created_by_tag, skip_bad_rows } = self;
        mode.is_some() || twin.is_some() || *quarantine || created_by_tag.is_some() || *skip_bad_rows
    }
}

#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    pub(super) share: ShareArgs,
    /// Do not read everything back at the end.
    #[arg(long)]
    pub(super) no_verify: bool,
    #[command(flatten)]
    pub(super) unlock: UnlockArgs,
}

/// The options to unlock the CA's key, as for `cert-tool issue`.
#[derive(Debug, Args)]
pub(super) struct UnlockArgs {
    /// Read the passphrase of the CA's key from the first line of this private file. Without it,
    /// the passphrase comes from CERT_TOOL_PASSPHRASE or a prompt.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Read the PIN of the PKCS#11 token with the CA's key from the first line of this private
    /// file. Without it, the PIN comes from CERT_TOOL_PIN or a prompt.
    #[arg(long, value_name = "FILE")]
    pin_file: Option<PathBuf>,
}

impl UnlockArgs {
    /// The source of the CA's secrets.
    pub(super) fn secrets(&self) -> SecretSource {
        SecretSource::default()
            .with_passphrase_file(self.passphrase_file.clone())
            .with_pin_file(self.pin_file.clone())
    }
}

#[derive(Debug, Args)]
pub(super) struct ShareArgs {
    /// The number of the run.
    run: Option<RunId>,
    /// Read the run's batch file from here. It must be unchanged.
    #[arg(long, value_name = "FILE")]
    batch: Option<PathBuf>,
    /// Connect to this address as a device, for a `rotate --finish`. The certificate must still be
    /// for the name of the hub. [default: port 8883 of the hub]
    #[arg(long, value_name = "HOST:PORT", value_parser = verify::parse_address)]
    mqtt: Option<(String, u16)>,
    #[command(flatten)]
    pub(super) work: WorkArgs,
    #[command(flatten)]
    pub(super) target: TargetArgs,
}

impl ShareArgs {
    /// The request for a part in the run.
    pub(super) fn request(&self) -> ShareRequest {
        ShareRequest { run: self.run, batch: self.batch.clone(), address: self.mqtt.clone() }
    }
}

#[derive(Debug, Args)]
pub(super) struct WorkArgs {
    /// Work on this many groups of up to 100 devices at once.
    #[arg(long, default_value = "4", value_name = "N")]
    workers: NonZeroU32,
    /// Stop the run after the hub has been unreachable for this many minutes. If the hub was never
    /// reached, the run stops at once.
    #[arg(long, default_value = "60", value_name = "MINUTES")]
    wait_for_hub: u32,
    /// Let other stations take over the rows of this station after this many seconds without a sign
    /// of it, if the ledger is shared.
    #[arg(long, default_value = "30", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    lease: u64,
    /// Name the person who is responsible for the work, for reports [default: this system's user].
    #[arg(long, value_name = "NAME", env = "PROVISIONER_OPERATOR", value_parser = parse_name)]
    operator: Option<String>,
    /// Name this machine in reports [default: its host name].
    #[arg(long, value_name = "NAME", env = "PROVISIONER_STATION", value_parser = parse_name)]
    station: Option<String>,
}

impl WorkArgs {
    /// The settings of the workers.
    pub(super) fn settings(&self) -> WorkSettings {
        WorkSettings {
            workers: usize::try_from(self.workers.get()).unwrap_or(1),
            patience: Duration::from_secs(60 * u64::from(self.wait_for_hub)),
            lease: Duration::from_secs(self.lease),
            by: self.operator(),
        }
    }

    /// The operator and the station.
    fn operator(&self) -> Operator {
        let name = self.operator.clone().or_else(|| whoami::username().ok());
        let station = self.station.clone().or_else(|| whoami::hostname().ok());
        Operator { name: name.unwrap_or_default(), station: station.unwrap_or_default() }
    }
}

/// A batch and the hub that it is for.
#[derive(Debug, Args)]
pub(super) struct JobArgs {
    #[command(flatten)]
    pub(super) batch: BatchArgs,
    #[command(flatten)]
    pub(super) issued: IssuedArgs,
    #[command(flatten)]
    pub(super) target: TargetArgs,
}

impl JobArgs {
    /// Returns true if an option was given that a plan has, too.
    pub(super) fn has_options(&self) -> bool {
        self.issued.issue.is_some() || !self.batch.map.is_empty() || self.batch.id_pattern.is_some()
    }
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The number of the run.
    pub(super) run: Option<RunId>,
}

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// The number of the run.
    pub(super) run: Option<RunId>,
    /// Write the rows that failed or are in conflict, unchanged, to this batch file. Put it beside
    /// the batch, because the paths in the rows are relative to it.
    #[arg(long, value_name = "FILE")]
    pub(super) failed_rows: Option<PathBuf>,
    /// Write the report as one HTML page too. The page needs no other file.
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// The number of the run.
    pub(super) run: Option<RunId>,
    /// Write the pack to this new file. Without it, the pack goes to stdout.
    #[arg(long, short, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// Check this pack instead of writing one.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["run", "out"])]
    pub(super) check: Option<PathBuf>,
    /// Require this last hash of the pack.
    #[arg(long, value_name = "HASH", requires = "check")]
    pub(super) hash: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub(super) struct BatchArgs {
    /// The batch: CSV or JSON Lines, one identity per row.
    pub(super) file: PathBuf,
    /// Read the column THEIRS as our column OURS.
    #[arg(long, value_name = "THEIRS=OURS", value_parser = parse_pair)]
    pub(super) map: Vec<(String, String)>,
    /// Refuse rows whose whole device id does not match this regular expression, as in `PMP-\d{8}`
    /// [default: `id_pattern` under `[batch]` in provisioner.toml]
    #[arg(long, value_name = "REGEX")]
    pub(super) id_pattern: Option<IdPattern>,
}

impl BatchArgs {
    /// The choice of a batch.
    pub(super) fn choice(&self) -> BatchChoice {
        BatchChoice { file: self.file.clone(), map: self.map.clone(), id_pattern: self.id_pattern.clone() }
    }
}

#[derive(Debug, Args)]
pub(super) struct IssuedArgs {
    /// Issue certificates with this CA for rows without a thumbprint. With the embedded hub, a
    /// missing CA is made. `plan`, `rotate` and `verify` only read the certificates that it has
    /// issued.
    #[arg(long, value_name = "CA_DIR")]
    pub(super) issue: Option<PathBuf>,
    /// Keep its certificates and keys in this folder [default: CA_DIR/issued].
    #[arg(long, value_name = "DIR", requires = "issue")]
    pub(super) out: Option<PathBuf>,
}

impl IssuedArgs {
    /// The CA's folder and the folder of its certificates.
    pub(super) fn folders(&self) -> Option<IssueFolders> {
        let ca = self.issue.clone()?;
        let out = self.out.clone().unwrap_or_else(|| ca.join("issued"));
        Some(IssueFolders { ca, out })
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Hub")]
pub(super) struct TargetArgs {
    /// Use this hub of `provisioner.toml`. Without it, the connection string in the environment
    /// variable IOTHUB_CONNECTION_STRING is used. If no hub is configured at all, the embedded
    /// local hub is used.
    #[arg(long, value_name = "NAME", conflicts_with = "local")]
    hub: Option<String>,
    /// Use this hub with Entra ID, for example line-3.azure-devices.net.
    #[arg(long, value_name = "HOST", value_parser = parse_host, conflicts_with_all = ["hub", "local"])]
    host: Option<HubHost>,
    /// Sign in to Entra ID in this way.
    #[arg(long, value_enum, value_name = "WAY", default_value_t, requires = "host")]
    auth: SignInArg,
    /// Connect to this host as a device, if the hub has a host of its own for devices. A hub of
    /// `provisioner.toml` may name it as `device_host`.
    #[arg(long, value_name = "HOST", value_parser = parse_host, conflicts_with = "local")]
    device_host: Option<HubHost>,
    /// Use the embedded local hub, with its data in DIR.
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = ".local-hub")]
    local: Option<PathBuf>,
    /// Trust the root in this PEM file too, beside the roots of the system.
    #[arg(long, value_name = "FILE", env = "IOTHUB_CA_FILE")]
    ca_file: Vec<PathBuf>,
    /// Limit the rate of calls to this tier of the hub: F1, B1, B2, B3, S1, S2 or S3. Without it,
    /// the rate is learnt from the hub.
    #[arg(long)]
    tier: Option<Tier>,
    /// The number of units of the tier.
    #[arg(long, default_value = "1", value_name = "N")]
    units: NonZeroU32,
}

impl TargetArgs {
    /// The size of the hub to reckon with: the smallest where none is named.
    pub(super) fn size(&self) -> HubSize {
        HubSize { tier: self.tier.unwrap_or_default(), units: self.units }
    }

    /// The choice of a hub, with the connection string that the environment holds.
    pub(super) fn choice(&self) -> TargetChoice {
        TargetChoice {
            hub: self.hub.clone(),
            local: self.local.clone(),
            host: self.host.clone(),
            sign_in: self.auth.into(),
            entra: EntraEnvironment::read(|name| std::env::var(name).ok()),
            // Not a clap argument: those could be given on the command line, for all to see.
            connection_string: std::env::var_os("IOTHUB_CONNECTION_STRING")
                .map(|text| Zeroizing::new(text.to_string_lossy().into_owned())),
            device_host: self.device_host.clone(),
            ca_files: self.ca_file.clone(),
            size: self.tier.map(|tier| HubSize { tier, units: self.units }),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Csv,
    Json,
    Text,
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((theirs, ours)) if !theirs.is_empty() && !ours.is_empty() => Ok((theirs.into(), ours.into())),
        _ => Err("must have the form THEIRS=OURS, for example `Serial=device_id`".into()),
    }
}

fn parse_name(text: &str) -> Result<String, String> {
    let name = text.trim();
    match name.chars().count() {
        1..=MAX_NAME if !name.chars().any(char::is_control) => Ok(name.to_owned()),
        _ => Err(format!("must be a name of 1 to {MAX_NAME} characters, on one line")),
    }
}

fn parse_host(text: &str) -> Result<HubHost, String> {
    text.parse().map_err(|_| "must be a host name, such as `line-3.azure-devices.net`".to_owned())
}

fn parse_tag(text: &str) -> Result<String, String> {
    let tags = JsonObject::from_iter([(text.to_owned(), serde_json::Value::Null)]);
    check_section(Section::Tags, &tags, Nulls::Delete).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

/// Characters of a name of a person or a machine.
const MAX_NAME: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_model_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
