//! HTTP/1.1 on one connection: limits, and an end that lets a request finish.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::answer_body::{Cut, Resettable};
use super::service::Service;
use crate::listener::Protocol;

impl Protocol for Service {
    /// Half of the usual limit of open files.
    const MAX_CONNECTIONS: usize = 512;

    async fn serve(self: Arc<Self>, stream: TlsStream<TcpStream>, stop: CancellationToken) {
        let reset = Arc::new(AtomicBool::new(false));
        let stream = Resettable { stream, reset: Arc::clone(&reset) };
        let serve = service_fn(move |request| {
            let (service, reset) = (Arc::clone(&self), Arc::clone(&reset));
            async move {
                let answer = service.answer(request).await;
                if answer.as_ref().is_err_and(|cut| *cut == Cut::Reset) {
                    reset.store(true, Ordering::Relaxed);
                }
                answer
            }
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
}

/// Also how long a connection may stay idle between two requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_HEADER_BYTES: usize = 64 * 1024;
