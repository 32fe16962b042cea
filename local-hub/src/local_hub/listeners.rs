//! The addresses at which clients reach a hub, from the binding to the shutdown.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::join_all;
use rustls::ServerConfig;
use tokio::net::TcpListener;

use super::config::Config;
use crate::access::certificates::DeviceCas;
use crate::amqp::Amqp;
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::hub::Hub;
use crate::listener::Listener;
use crate::mqtt::{Authenticator, Mqtts};
use crate::request_log::RequestLog;
use crate::request_log::connection::ConnectionLog;
use crate::rest::server::Https;
use crate::rest::service::Service;

/// The addresses for clients while the hub does not serve yet.
pub(super) struct BoundAddresses {
    https: (TcpListener, SocketAddr),
    mqtt: Option<(TcpListener, SocketAddr)>,
    amqp: Option<(TcpListener, SocketAddr)>,
}

impl BoundAddresses {
    pub(super) async fn bind(config: &Config) -> Result<Self> {
        Ok(Self {
            https: bind(config.https).await?,
            mqtt: bind_if_set(config.mqtt).await?,
            amqp: bind_if_set(config.amqp).await?,
        })
    }

    pub(super) fn https_addr(&self) -> SocketAddr {
        self.https.1
    }

    /// Serves a hub to clients.
    pub(super) fn serve(
        self,
        hub: &Arc<Hub>,
        device_tls: ServerConfig,
        cas: DeviceCas,
        log: Option<Arc<RequestLog>>,
    ) -> Listeners {
        let mut https_tls = device_tls.clone();
        https_tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let (https_tls, device_tls) = (Arc::new(https_tls), Arc::new(device_tls));
        let authenticator = Arc::new(Authenticator::new(Arc::clone(hub), cas, log.clone()));
        let connections = Arc::new(ConnectionLog::new(Arc::clone(hub.clock()), log.clone()));
        let service = Service::new(Arc::clone(hub), log);
        let mqtt_inside = self.mqtt.is_some().then(|| Arc::clone(&authenticator));
        let service = Arc::new(Https::new(service, mqtt_inside));
        let (log, offline) = (|| Arc::clone(&connections), || hub.faults().offline());
        let (https, https_addr) = self.https;
        Listeners {
            https: (Listener::serve(https, https_tls, service, log(), offline()), https_addr),
            mqtt: self.mqtt.map(|(mqtt, address)| {
                (
                    Listener::serve(
                        mqtt,
                        Arc::clone(&device_tls),
                        Arc::new(Mqtts(authenticator)),
                        log(),
                        offline(),
                    ),
                    address,
                )
            }),
            amqp: self.amqp.map(|(amqp, address)| {
                (Listener::serve(amqp, device_tls, Arc::new(Amqp), log(), offline()), address)
            }),
        }
    }
}

/// The listeners that serve a hub to clients, with their addresses.
#[derive(Debug)]
pub(super) struct Listeners {
    https: (Listener, SocketAddr),
    mqtt: Option<(Listener, SocketAddr)>,
    amqp: Option<(Listener, SocketAddr)>,
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
        let others = self.mqtt.into_iter().chain(self.amqp);
        let others = join_all(others.map(|(listener, _)| listener.shutdown()));
        tokio::join!(https.shutdown(), others);
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let failed = |source| Error::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

pub(super) async fn bind_if_set(address: Option<SocketAddr>) -> Result<Option<(TcpListener, SocketAddr)>> {
    match address {
        Some(address) => bind(address).await.map(Some),
        None => Ok(None),
    }
}
