//! HTTP/1.1 on one connection: limits, graceful shutdown, and the upgrade to a WebSocket.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::reply::HttpResponse;
use super::response_body::Interrupted;
use super::service::Service;
use super::websocket::{self, SubProtocol};
use super::{Api, Presented};
use crate::amqp;
use crate::listener::Protocol;
use crate::listener::resettable::Resettable;
use crate::mqtt::{self, MqttService};
use crate::request_log::connection::Peer;

/// The protocol of an HTTPS listener: a REST API, and MQTT inside of WebSockets.
#[derive(Debug)]
pub(crate) struct Https<A, M> {
    service: Arc<Service<A>>,
    /// The service inside of WebSockets, if devices may connect.
    mqtt: Option<Arc<M>>,
}

impl<A: Api, M: MqttService> Https<A, M> {
    pub(crate) fn new(service: Service<A>, mqtt: Option<Arc<M>>) -> Self {
        Self { service: Arc::new(service), mqtt }
    }
}

/// A connection that becomes a WebSocket once its response has been sent.
#[derive(Clone, Default)]
struct PendingUpgrade(Arc<Mutex<Option<(SubProtocol, OnUpgrade)>>>);

impl<A: Api, M: MqttService> Protocol for Https<A, M> {
    const MAX_CONNECTIONS: usize = 10_000;

    const SCHEME: &'static str = "https";

    async fn serve(self: Arc<Self>, stream: TlsStream<TcpStream>, peer: Peer, stop: CancellationToken) {
        let presented = Presented::from(stream.get_ref().1.peer_certificates().unwrap_or_default());
        let switch = PendingUpgrade::default();
        let (stream, reset) = Resettable::new(stream);
        let asked = AtomicBool::new(false);
        let serve = service_fn(|request| {
            asked.store(true, Ordering::Relaxed);
            let (https, peer, switch, reset) = (&self, &peer, switch.clone(), reset.clone());
            let presented = Presented::clone(&presented);
            async move {
                let answer = https.respond(request, presented, peer, &switch).await;
                if answer.as_ref().is_err_and(|cut| *cut == Interrupted::Reset) {
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
            tracing::debug!(%error, "a connection ended");
            return note_refused(&error, asked.load(Ordering::Relaxed), &peer);
        }
        let Some((protocol, upgrade)) = switch.take() else {
            return;
        };
        let stream = match upgrade.await {
            Ok(upgraded) => websocket::bytes_in(upgraded).await,
            Err(error) => return tracing::debug!(%error, "a connection did not become a WebSocket"),
        };
        match (protocol, &self.mqtt) {
            (SubProtocol::Amqp, _) => amqp::refuse(stream, &peer, &stop).await,
            (SubProtocol::Mqtt, Some(service)) => {
                mqtt::run(&**service, stream, &presented, &peer, &reset, &stop).await
            }
            // No such WebSocket is opened.
            (SubProtocol::Mqtt, None) => {}
        }
    }
}

/// Logs that a connection was refused because of its content. A connection that idles after a
/// request, or that the client has ended, was not refused.
fn note_refused(error: &hyper::Error, asked: bool, peer: &Peer) {
    if error.is_parse() || error.is_parse_too_large() {
        peer.log_refused("the client sent something that is not an HTTP/1.1 request");
    } else if error.is_timeout() && !asked {
        peer.log_refused("the client has sent no request in time");
    }
}

impl<A: Api, M: MqttService> Https<A, M> {
    async fn respond(
        &self,
        mut request: Request<Incoming>,
        presented: Presented,
        peer: &Peer,
        switch: &PendingUpgrade,
    ) -> Result<HttpResponse, Interrupted> {
        if request.uri().path() != websocket::PATH {
            return self.service.respond(request, presented).await;
        }
        match websocket::accept(&request) {
            Ok((SubProtocol::Mqtt, _)) | Err(_) if self.mqtt.is_none() => {
                self.service.respond(request, presented).await
            }
            Ok((protocol, response)) => {
                switch.set(protocol, hyper::upgrade::on(&mut request));
                Ok(response)
            }
            Err(error) => {
                peer.log_response(&error);
                Ok(self.service.refuse(&error))
            }
        }
    }
}

impl PendingUpgrade {
    fn set(&self, protocol: SubProtocol, upgrade: OnUpgrade) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((protocol, upgrade));
    }

    fn take(&self) -> Option<(SubProtocol, OnUpgrade)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The time limit for headers, and for idling between two requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_HEADER_BYTES: usize = 64 * 1024;
