//! The start and the end of a hub in this process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use hub_types::connection_string::{HubHost, ServiceConnectionString};
use hub_types::limits::MAX_IDENTITIES_PER_HUB;
use tokio::task::spawn_blocking;

use self::config::{Config, Reach};
use self::listeners::{BoundAddresses, Listeners, NamedDps, Services, bind_if_set};
use self::scheduler::run_scheduler;
use crate::access::certificates::{Authority, DeviceCas};
use crate::access::policy::{OWNER, Policies};
use crate::backend::Backend;
use crate::blobs::Blobs;
use crate::clock::{Clock, MovableClock};
use crate::device_to_cloud::MessageLog;
use crate::dps::{DPS_OWNER, Dps, LocalDps, Registrar, StoredDps, VerifiedCas};
use crate::error::{Error, Result};
use crate::faults::{Faults, FaultsError};
use crate::hub::Hub;
use crate::job_runner;
use crate::management::{Management, operation_names};
use crate::request_log::RequestLog;
use crate::storage::data_folder::{DataFolder, POLICIES_FILE, unknown_policy};
use crate::storage::hub_tables::{HubStore, Stored};
use crate::throttle::Throttle;

pub(crate) mod config;
pub(crate) mod data_state;
mod listeners;
mod scheduler;

/// A running hub.
///
/// Dropping it stops it at once; [`LocalHub::shutdown`] lets requests finish first. In both cases
/// everything that was acknowledged is in the data folder, if there is one.
#[derive(Debug)]
pub struct LocalHub {
    hub: Arc<Hub>,
    listeners: Listeners,
    management: Option<Management>,
    host: HubHost,
    device_host: Option<HubHost>,
    dps: Option<LocalDps>,
    ca_pem: String,
    /// The locked data folder; it is unlocked when the hub is dropped.
    folder: Option<DataFolder>,
}

impl LocalHub {
    /// Starts a hub. It serves requests when this function returns.
    pub async fn start(config: Config) -> Result<Self> {
        check_reach(&config)?;
        config.faults.check_operations(&operation_names::names())?;
        let cas = DeviceCas::read(&config.device_cas)?;
        let log = config.request_log.as_deref().map(RequestLog::open).transpose()?.map(Arc::new);
        let verified_cas = VerifiedCas::read(config.dps.as_ref().map_or(&[], |dps| &dps.cas))?;
        let StateAtStart { folder, authority, policies, stored, store, dps } =
            StateAtStart::load(&config).await?;
        let bound = BoundAddresses::bind(&config).await?;
        let management = bind_if_set(config.management).await?;
        let tls = authority.server_config(&server_names(&config))?;
        check_names(&config)?;
        let host = host_name(&config, bound.https_addr())?;
        let device_host = device_host(&config)?;
        let dps_config = config.dps.clone();
        let hub = open_hub(config, device_host.as_ref(), policies, stored, store)?;
        job_runner::recover(&hub).await.map_err(|error| Error::Jobs(error.text))?;
        tokio::spawn(run_scheduler(Arc::downgrade(&hub)));
        let dps = match (dps, &dps_config) {
            (Some(state), Some(config)) => {
                let own_host = device_host.as_ref().unwrap_or(&host);
                let registrar =
                    Registrar::new(Arc::clone(&hub), own_host, &config.linked_hubs, verified_cas)?;
                let dps = Arc::new(Dps::new(Arc::clone(&hub), state, registrar));
                Some(LocalDps::new(dps, config, bound.dps_https_addr(), bound.dps_mqtt_addr())?)
            }
            _ => None,
        };
        let named_dps = dps
            .as_ref()
            .map(|local| NamedDps { dps: Arc::clone(local.dps()), name: local.host_name().to_owned() });
        let services = Services { hub: Arc::clone(&hub), cas, log, dps: named_dps };
        let served_dps = dps.as_ref().map(|local| Arc::clone(local.dps()));
        let local_hub = Self {
            listeners: bound.serve(services, tls),
            management: management.map(|(listener, address)| {
                Management::serve(listener, address, Arc::clone(&hub), served_dps)
            }),
            hub,
            host,
            device_host,
            dps,
            ca_pem: authority.certificate_pem().to_owned(),
            folder,
        };
        local_hub.write_credentials()?;
        Ok(local_hub)
    }

    /// Writes what clients need into the folder, if there is one.
    fn write_credentials(&self) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        folder.write_connection_string(&self.connection_string(OWNER)?)?;
        if let Some(dps) = &self.dps {
            folder.write_dps_connection_string(&dps.connection_string(DPS_OWNER)?)?;
        }
        match &self.management {
            Some(management) => folder.write_management_token(management.token().expose()),
            None => Ok(()),
        }
    }

    /// The DPS beside the hub, if there is one.
    pub fn dps(&self) -> Option<&LocalDps> {
        self.dps.as_ref()
    }

    /// The HTTPS address.
    pub fn https_addr(&self) -> SocketAddr {
        self.listeners.https_addr()
    }

    /// The MQTT address, if the hub listens for MQTT.
    pub fn mqtt_addr(&self) -> Option<SocketAddr> {
        self.listeners.mqtt_addr()
    }

    /// The address at which AMQP clients are told that the hub does not support it.
    pub fn amqp_addr(&self) -> Option<SocketAddr> {
        self.listeners.amqp_addr()
    }

    /// The number of messages that devices and modules have sent to the cloud.
    pub fn telemetry_count(&self) -> u64 {
        self.hub.telemetry_count()
    }

    /// The connection string of a policy: `iothubowner`, `service`, `device`, `registryRead` or
    /// `registryReadWrite`.
    pub fn connection_string(&self, policy: &str) -> Result<ServiceConnectionString> {
        let policies = self.hub.policies();
        let found = policies.find(policy).ok_or_else(|| unknown_policy(policies, policy))?;
        Ok(ServiceConnectionString {
            host: self.host.clone(),
            policy: found.name.clone(),
            key: found.primary_key().clone(),
        })
    }

    /// The name by which devices call the hub, if it has a separate one for them.
    pub fn device_host(&self) -> Option<&HubHost> {
        self.device_host.as_ref()
    }

    /// The certificate, in PEM, that clients must trust.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The management address, if the hub has one.
    pub fn management_addr(&self) -> Option<SocketAddr> {
        self.management.as_ref().map(Management::address)
    }

    /// The secret for requests to the management port, in `Authorization: Bearer …`.
    pub fn management_token(&self) -> Option<&str> {
        self.management.as_ref().map(|management| management.token().expose())
    }

    /// The devices, with their keys, and the configurations, in the form of `az iot hub state
    /// export`. Reported properties and the hub's counters are left out.
    pub fn export_state(&self) -> Result<Vec<u8>> {
        self.hub.export().map_err(|error| Error::State(error.text))
    }

    /// Imports such a document: its devices and configurations replace those with the same id or,
    /// with `replace`, all. Nothing is changed if a part of it is refused.
    pub async fn import_state(&self, document: &[u8], replace: bool) -> Result<()> {
        self.hub.import(document, replace).await.map_err(|error| Error::State(error.text))
    }

    /// The hub's clock, which can be moved.
    pub fn clock(&self) -> &MovableClock {
        self.hub.clock()
    }

    /// Replaces the faults; an empty list removes all. Refuses faults of unknown operations.
    ///
    /// Counts and time windows restart, and hanging requests end.
    pub fn set_faults(&self, faults: Faults) -> std::result::Result<(), FaultsError> {
        faults.check_operations(&operation_names::names())?;
        self.hub.set_faults(faults);
        Ok(())
    }

    /// The faults as they were set last.
    pub fn faults(&self) -> Faults {
        self.hub.faults().faults()
    }

    /// Makes the hub unreachable on the network, or reachable again: meanwhile connections are
    /// ended and new ones reset.
    pub fn set_offline(&self, offline: bool) {
        self.hub.faults().set_offline(offline);
    }

    /// Lets requests in progress finish, and returns when everything is durable.
    pub async fn shutdown(self) {
        // What hangs would be waited for.
        self.hub.set_faults(Faults::default());
        self.listeners.shutdown().await;
        let (hub, dps) = (self.hub, self.dps);
        let closed = spawn_blocking(move || {
            if let Some(dps) = dps {
                dps.dps().close();
            }
            hub.close();
        });
        if closed.await.is_err() {
            tracing::error!("closing the store failed");
        }
        drop(self.folder);
    }
}

/// The state of a hub before it listens.
struct StateAtStart {
    folder: Option<DataFolder>,
    authority: Authority,
    policies: Policies,
    stored: Stored,
    store: Option<HubStore>,
    dps: Option<StoredDps>,
}

impl StateAtStart {
    /// Opens the state apart from the caller's other tasks: loading a large folder takes seconds.
    async fn load(config: &Config) -> Result<Self> {
        let (data, credentials) = (config.data.clone(), config.credentials.clone());
        let has_dps = config.dps.is_some();
        match spawn_blocking(move || Self::open(data, credentials, has_dps)).await {
            Ok(state) => state,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    fn open(data: Option<PathBuf>, credentials: Option<PathBuf>, has_dps: bool) -> Result<Self> {
        let keeps_registry = data.is_some();
        let Some(path) = data.or(credentials) else {
            return Ok(Self {
                folder: None,
                authority: Authority::generate()?,
                policies: Policies::generate(),
                stored: Stored::default(),
                store: None,
                dps: has_dps.then(StoredDps::in_memory),
            });
        };
        let folder = DataFolder::open(&path)?;
        let (store, stored) = if keeps_registry {
            let (store, stored) = HubStore::open(&folder.database()?)?;
            (Some(store), stored)
        } else {
            (None, Stored::default())
        };
        let dps = if has_dps { Some(StoredDps::open(&folder, keeps_registry)?) } else { None };
        Ok(Self {
            dps,
            authority: folder.authority()?,
            policies: folder.policies(POLICIES_FILE)?,
            folder: Some(folder),
            stored,
            store,
        })
    }
}

fn check_reach(config: &Config) -> Result<()> {
    if let Some(address) = config.management.filter(|address| !address.ip().is_loopback()) {
        return Err(Error::ManagementNotLoopback(address));
    }
    let dps = config.dps.iter().flat_map(|dps| dps.https.into_iter().chain(dps.mqtt));
    let mut addresses = std::iter::once(config.https).chain(config.mqtt).chain(config.amqp).chain(dps);
    match addresses.find(|address| !address.ip().is_loopback()) {
        Some(address) if config.reach == Reach::ThisMachine => Err(Error::NotLoopback(address)),
        _ => Ok(()),
    }
}

/// Makes the hub of a stored state, as the configuration has it. It does not serve yet.
fn open_hub(
    config: Config,
    device_host: Option<&HubHost>,
    policies: Policies,
    mut stored: Stored,
    store: Option<HubStore>,
) -> Result<Arc<Hub>> {
    if config.throttling.is_some() {
        stored.registry.limit_to(MAX_IDENTITIES_PER_HUB);
    }
    let clock = Arc::new(MovableClock::over(config.clock));
    let throttle = Throttle::new(config.throttling, Arc::clone(&clock) as Arc<dyn Clock>);
    let blobs = Blobs::new(usable(config.blob_folder)?);
    let messages = match (&config.telemetry, config.management) {
        (None, None) => MessageLog::disabled(),
        (file, _) => MessageLog::open(file.as_deref())?,
    };
    let hub = Arc::new(Hub::new(stored, store, policies, clock, throttle, blobs, messages));
    hub.set_faults(config.faults);
    if let Some(host) = device_host {
        hub.reserve_for_devices(host.clone());
    }
    if config.entra_test {
        hub.accept_entra_tokens();
    }
    Ok(hub)
}

/// Refuses an unreadable folder for containers, with which every job would fail.
fn usable(folder: Option<PathBuf>) -> Result<Option<PathBuf>> {
    if let Some(path) = &folder {
        std::fs::read_dir(path).map_err(|source| Error::File {
            action: "use the folder of --blob-folder,",
            path: path.clone(),
            source,
        })?;
    }
    Ok(folder)
}

fn server_names(config: &Config) -> Vec<String> {
    let always = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    always.into_iter().chain(names(config).cloned()).collect()
}

/// The names that the configuration gives to the hub and to the DPS.
fn names(config: &Config) -> impl Iterator<Item = &String> {
    let dps = config.dps.iter().filter_map(|dps| dps.host_name.as_ref());
    config.host_names.iter().chain(&config.device_host_name).chain(dps)
}

/// Refuses names that are not valid for a host in a certificate (RFC 1035 §2.3.4).
fn check_names(config: &Config) -> Result<()> {
    let fits = |name: &str| name.len() <= 253 && name.split('.').all(|label| label.len() <= 63);
    match names(config).find(|name| !fits(name)) {
        Some(name) => Err(Error::HostName(name.clone())),
        None => Ok(()),
    }
}

/// The host for devices, without a port: SDKs know only the standard ports of their protocols.
fn device_host(config: &Config) -> Result<Option<HubHost>> {
    let host = config.device_host_name.as_deref().map(|name| {
        let host = name.parse::<HubHost>().ok().filter(|host| !host.as_str().contains(':'));
        host.ok_or_else(|| Error::HostName(name.to_owned()))
    });
    host.transpose()
}

/// The host for connection strings of the hub.
fn host_name(config: &Config, https: SocketAddr) -> Result<HubHost> {
    service_host(config.host_names.first().map_or("localhost", String::as_str), https)
}

/// The host for connection strings, without the port if it is 443, which clients assume.
pub(crate) fn service_host(name: &str, https: SocketAddr) -> Result<HubHost> {
    let text = match https.port() {
        443 => name.to_owned(),
        port => format!("{name}:{port}"),
    };
    text.parse().map_err(|_| Error::HostName(name.to_owned()))
}
