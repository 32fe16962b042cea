//! [`KnownHubs`]: the hubs that a DPS assigns devices to, as far as they can be called from here.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cli_support::causes::with_causes;
use hub_types::connection_string::HubHost;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::config::{ConfigFile, ConfiguredAccess, ConfiguredHub};
use super::open_hub::read_ca_file;
use super::{TargetError, entra_access, parse_access, read_access};
use crate::dps::AssignedHubs;
use crate::hub::{Access, EntraEnvironment, HubClient, HubClientOptions, SignIn};
use crate::model::service::ServiceKind;

/// The sources of access to hubs, beside that of the DPS.
#[derive(Clone, Default)]
pub(crate) struct HubSources {
    /// The hubs of the configuration file.
    configured: Vec<ConfiguredHub>,
    /// The value of `IOTHUB_CONNECTION_STRING`: a secret.
    connection_string: Option<Zeroizing<String>>,
    /// The sign-in method of a DPS that is called with Entra ID, which holds for its hubs too.
    sign_in: Option<SignIn>,
    /// The environment's settings for signing in.
    environment: EntraEnvironment,
}

impl fmt::Debug for HubSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubSources").field("configured", &self.configured).finish_non_exhaustive()
    }
}

impl HubSources {
    /// The sources of the configuration file in a folder, and of the environment.
    pub(super) fn new(
        folder: &Path,
        connection_string: Option<Zeroizing<String>>,
        sign_in: Option<SignIn>,
        environment: EntraEnvironment,
    ) -> Result<Self, TargetError> {
        let configured = ConfigFile::read(folder)?.map(|file| file.all_hubs()).unwrap_or_default();
        let connection_string = connection_string.filter(|text| !text.trim().is_empty());
        Ok(Self { configured, connection_string, sign_in, environment })
    }
}

/// The hubs that can be called, by the names that a DPS assigns.
pub(crate) struct KnownHubs {
    sources: HubSources,
    trust: HubClientOptions,
    limits: Mutex<Limits>,
    /// Clients by the name of the hub in lower case, or the reasons why there are none.
    clients: Mutex<HashMap<String, Result<Arc<HubClient>, String>>>,
}

/// The end of patience of new clients.
#[derive(Debug, Clone, Default)]
struct Limits {
    patience: Option<Duration>,
    stop: Option<CancellationToken>,
}

impl KnownHubs {
    /// The hubs of these sources, trusted as the DPS is. Nothing is read or sent yet.
    pub(super) fn new(sources: HubSources, trust: HubClientOptions) -> Self {
        Self { sources, trust, limits: Mutex::default(), clients: Mutex::default() }
    }

    /// Gives hubs up that do not answer for so long, and all of them on a request to stop.
    pub(crate) fn limit(&self, patience: Duration, stop: CancellationToken) {
        let limits = Limits { patience: Some(patience), stop: Some(stop) };
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    fn open(&self, name: &str) -> Result<Arc<HubClient>, String> {
        let (access, trust) = self.access(name)?;
        let client = HubClient::new(access, &trust).map_err(|error| with_causes(&error))?;
        let limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(patience) = limits.patience {
            client.rate_limiter().set_patience(patience);
        }
        if let Some(stop) = limits.stop {
            client.rate_limiter().stop_with(stop);
        }
        Ok(Arc::new(client))
    }

    /// The access to the hub of this name: that of the environment first, then the configuration file, then
    /// the sign-in of the DPS.
    fn access(&self, name: &str) -> Result<(Access, HubClientOptions), String> {
        let HubSources { configured, connection_string, sign_in, environment } = &self.sources;
        let is_it = |access: &Access| access.host().name().eq_ignore_ascii_case(name);
        if let Some(text) = connection_string
            && let Ok(access) = parse_access(ServiceKind::Hub, text, "IOTHUB_CONNECTION_STRING")
            && is_it(&access)
        {
            return Ok((access, self.trust.clone()));
        }
        let mut unusable = String::new();
        for hub in configured {
            match self.configured_access(hub) {
                Ok((access, trust)) if is_it(&access) => return Ok((access, trust)),
                Ok(_) => {}
                Err(reason) => unusable = format!("; {reason}"),
            }
        }
        match sign_in {
            // A token for hubs goes to nobody else.
            Some(sign_in) if ServiceKind::of_azure_host(name) == Some(ServiceKind::Hub) => {
                let host: HubHost = name.parse().map_err(|_| format!("`{name}` is no host name"))?;
                let access = entra_access(ServiceKind::Hub, host, *sign_in, environment.clone());
                Ok((access.map_err(|error| with_causes(&error))?, self.trust.clone()))
            }
            _ => Err(format!("no access to its hub `{name}` is configured{unusable}")),
        }
    }

    fn configured_access(&self, hub: &ConfiguredHub) -> Result<(Access, HubClientOptions), String> {
        let access = match &hub.access {
            ConfiguredAccess::ConnectionString(file) => read_access(ServiceKind::Hub, file),
            ConfiguredAccess::Entra(host, sign_in) => {
                let environment = self.sources.environment.clone();
                entra_access(ServiceKind::Hub, host.clone(), *sign_in, environment)
            }
        };
        let access = access.map_err(|error| with_causes(&error))?;
        let mut trust = self.trust.clone();
        if let Some(file) = &hub.ca_file {
            trust.extra_roots.push(read_ca_file(file).map_err(|error| with_causes(&error))?);
        }
        Ok((access, trust))
    }
}

impl AssignedHubs for KnownHubs {
    type Hub = HubClient;

    fn find(&self, name: &str) -> Result<Arc<HubClient>, String> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.entry(name.to_ascii_lowercase()).or_insert_with(|| self.open(name)).clone()
    }
}
