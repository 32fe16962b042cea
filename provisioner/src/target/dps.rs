//! The DPS to work on: `--dps NAME` from `provisioner.toml`, or `--dps` alone with the connection string of
//! `IOTDPS_CONNECTION_STRING` or, with `--host`, with Entra ID.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hub_types::connection_string::HubHost;
use zeroize::Zeroizing;

use super::config::{CONFIG_FILE, ConfigFile, ConfiguredAccess, ConfiguredDps};
use super::open_hub::read_ca_file;
use super::{HubLabel, OpenHub, Target, TargetChoice, TargetError};
use super::{parse_access, read_access, resolves_to_this_machine};
use crate::dps::DpsClient;
use crate::hub::{Access, EntraAccess, EntraEnvironment, HubClientOptions, HubError, ServiceClient, SignIn};
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
}

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
        let DpsChoice { name, host, sign_in, entra, connection_string, mut ca_files } = choice;
        let (access, secret_file) = match (name, host, connection_string) {
            (Some(name), ..) => {
                let dps = configured(&name, folder)?;
                ca_files.extend(dps.ca_file);
                match dps.access {
                    ConfiguredAccess::ConnectionString(file) => (read_access(&file)?, Some(file)),
                    ConfiguredAccess::Entra(host, sign_in) => {
                        (Access::Entra(EntraAccess::new(ServiceKind::Dps, host, sign_in, entra)), None)
                    }
                }
            }
            (None, Some(host), _) => {
                (Access::Entra(EntraAccess::new(ServiceKind::Dps, host, sign_in, entra)), None)
            }
            (None, None, Some(text)) if !text.trim().is_empty() => {
                (parse_access(&text, "IOTDPS_CONNECTION_STRING")?, None)
            }
            (None, None, _) => return Err(TargetError::NoDps),
        };
        Ok(Self { access, ca_files, is_on_this_machine: false, secret_file })
    }

    /// Tells an observer the DPS, and the file with its connection string if others can read it.
    pub(crate) fn announce(&self, observer: &dyn RunObserver) {
        observer.service(ServiceKind::Dps, self, self.is_on_this_machine);
        if let Some(path) = &self.secret_file {
            note_if_exposed(path, observer);
        }
    }

    /// Prepares the DPS for calls. Nothing is sent. `status` is told about waits and outages.
    pub(crate) fn open(self, status: StatusListener) -> Result<OpenDps, TargetError> {
        let label = HubLabel { name: self.access.host().to_string(), is_test_hub: self.is_on_this_machine };
        let extra_roots = self.ca_files.iter().map(|path| read_ca_file(path)).collect::<Result<_, _>>()?;
        let trust = HubClientOptions { extra_roots, is_local: false, status };
        let client = DpsClient::new(self.access, &trust);
        Ok(OpenDps { client: Arc::new(client.map_err(TargetError::Client)?), label })
    }
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
