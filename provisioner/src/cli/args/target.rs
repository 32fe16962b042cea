//! The hub of a verb, and the verbs that need nothing else.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use cli_support::secrets;
use hub_types::connection_string::HubHost;
use hub_types::limits::Tier;

use super::choices::SignInArg;
use crate::hub::{EntraEnvironment, HubSize};
use crate::report::quoted;
use crate::target::{DpsChoice, ServiceChoice, TargetChoice};

#[derive(Debug, Args)]
#[command(next_help_heading = "Hub")]
pub(in crate::cli) struct TargetArgs {
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
    /// Connect to this host as a device, if the hub or the DPS has a host of its own for devices. An
    /// entry of `provisioner.toml` may name it as `device_host`.
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
    pub(in crate::cli) fn size(&self) -> HubSize {
        HubSize { tier: self.tier.unwrap_or_default(), units: self.units }
    }

    /// The choice of a DPS beside the hub, with which it shares the roots to trust.
    pub(super) fn dps_beside_hub(&self, name: Option<String>) -> DpsChoice {
        DpsChoice { host: None, ..self.dps_choice(name) }
    }

    /// The choice of a DPS, by the options that hubs and DPSs share.
    pub(super) fn dps_choice(&self, name: Option<String>) -> DpsChoice {
        DpsChoice {
            name,
            host: self.host.clone(),
            sign_in: self.auth.into(),
            entra: EntraEnvironment::read(|name| std::env::var(name).ok()),
            connection_string: secrets::variable("IOTDPS_CONNECTION_STRING"),
            hub_connection_string: secrets::variable("IOTHUB_CONNECTION_STRING"),
            device_host: self.device_host.clone(),
            id_scope: None,
            ca_files: self.ca_file.clone(),
        }
    }

    /// The choice of a hub, with the connection string that the environment holds.
    pub(in crate::cli) fn choice(&self) -> TargetChoice {
        TargetChoice {
            hub: self.hub.clone(),
            local: self.local.clone(),
            host: self.host.clone(),
            sign_in: self.auth.into(),
            entra: EntraEnvironment::read(|name| std::env::var(name).ok()),
            connection_string: secrets::variable("IOTHUB_CONNECTION_STRING"),
            device_host: self.device_host.clone(),
            ca_files: self.ca_file.clone(),
            size: self.tier.map(|tier| HubSize { tier, units: self.units }),
        }
    }
}

/// The DPS of a verb, in place of a hub.
#[derive(Debug, Args)]
#[command(next_help_heading = "DPS")]
pub(in crate::cli) struct DpsArgs {
    /// Work on a Device Provisioning Service in place of a hub: on this DPS of `provisioner.toml`,
    /// or without NAME on that of the connection string in the environment variable
    /// IOTDPS_CONNECTION_STRING or, with Entra ID, on that of `--host`.
    #[arg(
        long,
        value_name = "NAME",
        num_args = 0..=1,
        conflicts_with_all = ["hub", "local", "tier"],
    )]
    dps: Option<Option<String>>,
}

impl DpsArgs {
    /// The options that name the service, for a command that works on the same one: each with a space before it.
    pub(in crate::cli) fn as_options(&self, target: &TargetArgs) -> String {
        let mut options = match &self.dps {
            Some(Some(name)) => format!(" --dps {}", quoted(name)),
            Some(None) => " --dps".to_owned(),
            None => String::new(),
        };
        let mut add = |option: &str, value: &str| {
            options.push_str(&format!(" {option} {}", quoted(value)));
        };
        target.hub.iter().for_each(|hub| add("--hub", hub));
        target.host.iter().for_each(|host| add("--host", host.as_str()));
        target.local.iter().for_each(|local| add("--local", &local.to_string_lossy()));
        let auth = target.auth.to_possible_value().filter(|_| target.auth != SignInArg::default());
        auth.iter().for_each(|auth| add("--auth", auth.get_name()));
        options
    }

    /// The choice of the DPS, or of the hub of `target` if no DPS is asked for.
    pub(in crate::cli) fn choice(&self, target: &TargetArgs) -> ServiceChoice {
        match &self.dps {
            Some(name) => ServiceChoice::Dps(target.dps_choice(name.clone())),
            None => ServiceChoice::Hub(target.choice()),
        }
    }
}

fn parse_host(text: &str) -> Result<HubHost, String> {
    text.parse().map_err(|_| "must be a host name, such as `line-3.azure-devices.net`".to_owned())
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DoctorArgs {
    #[command(flatten)]
    pub(in crate::cli) target: TargetArgs,
    #[command(flatten)]
    pub(in crate::cli) dps: DpsArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArgs {
    /// Export only devices and modules whose twins meet this condition of IoT Hub's query language.
    #[arg(long = "where", value_name = "CONDITION", conflicts_with = "dps")]
    pub(in crate::cli) condition: Option<String>,
    /// Write the batch to this new file, .csv or .jsonl. Without it, the batch goes to stdout, as
    /// JSON Lines or, with `--format csv`, as CSV.
    #[arg(long, short, value_name = "FILE")]
    pub(in crate::cli) out: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) target: TargetArgs,
    #[command(flatten)]
    pub(in crate::cli) dps: DpsArgs,
}
