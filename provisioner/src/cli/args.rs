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
use crate::hub::{EntraEnvironment, SignIn};
use crate::ledger::{LedgerLocation, LocationError, Operator, RunId, RunOptions};
use crate::model::options::{ApplyMode, ApplyRules, TwinPolicy};
use crate::target::{HubSize, TargetChoice};

pub(super) use alter::*;
pub(super) use objects::*;
pub(super) use verify::*;

mod alter;
mod objects;
mod verify;

/// From a batch of devices and modules to identities and twins on an Azure IoT Hub.
///
/// With no hub configured, an embedded local hub takes its place, with its data in `.local-hub`.
/// stdout is data, stderr is for people.
///
/// Exit codes: 0 all as asked; 1 finished, but some rows failed; 2 bad usage or bad input, nothing
/// done; 3 the hub or the CA refused or could not be reached; 4 interrupted, run it again; 70 a bug.
#[derive(Parser)]
#[command(name = "provisioner", version, max_term_width = 110)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) verb: Verb,
    /// Write results to stdout in this format.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
    /// Put an apostrophe before cells of CSV output that a spreadsheet would take for a formula: those that begin
    /// with `=`, `+`, `-`, `@`, a tab or a carriage return
    #[arg(long, global = true)]
    pub(super) spreadsheet_safe: bool,
    /// The ledger: what every run did, row by row. A file, or a PostgreSQL database that stations
    /// share, as in `postgres://line3@db.example/units`, with several servers where one may take the
    /// other's place (`postgres://line3@first,second/units`), or as `host=… user=… dbname=…`. Its
    /// password comes from PGPASSWORD, the password file of PostgreSQL's tools, or the address in
    /// PROVISIONER_LEDGER, but never from an argument
    /// [env: PROVISIONER_LEDGER] [default: provisioner.ledger]
    #[arg(long, global = true, value_name = "FILE|URL")]
    ledger: Option<String>,
    /// Say on stderr what is learnt of the hub; -vv every call to it; -vvv whatever there is to say. No
    /// secret is among it. RUST_LOG chooses in finer grain.
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
}

impl Cli {
    /// The location of the ledger, with the access settings of the environment.
    pub(super) fn ledger(&self) -> Result<LedgerLocation, LocationError> {
        // Not a clap argument: its password could be told from one that is given for all to see.
        let environment = std::env::var("PROVISIONER_LEDGER").ok().map(Zeroizing::new);
        LedgerLocation::choose(self.ledger.as_deref(), environment.as_ref().map(|text| text.as_str()))
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Is the batch clean? Every problem at once; no hub is needed.
    Check(CheckArgs),
    /// Show the changes that an apply would make on the hub, and their duration at its tier. The
    /// hub is not changed.
    ///
    /// A row whose thumbprint, key or serial number is another identity's, as the ledger knows, is bad. Exits with 1 when rows are in conflict or can't succeed.
    #[command(after_help = "Example: provisioner plan work-order.csv --issue pki --tier S1 --units 2")]
    Plan(PlanArgs),
    /// Create the batch's identities and twins on the hub, then verify them.
    ///
    /// What is there already is compared and never overwritten. Running the same batch again does
    /// only what is left to do.
    ///
    /// In place of the batch, a file that `plan --output` made can be given: then exactly that plan is
    /// carried out, with its options. What is not as it was when the plan was made is refused.
    #[command(
        after_help = "Examples: provisioner apply work-order.csv --issue pki\n          provisioner apply \
                            work-order.plan"
    )]
    Apply(ApplyArgs),
    /// Go on with a run that was cut off: by Ctrl-C, a power failure, a hub that was gone. The newest
    /// where none is named.
    ///
    /// What is known to be done is not asked again; what was under way is compared with the hub.
    #[command(after_help = "Example: provisioner resume 7")]
    Resume(ResumeArgs),
    /// Take a share in a run that another station has begun, with a ledger that both reach.
    ///
    /// Any number of stations may work on one run. A station that dies or sleeps loses its part to the
    /// others after a while; nothing need be unlocked.
    #[command(
        after_help = "Example: PGPASSWORD=… provisioner work 7 --ledger postgres://line3@db.example/units"
    )]
    Work(ShareArgs),
    /// Give devices and modules new certificates, in two steps that can be taken back.
    ///
    /// The batch names the new thumbprint first (`primary_thumbprint`, `certificate`, or what `--issue`
    /// has issued) and the old one second (`secondary_thumbprint`), as `cert-tool renew` writes it. Without
    /// an option the new thumbprint goes into the free slot: then both certificates are let in. When the
    /// units have their new certificates, `--finish` takes the old ones out; until then `--revert` takes
    /// the new ones out again.
    #[command(
        after_help = "Examples: provisioner rotate renewed.csv\n          provisioner rotate renewed.csv --finish"
    )]
    Rotate(RotateArgs),
    /// Take units out of service: disable the devices of a batch, later delete them.
    ///
    /// Only `device_id` and `module_id` are needed. Where the batch names thumbprints, a unit that has
    /// others on the hub is left alone: its board was swapped. The ledger keeps all that it knows.
    #[command(
        after_help = "Examples: provisioner retire scrapped.csv --reason 'scrapped 2026-11'\n          \
                            provisioner retire scrapped.csv --delete"
    )]
    Retire(RetireArgs),
    /// Enable again what a run has disabled: devices in quarantine, or retired.
    ///
    /// Only what runs of this ledger have disabled on purpose is enabled. A device that somebody else has
    /// disabled, or whose status reason was changed since, is left alone and reported as a conflict. `undo`
    /// disables again what a release has enabled.
    #[command(
        after_help = "Examples: provisioner release --run 7 --dry-run\n          provisioner release tested.csv"
    )]
    Release(ReleaseArgs),
    /// Take a run back: delete what it created and nobody has changed since.
    ///
    /// Identities that were changed, or used by their device, stay and are reported as conflicts; so do
    /// devices with modules of others. What the run changed but did not create is not touched. Where the run
    /// is a `release`, the devices that it enabled are disabled again, and nothing else is done.
    #[command(after_help = "Example: provisioner undo 7")]
    Undo(UndoArgs),
    /// Does the hub hold what the batch says, and nothing besides? With `--connect`: does it let its devices in?
    ///
    /// Every identity is read and compared; thumbprints are computed from the certificates themselves, where they
    /// are at hand. Modules of the batch's devices that have no row are extra. With `--connect`, devices and
    /// modules connect as they will in the field and read their twins: the proof that what was shipped works.
    #[command(
        after_help = "Examples: provisioner verify work-order.csv --issue pki --connect 20\n          provisioner \
                            verify work-order.csv --within \"tags.workOrder = '4711'\""
    )]
    Verify(VerifyArgs),
    /// The runs that the ledger knows.
    Runs,
    /// Show the progress of a run, by default the newest.
    Status(RunArgs),
    /// Report the results of a run's rows, by default of the newest run.
    ///
    /// As text: all that is remarkable, the totals, and why rows are not as asked. As csv or json: every
    /// row. As a page, with `--html`: all of it for a browser or for paper.
    #[command(after_help = "Example: provisioner report 7 --html run-7.html")]
    Report(ReportArgs),
    /// A run as an audit pack: who did what, when, and what was there before and after, row by row in a
    /// chain of hashes. The newest run where none is named.
    ///
    /// The pack is JSON Lines. Its last hash is printed: kept on paper or signed, it shows later that
    /// nothing was changed, left out or added. `--check` looks whether a pack is whole, and exits with 1
    /// when it is not.
    #[command(
        after_help = "Examples: provisioner audit 7 --out run-7.audit.jsonl\n          provisioner audit --check \
                            run-7.audit.jsonl"
    )]
    Audit(AuditArgs),
    /// The identities and twins of a hub, as a batch. Symmetric keys are left out.
    #[command(after_help = "Example: provisioner export --where \"tags.site = 'Ulm'\" --out ulm.csv")]
    Export(ExportArgs),
    /// Is this station ready? Disk, ledger, DNS, ports, TLS, clock, credentials and their rights; nothing is
    /// changed on the hub.
    #[command(after_help = "Example: provisioner doctor --host line-3.azure-devices.net --auth az")]
    Doctor(DoctorArgs),
    /// One device, for scripts; prints the hub's own JSON.
    #[command(subcommand)]
    Device(DeviceVerb),
    /// One module, for scripts; prints the hub's own JSON.
    #[command(subcommand)]
    Module(ModuleVerb),
    /// One twin, for scripts; prints the hub's own JSON.
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
    /// Only devices and modules for whose twins this condition of IoT Hub's query language holds.
    #[arg(long = "where", value_name = "CONDITION")]
    pub(super) condition: Option<String>,
    /// A new file, .csv or .jsonl. Without it the batch goes to stdout, as JSON Lines or, with
    /// `--format csv`, as CSV.
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
    /// Write the plan to a new file as well, for `apply` to carry out as it is: usually FILE.plan.
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
    /// Do not read everything back in the end.
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
    mode: Option<ApplyMode>,
    /// Handle twins with different values by this policy: `initial` keeps values that were written
    /// since the creation, `merge` writes the batch's values into the twin, `replace` also removes
    /// values that the batch does not name, from those of tags and desired properties that it gives
    /// at all. [default: initial]
    #[arg(long, value_enum, value_name = "POLICY")]
    twin: Option<TwinPolicy>,
    /// Leave every device disabled once its modules are there, for somebody to enable it later.
    #[arg(long)]
    pub(super) quarantine: bool,
    /// Put a tag with this name on what the run creates, saying which run created it. Nothing changes it
    /// afterwards; a row that gives a tag of this name itself keeps its own.
    #[arg(long, value_name = "NAME", value_parser = parse_tag)]
    pub(super) created_by_tag: Option<String>,
    /// Go on with the good rows when others are bad; the bad ones are counted as rejected.
    #[arg(long)]
    pub(super) skip_bad_rows: bool,
}

impl RulesArgs {
    /// The rules for existing identities and twins.
    fn rules(&self) -> ApplyRules {
        ApplyRules { mode: self.mode.unwrap_or_default(), twin: self.twin.unwrap_or_default() }
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
    /// Do not read everything back in the end.
    #[arg(long)]
    pub(super) no_verify: bool,
    #[command(flatten)]
    pub(super) unlock: UnlockArgs,
}

/// The options to unlock the CA's key, as for `cert-tool issue`.
#[derive(Debug, Args)]
pub(super) struct UnlockArgs {
    /// A private file whose first line is the passphrase of the CA's key; without,
    /// CERT_TOOL_PASSPHRASE is taken, or it is asked for.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// A private file whose first line is the PIN of the PKCS#11 token that has the CA's key;
    /// without, CERT_TOOL_PIN is taken, or it is asked for.
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
    pub(super) run: Option<RunId>,
    /// Read the run's batch file from here. It must be unchanged.
    #[arg(long, value_name = "FILE")]
    pub(super) batch: Option<PathBuf>,
    /// Connect to the hub's devices' port here, for a `rotate --finish`; its certificate must still
    /// be for the hub's name. [default: port 8883 of the hub]
    #[arg(long, value_name = "HOST:PORT", value_parser = verify::parse_address)]
    pub(super) mqtt: Option<(String, u16)>,
    #[command(flatten)]
    pub(super) work: WorkArgs,
    #[command(flatten)]
    pub(super) target: TargetArgs,
}

#[derive(Debug, Args)]
pub(super) struct WorkArgs {
    /// Work on this many groups of up to 100 devices at once.
    #[arg(long, default_value = "4", value_name = "N")]
    pub(super) workers: NonZeroU32,
    /// Give up a hub that has given no usable answer for so long. A name or port where no hub was ever
    /// reached is given up at once.
    #[arg(long, default_value = "60", value_name = "MINUTES")]
    pub(super) wait_for_hub: u32,
    /// After how many seconds without a word from this station others may take over what it has in
    /// hand, where the ledger is shared.
    #[arg(long, default_value = "30", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(super) lease: u64,
    /// Name the person who answers for the work, for reports [default: this system's user].
    #[arg(long, value_name = "NAME", env = "PROVISIONER_OPERATOR", value_parser = parse_name)]
    operator: Option<String>,
    /// Name this machine in reports [default: its host name].
    #[arg(long, value_name = "NAME", env = "PROVISIONER_STATION", value_parser = parse_name)]
    station: Option<String>,
}

impl WorkArgs {
    /// The longest wait for a hub that is down.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs(60 * u64::from(self.wait_for_hub))
    }

    /// The operator and the station.
    pub(super) fn operator(&self) -> Operator {
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

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The number of the run.
    pub(super) run: Option<RunId>,
}

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// The number of the run.
    pub(super) run: Option<RunId>,
    /// Write the rows that failed or are in conflict to a batch file of their own, as they were read.
    /// Put it beside the batch: the files that rows name are found from there.
    #[arg(long, value_name = "FILE")]
    pub(super) failed_rows: Option<PathBuf>,
    /// Write the report as one HTML page as well, which needs nothing but itself.
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// The number of the run.
    pub(super) run: Option<RunId>,
    /// A new file for the pack. Without it the pack goes to stdout.
    #[arg(long, short, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// Look whether this pack is whole, instead of writing one.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["run", "out"])]
    pub(super) check: Option<PathBuf>,
    /// The last hash that the pack must have.
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
    /// Refuse rows whose device id does not match this regular expression as a whole, as in `PMP-\d{8}` [default:
    /// `id_pattern` under `[batch]` in provisioner.toml]
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
    /// The CA that issues certificates for rows without a thumbprint. With the embedded hub, a CA is
    /// made where there is none. `plan`, `rotate` and `verify` only read what it has issued.
    #[arg(long, value_name = "CA_DIR")]
    pub(super) issue: Option<PathBuf>,
    /// Keep its certificates and keys in this folder [default: CA_DIR/issued].
    #[arg(long, value_name = "DIR", requires = "issue")]
    pub(super) out: Option<PathBuf>,
}

impl IssuedArgs {
    /// The CA's folder and the folder of its certificates.
    pub(super) fn folders(&self) -> Option<(PathBuf, PathBuf)> {
        let ca = self.issue.clone()?;
        let out = self.out.clone().unwrap_or_else(|| ca.join("issued"));
        Some((ca, out))
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Hub")]
pub(super) struct TargetArgs {
    /// A hub of `provisioner.toml`. Without it, the connection string in the environment variable
    /// IOTHUB_CONNECTION_STRING is used; where nothing is configured at all, the embedded local hub.
    #[arg(long, value_name = "NAME", conflicts_with = "local")]
    hub: Option<String>,
    /// A hub that is called with Entra ID, for example line-3.azure-devices.net.
    #[arg(long, value_name = "HOST", value_parser = parse_host, conflicts_with_all = ["hub", "local"])]
    host: Option<HubHost>,
    /// Sign in to Entra ID in this way.
    #[arg(long, value_enum, value_name = "WAY", default_value_t, requires = "host")]
    auth: SignIn,
    /// The host that devices connect to, for a hub that has one of its own. A hub of `provisioner.toml` may
    /// name it as `device_host`.
    #[arg(long, value_name = "HOST", value_parser = parse_host, conflicts_with = "local")]
    device_host: Option<HubHost>,
    /// The embedded local hub, with its data in DIR.
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = ".local-hub")]
    local: Option<PathBuf>,
    /// A PEM file with a root to trust besides the system's.
    #[arg(long, value_name = "FILE", env = "IOTHUB_CA_FILE")]
    ca_file: Vec<PathBuf>,
    /// The tier of the hub, which bounds the rate of calls: F1, B1, B2, B3, S1, S2 or S3. Without it
    /// the rate is learnt from the hub.
    #[arg(long)]
    tier: Option<Tier>,
    /// The units of that tier.
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
            sign_in: self.auth,
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
