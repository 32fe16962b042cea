//! Accepting TLS connections: limits, slow handshakes, and a shutdown in two steps.
//!
//! What is spoken inside a connection is the [`Protocol`]'s affair.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// What is spoken on the connections of a listener.
pub(crate) trait Protocol: Send + Sync + 'static {
    /// Connections at a time; more wait until one ends.
    const MAX_CONNECTIONS: usize;

    /// Speaks on one connection until it ends. After `stop` it should end soon, and in order.
    fn serve(
        self: Arc<Self>,
        stream: TlsStream<TcpStream>,
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
    /// Whoever drops the listener without a shutdown ends it at once.
    _dropped: [DropGuard; 2],
}

impl Listener {
    /// Serves a protocol over TLS. While the hub is `gone`, connections are ended and new ones reset.
    pub(crate) fn serve<P: Protocol>(
        listener: TcpListener,
        tls: Arc<ServerConfig>,
        protocol: Arc<P>,
        gone: watch::Receiver<bool>,
    ) -> Self {
        let stop = CancellationToken::new();
        let abort = CancellationToken::new();
        let connections = TaskTracker::new();
        let acceptor = Acceptor {
            tls: TlsAcceptor::from(tls),
            protocol,
            gone,
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

    /// Accepts nothing new, lets connections end in order, and ends what takes too long.
    pub(crate) async fn shutdown(self) {
        self.stop.cancel();
        if let Err(error) = self.accepting.await {
            tracing::error!(%error, "accepting connections ended badly");
        }
        self.connections.close();
        if timeout(DRAIN_TIMEOUT, self.connections.wait()).await.is_err() {
            tracing::warn!("connections are cut off that did not end in time");
            self.abort.cancel();
            self.connections.wait().await;
        }
    }
}

struct Acceptor<P> {
    tls: TlsAcceptor,
    protocol: Arc<P>,
    permits: Arc<Semaphore>,
    connections: TaskTracker,
    stop: CancellationToken,
    abort: CancellationToken,
    gone: watch::Receiver<bool>,
}

impl<P: Protocol> Acceptor<P> {
    async fn run(self, listener: TcpListener) {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.accept_all(listener)).await;
    }

    async fn accept_all(self, listener: TcpListener) {
        // The semaphore is never closed; if it were, there would be nothing left to accept for.
        while let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await {
            let stream = accept(&listener).await;
            let (tls, protocol) = (self.tls.clone(), Arc::clone(&self.protocol));
            let (stop, abort, mut gone) = (self.stop.clone(), self.abort.clone(), self.gone.clone());
            if *gone.borrow_and_update() {
                // Without lingering, what is dropped is reset.
                let _ = stream.set_zero_linger();
                continue;
            }
            self.connections.spawn(async move {
                tokio::select! {
                    _ = abort.run_until_cancelled(connection(stream, tls, protocol, stop)) => {}
                    _ = gone.wait_for(|gone| *gone) => {}
                }
                drop(permit);
            });
        }
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                // Most often no file descriptor is left; connections that end will give one back.
                tracing::warn!(%error, "a connection can't be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection<P: Protocol>(
    stream: TcpStream,
    tls: TlsAcceptor,
    protocol: Arc<P>,
    stop: CancellationToken,
) {
    let handshake = handshake(stream, tls);
    match stop.run_until_cancelled(timeout(HANDSHAKE_TIMEOUT, handshake)).await {
        Some(Ok(Ok(stream))) => protocol.serve(stream, stop).await,
        Some(Ok(Err(error))) => tracing::debug!(%error, "a TLS handshake failed"),
        Some(Err(_)) => tracing::debug!("a TLS handshake took too long"),
        None => {}
    }
}

async fn handshake(stream: TcpStream, tls: TlsAcceptor) -> io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    tls.accept(stream).await
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
