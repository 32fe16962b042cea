//! Two services on one listener: the name by which a client calls decides (server name indication,
//! RFC 6066, section 3).

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::Protocol;
use crate::request_log::connection::Peer;

/// The protocol of a listener that two services share.
#[derive(Debug)]
pub(crate) struct ByHostName<P, Q> {
    /// The name by which clients call `named`.
    pub(crate) name: String,
    pub(crate) named: Arc<P>,
    /// The service of all other names.
    pub(crate) other: Arc<Q>,
}

impl<P: Protocol, Q: Protocol> Protocol for ByHostName<P, Q> {
    const MAX_CONNECTIONS: usize = Q::MAX_CONNECTIONS;

    const SCHEME: &'static str = Q::SCHEME;

    async fn serve(self: Arc<Self>, stream: TlsStream<TcpStream>, peer: Peer, stop: CancellationToken) {
        let called = stream.get_ref().1.server_name();
        if called.is_some_and(|called| called.eq_ignore_ascii_case(&self.name)) {
            Arc::clone(&self.named).serve(stream, peer, stop).await;
        } else {
            Arc::clone(&self.other).serve(stream, peer, stop).await;
        }
    }
}
