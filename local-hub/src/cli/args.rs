//! The command line arguments.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, Parser, Subcommand};
use cli_support::choices;
use hub_types::limits::Tier;

use crate::access::entra::Role;
use crate::access::policy::OWNER;
use crate::error::{Error, Result};
use crate::faults::Faults;
use crate::local_hub::config::{Config, DpsConfig, Reach};
use crate::throttle::{Charging, Throttling};

/// Run an IoT Hub on this machine: devices, modules and twins for Microsoft's own SDKs and `az`
#[derive(Debug, Parser)]
#[command(name = "local-hub", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the connection string of a policy (a secret) to stdout
    ConnectionString(ConnectionStringArgs),
    /// Print a bearer token (a secret) to stdout, for a hub that is served with --entra-test
    EntraToken(EntraTokenArgs),
    /// Write the devices of a folder, with their keys, and its configurations to stdout, as
    /// `az iot hub state export` does
    Export(ExportArgs),
    /// Import the devices and configurations of such a document into a folder: all of them, or none
    Import(ImportArgs),
    /// Serve a hub until SIGINT or SIGTERM
    Serve(Box<ServeArgs>),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct EntraTokenArgs {
    /// The folder that the hub is or was served from
    #[arg(long, value_name = "DIR", env = "LOCAL_HUB_DATA")]
    pub(crate) data: PathBuf,
    /// The role of IoT Hub that the token's bearer has
    #[arg(long, value_enum, default_value = "data-contributor")]
    pub(crate) role: RoleArg,
    /// Print a token for the DPS, which has the roles data-contributor and data-reader
    #[arg(long)]
    pub(crate) dps: bool,
    /// The lifetime of the token
    #[arg(long, value_name = "N", default_value = "60")]
    pub(crate) minutes: u32,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ConnectionStringArgs {
    /// The folder that the hub is or was served from
    #[arg(long, value_name = "DIR", env = "LOCAL_HUB_DATA")]
    pub(crate) data: PathBuf,
    /// iothubowner, service, device, registryRead or registryReadWrite
    #[arg(long, value_name = "NAME", default_value = OWNER)]
    pub(crate) policy: String,
    /// Print the connection string of the DPS, with the policy provisioningserviceowner
    #[arg(long, conflicts_with = "policy")]
    pub(crate) dps: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ExportArgs {
    /// The folder, which no hub may use; a running hub exports through its management port
    #[arg(long, value_name = "DIR", env = "LOCAL_HUB_DATA")]
    pub(crate) data: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ImportArgs {
    /// The folder, which is made if it is missing and which no hub may use
    #[arg(long, value_name = "DIR", env = "LOCAL_HUB_DATA")]
    pub(crate) data: PathBuf,
    /// Delete all objects that the document does not name
    #[arg(long)]
    pub(crate) replace: bool,
    /// The document; `-` reads stdin
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = SERVE_HELP)]
pub(crate) struct ServeArgs {
    /// Keep everything in this folder, which is made if it is missing; without it, in memory
    #[arg(long, value_name = "DIR", env = "LOCAL_HUB_DATA")]
    data: Option<PathBuf>,
    /// Listen for HTTPS here; port 0 selects a free port, and 443 is for clients that know no other
    /// port
    #[arg(long, value_name = "ADDR:PORT", env = "LOCAL_HUB_HTTPS", default_value = "127.0.0.1:8443", value_parser = parse_socket)]
    https: SocketAddr,
    /// Listen for devices over MQTT with TLS here; some SDKs know only port 8883, and `none`
    /// accepts no devices
    #[arg(long, value_name = "ADDR:PORT", env = "LOCAL_HUB_MQTT", default_value = "127.0.0.1:8883", value_parser = parse_address)]
    mqtt: OptionalAddress,
    /// Listen for clients of AMQP here, to tell them what to use instead [default: port 5671 at the
    /// address of --mqtt, a free one if --mqtt is not on 8883]; `none` does not listen
    #[arg(long, value_name = "ADDR:PORT", env = "LOCAL_HUB_AMQP", value_parser = parse_address)]
    amqp: Option<OptionalAddress>,
    /// Trust the CAs in this PEM file, roots or intermediates, for X.509 CA certificates of devices
    #[arg(long = "device-ca", value_name = "FILE")]
    device_cas: Vec<PathBuf>,
    /// Serve the hub under this name too, beside localhost; the first name is in connection strings
    #[arg(long = "host-name", value_name = "NAME")]
    host_names: Vec<String>,
    /// Give devices a host name of their own, as hubs have since 2026: devices and modules connect
    /// to this name, and the service API keeps the first --host-name
    #[arg(long, value_name = "NAME")]
    device_host_name: Option<String>,
    /// Accept bearer tokens as of Entra ID, for tests; `local-hub entra-token` makes them
    #[arg(long, env = "LOCAL_HUB_ENTRA_TEST")]
    entra_test: bool,
    /// Let import and export jobs use the folders below this one as containers
    #[arg(long, value_name = "DIR", env = "LOCAL_HUB_BLOB_FOLDER")]
    blob_folder: Option<PathBuf>,
    /// Write one line of JSON per request to this file
    #[arg(long, value_name = "FILE", env = "LOCAL_HUB_REQUEST_LOG")]
    request_log: Option<PathBuf>,
    /// Write one line of JSON per message to the cloud to this file: telemetry, twin changes,
    /// identities created or deleted
    #[arg(long, value_name = "FILE", env = "LOCAL_HUB_TELEMETRY")]
    telemetry: Option<PathBuf>,
    /// Listen for management here, on loopback; requests need the token in the file
    /// management-token, see docs/local-hub-rehearsals.md
    #[arg(long, value_name = "ADDR:PORT", env = "LOCAL_HUB_MANAGEMENT", value_parser = parse_socket)]
    management: Option<SocketAddr>,
    /// Apply the throttles and quotas of a hub of this tier: F1, B1, B2, B3, S1, S2 or S3
    #[arg(long, value_name = "TIER", env = "LOCAL_HUB_TIER")]
    tier: Option<Tier>,
    /// The number of units of the tier
    #[arg(long, value_name = "N", default_value = "1", requires = "tier", value_parser = parse_units)]
    units: NonZeroU32,
    /// Charge a bulk call to the registry's throttle per identity, as the service does, or per call
    #[arg(long, value_name = "HOW", value_enum, default_value = "per-identity", requires = "tier")]
    charging: ChargingArg,
    /// Inject the faults of this file, see docs/local-hub-rehearsals.md
    #[arg(long, value_name = "FILE", env = "LOCAL_HUB_FAULTS")]
    faults: Option<PathBuf>,
    /// Use this seed for random faults instead of the seed in the file
    #[arg(long, value_name = "N", env = "LOCAL_HUB_SEED", requires = "faults")]
    seed: Option<u64>,
    /// Serve a Device Provisioning Service (DPS) too, which assigns devices to this hub
    #[arg(long, env = "LOCAL_HUB_DPS")]
    dps: bool,
    /// Listen for HTTPS of the DPS here [default: 127.0.0.1:8444, with --dps-host-name the address
    /// of --https]
    #[arg(long, value_name = "ADDR:PORT", env = "LOCAL_HUB_DPS_HTTPS", requires = "dps", value_parser = parse_socket)]
    dps_https: Option<SocketAddr>,
    /// Listen for devices that register over MQTT here [default: 127.0.0.1:8884, with
    /// --dps-host-name the address of --mqtt]
    #[arg(long, value_name = "ADDR:PORT", env = "LOCAL_HUB_DPS_MQTT", requires = "dps", value_parser = parse_socket)]
    dps_mqtt: Option<SocketAddr>,
    /// Serve the DPS under this name; clients that call it at an address of the hub get the DPS
    #[arg(long, value_name = "NAME", requires = "dps")]
    dps_host_name: Option<String>,
    /// Let enrolments refer to the CA in this PEM file, by the file's name without its ending
    #[arg(long = "dps-ca", value_name = "FILE", requires = "dps")]
    dps_cas: Vec<PathBuf>,
    /// Assign devices also to the local hub that is served from this data folder
    #[arg(long = "dps-linked-hub", value_name = "DIR", requires = "dps")]
    dps_linked_hubs: Vec<PathBuf>,
    /// Allow an address that other machines can reach; the hub must not hold real secrets
    #[arg(long)]
    reachable_from_other_machines: bool,
}

choices! {
    /// The value of `--role`.
    pub(crate) RoleArg: Role {
        /// All rights
        DataContributor,
        /// Read access to everything
        DataReader,
        /// Access to devices and modules, but not to their twins
        RegistryContributor,
        /// Access to twins
        TwinContributor,
    }
}

choices! {
    /// The value of `--charging`.
    ChargingArg: Charging {
        PerCall,
        PerIdentity,
    }
}

impl ServeArgs {
    pub(crate) fn into_config(self) -> Result<Config> {
        let faults = match &self.faults {
            Some(path) => read_faults(path, self.seed)?,
            None => Faults::default(),
        };
        let dps = self.dps_config();
        Ok(Config {
            data: self.data,
            https: self.https,
            mqtt: self.mqtt.0,
            amqp: self.amqp.unwrap_or_else(|| beside(self.mqtt, self.https)).0,
            device_cas: self.device_cas,
            host_names: self.host_names,
            device_host_name: self.device_host_name,
            reach: if self.reachable_from_other_machines { Reach::OtherMachines } else { Reach::ThisMachine },
            entra_test: self.entra_test,
            blob_folder: self.blob_folder,
            request_log: self.request_log,
            telemetry: self.telemetry,
            management: self.management,
            throttling: self.tier.map(|tier| Throttling {
                tier,
                units: self.units,
                charging: self.charging.into(),
            }),
            faults,
            dps,
            ..Config::default()
        })
    }

    /// The DPS, if one is asked for. With a name it shares the hub's addresses.
    fn dps_config(&self) -> Option<DpsConfig> {
        let shares = self.dps_host_name.is_some();
        let address = |given: Option<SocketAddr>, port| {
            given.or_else(|| (!shares).then(|| SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
        };
        self.dps.then(|| DpsConfig {
            https: address(self.dps_https, 8444),
            mqtt: address(self.dps_mqtt, 8884),
            host_name: self.dps_host_name.clone(),
            cas: self.dps_cas.clone(),
            linked_hubs: self.dps_linked_hubs.clone(),
        })
    }
}

/// An optional address.
#[derive(Debug, Clone, Copy)]
struct OptionalAddress(Option<SocketAddr>);

fn parse_address(text: &str) -> std::result::Result<OptionalAddress, String> {
    if text == "none" {
        Ok(OptionalAddress(None))
    } else {
        parse_socket(text).map(|address| OptionalAddress(Some(address)))
    }
}

fn parse_socket(text: &str) -> std::result::Result<SocketAddr, String> {
    text.parse().map_err(|_| "an address and a port are needed, such as 127.0.0.1:8443 or [::1]:0".to_owned())
}

fn parse_units(text: &str) -> std::result::Result<NonZeroU32, String> {
    text.parse().map_err(|_| "a whole number from 1 on is needed".to_owned())
}

/// The default address for AMQP: port 5671 only if MQTT is on its standard port, so that several
/// hubs on free ports can run on one machine.
fn beside(mqtt: OptionalAddress, https: SocketAddr) -> OptionalAddress {
    let (address, usual) = match mqtt.0 {
        Some(mqtt) => (mqtt.ip(), mqtt.port() == 8883),
        None => (https.ip(), [443, 8443].contains(&https.port())),
    };
    OptionalAddress(Some(SocketAddr::new(address, if usual { 5671 } else { 0 })))
}

fn read_faults(path: &Path, seed: Option<u64>) -> Result<Faults> {
    let text = cli_support::text::read(path).map_err(|source| Error::File {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    let faults = Faults::parse(&text)?;
    Ok(Faults { seed: seed.unwrap_or(faults.seed), ..faults })
}

const EXAMPLES: &str = "\
Examples:
  local-hub serve --data .local-hub
  export REQUESTS_CA_BUNDLE=$PWD/.local-hub/ca.pem
  az iot hub device-identity create -d pump-0001 \\
      --login \"$(local-hub connection-string --data .local-hub)\"

Exit codes: 0 done; 2 bad usage or input; 3 an address or a file cannot be used;
4 interrupted while shutting down; 70 a bug";

const SERVE_HELP: &str = "\
When the hub is ready it prints one line to stdout: its address, the CA certificate that clients
must trust, and how to get the connection string; with --dps also the id scope. Everything else goes to stderr; RUST_LOG=debug
shows more. Operations of IoT Hub that the hub does not have are answered with status 501 and their
name.";
