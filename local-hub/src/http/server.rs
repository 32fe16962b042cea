//! HTTP/1.1 on one connection: limits, an end that lets a request finish, and the way over to a
//! WebSocket.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::answer_body::Cut;
use super::reply::HttpResponse;
use super::service::Service;
use super::websocket;
use crate::listener::Protocol;
use crate::mqtt::{self, Gate};
use crate::resettable::Resettable;

/// What is served over HTTPS.
#[derive(Debug)]
pub(crate) struct Https {
    service: Arc<Service>,
    /// Lets devices in, if any may come.
    gate: Option<Arc<Gate>>,
}

impl Https {
    pub(crate) fn new(service: Service, gate: Option<Arc<Gate>>) -> Self {
        Self { service: Arc::new(service), gate }
    }
}

/// A connection that is to become a WebSocket, once its answer has been sent.
#[derive(Clone, Default)]
struct Switch(Arc<Mutex<Option<OnUpgrade>>>);

impl Protocol for Https {
    const MAX_CONNECTIONS: usize = 10_000;

    async fn serve(self: Arc<Self>, stream: TlsStream<TcpStream>, stop: CancellationToken) {
        let presented: Vec<CertificateDer<'static>> =
            stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
        let switch = Switch::default();
        let (stream, reset) = Resettable::new(stream);
        let serve = service_fn(|request| {
            let (https, switch, reset) = (Arc::clone(&self), switch.clone(), reset.clone());
            async move {
                let answer = https.answer(request, &switch).await;
                if answer.as_ref().is_err_and(|cut| *cut == Cut::Reset) {
                    reset.demand();
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
            .serve_connection(TokioIo::new(stream), serve)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            return tracing::debug!(%error, "a connection ended");
        }
        if let (Some(gate), Some(upgrade)) = (&self.gate, switch.take()) {
            match upgrade.await {
                Ok(upgraded) => {
                    let stream = websocket::bytes_in(upgraded).await;
                    mqtt::run(gate, stream, &presented, &reset, &stop).await;
                }
                Err(error) => tracing::debug!(%error, "a connection did not become a WebSocket"),
            }
        }
    }
}

impl Https {
    async fn answer(&self, mut request: Request<Incoming>, switch: &Switch) -> Result<HttpResponse, Cut> {
        if self.gate.is_none() || request.uri().path() != websocket::PATH {
            return self.service.answer(request).await;
        }
        match websocket::accept(&request) {
            Ok(response) => {
                switch.set(hyper::upgrade::on(&mut request));
                Ok(response)
            }
            Err(refusal) => Ok(self.service.refuse(&refusal)),
        }
    }
}

impl Switch {
    fn set(&self, upgrade: OnUpgrade) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(upgrade);
    }

    fn take(&self) -> Option<OnUpgrade> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Also how long a connection may stay idle between two requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_HEADER_BYTES: usize = 64 * 1024;
