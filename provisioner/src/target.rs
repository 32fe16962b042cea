//! Which hub to work on, and how it is reached.
//!
//! In this order: `--local`, `--hub NAME` from `provisioner.toml`, the connection string of
//! `IOTHUB_CONNECTION_STRING`, and with none of them the embedded local hub.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hub_types::connection_string::{ConnectionStringError, ServiceConnectionString};
use hub_types::limits::Tier;
use local_hub::LocalHub;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::connect::{ConnectError, DeviceHub, DeviceHubAddress};
use crate::hub::{HubClient, HubClientOptions};

/// What the command line and the environment say about the hub.
#[derive(Debug, Default)]
pub struct TargetChoice {
    /// A hub of the configuration file.
    pub hub: Option<String>,
    /// The embedded hub, with its data in this folder.
    pub local: Option<PathBuf>,
    /// The value of `IOTHUB_CONNECTION_STRING`: a secret.
    pub connection_string: Option<Zeroizing<String>>,
    /// PEM files with roots to trust besides the system's.
    pub ca_files: Vec<PathBuf>,
    /// The size of the hub, where it is known.
    pub size: Option<HubSize>,
}

/// What bounds the rate at which a hub can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HubSize {
    /// The edition.
    pub tier: Tier,
    /// How many units of it.
    pub units: NonZeroU32,
}

/// The hub to work on.
#[derive(Debug)]
pub enum Target {
    /// A hub in this process, with its data in this folder.
    Embedded {
        /// The folder.
        data: PathBuf,
    },
    /// A hub elsewhere.
    Remote {
        /// The right to call it.
        access: ServiceConnectionString,
        /// PEM files with roots to trust besides the system's.
        ca_files: Vec<PathBuf>,
        /// The size of the hub, where it is known.
        size: Option<HubSize>,
    },
}

/// A hub that can be called. Keep it as long as it is called.
pub struct OpenHub {
    /// The client.
    pub client: Arc<HubClient>,
    /// The name that ledgers know the hub by: its host, or the folder of a local hub.
    pub name: String,
    /// The hub itself, where it runs in this process.
    pub local: Option<LocalHub>,
    /// Whom to trust to be the hub.
    pub trust: HubClientOptions,
    /// The size of the hub, where it is known.
    pub size: Option<HubSize>,
}

/// Why there is no hub to work on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// A root can't be used.
    #[error("a CA file can't be used")]
    Client(#[source] reqwest::Error),
    /// The configuration file can't be understood.
    #[error("`{}` can't be understood", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        source: toml::de::Error,
    },
    /// A connection string is wrong.
    #[error("the connection string in {place} can't be used")]
    ConnectionString {
        /// Where it stands.
        place: String,
        /// Why.
        source: ConnectionStringError,
    },
    /// A file can't be read.
    #[error("can't read `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The embedded hub does not start.
    #[error("the local hub with its data in `{}` does not start", data.display())]
    Local {
        /// Its folder.
        data: PathBuf,
        /// Why.
        source: local_hub::Error,
    },
    /// The configuration file has no such hub.
    #[error("`{CONFIG_FILE}` has no hub `{name}`; it has {known}")]
    NoSuchHub {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
}

impl Target {
    /// Decides which hub to work on. `folder` is where the configuration file is looked for.
    pub fn resolve(choice: TargetChoice, folder: &Path) -> Result<Self, TargetError> {
        if let Some(data) = choice.local {
            return Ok(Self::Embedded { data });
        }
        if let Some(name) = &choice.hub {
            return Self::configured(name, &choice, folder);
        }
        match &choice.connection_string {
            Some(text) if !text.trim().is_empty() => {
                let access = parse_access(text, "IOTHUB_CONNECTION_STRING")?;
                Ok(Self::Remote { access, ca_files: choice.ca_files, size: choice.size })
            }
            _ => Ok(Self::Embedded { data: DEFAULT_LOCAL_DATA.into() }),
        }
    }

    fn configured(name: &str, choice: &TargetChoice, folder: &Path) -> Result<Self, TargetError> {
        let path = folder.join(CONFIG_FILE);
        let text = read(&path)?;
        let config: Config = toml::from_str(&String::from_utf8_lossy(&text))
            .map_err(|source| TargetError::Config { path, source })?;
        let Some(hub) = config.hubs.get(name) else {
            let known: Vec<_> = config.hubs.keys().map(|name| format!("`{name}`")).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(TargetError::NoSuchHub { name: name.to_owned(), known });
        };
        let file = folder.join(&hub.connection_string_file);
        let text = Zeroizing::new(String::from_utf8_lossy(&read(&file)?).into_owned());
        let mut ca_files = choice.ca_files.clone();
        ca_files.extend(hub.ca_file.as_ref().map(|ca| folder.join(ca)));
        let units = hub.units.unwrap_or(NonZeroU32::MIN);
        let size = choice.size.or_else(|| hub.tier.map(|tier| HubSize { tier, units }));
        Ok(Self::Remote { access: parse_access(&text, &format!("`{}`", file.display()))?, ca_files, size })
    }

    /// The size of the hub, where it is known.
    pub fn size(&self) -> Option<HubSize> {
        match self {
            Self::Embedded { .. } => None,
            Self::Remote { size, .. } => *size,
        }
    }

    /// The name that ledgers know the hub by: its host, or the folder of a local hub, whose port is
    /// another each time.
    pub fn name(&self) -> String {
        match self {
            Self::Embedded { data } => {
                std::path::absolute(data).as_ref().unwrap_or(data).display().to_string()
            }
            Self::Remote { access, .. } => access.host.to_string(),
        }
    }

    /// Makes the hub ready to be called. The embedded one is started; nothing is sent to another.
    pub async fn open(self) -> Result<OpenHub, TargetError> {
        self.open_with(local_hub::Config::default()).await
    }

    /// The same for devices to connect to. What the embedded hub takes are certificates of the CAs in
    /// these PEM files, besides those that it knows by their thumbprints.
    pub async fn open_for_devices(self, device_cas: Vec<PathBuf>) -> Result<OpenHub, TargetError> {
        let mqtt = Some((std::net::Ipv4Addr::LOCALHOST, 0).into());
        self.open_with(local_hub::Config { mqtt, device_cas, ..local_hub::Config::default() }).await
    }

    /// `embedded` is how the embedded hub is to run.
    async fn open_with(self, embedded: local_hub::Config) -> Result<OpenHub, TargetError> {
        let name = self.name();
        match self {
            Self::Embedded { data } => open_embedded(data, name, embedded).await,
            Self::Remote { access, ca_files, size } => {
                let extra_roots = ca_files.iter().map(|path| read(path)).collect::<Result<_, _>>()?;
                let trust = HubClientOptions { extra_roots, is_local: false };
                let client = HubClient::new(access, &trust).map_err(TargetError::Client)?;
                if let Some(HubSize { tier, units }) = size {
                    client.pace().set_tier(tier, units);
                }
                Ok(OpenHub { client: Arc::new(client), name, local: None, trust, size })
            }
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Embedded { data } => {
                write!(f, "the embedded local hub, with its data in {}", data.display())
            }
            Self::Remote { access, .. } => write!(f, "{} as `{}`", access.host, access.policy),
        }
    }
}

impl OpenHub {
    /// The hub as devices see it: at its usual port, or where the embedded one listens, or at another
    /// host and port.
    pub fn for_devices(&self, elsewhere: Option<(String, u16)>) -> Result<DeviceHub, ConnectError> {
        let address = DeviceHubAddress::of(self.client.host());
        let embedded = self.local.as_ref().and_then(LocalHub::mqtt_addr);
        let embedded = embedded.map(|address| (address.ip().to_string(), address.port()));
        let address = match elsewhere.or(embedded) {
            Some((host, port)) => address.at(host, port),
            None => address,
        };
        DeviceHub::new(address, &self.trust, self.size)
    }

    /// Lets go of the hub; the embedded one writes down all it knows and stops.
    pub async fn close(self) {
        if let Some(hub) = self.local {
            hub.shutdown().await;
        }
    }
}

async fn open_embedded(
    data: PathBuf,
    name: String,
    config: local_hub::Config,
) -> Result<OpenHub, TargetError> {
    let failed = |source| TargetError::Local { data: data.clone(), source };
    let config = local_hub::Config { data: Some(data.clone()), ..config };
    let hub = LocalHub::start(config).await.map_err(failed)?;
    let access = hub.connection_string("iothubowner").map_err(failed)?;
    let extra_roots = vec![Zeroizing::new(hub.ca_pem().as_bytes().to_vec())];
    let trust = HubClientOptions { extra_roots, is_local: true };
    let client = HubClient::new(access, &trust).map_err(TargetError::Client)?;
    Ok(OpenHub { client: Arc::new(client), name, local: Some(hub), trust, size: None })
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, TargetError> {
    std::fs::read(path)
        .map(Zeroizing::new)
        .map_err(|source| TargetError::File { path: path.to_owned(), source })
}

fn parse_access(text: &str, place: &str) -> Result<ServiceConnectionString, TargetError> {
    text.parse().map_err(|source| TargetError::ConnectionString { place: place.to_owned(), source })
}

/// `provisioner.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    hubs: BTreeMap<String, ConfiguredHub>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfiguredHub {
    /// A file that holds the connection string; relative to the configuration file.
    connection_string_file: PathBuf,
    /// A PEM file with a root to trust; relative to the configuration file.
    ca_file: Option<PathBuf>,
    /// The tier, which bounds the rate of calls.
    #[serde(default, deserialize_with = "tier")]
    tier: Option<Tier>,
    /// The units of that tier; 1 where none are named.
    units: Option<NonZeroU32>,
}

fn tier<'de, D: serde::Deserializer<'de>>(text: D) -> Result<Option<Tier>, D::Error> {
    String::deserialize(text)?.parse().map(Some).map_err(serde::de::Error::custom)
}

const CONFIG_FILE: &str = "provisioner.toml";
const DEFAULT_LOCAL_DATA: &str = ".local-hub";

#[cfg(test)]
mod tests {
    use super::*;

    const ACCESS: &str =
        "HostName=h.example;SharedAccessKeyName=iothubowner;SharedAccessKey=AQEBAQEBAQEBAQEBAQEBAQ==";

    fn folder_with_config(text: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(CONFIG_FILE), text).unwrap();
        folder
    }

    #[test]
    fn the_order_is_local_then_named_then_environment_then_embedded() {
        let folder =
            folder_with_config("[hubs.line]\nconnection_string_file = 'line.txt'\nca_file = 'ca.pem'\n");
        std::fs::write(
            folder.path().join("line.txt"),
            format!("{}\n", ACCESS.replace("h.example", "line.example")),
        )
        .unwrap();
        let resolve = |local: Option<&str>, hub: Option<&str>, environment: Option<&str>| {
            let choice = TargetChoice {
                hub: hub.map(str::to_owned),
                local: local.map(PathBuf::from),
                connection_string: environment.map(|text| Zeroizing::new(text.to_owned())),
                ..TargetChoice::default()
            };
            Target::resolve(choice, folder.path()).unwrap().to_string()
        };
        assert_eq!(
            resolve(Some("x"), Some("line"), Some(ACCESS)),
            "the embedded local hub, with its data in x"
        );
        assert_eq!(resolve(None, Some("line"), Some(ACCESS)), "line.example as `iothubowner`");
        assert_eq!(resolve(None, None, Some(ACCESS)), "h.example as `iothubowner`");
        assert_eq!(resolve(None, None, None), "the embedded local hub, with its data in .local-hub");
        assert_eq!(resolve(None, None, Some(" ")), "the embedded local hub, with its data in .local-hub");
    }

    #[test]
    fn what_is_wrong_is_said_without_the_key() {
        let folder = folder_with_config("[hubs.line]\nconnection_string_file = 'line.txt'\n");
        let resolve = |hub: Option<&str>, environment: Option<&str>| {
            let choice = TargetChoice {
                hub: hub.map(str::to_owned),
                connection_string: environment.map(|text| Zeroizing::new(text.to_owned())),
                ..TargetChoice::default()
            };
            Target::resolve(choice, folder.path()).unwrap_err().to_string()
        };
        assert_eq!(resolve(Some("lime"), None), "`provisioner.toml` has no hub `lime`; it has `line`");
        assert!(resolve(Some("line"), None).contains("line.txt"));
        let error = resolve(None, Some("HostName=h;SharedAccessKey=hunter2"));
        assert!(error.contains("IOTHUB_CONNECTION_STRING") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn the_size_of_a_hub_stands_in_the_file_and_the_command_line_wins() {
        let folder =
            folder_with_config("[hubs.line]\nconnection_string_file = 'line.txt'\ntier = 's2'\nunits = 3\n");
        std::fs::write(folder.path().join("line.txt"), ACCESS).unwrap();
        let size = |size| {
            let choice = TargetChoice { hub: Some("line".into()), size, ..TargetChoice::default() };
            Target::resolve(choice, folder.path()).unwrap().size().unwrap()
        };
        let [one, three] = [1, 3].map(|units| NonZeroU32::new(units).unwrap());
        assert_eq!(size(None), HubSize { tier: Tier::S2, units: three });
        let asked = HubSize { tier: Tier::S3, units: one };
        assert_eq!(size(Some(asked)), asked);
    }
}
