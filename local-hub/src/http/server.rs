//! Accepting connections: TLS, limits, and a shutdown that lets requests finish.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::RequestLog;
use super::service::Service;
use crate::hub::Hub;

/// A listener that serves until it is stopped.
#[derive(Debug)]
pub(crate) struct Server {
    stop: CancellationToken,
    abort: CancellationToken,
    accepting: JoinHandle<()>,
    connections: TaskTracker,
    /// Whoever drops the server without a shutdown ends it at once.
    _dropped: [DropGuard; 2],
}

/// Serves a hub over TLS.
pub(crate) fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    hub: Arc<Hub>,
    log: Option<RequestLog>,
) -> Server {
    let stop = CancellationToken::new();
    let abort = CancellationToken::new();
    let connections = TaskTracker::new();
    let acceptor = Acceptor {
        tls: TlsAcceptor::from(tls),
        service: Arc::new(Service::new(hub, log)),
        permits: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        connections: connections.clone(),
        stop: stop.clone(),
        abort: abort.clone(),
    };
    Server {
        accepting: tokio::spawn(acceptor.run(listener)),
        _dropped: [stop.clone().drop_guard(), abort.clone().drop_guard()],
        stop,
        abort,
        connections,
    }
}

impl Server {
    /// Accepts nothing new, lets requests that have begun finish, and ends what takes too long.
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

struct Acceptor {
    tls: TlsAcceptor,
    service: Arc<Service>,
    permits: Arc<Semaphore>,
    connections: TaskTracker,
    stop: CancellationToken,
    abort: CancellationToken,
}

impl Acceptor {
    async fn run(self, listener: TcpListener) {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.accept_all(listener)).await;
    }

    async fn accept_all(self, listener: TcpListener) {
        // The semaphore is never closed; if it were, there would be nothing left to accept for.
        while let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await {
            let stream = accept(&listener).await;
            let (tls, service) = (self.tls.clone(), Arc::clone(&self.service));
            let (stop, abort) = (self.stop.clone(), self.abort.clone());
            self.connections.spawn(async move {
                let connection = connection(stream, tls, service, stop);
                abort.run_until_cancelled(connection).await;
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

async fn connection(stream: TcpStream, tls: TlsAcceptor, service: Arc<Service>, stop: CancellationToken) {
    let handshake = handshake(stream, tls);
    let stream = match stop.run_until_cancelled(timeout(HANDSHAKE_TIMEOUT, handshake)).await {
        Some(Ok(Ok(stream))) => stream,
        Some(Ok(Err(error))) => return tracing::debug!(%error, "a TLS handshake failed"),
        Some(Err(_)) => return tracing::debug!("a TLS handshake took too long"),
        None => return,
    };
    let serve = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(service.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        // Head and body go into one write: two small ones cost a delayed acknowledgement each time.
        .writev(false)
        .serve_connection(TokioIo::new(stream), serve);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

async fn handshake(
    stream: TcpStream,
    tls: TlsAcceptor,
) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    tls.accept(stream).await
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Also how long a connection may stay idle between two requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// Half of the usual limit of open files.
const MAX_CONNECTIONS: usize = 512;
const MAX_HEADER_BYTES: usize = 64 * 1024;
