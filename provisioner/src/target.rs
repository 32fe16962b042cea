//! The hub to work on, and the connection to it.
//!
//! In this order: `--local`, `--hub NAME` from `provisioner.toml`, `--host HOST` with Entra ID, the
//! connection string of `IOTHUB_CONNECTION_STRING`, and where nothing at all is configured the embedded local
//! hub. An empty variable and a `provisioner.toml` that lists hubs are configuration: then a hub must be named.

use std::path::{Path, PathBuf};
use std::time::Duration;

use batch_file::ReadOptions;
use hub_types::connection_string::{HubHost, ServiceConnectionString};
use hub_types::shown::ShownPath;
use tokio::net::lookup_host;
use zeroize::Zeroizing;

use crate::hub::{Access, EntraAccess, EntraEnvironment, HubSize, SignIn};
use crate::model::observer::RunObserver;
use crate::model::secret_file::note_if_exposed;
use crate::model::service::ServiceKind;
use config::{CONFIG_FILE, ConfigFile, ConfiguredAccess, ConfiguredHub};
pub(crate) use dps::{
    DpsChoice, DpsTarget, OpenDps, OpenService, ServiceChoice, ServiceTarget, find_dps, with_dps,
};
pub(crate) use error::TargetError;
pub(crate) use known_hubs::{HubSources, KnownHubs};
pub(crate) use open_hub::{OpenHub, with_hub};

mod config;
mod dps;
mod error;
mod known_hubs;
mod open_hub;

/// The command line's and the environment's settings for the hub.
#[derive(Debug, Default)]
pub(crate) struct TargetChoice {
    /// A hub of the configuration file.
    pub(crate) hub: Option<String>,
    /// The embedded hub, with its data in this folder.
    pub(crate) local: Option<PathBuf>,
    /// A hub that is called with Entra ID.
    pub(crate) host: Option<HubHost>,
    /// The sign-in method for Entra ID there.
    pub(crate) sign_in: SignIn,
    /// The environment's settings for signing in.
    pub(crate) entra: EntraEnvironment,
    /// The value of `IOTHUB_CONNECTION_STRING`, which may be empty: a secret.
    pub(crate) connection_string: Option<Zeroizing<String>>,
    /// The host that devices connect to, if it differs from that of services.
    pub(crate) device_host: Option<HubHost>,
    /// PEM files with roots to trust besides the system's.
    pub(crate) ca_files: Vec<PathBuf>,
    /// The size of the hub, if it is known.
    pub(crate) size: Option<HubSize>,
}

/// The hub to work on.
#[derive(Debug)]
pub(crate) enum Target {
    /// A hub in this process, with its data in this folder.
    Embedded {
        /// The folder.
        data: PathBuf,
    },
    /// A hub elsewhere.
    Remote {
        /// The right to call it.
        access: Access,
        /// The host that devices connect to, if it differs from that of services.
        device_host: Option<HubHost>,
        /// PEM files with roots to trust besides the system's.
        ca_files: Vec<PathBuf>,
        /// The size of the hub, if it is known.
        size: Option<HubSize>,
        /// True if the host leads to this machine.
        is_on_this_machine: bool,
        /// The file with the connection string, if it is in a file.
        secret_file: Option<PathBuf>,
    },
}

/// The name of a hub or a DPS for results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HubLabel {
    /// The name that ledgers know the service by.
    pub(crate) name: String,
    /// True for a service for tests.
    pub(crate) is_test_hub: bool,
}

impl Target {
    /// Decides which hub to work on, and finds out whether it is on this machine. `folder` is searched
    /// for the configuration file.
    pub(crate) async fn resolve(choice: TargetChoice, folder: &Path) -> Result<Self, TargetError> {
        let mut target = Self::choose(choice, folder)?;
        if let Self::Remote { access, is_on_this_machine, .. } = &mut target
            && !*is_on_this_machine
        {
            *is_on_this_machine = resolves_to_this_machine(access.host()).await;
        }
        Ok(target)
    }

    fn choose(choice: TargetChoice, folder: &Path) -> Result<Self, TargetError> {
        if let Some(data) = choice.local {
            return Ok(Self::Embedded { data });
        }
        if let Some(name) = &choice.hub {
            let file = ConfigFile::read(folder)?.ok_or_else(|| TargetError::NoConfigFile {
                service: ServiceKind::Hub,
                name: name.clone(),
                path: folder.join(CONFIG_FILE),
            })?;
            let hub = file.hub(name)?.clone();
            return Self::configured(hub, choice);
        }
        let access = match (choice.host, &choice.connection_string) {
            (Some(host), _) => entra_access(ServiceKind::Hub, host, choice.sign_in, choice.entra)?,
            (None, Some(text)) if text.trim().is_empty() => return Err(TargetError::EmptyVariable),
            (None, Some(text)) => parse_access(ServiceKind::Hub, text, "IOTHUB_CONNECTION_STRING")?,
            (None, None) => return Self::unconfigured(folder),
        };
        let TargetChoice { device_host, ca_files, size, .. } = choice;
        Ok(Self::remote(access, device_host, ca_files, size, None))
    }

    /// The embedded hub, unless the configuration file lists hubs: then one of those is probably
    /// intended.
    fn unconfigured(folder: &Path) -> Result<Self, TargetError> {
        match ConfigFile::read(folder)? {
            Some(file) if !file.names().is_empty() => {
                Err(TargetError::NotNamed { path: file.path().to_owned(), hubs: file.names() })
            }
            _ => Ok(Self::Embedded { data: DEFAULT_LOCAL_DATA.into() }),
        }
    }

    fn configured(hub: ConfiguredHub, choice: TargetChoice) -> Result<Self, TargetError> {
        let (access, secret_file) = match hub.access {
            ConfiguredAccess::ConnectionString(file) => (read_access(ServiceKind::Hub, &file)?, Some(file)),
            ConfiguredAccess::Entra(host, sign_in) => {
                (entra_access(ServiceKind::Hub, host, sign_in, choice.entra)?, None)
            }
        };
        let device_host = choice.device_host.or(hub.device_host);
        let ca_files = choice.ca_files.into_iter().chain(hub.ca_file).collect();
        Ok(Self::remote(access, device_host, ca_files, choice.size.or(hub.size), secret_file))
    }

    /// A hub elsewhere, which is on this machine if its host says so.
    fn remote(
        access: Access,
        device_host: Option<HubHost>,
        ca_files: Vec<PathBuf>,
        size: Option<HubSize>,
        secret_file: Option<PathBuf>,
    ) -> Self {
        let is_on_this_machine = access.host().is_loopback();
        Self::Remote { access, device_host, ca_files, size, is_on_this_machine, secret_file }
    }

    /// Returns true for the embedded hub.
    pub(crate) fn is_embedded(&self) -> bool {
        matches!(self, Self::Embedded { .. })
    }

    /// Returns true for a hub for tests: the embedded one, or one that runs on this machine.
    pub(crate) fn is_test_hub(&self) -> bool {
        match self {
            Self::Embedded { .. } => true,
            Self::Remote { is_on_this_machine, .. } => *is_on_this_machine,
        }
    }

    /// Tells an observer the hub, and the file with its connection string if others can read it.
    pub(crate) fn announce(&self, observer: &dyn RunObserver) {
        observer.service(ServiceKind::Hub, self, self.is_test_hub());
        if let Self::Remote { secret_file: Some(path), .. } = self {
            note_if_exposed(path, observer);
        }
    }

    /// The size of the hub, if it is known.
    #[cfg(test)]
    pub(crate) fn size(&self) -> Option<HubSize> {
        match self {
            Self::Embedded { .. } => None,
            Self::Remote { size, .. } => *size,
        }
    }

    /// The name of the hub for ledgers and results.
    pub(crate) fn label(&self) -> HubLabel {
        HubLabel { name: self.name(), is_test_hub: self.is_test_hub() }
    }

    /// The name of the hub in ledgers: its host, or the folder of a local hub, whose port changes
    /// each time.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Embedded { data } => {
                std::path::absolute(data).as_ref().unwrap_or(data).to_string_lossy().into_owned()
            }
            Self::Remote { access, .. } => access.host().to_string(),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Embedded { data } => {
                write!(f, "the embedded local hub, with its data in {}", ShownPath(data))
            }
            Self::Remote { access, device_host: Some(devices), .. } => {
                write!(f, "{access}, with devices at {devices}")
            }
            Self::Remote { access, .. } => access.fmt(f),
        }
    }
}

/// Returns true if the host leads to loopback addresses only, as a name in `/etc/hosts` may. A name
/// that does not resolve leads nowhere: the first call reports it.
async fn resolves_to_this_machine(host: &HubHost) -> bool {
    match tokio::time::timeout(NAME_TIMEOUT, lookup_host((host.name(), 0))).await {
        Ok(Ok(addresses)) => {
            let mut addresses = addresses.peekable();
            addresses.peek().is_some() && addresses.all(|address| address.ip().to_canonical().is_loopback())
        }
        Ok(Err(_)) | Err(_) => false,
    }
}

const NAME_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the connection string that a file holds.
/// Reads the connection string of a service from a file.
fn read_access(service: ServiceKind, path: &Path) -> Result<Access, TargetError> {
    let text = cli_support::text::read(path).map_err(|source| TargetError::ConnectionStringFile {
        service,
        path: path.to_owned(),
        source,
    })?;
    let content = text.trim_start();
    match content.chars().next() {
        None => Err(TargetError::EmptyFile { service, path: path.to_owned() }),
        Some('{' | '[' | '"') => {
            let before = text.len() - content.len();
            let line = text.bytes().take(before).filter(|byte| *byte == b'\n').count() + 1;
            Err(TargetError::JsonFile { service, path: path.to_owned(), line })
        }
        Some(_) => parse_access(service, &text, &format!("`{}`", ShownPath(path))),
    }
}

/// Parses the connection string of a service.
fn parse_access(service: ServiceKind, text: &str, place: &str) -> Result<Access, TargetError> {
    let access = text.parse::<ServiceConnectionString>();
    let access = access.map(Access::SharedKey);
    let access =
        access.map_err(|source| TargetError::ConnectionString { place: place.to_owned(), source })?;
    check_kind(service, access)
}

/// The right to call a service with Entra ID.
fn entra_access(
    service: ServiceKind,
    host: HubHost,
    sign_in: SignIn,
    environment: EntraEnvironment,
) -> Result<Access, TargetError> {
    check_kind(service, Access::Entra(EntraAccess::new(service, host, sign_in, environment)))
}

/// Refuses the address of a service of the other kind, where its name shows that.
fn check_kind(service: ServiceKind, access: Access) -> Result<Access, TargetError> {
    match ServiceKind::of_azure_host(access.host().name()) {
        Some(found) if found != service => {
            Err(TargetError::OtherKind { service, host: access.host().name().to_owned(), found })
        }
        _ => Ok(access),
    }
}

/// The options for reading a batch in this folder's configuration file: those under `[batch]`.
pub(crate) fn configured_reading(folder: &Path) -> Result<ReadOptions, TargetError> {
    Ok(ConfigFile::read(folder)?.map(|file| file.reading).unwrap_or_default())
}

const DEFAULT_LOCAL_DATA: &str = ".local-hub";

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use hub_types::limits::Tier;

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
        let resolve =
            |local: Option<&str>, hub: Option<&str>, host: Option<&str>, environment: Option<&str>| {
                let choice = TargetChoice {
                    hub: hub.map(str::to_owned),
                    local: local.map(PathBuf::from),
                    host: host.map(|host| host.parse().unwrap()),
                    connection_string: environment.map(|text| Zeroizing::new(text.to_owned())),
                    ..TargetChoice::default()
                };
                Target::choose(choice, folder.path()).unwrap().to_string()
            };
        assert_eq!(
            resolve(Some("x"), Some("line"), Some("e.example"), Some(ACCESS)),
            "the embedded local hub, with its data in x"
        );
        let resolve = |hub, host, environment| resolve(None, hub, host, environment);
        assert_eq!(resolve(Some("line"), Some("e.example"), Some(ACCESS)), "line.example as `iothubowner`");
        assert_eq!(resolve(None, Some("e.example"), Some(ACCESS)), "e.example with Entra ID");
        assert_eq!(resolve(None, None, Some(ACCESS)), "h.example as `iothubowner`");
    }

    #[test]
    fn the_embedded_hub_is_taken_only_where_nothing_is_configured() {
        let resolve = |config: Option<&str>, environment: Option<&str>| {
            let folder = folder_with_config(config.unwrap_or_default());
            if config.is_none() {
                std::fs::remove_file(folder.path().join(CONFIG_FILE)).unwrap();
            }
            let connection_string = environment.map(|text| Zeroizing::new(text.to_owned()));
            let choice = TargetChoice { connection_string, ..TargetChoice::default() };
            Target::choose(choice, folder.path()).map(|target| (target.to_string(), target.is_test_hub()))
        };
        let embedded = ("the embedded local hub, with its data in .local-hub".to_owned(), true);
        assert_eq!(resolve(None, None).unwrap(), embedded);
        assert_eq!(resolve(Some(""), None).unwrap(), embedded);
        for empty in ["", " ", "\n"] {
            assert!(matches!(resolve(None, Some(empty)), Err(TargetError::EmptyVariable)), "{empty:?}");
        }
        let error = resolve(Some("[hubs.b]\nhost = 'h'\n[hubs.a]\nhost = 'h'\n"), None).unwrap_err();
        assert!(error.to_string().ends_with("lists `a`, `b`, and none was named"), "{error}");
        assert!(matches!(resolve(Some("[hub.a]\n"), None), Err(TargetError::Config(_))));
        assert!(!resolve(Some("[hubs.a]\nhost = 'h'\n"), Some(ACCESS)).unwrap().1);
        let local = ACCESS.replace("h.example", "localhost:8443");
        assert!(resolve(None, Some(&local)).unwrap().1);
    }

    #[tokio::test]
    async fn a_hub_whose_host_resolves_to_this_machine_is_a_test_hub() {
        let folder = tempfile::tempdir().unwrap();
        for (host, is_test_hub) in
            [("localhost", true), ("127.1:8443", true), ("192.0.2.1", false), ("no-such-host.invalid", false)]
        {
            let connection_string = Some(Zeroizing::new(ACCESS.replace("h.example", host)));
            let choice = TargetChoice { connection_string, ..TargetChoice::default() };
            let target = Target::resolve(choice, folder.path()).await.unwrap();
            assert_eq!(target.label(), HubLabel { name: host.to_owned(), is_test_hub });
        }
    }

    #[test]
    fn a_file_that_holds_no_connection_string_says_what_it_holds() {
        let folder = folder_with_config("[hubs.line]\nconnection_string_file = 'line.txt'\n");
        let resolve = |content: &str| {
            std::fs::write(folder.path().join("line.txt"), content).unwrap();
            let choice = TargetChoice { hub: Some("line".into()), ..TargetChoice::default() };
            Target::choose(choice, folder.path()).unwrap_err()
        };
        assert!(matches!(resolve(" \n"), TargetError::EmptyFile { .. }));
        assert!(matches!(resolve("{\"connectionString\": \"x\"}"), TargetError::JsonFile { line: 1, .. }));
        let error = resolve("\n\u{FEFF}\"HostName=h\"".trim_start_matches('\n'));
        assert!(error.to_string().contains("line.txt`, line 1: this is a JSON document"), "{error}");
        assert!(matches!(resolve("\n\n[]"), TargetError::JsonFile { line: 3, .. }));
        assert!(matches!(resolve("hello"), TargetError::ConnectionString { .. }));
    }

    #[test]
    fn devices_connect_to_the_device_host() {
        let config = "[hubs.line]\nconnection_string_file = 'line.txt'\ndevice_host = 'devices.example'\n";
        let folder = folder_with_config(config);
        std::fs::write(folder.path().join("line.txt"), ACCESS).unwrap();
        let shown = |device_host: Option<&str>| {
            let device_host = device_host.map(|host| host.parse().unwrap());
            let choice = TargetChoice { hub: Some("line".into()), device_host, ..TargetChoice::default() };
            Target::choose(choice, folder.path()).unwrap().to_string()
        };
        assert_eq!(shown(None), "h.example as `iothubowner`, with devices at devices.example");
        assert_eq!(shown(Some("d.example")), "h.example as `iothubowner`, with devices at d.example");
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
            Target::choose(choice, folder.path()).unwrap_err().to_string()
        };
        assert!(resolve(Some("line"), None).contains("line.txt"));
        let error = resolve(None, Some("HostName=h;SharedAccessKey=hunter2"));
        assert!(error.contains("IOTHUB_CONNECTION_STRING") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn the_size_on_the_command_line_wins() {
        let folder = folder_with_config("[hubs.line]\nconnection_string_file = 'line.txt'\ntier = 'S2'\n");
        std::fs::write(folder.path().join("line.txt"), ACCESS).unwrap();
        let size = |size| {
            let choice = TargetChoice { hub: Some("line".into()), size, ..TargetChoice::default() };
            Target::choose(choice, folder.path()).unwrap().size().unwrap().tier
        };
        assert_eq!(size(None), Tier::S2);
        assert_eq!(size(Some(HubSize { tier: Tier::S3, units: NonZeroU32::MIN })), Tier::S3);
    }
}
