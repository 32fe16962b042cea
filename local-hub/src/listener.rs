//! The TLS listener: limits, slow handshakes, and a shutdown in two steps.
//!
//! The [`Protocol`] implements the connections. Handshakes have limits of their own
//! ([`MAX_HANDSHAKES`], [`HANDSHAKE_TIMEOUT`]): a client that never finishes one takes no
//! connection slot, and hardly any memory.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::request_log::connection::{ConnectionLog, Peer};
use handshake::handshake;

pub(crate) mod by_host_name;
mod handshake;
pub(crate) mod open_files;
pub(crate) mod resettable;
#[cfg(test)]
mod tests;

/// The protocol on the connections of a listener.
pub(crate) trait Protocol: Send + Sync + 'static {
    /// The largest number of connections at a time; more wait until one ends.
    const MAX_CONNECTIONS: usize;

    /// The scheme of the listener's address, as logs name it.
    const SCHEME: &'static str;

    /// Serves one connection until it ends. After `stop` it should end soon, and in order.
    fn serve(
        self: Arc<Self>,
        stream: TlsStream<TcpStream>,
        peer: Peer,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send;
}

/// A listener that serves until it is stopped.
#[derive(Debug)]
pub(crate) struct Listener {
    stop: CancellationToken,
    abort: CancellationToken,
    accepting: JoinHandle<()>,
    connections: TaskTracker,
    /// Cancels both tokens when the listener is dropped without a shutdown.
    _dropped: [DropGuard; 2],
}

impl Listener {
    /// Serves a protocol over TLS. While the hub is `offline`, existing connections are ended and new
    /// ones reset.
    pub(crate) fn serve<P: Protocol>(
        listener: TcpListener,
        tls: Arc<ServerConfig>,
        protocol: Arc<P>,
        log: Arc<ConnectionLog>,
        offline: watch::Receiver<bool>,
    ) -> Self {
        let stop = CancellationToken::new();
        let abort = CancellationToken::new();
        let connections = TaskTracker::new();
        let acceptor = Acceptor {
            tls,
            protocol,
            log,
            offline,
            handshakes: Arc::new(Semaphore::new(MAX_HANDSHAKES)),
            permits: Arc::new(Semaphore::new(P::MAX_CONNECTIONS)),
            connections: connections.clone(),
            stop: stop.clone(),
            abort: abort.clone(),
        };
        Self {
            accepting: tokio::spawn(acceptor.run(listener)),
            _dropped: [stop.clone().drop_guard(), abort.clone().drop_guard()],
            stop,
            abort,
            connections,
        }
    }

    /// Accepts nothing new, lets connections end in order, and ends those that take too long.
    pub(crate) async fn shutdown(self) {
        self.stop.cancel();
        if let Err(error) = self.accepting.await {
            tracing::error!(%error, "accepting connections ended badly");
        }
        self.connections.close();
        if timeout(DRAIN_TIMEOUT, self.connections.wait()).await.is_err() {
            tracing::warn!("connections that did not end in time are closed");
            self.abort.cancel();
            self.connections.wait().await;
        }
    }
}

struct Acceptor<P> {
    tls: Arc<ServerConfig>,
    protocol: Arc<P>,
    log: Arc<ConnectionLog>,
    /// Slots for clients that have not finished their handshake.
    handshakes: Arc<Semaphore>,
    permits: Arc<Semaphore>,
    connections: TaskTracker,
    stop: CancellationToken,
    abort: CancellationToken,
    offline: watch::Receiver<bool>,
}

impl<P: Protocol> Acceptor<P> {
    async fn run(self, listener: TcpListener) {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.accept_all(listener)).await;
    }

    async fn accept_all(self, listener: TcpListener) {
        // The semaphore is never closed; if it were, there would be nothing left to accept for.
        while let Ok(place) = Arc::clone(&self.handshakes).acquire_owned().await {
            let (stream, address) = accept(&listener).await;
            let (abort, mut offline) = (self.abort.clone(), self.offline.clone());
            if *offline.borrow_and_update() {
                // Without lingering, what is dropped is reset.
                let _ = stream.set_zero_linger();
                continue;
            }
            let connection = Connection {
                tls: Arc::clone(&self.tls),
                protocol: Arc::clone(&self.protocol),
                peer: Peer::new(Arc::clone(&self.log), P::SCHEME, address),
                permits: Arc::clone(&self.permits),
                stop: self.stop.clone(),
            };
            self.connections.spawn(async move {
                tokio::select! {
                    _ = abort.run_until_cancelled(connection.run(stream, place)) => {}
                    _ = offline.wait_for(|offline| *offline) => {}
                }
            });
        }
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                // Most often no file descriptor is left; connections that end will give one back.
                tracing::warn!(%error, "a connection can't be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection from its first byte on.
struct Connection<P> {
    tls: Arc<ServerConfig>,
    protocol: Arc<P>,
    peer: Peer,
    permits: Arc<Semaphore>,
    stop: CancellationToken,
}

impl<P: Protocol> Connection<P> {
    /// Performs the handshake, then serves. Both are boxed, so that a task that waits for its
    /// client is small.
    async fn run(self, stream: TcpStream, place: OwnedSemaphorePermit) {
        let stop = self.stop.clone();
        let handshake = Box::pin(timeout(HANDSHAKE_TIMEOUT, handshake(stream, Arc::clone(&self.tls))));
        let serving = match stop.run_until_cancelled(handshake).await {
            Some(Ok(Ok(Some(stream)))) => Box::pin(self.serve(stream, place)),
            Some(Ok(Ok(None))) => return tracing::debug!("a client has connected and said nothing"),
            Some(Ok(Err(failure))) => {
                return self.peer.log_refused_as(failure.identity.as_deref(), &failure.reason);
            }
            Some(Err(_)) => {
                return self.peer.log_refused("the client has not finished the TLS handshake in time");
            }
            None => return,
        };
        serving.await;
    }

    /// Serves once there is room for one more connection.
    async fn serve(mut self, stream: TlsStream<TcpStream>, place: OwnedSemaphorePermit) {
        let permit = self.stop.run_until_cancelled(self.permits.acquire_owned()).await;
        drop(place);
        if let Some(Ok(_permit)) = permit {
            self.peer.presents(stream.get_ref().1.peer_certificates().unwrap_or_default());
            self.protocol.serve(stream, self.peer, self.stop).await;
        }
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The number of clients that may be in a handshake at a time; more wait in the system's queue.
const MAX_HANDSHAKES: usize = 8192;
