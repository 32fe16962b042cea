//! A share in a run: `resume` and `work` as they are typed, and the options of all workers.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use cert_tool::SecretSource;
use clap::Args;

use super::verify::parse_address;
use super::{DpsArgs, TargetArgs};
use crate::ledger::Operator;
use crate::model::run_id::RunId;
use crate::run::{ShareRequest, WorkSettings};

#[derive(Debug, Args)]
pub(in crate::cli) struct ResumeArgs {
    #[command(flatten)]
    pub(in crate::cli) share: ShareArgs,
    /// Do not read everything back at the end.
    #[arg(long)]
    pub(in crate::cli) no_verify: bool,
    #[command(flatten)]
    pub(in crate::cli) unlock: UnlockArgs,
}

/// The options to unlock the CA's key, as for `cert-tool issue`.
#[derive(Debug, Args)]
pub(in crate::cli) struct UnlockArgs {
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
    pub(in crate::cli) fn secrets(&self) -> SecretSource {
        SecretSource::default()
            .with_passphrase_file(self.passphrase_file.clone())
            .with_pin_file(self.pin_file.clone())
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ShareArgs {
    /// The number of the run.
    run: Option<RunId>,
    /// Read the run's batch file from here. It must be unchanged.
    #[arg(long, value_name = "FILE")]
    batch: Option<PathBuf>,
    /// Connect to this address as a device, for a `rotate --finish`. The certificate must still be
    /// for the name of the hub. [default: port 8883 of the hub]
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_address)]
    mqtt: Option<(String, u16)>,
    #[command(flatten)]
    pub(in crate::cli) work: WorkArgs,
    #[command(flatten)]
    pub(in crate::cli) target: TargetArgs,
    #[command(flatten)]
    pub(in crate::cli) dps: DpsArgs,
}

impl ShareArgs {
    /// The request for a part in the run.
    pub(in crate::cli) fn request(&self) -> ShareRequest {
        ShareRequest { run: self.run, batch: self.batch.clone(), address: self.mqtt.clone() }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct WorkArgs {
    /// Work on this many groups of up to 100 devices at once.
    #[arg(long, default_value = "4", value_name = "N")]
    workers: NonZeroU32,
    /// Stop the run after the hub has been unreachable, or has confirmed no change, for this many
    /// minutes. With 0 it waits for neither. If the hub was never reached, the run stops at once.
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
    pub(in crate::cli) fn settings(&self) -> WorkSettings {
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

fn parse_name(text: &str) -> Result<String, String> {
    let name = text.trim();
    match name.chars().count() {
        1..=MAX_NAME if !name.chars().any(char::is_control) => Ok(name.to_owned()),
        _ => Err(format!("must be a name of 1 to {MAX_NAME} characters, on one line")),
    }
}

/// Characters of a name of a person or a machine.
const MAX_NAME: usize = 100;
