//! A DPS that is served beside a hub.

use std::net::SocketAddr;
use std::sync::Arc;

use hub_types::connection_string::{HubHost, ServiceConnectionString};
use hub_types::dps::IdScope;

use super::Dps;
use super::access::DpsRight;
use super::registry::DpsRegistry;
use super::storage::DpsStore;
use crate::access::policy::Policies;
use crate::error::{Error, Result};
use crate::ids::random;
use crate::local_hub::config::DpsConfig;
use crate::local_hub::service_host;
use crate::storage::data_folder::{DPS_POLICIES_FILE, DataFolder, unknown_policy};

/// The state of a DPS before it serves.
#[derive(Debug)]
pub(crate) struct StoredDps {
    pub(super) id_scope: IdScope,
    pub(super) policies: Policies<DpsRight>,
    pub(super) registry: DpsRegistry,
    pub(super) store: Option<DpsStore>,
}

impl StoredDps {
    /// A new DPS in memory.
    pub(crate) fn in_memory() -> Self {
        Self {
            id_scope: random::id_scope(),
            policies: Policies::generate(),
            registry: DpsRegistry::default(),
            store: None,
        }
    }

    /// The DPS of a data folder. If the folder does not keep the registry, only the access to the
    /// DPS is from there.
    pub(crate) fn open(folder: &DataFolder, keeps_registry: bool) -> Result<Self> {
        let (store, registry) = if keeps_registry {
            let (store, registry) = DpsStore::open(&folder.dps_database()?)?;
            (Some(store), registry)
        } else {
            (None, DpsRegistry::default())
        };
        let (id_scope, policies) = (folder.id_scope()?, folder.policies(DPS_POLICIES_FILE)?);
        Ok(Self { id_scope, policies, registry, store })
    }
}

/// A running DPS. It ends with the hub beside it.
#[derive(Debug)]
pub struct LocalDps {
    dps: Arc<Dps>,
    host: HubHost,
    https: SocketAddr,
    mqtt: Option<SocketAddr>,
}

impl LocalDps {
    /// A DPS at these addresses, its own or those of the hub.
    pub(crate) fn new(
        dps: Arc<Dps>,
        config: &DpsConfig,
        https: SocketAddr,
        mqtt: Option<SocketAddr>,
    ) -> Result<Self> {
        let shares = config.https.is_none() || (config.mqtt.is_none() && mqtt.is_some());
        if shares && config.host_name.is_none() {
            return Err(Error::DpsWithoutName);
        }
        let host = service_host(config.host_name.as_deref().unwrap_or("localhost"), https)?;
        Ok(Self { dps, host, https, mqtt })
    }

    pub(crate) fn dps(&self) -> &Arc<Dps> {
        &self.dps
    }

    /// The name by which devices call the DPS, without a port.
    pub fn host_name(&self) -> &str {
        self.host.name()
    }

    /// The name of the DPS for devices.
    pub fn id_scope(&self) -> &IdScope {
        self.dps.id_scope()
    }

    /// The HTTPS address, of devices and services.
    pub fn https_addr(&self) -> SocketAddr {
        self.https
    }

    /// The MQTT address, if the DPS has one.
    pub fn mqtt_addr(&self) -> Option<SocketAddr> {
        self.mqtt
    }

    /// The connection string of a policy, such as `provisioningserviceowner`.
    pub fn connection_string(&self, policy: &str) -> Result<ServiceConnectionString> {
        let policies = self.dps.policies();
        let found = policies.find(policy).ok_or_else(|| unknown_policy(policies, policy))?;
        Ok(ServiceConnectionString {
            host: self.host.clone(),
            policy: found.name.clone(),
            key: found.primary_key().clone(),
        })
    }
}
