//! The addresses at which clients reach a hub, from the binding to the shutdown.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::join_all;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::config::Config;
use crate::access::certificates::DeviceCas;
use crate::amqp::Amqp;
use crate::backend::Backend;
use crate::dps::{Dps, Registrations};
use crate::error::{Error, Result};
use crate::hub::Hub;
use crate::listener::by_host_name::ByHostName;
use crate::listener::{Listener, Protocol};
use crate::mqtt::{Authenticator, Mqtts};
use crate::request_log::RequestLog;
use crate::request_log::connection::ConnectionLog;
use crate::rest::server::Https;
use crate::rest::service::Service;

/// An address, with the listener that is bound to it.
type Bound = (TcpListener, SocketAddr);

/// The addresses for clients while the hub does not serve yet.
pub(super) struct BoundAddresses {
    https: Bound,
    mqtt: Option<Bound>,
    amqp: Option<Bound>,
    /// The addresses of the DPS, if it does not share those of the hub.
    dps_https: Option<Bound>,
    dps_mqtt: Option<Bound>,
}

/// The services to serve, and what they share.
pub(super) struct Services {
    pub(super) hub: Arc<Hub>,
    pub(super) cas: DeviceCas,
    pub(super) log: Option<Arc<RequestLog>>,
    pub(super) dps: Option<NamedDps>,
}

/// A DPS, with the name by which clients call it at an address of the hub.
pub(super) struct NamedDps {
    pub(super) dps: Arc<Dps>,
    pub(super) name: String,
}

impl BoundAddresses {
    pub(super) async fn bind(config: &Config) -> Result<Self> {
        let dps = config.dps.as_ref();
        Ok(Self {
            https: bind(config.https).await?,
            mqtt: bind_if_set(config.mqtt).await?,
            amqp: bind_if_set(config.amqp).await?,
            dps_https: bind_if_set(dps.and_then(|dps| dps.https)).await?,
            dps_mqtt: bind_if_set(dps.and_then(|dps| dps.mqtt)).await?,
        })
    }

    pub(super) fn https_addr(&self) -> SocketAddr {
        self.https.1
    }

    /// The HTTPS address of the DPS: its own, or the hub's.
    pub(super) fn dps_https_addr(&self) -> SocketAddr {
        self.dps_https.as_ref().unwrap_or(&self.https).1
    }

    /// The MQTT address of the DPS: its own, or the hub's.
    pub(super) fn dps_mqtt_addr(&self) -> Option<SocketAddr> {
        self.dps_mqtt.as_ref().or(self.mqtt.as_ref()).map(|(_, address)| *address)
    }

    /// Serves the services to clients.
    pub(super) fn serve(self, services: Services, device_tls: ServerConfig) -> Listeners {
        let Services { hub, cas, log, dps } = services;
        let shared = Shared::new(&hub, device_tls, log.clone());
        let devices = Arc::new(Authenticator::new(Arc::clone(&hub), cas, log.clone()));
        let mqtt_inside = self.mqtt.is_some().then(|| Arc::clone(&devices));
        let https = Arc::new(Https::new(Service::new(hub, log.clone()), mqtt_inside));
        let mqtt = Arc::new(Mqtts(devices));
        let amqp = self.amqp.map(|bound| shared.listen(bound, &shared.device_tls, Arc::new(Amqp)));
        let Some(NamedDps { dps, name }) = dps else {
            return Listeners {
                https: shared.listen(self.https, &shared.https_tls, https),
                mqtt: self.mqtt.map(|bound| shared.listen(bound, &shared.device_tls, Arc::clone(&mqtt))),
                amqp,
                dps: Vec::new(),
            };
        };
        let registrations = Arc::new(Registrations::new(Arc::clone(&dps), log.clone()));
        let dps_https = Https::new(Service::new(dps, log), Some(Arc::clone(&registrations)));
        let dps_https = ByHostName { name: name.clone(), named: Arc::new(dps_https), other: https };
        let dps_mqtt = ByHostName { name, named: Arc::new(Mqtts(registrations)), other: mqtt };
        let own_https =
            self.dps_https.map(|bound| shared.listen(bound, &shared.https_tls, Arc::clone(&dps_https.named)));
        let own_mqtt =
            self.dps_mqtt.map(|bound| shared.listen(bound, &shared.device_tls, Arc::clone(&dps_mqtt.named)));
        Listeners {
            https: shared.listen_for_both(self.https, &shared.https_tls, dps_https, own_https.is_none()),
            mqtt: self
                .mqtt
                .map(|bound| shared.listen_for_both(bound, &shared.device_tls, dps_mqtt, own_mqtt.is_none())),
            amqp,
            dps: own_https.into_iter().chain(own_mqtt).collect(),
        }
    }
}

/// The parts that all listeners share.
struct Shared {
    https_tls: Arc<ServerConfig>,
    device_tls: Arc<ServerConfig>,
    log: Arc<ConnectionLog>,
    offline: watch::Receiver<bool>,
}

impl Shared {
    fn new(hub: &Hub, device_tls: ServerConfig, log: Option<Arc<RequestLog>>) -> Self {
        let mut https_tls = device_tls.clone();
        https_tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self {
            https_tls: Arc::new(https_tls),
            device_tls: Arc::new(device_tls),
            log: Arc::new(ConnectionLog::new(Arc::clone(hub.clock()), log)),
            offline: hub.faults().offline(),
        }
    }

    fn listen<P: Protocol>(
        &self,
        (listener, address): Bound,
        tls: &Arc<ServerConfig>,
        protocol: Arc<P>,
    ) -> (Listener, SocketAddr) {
        let (tls, log) = (Arc::clone(tls), Arc::clone(&self.log));
        (Listener::serve(listener, tls, protocol, log, self.offline.clone()), address)
    }

    /// Serves the hub at an address of its own, and the DPS too if it `shares` the address.
    fn listen_for_both<P: Protocol, Q: Protocol>(
        &self,
        bound: Bound,
        tls: &Arc<ServerConfig>,
        both: ByHostName<P, Q>,
        shares: bool,
    ) -> (Listener, SocketAddr) {
        if shares { self.listen(bound, tls, Arc::new(both)) } else { self.listen(bound, tls, both.other) }
    }
}

/// The listeners that serve a hub to clients, with their addresses.
#[derive(Debug)]
pub(super) struct Listeners {
    https: (Listener, SocketAddr),
    mqtt: Option<(Listener, SocketAddr)>,
    amqp: Option<(Listener, SocketAddr)>,
    /// The listeners of the DPS at addresses of its own.
    dps: Vec<(Listener, SocketAddr)>,
}

impl Listeners {
    pub(super) fn https_addr(&self) -> SocketAddr {
        self.https.1
    }

    pub(super) fn mqtt_addr(&self) -> Option<SocketAddr> {
        self.mqtt.as_ref().map(|(_, address)| *address)
    }

    pub(super) fn amqp_addr(&self) -> Option<SocketAddr> {
        self.amqp.as_ref().map(|(_, address)| *address)
    }

    /// Lets requests in progress finish.
    pub(super) async fn shutdown(self) {
        let (https, _) = self.https;
        let others = self.mqtt.into_iter().chain(self.amqp).chain(self.dps);
        let others = join_all(others.map(|(listener, _)| listener.shutdown()));
        tokio::join!(https.shutdown(), others);
    }
}

async fn bind(address: SocketAddr) -> Result<Bound> {
    let failed = |source| Error::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

pub(super) async fn bind_if_set(address: Option<SocketAddr>) -> Result<Option<Bound>> {
    match address {
        Some(address) => bind(address).await.map(Some),
        None => Ok(None),
    }
}
