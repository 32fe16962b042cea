//! The log of connections that are refused before their first request: in the TLS handshake, or
//! because the client does not speak the protocol of the listener.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use rustls_pki_types::CertificateDer;

use crate::access::certificates::identity_in;
use crate::api_error::ApiError;
use crate::clock::{self, MovableClock};
use crate::request_log::{ConnectionLine, RequestLog};

/// The destinations for refused connections: a warning in the log of this process, and a line in the request
/// log if there is one.
#[derive(Debug)]
pub(crate) struct ConnectionLog {
    clock: Arc<MovableClock>,
    requests: Option<Arc<RequestLog>>,
}

impl ConnectionLog {
    pub(crate) fn new(clock: Arc<MovableClock>, requests: Option<Arc<RequestLog>>) -> Self {
        Self { clock, requests }
    }
}

/// The client at the other end of a connection, as logs name it.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    log: Arc<ConnectionLog>,
    /// The scheme of the listener's address.
    listener: &'static str,
    address: SocketAddr,
    since: Instant,
    /// The identity that the client's certificate names.
    identity: Option<String>,
}

impl Peer {
    pub(crate) fn new(log: Arc<ConnectionLog>, listener: &'static str, address: SocketAddr) -> Self {
        Self { log, listener, address, since: Instant::now(), identity: None }
    }

    /// Stores the identity that a certificate names, if it names one.
    pub(crate) fn presents(&mut self, certificates: &[CertificateDer<'_>]) {
        self.identity = certificates.first().and_then(identity_in);
    }

    /// Logs that the connection is refused, with the reason.
    pub(crate) fn log_refused(&self, reason: &str) {
        self.log(reason, self.identity.as_deref(), None);
    }

    /// As [`Peer::log_refused`], for an identity that is known by other means than a certificate.
    pub(crate) fn log_refused_as(&self, identity: Option<&str>, reason: &str) {
        self.log(reason, identity.or(self.identity.as_deref()), None);
    }

    /// As [`Peer::log_refused`], for a client that gets a response.
    pub(crate) fn log_response(&self, error: &ApiError) {
        self.log(&error.text, self.identity.as_deref(), Some(error));
    }

    fn log(&self, reason: &str, identity: Option<&str>, error: Option<&ApiError>) {
        let (listener, peer) = (self.listener, self.address);
        tracing::warn!(listener, %peer, identity, "a connection is refused: {reason}");
        if let Some(requests) = &self.log.requests {
            requests.write(&ConnectionLine {
                time: clock::timestamp(&*self.log.clock),
                operation: "RefusedConnection",
                listener,
                peer,
                identity,
                status: error.map(|error| error.status),
                errorcode: error.map(|error| error.name),
                reason,
                milliseconds: u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            });
        }
    }
}
