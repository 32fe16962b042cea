//! MQTT 3.1.1: the connections of devices, and the operations of devices and modules on the hub.
//!
//! `mqtt-protocol-core` handles packets and their state ([`wire`]). A connection up to CONNECT
//! ([`connect`]) and operations with faults and the request log ([`attempt`]) are the same for all
//! services. The rest implements IoT Hub's use of MQTT: authentication ([`authenticator`],
//! [`username`]), topics ([`topic`]) and operations ([`session`]). It is not a broker: clients can't
//! reach each other's topics. Source: "Communicate with an IoT hub using the MQTT protocol".

use std::sync::Arc;

use mqtt_protocol_core::mqtt::packet::v3_1_1::Connect;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::access::credentials::Denied;
use crate::api_error::ApiResult;
use crate::backend::Backend;
use crate::listener::Protocol;
use crate::listener::resettable::{Reset, Resettable};
use crate::request_log::RequestLog;
use crate::request_log::connection::Peer;
use attempt::Attempt;
use wire::Wire;

pub(crate) use authenticator::Authenticator;
pub(crate) use connect::run;
pub(crate) use operation::operation_names;
pub(crate) use wire::MAX_PACKET_BYTES;

pub(crate) mod attempt;
mod authenticator;
mod connect;
mod operation;
mod session;
#[cfg(test)]
mod tests;
mod topic;
mod twin;
mod username;
pub(crate) mod wire;

/// A stream of bytes under MQTT.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send + Sync {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + Sync> ByteStream for S {}

/// A service that devices reach over MQTT.
pub(crate) trait MqttService: Send + Sync + Sized + 'static {
    /// The service behind the protocol.
    type Backend: Backend;
    /// An operation over MQTT.
    type Operation: MqttOperation;
    /// A client whose CONNECT has been read.
    type Client: MqttClient;
    /// A connection that the service has accepted.
    type Connection: Send;

    fn backend(&self) -> &Self::Backend;

    /// The request log, if there is one.
    fn request_log(&self) -> Option<&RequestLog>;

    /// Reads the name of a client in CONNECT, for the log of a refusal: the claimed identity, and
    /// the client's name for itself.
    fn claimed(connect: &Connect) -> (Option<String>, Option<String>);

    /// Reads CONNECT, and checks the part of it that needs no registry.
    fn read(&self, connect: &Connect, presented: &[CertificateDer<'_>]) -> Result<Self::Client, Denied>;

    /// Accepts a client.
    fn open(&self, client: &Self::Client) -> impl Future<Output = ApiResult<Self::Connection>> + Send;

    /// Responds to CONNECT, and serves the connection until it ends. `reset` ends the underlying
    /// connection with an RST.
    fn serve<S>(
        &self,
        accepted: Accepted<'_, Self>,
        wire: Wire<S>,
        reset: &Reset,
        stop: &CancellationToken,
    ) -> impl Future<Output = ()> + Send
    where
        S: ByteStream;
}

/// An operation over MQTT, as logs and faults need it.
pub(crate) trait MqttOperation: Copy + PartialEq + Send + Sync {
    /// The operation of CONNECT.
    const CONNECT: Self;

    /// The name of the end of a connection in the request log.
    const DISCONNECT: &'static str;

    /// The name in faults and the request log.
    fn name(self) -> &'static str;
}

/// A client, as logs name it.
pub(crate) trait MqttClient: Send + Sync {
    /// The identity that the client claims.
    fn identity(&self) -> String;

    /// The client's name for itself, in the form of the request log.
    fn agent(&self) -> Option<&str>;
}

/// A client that the service has accepted, before it is told so.
pub(crate) struct Accepted<'a, M: MqttService> {
    pub(crate) client: &'a M::Client,
    pub(crate) connection: M::Connection,
    pub(crate) connect: &'a Connect,
    /// The operation that accepts the client.
    pub(crate) attempt: &'a Attempt<'a, M>,
}

/// The protocol of an MQTT listener.
#[derive(Debug)]
pub(crate) struct Mqtts<M>(pub(crate) Arc<M>);

impl<M: MqttService> Protocol for Mqtts<M> {
    /// The largest number of connections. Each is an open file: if the system allows fewer, the
    /// others wait.
    const MAX_CONNECTIONS: usize = 20_000;

    const SCHEME: &'static str = "mqtts";

    async fn serve(self: Arc<Self>, stream: TlsStream<TcpStream>, peer: Peer, stop: CancellationToken) {
        let presented = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let presented: Vec<CertificateDer<'static>> = presented.to_vec();
        let (stream, reset) = Resettable::new(stream);
        run(&*self.0, stream, &presented, &peer, &reset, &stop).await;
    }
}
