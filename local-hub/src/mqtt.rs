//! Devices and modules over MQTT 3.1.1.
//!
//! `mqtt-protocol-core` handles packets and their state ([`wire`]). This module implements IoT
//! Hub's use of them: authentication ([`connect`], [`authenticator`], [`username`]), topics ([`topic`]), and
//! operations ([`session`]), with faults and the request log ([`attempt`]). It is not a broker:
//! clients can't reach each other's topics. Source: "Communicate with an IoT hub using the MQTT
//! protocol".

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::listener::Protocol;
use crate::listener::resettable::Resettable;
use crate::request_log::connection::Peer;

pub(crate) use authenticator::Authenticator;
pub(crate) use connect::run;
pub(crate) use operation::operation_names;
pub(crate) use wire::MAX_PACKET_BYTES;

mod attempt;
mod authenticator;
mod connect;
mod operation;
mod session;
#[cfg(test)]
mod tests;
mod topic;
mod twin;
mod username;
mod wire;

impl Protocol for Authenticator {
    /// The largest number of connections. Each is an open file: if the system allows fewer, the
    /// others wait.
    const MAX_CONNECTIONS: usize = 20_000;

    const SCHEME: &'static str = "mqtts";

    async fn serve(self: Arc<Self>, stream: TlsStream<TcpStream>, peer: Peer, stop: CancellationToken) {
        let presented = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let presented: Vec<CertificateDer<'static>> = presented.to_vec();
        let (stream, reset) = Resettable::new(stream);
        run(&self, stream, &presented, &peer, &reset, &stop).await;
    }
}
