//! The DPS to work on: `--dps NAME` from `provisioner.toml`, or `--dps` alone with the connection string of
//! `IOTDPS_CONNECTION_STRING` or, with `--host`, with Entra ID.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hub_types::connection_string::HubHost;
use hub_types::dps::IdScope;
use zeroize::Zeroizing;

use super::config::{CONFIG_FILE, ConfigFile, ConfiguredAccess, ConfiguredDps};
use super::open_hub::read_ca_file;
use super::{HubLabel, HubSources, KnownHubs, OpenHub, Target, TargetChoice, TargetError};
use super::{entra_access, parse_access, read_access, resolves_to_this_machine};
use crate::device::{ConnectError, DeviceHub, DeviceHubAddress};
use crate::dps::DpsClient;
use crate::hub::{Access, EntraEnvironment, HubClientOptions, HubError, ServiceClient, SignIn};
use crate::model::observer::RunObserver;
use crate::model::secret_file::note_if_exposed;
use crate::model::service::ServiceKind;
use crate::model::service_status::StatusListener;

/// The settings of the command line and the environment for the DPS.
#[derive(Debug, Default)]
pub(crate) struct DpsChoice {
    /// A DPS of the configuration file.
    pub(crate) name: Option<String>,
    /// A DPS that is called with Entra ID.
    pub(crate) host: Option<HubHost>,
    /// The sign-in method for Entra ID there.
    pub(crate) sign_in: SignIn,
    /// The environment's settings for signing in.
    pub(crate) entra: EntraEnvironment,
    /// The value of `IOTDPS_CONNECTION_STRING`, which may be empty: a secret.
    pub(crate) connection_string: Option<Zeroizing<String>>,
    /// The value of `IOTHUB_CONNECTION_STRING`, for a hub that devices are assigned to: a secret.
    pub(crate) hub_connection_string: Option<Zeroizing<String>>,
    /// The host that devices register at, if it is not the usual one.
    pub(crate) device_host: Option<HubHost>,
    /// The id scope, by which devices name the DPS.
    pub(crate) id_scope: Option<IdScope>,
    /// PEM files with roots to trust besides the system's.
    pub(crate) ca_files: Vec<PathBuf>,
}

/// The settings for the service of a run.
#[derive(Debug)]
pub(crate) enum ServiceChoice {
    /// A DPS.
    Dps(DpsChoice),
    /// A hub.
    Hub(TargetChoice),
}

/// The DPS to work on.
#[derive(Debug)]
pub(crate) struct DpsTarget {
    access: Access,
    ca_files: Vec<PathBuf>,
    /// True if the host leads to this machine: then it is a DPS for tests.
    is_on_this_machine: bool,
    /// The file with the connection string, if it is in a file.
    secret_file: Option<PathBuf>,
    /// The access to the hubs that devices are assigned to.
    hubs: HubSources,
    device_host: Option<HubHost>,
    id_scope: Option<IdScope>,
}

/// The service to work on.
#[derive(Debug)]
pub(crate) enum ServiceTarget {
    /// A DPS.
    Dps(DpsTarget),
    /// A hub.
    Hub(Target),
}

/// A DPS that can be called.
pub(crate) struct OpenDps {
    /// The client.
    pub(crate) client: Arc<DpsClient>,
    /// The name of the DPS for ledgers and results.
    pub(crate) label: HubLabel,
    /// The hubs that devices are assigned to.
    pub(crate) hubs: Arc<KnownHubs>,
    /// The host that devices register at, if it is not the usual one.
    device_host: Option<HubHost>,
    /// The id scope, by which devices name the DPS.
    pub(crate) id_scope: Option<IdScope>,
    /// The trust settings for the certificates of the DPS and its hubs.
    pub(crate) trust: HubClientOptions,
}

impl OpenDps {
    /// The address at which devices register: the standard port of the host for devices, or a different host
    /// and port.
    pub(crate) fn for_devices(&self, elsewhere: Option<(String, u16)>) -> Result<DeviceHub, ConnectError> {
        let host = self.device_host.as_ref().map_or_else(|| self.client.host(), HubHost::as_str);
        // Devices of all DPSs of Azure's public cloud register at one host.
        let host = if host.ends_with(AZURE_DPS) { GLOBAL_DPS } else { host };
        let address = DeviceHubAddress::of(host);
        let address = match elsewhere {
            Some((host, port)) => address.at(host, port),
            None => address,
        };
        DeviceHub::new(address, &self.trust, None)
    }
}

const AZURE_DPS: &str = ".azure-devices-provisioning.net";
const GLOBAL_DPS: &str = "global.azure-devices-provisioning.net";

/// A service that can be called. Keep it as long as it is called.
pub(crate) enum OpenService {
    /// A DPS.
    Dps(OpenDps),
    /// A hub.
    Hub(Box<OpenHub>),
}

impl DpsTarget {
    /// Decides which DPS to work on, and finds out whether it is on this machine. `folder` is searched
    /// for the configuration file.
    pub(crate) async fn resolve(choice: DpsChoice, folder: &Path) -> Result<Self, TargetError> {
        let mut target = Self::choose(choice, folder)?;
        let host = target.access.host();
        target.is_on_this_machine = host.is_loopback() || resolves_to_this_machine(host).await;
        Ok(target)
    }

    fn choose(choice: DpsChoice, folder: &Path) -> Result<Self, TargetError> {
        let DpsChoice { name, host, sign_in, entra, connection_string, .. } = choice;
        let DpsChoice { hub_connection_string, mut device_host, mut id_scope, mut ca_files, .. } = choice;
        let environment = entra.clone();
        let (access, secret_file) = match (name, host, connection_string) {
            (Some(name), ..) => {
                let dps = configured(&name, folder)?;
                ca_files.extend(dps.ca_file);
                device_host = device_host.or(dps.device_host);
                id_scope = id_scope.or(dps.id_scope);
                match dps.access {
                    ConfiguredAccess::ConnectionString(file) => {
                        (read_access(ServiceKind::Dps, &file)?, Some(file))
                    }
                    ConfiguredAccess::Entra(host, sign_in) => {
                        (entra_access(ServiceKind::Dps, host, sign_in, entra)?, None)
                    }
                }
            }
            (None, Some(host), _) => (entra_access(ServiceKind::Dps, host, sign_in, entra)?, None),
            (None, None, Some(text)) if !text.trim().is_empty() => {
                (parse_access(ServiceKind::Dps, &text, "IOTDPS_CONNECTION_STRING")?, None)
            }
            (None, None, _) => return Err(TargetError::NoDps),
        };
        let sign_in = match &access {
            Access::Entra(access) => Some(access.sign_in()),
            Access::SharedKey(_) => None,
        };
        let hubs = HubSources::new(folder, hub_connection_string, sign_in, environment)?;
        let is_on_this_machine = false;
        Ok(Self { access, ca_files, is_on_this_machine, secret_file, hubs, device_host, id_scope })
    }

    /// Tells an observer the DPS, and the file with its connection string if others can read it.
    pub(crate) fn announce(&self, observer: &dyn RunObserver) {
        observer.service(ServiceKind::Dps, self, self.is_on_this_machine);
        if let Some(path) = &self.secret_file {
            note_if_exposed(path, observer);
        }
    }

    /// Tells an observer of the DPS beside the hub of the work.
    pub(crate) fn announce_beside_hub(&self, observer: &dyn RunObserver) {
        observer.note(&format_args!("{}: {self}", ServiceKind::Dps));
        if let Some(path) = &self.secret_file {
            note_if_exposed(path, observer);
        }
    }

    /// Prepares the DPS for calls. Nothing is sent. `status` is told about waits and outages.
    pub(crate) fn open(self, status: StatusListener) -> Result<OpenDps, TargetError> {
        let label = HubLabel { name: self.access.host().to_string(), is_test_hub: self.is_on_this_machine };
        let extra_roots = self.ca_files.iter().map(|path| read_ca_file(path)).collect::<Result<_, _>>()?;
        let trust = HubClientOptions { extra_roots, is_local: false, status };
        let client = DpsClient::new(self.access, &trust).map_err(TargetError::Client)?;
        let hubs = Arc::new(KnownHubs::new(self.hubs, trust.clone()));
        let (client, id_scope) = (Arc::new(client), self.id_scope);
        Ok(OpenDps { client, label, hubs, device_host: self.device_host, id_scope, trust })
    }
}

/// Opens a DPS for a few calls, and calls `work` with it. The calls are given up after `patience`, if the DPS
/// does not answer or takes no more calls.
pub(crate) async fn with_dps<T, E: From<TargetError>>(
    choice: DpsChoice,
    patience: Duration,
    observer: &dyn RunObserver,
    work: impl AsyncFnOnce(&OpenDps) -> Result<T, E>,
) -> Result<T, E> {
    let target = DpsTarget::resolve(choice, ".".as_ref()).await?;
    target.announce(observer);
    let dps = target.open(observer.status_listener())?;
    dps.client.rate_limiter().be_brief(patience);
    work(&dps).await
}

/// The DPS of this name in the configuration file of a folder.
fn configured(name: &str, folder: &Path) -> Result<ConfiguredDps, TargetError> {
    let file = ConfigFile::read(folder)?.ok_or_else(|| TargetError::NoConfigFile {
        service: ServiceKind::Dps,
        name: name.to_owned(),
        path: folder.join(CONFIG_FILE),
    })?;
    Ok(file.dps(name)?.clone())
}

/// Makes sure that the configuration file of a folder has a DPS of this name.
pub(crate) fn find_dps(name: &str, folder: &Path) -> Result<(), TargetError> {
    configured(name, folder).map(drop)
}

impl fmt::Display for DpsTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.access.fmt(f)
    }
}

impl ServiceTarget {
    /// Decides which service to work on.
    pub(crate) async fn resolve(choice: ServiceChoice, folder: &Path) -> Result<Self, TargetError> {
        Ok(match choice {
            ServiceChoice::Dps(choice) => Self::Dps(DpsTarget::resolve(choice, folder).await?),
            ServiceChoice::Hub(choice) => Self::Hub(Target::resolve(choice, folder).await?),
        })
    }

    /// The kind of the service.
    pub(crate) fn kind(&self) -> ServiceKind {
        match self {
            Self::Dps(_) => ServiceKind::Dps,
            Self::Hub(_) => ServiceKind::Hub,
        }
    }

    /// Returns true for the embedded hub, for which a test CA is made.
    pub(crate) fn is_embedded(&self) -> bool {
        matches!(self, Self::Hub(hub) if hub.is_embedded())
    }

    /// Prepares the service for calls. `status` is told about waits and outages.
    pub(crate) async fn open(self, status: StatusListener) -> Result<OpenService, TargetError> {
        Ok(match self {
            Self::Dps(target) => OpenService::Dps(target.open(status)?),
            Self::Hub(target) => OpenService::Hub(Box::new(target.open(status).await?)),
        })
    }

    /// Tells an observer the service, and the file with its connection string if others can read it.
    pub(crate) fn announce(&self, observer: &dyn RunObserver) {
        match self {
            Self::Dps(target) => target.announce(observer),
            Self::Hub(target) => target.announce(observer),
        }
    }

    /// The name of the service for ledgers and results.
    pub(crate) fn label(&self) -> HubLabel {
        match self {
            Self::Dps(target) => {
                HubLabel { name: target.access.host().to_string(), is_test_hub: target.is_on_this_machine }
            }
            Self::Hub(target) => target.label(),
        }
    }
}

impl OpenService {
    /// The kind of the service.
    pub(crate) fn kind(&self) -> ServiceKind {
        match self {
            Self::Dps(_) => ServiceKind::Dps,
            Self::Hub(_) => ServiceKind::Hub,
        }
    }

    /// The name of the service for ledgers and results.
    pub(crate) fn label(&self) -> &HubLabel {
        match self {
            Self::Dps(dps) => &dps.label,
            Self::Hub(hub) => &hub.label,
        }
    }

    /// The client of the service.
    pub(crate) fn client(&self) -> Arc<ServiceClient> {
        match self {
            Self::Dps(dps) => dps.client.service_client(),
            Self::Hub(hub) => hub.client.service_client(),
        }
    }

    /// Makes one cheap call, which tells whether the service can be reached and lets this caller in. A hub
    /// answers how many devices it has.
    pub(crate) async fn probe(&self) -> Result<Option<u64>, HubError> {
        match self {
            Self::Dps(dps) => dps.client.probe().await.map(|()| None),
            Self::Hub(hub) => hub.client.probe().await.map(Some),
        }
    }

    /// Lets go of the service.
    pub(crate) async fn close(self) {
        match self {
            Self::Dps(_) => {}
            Self::Hub(hub) => hub.close().await,
        }
    }
}
